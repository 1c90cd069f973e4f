//! A tensor's bytes as numbers and numbers as a tensor's bytes, for every element type.
//!
//! Bytes are little-endian and row-major. A number that the element type cannot hold is an error, never a wrap; a
//! fraction is rounded to a float of fewer bits, because that is what a float is.

use half::{bf16, f16};
use ic_nn_types::{Tensor, TensorType};

/// One element, wide enough for every type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer or a truth value.
    Int(i128),
    /// A float.
    Float(f64),
}

impl Number {
    /// The nearest float.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(n) => write!(f, "{n}"),
            Number::Float(x) => write!(f, "{x}"),
        }
    }
}

/// The elements of a tensor; bytes that make no whole element at the end are left out.
pub fn numbers(tensor: &Tensor) -> Vec<Number> {
    tensor.data.chunks_exact(tensor.ty.size()).map(|element| read(tensor.ty, element)).collect()
}

/// The bytes of `numbers` as elements of `ty`; the error names the first number that does not fit.
pub fn bytes(ty: TensorType, numbers: &[Number]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(numbers.len() * ty.size());
    for (index, number) in numbers.iter().enumerate() {
        write(ty, *number, &mut out)
            .ok_or_else(|| format!("element {index} is {number}, which {ty} cannot hold"))?;
    }
    Ok(out)
}

/// One element; `bytes` has the type's size.
pub fn read(ty: TensorType, bytes: &[u8]) -> Number {
    let mut raw = [0; 8];
    raw[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(raw);
    match ty {
        TensorType::FP16 => Number::Float(f16::from_bits(bits as u16).to_f64()),
        TensorType::BF16 => Number::Float(bf16::from_bits(bits as u16).to_f64()),
        TensorType::FP32 => Number::Float(f64::from(f32::from_bits(bits as u32))),
        TensorType::FP64 => Number::Float(f64::from_bits(bits)),
        TensorType::U8 | TensorType::U16 | TensorType::U32 | TensorType::U64 | TensorType::BOOL => {
            Number::Int(i128::from(bits))
        }
        TensorType::I8 => Number::Int(i128::from(bits as i8)),
        TensorType::I16 => Number::Int(i128::from(bits as i16)),
        TensorType::I32 => Number::Int(i128::from(bits as i32)),
        TensorType::I64 => Number::Int(i128::from(bits as i64)),
    }
}

fn write(ty: TensorType, number: Number, out: &mut Vec<u8>) -> Option<()> {
    match ty {
        TensorType::FP16 => out.extend(f16::from_f64(number.as_f64()).to_le_bytes()),
        TensorType::BF16 => out.extend(bf16::from_f64(number.as_f64()).to_le_bytes()),
        TensorType::FP32 => out.extend((number.as_f64() as f32).to_le_bytes()),
        TensorType::FP64 => out.extend(number.as_f64().to_le_bytes()),
        TensorType::U8 => out.extend(u8::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::U16 => out.extend(u16::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::U32 => out.extend(u32::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::U64 => out.extend(u64::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::I8 => out.extend(i8::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::I16 => out.extend(i16::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::I32 => out.extend(i32::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::I64 => out.extend(i64::try_from(integer(number)?).ok()?.to_le_bytes()),
        TensorType::BOOL => match integer(number)? {
            n @ (0 | 1) => out.push(n as u8),
            _ => return None,
        },
    }
    Some(())
}

fn integer(number: Number) -> Option<i128> {
    match number {
        Number::Int(n) => Some(n),
        // 2^64 bounds what any element type holds, and what the cast gives exactly.
        Number::Float(x) if x.fract() == 0.0 && x.abs() <= 18_446_744_073_709_551_616.0 => Some(x as i128),
        Number::Float(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_what_it_wrote() {
        for ty in TensorType::ALL {
            let signed = matches!(
                ty,
                TensorType::I8
                    | TensorType::I16
                    | TensorType::I32
                    | TensorType::I64
                    | TensorType::FP16
                    | TensorType::BF16
                    | TensorType::FP32
                    | TensorType::FP64
            );
            let values: &[i128] = match (ty, signed) {
                (TensorType::BOOL, _) => &[0, 1, 1],
                (_, true) => &[0, 100, -100],
                (_, false) => &[0, 100, 255],
            };
            let given: Vec<Number> = values.iter().map(|n| Number::Int(*n)).collect();
            let data = bytes(ty, &given).unwrap();
            assert_eq!(data.len(), 3 * ty.size(), "{ty}");
            let back = numbers(&Tensor { dimensions: vec![3], ty, data });
            let back: Vec<f64> = back.into_iter().map(Number::as_f64).collect();
            assert_eq!(back, values.iter().map(|n| *n as f64).collect::<Vec<_>>(), "{ty}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = bytes(TensorType::U8, &[Number::Int(255), Number::Int(256)]).unwrap_err();
        assert_eq!(error, "element 1 is 256, which U8 cannot hold");
        assert!(bytes(TensorType::I64, &[Number::Float(0.5)]).is_err());
        assert!(bytes(TensorType::I64, &[Number::Float(f64::NAN)]).is_err());
        assert!(bytes(TensorType::U64, &[Number::Float(1e300)]).is_err());
        assert!(bytes(TensorType::BOOL, &[Number::Int(2)]).is_err());
        assert_eq!(bytes(TensorType::I32, &[Number::Float(-3.0)]).unwrap(), (-3i32).to_le_bytes());
    }
}
