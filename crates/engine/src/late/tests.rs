//! Graphs whose lengths depend on values, against the same nodes on lengths that are known.

use std::sync::Arc;

use ic_nn_types::{NamedTensor, Tensor};
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

use crate::cut::same;
use crate::one_node::{FLOAT, INT64, int, ints, text, value};
use crate::{Graph, InferError, Limits, ModelError, Progress};

/// Rows that there are, and numbers of each.
const ROWS: usize = 24;
const WIDE: usize = 12;

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 37 + at / 11) % 101) as f32 / 100.0 - 0.4).collect()
}

fn constant(name: &str, dims: &[i64]) -> TensorProto {
    let data = numbers(dims.iter().product::<i64>() as usize).iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorProto {
        name: name.into(),
        data_type: FLOAT,
        dims: dims.to_vec(),
        raw_data: data,
        ..Default::default()
    }
}

fn whole_numbers(name: &str, numbers: &[i64]) -> TensorProto {
    let data = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let dims = vec![numbers.len() as i64];
    TensorProto { name: name.into(), data_type: INT64, dims, raw_data: data, ..Default::default() }
}

fn real(name: &str, dims: Vec<i64>, numbers: &[f32]) -> TensorProto {
    let data = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorProto { name: name.into(), data_type: FLOAT, dims, raw_data: data, ..Default::default() }
}

fn one_number(name: &str, number: f32) -> TensorProto {
    real(name, vec![], &[number])
}

fn scales(name: &str, numbers: &[f32]) -> TensorProto {
    real(name, vec![numbers.len() as i64], numbers)
}

fn ones(name: &str, count: usize) -> TensorProto {
    real(name, vec![count as i64], &vec![1.0; count])
}

fn whole_number(name: &str, number: i64) -> TensorProto {
    TensorProto { dims: vec![], ..whole_numbers(name, &[number]) }
}

fn load(
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: Vec<ValueInfoProto>,
    rank: usize,
) -> Result<Graph, String> {
    let output = vec![value("y", FLOAT, &vec![-1; rank])];
    let graph =
        GraphProto { node: nodes, initializer, input, output, name: "g".into(), ..Default::default() };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    let model = ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    Graph::load(model.encode_to_vec(), &Limits::default()).map_err(|e| e.to_string())
}

/// `y` of the rows `r` of a table that a mask picks: as many as it has ones, and as many as there are in `shape`.
fn picking(
    shape: &[i64],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    rank: usize,
) -> Result<Graph, String> {
    let table = [&[ROWS as i64], &shape[1..]].concat();
    let mut all = vec![
        node("NonZero", &["mask"], "found", vec![]),
        node("Squeeze", &["found", "first"], "places", vec![]),
        node("Gather", &["table", "places"], "r", vec![]),
    ];
    all.extend(nodes);
    let mut initializers = vec![constant("table", &table), whole_numbers("first", &[0])];
    initializers.extend(constants);
    load(all, initializers, vec![value("mask", FLOAT, &[ROWS as i64])], rank)
}

/// The same on rows that come as an input.
fn given(
    shape: &[i64],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    rank: usize,
) -> Result<Graph, String> {
    load(nodes, constants, vec![value("r", FLOAT, &[&[-1], &shape[1..]].concat())], rank)
}

#[test]
fn nodes_are_told_with_the_lengths_that_came() {
    let nodes = vec![node("MatMul", &["r", "c"], "m", vec![]), node("Exp", &["m"], "y", vec![])];
    let mut graph = picking(&[-1, 4096], nodes, vec![constant("c", &[4096, 8])], 2).expect("it loads");
    let limits = Limits::default();
    let arranged = graph.arrange(mask(7), &limits).expect("it fits");
    graph.plan(&arranged, &limits).expect("it plans");
    let mut run = graph.begin(&arranged, &limits).expect("it begins");
    let mut watched = vec![];
    run.advance(&mut |_| true, &mut |id| watched.push((id, 1))).expect("it runs").expect("it is over");
    let told = run.nodes(&watched);
    let of = |operator: &str| told.iter().find(|node| node.operator == operator).expect("it has run");
    let (rows, product, exp) = (of("Gather"), of("EinSum"), of("Exp"));
    assert_eq!(rows.dimensions, [Some(7), Some(4096)]);
    assert_eq!((product.dimensions.as_slice(), product.macs), (&[Some(7), Some(8)][..], 7 * 8 * 4096));
    assert!(product.estimate > product.macs / 4 && exp.bytes == 2 * 4 * 7 * 8, "{product:?} {exp:?}");
    assert!(told.iter().all(|node| node.instructions == 1 && node.estimate > 0));
}

/// The outputs of a run step by step, and how far it was before each.
fn stepped(
    graph: &mut Graph,
    inputs: Vec<NamedTensor>,
) -> Result<(Vec<NamedTensor>, Vec<Progress>), InferError> {
    let limits = Limits::default();
    let arranged = graph.arrange(inputs, &limits)?;
    graph.plan(&arranged, &limits)?;
    let mut run = graph.begin(&arranged, &limits)?;
    let mut steps = vec![];
    loop {
        steps.push(run.progress());
        let mut once = true;
        let goes_on = &mut |_| std::mem::replace(&mut once, false);
        if let Some(outputs) = run.advance(goes_on, &mut |_| ())? {
            return Ok((outputs, steps));
        }
    }
}

fn mask(count: usize) -> Vec<NamedTensor> {
    let ones: Vec<f32> = (0..ROWS).map(|row| f32::from(u8::from(row < count))).collect();
    vec![("mask".into(), Tensor::from_f32(vec![ROWS as u32], &ones))]
}

fn rows(shape: &[i64], count: usize) -> Vec<NamedTensor> {
    let each = shape[1..].iter().product::<i64>() as usize;
    let dims = std::iter::once(count as u32).chain(shape[1..].iter().map(|n| *n as u32)).collect();
    vec![("r".into(), Tensor::from_f32(dims, &numbers(ROWS * each)[..count * each]))]
}

fn at_most(graph: &mut Graph, largest: u64) {
    for plan in &mut graph.plans {
        Arc::get_mut(&mut plan.core).expect("nothing runs").set_largest(largest);
    }
}

/// What there is to compute of rows of that shape: nodes, constants, the output's rank.
type Case = (&'static str, Vec<i64>, Vec<NodeProto>, Vec<TensorProto>, usize);

fn cases() -> Vec<Case> {
    let wide = WIDE as i64;
    let flat = vec![-1, wide];
    let image = vec![-1, 3, 6, 6];
    let one = |op: &str, attributes| vec![node(op, &["r"], "y", attributes)];
    let with = |op: &str, attributes| vec![node(op, &["r", "c"], "y", attributes)];
    vec![
        ("Exp", flat.clone(), one("Exp", vec![]), vec![], 2),
        ("Sigmoid", flat.clone(), one("Sigmoid", vec![]), vec![], 2),
        ("Softmax of rows", flat.clone(), one("Softmax", vec![int("axis", 1)]), vec![], 2),
        ("Softmax of columns", flat.clone(), one("Softmax", vec![int("axis", 0)]), vec![], 2),
        ("Add", flat.clone(), with("Add", vec![]), vec![constant("c", &[wide])], 2),
        ("Mul", flat.clone(), vec![node("Mul", &["r", "r"], "y", vec![])], vec![], 2),
        ("Max", flat.clone(), with("Max", vec![]), vec![constant("c", &[wide])], 2),
        ("ReduceSum of rows", flat.clone(), with("ReduceSum", vec![]), vec![whole_numbers("c", &[1])], 2),
        ("ReduceSum of columns", flat.clone(), with("ReduceSum", vec![]), vec![whole_numbers("c", &[0])], 2),
        ("ReduceMax", flat.clone(), one("ReduceMax", vec![ints("axes", &[1])]), vec![], 2),
        ("MatMul", flat.clone(), with("MatMul", vec![]), vec![constant("c", &[wide, 20])], 2),
        (
            "MatMul, Relu, MatMul",
            flat.clone(),
            vec![
                node("MatMul", &["r", "c"], "a", vec![]),
                node("Relu", &["a"], "b", vec![]),
                node("MatMul", &["b", "d"], "y", vec![]),
            ],
            vec![constant("c", &[wide, 20]), constant("d", &[20, 7])],
            2,
        ),
        (
            "MatMul of rows by rows",
            flat.clone(),
            vec![node("Transpose", &["r"], "t", vec![]), node("MatMul", &["r", "t"], "y", vec![])],
            vec![],
            2,
        ),
        (
            "Gemm",
            flat.clone(),
            vec![node("Gemm", &["r", "c", "d"], "y", vec![])],
            vec![constant("c", &[wide, 5]), constant("d", &[5])],
            2,
        ),
        ("Transpose", flat.clone(), one("Transpose", vec![]), vec![], 2),
        ("Concat", flat.clone(), vec![node("Concat", &["r", "r"], "y", vec![int("axis", 1)])], vec![], 2),
        (
            "Concat of rows",
            flat.clone(),
            vec![node("Concat", &["r", "c"], "y", vec![int("axis", 0)])],
            vec![constant("c", &[2, wide])],
            2,
        ),
        ("Pad", flat.clone(), with("Pad", vec![]), vec![whole_numbers("c", &[0, 1, 0, 1])], 2),
        (
            "Cast",
            flat.clone(),
            vec![
                node("Cast", &["r"], "i", vec![int("to", 7)]),
                node("Cast", &["i"], "y", vec![int("to", 1)]),
            ],
            vec![],
            2,
        ),
        (
            "Div",
            flat.clone(),
            vec![node("Exp", &["r"], "e", vec![]), node("Div", &["r", "e"], "y", vec![])],
            vec![],
            2,
        ),
        (
            "Pow",
            flat.clone(),
            vec![node("Exp", &["r"], "e", vec![]), node("Pow", &["e", "r"], "y", vec![])],
            vec![],
            2,
        ),
        (
            "Clip",
            flat.clone(),
            vec![node("Clip", &["r", "c", "d"], "y", vec![])],
            vec![one_number("c", 0.0), one_number("d", 0.3)],
            2,
        ),
        (
            "Where",
            flat.clone(),
            vec![node("Less", &["r", "c"], "l", vec![]), node("Where", &["l", "r", "c"], "y", vec![])],
            vec![constant("c", &[wide])],
            2,
        ),
        (
            "LayerNormalization",
            flat.clone(),
            with("LayerNormalization", vec![]),
            vec![constant("c", &[wide])],
            2,
        ),
        ("ReduceMean", flat.clone(), one("ReduceMean", vec![ints("axes", &[1])]), vec![], 2),
        ("ReduceL2", flat.clone(), one("ReduceL2", vec![ints("axes", &[1])]), vec![], 2),
        ("ReduceLogSumExp", flat.clone(), one("ReduceLogSumExp", vec![ints("axes", &[1])]), vec![], 2),
        (
            "ArgMax",
            flat.clone(),
            vec![
                node("ArgMax", &["r"], "a", vec![int("axis", 1)]),
                node("Cast", &["a"], "y", vec![int("to", 1)]),
            ],
            vec![],
            2,
        ),
        (
            "TopK",
            flat.clone(),
            vec![NodeProto {
                output: vec!["y".into(), "at".into()],
                ..node("TopK", &["r", "c"], "", vec![])
            }],
            vec![whole_numbers("c", &[3])],
            2,
        ),
        ("CumSum", flat.clone(), with("CumSum", vec![]), vec![whole_number("c", 0)], 2),
        ("Tile", flat.clone(), with("Tile", vec![]), vec![whole_numbers("c", &[1, 2])], 2),
        (
            "Slice",
            flat.clone(),
            vec![node("Slice", &["r", "c", "d", "e"], "y", vec![])],
            vec![whole_numbers("c", &[1]), whole_numbers("d", &[9]), whole_numbers("e", &[1])],
            2,
        ),
        (
            "Reshape",
            flat.clone(),
            vec![node("Exp", &["r"], "e", vec![]), node("Reshape", &["e", "c"], "y", vec![])],
            vec![whole_numbers("c", &[-1, 3])],
            2,
        ),
        ("Expand", flat.clone(), with("Expand", vec![]), vec![whole_numbers("c", &[3, 1, 1])], 3),
        (
            "GatherElements",
            flat.clone(),
            vec![
                node("Cast", &["r"], "i", vec![int("to", 7)]),
                node("GatherElements", &["r", "i"], "y", vec![int("axis", 1)]),
            ],
            vec![],
            2,
        ),
        (
            "Einsum",
            flat.clone(),
            with("Einsum", vec![text("equation", "nk,mk->nm")]),
            vec![constant("c", &[5, wide])],
            2,
        ),
        (
            "BatchNormalization",
            image.clone(),
            vec![node("BatchNormalization", &["r", "c", "c", "c", "d"], "y", vec![])],
            vec![constant("c", &[3]), ones("d", 3)],
            4,
        ),
        (
            "InstanceNormalization",
            image.clone(),
            vec![node("InstanceNormalization", &["r", "c", "c"], "y", vec![])],
            vec![constant("c", &[3])],
            4,
        ),
        (
            "Resize",
            image.clone(),
            vec![node("Resize", &["r", "", "c"], "y", vec![])],
            vec![scales("c", &[1.0, 1.0, 2.0, 2.0])],
            4,
        ),
        ("LRN", image.clone(), one("LRN", vec![int("size", 3)]), vec![], 4),
        (
            "RoiAlign",
            vec![-1, 4],
            vec![
                node("ReduceMax", &["r"], "m", vec![ints("axes", &[1]), int("keepdims", 0)]),
                node("Cast", &["m"], "zeros", vec![int("to", 7)]),
                node("RoiAlign", &["image", "r", "zeros"], "y", vec![]),
            ],
            vec![constant("image", &[1, 2, 8, 8])],
            4,
        ),
        (
            "GRU",
            vec![-1, 1, wide],
            vec![NodeProto {
                output: vec!["".into(), "y".into()],
                ..node("GRU", &["r", "c", "d"], "", vec![int("hidden_size", 4)])
            }],
            vec![constant("c", &[1, 12, wide]), constant("d", &[1, 12, 4])],
            3,
        ),
        (
            "LSTM of a batch",
            vec![-1, 5, wide],
            vec![NodeProto {
                output: vec!["".into(), "y".into()],
                ..node("LSTM", &["t", "c", "d"], "", vec![int("hidden_size", 4)])
            }]
            .into_iter()
            .rev()
            .chain([node("Transpose", &["r"], "t", vec![ints("perm", &[1, 0, 2])])])
            .rev()
            .collect(),
            vec![constant("c", &[1, 16, wide]), constant("d", &[1, 16, 4])],
            3,
        ),
        ("Conv", image.clone(), with("Conv", vec![]), vec![constant("c", &[4, 3, 3, 3])], 4),
        (
            "depthwise Conv",
            image.clone(),
            with("Conv", vec![int("group", 3)]),
            vec![constant("c", &[3, 1, 3, 3])],
            4,
        ),
        (
            "ConvTranspose",
            image.clone(),
            with("ConvTranspose", vec![ints("strides", &[2, 2])]),
            vec![constant("c", &[3, 4, 2, 2])],
            4,
        ),
        ("MaxPool", image.clone(), one("MaxPool", vec![ints("kernel_shape", &[2, 2])]), vec![], 4),
        ("AveragePool", image.clone(), one("AveragePool", vec![ints("kernel_shape", &[2, 2])]), vec![], 4),
        ("GlobalAveragePool", image, one("GlobalAveragePool", vec![]), vec![], 4),
        (
            "LSTM",
            vec![-1, 1, wide],
            vec![NodeProto {
                output: vec!["".into(), "y".into()],
                ..node("LSTM", &["r", "c", "d"], "", vec![int("hidden_size", 4)])
            }],
            vec![constant("c", &[1, 16, wide]), constant("d", &[1, 16, 4])],
            3,
        ),
    ]
}

#[test]
fn nodes_on_lengths_that_come_give_the_same_in_parts() {
    let (mut cut, mut refused) = (0, vec![]);
    for (name, shape, nodes, constants, rank) in cases() {
        let mut known = given(&shape, nodes.clone(), constants.clone(), rank)
            .unwrap_or_else(|e| panic!("{name} on an input: {e}"));
        let mut graph = match picking(&shape, nodes, constants, rank) {
            Ok(graph) => graph,
            Err(e) => {
                assert!(e.contains("depends on values"), "{name}: {e}");
                refused.push(name);
                continue;
            }
        };
        for count in [ROWS, 1, 7, 0] {
            at_most(&mut graph, 1 << 40);
            let whole = stepped(&mut graph, mask(count));
            let (whole, steps) = whole.unwrap_or_else(|e| panic!("{name} of {count}: {e}"));
            at_most(&mut graph, 1);
            let parts = stepped(&mut graph, mask(count));
            let (parts, more) = parts.unwrap_or_else(|e| panic!("{name} of {count} in parts: {e}"));
            assert!(same(&whole, &parts), "{name} of {count}: {whole:?}, in parts {parts:?}");
            if count > 0 {
                let expected = known.infer(rows(&shape, count), &Limits::default()).expect("it runs");
                assert!(same(&expected, &whole), "{name} of {count}: {expected:?}, picked {whole:?}");
            }
            if count == ROWS {
                assert!(more.len() > steps.len(), "{name} is not cut");
                cut += 1;
            }
        }
    }
    assert!(cut > 40, "{cut} are cut");
    // What needs all lengths to be planned says so.
    assert_eq!(refused, ["RoiAlign", "GRU", "LSTM of a batch"]);
}

#[test]
fn a_step_on_lengths_that_come_takes_no_more_than_others() {
    // A hundred thousand numbers in rows that a mask picks.
    const STEP: u64 = 2_000_000;
    let shape = [-1, 4096];
    let weights = vec![constant("c", &[4096, 256])];
    for (nodes, constants) in [
        (vec![node("Exp", &["r"], "y", vec![])], vec![]),
        (vec![node("MatMul", &["r", "c"], "y", vec![])], weights),
        (vec![node("Softmax", &["r"], "y", vec![int("axis", 0)])], vec![]),
    ] {
        let operator = nodes[0].op_type.clone();
        let mut graph = picking(&shape, nodes, constants, 2).expect("it loads");
        at_most(&mut graph, STEP);
        let (outputs, steps) = stepped(&mut graph, mask(ROWS)).expect("it runs");
        assert_eq!(outputs[0].1.dimensions[0], ROWS as u32);
        let spent = steps.windows(2).map(|two| (two[0].next, two[1].spent - two[0].spent));
        let spent: Vec<(u64, u64)> = spent.collect();
        // Planning a product is a step of its own, which is more than these.
        let large = spent.iter().filter(|(next, spent)| (*next).max(*spent) > STEP).count();
        assert!(large <= usize::from(operator == "MatMul"), "{operator}: {spent:?}");
        assert!(
            spent.iter().all(|(next, spent)| spent <= next),
            "{operator} is more than was said: {spent:?}"
        );
        let of_rows = spent.iter().map(|(_, spent)| spent).sum::<u64>();
        assert!(spent.len() > 5 && of_rows > STEP, "{operator} is not cut: {spent:?}");
    }
}

#[test]
fn more_than_there_is_memory_for_is_an_error() {
    let shape = [-1, 4096];
    let nodes = vec![node("Exp", &["r"], "y", vec![])];
    let mut graph = picking(&shape, nodes, vec![], 2).expect("it loads");
    let arranged = graph.arrange(mask(ROWS), &Limits::default()).expect("it fits");
    graph.plan(&arranged, &Limits::default()).expect("it plans");
    // Room for what the plan knows, and none for all rows.
    let limits = Limits { available_bytes: 100_000 };
    let mut run = graph.begin(&arranged, &limits).expect("it begins");
    let refused = run.advance(&mut |_| true, &mut |_| ());
    let Err(InferError::Model(ModelError::TooLarge { what, needed, available })) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        what.contains("Gather") && needed > 4096 * 4 * ROWS as u64 && available == 100_000,
        "{what} {needed}"
    );
    let few = graph.arrange(mask(3), &Limits::default()).expect("it fits");
    let mut run = graph.begin(&few, &limits).expect("it begins");
    run.advance(&mut |_| true, &mut |_| ()).expect("it fits").expect("it is over");
}
