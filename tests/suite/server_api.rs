//! What the server tells of itself and of its answers: capabilities, readiness, statistics, receipts, and what a browser
//! and a Prometheus see.

use candid::{Encode, Principal};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, refused, repository, request};
use ic_nn_types::{
    Access, AccessPolicy, ErrorCode, GraphEncoding, HttpRequest, HttpResponse, InferParameters, InferRequest,
    InferResponse, NamedTensor, Receipt, Tensor, TensorType, VerifyRequest,
};
use sha2::{Digest, Sha256};

fn row(values: [f32; 3]) -> Tensor {
    Tensor::from_f32(vec![1, 3], &values)
}

fn inputs() -> Vec<NamedTensor> {
    vec![("left".into(), row([1.0, 2.0, 3.0])), ("right".into(), row([10.0, 20.0, 30.0]))]
}

#[test]
fn capabilities_are_told_before_anything_is_deployed() {
    on_every_runtime("capabilities", |replica| {
        let service = Service::deploy(replica, None);
        let anyone = service.caller(Principal::anonymous());
        let told = anyone.capabilities().expect("anyone is told");
        assert_eq!(told.specification, "wasi:nn@0.2.0-rc-2024-10-28");
        assert!(
            told.engine.starts_with("tract ") && !told.build.is_empty(),
            "{} {}",
            told.engine,
            told.build
        );
        assert_eq!(told.encodings.len(), 7, "every encoding of wasi-nn is told of");
        for support in &told.encodings {
            let served = matches!(support.encoding, GraphEncoding::Onnx | GraphEncoding::Autodetect);
            assert_eq!(support.supported, served, "{support:?}");
            assert!(!support.detail.is_empty(), "{support:?}");
        }
        for ty in TensorType::ALL {
            assert!(told.tensor_types.contains(&ty), "{ty} is missing in {:?}", told.tensor_types);
        }
        for operator in ["Conv", "MatMul", "Identity", "QuantizeLinear", "Softmax"] {
            assert!(told.operators.iter().any(|o| o == operator), "{operator} is missing");
        }
        assert!(!told.operators.iter().any(|o| o == "RandomNormal"), "what is refused is not offered");
        assert_eq!((told.costs.nodes, told.costs.cycles_per_update), (13, 5_000_000));
        let limits = &told.limits;
        assert_eq!((limits.update_instructions, limits.query_instructions), (40_000_000_000, 5_000_000_000));
        assert!(limits.max_tensor_bytes > 2_000_000 && limits.max_tensor_bytes < 2_097_152, "{limits:?}");
        let default = AccessPolicy { read: Access::Anyone, query: Access::Anyone, infer: Access::Listed };
        assert_eq!((told.policy, told.price.cycles_per_call), (default, None));
        let metadata = anyone.server_metadata().expect("anyone is told");
        assert_eq!((metadata.name.as_str(), &metadata.limits), ("ic-nn", limits));
        assert_eq!(metadata.tensor_types.len(), told.tensor_types.len());
        assert!(anyone.server_live().expect("it is told") && anyone.server_ready().expect("it is told"));
    });
}

#[test]
fn models_are_ready_and_described_in_the_protocol_s_words() {
    on_every_runtime("model metadata", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        assert!(!caller.model_ready("add").expect("it is told"), "there is none");
        service.upload("add", &onnx::add()).expect("it is accepted");
        assert!(caller.model_ready("add").expect("it is told"), "it loads when it is asked");
        caller.load_by_name("add").expect("it loads");
        for name in ["add", "add:1", "add@latest"] {
            assert!(caller.model_ready(name).expect("it is told"), "{name}");
        }
        for name in ["add:2", "sub", "add@stable", "", "a b"] {
            assert!(!caller.model_ready(name).expect("it is told"), "{name}");
        }
        let metadata = caller.model_metadata("add").expect("it is told");
        assert_eq!((metadata.name.as_str(), metadata.versions), ("add", vec!["1".to_owned()]));
        let described = caller.describe("add").expect("it is there");
        assert_eq!((metadata.inputs, metadata.outputs), (described.inputs, described.outputs));
        refused(caller.model_metadata("sub"), ErrorCode::NotFound, &["sub"]);
    });
}

#[test]
fn statistics_count_what_updates_did() {
    on_every_runtime("statistics", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let caller = service.controller();
        let before = caller.model_statistics("add").expect("it is told");
        assert_eq!((before.success, before.fail, before.last_used), (0, 0, None), "{before:?}");
        let counts: Vec<u64> = (0..3)
            .map(|_| caller.infer(&request("add", inputs())).expect("it infers").instructions)
            .collect();
        refused(caller.infer(&request("add", vec![])), ErrorCode::InvalidArgument, &["left"]);
        service.ask("add", inputs()).expect("a query leaves no trace");
        let told = caller.model_statistics("add:1").expect("it is told");
        assert_eq!((told.name.as_str(), told.version), ("add", 1));
        assert_eq!((told.success, told.fail, told.cache_hits), (3, 1, 0), "{told:?}");
        assert!(0 < told.min_instructions && told.min_instructions <= told.mean_instructions, "{told:?}");
        assert!(told.mean_instructions <= told.max_instructions, "{told:?}");
        let most = counts.iter().max().expect("there are three");
        assert!(told.max_instructions.abs_diff(*most) < most / 5 + 1_000_000, "{told:?} {counts:?}");
        assert!(told.last_used.is_some_and(|t| t <= replica.time_nanos()), "{told:?}");
        let graph = caller.describe("add").expect("it is there").graph.expect("it is loaded");
        let context = caller.init_execution_context(graph).expect("it opens");
        caller.compute(context, &inputs(), None).expect("it computes");
        assert_eq!(caller.model_statistics("add").expect("it is told").success, 4, "computes count too");
        service.upgrade();
        assert_eq!(caller.model_statistics("add").expect("it is told").success, 4, "they survive an upgrade");
        refused(caller.model_statistics("sub"), ErrorCode::NotFound, &["sub"]);
    });
}

fn with_receipt(service: &Service<'_>) -> (InferResponse, Receipt) {
    let parameters = Some(InferParameters { receipt: Some(true), ..Default::default() });
    let request = InferRequest { parameters, ..request("add", inputs()) };
    let mut answer = service.controller().infer(&request).expect("it infers");
    let receipt = answer.receipt.take().expect("a receipt was asked for");
    (answer, receipt)
}

/// The hash of tensors as the interface's documentation has it.
fn tensors(all: &[NamedTensor]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"ic-nn tensors 1");
    hash.update((all.len() as u32).to_le_bytes());
    for (name, tensor) in all {
        for text in [name.as_str(), tensor.ty.label()] {
            hash.update((text.len() as u32).to_le_bytes());
            hash.update(text);
        }
        hash.update((tensor.dimensions.len() as u32).to_le_bytes());
        tensor.dimensions.iter().for_each(|d| hash.update(d.to_le_bytes()));
        hash.update((tensor.data.len() as u64).to_le_bytes());
        hash.update(&tensor.data);
    }
    hash.finalize().to_vec()
}

#[test]
fn a_receipt_can_be_computed_by_anyone() {
    on_every_runtime("receipts", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let plain = service.controller().infer(&request("add", inputs())).expect("it infers");
        assert_eq!(plain.receipt, None, "none where none was asked for");
        let (answer, receipt) = with_receipt(&service);
        assert_eq!(receipt.model, Sha256::digest(onnx::add()).to_vec());
        assert_eq!(receipt.inputs, tensors(&inputs()));
        assert_eq!(receipt.outputs, tensors(&answer.outputs));
        assert_eq!(receipt.engine, service.controller().capabilities().expect("it is told").build);
        let mut hash = Sha256::new();
        hash.update(b"ic-nn receipt 1");
        for part in [&receipt.model[..], &receipt.inputs, &receipt.outputs, receipt.engine.as_bytes()] {
            hash.update(part);
        }
        assert_eq!(receipt.hash, hash.finalize().to_vec());
        assert_eq!(with_receipt(&service).1, receipt, "the same inference has the same receipt");
    });
}

#[test]
fn a_receipt_verifies_and_what_was_tampered_with_does_not() {
    on_every_runtime("verdicts", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        let (answer, receipt) = with_receipt(&service);
        let verify = |receipt: &Receipt, inputs: Vec<NamedTensor>, outputs: Option<Vec<NamedTensor>>| {
            let request = VerifyRequest { receipt: receipt.clone(), inputs, outputs };
            service.controller().verify_receipt(&request).expect("a verdict")
        };
        let good = verify(&receipt, inputs(), Some(answer.outputs.clone()));
        assert_eq!((good.valid, good.mismatches.len(), good.recomputed), (true, 0, false), "{good:?}");
        let again = verify(&receipt, inputs(), None);
        assert_eq!((again.valid, again.recomputed), (true, true), "{again:?}");
        let bad = |verdict: ic_nn_types::Verdict, words: &[&str]| {
            assert!(!verdict.valid, "{words:?}: {verdict:?}");
            for word in words {
                assert!(verdict.mismatches.iter().any(|m| m.starts_with(word)), "{word}: {verdict:?}");
            }
            assert_eq!(verdict.mismatches.len(), words.len(), "{verdict:?}");
        };
        let mut outputs = answer.outputs.clone();
        outputs[0].1.data[0] ^= 1;
        bad(verify(&receipt, inputs(), Some(outputs)), &["outputs"]);
        let mut renamed = answer.outputs.clone();
        renamed[0].0 = "total".into();
        bad(verify(&receipt, inputs(), Some(renamed)), &["outputs"]);
        let mut other = inputs();
        other[1].1 = row([10.0, 20.0, 31.0]);
        bad(verify(&receipt, other.clone(), Some(answer.outputs.clone())), &["inputs"]);
        bad(verify(&receipt, other, None), &["inputs", "outputs"]);
        let forged = Receipt { outputs: vec![0; 32], ..receipt.clone() };
        bad(verify(&forged, inputs(), Some(answer.outputs.clone())), &["hash", "outputs"]);
        let elsewhere = Receipt { engine: "another".into(), ..receipt.clone() };
        bad(verify(&elsewhere, inputs(), Some(answer.outputs.clone())), &["hash", "engine"]);
        let short = Receipt { model: vec![0; 31], ..receipt.clone() };
        let request = VerifyRequest { receipt: short, inputs: inputs(), outputs: None };
        refused(service.controller().verify_receipt(&request), ErrorCode::InvalidArgument, &["31", "32"]);
        service.delete("add").expect("it is deleted");
        let request = VerifyRequest { receipt, inputs: inputs(), outputs: None };
        let gone = service.controller().verify_receipt(&request);
        refused(gone, ErrorCode::NotFound, &["pass the outputs"]);
        let request = VerifyRequest { outputs: Some(answer.outputs), ..request };
        let verdict = service.controller().verify_receipt(&request).expect("hashes need no model");
        assert!(verdict.valid, "{verdict:?}");
    });
}

#[test]
fn a_selection_has_the_receipt_of_what_was_answered() {
    let model = onnx::Model {
        nodes: vec![onnx::node("Neg", &["x"], &["a"], vec![]), onnx::node("Abs", &["x"], &["b"], vec![])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1)])],
        outputs: ["a", "b"].map(|n| onnx::value(n, element::FLOAT, &[Dim::Is(1)])).to_vec(),
        ..Default::default()
    }
    .finish();
    on_every_runtime("receipt of a selection", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("two", &model);
        let x = vec![("x".to_owned(), Tensor::from_f32(vec![1], &[-2.0]))];
        let parameters = Some(InferParameters { receipt: Some(true), ..Default::default() });
        let outputs = Some(vec!["b".to_owned()]);
        let request = InferRequest { outputs, parameters, ..request("two", x) };
        let answer = service.controller().infer(&request).expect("it infers");
        assert_eq!(answer.outputs.len(), 1);
        assert_eq!(answer.receipt.expect("a receipt").outputs, tensors(&answer.outputs));
    });
}

/// What a GET, or another method, of the gateway gets.
fn http(service: &Service<'_>, method: &str, url: &str) -> HttpResponse {
    let request = HttpRequest { method: method.into(), url: url.into(), headers: vec![], body: vec![] };
    let arg = Encode!(&request).expect("it encodes");
    let reply = service.replica.query(service.canister, Principal::anonymous(), "http_request", &arg);
    candid::decode_one(&reply.unwrap_or_else(|e| panic!("{method} {url}: {e}"))).expect("a response")
}

fn text(response: &HttpResponse) -> String {
    String::from_utf8(response.body.clone()).expect("it is UTF-8")
}

fn content_type(response: &HttpResponse) -> &str {
    let header = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    &header.expect("it has a type").1
}

#[test]
fn a_browser_and_a_prometheus_are_answered() {
    on_every_runtime("http", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("add", &onnx::add());
        service.infer("add", inputs()).expect("it infers");
        let metrics = http(&service, "GET", "/metrics?x=1");
        assert_eq!((metrics.status_code, content_type(&metrics).starts_with("text/plain")), (200, true));
        let lines = text(&metrics);
        for line in [
            "ic_nn_ready 1",
            "ic_nn_resident_graphs 1",
            "# TYPE ic_nn_inferences_total counter",
            "ic_nn_inferences_total{model=\"add\",version=\"1\"} 1",
            "ic_nn_failures_total{model=\"add\",version=\"1\"} 0",
        ] {
            assert!(lines.lines().any(|l| l == line), "`{line}` is missing in:\n{lines}");
        }
        for line in lines.lines().filter(|l| !l.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            value.parse::<u128>().unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        let status = http(&service, "GET", "/status");
        assert_eq!((status.status_code, content_type(&status)), (200, "application/json"));
        let json: serde_json::Value = serde_json::from_slice(&status.body).expect("it is JSON");
        assert_eq!(json["ready"], true);
        assert_eq!(json["models"][0]["name"], "add");
        assert_eq!(json["models"][0]["state"], "loaded");
        assert_eq!(json["models"][0]["success"], 1);
        let page = http(&service, "GET", "/");
        assert_eq!((page.status_code, content_type(&page).starts_with("text/html")), (200, true));
        assert!(text(&page).contains("<td>add<td>1"), "{}", text(&page));
        let head = http(&service, "HEAD", "/");
        assert_eq!((head.status_code, head.body.len()), (200, 0));
        for path in ["/nothing", "/metrics/", "", "//", "/../status"] {
            let status = http(&service, "GET", path).status_code;
            assert_eq!(status, 404, "`{path}`");
        }
        for method in ["POST", "PUT", "DELETE", "get", ""] {
            assert_eq!(http(&service, method, "/metrics").status_code, 405, "`{method}`");
        }
        assert!(!page.headers.is_empty() && page.headers.iter().any(|(n, _)| n == "content-security-policy"));
    });
}

#[test]
fn what_is_not_for_everyone_to_read_is_not_on_the_page() {
    on_every_runtime("closed pages", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("secret", &onnx::add());
        let policy = AccessPolicy { read: Access::Listed, query: Access::Anyone, infer: Access::Listed };
        service.controller().set_access_policy(&policy).expect("it is set");
        for path in ["/", "/status", "/metrics"] {
            let response = http(&service, "GET", path);
            assert_eq!(response.status_code, 200);
            assert!(!text(&response).contains("secret"), "{path} tells: {}", text(&response));
        }
    });
}

#[test]
fn every_query_of_the_interface_answers_what_is_no_candid() {
    let did = std::fs::read_to_string(repository("candid/ic_nn.did")).expect("the interface is there");
    let (_, methods) = did.split_once("service :").expect("it has a service");
    let queries: Vec<&str> = methods
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && line.ends_with("query;") && !line.contains(" : () "))
        .filter_map(|line| line.split_once(" : (").map(|(name, _)| name))
        .collect();
    assert!(queries.len() > 15, "the interface is read: {queries:?}");
    on_every_runtime("queries", |replica| {
        let service = Service::deploy(replica, None);
        for query in &queries {
            let answer = replica.query(service.canister, Principal::anonymous(), query, b"garbage");
            let reply = answer.unwrap_or_else(|e| panic!("{query}, asked what is no Candid: {e}"));
            assert!(reply.starts_with(b"DIDL"), "{query}: {reply:02x?}");
        }
    });
}
