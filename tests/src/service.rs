//! The service on a runtime: deployed, with a client for whoever calls.

use candid::{Encode, Principal};
use ic_nn_client::{Client, ClientError, ReplicaTransport};
use ic_nn_host::{Canister, CanisterSettings, InstallMode, Replica, UploadedModule};
use ic_nn_types::{
    DeleteRequest, Error, ErrorCode, InferRequest, InitArgs, ModelVersion, NamedTensor, Role, UploadSpec,
};
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
        Self::deploy_module(replica, &module(), args)
    }

    /// Creates a canister and installs `module`, the service built otherwise, with `args`.
    pub fn deploy_module(replica: &'a dyn Replica, module: &[u8], args: Option<InitArgs>) -> Self {
        let canister = replica.create_canister(controller(), CanisterSettings::default());
        let arg = Encode!(&args).expect("the argument encodes");
        replica
            .install(canister, controller(), InstallMode::Install, module, &arg)
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
        self.upgrade_to(&module());
    }

    /// Upgrades to `module`, the service built otherwise.
    pub fn upgrade_to(&self, module: &[u8]) {
        self.upgrade_both(module, None);
    }

    /// Upgrades to the same module with `args`.
    pub fn upgrade_with(&self, args: Option<InitArgs>) {
        self.upgrade_both(&module(), args);
    }

    /// Has the module at hand for [`Service::upgrade_now`].
    pub fn upload_module(&self) -> UploadedModule {
        self.replica.upload_module(self.canister, controller(), &module()).expect("the chunks are taken")
    }

    /// Upgrades in one message: what the rounds before have left under way is under way still.
    pub fn upgrade_now(&self, module: &UploadedModule) {
        let arg = Encode!(&None::<InitArgs>).expect("the argument encodes");
        self.replica
            .install_uploaded(self.canister, controller(), InstallMode::Upgrade, module, &arg)
            .expect("the module upgrades");
    }

    fn upgrade_both(&self, module: &[u8], args: Option<InitArgs>) {
        let arg = Encode!(&args).expect("the argument encodes");
        self.replica
            .install(self.canister, controller(), InstallMode::Upgrade, module, &arg)
            .expect("the module upgrades");
    }

    /// Uploads and commits a model as the controller.
    pub fn upload(&self, name: &str, model: &[u8]) -> Result<ModelVersion, ClientError> {
        self.controller().upload(name, model, &mut |_| {})
    }

    /// Closes the upload that a refused commit left open.
    pub fn abandon(&self, name: &str, model: &[u8]) {
        let open =
            self.controller().upload_begin(&spec(name, model)).expect("a refused upload is open still");
        self.controller().upload_abort(open.upload).expect("it aborts");
    }

    /// Uploads, commits and loads a model that is meant to work.
    pub fn serve(&self, name: &str, model: &[u8]) {
        self.upload(name, model).expect("the model is accepted");
        self.controller().load_by_name(name).expect("the model loads");
    }

    /// Infers as the controller in an update, after which queries take inputs of these shapes.
    pub fn warm(&self, model: &str, inputs: Vec<NamedTensor>) {
        self.infer(model, inputs).expect("an update takes any shapes");
    }

    /// Infers as the controller in an update.
    pub fn infer(&self, model: &str, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, ClientError> {
        self.controller().infer(&request(model, inputs)).map(|r| r.outputs)
    }

    /// Infers as an anonymous query.
    pub fn ask(&self, model: &str, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, ClientError> {
        self.caller(Principal::anonymous()).infer_query(&request(model, inputs)).map(|r| r.outputs)
    }

    /// Deletes as the controller, confirming with the sha256 that the registry tells.
    pub fn delete(&self, model: &str) -> Result<u32, ClientError> {
        let sha256 = self.controller().describe(model)?.sha256;
        self.controller().delete(&DeleteRequest { model: model.into(), sha256 })
    }

    /// Gives a role as the controller, and a client of who has it now.
    pub fn grant(&self, principal: Principal, role: Role) -> Caller<'a> {
        self.controller().grant_role(principal, role).expect("a controller grants any role");
        self.caller(principal)
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

/// One of many principals, none of whom has a role.
pub fn principal(n: u8) -> Principal {
    Principal::from_slice(&[100 + n; 29])
}

/// An inference that asks for nothing besides.
pub fn request(model: &str, inputs: Vec<NamedTensor>) -> InferRequest {
    InferRequest { model: model.into(), inputs, ..Default::default() }
}

/// An upload of these bytes as one file.
pub fn spec(name: &str, bytes: &[u8]) -> UploadSpec {
    UploadSpec {
        name: name.into(),
        bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).to_vec(),
        ..Default::default()
    }
}

/// The module that `scripts/build-canister` made.
///
/// # Panics
/// Where it was not built: the tests are about it.
pub fn module() -> Vec<u8> {
    built("target/ic-nn", "scripts/build-canister")
}

/// The module that `scripts/check-encodings` made with a feature.
///
/// # Panics
/// Where it was not built: it was asked for by the feature's name.
pub fn module_with(feature: &str) -> Vec<u8> {
    built(&format!("target/ic-nn/{feature}"), "scripts/check-encodings")
}

/// The built module as the linker and `scripts/wasm-report` left it, not compressed.
///
/// # Panics
/// As [`module`].
pub fn plain_module() -> Vec<u8> {
    let path = repository("target/ic-nn/ic_nn.wasm");
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run scripts/build-canister first", path.display()))
}

fn built(folder: &str, script: &str) -> Vec<u8> {
    let path = repository(folder).join("ic_nn.wasm.gz");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; run {script} first", path.display()))
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
