//! Takes the example for ic-agent out of INTERFACE.md, for a test to compile.

#[path = "src/fences.rs"]
mod fences;

use std::path::Path;

fn main() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../INTERFACE.md");
    println!("cargo::rerun-if-changed={}", document.display());
    println!("cargo::rerun-if-changed=src/fences.rs");
    let text = std::fs::read_to_string(&document).expect("INTERFACE.md is there");
    let example = fences::fence(&text, "Rust, from outside (ic-agent)", "rust").expect("the example");
    let out = std::env::var_os("OUT_DIR").expect("cargo names a folder");
    std::fs::write(Path::new(&out).join("ic_agent.rs"), example).expect("the folder takes a file");
}
