//! Wasmtime's programs, each by what it shows.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Model, element};
use ic_nn_tests::service::{Service, refused, request};
use ic_nn_types::{ErrorCode, ExecutionTarget, GraphBuilder, GraphEncoding, NamedTensor, Tensor, TensorType};

use super::{floats, named, open};

fn row(values: [f32; 3]) -> Tensor {
    Tensor::from_f32(vec![1, 3], &values)
}

#[test]
fn load_from_bytes() {
    on_every_runtime("load from bytes", |replica| {
        let service = Service::deploy(replica, None);
        for encoding in [GraphEncoding::Onnx, GraphEncoding::Autodetect] {
            let caller = service.controller();
            let builders = [GraphBuilder::from(onnx::add())];
            let graph = caller.load(&builders, encoding, ExecutionTarget::Cpu, None).expect("it loads");
            let context = caller.init_execution_context(graph).expect("it opens");
            caller.set_input(context, "left", &row([1.0, 2.0, 3.0]), None).expect("it is set");
            caller.set_input(context, "right", &row([10.0, 20.0, 30.0]), None).expect("it is set");
            let outputs = caller.compute(context, &[], None).expect("it computes");
            assert_eq!(floats(&outputs, 0), [11.0, 22.0, 33.0]);
            let described = caller.describe_graph(graph).expect("it is described");
            assert_eq!(described.inputs.len(), 2);
            assert_eq!(described.graph, Some(graph));
        }
        assert_eq!(service.controller().list_all(), Ok(vec![]), "bytes have no name in the registry");
    });
}

#[test]
fn load_by_name() {
    on_every_runtime("load by name", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        service.upload("add", &onnx::add()).expect("it is accepted");
        let graph = caller.load_by_name("add").expect("it loads");
        let context = caller.init_execution_context(graph).expect("it opens");
        let inputs = [named("left", row([1.0; 3])), named("right", row([2.0; 3]))];
        assert_eq!(floats(&caller.compute(context, &inputs, None).expect("it computes"), 0), [3.0; 3]);
        refused(caller.load_by_name("sub"), ErrorCode::NotFound, &["sub"]);
    });
}

#[test]
fn named_inputs() {
    let subtract = Model {
        nodes: vec![onnx::node("Sub", &["left", "right"], &["difference"], vec![])],
        inputs: ["left", "right"].map(|n| onnx::value(n, element::FLOAT, &[Dim::Is(2)])).to_vec(),
        outputs: vec![onnx::value("difference", element::FLOAT, &[Dim::Is(2)])],
        ..Model::default()
    }
    .finish();
    on_every_runtime("named inputs", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, subtract.clone());
        let pair = |a, b| Tensor::from_f32(vec![2], &[a, b]);
        let (left, right) = (named("left", pair(9.0, 8.0)), named("right", pair(1.0, 2.0)));
        for inputs in [[left.clone(), right.clone()], [right, left]] {
            let outputs = caller.compute(context, &inputs, None).expect("the order does not matter");
            assert_eq!((outputs[0].0.as_str(), floats(&outputs, 0)), ("difference", vec![8.0, 6.0]));
        }
    });
}

/// Holds both ways of giving an input to the same refusal, after which good inputs compute.
fn refuses(name: &str, input: NamedTensor, words: &[&str]) {
    on_every_runtime(name, |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        let code = ErrorCode::InvalidArgument;
        refused(caller.set_input(context, &input.0, &input.1, None), code, words);
        let inputs = [named("left", row([1.0; 3])), input.clone()];
        refused(caller.compute(context, &inputs, None), code, words);
        let good = [named("left", row([1.0; 3])), named("right", row([2.0; 3]))];
        assert_eq!(floats(&caller.compute(context, &good, None).expect("it computes"), 0), [3.0; 3]);
    });
}

#[test]
fn a_wrong_name_is_refused() {
    refuses("wrong name", named("middle", row([0.0; 3])), &["middle", "left", "right"]);
}

#[test]
fn a_wrong_rank_is_refused() {
    let flat = Tensor::from_f32(vec![3], &[0.0; 3]);
    refuses("wrong rank", named("right", flat), &["right", "rank 2", "rank 1"]);
}

#[test]
fn a_wrong_dimension_is_refused() {
    let wide = Tensor::from_f32(vec![1, 4], &[0.0; 4]);
    refuses("wrong dimension", named("right", wide), &["right", "dimension 1 must be 3", "4 came"]);
}

#[test]
fn a_wrong_type_is_refused() {
    let whole = Tensor { ty: TensorType::I32, ..row([0.0; 3]) };
    refuses("wrong type", named("right", whole), &["right", "FP32 is expected", "I32 came"]);
}

#[test]
fn data_of_a_wrong_length_are_refused() {
    let short = Tensor { data: vec![0; 11], ..row([0.0; 3]) };
    refuses("wrong length", named("right", short), &["right", "12", "11"]);
}

#[test]
fn a_dimension_of_minus_1_accepts_any_size() {
    on_every_runtime("dynamic dimension", |replica| {
        let service = Service::deploy(replica, None);
        for (name, dynamic) in [("number", Dim::Is(-1)), ("symbol", Dim::Named("batch"))] {
            let model = onnx::unary("Neg", element::FLOAT, &[dynamic, Dim::Is(2)]);
            service.serve(name, &model);
            for batch in [1, 2, 7, 100] {
                let values: Vec<f32> = (0..batch * 2).map(|i| i as f32).collect();
                let input = || vec![named("x", Tensor::from_f32(vec![batch, 2], &values))];
                let outputs = service.infer(name, input()).expect("any batch");
                assert_eq!(outputs[0].1.dimensions, [batch, 2], "{name}");
                assert!(floats(&outputs, 0).iter().zip(&values).all(|(y, x)| *y == -x), "{name} {batch}");
                assert_eq!(service.ask(name, input()).expect("queries too by now"), outputs);
            }
            let described = service.controller().describe(name).expect("it is there");
            assert_eq!(described.inputs[0].dimensions, [None, Some(2)], "{name}");
        }
    });
}

#[test]
fn an_input_is_named_by_its_decimal_index_where_none_has_that_name() {
    let swapped = Model {
        nodes: vec![onnx::node("Sub", &["1", "0"], &["y"], vec![])],
        inputs: ["1", "0"].map(|n| onnx::value(n, element::FLOAT, &[Dim::Is(1)])).to_vec(),
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(1)])],
        ..Model::default()
    }
    .finish();
    on_every_runtime("index", |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, onnx::add());
        caller.set_input(context, "0", &row([1.0; 3]), None).expect("the first input");
        caller.set_input(context, "1", &row([2.0; 3]), None).expect("the second input");
        assert_eq!(floats(&caller.compute(context, &[], None).expect("it computes"), 0), [3.0; 3]);
        for none in ["2", "-1", "1.0", ""] {
            let set = caller.set_input(context, none, &row([0.0; 3]), None);
            refused(set, ErrorCode::InvalidArgument, &[none, "left", "right"]);
        }
        service.serve("swapped", &swapped);
        let one = |v| Tensor::from_f32(vec![1], &[v]);
        let request = request("swapped", vec![named("0", one(1.0)), named("1", one(10.0))]);
        let outputs = caller.infer(&request).expect("it infers").outputs;
        assert_eq!(floats(&outputs, 0), [9.0], "a name goes before an index");
    });
}
