//! WAMR's table: x[i] = i as f32 through small graphs, rebuilt as ONNX.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Message, Model, element, node, tensor, value};
use ic_nn_tests::service::Service;

use super::{counting, floats, named, open};

fn dims(shape: [i64; 4]) -> Vec<Dim> {
    shape.map(Dim::Is).to_vec()
}

/// A graph from `x` of this shape to one number.
fn reduce(op: &str, shape: [i64; 4]) -> Model {
    Model {
        nodes: vec![node(op, &["x"], &["y"], vec![])],
        inputs: vec![value("x", element::FLOAT, &dims(shape))],
        outputs: vec![value("y", element::FLOAT, &dims([1, 1, 1, 1]))],
        ..Model::default()
    }
}

/// Runs a graph on x[i] = i, by compute and by get_output, and answers its outputs.
fn run(name: &str, model: Model, shape: [u32; 4], check: impl Fn(&[Vec<f32>])) {
    let model = model.finish();
    on_every_runtime(name, |replica| {
        let service = Service::deploy(replica, None);
        let (caller, _, context) = open(&service, model.clone());
        caller.set_input(context, "0", &counting(&shape), None).expect("the first input takes it");
        let outputs = caller.compute(context, &[], None).expect("it computes");
        let computed: Vec<Vec<f32>> = (0..outputs.len()).map(|ix| floats(&outputs, ix)).collect();
        check(&computed);
        for (ix, values) in computed.iter().enumerate() {
            let part = caller.get_output(context, &ix.to_string(), None).expect("it is kept");
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(part.data, bytes, "output {ix} by get_output is output {ix} of compute");
        }
        let inputs = [named("x", counting(&shape))];
        assert_eq!(caller.compute(context, &inputs, None).expect("it computes"), outputs);
    });
}

#[test]
fn sum_of_1_5_5_1_is_300() {
    run("sum", reduce("ReduceSum", [1, 5, 5, 1]), [1, 5, 5, 1], |y| assert_eq!(y, [[300.0]]));
}

#[test]
fn max_of_1_5_5_1_is_24() {
    run("max", reduce("ReduceMax", [1, 5, 5, 1]), [1, 5, 5, 1], |y| assert_eq!(y, [[24.0]]));
}

#[test]
fn average_of_1_5_5_1_is_12() {
    run("average", reduce("ReduceMean", [1, 5, 5, 1]), [1, 5, 5, 1], |y| assert_eq!(y, [[12.0]]));
}

#[test]
fn mult_dim_of_1_3_3_1_is_0_to_8() {
    let model = Model {
        outputs: vec![value("y", element::FLOAT, &dims([1, 3, 3, 1]))],
        ..reduce("Identity", [1, 3, 3, 1])
    };
    let expected: Vec<f32> = (0..9).map(|i| i as f32).collect();
    run("mult_dim", model, [1, 3, 3, 1], |y| assert_eq!(y, std::slice::from_ref(&expected)));
}

/// x[h][w] is 4h + w: the sum over h is 24 + 4w, its mean 6 + w.
#[test]
fn mult_out_of_1_4_4_1_is_4i_plus_24_and_i_plus_6() {
    let model = Model {
        nodes: vec![
            node("ReduceSum", &["x", "rows"], &["sums"], vec![]),
            node("ReduceMean", &["x"], &["means"], vec![onnx::attribute_ints("axes", &[1])]),
        ],
        inputs: vec![value("x", element::FLOAT, &dims([1, 4, 4, 1]))],
        outputs: vec![
            value("sums", element::FLOAT, &dims([1, 1, 4, 1])),
            value("means", element::FLOAT, &dims([1, 1, 4, 1])),
        ],
        initializers: vec![onnx::integers("rows", &[1])],
        ..Model::default()
    };
    run("mult_out", model, [1, 4, 4, 1], |y| {
        assert_eq!(y, [[24.0, 28.0, 32.0, 36.0], [6.0, 7.0, 8.0, 9.0]]);
    });
}

/// The mean, 12, in steps of 0.1195: 12 / 0.1195 = 100.4, and 100 steps are 11.95.
#[test]
fn quantised_average_of_1_5_5_1_is_11_95() {
    let scale = |name: &str, v: f32| -> Message { tensor(name, element::FLOAT, &[], &v.to_le_bytes()) };
    let model = Model {
        nodes: vec![
            node("QuantizeLinear", &["x", "in", "zero"], &["xq"], vec![]),
            node("DequantizeLinear", &["xq", "in", "zero"], &["xd"], vec![]),
            node("ReduceMean", &["xd"], &["mean"], vec![]),
            node("QuantizeLinear", &["mean", "out", "zero"], &["yq"], vec![]),
            node("DequantizeLinear", &["yq", "out", "zero"], &["y"], vec![]),
        ],
        initializers: vec![scale("in", 0.1), scale("out", 0.1195), tensor("zero", element::UINT8, &[], &[0])],
        ..reduce("ReduceMean", [1, 5, 5, 1])
    };
    run("quantised average", model, [1, 5, 5, 1], |y| {
        assert_eq!((y.len(), y[0].len()), (1, 1));
        assert!((y[0][0] - 11.95).abs() < 0.01, "11.95 is expected, {} came", y[0][0]);
    });
}
