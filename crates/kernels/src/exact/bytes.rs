//! What is made of bytes without products: sums and products of two, tables, sums of many.

use super::Bytes;
use super::ending::To;
use crate::lanes::{F32x4, sixteen};

/// What two bytes become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Two {
    /// Each times its factor, added up.
    Sum,
    /// Multiplied, times the first factor.
    Product,
}

/// Bytes of two operands, less their zero points, as `how` says, to the nearest, plus `zero`, as bytes.
///
/// Costs about 12 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn combine(
    how: Two,
    [a, b]: [Bytes<'_>; 2],
    [of_a, of_b]: [f32; 2],
    [signed, zero]: [i16; 2],
    out: &mut [u8],
) {
    let n = out.len();
    assert!(a.len() == n && b.len() == n, "lengths");
    let to = To { zero, signed: signed != 0 };
    let splat = |x: i16| F32x4::splat(f32::from(x));
    let (less_a, less_b) = (splat(a.less), splat(b.less));
    let (fours_a, fours_b) = (F32x4::splat(of_a), F32x4::splat(of_b));
    let one = |of: &Bytes<'_>, at: usize| f32::from(of.bytes[at] ^ of.flip) - f32::from(of.less);
    // SAFETY: sixteen of both are there (`sixteens`).
    let of = |of: &Bytes<'_>, at: usize| unsafe { sixteen(of.bytes.as_ptr().add(at), of.flip) };
    match how {
        Two::Sum => {
            let all = |at: usize| {
                let (x, y) = (of(&a, at), of(&b, at));
                [0, 1, 2, 3].map(|ix| (x[ix] - less_a) * fours_a + (y[ix] - less_b) * fours_b)
            };
            to.sixteens(n, all, |at| one(&a, at) * of_a + one(&b, at) * of_b, out);
        }
        Two::Product => {
            let all = |at: usize| {
                let (x, y) = (of(&a, at), of(&b, at));
                [0, 1, 2, 3].map(|ix| (x[ix] - less_a) * (y[ix] - less_b) * fours_a)
            };
            to.sixteens(n, all, |at| one(&a, at) * one(&b, at) * of_a, out);
        }
    }
}

/// What a table holds of each byte.
///
/// Costs about 8 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn map_bytes(x: &[u8], table: &[u8; 256], out: &mut [u8]) {
    assert!(x.len() == out.len(), "a place for each");
    x.iter().zip(out).for_each(|(x, out)| *out = table[usize::from(*x)]);
}

/// Sums of lines of so many bytes, one behind the other, less the zero point of each. A line has 2^22 at most.
///
/// Costs about 6 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn sum_lines(x: Bytes<'_>, length: usize, sums: &mut [i32]) {
    assert!(length > 0 && length <= 1 << 22 && x.len() == length * sums.len(), "lengths");
    for (sum, line) in sums.iter_mut().zip(x.bytes.chunks_exact(length)) {
        let all: u32 = line.iter().map(|byte| u32::from(byte ^ x.flip)).sum();
        *sum = all as i32 - i32::from(x.less) * length as i32;
    }
}

/// Adds rows of as many bytes as there are sums, one behind the other, less the zero point of each.
///
/// Costs about 8 instructions a number.
///
/// # Panics
/// Where the last row is not whole.
pub fn sum_rows(x: Bytes<'_>, sums: &mut [i32]) {
    assert!(!sums.is_empty() && x.len().is_multiple_of(sums.len()), "lengths");
    for row in x.bytes.chunks_exact(sums.len()) {
        for (sum, byte) in sums.iter_mut().zip(row) {
            *sum += i32::from(byte ^ x.flip) - i32::from(x.less);
        }
    }
}
