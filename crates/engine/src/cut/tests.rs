//! Operators in parts against the whole of them, and that none that is large is left whole.

use std::sync::Arc;

use ic_nn_types::NamedTensor;
use tract_onnx::pb::{AttributeProto, TensorProto};
use tract_onnx::tract_core::ops::source::TypedSource;

use crate::core::Core;
use crate::one_node::{FLOAT, INT64, int, ints, text, value};
use crate::{Graph, Limits, one_node};

const BOOL: i32 = 9;

impl Graph {
    /// Has every node that can be cut run in as many parts as there can be.
    pub(crate) fn cut_small(&mut self) {
        for plan in &mut self.plans {
            Arc::get_mut(&mut plan.core).expect("nothing runs").set_largest(1);
        }
    }
}

/// Whether these are the same tensors, as far as the rounding of products that are cut.
pub(crate) fn same(whole: &[NamedTensor], parts: &[NamedTensor]) -> bool {
    let near =
        |a: &f32, b: &f32| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-5 * a.abs().max(1.0);
    let alike = |((name, a), (other, b)): (&NamedTensor, &NamedTensor)| {
        let numbers = match (a.to_f32(), b.to_f32()) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| near(a, b)),
            _ => a.data == b.data,
        };
        name == other && a.ty == b.ty && a.dimensions == b.dimensions && numbers
    };
    whole.len() == parts.len() && whole.iter().zip(parts).all(alike)
}

#[test]
fn every_case_of_onnx_gives_the_same_in_parts() {
    let Some(cases) = ic_nn_onnx_backend::exported() else { return };
    let limits = Limits::default();
    let (mut compared, mut cut) = (0, std::collections::BTreeSet::new());
    // Whole networks have a test of their own (`run::tests`); in the smallest of parts these take minutes.
    for case in cases.into_iter().filter(|case| !case.path().starts_with("light")) {
        _ = case.judge(|model, inputs| {
            let refused = |e: &dyn std::fmt::Display| ic_nn_onnx_backend::Failure::Refused(e.to_string());
            let mut graph = Graph::load(model, &limits).map_err(|e| refused(&e))?;
            let outputs = graph.infer(inputs.clone(), &limits).map_err(|e| refused(&e))?;
            graph.cut_small();
            for plan in &graph.plans {
                let (core, model) = (&plan.core, plan.core.runnable.model());
                let parts = core.runnable.order_without_consts().iter().enumerate();
                let parts = parts.filter(|(at, _)| core.inner[*at].is_some() || core.parts(*at) > 1);
                cut.extend(parts.map(|(_, id)| model.node(*id).op.name().to_string()));
            }
            let parts = graph.infer(inputs, &limits);
            let parts = parts.unwrap_or_else(|e| panic!("{} in parts: {e}", case.path()));
            assert!(same(&outputs, &parts), "{}: {outputs:?}, in parts {parts:?}", case.path());
            compared += 1;
            Ok(outputs)
        });
    }
    assert!(compared > 1_000 && cut.len() > 40, "{compared} cases, cut: {cut:?}");
}

/// A node of one operator on inputs of these types and shapes, and what its steps take at most.
fn steps(
    operator: &str,
    opset: i64,
    inputs: &[(i32, &[i64])],
    outputs: usize,
    attributes: Vec<AttributeProto>,
) -> Result<(u64, u64), String> {
    // Weights are small, and constants.
    let weights = inputs.iter().enumerate().skip(1).filter(|(_, (ty, shape))| {
        *ty == FLOAT
            && shape.iter().product::<i64>() <= 1 << 20
            && matches!(operator, "Conv" | "ConvTranspose" | "DeformConv" | "LSTM" | "GRU")
    });
    let weights = weights.map(|(ix, (ty, shape))| TensorProto {
        name: format!("x{ix}"),
        data_type: *ty,
        dims: shape.to_vec(),
        raw_data: vec![0; 4 * shape.iter().product::<i64>() as usize],
        ..TensorProto::default()
    });
    // Boxes that are kept of a class: some of several classes, all of one.
    let classes = inputs.get(1).and_then(|(_, shape)| shape.get(1));
    let kept = TensorProto {
        name: "x2".into(),
        data_type: INT64,
        dims: vec![1],
        raw_data: if classes == Some(&1) { 0x7fff_ffffi64 } else { 300 }.to_le_bytes().to_vec(),
        ..TensorProto::default()
    };
    let kept = (operator == "NonMaxSuppression").then_some(kept);
    let weights = weights.chain(kept).collect();
    let declared = inputs.iter().enumerate();
    let declared = declared.map(|(ix, (ty, shape))| value(&format!("x{ix}"), *ty, shape)).collect();
    let ty = match operator {
        "Equal" => BOOL,
        "Where" => FLOAT,
        "NonMaxSuppression" | "NonZero" => INT64,
        _ => inputs[0].0,
    };
    let given = (0..outputs).map(|ix| value(&format!("y{ix}"), ty, &[])).collect();
    let graph = one_node::load(("", operator), declared, weights, given, attributes, ("", opset))?;
    let core: &Core = &graph.plans.first().ok_or("it is not planned")?.core;
    let model = core.runnable.model();
    let step = |(at, cost): (usize, &u64)| {
        // Bringing inputs in is no operator; a graph inside a node has steps of its own.
        let brought = model.node(core.runnable.order_without_consts()[at]).op_is::<TypedSource>();
        if brought || core.inner[at].is_some() { 0 } else { cost / core.parts(at) as u64 }
    };
    Ok((core.cost, core.costs.iter().enumerate().map(step).max().unwrap_or(0)))
}

#[test]
fn a_range_is_found_in_steps() {
    use ic_nn_types::Tensor;
    // Three steps for the range, which the last number ends, and three to quantise.
    let count = 2 * (1 << 20) + 5;
    let mut numbers: Vec<f32> = (0..count).map(|at| ((at * 7) % 1_000) as f32 / 1_000.0 - 0.5).collect();
    numbers[count - 1] = 3.0;
    let x = value("x", FLOAT, &[count as i64]);
    let outputs = vec![value("y", 2, &[-1]), value("scale", FLOAT, &[]), value("zero", 2, &[])];
    let mut graph = one_node::load(("", "DynamicQuantizeLinear"), vec![x], vec![], outputs, vec![], ("", 11))
        .expect("it loads");
    let limits = Limits::default();
    let inputs = vec![("x".to_owned(), Tensor::from_f32(vec![count as u32], &numbers))];
    let whole = graph.infer(inputs.clone(), &limits).expect("it runs");
    graph.cut_small();
    assert_eq!(graph.plans[0].core.parts(1), 6);
    assert!(whole == graph.infer(inputs, &limits).expect("it runs in parts"));
}

#[test]
fn no_operator_takes_more_than_a_tenth_of_a_message_at_once() {
    const TENTH: u64 = 4_000_000_000;
    let big: &[i64] = &[1, 64, 2048, 2048];
    let one = [(FLOAT, big)];
    let two = [(FLOAT, big), (FLOAT, big)];
    let mut whole = vec![];
    let mut check = |operator: &str,
                     opset: i64,
                     inputs: &[(i32, &[i64])],
                     outputs: usize,
                     attributes: Vec<AttributeProto>| {
        let (cost, most) = match steps(operator, opset, inputs, outputs, attributes.clone()) {
            Ok(steps) => steps,
            // As large as there is memory for: a quarter.
            Err(_) => {
                let smaller: Vec<(i32, Vec<i64>)> = inputs
                    .iter()
                    .map(|(ty, shape)| {
                        (*ty, shape.iter().map(|n| if *n == 2048 { 1024 } else { *n }).collect())
                    })
                    .collect();
                let smaller: Vec<(i32, &[i64])> =
                    smaller.iter().map(|(ty, shape)| (*ty, shape.as_slice())).collect();
                match steps(operator, opset, &smaller, outputs, attributes) {
                    Ok(steps) => steps,
                    Err(e) => return whole.push(format!("{operator}: {e}")),
                }
            }
        };
        if cost <= TENTH {
            whole.push(format!("{operator} takes {cost} in all: nothing is shown"));
        }
        if most > TENTH {
            whole.push(format!("{operator}: {most} of {cost} in one step"));
        }
    };
    for operator in [
        "Sigmoid",
        "Tanh",
        "Exp",
        "Log",
        "Sqrt",
        "Erf",
        "Sin",
        "Cos",
        "Tan",
        "Acos",
        "Asinh",
        "Abs",
        "Ceil",
        "Floor",
        "Round",
        "Sign",
        "Softplus",
        "Softsign",
        "Elu",
        "Selu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "Reciprocal",
        "Celu",
        "IsNaN",
    ] {
        check(operator, 20, &one, 1, vec![]);
    }
    for operator in ["Div", "Pow", "Mod", "PRelu"] {
        let fmod = if operator == "Mod" { vec![int("fmod", 1)] } else { vec![] };
        check(operator, 20, &two, 1, fmod);
    }
    for operator in ["Softmax", "LogSoftmax"] {
        for axis in [1, 2, 3] {
            check(operator, 20, &one, 1, vec![int("axis", axis)]);
        }
        // Neither rows nor columns.
        check(operator, 20, &[(FLOAT, &[9_000_000, 7, 3])], 1, vec![int("axis", 1)]);
    }
    for operator in ["ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL2", "ReduceProd", "ReduceLogSumExp"]
    {
        check(operator, if operator == "ReduceMax" { 13 } else { 11 }, &one, 1, vec![ints("axes", &[1])]);
    }
    for operator in ["ArgMax", "ArgMin"] {
        check(operator, 13, &one, 1, vec![int("axis", 1)]);
    }
    check(
        "LayerNormalization",
        17,
        &[(FLOAT, &[64, 1024, 4096]), (FLOAT, &[4096]), (FLOAT, &[4096])],
        1,
        vec![],
    );
    check("InstanceNormalization", 6, &[(FLOAT, big), (FLOAT, &[64]), (FLOAT, &[64])], 1, vec![]);
    check("Transpose", 13, &one, 1, vec![ints("perm", &[0, 2, 3, 1])]);
    check("Transpose", 13, &[(INT64, &[1, 64, 2048, 1024])], 1, vec![ints("perm", &[0, 2, 3, 1])]);
    check("MaxPool", 12, &one, 1, vec![ints("kernel_shape", &[5, 5]), ints("pads", &[2, 2, 2, 2])]);
    check("AveragePool", 11, &one, 1, vec![ints("kernel_shape", &[5, 5]), ints("pads", &[2, 2, 2, 2])]);
    check("MaxPool", 12, &[(FLOAT, &[1, 32, 128, 128, 128])], 1, vec![ints("kernel_shape", &[2, 2, 2])]);
    check("AveragePool", 11, &[(FLOAT, &[1, 32, 128, 128, 128])], 1, vec![ints("kernel_shape", &[2, 2, 2])]);
    check("LRN", 13, &one, 1, vec![int("size", 5)]);
    check("MatMul", 13, &[(FLOAT, &[4096, 4096]), (FLOAT, &[4096, 4096])], 1, vec![]);
    check("MatMul", 13, &[(6, &[2048, 2048]), (6, &[2048, 2048])], 1, vec![]);
    check("MatMul", 13, &[(11, &[2048, 2048]), (11, &[2048, 2048])], 1, vec![]);
    check("MatMulInteger", 10, &[(2, &[8192, 4096]), (2, &[4096, 4096])], 1, vec![]);
    check("Conv", 11, &[(FLOAT, &[1, 64, 1024, 1024]), (FLOAT, &[64, 64, 3, 3])], 1, vec![]);
    check("Conv", 11, &[(FLOAT, &[1, 64, 1_000_000]), (FLOAT, &[64, 64, 7])], 1, vec![]);
    check("Conv", 11, &[(FLOAT, &[1, 32, 64, 64, 64]), (FLOAT, &[32, 32, 3, 3, 3])], 1, vec![]);
    check(
        "ConvTranspose",
        11,
        &[(FLOAT, &[1, 256, 128, 128]), (FLOAT, &[256, 128, 4, 4])],
        1,
        vec![ints("strides", &[2, 2])],
    );
    check(
        "DeformConv",
        19,
        &[(FLOAT, &[1, 64, 256, 256]), (FLOAT, &[64, 64, 3, 3]), (FLOAT, &[1, 18, 254, 254])],
        1,
        vec![],
    );
    check("GridSample", 16, &[(FLOAT, &[1, 16, 1024, 1024]), (FLOAT, &[1, 1024, 1024, 2])], 1, vec![]);
    let heads = [int("q_num_heads", 16), int("kv_num_heads", 16)];
    let tokens: &[i64] = &[1, 4096, 1024];
    check("Attention", 23, &[(FLOAT, tokens), (FLOAT, tokens), (FLOAT, tokens)], 1, heads.to_vec());
    let weights: [(i32, &[i64]); 3] =
        [(FLOAT, &[4000, 1, 512]), (FLOAT, &[1, 2048, 512]), (FLOAT, &[1, 2048, 512])];
    check("LSTM", 14, &weights, 2, vec![int("hidden_size", 512)]);
    let weights: [(i32, &[i64]); 3] =
        [(FLOAT, &[4000, 1, 512]), (FLOAT, &[1, 1536, 512]), (FLOAT, &[1, 1536, 512])];
    check("GRU", 14, &weights, 2, vec![int("hidden_size", 512)]);
    let weights: [(i32, &[i64]); 3] =
        [(FLOAT, &[4000, 1, 512]), (FLOAT, &[2, 2048, 512]), (FLOAT, &[2, 2048, 512])];
    check("LSTM", 14, &weights, 2, vec![int("hidden_size", 512), text("direction", "bidirectional")]);
    check(
        "GatherElements",
        13,
        &[(FLOAT, &[1, 64, 2048, 1024]), (INT64, &[1, 64, 2048, 256])],
        1,
        vec![int("axis", 3)],
    );
    check("Where", 16, &[(BOOL, big), (FLOAT, big), (FLOAT, big)], 1, vec![]);
    check("Equal", 13, &two, 1, vec![]);
    check(
        "RoiAlign",
        16,
        &[(FLOAT, &[1, 256, 64, 64]), (FLOAT, &[300, 4]), (INT64, &[300])],
        1,
        vec![int("output_height", 7), int("output_width", 7), int("sampling_ratio", 2)],
    );
    let tokens: &[i64] = &[1, 2048, 2048];
    let heads = [int("q_num_heads", 16), int("kv_num_heads", 16), text("update_rule", "linear")];
    check("LinearAttention", 26, &[(FLOAT, tokens), (FLOAT, tokens), (FLOAT, tokens)], 2, heads.to_vec());
    check("CausalConvWithState", 26, &[(FLOAT, &[1, 2048, 16_384]), (FLOAT, &[2048, 1, 4])], 2, vec![]);
    for (classes, boxes) in [(80, 20_000), (1, 60_000)] {
        let inputs: [(i32, &[i64]); 3] =
            [(FLOAT, &[1, boxes, 4]), (FLOAT, &[1, classes, boxes]), (INT64, &[1])];
        check("NonMaxSuppression", 11, &inputs, 1, vec![]);
    }
    check("NonZero", 13, &[(FLOAT, &[1, 2, 4096, 4096])], 1, vec![]);
    check("NonZero", 13, &[(BOOL, &[1 << 26])], 1, vec![]);
    check(
        "ScatterND",
        16,
        &[(FLOAT, &[1024, 64, 1024]), (INT64, &[1024, 64, 2]), (FLOAT, &[1024, 64, 1024])],
        1,
        vec![],
    );
    check("Trilu", 14, &[(FLOAT, &[4096, 4096])], 1, vec![]);
    assert!(whole.is_empty(), "{}", whole.join("\n"));
}
