//! Models of one node, for tests of operators: attributes, declared values, loading.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension::Value, type_proto,
};

use crate::{Graph, Limits};

pub(crate) fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..Default::default() }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name, AttributeType::Int) }
}

pub(crate) fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), ..attribute(name, AttributeType::Floats) }
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..attribute(name, AttributeType::Float) }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.into(), ..attribute(name, AttributeType::String) }
}

pub(crate) fn texts(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|v| v.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

/// A value of element type `ty` whose axes are dynamic where they are negative; rank unknown without any.
pub(crate) fn value(name: &str, ty: i32, axes: &[i64]) -> ValueInfoProto {
    let dim = axes
        .iter()
        .map(|&n| Dimension { value: (n >= 0).then_some(Value::DimValue(n)), ..Default::default() });
    let shape = (!axes.is_empty()).then(|| TensorShapeProto { dim: dim.collect() });
    let tensor = type_proto::Tensor { elem_type: ty, shape };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(ty), ..Default::default() }
}

pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

/// `op` from `inputs`, which are initialised where `constants` hold them, to `outputs`.
pub(crate) fn load(
    op: (&str, &str),
    inputs: Vec<ValueInfoProto>,
    constants: Vec<TensorProto>,
    outputs: Vec<ValueInfoProto>,
    attribute: Vec<AttributeProto>,
    opset: (&str, i64),
) -> Result<Graph, String> {
    let (domain, op) = op;
    let node = NodeProto {
        op_type: op.into(),
        domain: domain.into(),
        input: inputs.iter().map(|i| i.name.clone()).collect(),
        output: outputs.iter().map(|o| o.name.clone()).collect(),
        attribute,
        ..Default::default()
    };
    let graph = GraphProto {
        node: vec![node],
        input: inputs,
        initializer: constants,
        output: outputs,
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: opset.0.into(), version: opset.1 };
    let model = ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    Graph::load(model.encode_to_vec(), &Limits::default()).map_err(|e| e.to_string())
}
