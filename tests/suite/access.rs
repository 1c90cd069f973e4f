//! Who may do what. Ingress is dropped before the canister pays for it; a call from a canister passes
//! `inspect_message` by, and meets the check in the endpoint.

use candid::{CandidType, Encode, Principal};
use ic_nn_host::{Canister, CanisterSettings, InstallMode, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx;
use ic_nn_tests::service::{Service, controller, refused, stranger};
use ic_nn_types::{ChunkRequest, Error, ErrorCode, InferRequest, ListRequest, Tensor, UploadSpec};

const PROXY: &str = include_str!("../fixtures/proxy.wat");

/// A canister that forwards calls, so that the service's caller is a canister.
struct Proxy<'a> {
    replica: &'a dyn Replica,
    canister: Canister,
}

impl<'a> Proxy<'a> {
    fn deploy(replica: &'a dyn Replica) -> Self {
        let canister = replica.create_canister(controller(), CanisterSettings::default());
        let wasm = wat::parse_str(PROXY).expect("the proxy assembles");
        replica.install(canister, controller(), InstallMode::Install, &wasm, &[]).expect("it installs");
        Proxy { replica, canister }
    }

    fn forward(&self, to: Canister, method: &str, arg: &[u8]) -> Result<Vec<u8>, ic_nn_host::Reject> {
        let (id, name) = (to.as_slice(), method.as_bytes());
        let call = [&[id.len() as u8], id, &[name.len() as u8], name, arg].concat();
        self.replica.update(self.canister, controller(), "forward", &call)
    }
}

fn error_of(reply: &[u8]) -> Error {
    candid::decode_one::<Result<candid::Reserved, Error>>(reply).expect("a result").expect_err("an error")
}

/// Every method that changes the registry, with an argument that would do.
fn guarded() -> Vec<(&'static str, Vec<u8>)> {
    fn arg(value: impl CandidType) -> Vec<u8> {
        Encode!(&value).expect("it encodes")
    }
    let spec = UploadSpec { name: "m".into(), bytes: 10, sha256: vec![0; 32], chunk_bytes: None };
    vec![
        ("upload_begin", arg(spec)),
        ("upload_chunk", arg(ChunkRequest { upload: 1, index: 0, data: vec![0; 10] })),
        ("upload_commit", arg(1u64)),
        ("upload_abort", arg(1u64)),
        ("delete", arg("m")),
        ("load_by_name", arg("m")),
        ("unload", arg(1u64)),
        ("add_admin", arg(Principal::management_canister())),
        ("remove_admin", arg(Principal::management_canister())),
        ("ic_nn_internal_probe", arg(1u64)),
        ("ic_nn_internal_load", arg(1u64)),
        ("ic_nn_internal_infer", arg(1u64)),
        ("ic_nn_internal_breathe", arg(0u64)),
    ]
}

#[test]
fn a_stranger_changes_nothing() {
    on_every_runtime("access", |replica| {
        let service = Service::deploy(replica, None);
        let proxy = Proxy::deploy(replica);
        for (method, arg) in guarded() {
            for sender in [stranger(), Principal::anonymous()] {
                let dropped = replica.submit(service.canister, sender, method, &arg);
                assert!(dropped.is_err(), "{method}: ingress of {sender} is inducted");
            }
            let reply =
                proxy.forward(service.canister, method, &arg).unwrap_or_else(|e| panic!("{method}: {e}"));
            let error = error_of(&reply);
            assert_eq!(error.code, ErrorCode::Security, "{method}: {error}");
            assert!(error.data.contains(&proxy.canister.to_text()), "{method}: {error}");
        }
        let status = service.caller(stranger()).upload_status(1);
        refused(status, ErrorCode::Security, &[&stranger().to_text()]);
        assert_eq!(service.controller().list_all().expect("a list"), []);
        assert_eq!(service.controller().list_admins().expect("a list"), []);
    });
}

#[test]
fn even_a_controller_does_not_call_the_inside() {
    on_every_runtime("internals", |replica| {
        let service = Service::deploy(replica, None);
        for (method, arg) in guarded().into_iter().filter(|(m, _)| m.starts_with("ic_nn_internal")) {
            assert!(replica.submit(service.canister, controller(), method, &arg).is_err(), "{method}");
        }
    });
}

#[test]
fn admins_write_and_only_controllers_name_them() {
    on_every_runtime("admins", |replica| {
        let service = Service::deploy(replica, None);
        let admin = stranger();
        service.controller().add_admin(admin).expect("a controller names admins");
        assert_eq!(service.controller().list_admins(), Ok(vec![admin]));
        refused(
            service.controller().add_admin(Principal::anonymous()),
            ErrorCode::InvalidArgument,
            &["anonymous"],
        );
        let model = onnx::add();
        service.caller(admin).upload("m", &model, &mut |_| {}).expect("an admin uploads");
        service.caller(admin).load_by_name("m").expect("an admin loads");
        let other = Encode!(&Principal::management_canister()).expect("it encodes");
        assert!(replica.submit(service.canister, admin, "add_admin", &other).is_err());
        service.controller().remove_admin(admin).expect("a controller takes the role back");
        refused(service.controller().remove_admin(admin), ErrorCode::NotFound, &[]);
        assert!(service.caller(admin).delete("m").is_err());
    });
}

#[test]
fn anyone_reads_and_infers() {
    on_every_runtime("open", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let row = || Tensor::from_f32(vec![1, 3], &[1.0, 2.0, 3.0]);
        let request = InferRequest {
            model: "add".into(),
            inputs: vec![("left".into(), row()), ("right".into(), row())],
        };
        let anyone = service.caller(Principal::anonymous());
        assert_eq!(
            anyone.infer(&request).expect("it infers").outputs[0].1.to_f32(),
            Some(vec![2.0, 4.0, 6.0])
        );
        anyone.infer_query(&request).expect("it infers");
        anyone.describe("add").expect("it is told");
        anyone.list(&ListRequest::default()).expect("it is told");
        anyone.server_metadata().expect("it is told");
        let proxy = Proxy::deploy(replica);
        let arg = Encode!(&request).expect("it encodes");
        let reply = proxy.forward(service.canister, "infer", &arg).expect("canisters infer");
        assert!(
            candid::decode_one::<Result<ic_nn_types::InferResponse, Error>>(&reply)
                .expect("a result")
                .is_ok()
        );
    });
}
