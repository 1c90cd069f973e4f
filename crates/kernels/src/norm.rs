//! Layer norm and RMS norm: rows less their mean, over the root of their mean square, times a scale, plus a bias.
//!
//! A row goes by for its mean, for its mean square, and to be written; sums are in sixteen lanes.

use std::ops::Range;

use crate::lanes::F32x4;
use crate::softmax::{new_lanes, sum};

/// A norm of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Numbers of a row.
    pub(crate) length: usize,
    /// What is added to the mean square.
    pub(crate) epsilon: f32,
    /// Whether the mean is taken away.
    pub(crate) centred: bool,
    /// One number a place in the row.
    pub(crate) scale: Vec<f32>,
    /// One number a place in the row.
    pub(crate) bias: Vec<f32>,
}

impl Norm {
    /// A norm of rows of `length`, at least 4; a scale or a bias that is empty is none. None where their lengths differ.
    pub fn new(
        length: usize,
        epsilon: f32,
        centred: bool,
        scale: Option<&[f32]>,
        bias: Option<&[f32]>,
    ) -> Option<Norm> {
        let all = |values: Option<&[f32]>, neutral: f32| match values {
            None => Some(vec![neutral; length]),
            Some(values) => (values.len() == length).then(|| values.to_vec()),
        };
        if !(4..1 << 28).contains(&length) {
            return None;
        }
        Some(Norm { length, epsilon, centred, scale: all(scale, 1.0)?, bias: all(bias, 0.0)? })
    }

    /// Numbers of a row.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Into how many units so many numbers can be cut: rows.
    pub fn units(&self, numbers: usize) -> usize {
        numbers / self.length
    }

    /// What it takes for so many numbers.
    pub fn instructions(&self, numbers: usize) -> u64 {
        let rows = (numbers / self.length) as u64;
        let (fours, tail) = ((self.length / 4) as u64, !self.length.is_multiple_of(4));
        let each = if self.centred { 56 } else { 43 };
        300 + rows * (270 + each * fours + if tail { 100 } else { 0 })
    }

    /// The norm of each of these rows.
    ///
    /// # Panics
    /// Where there are no whole rows, fewer outputs than numbers, or not so many rows.
    pub fn run(&self, x: &[f32], out: &mut [f32], units: Range<usize>) {
        assert!(x.len().is_multiple_of(self.length) && out.len() == x.len(), "no whole rows");
        let span = units.start * self.length..units.end * self.length;
        let (x, out) = (&x[span.clone()], &mut out[span]);
        for (x, out) in x.chunks_exact(self.length).zip(out.chunks_exact_mut(self.length)) {
            self.row(x, out);
        }
    }

    fn row(&self, x: &[f32], out: &mut [f32]) {
        let length = self.length;
        let whole = x.len() == length && out.len() == length;
        assert!(whole && self.scale.len() == length && self.bias.len() == length && length >= 4, "a row");
        let per = 1.0 / length as f32;
        let mean = F32x4::splat(if self.centred { total(x, |x| x) * per } else { 0.0 });
        let from_mean = |x: F32x4| x - mean;
        let square = total(x, |x| from_mean(x) * from_mean(x)) * per;
        let factor = F32x4::splat(1.0 / (square + self.epsilon).sqrt());
        let (from, to) = (x.as_ptr(), out.as_mut_ptr());
        let (scale, bias) = (self.scale.as_ptr(), self.bias.as_ptr());
        // SAFETY: four numbers from `at` on are in all four (asserted).
        let four = |at: usize| unsafe {
            let scaled = (F32x4::load(from.add(at)) - mean) * factor * F32x4::load(scale.add(at));
            (scaled + F32x4::load(bias.add(at))).store(to.add(at));
        };
        let mut at = 0;
        while at + 16 <= length {
            [0, 4, 8, 12].into_iter().for_each(|ix| four(at + ix));
            at += 16;
        }
        while at + 4 <= length {
            four(at);
            at += 4;
        }
        if at < length {
            // Those before come out again.
            four(length - 4);
        }
    }
}

/// The sum of what `f` makes of the numbers of a row of at least four.
#[inline(always)]
fn total(x: &[f32], f: impl Fn(F32x4) -> F32x4) -> f32 {
    let length = x.len();
    assert!(length >= 4, "a row of four or more");
    let from = x.as_ptr();
    // SAFETY: four numbers from `at` on are there: it is no more than `length - 4`.
    let four = |at: usize| f(unsafe { F32x4::load(from.add(at)) });
    let mut sums = [F32x4::splat(0.0); 4];
    let mut at = 0;
    while at + 16 <= length {
        for (ix, sum) in sums.iter_mut().enumerate() {
            *sum = *sum + four(at + 4 * ix);
        }
        at += 16;
    }
    let mut all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    while at + 4 <= length {
        all = all + four(at);
        at += 4;
    }
    if at < length {
        all = all + new_lanes(four(length - 4), length);
    }
    sum(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{in_units, many, numbers};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_norm_is_its_definition(
            length in 4usize..70, rows in 1usize..4, centred: bool, scaled: bool, biased: bool, offset in -3f32..3.0, seed: u64,
        ) {
            let mut next = numbers(seed);
            let mut x = many(length * rows, &mut next);
            x.iter_mut().for_each(|x| *x += offset);
            let (scale, bias) = (many(length, &mut next), many(length, &mut next));
            let epsilon = 1e-5;
            let norm = Norm::new(
                length, epsilon, centred, scaled.then_some(scale.as_slice()), biased.then_some(bias.as_slice()),
            );
            let mut out = vec![9.0; x.len()];
            let norm = norm.unwrap();
            in_units(norm.units(x.len()), seed, |units| norm.run(&x, &mut out, units));
            for (x, out) in x.chunks_exact(length).zip(out.chunks_exact(length)) {
                let real = |x: &f32| f64::from(*x);
                let mean = if centred { x.iter().map(real).sum::<f64>() / length as f64 } else { 0.0 };
                let square = x.iter().map(|x| (real(x) - mean).powi(2)).sum::<f64>() / length as f64;
                let root = (square + f64::from(epsilon)).sqrt();
                for (at, out) in out.iter().enumerate() {
                    let scale = if scaled { real(&scale[at]) } else { 1.0 };
                    let bias = if biased { real(&bias[at]) } else { 0.0 };
                    let expected = (real(&x[at]) - mean) / root * scale + bias;
                    let error = 3e-6 * (1.0 + f64::from(offset.abs()) / root);
                    prop_assert!((real(out) - expected).abs() < error, "{out} for {expected}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_makes_none_of_its_row() {
        let norm = Norm::new(6, 1e-5, true, None, None).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = vec![0.0; 12];
        norm.run(&x, &mut out, 0..2);
        assert!(out[..6].iter().all(|x| x.is_nan()) && out[6..].iter().all(|x| x.is_finite()));
        assert_eq!(Norm::new(3, 1e-5, true, None, None), None);
        assert_eq!(Norm::new(4, 1e-5, true, Some(&[1.0]), None), None);
    }
}
