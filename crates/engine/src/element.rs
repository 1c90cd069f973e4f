//! Element types: ONNX's, tract's and the wire's, and which of them are the same.

use ic_nn_types::TensorType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::DatumType;

/// The wire's name for an ONNX element type that goes in and out; `None` for strings, complex numbers, 4- and
/// 8-bit floats and bfloat16, which the engine does not hold.
pub(crate) fn from_onnx(raw: i32) -> Option<TensorType> {
    Some(match DataType::try_from(raw).ok()? {
        DataType::Float => TensorType::FP32,
        DataType::Uint8 => TensorType::U8,
        DataType::Int8 => TensorType::I8,
        DataType::Uint16 => TensorType::U16,
        DataType::Int16 => TensorType::I16,
        DataType::Int32 => TensorType::I32,
        DataType::Int64 => TensorType::I64,
        DataType::Bool => TensorType::BOOL,
        DataType::Float16 => TensorType::FP16,
        DataType::Double => TensorType::FP64,
        DataType::Uint32 => TensorType::U32,
        DataType::Uint64 => TensorType::U64,
        _ => return None,
    })
}

/// ONNX's own name of an element type, for messages.
pub(crate) fn onnx_name(raw: i32) -> String {
    DataType::try_from(raw).map_or_else(|_| format!("element type {raw}"), |t| t.as_str_name().to_owned())
}

/// tract's type of the wire's.
pub(crate) fn to_tract(ty: TensorType) -> Option<DatumType> {
    Some(match ty {
        TensorType::FP16 => DatumType::F16,
        TensorType::FP32 => DatumType::F32,
        TensorType::FP64 => DatumType::F64,
        TensorType::BF16 => return None,
        TensorType::U8 => DatumType::U8,
        TensorType::I8 => DatumType::I8,
        TensorType::U16 => DatumType::U16,
        TensorType::I16 => DatumType::I16,
        TensorType::U32 => DatumType::U32,
        TensorType::I32 => DatumType::I32,
        TensorType::U64 => DatumType::U64,
        TensorType::I64 => DatumType::I64,
        TensorType::BOOL => DatumType::Bool,
    })
}

/// The wire's type of tract's; a dimension is an I64 in ONNX.
pub(crate) fn from_tract(dt: DatumType) -> Option<TensorType> {
    Some(match dt.unquantized() {
        DatumType::F16 => TensorType::FP16,
        DatumType::F32 => TensorType::FP32,
        DatumType::F64 => TensorType::FP64,
        DatumType::U8 => TensorType::U8,
        DatumType::I8 => TensorType::I8,
        DatumType::U16 => TensorType::U16,
        DatumType::I16 => TensorType::I16,
        DatumType::U32 => TensorType::U32,
        DatumType::I32 => TensorType::I32,
        DatumType::U64 => TensorType::U64,
        DatumType::I64 | DatumType::TDim => TensorType::I64,
        DatumType::Bool => TensorType::BOOL,
        _ => return None,
    })
}

/// The element types that go in and out.
pub fn tensor_types() -> Vec<TensorType> {
    TensorType::ALL.into_iter().filter(|t| to_tract(*t).is_some()).collect()
}
