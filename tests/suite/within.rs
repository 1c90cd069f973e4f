//! Runs that are left within one node: rows, sequences and what tract computes go on over messages as products do.

use ic_nn_host::Host;
use ic_nn_tests::onnx::{
    self, Dim, Message,
    element::{FLOAT, INT64},
};
use ic_nn_tests::service::{Service, request};
use ic_nn_types::{InferParameters, Tensor};

/// Instructions of a message. Each of the models has a node that takes more.
const MESSAGE: u64 = 2_000_000_000;

/// Numbers that are small and of all kinds.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 37 + at / 11) % 101) as f32 / 500.0 - 0.1).collect()
}

fn constant(name: &str, dims: &[i64]) -> Message {
    let data: Vec<u8> =
        numbers(dims.iter().product::<i64>() as usize).iter().flat_map(|x| x.to_le_bytes()).collect();
    onnx::tensor(name, FLOAT, dims, &data)
}

/// `y` of `x`, whose first axis is of any length.
fn model(rest: &[i64], rank: usize, nodes: Vec<Message>, initializers: Vec<Message>) -> Vec<u8> {
    let dims = |first: &'static str, rest: Vec<Dim>| [vec![Dim::Named(first)], rest].concat();
    let free = ["a", "b", "c"].into_iter().take(rank - 1).map(Dim::Named).collect();
    onnx::Model {
        nodes,
        inputs: vec![onnx::value("x", FLOAT, &dims("n", rest.iter().map(|n| Dim::Is(*n)).collect()))],
        outputs: vec![onnx::value("y", FLOAT, &dims("m", free))],
        initializers,
        ..onnx::Model::default()
    }
    .finish()
}

/// A sequence of 16 numbers a step: what the last state is.
fn sequence(operator: &str, gates: i64, hidden: i64) -> Vec<u8> {
    let weights = vec![constant("w", &[1, gates * hidden, 16]), constant("r", &[1, gates * hidden, hidden])];
    let state =
        onnx::node(operator, &["x", "w", "r"], &["", "y"], vec![onnx::attribute_int("hidden_size", hidden)]);
    model(&[1, 16], 3, vec![state], weights)
}

/// `x` and a constant of `dims` added, then `operator`, then the largest of each row.
fn elements(dims: &[i64], operator: Message) -> Vec<u8> {
    let rank = dims.len();
    let axes = (1..rank as i64).collect::<Vec<_>>();
    let nodes = vec![
        onnx::node("Add", &["x", "c"], &["sum"], vec![]),
        operator,
        onnx::node("ReduceMax", &["made"], &["y"], vec![onnx::attribute_ints("axes", &axes)]),
    ];
    model(&vec![1; rank - 1], rank, nodes, vec![constant("c", dims)])
}

/// What `nodes` make of `found`: two rows of as many numbers as `x` and a constant of `dims` have sums that are not 0.
fn found(dims: &[i64], nodes: Vec<Message>, initializers: Vec<Message>) -> Vec<u8> {
    let mut all = vec![
        onnx::node("Add", &["x", "c"], &["sum"], vec![]),
        onnx::node("NonZero", &["sum"], &["places"], vec![]),
    ];
    all.extend(nodes);
    all.push(onnx::node("ReduceMax", &["made"], &["y"], vec![onnx::attribute_ints("axes", &[1])]));
    let constants = [vec![constant("c", dims)], initializers].concat();
    model(&vec![1; dims.len() - 1], dims.len(), all, constants)
}

#[test]
fn rows_sequences_and_what_tract_computes_are_left_within() {
    let (plain, short) = (Host::builder(), Host::builder().update_limit(MESSAGE));
    let hosts = [plain, short].map(|builder| builder.build().expect("a host"));
    let [whole, service] = hosts.each_ref().map(|host| Service::deploy(host, None));
    let softmax = onnx::node("Softmax", &["sum"], &["made"], vec![onnx::attribute_int("axis", 2)]);
    let power = onnx::node("Pow", &["sum", "c"], &["made"], vec![]);
    let to_float = || onnx::attribute_int("to", 1);
    let power_of_places = vec![
        onnx::node("Cast", &["places"], &["found"], vec![to_float()]),
        onnx::node("Pow", &["half", "found"], &["made"], vec![]),
    ];
    // Rows that the second coordinate picks, times a matrix.
    let rows = vec![
        onnx::node("Gather", &["places", "second"], &["picked"], vec![onnx::attribute_int("axis", 0)]),
        onnx::node("Gather", &["table", "picked"], &["rows"], vec![]),
        onnx::node("MatMul", &["rows", "matrix"], &["made"], vec![]),
    ];
    let second = onnx::tensor("second", INT64, &[], &1i64.to_le_bytes());
    let half = onnx::tensor("half", FLOAT, &[], &0.5f32.to_le_bytes());
    let tables = vec![second, constant("table", &[64, 512]), constant("matrix", &[512, 512])];
    let models = [
        // Lengths that values decide: a function of numbers, and a product.
        ("places", found(&[1, 6_000], power_of_places, vec![half]), vec![330, 1]),
        ("picked", found(&[1, 64], rows, tables), vec![110, 1]),
        // tract's Scan, and our own kernel.
        ("lstm", sequence("LSTM", 4, 512), vec![900, 1, 16]),
        ("gru", sequence("GRU", 3, 512), vec![450, 1, 16]),
        // Neither rows nor columns, and a function that tract computes one by one.
        ("softmax", elements(&[1, 6_000, 7, 3], softmax), vec![4, 1, 1, 1]),
        ("power", elements(&[1, 500_000], power), vec![11, 1]),
    ];
    for (name, file, shape) in models {
        whole.upload(name, &file).expect("it is accepted");
        service.upload(name, &file).expect("its trial goes on");
        let count = shape.iter().product::<u32>() as usize;
        let mut asked = request(name, vec![("x".to_owned(), Tensor::from_f32(shape, &numbers(count)))]);
        // The first plans for these shapes too.
        whole.controller().infer(&asked).expect("a message has room for it");
        let expected = whole.controller().infer(&asked).expect("a message has room for it");
        assert!(expected.instructions > MESSAGE, "{name} fits a message: {}", expected.instructions);
        asked.parameters =
            Some(InferParameters { slice_instructions: Some(MESSAGE / 2), ..Default::default() });
        let sliced = whole.controller().infer(&asked).expect("it goes on");
        assert!(sliced.outputs == expected.outputs, "{name} answers something else in slices");
        let (took, most) = (sliced.instructions, expected.instructions + expected.instructions / 50);
        println!("{name}: {} instructions in one message, {took} in several", expected.instructions);
        assert!(took <= most, "{name} takes {took} in slices, {} in one message", expected.instructions);
        let answer = service.controller().infer(&asked).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!(answer.outputs == expected.outputs, "{name} answers something else");
    }
}
