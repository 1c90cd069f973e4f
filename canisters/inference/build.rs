//! Names the engine's build: sha256 over the sources that decide an answer and the lock file that pins the rest. And has the linker
//! leave a place free in the module's table.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// Where the sources are: the graph's, the kernels', and those of what writes the tiles.
const FOLDERS: [&str; 3] = ["crates/engine/src", "crates/kernels/src", "crates/codegen/src"];

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../..");
    let mut files = vec![root.join("Cargo.lock"), root.join("crates/kernels/build.rs")];
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let content = fs::read(file)?;
        hash.update(name.as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let digest: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.split(',').any(|name| name == "wasm")) {
        // Place 1 is the callback's (`runtime::CALLBACK`); 0 is left free by linkers, being the null pointer.
        println!("cargo::rustc-link-arg-cdylib=--table-base=2");
    }
    println!("cargo::rustc-env=IC_NN_BUILD=ic-nn {} {digest}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
