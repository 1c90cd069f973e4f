//! The canister behind a gateway, and keys to call it with: what a test of something that speaks HTTP begins with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candid::Principal;
use ic_ed25519::{PrivateKey, PrivateKeyFormat};
use ic_nn_host::{Canister, CanisterSettings, Host, InstallMode, Replica};
use tempfile::TempDir;

use crate::{Calls, Gateway};

/// Where `scripts/build-canister` leaves the module.
const MODULE: &str = "target/ic-nn/ic_nn.wasm.gz";
/// The install argument: every setting as it is by default.
const NO_SETTINGS: &[u8] = b"DIDL\x00\x01\x7f";

/// The installed canister, its host and gateway, and a folder that goes with them.
pub struct Deployment {
    /// Where the canister runs.
    pub host: Arc<Host>,
    /// What speaks HTTP for it.
    pub gateway: Gateway,
    /// The canister.
    pub canister: Canister,
    /// An empty folder.
    pub folder: TempDir,
}

impl Deployment {
    /// Installs the built module on a fresh host; `owner` controls it.
    ///
    /// # Panics
    ///
    /// Where the module was not built, or something does not start.
    pub fn new(calls: Calls) -> Self {
        let host = Arc::new(Host::builder().build().expect("the embedded host runs here"));
        let gateway = Gateway::start(host.clone(), calls).expect("a port of the loopback interface");
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let owner = Key::of("owner").principal();
        let canister = host.create_canister(owner, CanisterSettings::default());
        let path = repository(MODULE);
        let module = std::fs::read(&path)
            .unwrap_or_else(|e| panic!("{}: {e}; run scripts/build-canister first", path.display()));
        host.install(canister, owner, InstallMode::Install, &module, NO_SETTINGS)
            .expect("the module installs");
        Deployment { host, gateway, canister, folder }
    }

    /// The principal of the key of this name.
    pub fn principal(&self, name: &str) -> Principal {
        Key::of(name).principal()
    }

    /// The private key of this name, as RFC 8032 has it.
    pub fn secret(&self, name: &str) -> [u8; 32] {
        Key::of(name).0.serialize_raw()
    }

    /// A file with the key of this name, as `dfx identity export` and openssl write one. The same name is the same key;
    /// `owner` controls the canister.
    ///
    /// # Panics
    ///
    /// Where the file cannot be written.
    pub fn identity(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.pem"));
        std::fs::write(&path, Key::of(name).pem()).expect("a file in a temporary folder");
        path
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// An Ed25519 key made of its name.
struct Key(PrivateKey);

impl Key {
    fn of(name: &str) -> Self {
        Key(PrivateKey::generate_from_seed(name.as_bytes()))
    }

    fn principal(&self) -> Principal {
        Principal::self_authenticating(self.0.public_key().serialize_rfc8410_der())
    }

    fn pem(&self) -> String {
        self.0.serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v1)
    }
}
