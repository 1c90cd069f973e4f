//! The service on a runtime: deployed, with a client for whoever calls.

use candid::{Encode, Principal};
use ic_nn_client::{Client, ClientError, ReplicaTransport};
use ic_nn_host::{Canister, CanisterSettings, InstallMode, Replica};
use ic_nn_types::{Error, ErrorCode, InferRequest, InitArgs, ModelVersion, NamedTensor, UploadSpec};
use sha2::{Digest, Sha256};

/// A typed caller of the deployed service.
pub type Caller<'a> = Client<ReplicaTransport<&'a dyn Replica>>;

/// The installed service.
pub struct Service<'a> {
    /// What it runs on.
    pub replica: &'a dyn Replica,
    /// Its id.
    pub canister: Canister,
}

impl<'a> Service<'a> {
    /// Creates a canister and installs the built module with `args`.
    pub fn deploy(replica: &'a dyn Replica, args: Option<InitArgs>) -> Self {
        let canister = replica.create_canister(controller(), CanisterSettings::default());
        let arg = Encode!(&args).expect("the argument encodes");
        replica
            .install(canister, controller(), InstallMode::Install, &module(), &arg)
            .expect("the module installs");
        Service { replica, canister }
    }

    /// A client of the controller.
    pub fn controller(&self) -> Caller<'a> {
        self.caller(controller())
    }

    /// A client of anyone.
    pub fn caller(&self, sender: Principal) -> Caller<'a> {
        Client::new(ReplicaTransport::new(self.replica, self.canister, sender))
    }

    /// Upgrades to the same module.
    pub fn upgrade(&self) {
        let arg = Encode!(&None::<InitArgs>).expect("the argument encodes");
        self.replica
            .install(self.canister, controller(), InstallMode::Upgrade, &module(), &arg)
            .expect("the module upgrades");
    }

    /// Uploads and commits a model as the controller.
    pub fn upload(&self, name: &str, model: &[u8]) -> Result<ModelVersion, ClientError> {
        self.controller().upload(name, model, &mut |_| {})
    }

    /// Closes the upload that a refused commit left open.
    pub fn abandon(&self, name: &str, model: &[u8]) {
        let spec = UploadSpec {
            name: name.into(),
            bytes: model.len() as u64,
            sha256: Sha256::digest(model).to_vec(),
            chunk_bytes: None,
        };
        let open = self.controller().upload_begin(&spec).expect("a refused upload is open still");
        self.controller().upload_abort(open.upload).expect("it aborts");
    }

    /// Uploads, commits and loads a model that is meant to work.
    pub fn serve(&self, name: &str, model: &[u8]) {
        self.upload(name, model).expect("the model is accepted");
        self.controller().load_by_name(name).expect("the model loads");
    }

    /// Infers as the controller in an update, after which queries take inputs of these shapes.
    pub fn warm(&self, model: &str, inputs: Vec<NamedTensor>) {
        let request = InferRequest { model: model.into(), inputs };
        self.controller().infer(&request).expect("an update takes any shapes");
    }

    /// Infers as an anonymous query.
    pub fn ask(&self, model: &str, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, ClientError> {
        let request = InferRequest { model: model.into(), inputs };
        self.caller(Principal::anonymous()).infer_query(&request).map(|r| r.outputs)
    }
}

/// The principal that controls every canister of the tests.
pub fn controller() -> Principal {
    Principal::from_slice(&[7; 29])
}

/// Somebody without a role.
pub fn stranger() -> Principal {
    Principal::from_slice(&[9; 29])
}

/// The module that `scripts/build-canister` made.
///
/// # Panics
/// Where it was not built: the tests are about it.
pub fn module() -> Vec<u8> {
    let path = repository("target/ic-nn/ic_nn.wasm.gz");
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run scripts/build-canister first", path.display()))
}

/// A file of the repository.
pub fn repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Holds a refusal to its code, and its text to every one of `words`.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>, code: ErrorCode, words: &[&str]) -> Error {
    let error = match result {
        Err(ClientError::Service { error, .. }) => error,
        other => panic!("an error {code:?} of the service is expected, {other:?} came"),
    };
    assert_eq!(error.code, code, "{error}");
    for word in words {
        assert!(error.data.contains(word), "`{word}` is missing in: {error}");
    }
    error
}
