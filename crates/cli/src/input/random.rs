//! Inputs from a seed: the same numbers on every machine.
//!
//! Floats are uniform in 0..1. Integers and truth values are 0 or 1, because those are valid as token ids, masks
//! and token types alike.

use ic_nn_types::{TensorDescription, TensorType};

use super::array::Array;
use crate::elements::Number;

/// Most elements that are made up: 256 Mi, far above what a message can carry.
const MAX_ELEMENTS: u64 = 1 << 28;

/// An array of `wanted`'s shape, dynamic axes 1 long, or of `shape` where one is given.
pub fn array(wanted: &TensorDescription, shape: Option<&[u32]>, seed: u64) -> Result<Array, String> {
    let shape: Vec<u64> = match shape {
        Some(shape) => shape.iter().map(|d| u64::from(*d)).collect(),
        None => wanted.dimensions.iter().map(|d| u64::from(d.unwrap_or(1))).collect(),
    };
    let elements = shape
        .iter()
        .try_fold(1u64, |n, d| n.checked_mul(*d))
        .filter(|n| *n <= MAX_ELEMENTS)
        .ok_or_else(|| format!("a random tensor has at most {MAX_ELEMENTS} elements"))?;
    // Two inputs of one seed differ: the name goes in by FNV-1a.
    let mut state = wanted.name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let floats =
        matches!(wanted.ty, TensorType::FP16 | TensorType::BF16 | TensorType::FP32 | TensorType::FP64);
    let values = (0..elements)
        .map(|_| {
            let bits = split_mix(&mut state);
            // 24 bits: every value is exact in FP32.
            if floats {
                Number::Float((bits >> 40) as f64 / 16_777_216.0)
            } else {
                Number::Int(i128::from(bits >> 63))
            }
        })
        .collect();
    Ok(Array { shape, ty: None, values })
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, ty: TensorType) -> TensorDescription {
        TensorDescription { name: name.into(), ty, dimensions: vec![None, Some(100)], symbols: vec![None; 2] }
    }

    #[test]
    fn a_seed_is_a_tensor() {
        let a = array(&wanted("a", TensorType::FP32), None, 1).unwrap();
        assert_eq!(a, array(&wanted("a", TensorType::FP32), None, 1).unwrap());
        assert_ne!(a, array(&wanted("a", TensorType::FP32), None, 2).unwrap());
        assert_ne!(a, array(&wanted("b", TensorType::FP32), None, 1).unwrap());
        assert_eq!(a.shape, [1, 100]);
        assert!(a.values.iter().all(|v| (0.0..1.0).contains(&v.as_f64())));
    }

    #[test]
    fn integers_are_noughts_and_ones() {
        let ids = array(&wanted("ids", TensorType::I64), Some(&[2, 100]), 3).unwrap();
        assert_eq!(ids.values.len(), 200);
        assert!(ids.values.contains(&Number::Int(0)) && ids.values.contains(&Number::Int(1)));
        assert!(ids.values.iter().all(|v| matches!(v, Number::Int(0 | 1))));
        assert!(array(&wanted("x", TensorType::U8), Some(&[u32::MAX, u32::MAX]), 0).is_err());
    }
}
