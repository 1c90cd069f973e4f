//! Products cut by columns: which, into how many parts, and what of the weights each part has.
//!
//! A product with constant weights gives each column of its output from one column of them; so does a table that rows are gathered
//! from. A part has some neighbouring columns, and of what follows the product, as far as the plan takes it in, the same:
//! a bias, a scale, a function of each element.

use std::ops::Range;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{NodeProto, TensorProto};

use super::facts::Facts;
use super::names::{Names, bytes};
use super::{Cut, ShardError};
use crate::operators::is_onnx;

/// Columns that a part's are a multiple of, where there are enough: kernels take that many at once.
const TILE: usize = 16;

/// Operators on elements of one tensor.
const UNARY: [&str; 12] = [
    "Relu",
    "LeakyRelu",
    "Sigmoid",
    "Tanh",
    "Elu",
    "Selu",
    "Softplus",
    "HardSwish",
    "HardSigmoid",
    "Erf",
    "Gelu",
    "Clip",
];
/// Operators on elements of two.
const BINARY: [&str; 4] = ["Add", "Sub", "Mul", "Div"];

/// A product that is cut.
#[derive(Clone, Debug)]
pub(super) struct Split<'a> {
    /// The product and what follows it, one behind the other in the order.
    pub(super) nodes: Vec<usize>,
    /// What the parts give together.
    pub(super) output: &'a str,
    /// Columns of each part.
    pub(super) parts: Vec<Range<usize>>,
    columns: usize,
}

/// Where a product's weights are.
struct Weights<'a> {
    name: &'a str,
    tensor: &'a TensorProto,
    /// The axis whose neighbours are columns.
    axis: usize,
}

/// Cuts the products that the request asks to, and moves what follows one in the order behind it.
pub(super) fn choose<'a>(
    names: &mut Names<'a>,
    facts: &Facts,
    costs: &[u64],
    cut: &Cut,
) -> Result<Vec<Split<'a>>, ShardError> {
    let total = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(*cost));
    let share = cut.stages.filter(|_| cut.tensor).map(|stages| (total / stages as u64).max(1));
    let mut splits: Vec<Split<'a>> = vec![];
    for ix in names.order.clone() {
        let weights: u64 =
            names.behind(&[ix], &[]).1.iter().filter_map(|c| names.constants.get(c)).map(|t| bytes(t)).sum();
        let by_bytes = cut.max_bytes.map_or(1, |most| weights.div_ceil(most));
        let by_cost = share.map_or(1, |share| (costs[ix] + share / 2) / share);
        let parts = by_bytes.max(by_cost);
        if parts < 2 || splits.iter().any(|split| split.nodes.contains(&ix)) {
            continue;
        }
        match split(names, facts, ix, parts) {
            Ok(split) => splits.push(split),
            // What is only dear stays in one stage.
            Err(_) if by_bytes < 2 => {}
            Err(why) => {
                let node = names.node(ix);
                return Err(ShardError::Uncuttable(format!(
                    "node `{}` ({}) has {weights} bytes of weights, {} are allowed in a stage, and it cannot be cut by columns: {why}",
                    node.name,
                    node.op_type,
                    cut.max_bytes.unwrap_or(0),
                )));
            }
        }
    }
    for split in &splits {
        let behind = &split.nodes[1..];
        names.order.retain(|ix| !behind.contains(ix));
        if let Some(at) = names.order.iter().position(|ix| *ix == split.nodes[0]) {
            names.order.splice(at + 1..at + 1, behind.iter().copied());
        }
    }
    Ok(splits)
}

/// A product in so many parts.
fn split<'a>(names: &Names<'a>, facts: &Facts, ix: usize, parts: u64) -> Result<Split<'a>, String> {
    let node = names.node(ix);
    let weights = weights(names, node).ok_or(
        "only MatMul and Gemm with constant weights of two axes, and Gather from a constant table, are, its other operands being constants",
    )?;
    let columns = weights.tensor.dims[weights.axis] as usize;
    if raw(weights.tensor).is_none() {
        return Err(format!("the weights `{}` are of a type that is not cut", weights.name));
    }
    let parts = usize::try_from(parts).unwrap_or(usize::MAX);
    if parts > columns || parts > super::MAX_STAGES {
        return Err(format!("it has {columns} columns, and would take {parts} parts"));
    }
    let mut nodes = vec![ix];
    let mut output = node.output.first().map(String::as_str).unwrap_or_default();
    // The plan has what comes behind all that it takes in.
    while facts.crossing(names, output).is_none() {
        let [next] = *names.readers(output) else {
            return Err(format!("more than one node reads `{output}`"));
        };
        if names.outputs.contains(output) || !follows(names, names.node(next), output, columns) {
            return Err(format!("the plan takes it together with `{}`", names.node(next).name));
        }
        nodes.push(next);
        output = names.node(next).output.first().map(String::as_str).unwrap_or_default();
    }
    let rank = facts.crossing(names, output).map_or(0, |value| value.dimensions.len());
    if rank == 0 {
        return Err("its output has no axes".into());
    }
    // Even parts of an odd whole could be products by Strassen's quarters where the whole is none: odd ones never are.
    let sums = weights.tensor.dims[1 - weights.axis] as usize;
    let whole = columns.is_multiple_of(8) && sums.is_multiple_of(8);
    let mut length = columns.div_ceil(parts);
    let tiled = if whole { length.next_multiple_of(TILE) } else { length | 1 };
    if tiled * (parts - 1) < columns {
        length = tiled;
    }
    let parts = (0..columns).step_by(length).map(|from| from..columns.min(from + length)).collect();
    Ok(Split { nodes, output, parts, columns })
}

/// The weights of a product whose every column can be told by itself.
fn weights<'a>(names: &Names<'a>, node: &'a NodeProto) -> Option<Weights<'a>> {
    if !is_onnx(&node.domain) {
        return None;
    }
    let int = |name: &str| node.attribute.iter().find(|a| a.name == name).map_or(0, |a| a.i);
    let (operand, axis) = match node.op_type.as_str() {
        "MatMul" => (1, 1),
        "Gemm" => (1, if int("transB") != 0 { 0 } else { 1 }),
        "Gather" if int("axis") == 0 => (0, 1),
        _ => return None,
    };
    let name = node.input.get(operand)?;
    let tensor =
        names.constants.get(name.as_str()).filter(|t| t.dims.len() == 2 && t.dims.iter().all(|d| *d > 0))?;
    let columns = tensor.dims[axis] as usize;
    let bias = node.input.get(2).filter(|bias| !bias.is_empty());
    let fits = bias.is_none_or(|bias| names.constants.get(bias.as_str()).is_some_and(|t| is_row(t, columns)));
    let data = node.input.get(1 - operand).is_some_and(|data| !names.constants.contains_key(data.as_str()));
    (fits && data).then_some(Weights { name, tensor, axis })
}

/// Whether a node does the same to every column of `from` by itself.
fn follows(names: &Names<'_>, node: &NodeProto, from: &str, columns: usize) -> bool {
    let others = || node.input.iter().filter(|name| *name != from && !name.is_empty());
    let constant = |name: &String| names.constants.get(name.as_str());
    is_onnx(&node.domain)
        && node.output.len() == 1
        && match node.op_type.as_str() {
            op if UNARY.contains(&op) => others().all(|name| constant(name).is_some_and(|t| is_row(t, 1))),
            op if BINARY.contains(&op) => {
                others().all(|name| constant(name).is_some_and(|t| is_row(t, columns)))
            }
            _ => false,
        }
}

/// One number, or one for each column.
fn is_row(tensor: &TensorProto, columns: usize) -> bool {
    let last = tensor.dims.last().copied().unwrap_or(1);
    let all: i64 = tensor.dims.iter().product();
    tensor.dims.len() <= 2
        && all == last
        && (all == 1 || usize::try_from(all) == Ok(columns))
        && raw(tensor).is_some()
}

impl<'a> Split<'a> {
    /// The nodes of a part, which give `output`, and their constants.
    pub(super) fn part(
        &self,
        names: &Names<'a>,
        part: usize,
        output: &str,
    ) -> (Vec<NodeProto>, Vec<TensorProto>) {
        let columns = self.parts[part].clone();
        let (mut nodes, mut constants): (Vec<NodeProto>, Vec<TensorProto>) = (vec![], vec![]);
        for (place, ix) in self.nodes.iter().enumerate() {
            let node = names.node(*ix);
            let product = if place == 0 { weights(names, node) } else { None };
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                let Some(tensor) = names.constants.get(name.as_str()) else { continue };
                if constants.iter().any(|c| c.name == *name) {
                    continue;
                }
                let axis = match &product {
                    Some(weights) if weights.name == name => Some(weights.axis),
                    _ => tensor
                        .dims
                        .len()
                        .checked_sub(1)
                        .filter(|last| tensor.dims[*last] as usize == self.columns),
                };
                constants.push(match axis {
                    Some(axis) => sliced(tensor, axis, columns.clone()),
                    None => (*tensor).clone(),
                });
            }
            nodes.push(node.clone());
        }
        if let Some(last) = nodes.last_mut() {
            last.output = vec![output.to_owned()];
        }
        (nodes, constants)
    }

    /// The data that the product takes.
    pub(super) fn data(&self, names: &Names<'a>) -> Vec<&'a str> {
        names.reads[self.nodes[0]]
            .iter()
            .copied()
            .filter(|name| !names.constants.contains_key(name))
            .collect()
    }
}

/// A tensor's elements as bytes, where they lie one behind the other or can be laid so.
fn raw(tensor: &TensorProto) -> Option<(usize, Vec<u8>)> {
    let elements = usize::try_from(tensor.dims.iter().product::<i64>()).ok()?;
    let bytes = if tensor.raw_data.is_empty() {
        match DataType::try_from(tensor.data_type).ok()? {
            DataType::Float => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DataType::Double => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            _ => return None,
        }
    } else {
        tensor.raw_data.clone()
    };
    let size = bytes.len().checked_div(elements)?;
    (size > 0 && size * elements == bytes.len()).then_some((size, bytes))
}

/// The neighbours `range` along an axis.
fn sliced(tensor: &TensorProto, axis: usize, range: Range<usize>) -> TensorProto {
    let Some((size, bytes)) = raw(tensor) else { return tensor.clone() };
    let inner = tensor.dims[axis + 1..].iter().product::<i64>() as usize * size;
    let whole = tensor.dims[axis] as usize * inner;
    let rows = bytes.chunks_exact(whole.max(1));
    let raw_data = rows.flat_map(|row| row[range.start * inner..range.end * inner].iter().copied()).collect();
    let mut dims = tensor.dims.clone();
    dims[axis] = range.len() as i64;
    TensorProto {
        dims,
        raw_data,
        data_type: tensor.data_type,
        name: tensor.name.clone(),
        ..Default::default()
    }
}
