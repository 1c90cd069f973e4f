//! Takes the example for ic-cdk out of INTERFACE.md, for the canister to be made of.

#[path = "../gateway/src/fences.rs"]
mod fences;

use std::path::Path;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = here.join("../../INTERFACE.md");
    println!("cargo::rerun-if-changed={}", document.display());
    println!("cargo::rerun-if-changed={}", here.join("../gateway/src/fences.rs").display());
    let text = std::fs::read_to_string(&document).expect("INTERFACE.md is there");
    let example = fences::fence(&text, "Rust, from a canister (ic-cdk)", "rust").expect("the example");
    let out = std::env::var_os("OUT_DIR").expect("cargo names a folder");
    std::fs::write(Path::new(&out).join("ic_cdk.rs"), example).expect("the folder takes a file");
}
