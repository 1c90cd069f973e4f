//! One node at a time through the whole engine: what it answers, and what it refuses to.

mod attention;
mod contrib;
mod control;
mod linear;
mod math;
mod moves;
mod quant;
mod recurrent;
mod spatial;

use ic_nn_types::{NamedTensor, Tensor, TensorType};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

use crate::{Graph, Limits};

/// A node under test.
pub(super) struct Op {
    node: NodeProto,
    opset: i64,
    inputs: Vec<NamedTensor>,
    outputs: Vec<TensorType>,
    rank: Option<usize>,
}

/// What came out: shape and values of each output.
pub(super) type Outputs = Vec<(Vec<u32>, Vec<f64>)>;

impl Op {
    pub(super) fn new(operator: &str) -> Op {
        let node = NodeProto { op_type: operator.into(), ..NodeProto::default() };
        Op { node, opset: 28, inputs: vec![], outputs: vec![], rank: None }
    }

    /// An operator of onnxruntime's own.
    pub(super) fn microsoft(operator: &str) -> Op {
        let mut op = Op::new(operator);
        op.node.domain = "com.microsoft".into();
        op
    }

    pub(super) fn opset(self, opset: i64) -> Op {
        Op { opset, ..self }
    }

    /// Declares the rank of the outputs, where zeros for what the planner reads would not do.
    pub(super) fn ranks(self, rank: usize) -> Op {
        Op { rank: Some(rank), ..self }
    }

    fn attribute(mut self, attribute: AttributeProto) -> Op {
        self.node.attribute.push(attribute);
        self
    }

    pub(super) fn int(self, name: &str, i: i64) -> Op {
        let r#type = AttributeType::Int as i32;
        self.attribute(AttributeProto { name: name.into(), r#type, i, ..Default::default() })
    }

    pub(super) fn real(self, name: &str, f: f32) -> Op {
        let r#type = AttributeType::Float as i32;
        self.attribute(AttributeProto { name: name.into(), r#type, f, ..Default::default() })
    }

    pub(super) fn ints(self, name: &str, ints: &[i64]) -> Op {
        let r#type = AttributeType::Ints as i32;
        self.attribute(AttributeProto { name: name.into(), r#type, ints: ints.into(), ..Default::default() })
    }

    pub(super) fn strings(self, name: &str, strings: &[&str]) -> Op {
        let strings = strings.iter().map(|s| s.as_bytes().into()).collect();
        let r#type = AttributeType::Strings as i32;
        self.attribute(AttributeProto { name: name.into(), r#type, strings, ..Default::default() })
    }

    pub(super) fn text(self, name: &str, s: &str) -> Op {
        let r#type = AttributeType::String as i32;
        self.attribute(AttributeProto { name: name.into(), r#type, s: s.into(), ..Default::default() })
    }

    /// The next input.
    pub(super) fn input(mut self, ty: TensorType, dimensions: &[u32], values: &[f64]) -> Op {
        let name = format!("x{}", self.node.input.len());
        self.node.input.push(name.clone());
        let data = values.iter().flat_map(|v| bytes(ty, *v)).collect();
        self.inputs.push((name, Tensor { dimensions: dimensions.into(), ty, data }));
        self
    }

    /// The next input, of f32.
    pub(super) fn f32(self, dimensions: &[u32], values: &[f64]) -> Op {
        self.input(TensorType::FP32, dimensions, values)
    }

    /// The next input, of i64 in one axis.
    pub(super) fn i64(self, values: &[f64]) -> Op {
        self.input(TensorType::I64, &[values.len() as u32], values)
    }

    /// An input of the graph that is none of the node's, for bodies to read.
    pub(super) fn named(mut self, name: &str, ty: TensorType, dimensions: &[u32], values: &[f64]) -> Op {
        let data = values.iter().flat_map(|v| bytes(ty, *v)).collect();
        self.inputs.push((name.into(), Tensor { dimensions: dimensions.into(), ty, data }));
        self
    }

    /// The same, called as the next input would be.
    pub(super) fn outside(self, ty: TensorType, dimensions: &[u32], values: &[f64]) -> Op {
        let name = format!("x{}", self.inputs.len());
        self.named(&name, ty, dimensions, values)
    }

    /// A graph inside the node.
    pub(super) fn body(self, name: &str, graph: GraphProto) -> Op {
        let r#type = AttributeType::Graph as i32;
        self.attribute(AttributeProto { name: name.into(), r#type, g: Some(graph), ..Default::default() })
    }

    /// An optional input that is not given.
    pub(super) fn nothing(mut self) -> Op {
        self.node.input.push(String::new());
        self
    }

    /// The next output.
    pub(super) fn output(mut self, ty: TensorType) -> Op {
        self.node.output.push(format!("y{}", self.node.output.len()));
        self.outputs.push(ty);
        self
    }

    /// Runs it; one output of f32 unless others were named.
    pub(super) fn run(mut self) -> Result<Outputs, String> {
        if self.outputs.is_empty() {
            self = self.output(TensorType::FP32);
        }
        let inputs = self.inputs.iter().map(|(name, t)| {
            let dims = t.dimensions.iter().map(|d| Some(Dim::DimValue(i64::from(*d))));
            value(name, t.ty, Some(dims.collect()))
        });
        let shape = self.rank.map(|rank| vec![None; rank]);
        let outputs = self.node.output.iter().zip(&self.outputs);
        let outputs = outputs.map(|(name, ty)| value(name, *ty, shape.clone()));
        let graph = GraphProto {
            name: "test".into(),
            input: inputs.collect(),
            output: outputs.collect(),
            node: vec![self.node],
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: 10,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: self.opset }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        let limits = Limits::default();
        let mut graph = Graph::load(model.encode_to_vec(), &limits).map_err(|e| e.to_string())?;
        let outputs = graph.infer(self.inputs.clone(), &limits).map_err(|e| e.to_string())?;
        graph.cut_small();
        let cut = graph.infer(self.inputs, &limits).map_err(|e| format!("in parts: {e}"))?;
        assert!(crate::cut::same(&outputs, &cut), "{outputs:?}, in parts {cut:?}");
        Ok(outputs
            .into_iter()
            .zip(self.outputs)
            .map(|((name, t), ty)| {
                assert_eq!(t.ty, ty, "the type of {name}");
                let values = t.data.chunks(ty.size()).map(|b| number(ty, b)).collect();
                (t.dimensions, values)
            })
            .collect())
    }

    /// Runs it and gives the values of its first output.
    pub(super) fn values(self) -> Vec<f64> {
        self.run().unwrap().swap_remove(0).1
    }

    /// Holds its first output to `expected` within 1e-5.
    pub(super) fn gives(self, dimensions: &[u32], expected: &[f64]) {
        let (shape, values) = self.run().unwrap().swap_remove(0);
        assert_eq!(shape, dimensions);
        close(&values, expected);
    }

    /// Holds it to a refusal that names the operator and says all of `words`.
    pub(super) fn refuses(self, words: &[&str]) {
        let operator = self.node.op_type.clone();
        let refusal = self.run().unwrap_err();
        for word in words.iter().chain([&operator.as_str()]) {
            assert!(refusal.contains(word), "{refusal:?} does not say {word:?}");
        }
    }
}

/// Holds `came` to `expected` within 1e-5, NaN to NaN.
pub(super) fn close(came: &[f64], expected: &[f64]) {
    assert_eq!(came.len(), expected.len(), "{came:?} for {expected:?}");
    let close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    assert!(came.iter().zip(expected).all(|(a, b)| close(*a, *b)), "{came:?} came, {expected:?} is expected");
}

fn value(name: &str, ty: TensorType, dimensions: Option<Vec<Option<Dim>>>) -> ValueInfoProto {
    let dim = |value| Dimension { value, ..Default::default() };
    let shape = dimensions.map(|d| TensorShapeProto { dim: d.into_iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: element(ty), shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

/// `TensorProto.DataType` of the types that are tested with.
pub(super) fn element(ty: TensorType) -> i32 {
    match ty {
        TensorType::FP32 => 1,
        TensorType::U8 => 2,
        TensorType::I8 => 3,
        TensorType::I16 => 5,
        TensorType::I32 => 6,
        TensorType::I64 => 7,
        TensorType::BOOL => 9,
        TensorType::FP64 => 11,
        TensorType::U32 => 12,
        TensorType::U64 => 13,
        TensorType::BF16 => 16,
        other => panic!("no test needs {other}"),
    }
}

fn bytes(ty: TensorType, v: f64) -> Vec<u8> {
    match ty {
        TensorType::FP32 => (v as f32).to_le_bytes().into(),
        TensorType::FP64 => v.to_le_bytes().into(),
        TensorType::BF16 => crate::element::bfloat_bits(v as f32).to_le_bytes().into(),
        TensorType::U64 => (v as u64).to_le_bytes().into(),
        _ => (v as i64).to_le_bytes()[..ty.size()].into(),
    }
}

fn number(ty: TensorType, b: &[u8]) -> f64 {
    let mut wide = [0; 8];
    wide[..b.len()].copy_from_slice(b);
    let raw = u64::from_le_bytes(wide);
    match ty {
        TensorType::FP32 => f64::from(f32::from_bits(raw as u32)),
        TensorType::FP64 => f64::from_bits(raw),
        TensorType::BF16 => f64::from(crate::element::from_bfloat_bits(raw as u16)),
        TensorType::U8 | TensorType::U32 | TensorType::U64 | TensorType::BOOL => raw as f64,
        _ => ((raw << (64 - 8 * b.len())) as i64 >> (64 - 8 * b.len())) as f64,
    }
}
