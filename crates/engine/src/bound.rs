//! Inputs whose values a plan has to know: a shape, axes, a length of padding that the caller gives.
//!
//! Operators that read such an operand can only be planned once its value is there. Where it comes from an input of
//! the graph, the value is part of what the plan is made for, as the shapes are, and the input a constant of it.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use crate::description::InputDescription;

/// Most elements of an input that becomes part of a plan: shapes, axes and scales are far below, data are above.
pub(crate) const MOST_ELEMENTS: u64 = 4096;

/// Operators whose operands from the second on are all read by the planner.
const ALL_BUT_DATA: [&str; 18] = [
    "BatchNormalization",
    "CenterCropPad",
    "Col2Im",
    "CumProd",
    "CumSum",
    "DFT",
    "DequantizeLinear",
    "Dropout",
    "Expand",
    "OneHot",
    "Pad",
    "QuantizeLinear",
    "Reshape",
    "Resize",
    "STFT",
    "Slice",
    "Tile",
    "Trilu",
];

/// Operators all of whose operands are.
const ALL: [&str; 6] =
    ["BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"];

/// Which operands of `node` the planner reads.
fn planned(node: &NodeProto) -> Vec<usize> {
    let all = node.input.len();
    match node.op_type.as_str() {
        "Split" | "Squeeze" | "Unsqueeze" | "Upsample" | "AffineGrid" => vec![1],
        "If" | "Loop" => vec![0],
        "QLinearMatMul" | "QLinearConv" => vec![1, 2, 4, 5, 6, 7],
        "QLinearAdd" | "ConvInteger" | "MatMulInteger" => vec![2, 3],
        "GRU" | "LSTM" | "RNN" => vec![4],
        "MaxUnpool" => vec![2],
        "NonMaxSuppression" => vec![2, 3, 4],
        op if op.starts_with("Reduce") => vec![1],
        op if ALL_BUT_DATA.contains(&op) => (1..all).collect(),
        op if ALL.contains(&op) => (0..all).collect(),
        _ => vec![],
    }
}

/// Operators whose outputs say nothing of their operands' values.
const SHAPES: [&str; 2] = ["Shape", "Size"];

/// Positions of the inputs that have to be known when `graph` is planned.
pub(crate) fn bound(graph: &GraphProto, inputs: &[InputDescription]) -> Vec<usize> {
    let mut reached: HashSet<&str> = HashSet::new();
    let mut waiting: Vec<&str> = vec![];
    let mut producers: HashMap<&str, &NodeProto> = HashMap::new();
    walk(graph, &mut |node| {
        producers.extend(node.output.iter().map(|o| (o.as_str(), node)));
        waiting.extend(planned(node).into_iter().filter_map(|ix| node.input.get(ix)).map(String::as_str));
    });
    while let Some(name) = waiting.pop() {
        if name.is_empty() || !reached.insert(name) {
            continue;
        }
        if let Some(node) = producers.get(name).filter(|n| !SHAPES.contains(&n.op_type.as_str())) {
            waiting.extend(node.input.iter().map(String::as_str));
        }
    }
    let small = |input: &InputDescription| {
        input.dimensions.len() <= 1
            && input.dimensions.iter().all(|d| d.fixed().is_none_or(|n| u64::from(n) <= MOST_ELEMENTS))
    };
    (0..inputs.len())
        .filter(|ix| inputs.get(*ix).is_some_and(|i| reached.contains(i.name.as_str()) && small(i)))
        .collect()
}

/// Calls `visit` with every node of `graph` and of the graphs inside it.
fn walk<'a>(graph: &'a GraphProto, visit: &mut impl FnMut(&'a NodeProto)) {
    for node in &graph.node {
        visit(node);
        for graph in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            walk(graph, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use ic_nn_types::TensorType;

    use super::*;
    use crate::description::Dimension;

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(|i| i.to_string()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn input(name: &str, rank: usize) -> InputDescription {
        InputDescription {
            name: name.into(),
            ty: TensorType::I64,
            dimensions: vec![Dimension::Symbol("n".into()); rank],
        }
    }

    #[test]
    fn what_reaches_a_planned_operand_by_value_is_bound() {
        let graph = GraphProto {
            node: vec![
                node("Concat", &["head", "tail"], "shape"),
                node("Reshape", &["data", "shape"], "y"),
                node("Shape", &["like"], "size"),
                node("Expand", &["y", "size"], "z"),
            ],
            ..GraphProto::default()
        };
        let inputs = [input("data", 1), input("head", 1), input("tail", 1), input("like", 1)];
        assert_eq!(bound(&graph, &inputs), [1, 2]);
        let inputs = [input("head", 2), input("tail", 1)];
        assert_eq!(bound(&graph, &inputs), [1], "what has two axes is data");
    }
}
