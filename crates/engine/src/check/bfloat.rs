//! bfloat16, which tract has not: such tensors go in and out as they are and are f32 in between.
//!
//! The file is rewritten so that tract sees f32: constants here, declared inputs by [`retype`]. Values are rounded to
//! bfloat16 where the graph casts to it and where they leave; what operators make of them in between is more exact than
//! bfloat16. For that the walk has to know which names hold bfloat16.

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

const BFLOAT16: i32 = DataType::Bfloat16 as i32;

/// Operators whose outputs are of another type than their operands, and those only whose first output is of the same.
const OTHERS: [&str; 16] = [
    "And",
    "ArgMax",
    "ArgMin",
    "BitCast",
    "Cast",
    "CastLike",
    "DynamicQuantizeLinear",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonZero",
    "QuantizeLinear",
];
const SHAPES: [&str; 2] = ["Shape", "Size"];
const FIRST_ONLY: [&str; 4] = ["Dropout", "MaxPool", "TopK", "Unique"];

/// Whether a declared value holds bfloat16.
pub(crate) fn declares(value: &ValueInfoProto) -> bool {
    match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type == BFLOAT16,
        _ => false,
    }
}

/// Whether a constant holds bfloat16.
pub(super) fn is(tensor: &TensorProto) -> bool {
    tensor.data_type == BFLOAT16
}

/// Makes f32 of a checked constant of bfloat16.
pub(super) fn widen(tensor: &mut TensorProto) {
    let wide = |bits: u16| (u32::from(bits) << 16).to_le_bytes();
    tensor.raw_data = if tensor.raw_data.is_empty() {
        std::mem::take(&mut tensor.int32_data).into_iter().flat_map(|v| wide(v as u16)).collect()
    } else {
        tensor.raw_data.as_chunks().0.iter().flat_map(|b| wide(u16::from_le_bytes(*b))).collect()
    };
    tensor.data_type = DataType::Float as i32;
}

/// Makes f32 of what `graph` and the graphs inside it declare as bfloat16.
pub(super) fn retype(graph: &mut GraphProto) {
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(type_proto::Value::TensorType(tensor)) =
            value.r#type.as_mut().and_then(|t| t.value.as_mut())
            && tensor.elem_type == BFLOAT16
        {
            tensor.elem_type = DataType::Float as i32;
        }
    }
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(retype);
    }
}

/// Adds to `names` the outputs of `node` that hold bfloat16, and makes a cast of a CastLike to it. `constant` says whether
/// one of its attributes is a tensor of bfloat16.
pub(super) fn follow(node: &mut NodeProto, constant: bool, names: &mut HashSet<String>) {
    let operator = node.op_type.as_str();
    let to = |a: &AttributeProto| a.name == "to" && a.i == i64::from(BFLOAT16);
    if operator == "CastLike" && node.input.get(1).is_some_and(|like| names.contains(like)) {
        node.op_type = "Cast".into();
        node.input.truncate(1);
        node.attribute = vec![AttributeProto {
            name: "to".into(),
            r#type: tract_onnx::pb::attribute_proto::AttributeType::Int as i32,
            i: i64::from(BFLOAT16),
            ..AttributeProto::default()
        }];
    }
    if node.op_type == "Cast" {
        if node.attribute.iter().any(to) {
            names.extend(node.output.iter().cloned());
        }
        return;
    }
    let operator = node.op_type.as_str();
    // An If gives what its branches give; a Loop's condition comes first and is no output.
    let bodies = node.attribute.iter().filter_map(|a| a.g.as_ref());
    let skipped = usize::from(operator == "Loop");
    let inner: Vec<String> = bodies
        .flat_map(|g| g.output.iter().skip(skipped).zip(&node.output))
        .filter(|(inside, _)| names.contains(&inside.name))
        .map(|(_, outside)| outside.clone())
        .collect();
    names.extend(inner);
    if node.attribute.iter().any(|a| a.g.is_some())
        || OTHERS.contains(&operator)
        || SHAPES.contains(&operator)
    {
        return;
    }
    if constant || node.input.iter().any(|i| names.contains(i)) {
        let most = if FIRST_ONLY.contains(&operator) { 1 } else { usize::MAX };
        names.extend(node.output.iter().take(most).cloned());
    }
}
