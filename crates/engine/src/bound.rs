//! Inputs whose values a plan has to know: a shape, axes, a length of padding that the caller gives.
//!
//! Operators that read such an operand can only be planned once its value is there. Where it comes from an input of
//! the graph, the value is part of what the plan is made for, as the shapes are, and the input a constant of it.

use std::collections::{HashMap, HashSet};

use ic_nn_types::{Tensor, TensorType};
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::description::InputDescription;

/// Most elements of an input that becomes part of a plan: shapes, axes and scales are far below, data are above.
pub(crate) const MOST_ELEMENTS: u64 = 4096;

/// Operators whose operands from the second on are all read by the planner.
const ALL_BUT_DATA: [&str; 19] = [
    "BatchNormalization",
    "CenterCropPad",
    "Compress",
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
        "If" => vec![0],
        "Loop" => vec![0, 1],
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

/// How many elements an output has by the values of inputs: what a caller may not make larger than there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// The product of an input's values, or more.
    Product(usize),
    /// The sum of an input's values, or more.
    Sum(usize),
    /// From the first to the second in steps of the third.
    Range([usize; 3]),
}

/// Where operators grow by what `inputs` say themselves.
pub(crate) fn growths(graph: &GraphProto, inputs: &[InputDescription]) -> Vec<Growth> {
    let mut growths = vec![];
    walk(graph, &mut |node| {
        let input =
            |ix: usize| node.input.get(ix).and_then(|name| inputs.iter().position(|i| i.name == *name));
        growths.extend(match node.op_type.as_str() {
            "BlackmanWindow" | "ConstantOfShape" | "HammingWindow" | "HannWindow" => {
                input(0).map(Growth::Product)
            }
            "AffineGrid" | "CenterCropPad" | "Col2Im" | "Expand" | "OneHot" | "Tile" => {
                input(1).map(Growth::Product)
            }
            "MaxUnpool" => input(2).map(Growth::Product),
            "Resize" => input(3).map(Growth::Product),
            "Pad" => input(1).map(Growth::Sum),
            "Range" => match (input(0), input(1), input(2)) {
                (Some(start), Some(limit), Some(delta)) => Some(Growth::Range([start, limit, delta])),
                _ => None,
            },
            _ => None,
        });
    });
    growths
}

impl Growth {
    /// Elements that there will be at least.
    pub(crate) fn elements(self, inputs: &[Tensor]) -> u64 {
        let values = |ix: usize| inputs.get(ix).map(numbers).unwrap_or_default();
        let positive = |ix: usize| values(ix).into_iter().map(|v| v.max(0.0));
        let first = |ix: usize| values(ix).first().copied().unwrap_or(0.0);
        // As a cast from a float does, too much is the most, and no number is none.
        (match self {
            Growth::Product(ix) => positive(ix).product::<f64>(),
            Growth::Sum(ix) => positive(ix).sum::<f64>(),
            Growth::Range([start, limit, delta]) => ((first(limit) - first(start)) / first(delta)).max(0.0),
        }) as u64
    }
}

/// The values of a small tensor, of the types that say lengths.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let data = tensor.data.as_slice();
    match tensor.ty {
        TensorType::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        TensorType::I32 => data.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        TensorType::FP32 => data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        TensorType::FP64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        _ => vec![],
    }
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

    #[test]
    fn what_grows_by_values_is_counted() {
        let graph = GraphProto {
            node: vec![
                node("Expand", &["data", "shape"], "y"),
                node("Range", &["start", "limit", "delta"], "z"),
                node("Pad", &["data", "pads"], "p"),
            ],
            ..GraphProto::default()
        };
        let names = ["data", "shape", "start", "limit", "delta", "pads"];
        let growths = growths(&graph, &names.map(|name| input(name, 1)));
        assert_eq!(growths, [Growth::Product(1), Growth::Range([2, 3, 4]), Growth::Sum(5)]);
        let tensor = |values: &[i64]| Tensor {
            dimensions: vec![values.len() as u32],
            ty: TensorType::I64,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let given: [&[i64]; 6] = [&[1], &[1 << 40, 1 << 40], &[10], &[0], &[-2], &[3, -1]];
        let given = given.map(tensor);
        let elements: Vec<u64> = growths.iter().map(|g| g.elements(&given)).collect();
        assert_eq!(elements, [u64::MAX, 5, 3]);
        let never = [&[1][..], &[1], &[10], &[20], &[0], &[0]].map(tensor);
        assert_eq!(growths[1].elements(&never), u64::MAX, "steps of nothing");
    }
}
