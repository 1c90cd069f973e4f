//! What the engine is built from, as a number: images of compiled graphs are read by the build that made them, and no other.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Sources and dependencies that decide what a graph becomes.
const SOURCES: [&str; 6] =
    ["src", "../kernels/src", "../codegen/src", "../fft/src", "../types/src", "../../Cargo.lock"];

fn main() -> io::Result<()> {
    let mut files = vec![];
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut hash = DefaultHasher::new();
    for file in files {
        // With the same separators everywhere.
        file.components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .for_each(|part| part.hash(&mut hash));
        fs::read(&file)?.hash(&mut hash);
    }
    for (name, value) in env::vars() {
        if ["CARGO_PKG_VERSION", "TARGET"].contains(&name.as_str()) || name.starts_with("CARGO_FEATURE_") {
            (name, value).hash(&mut hash);
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("build"), hash.finish().to_le_bytes())
}

/// All files in a folder, or the file; what is not there is no part of a published crate.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}
