//! ONNX files written by hand, good and hostile: a protobuf writer that lets a test say anything, and a small builder
//! for models that are meant to work.
//!
//! Field numbers are those of onnx.proto3.

use ic_nn_types::TensorType;

/// A protobuf message under construction.
#[derive(Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// A varint field.
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value as u64);
        self
    }

    /// A length-delimited field.
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A nested message.
    pub fn message(self, field: u32, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    /// The same field once for each value.
    pub fn messages(self, field: u32, values: impl IntoIterator<Item = Message>) -> Self {
        values.into_iter().fold(self, |m, v| m.message(field, v))
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// ONNX element types, by number.
pub mod element {
    #![allow(missing_docs, reason = "ONNX's names")]
    pub const FLOAT: i64 = 1;
    pub const UINT8: i64 = 2;
    pub const INT8: i64 = 3;
    pub const UINT16: i64 = 4;
    pub const INT16: i64 = 5;
    pub const INT32: i64 = 6;
    pub const INT64: i64 = 7;
    pub const STRING: i64 = 8;
    pub const BOOL: i64 = 9;
    pub const FLOAT16: i64 = 10;
    pub const DOUBLE: i64 = 11;
    pub const UINT32: i64 = 12;
    pub const UINT64: i64 = 13;
    pub const BFLOAT16: i64 = 16;
    pub const FLOAT8E5M2: i64 = 19;
}

/// ONNX's number of an element type.
pub fn element_of(ty: TensorType) -> i64 {
    match ty {
        TensorType::FP16 => element::FLOAT16,
        TensorType::FP32 => element::FLOAT,
        TensorType::FP64 => element::DOUBLE,
        TensorType::BF16 => element::BFLOAT16,
        TensorType::U8 => element::UINT8,
        TensorType::I8 => element::INT8,
        TensorType::U16 => element::UINT16,
        TensorType::I16 => element::INT16,
        TensorType::U32 => element::UINT32,
        TensorType::I32 => element::INT32,
        TensorType::U64 => element::UINT64,
        TensorType::I64 => element::INT64,
        TensorType::BOOL => element::BOOL,
    }
}

/// One axis of a declared shape.
#[derive(Clone, Copy)]
pub enum Dim {
    /// This long.
    Is(i64),
    /// As long as the symbol says.
    Named(&'static str),
}

/// `ValueInfoProto` of a tensor.
pub fn value(name: &str, element: i64, shape: &[Dim]) -> Message {
    let dims = shape.iter().map(|d| match d {
        Dim::Is(n) => Message::new().int(1, *n),
        Dim::Named(s) => Message::new().bytes(2, s),
    });
    let tensor = Message::new().int(1, element).message(2, Message::new().messages(1, dims));
    Message::new().bytes(1, name).message(2, Message::new().message(1, tensor))
}

/// `TensorProto` with raw data.
pub fn tensor(name: &str, element: i64, dims: &[i64], data: &[u8]) -> Message {
    dims.iter().fold(Message::new(), |m, d| m.int(1, *d)).int(2, element).bytes(8, name).bytes(9, data)
}

/// `TensorProto` of I64 values.
pub fn integers(name: &str, values: &[i64]) -> Message {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, element::INT64, &[values.len() as i64], &data)
}

/// `TensorProto` whose data are `length` bytes from `offset` of the file that the model calls `location`.
pub fn external(
    name: &str,
    element: i64,
    dims: &[i64],
    location: &str,
    offset: usize,
    length: usize,
) -> Message {
    let entry = |key: &str, value: &str| Message::new().bytes(1, key).bytes(2, value);
    dims.iter()
        .fold(Message::new(), |m, d| m.int(1, *d))
        .int(2, element)
        .bytes(8, name)
        .message(13, entry("location", location))
        .message(13, entry("offset", &offset.to_string()))
        .message(13, entry("length", &length.to_string()))
        .int(14, 1)
}

/// `NodeProto`; attributes come as made by [`attribute_int`] and its like.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<Message>) -> Message {
    let m = inputs.iter().fold(Message::new(), |m, i| m.bytes(1, i));
    let m = outputs.iter().fold(m, |m, o| m.bytes(2, o));
    m.bytes(3, format!("{op}_{}", outputs.first().unwrap_or(&""))).bytes(4, op).messages(5, attributes)
}

/// An integer attribute.
pub fn attribute_int(name: &str, value: i64) -> Message {
    Message::new().bytes(1, name).int(20, 2).int(3, value)
}

/// An attribute of several integers.
pub fn attribute_ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::new().bytes(1, name).int(20, 7), |m, v| m.int(8, *v))
}

/// A tensor attribute.
pub fn attribute_tensor(name: &str, tensor: Message) -> Message {
    Message::new().bytes(1, name).int(20, 4).message(5, tensor)
}

/// A graph and what is around it.
#[derive(Clone, Default)]
pub struct Model {
    /// `NodeProto`s.
    pub nodes: Vec<Message>,
    /// `ValueInfoProto`s.
    pub inputs: Vec<Message>,
    /// `ValueInfoProto`s.
    pub outputs: Vec<Message>,
    /// `TensorProto`s.
    pub initializers: Vec<Message>,
    /// Operator set; 17 unless set.
    pub opset: Option<i64>,
}

impl Model {
    /// The file.
    pub fn finish(self) -> Vec<u8> {
        let graph = Message::new()
            .messages(1, self.nodes)
            .bytes(2, "test")
            .messages(5, self.initializers)
            .messages(11, self.inputs)
            .messages(12, self.outputs);
        Message::new()
            .int(1, 8)
            .bytes(2, "ic-nn tests")
            .message(7, graph)
            .message(8, Message::new().bytes(1, "").int(2, self.opset.unwrap_or(17)))
            .finish()
    }
}

/// `y = x`, for any element type and shape: the echo model.
pub fn echo(element: i64, shape: &[Dim]) -> Vec<u8> {
    unary("Identity", element, shape)
}

/// `y = op(x)`.
pub fn unary(op: &str, element: i64, shape: &[Dim]) -> Vec<u8> {
    Model {
        nodes: vec![node(op, &["x"], &["y"], vec![])],
        inputs: vec![value("x", element, shape)],
        outputs: vec![value("y", element, shape)],
        ..Model::default()
    }
    .finish()
}

/// `sum = left + right`, both FP32 `[batch, 3]`.
pub fn add() -> Vec<u8> {
    let shape = [Dim::Named("batch"), Dim::Is(3)];
    Model {
        nodes: vec![node("Add", &["left", "right"], &["sum"], vec![])],
        inputs: vec![value("left", element::FLOAT, &shape), value("right", element::FLOAT, &shape)],
        outputs: vec![value("sum", element::FLOAT, &shape)],
        ..Model::default()
    }
    .finish()
}

/// Rows of a table of 4 by I64 indices `[n]`.
pub fn lookup() -> Vec<u8> {
    let table: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    Model {
        nodes: vec![node("Gather", &["table", "ids"], &["rows"], vec![attribute_int("axis", 0)])],
        inputs: vec![value("ids", element::INT64, &[Dim::Named("n")])],
        outputs: vec![value("rows", element::FLOAT, &[Dim::Named("n"), Dim::Is(2)])],
        initializers: vec![tensor("table", element::FLOAT, &[4, 2], &table)],
        ..Model::default()
    }
    .finish()
}

/// `x` times itself, `count` times, over sides of that length: `x1`, `x2` and so on.
pub fn products(side: Dim, count: usize) -> Model {
    let name = |n: usize| if n == 0 { "x".to_owned() } else { format!("x{n}") };
    let sides = || [side, side];
    Model {
        nodes: (0..count)
            .map(|n| node("MatMul", &[name(n).as_str(), "x"], &[name(n + 1).as_str()], vec![]))
            .collect(),
        inputs: vec![value("x", element::FLOAT, &sides())],
        outputs: vec![value(&name(count), element::FLOAT, &sides())],
        ..Default::default()
    }
}
