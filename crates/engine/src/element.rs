//! Element types: ONNX's, tract's and the wire's, and which of them are the same.

use ic_nn_types::TensorType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::DatumType;

/// The wire's name for an ONNX element type that goes in and out; `None` for strings, complex numbers, and numbers of 4
/// bits and floats of 8, which the engine does not hold.
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
        DataType::Bfloat16 => TensorType::BF16,
        _ => return None,
    })
}

/// ONNX's number of a type of the wire.
pub(crate) fn to_onnx(ty: TensorType) -> i32 {
    let ty = match ty {
        TensorType::FP16 => DataType::Float16,
        TensorType::FP32 => DataType::Float,
        TensorType::FP64 => DataType::Double,
        TensorType::BF16 => DataType::Bfloat16,
        TensorType::U8 => DataType::Uint8,
        TensorType::I8 => DataType::Int8,
        TensorType::U16 => DataType::Uint16,
        TensorType::I16 => DataType::Int16,
        TensorType::U32 => DataType::Uint32,
        TensorType::I32 => DataType::Int32,
        TensorType::U64 => DataType::Uint64,
        TensorType::I64 => DataType::Int64,
        TensorType::BOOL => DataType::Bool,
    };
    ty as i32
}

/// ONNX's own name of an element type, for messages.
pub(crate) fn onnx_name(raw: i32) -> String {
    DataType::try_from(raw).map_or_else(|_| format!("element type {raw}"), |t| t.as_str_name().to_owned())
}

/// The name that ONNX has for an element type of tract's.
#[cfg(any(feature = "nnef", feature = "tensorflow", feature = "tensorflowlite"))]
pub(crate) fn tract_name(dt: DatumType) -> String {
    let known = match dt.unquantized() {
        DatumType::F16 => DataType::Float16,
        DatumType::F32 => DataType::Float,
        DatumType::F64 => DataType::Double,
        DatumType::U8 => DataType::Uint8,
        DatumType::I8 => DataType::Int8,
        DatumType::U16 => DataType::Uint16,
        DatumType::I16 => DataType::Int16,
        DatumType::U32 => DataType::Uint32,
        DatumType::I32 => DataType::Int32,
        DatumType::U64 => DataType::Uint64,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::Bool => DataType::Bool,
        DatumType::String => DataType::String,
        other => return format!("{other:?}"),
    };
    known.as_str_name().to_owned()
}

/// tract's type of the wire's; bfloat16 is f32 inside.
pub(crate) fn to_tract(ty: TensorType) -> DatumType {
    match ty {
        TensorType::FP16 => DatumType::F16,
        TensorType::FP32 | TensorType::BF16 => DatumType::F32,
        TensorType::FP64 => DatumType::F64,
        TensorType::U8 => DatumType::U8,
        TensorType::I8 => DatumType::I8,
        TensorType::U16 => DatumType::U16,
        TensorType::I16 => DatumType::I16,
        TensorType::U32 => DatumType::U32,
        TensorType::I32 => DatumType::I32,
        TensorType::U64 => DatumType::U64,
        TensorType::I64 => DatumType::I64,
        TensorType::BOOL => DatumType::Bool,
    }
}

/// The bits of the bfloat16 nearest to `x`, ties to even.
pub(crate) fn bfloat_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // What has come in as bfloat16 leaves bit for bit; else a quiet NaN, never an infinity.
        let top = (bits >> 16) as u16;
        return if top & 0x7f != 0 { top } else { top | 0x40 };
    }
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The value of a bfloat16.
pub(crate) fn from_bfloat_bits(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
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
    TensorType::ALL.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_is_rounded_to_the_nearest_bfloat16() {
        for (x, bits) in [
            (1.0, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (-0.0, 0x8000),
        ] {
            assert_eq!(bfloat_bits(x), bits, "{x}");
        }
        assert!(from_bfloat_bits(bfloat_bits(f32::from_bits(0x7f80_0001))).is_nan());
        assert_eq!(bfloat_bits(from_bfloat_bits(0x7f81)), 0x7f81);
    }
}
