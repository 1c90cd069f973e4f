//! A model file on disk: its bytes, the name it gets, and how it goes into a target.

use std::path::Path;

use ic_nn_types::ModelVersion;

use crate::failure::Failure;
use crate::format;
use crate::progress::Progress;
use crate::target::Target;

/// Longest name that the registry takes.
const MAX_NAME: usize = 64;

/// Reads a model file.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
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
    bytes: &[u8],
    progress: Progress,
) -> Result<ModelVersion, Failure> {
    let mut bar = progress.upload(name, bytes.len() as u64);
    let version = target.client().upload(name, bytes, &mut |event| bar.event(&event));
    bar.finish();
    let version = version?;
    progress.note(&format!(
        "{} in {}:{}, sha256 {} verified in the canister",
        format::bytes(bytes.len() as u64),
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
