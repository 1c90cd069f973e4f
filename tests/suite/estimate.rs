//! What an inference would take, told before it runs: near what is metered afterwards, and an answer to whatever is asked.

use candid::{Principal, encode_args};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, refused, repository, request};
use ic_nn_types::{
    Access, AccessPolicy, Error, ErrorCode, EstimateRequest, EstimateResponse, NamedTensor, Tensor,
    TensorType,
};

fn of(model: &str, shapes: &[(&str, &[u32])]) -> EstimateRequest {
    let shapes = shapes.iter().map(|(name, dims)| ((*name).to_owned(), dims.to_vec())).collect();
    EstimateRequest { model: Some(model.into()), graph: None, shapes }
}

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is in the repository")
}

fn image(batch: u32) -> Vec<NamedTensor> {
    let pixels: Vec<f32> = (0..batch * 64).map(|i| (i % 17) as f32 / 16.0).collect();
    vec![("image".into(), Tensor::from_f32(vec![batch, 1, 8, 8], &pixels))]
}

/// Holds an estimate to what a run took, within a share of it in percent.
#[track_caller]
fn near(estimate: u64, metered: u64, percent: u64) {
    assert!(estimate.abs_diff(metered) * 100 <= metered * percent, "{estimate} estimated, {metered} metered");
}

#[test]
fn a_network_s_estimate_is_within_five_percent() {
    let Ok(model) = std::fs::read(repository("models/generated/mobilenetv2.onnx")) else {
        assert!(std::env::var_os("CI").is_none(), "scripts/models/run architectures mobilenetv2 makes it");
        return;
    };
    on_every_runtime("an estimate of MobileNetV2", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        service.upload("mobilenetv2", &model).expect("it is accepted");
        let graph = caller.load_by_name("mobilenetv2").expect("it loads");
        let input = vec![("image".to_owned(), Tensor::from_f32(vec![1, 3, 224, 224], &[0.5; 3 * 224 * 224]))];
        for quantize in [None, Some("int8")] {
            caller.set_property(graph, "quantize", quantize).expect("it is set");
            let by_graph = EstimateRequest { model: None, graph: Some(graph), shapes: vec![] };
            let estimate = caller.estimate(&by_graph).expect("it is estimated");
            assert_eq!(estimate, caller.estimate(&of("mobilenetv2", &[])).expect("it is estimated"));
            let measured = estimate.measured_instructions.expect("the trial has run");
            near(estimate.run_instructions, measured, 5);
            caller.infer(&request("mobilenetv2", input.clone())).expect("it infers");
            let update = caller.infer(&request("mobilenetv2", input.clone())).expect("it infers");
            near(estimate.instructions, update.instructions, 5);
            let profile = caller.profile(&request("mobilenetv2", input.clone())).expect("it infers");
            let nodes: u64 = profile.nodes.iter().filter_map(|n| n.estimate).sum();
            near(nodes, profile.instructions, 5);
            assert!(estimate.fits_query && estimate.fits_update && !estimate.at_least, "{estimate:?}");
            assert_eq!((estimate.load_instructions, estimate.plan_instructions), (0, 0));
            // The network's products and convolutions, and its pool.
            assert!((300_774_272..300_900_000).contains(&estimate.macs), "{estimate:?}");
            assert_eq!(estimate.general_nodes, 0);
            println!("{quantize:?}: {} estimated, {measured} metered", estimate.run_instructions);
        }
    });
}

#[test]
fn shapes_that_never_ran_are_estimated_by_a_query() {
    on_every_runtime("estimates of digits", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        service.upload("digits", &digits()).expect("it is accepted");
        let smallest = caller.estimate(&of("digits", &[])).expect("it is estimated");
        assert_eq!(smallest.shapes, [[1, 1, 8, 8]]);
        // The trial is the first run of anything in the canister, with what is set up once.
        let trial = smallest.measured_instructions.expect("the trial has run");
        assert!(smallest.run_instructions < trial && trial < 2 * smallest.run_instructions, "{smallest:?}");
        let new = of("digits", &[("image", &[7, 1, 8, 8])]);
        let estimate = caller.estimate(&new).expect("a query plans them");
        assert!(estimate.plan_instructions > 0 && estimate.measured_instructions.is_none(), "{estimate:?}");
        refused(
            caller.infer_query(&request("digits", image(7))),
            ErrorCode::UnsupportedOperation,
            &["[7, 1, 8, 8]", "`estimate`"],
        );
        let first = caller.infer(&request("digits", image(7))).expect("an update takes any batch");
        near(estimate.plan_instructions, first.plan_instructions, 5);
        let known = caller.estimate(&new).expect("it is planned");
        assert_eq!((known.plan_instructions, known.run_instructions), (0, estimate.run_instructions));
        near(known.run_instructions, known.measured_instructions.expect("it has run"), 15);
        service.upgrade();
        let later = caller.estimate(&new).expect("a query loads and plans");
        assert!(later.load_instructions > 0 && later.plan_instructions > 0, "{later:?}");
        assert_eq!(later.run_instructions, estimate.run_instructions);
    });
}

#[test]
fn new_shapes_are_held_to_what_a_run_may_take() {
    on_every_runtime("max_instructions by estimate", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("digits").expect("it loads");
        caller.set_property(graph, "max_instructions", Some("5000000")).expect("it is set");
        caller.infer(&request("digits", image(2))).expect("two of them take less");
        let refusal = caller.infer(&request("digits", image(30)));
        refused(refusal, ErrorCode::TooLarge, &["about", "max_instructions is 5000000"]);
        caller.set_property(graph, "max_instructions", None).expect("it is unset");
        caller.infer(&request("digits", image(30))).expect("thirty of them take what they take");
    });
}

#[test]
fn what_depends_on_values_is_a_lower_bound() {
    on_every_runtime("estimates of value-dependent shapes", |replica| {
        let service = Service::deploy(replica, None);
        let model = onnx::Model {
            nodes: vec![onnx::node("NonZero", &["x"], &["y"], vec![])],
            inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(4)])],
            outputs: vec![onnx::value("y", element::INT64, &[Dim::Is(1), Dim::Named("found")])],
            ..Default::default()
        };
        service.upload("found", &model.finish()).expect("it is accepted");
        let estimate = service.controller().estimate(&of("found", &[])).expect("it is estimated");
        assert!(estimate.at_least, "{estimate:?}");
    });
}

#[test]
fn what_cannot_fit_is_told_before_it_runs() {
    on_every_runtime("an estimate of much", |replica| {
        let service = Service::deploy(replica, None);
        let model = onnx::products(Dim::Named("side"), 8);
        service.upload("chain", &model.finish()).expect("it is accepted");
        let caller = service.controller();
        let much = caller.estimate(&of("chain", &[("x", &[1_000, 1_000])])).expect("it is estimated");
        assert!(!much.fits_query && much.fits_update, "{much:?}");
        let more = caller.estimate(&of("chain", &[("x", &[2_000, 2_000])])).expect("it is estimated");
        assert!(!more.fits_query && !more.fits_update, "{more:?}");
        assert!(more.run_instructions > 7 * much.run_instructions, "{more:?}");
    });
}

#[test]
fn a_query_is_refused_by_the_estimate_of_what_never_ran() {
    on_every_runtime("a refusal by an estimate", |replica| {
        let service = Service::deploy(replica, None);
        // Each product of 512 x 512 takes some 0.22 B; the trial's zeros end at the division.
        let (size, products) = (512, 30);
        let one = |name: &str| onnx::value(name, element::INT32, &[Dim::Is(1)]);
        let mut model = onnx::products(Dim::Is(i64::from(size)), products);
        model.nodes.push(onnx::node("Div", &["a", "b"], &["c"], vec![]));
        model.inputs.extend([one("a"), one("b")]);
        model.outputs.push(one("c"));
        service.upload("chain", &model.finish()).expect("it is accepted");
        let caller = service.controller();
        let int =
            |v: i32| Tensor { dimensions: vec![1], ty: TensorType::I32, data: v.to_le_bytes().to_vec() };
        let half = Tensor::from_f32(vec![size, size], &vec![0.5; (size * size) as usize]);
        let inputs = vec![("x".to_owned(), half), ("a".to_owned(), int(7)), ("b".to_owned(), int(2))];
        let estimate = caller.estimate(&of("chain", &[])).expect("it is estimated");
        assert!(!estimate.fits_query && estimate.measured_instructions.is_none(), "{estimate:?}");
        let told = estimate.run_instructions.to_string();
        refused(
            caller.infer_query(&request("chain", inputs)),
            ErrorCode::TooLarge,
            &[&told, "5000000000", "`infer`"],
        );
    });
}

#[test]
fn whatever_is_asked_is_answered() {
    on_every_runtime("odd estimates", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.caller(Principal::anonymous());
        let invalid = ErrorCode::InvalidArgument;
        let ask = |shapes: &[(&str, &[u32])]| caller.estimate(&of("digits", shapes));
        refused(caller.estimate(&of("nothing", &[])), ErrorCode::NotFound, &["nothing"]);
        refused(caller.estimate(&EstimateRequest::default()), invalid, &["`model`", "`graph`"]);
        let both = EstimateRequest { graph: Some(0), ..of("digits", &[]) };
        refused(caller.estimate(&both), invalid, &["one of both"]);
        let unknown = EstimateRequest { model: None, graph: Some(99), shapes: vec![] };
        refused(caller.estimate(&unknown), invalid, &["99"]);
        refused(ask(&[("picture", &[1, 1, 8, 8])]), invalid, &["picture", "`image`"]);
        refused(ask(&[("image", &[1, 1, 8, 8]), ("image", &[1, 1, 8, 8])]), invalid, &["twice"]);
        refused(ask(&[("image", &[1, 8, 8])]), invalid, &["rank 4", "rank 3"]);
        refused(ask(&[("image", &[])]), invalid, &["rank 0"]);
        refused(ask(&[("image", &[1; 500])]), invalid, &["rank 500"]);
        refused(ask(&[("image", &[1, 3, 8, 8])]), invalid, &["dimension 1"]);
        for batch in [u32::MAX, 1 << 31, 1 << 24, 3_000_000] {
            refused(ask(&[("image", &[batch, 1, 8, 8])]), ErrorCode::TooLarge, &["bytes"]);
        }
        for batch in [0, 2, 1_000, 100_000] {
            if let Err(e) = ask(&[("image", &[batch, 1, 8, 8])]) {
                assert!(matches!(e, ic_nn_client::ClientError::Service { .. }), "{batch}: {e}");
            }
        }
        ask(&[("0", &[2, 1, 8, 8])]).expect("an index is a name");
        for garbage in [&b""[..], b"DIDL", b"no Candid", &[0; 1_000], &encode_args((1u64,)).expect("encodes")]
        {
            let reply = service.replica.query(service.canister, Principal::anonymous(), "estimate", garbage);
            let reply = reply.expect("it does not trap");
            let answer: Result<EstimateResponse, Error> =
                candid::decode_one(&reply).expect("it is an answer");
            assert_eq!(answer.expect_err("it is no request").code, invalid, "{garbage:?}");
        }
    });
}

#[test]
fn it_is_told_to_those_who_may_read() {
    on_every_runtime("estimates and strangers", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let stranger = service.caller(Principal::anonymous());
        stranger.estimate(&of("digits", &[])).expect("anyone reads");
        let listed = AccessPolicy { read: Access::Listed, query: Access::Anyone, infer: Access::Listed };
        service.controller().set_access_policy(&listed).expect("it is set");
        refused(stranger.estimate(&of("digits", &[])), ErrorCode::Security, &["read"]);
        service.controller().estimate(&of("digits", &[])).expect("a controller reads");
    });
}
