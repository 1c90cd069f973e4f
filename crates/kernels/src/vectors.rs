//! Vectors that lie in the heap: what two come to, and one added to another some times. For kernels that go row by row.

use crate::lanes::F32x4;
use crate::softmax::sum;

/// The sum of the products of two vectors, in sixteen lanes.
///
/// # Panics
/// Where they are not equally long.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert!(a.len() == b.len(), "vectors of one length");
    let ((a16, a), (b16, b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let ((a4, a), (b4, b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let zero = F32x4::splat(0.0);
    // By themselves, not in an array, so that they stay in locals; of arrays, whose places are offsets of loads.
    let (mut first, mut second, mut third, mut last) = (zero, zero, zero, zero);
    for (a, b) in a16.iter().zip(b16) {
        first = first + F32x4::of(&a[..4]) * F32x4::of(&b[..4]);
        second = second + F32x4::of(&a[4..8]) * F32x4::of(&b[4..8]);
        third = third + F32x4::of(&a[8..12]) * F32x4::of(&b[8..12]);
        last = last + F32x4::of(&a[12..]) * F32x4::of(&b[12..]);
    }
    for (a, b) in a4.iter().zip(b4) {
        first = first + F32x4::of(a) * F32x4::of(b);
    }
    let rest = a.iter().zip(b).fold(0.0, |rest, (a, b)| rest + a * b);
    sum((first + second) + (third + last)) + rest
}

/// Adds `x` to `y`, `times` it.
///
/// # Panics
/// Where they are not equally long.
pub fn add_times(y: &mut [f32], x: &[f32], times: f32) {
    assert!(y.len() == x.len(), "vectors of one length");
    let by = F32x4::splat(times);
    let ((y16, y), (x16, x)) = (y.as_chunks_mut::<16>(), x.as_chunks::<16>());
    let ((y4, y), (x4, x)) = (y.as_chunks_mut::<4>(), x.as_chunks::<4>());
    for (y, x) in y16.iter_mut().zip(x16) {
        put(&mut y[..4], &x[..4], by);
        put(&mut y[4..8], &x[4..8], by);
        put(&mut y[8..12], &x[8..12], by);
        put(&mut y[12..], &x[12..], by);
    }
    y4.iter_mut().zip(x4).for_each(|(y, x)| put(y, x, by));
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x * times);
}

/// Adds four numbers, times `by`.
#[inline(always)]
fn put(y: &mut [f32], x: &[f32], by: F32x4) {
    let sum = F32x4::of(y) + F32x4::of(x) * by;
    assert!(y.len() == 4, "four numbers");
    // SAFETY: there is room for four.
    unsafe { sum.store(y.as_mut_ptr()) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{many, numbers};

    proptest! {
        #[test]
        fn they_are_their_definitions(length in 0usize..70, times in -2f32..2.0, seed: u64) {
            let mut next = numbers(seed);
            let (a, b) = (many(length, &mut next), many(length, &mut next));
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - expected).abs() < 1e-5);
            let mut y = a.clone();
            add_times(&mut y, &b, times);
            for ((y, a), b) in y.iter().zip(&a).zip(&b) {
                prop_assert_eq!(*y, a + b * times);
            }
        }
    }
}
