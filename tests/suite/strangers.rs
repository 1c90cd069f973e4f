//! Nothing is a stranger's to change: every update method of the interface is called by one, with an argument that would
//! do. Ingress is dropped before the canister pays for it; a call from a canister passes `inspect_message` by, and meets
//! the check in the endpoint.

use candid::utils::ArgumentEncoder;
use candid::{Principal, encode_args};
use ic_nn_host::RejectCode;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx;
use ic_nn_tests::service::{Service, controller, refused, repository, request, spec, stranger};
use ic_nn_types::{
    Access, AccessPolicy, AuditRequest, ChunkRequest, DeleteRequest, ErrorCode, ExecutionTarget,
    GraphEncoding, InferParameters, InferRequest, JobListRequest, JobRequest, LoadOptions, NamedTensor,
    Price, Receipt, Role, Tensor, VerifyRequest, VersionPolicy,
};
use serde_bytes::ByteBuf;

use crate::proxy::{Proxy, error_of};

/// What the canister calls on itself; not in the interface.
const INTERNAL: [&str; 8] = [
    "ic_nn_internal_probe",
    "ic_nn_internal_load",
    "ic_nn_internal_remake",
    "ic_nn_internal_image",
    "ic_nn_internal_infer",
    "ic_nn_internal_room",
    "ic_nn_internal_breathe",
    "ic_nn_internal_timer",
];

/// What the service holds, all of it the controller's.
struct Standing {
    upload: u64,
    graph: u64,
    context: u64,
    sha256: Vec<u8>,
    receipt: Receipt,
    job: u64,
}

fn inputs() -> Vec<NamedTensor> {
    let row = || Tensor::from_f32(vec![1, 3], &[1.0, 2.0, 3.0]);
    vec![("left".into(), row()), ("right".into(), row())]
}

impl Standing {
    fn build(service: &Service<'_>) -> Standing {
        let caller = service.controller();
        let sha256 = service.upload("m", &onnx::add()).expect("it is accepted").sha256;
        caller.set_label("m:1", "stable").expect("it is labelled");
        let graph = caller.load_by_name("m").expect("it loads");
        let context = caller.init_execution_context(graph).expect("it opens");
        let upload = caller.upload_begin(&spec("n", &onnx::lookup())).expect("it begins").upload;
        let parameters = Some(InferParameters { receipt: Some(true), ..Default::default() });
        let answer = caller.infer(&InferRequest { parameters, ..request("m", inputs()) }).expect("it infers");
        let receipt = answer.receipt.expect("a receipt");
        let job = caller.job_submit(&JobRequest { request: request("m", inputs()), ..Default::default() });
        let job = job.expect("it is taken");
        caller.job_wait(job, &mut |_| {}).expect("it is done");
        Standing { upload, graph, context, sha256, receipt, job }
    }
}

/// The methods of the interface that are updates, by its text.
fn update_methods() -> Vec<String> {
    let did = std::fs::read_to_string(repository("candid/ic_nn.did")).expect("the interface is there");
    let (_, service) = did.split_once("service :").expect("it has a service");
    service
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && line.ends_with(';') && !line.ends_with("query;"))
        .filter_map(|line| line.split_once(" : ("))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn arg(values: impl ArgumentEncoder) -> Vec<u8> {
    encode_args(values).expect("it encodes")
}

/// An argument that would do, were the caller somebody.
fn argument(method: &str, s: &Standing) -> Option<Vec<u8>> {
    let other = Principal::management_canister();
    let everyone = AccessPolicy { read: Access::Anyone, query: Access::Anyone, infer: Access::Anyone };
    let tensor = || Tensor::from_f32(vec![1, 3], &[4.0, 5.0, 6.0]);
    Some(match method {
        "upload_begin" => arg((spec("o", &onnx::add()),)),
        "upload_chunk" => arg((ChunkRequest { upload: s.upload, index: 0, data: onnx::lookup() },)),
        "upload_commit" | "upload_abort" => arg((s.upload,)),
        "append_chunk" => arg((ByteBuf::from(onnx::lookup()),)),
        "append_parallel_chunk" => arg((0u32, ByteBuf::from(onnx::lookup()))),
        "delete" => arg((DeleteRequest { model: "m:1".into(), sha256: s.sha256.clone() },)),
        "set_label" => arg(("m:1", "beta")),
        "remove_label" => arg(("m", "stable")),
        "set_version_policy" => arg(("m", VersionPolicy::Latest(1))),
        "retire" | "restore" => arg(("m:1",)),
        "load" => arg((
            vec![ByteBuf::from(onnx::add())],
            GraphEncoding::Onnx,
            ExecutionTarget::Cpu,
            None::<LoadOptions>,
        )),
        "load_by_name" => arg(("m",)),
        "set_property" => arg((s.graph, "cache", Some("5"))),
        "unload" | "init_execution_context" => arg((s.graph,)),
        "set_input" => arg((s.context, "left", tensor(), None::<u64>)),
        "compute" => arg((s.context, inputs(), None::<ic_nn_types::ComputeOptions>)),
        "finalize_execution_context" => arg((s.context,)),
        "job_submit" => arg((JobRequest { request: request("m", inputs()), ..Default::default() },)),
        "job_cancel" => arg((s.job,)),
        "infer" | "profile" | "quantization_error" => arg((request("m", inputs()),)),
        "verify_receipt" => {
            arg((VerifyRequest { receipt: s.receipt.clone(), inputs: inputs(), outputs: None },))
        }
        "grant_role" => arg((stranger(), Role::Caller)),
        "revoke_role" => arg((other,)),
        "set_access_policy" => arg((everyone,)),
        "set_price" => arg((Price::default(),)),
        "set_caller_quota" => arg((other, Some(1u64))),
        internal if INTERNAL.contains(&internal) => arg((1u64,)),
        _ => return None,
    })
}

#[test]
fn a_stranger_changes_nothing() {
    let methods: Vec<String> =
        update_methods().into_iter().chain(INTERNAL.iter().map(|m| (*m).to_owned())).collect();
    assert!(methods.len() > 25, "the interface is read: {methods:?}");
    on_every_runtime("strangers", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let standing = Standing::build(&service);
        let proxy = Proxy::deploy(replica);
        let all = || {
            (
                caller.list_all(),
                caller.list_roles(),
                caller.capabilities(),
                caller.upload_status(standing.upload),
                caller.list_properties(standing.graph),
                caller.audit_log(&AuditRequest::default()),
                caller.model_statistics("m"),
                caller.job_list(&JobListRequest { all: Some(true), ..Default::default() }),
            )
        };
        let before = all();
        assert!(before.0.is_ok() && before.3.is_ok() && before.5.is_ok(), "{before:?}");
        for method in &methods {
            let arg = argument(method, &standing).unwrap_or_else(|| {
                panic!("{method} is an update and has no argument in this test; give it one")
            });
            for sender in [stranger(), Principal::anonymous()] {
                let dropped = replica.submit(service.canister, sender, method, &arg);
                assert!(dropped.is_err(), "{method}: ingress of {sender} is inducted");
            }
            let answer = proxy.forward(service.canister, method, &arg);
            let text = if method.starts_with("append_") {
                let reject = answer.expect_err("it tells errors by rejects");
                assert_eq!(reject.code, RejectCode::CanisterReject, "{method}: {reject}");
                assert!(reject.message.contains("security"), "{method}: {reject}");
                reject.message
            } else {
                let error = error_of(&answer.unwrap_or_else(|e| panic!("{method}: {e}")));
                assert_eq!(error.code, ErrorCode::Security, "{method}: {error}");
                error.data
            };
            assert!(text.contains(&proxy.canister.to_text()), "{method} does not tell who called: {text}");
        }
        assert_eq!(all(), before, "nothing has changed, and the audit log is not a stranger's to fill");
    });
}

#[test]
fn a_stranger_is_not_told_of_roles_uploads_and_the_log() {
    on_every_runtime("strangers ask", |replica| {
        let service = Service::deploy(replica, None);
        let standing = Standing::build(&service);
        for sender in [stranger(), Principal::anonymous()] {
            let caller = service.caller(sender);
            let (code, name) = (ErrorCode::Security, sender.to_text());
            refused(caller.upload_status(standing.upload), code, &[&name]);
            refused(caller.list_roles(), code, &[&name]);
            refused(caller.audit_log(&AuditRequest::default()), code, &[&name]);
            refused(caller.caller_quota(controller()), code, &[&name]);
            refused(caller.get_output(standing.context, "sum", None), code, &[&name]);
            caller.caller_quota(sender).expect("everyone may ask about himself");
        }
    });
}

#[test]
fn even_a_controller_does_not_call_the_inside() {
    on_every_runtime("internals", |replica| {
        let service = Service::deploy(replica, None);
        for method in INTERNAL {
            let inducted = replica.submit(service.canister, controller(), method, &arg((1u64,)));
            assert!(inducted.is_err(), "{method}: ingress of the controller is inducted");
        }
    });
}
