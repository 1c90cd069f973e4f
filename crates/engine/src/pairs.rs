//! Products and convolutions between pairs of QuantizeLinear and DequantizeLinear, as onnxruntime's static quantisation writes them,
//! become one quantised operator each.
//!
//! Done on the checked file, before tract reads it. It is what onnxruntime does with such a file at its default level, so answers are its
//! answers: sums of whole numbers, times the product of scales, instead of sums of reals. Whatever does not fit stays as it is.
//! Costs a pass over the nodes; of tensors only scales are read.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::operators::is_onnx;
use crate::ops::{PAIRED_CONV, PAIRED_PRODUCT};

/// How far a bias's scale may be from the product of the others, of itself: that is rounded to f32 once more than they are.
const APART: f32 = 1e-5;

/// What a DequantizeLinear reads.
struct Side<'a> {
    node: &'a NodeProto,
    scale: &'a TensorProto,
    /// Along which axis scales lie.
    axis: i64,
}

impl Side<'_> {
    fn scales(&self) -> usize {
        count(self.scale)
    }
}

/// What is known of a graph's names.
struct Names<'a> {
    nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    made_by: HashMap<&'a str, &'a NodeProto>,
    /// Of each name the nodes that read it; of an output of the graph one more, that is none.
    readers: HashMap<&'a str, Vec<usize>>,
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

fn count(tensor: &TensorProto) -> usize {
    tensor.dims.iter().fold(1usize, |all, d| all.saturating_mul(usize::try_from(*d).unwrap_or(0)))
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    if tensor.raw_data.is_empty() {
        return tensor.float_data.clone();
    }
    let four = |b: &[u8]| b.try_into().map_or(f32::NAN, f32::from_le_bytes);
    tensor.raw_data.chunks(4).map(four).collect()
}

fn is_zero(tensor: &TensorProto) -> bool {
    tensor.raw_data.iter().all(|b| *b == 0) && tensor.int32_data.iter().all(|x| *x == 0)
}

fn is_bytes(tensor: &TensorProto) -> bool {
    tensor.data_type == DataType::Uint8 as i32 || tensor.data_type == DataType::Int8 as i32
}

impl<'a> Names<'a> {
    fn of(graph: &'a GraphProto) -> Names<'a> {
        let inputs: HashSet<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
        let constants = graph.initializer.iter().map(|t| (t.name.as_str(), t));
        let constants = constants.filter(|(name, _)| !inputs.contains(name)).collect();
        let (mut made_by, mut readers) = (HashMap::new(), HashMap::<&str, Vec<usize>>::new());
        for (ix, node) in graph.node.iter().enumerate() {
            node.output.iter().for_each(|name| {
                made_by.insert(name.as_str(), node);
            });
            node.input.iter().for_each(|name| readers.entry(name).or_default().push(ix));
        }
        graph.output.iter().for_each(|o| readers.entry(&o.name).or_default().push(usize::MAX));
        Names { nodes: &graph.node, constants, made_by, readers }
    }

    fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.constants.get(name).copied()
    }

    /// A node's scale and zero point: constants, of f32 and, where there is one, as many.
    fn quantised_by(&self, node: &NodeProto) -> Option<(&'a TensorProto, Option<&'a TensorProto>)> {
        let dt = int(node, "output_dtype", 0);
        if int(node, "block_size", 0) != 0
            || node.input.len() > 3
            || !(dt == 0 || node.op_type == "QuantizeLinear" || dt == 1)
        {
            return None;
        }
        let scale = self.constant(node.input.get(1)?)?;
        let zero = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(zero) => Some(self.constant(zero)?),
            None => None,
        };
        let alike = zero.is_none_or(|zero| count(zero) == count(scale));
        (scale.data_type == DataType::Float as i32 && alike && scale.dims.len() <= 1).then_some((scale, zero))
    }

    /// The DequantizeLinear of bytes that makes a name.
    fn side(&self, name: &str) -> Option<Side<'a>> {
        let node = self.made_by.get(name).filter(|node| node.op_type == "DequantizeLinear")?;
        let (scale, zero) = self.quantised_by(node)?;
        zero.filter(|zero| is_bytes(zero))?;
        Some(Side { node, scale, axis: int(node, "axis", 1) })
    }

    /// Whether weights' scales are one an output, or one.
    fn is_by_outputs(&self, node: &NodeProto, w: &Side<'_>) -> bool {
        let Some(weights) = self.constant(&w.node.input[0]) else {
            // Of two activations.
            return node.op_type == "MatMul" && w.scales() == 1;
        };
        let rank = weights.dims.len() as i64;
        let axis = match node.op_type.as_str() {
            "Conv" if matches!(rank, 3 | 4) => 0,
            "MatMul" if rank == 2 => 1,
            "Gemm" if rank == 2 => 1 - int(node, "transB", 0),
            "MatMul" => return w.scales() == 1 && rank > 2,
            _ => return false,
        };
        let along = if w.axis < 0 { w.axis.saturating_add(rank) } else { w.axis };
        w.scales() == 1
            || along == axis && usize::try_from(weights.dims[axis as usize]).is_ok_and(|n| n == w.scales())
    }

    /// The whole bias behind a real one, if its scale is the product of the others.
    fn whole_bias(&self, name: &str, x: &Side<'_>, w: &Side<'_>) -> Option<&'a str> {
        let node = self.made_by.get(name).filter(|node| node.op_type == "DequantizeLinear")?;
        let (scale, zero) = self.quantised_by(node)?;
        let bias = self.constant(node.input.first()?)?;
        if bias.data_type != DataType::Int32 as i32 || bias.dims.len() != 1 || !zero.is_none_or(is_zero) {
            return None;
        }
        let (own, x, w) = (floats(scale), floats(x.scale), floats(w.scale));
        let n = own.len().max(w.len());
        let at = |all: &[f32], ix: usize| all[if all.len() == 1 { 0 } else { ix }];
        let fits = |all: &[f32]| all.len() == 1 || all.len() == n;
        let near = |ix: usize| {
            let (own, product) = (at(&own, ix), x[0] * at(&w, ix));
            (own - product).abs() <= APART * product
        };
        let one = own.len() == 1 || own.len() == count(bias);
        (fits(&own) && fits(&w) && x.len() == 1 && one && (0..n).all(near)).then_some(bias.name.as_str())
    }

    /// The real bias of a node, where it is one number an output, or one.
    fn is_line(&self, name: &str) -> bool {
        let constant = self.constant(name).or_else(|| {
            let node = self.made_by.get(name).filter(|node| node.op_type == "DequantizeLinear")?;
            self.constant(node.input.first()?)
        });
        constant.is_some_and(|bias| bias.dims.len() == 1)
    }

    /// The QuantizeLinear to bytes that alone reads a name, by its place.
    fn quantised_next(&self, name: &str) -> Option<usize> {
        let [ix] = *self.readers.get(name)?.as_slice() else { return None };
        let node =
            self.nodes.get(ix).filter(|node| node.op_type == "QuantizeLinear" && node.input[0] == name)?;
        let (scale, zero) = self.quantised_by(node)?;
        let zero = zero.filter(|zero| is_bytes(zero))?;
        let dt = int(node, "output_dtype", 0);
        (count(scale) == 1 && (dt == 0 || dt == i64::from(zero.data_type))).then_some(ix)
    }

    /// What takes the place of a node, and the place of the QuantizeLinear that it includes.
    fn paired(&self, node: &NodeProto) -> Option<(NodeProto, Option<usize>)> {
        let name = match node.op_type.as_str() {
            _ if !is_onnx(&node.domain) => return None,
            "Conv" => PAIRED_CONV,
            "MatMul" => PAIRED_PRODUCT,
            "Gemm" => {
                let one = |name: &str| attribute(node, name).is_none_or(|a| a.f == 1.0);
                if int(node, "transA", 0) != 0 || !one("alpha") || !one("beta") {
                    return None;
                }
                PAIRED_PRODUCT
            }
            _ => return None,
        };
        let (x, w) = (self.side(node.input.first()?)?, self.side(node.input.get(1)?)?);
        let (from, output) = (node.input.get(2).filter(|name| !name.is_empty()), node.output.first()?);
        if x.scales() != 1 || !self.is_by_outputs(node, &w) || from.is_some_and(|bias| !self.is_line(bias)) {
            return None;
        }
        let bias = from.map(|bias| self.whole_bias(bias, &x, &w));
        let next = if bias == Some(None) { None } else { self.quantised_next(output) };
        let mut paired = NodeProto { op_type: name.into(), domain: String::new(), ..node.clone() };
        let quantised = |node: &NodeProto| node.input[1..3].to_vec();
        paired.input = [&x, &w].iter().flat_map(|side| side.node.input.clone()).collect();
        match next {
            Some(next) => {
                paired.input.extend(quantised(&self.nodes[next]));
                paired.output = self.nodes[next].output.clone();
                paired.input.extend(bias.flatten().map(str::to_owned));
            }
            None => {
                paired.input.extend([String::new(), String::new()]);
                paired.input.extend(from.cloned());
            }
        }
        if node.op_type == "Gemm" && attribute(node, "transB").is_none() {
            let r#type = tract_onnx::pb::attribute_proto::AttributeType::Int as i32;
            paired.attribute.push(AttributeProto { name: "transB".into(), r#type, ..Default::default() });
        }
        Some((paired, next))
    }
}

/// Fuses what is between pairs. Graphs with graphs inside stay as they are: those read names from around them.
pub(crate) fn fuse(graph: &mut GraphProto) {
    let has_body = |node: &NodeProto| node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty());
    let pairs = graph.node.iter().any(|node| node.op_type == "DequantizeLinear");
    if !pairs || graph.node.iter().any(has_body) {
        return;
    }
    let names = Names::of(graph);
    let made: Vec<_> = graph.node.iter().map(|node| names.paired(node)).collect();
    drop(names);
    let gone: HashSet<usize> = made.iter().flatten().filter_map(|(_, next)| *next).collect();
    if made.iter().all(Option::is_none) {
        return;
    }
    let before = std::mem::take(&mut graph.node);
    let kept = before.into_iter().zip(made).enumerate().filter(|(ix, _)| !gone.contains(ix));
    graph.node = kept.map(|(_, (node, made))| made.map_or(node, |(made, _)| made)).collect();
    let outputs = graph.output.iter().map(|o| o.name.clone());
    let read: HashSet<String> =
        graph.node.iter().flat_map(|node| node.input.clone()).chain(outputs).collect();
    graph.node.retain(|node| {
        node.op_type != "DequantizeLinear" || node.output.iter().any(|name| read.contains(name))
    });
}
