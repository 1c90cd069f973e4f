//! A model's files on disk: their bytes, the name it gets, and how it goes into a target.

use std::path::Path;

use ic_nn_types::{ModelVersion, Provenance};
use sha2::{Digest, Sha256};

use crate::args::DataArgs;
use crate::failure::Failure;
use crate::format;
use crate::progress::Progress;
use crate::target::Target;

/// Longest name that the registry takes.
const MAX_NAME: usize = 64;

/// A model's files: its own first, then those of its external data.
pub struct ModelFiles(Vec<Vec<u8>>);

impl ModelFiles {
    /// Reads them.
    pub fn read(model: &Path, data: &DataArgs) -> Result<Self, Failure> {
        let data = data.data.iter().map(|path| read(path));
        Ok(ModelFiles(std::iter::once(read(model)).chain(data).collect::<Result<_, _>>()?))
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|file| file.len() as u64).sum()
    }

    /// sha256 of all of them, one behind the other.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.0.iter().for_each(|file| hash.update(file));
        hash.finalize().into()
    }

    /// Their bytes, one by one.
    pub fn into_inner(self) -> Vec<Vec<u8>> {
        self.0
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path.is_dir() {
        return Err(Failure::usage(format!("{} is a folder, not a model file", path.display())));
    }
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read the model {}: {e}", path.display())))
}

/// A name for the registry made of the file's: its stem, with what the registry does not take as hyphens.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String =
        stem.chars().map(allowed).skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_NAME).collect();
    if name.is_empty() { "model".to_owned() } else { name }
}

/// Uploads and commits, with a bar.
pub fn upload(
    target: &Target,
    name: &str,
    files: &ModelFiles,
    provenance: Option<&Provenance>,
    progress: Progress,
) -> Result<ModelVersion, Failure> {
    let mut bar = progress.upload(name, files.bytes());
    let slices: Vec<&[u8]> = files.0.iter().map(Vec::as_slice).collect();
    let version = target.client().upload_files(name, &slices, provenance, &mut |event| bar.event(&event));
    bar.finish();
    let version = version?;
    progress.note(&format!(
        "{} in {}:{}, sha256 {} verified in the canister",
        format::bytes(files.bytes()),
        version.name,
        version.version,
        format::short_hash(&version.sha256),
    ));
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_gives_a_name_that_the_registry_takes() {
        assert_eq!(name_of(Path::new("a/digits.onnx")), "digits");
        assert_eq!(name_of(Path::new("mobile net (2).onnx")), "mobile-net--2-");
        assert_eq!(name_of(Path::new("-_.onnx")), "model");
        assert_eq!(name_of(Path::new(&"x".repeat(99))).len(), MAX_NAME);
    }
}
