//! What a query may run: shapes that an update has run, at a cost that fits. And what an update does where the subnet
//! grants no memory.

use ic_nn_host::Host;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, refused, repository, request};
use ic_nn_types::{ErrorCode, InferRequest, NamedTensor, Tensor, TensorType};

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is in the repository")
}

fn images(batch: u32) -> InferRequest {
    let pixels: Vec<f32> = (0..batch * 64).map(|i| (i % 17) as f32 / 16.0).collect();
    let image = Tensor::from_f32(vec![batch, 1, 8, 8], &pixels);
    request("digits", vec![("image".into(), image)])
}

#[test]
fn a_query_takes_shapes_that_an_update_has_run() {
    on_every_runtime("shapes", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        caller.infer_query(&images(1)).expect("the trial ran on a batch of 1");
        refused(
            caller.infer_query(&images(3)),
            ErrorCode::UnsupportedOperation,
            &["digits:1", "[3, 1, 8, 8]", "`infer`"],
        );
        let first = caller.infer(&images(3)).expect("an update takes any batch");
        assert!(first.plan_instructions > 0, "the shapes were new: {}", first.plan_instructions);
        let again = caller.infer(&images(3)).expect("an update takes any batch");
        assert_eq!((again.plan_instructions, &again.outputs), (0, &first.outputs));
        assert_eq!(caller.infer_query(&images(3)).expect("it is known now").outputs, first.outputs);
        service.upgrade();
        let later = caller.infer_query(&images(3)).expect("it is known after an upgrade");
        assert_eq!(later.outputs, first.outputs);
        assert!(later.load_instructions > 0 && later.plan_instructions > 0, "{later:?}");
    });
}

#[test]
fn a_profile_says_where_the_instructions_of_an_inference_go() {
    on_every_runtime("profile", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        // Shapes that are new to the graph, then the same again: planning is no node's.
        for _ in 0..2 {
            let profile = caller.profile(&images(2)).expect("an update takes any batch");
            assert_eq!(profile.version, 1);
            assert_eq!(profile.count as usize, profile.nodes.len());
            assert_eq!(profile.instructions, profile.nodes.iter().map(|n| n.instructions).sum::<u64>());
            let whole = caller.infer(&images(2)).expect("it infers").instructions;
            assert!(profile.instructions < whole, "{} of {whole}", profile.instructions);
            assert!(profile.instructions > whole / 4, "{} of {whole}", profile.instructions);
            let macs: u64 = profile.nodes.iter().map(|n| n.macs).sum();
            assert!(
                (2 * 400_000..2 * 500_000).contains(&macs),
                "{macs} multiply-adds in {:?}",
                profile.nodes
            );
            let dearest = profile.nodes.iter().max_by_key(|n| n.instructions).expect("nodes");
            assert!(dearest.operator.contains("Convolution") || dearest.operator == "Product", "{dearest:?}");
            assert_eq!(dearest.dimensions.first(), Some(&Some(2)), "{dearest:?}");
        }
        let mut wrong = images(1);
        wrong.inputs[0].1.dimensions = vec![64];
        refused(caller.profile(&wrong), ErrorCode::InvalidArgument, &["image"]);
    });
}

#[test]
fn a_query_that_cannot_fit_is_told_so() {
    on_every_runtime("a chain of products", |replica| {
        let service = Service::deploy(replica, None);
        // Each product of 512 x 512 takes some 0.22 B.
        let (size, products) = (512, 30);
        let model = onnx::products(Dim::Is(i64::from(size)), products);
        service.upload("chain", &model.finish()).expect("it is accepted");
        let caller = service.controller();
        let half = vec![0.5 / size as f32; (size * size) as usize];
        let request = request("chain", vec![("x".into(), Tensor::from_f32(vec![size, size], &half))]);
        let answer = caller.infer(&request).expect("it fits an update");
        assert!(answer.instructions > 5_000_000_000, "{}", answer.instructions);
        refused(caller.infer_query(&request), ErrorCode::TooLarge, &["5000000000", "`infer`"]);
    });
}

#[test]
fn a_query_does_not_run_what_depends_on_values() {
    on_every_runtime("value-dependent shapes", |replica| {
        let service = Service::deploy(replica, None);
        let model = onnx::Model {
            nodes: vec![onnx::node("NonZero", &["x"], &["y"], vec![])],
            inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(4)])],
            outputs: vec![onnx::value("y", element::INT64, &[Dim::Is(1), Dim::Named("found")])],
            ..Default::default()
        };
        service.upload("found", &model.finish()).expect("it is accepted");
        let inputs: Vec<NamedTensor> = vec![("x".into(), Tensor::from_f32(vec![4], &[0.0, 1.0, 0.0, 2.0]))];
        refused(
            service.ask("found", inputs.clone()),
            ErrorCode::UnsupportedOperation,
            &["depend on values", "`infer`"],
        );
        let answer = service.infer("found", inputs).expect("an update runs it");
        assert_eq!(answer[0].1.dimensions, [1, 2]);
    });
}

#[test]
fn the_least_integer_by_minus_one_is_an_error() {
    on_every_runtime("division", |replica| {
        let service = Service::deploy(replica, None);
        let model = onnx::Model {
            nodes: vec![onnx::node("Div", &["a", "b"], &["y"], vec![])],
            inputs: vec![
                onnx::value("a", element::INT32, &[Dim::Is(1)]),
                onnx::value("b", element::INT32, &[Dim::Is(1)]),
            ],
            outputs: vec![onnx::value("y", element::INT32, &[Dim::Is(1)])],
            ..Default::default()
        };
        service.upload("div", &model.finish()).expect("it is accepted");
        let int =
            |v: i32| Tensor { dimensions: vec![1], ty: TensorType::I32, data: v.to_le_bytes().to_vec() };
        let ask = |a, b| request("div", vec![("a".into(), int(a)), ("b".into(), int(b))]);
        let caller = service.controller();
        // The trial's zeros were refused, so that nothing has run; what was planned has a price.
        let words = ["has not run", "about", "instructions"];
        refused(caller.infer_query(&ask(7, 2)), ErrorCode::UnsupportedOperation, &words);
        assert_eq!(caller.infer(&ask(7, 2)).expect("it divides").outputs[0].1, int(3));
        assert_eq!(caller.infer_query(&ask(7, 2)).expect("it is known now").outputs[0].1, int(3));
        for (a, b, word) in [(i32::MIN, -1, "-1"), (1, 0, "zero")] {
            refused(caller.infer_query(&ask(a, b)), ErrorCode::InvalidArgument, &[word]);
            refused(caller.infer(&ask(a, b)), ErrorCode::InvalidArgument, &[word]);
        }
    });
}

/// No other runtime lets a test take the subnet's memory away.
#[test]
fn where_the_subnet_grants_no_memory_an_upload_is_refused() {
    let host = Host::builder().schedule("2025-10").stable_limit(60 << 20).build().expect("a host");
    let service = Service::deploy(&host, None);
    let caller = service.controller();
    service.upload("m", &onnx::add()).expect("there is room");
    let large = onnx::Model {
        nodes: vec![onnx::node("Add", &["x", "w"], &["y"], vec![])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1)])],
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(6 << 20)])],
        initializers: vec![onnx::tensor("w", element::FLOAT, &[6 << 20], &vec![0; 24 << 20])],
        ..Default::default()
    };
    let before = caller.server_metadata().expect("metadata").stable_bytes;
    refused(service.upload("large", &large.finish()), ErrorCode::TooLarge, &["stable memory could not grow"]);
    assert_eq!(caller.server_metadata().expect("metadata").stable_bytes, before);
    let row = || Tensor::from_f32(vec![1, 3], &[1.0, 2.0, 3.0]);
    service.ask("m", vec![("left".into(), row()), ("right".into(), row())]).expect("what is there answers");
}
