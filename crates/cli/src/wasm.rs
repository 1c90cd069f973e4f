//! Where the canister's wasm is: named, beside the program, or built in a checkout around here.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The variable that names the wasm.
pub const WASM_VARIABLE: &str = "IC_NN_WASM";
/// Where the build script leaves it, gzipped first: both install, and the smaller one is what is deployed.
const BUILT: [&str; 2] = ["target/ic-nn/ic_nn.wasm.gz", "target/ic-nn/ic_nn.wasm"];
const BESIDE: [&str; 2] = ["ic_nn.wasm.gz", "ic_nn.wasm"];

/// The canister's wasm, and where it came from.
pub struct CanisterWasm {
    /// The file.
    pub path: PathBuf,
    /// Its bytes, gzipped or not.
    pub bytes: Vec<u8>,
}

/// Finds the wasm: `named`, then `$IC_NN_WASM`, beside the program, in `target/ic-nn` of a folder above the current
/// one, and in that of the checkout the program was built from.
pub fn find(named: Option<&Path>) -> Result<CanisterWasm, Failure> {
    let variable = std::env::var_os(WASM_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or(variable) {
        return read(&path);
    }
    match candidates().into_iter().find(|path| path.is_file()) {
        Some(path) => read(&path),
        None => Err(Failure::unprepared("the canister's wasm is not built").hint(format!(
            "build it with `./scripts/build-canister` in a checkout of ic-nn, or name it with --wasm or ${WASM_VARIABLE}"
        ))),
    }
}

fn candidates() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let here = std::env::current_dir().unwrap_or_default();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let beside = beside.iter().flat_map(|folder| BESIDE.iter().map(move |name| folder.join(name)));
    let above = here.ancestors().flat_map(|folder| BUILT.iter().map(move |name| folder.join(name)));
    let built = BUILT.iter().map(|name| checkout.join(name));
    beside.chain(above).chain(built).collect()
}

fn read(path: &Path) -> Result<CanisterWasm, Failure> {
    let bytes = std::fs::read(path).map_err(|e| {
        Failure::unprepared(format!("cannot read the canister's wasm {}: {e}", path.display()))
            .hint("build it with `./scripts/build-canister`, or name another with --wasm")
    })?;
    if !bytes.starts_with(b"\0asm") && !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Failure::unprepared(format!("{} is neither wasm nor gzipped wasm", path.display()))
            .hint("build the canister with `./scripts/build-canister`"));
    }
    Ok(CanisterWasm { path: path.to_owned(), bytes })
}
