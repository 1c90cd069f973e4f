//! What tract asks of `rustfft`, in a hundredth of its code: stands in its place by `[patch.crates-io]`.
//!
//! rustfft's transforms are unrolled for each length and type, 730 KB of the canister's code section, for two operators
//! (DFT, STFT) that few models have. Here lengths are taken apart into their prime factors, each a sum over its roots
//! of unity; lengths with a prime factor over `LARGEST_FACTOR` (61) go by way of a convolution (Bluestein's algorithm). As in rustfft,
//! nothing is normalised, and a buffer holds one transform after the other.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

pub use num_complex;
pub use num_traits;

use num_complex::Complex;
use num_traits::{FromPrimitive, Signed, Zero};

/// What is transformed: f32 or f64.
pub trait FftNum: Copy + FromPrimitive + Signed + Sync + Send + Debug + 'static {}

impl<T: Copy + FromPrimitive + Signed + Sync + Send + Debug + 'static> FftNum for T {}

/// The sign of the exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FftDirection {
    /// `exp(-2πi jk / n)`.
    Forward,
    /// `exp(2πi jk / n)`.
    Inverse,
}

/// Prime factors that are summed over; lengths with a larger one are convolved.
const LARGEST_FACTOR: usize = 61;

/// Makes transforms.
#[derive(Debug)]
pub struct FftPlanner<T>(PhantomData<T>);

impl<T: FftNum> FftPlanner<T> {
    /// A planner.
    #[allow(clippy::new_without_default, reason = "as rustfft has it")]
    pub fn new() -> Self {
        FftPlanner(PhantomData)
    }

    /// A transform of this length.
    pub fn plan_fft(&mut self, length: usize, direction: FftDirection) -> Arc<Fft<T>> {
        Arc::new(Fft::new(length, direction))
    }

    /// A forward transform of this length.
    pub fn plan_fft_forward(&mut self, length: usize) -> Arc<Fft<T>> {
        self.plan_fft(length, FftDirection::Forward)
    }

    /// An inverse transform of this length.
    pub fn plan_fft_inverse(&mut self, length: usize) -> Arc<Fft<T>> {
        self.plan_fft(length, FftDirection::Inverse)
    }
}

/// A transform of one length.
#[derive(Debug)]
pub struct Fft<T> {
    length: usize,
    way: Way<T>,
}

#[derive(Debug)]
enum Way<T> {
    /// By prime factors, with the roots of unity of the length.
    Factors { factors: Vec<usize>, roots: Vec<Complex<T>> },
    /// By a convolution with `chirp`, of which `spectrum` is the transform, forward and back.
    Convolution { chirp: Vec<Complex<T>>, spectrum: Vec<Complex<T>>, there: Box<Fft<T>>, back: Box<Fft<T>> },
}

impl<T: FftNum> Fft<T> {
    fn new(length: usize, direction: FftDirection) -> Fft<T> {
        let factors = factors(length);
        if factors.iter().all(|factor| *factor <= LARGEST_FACTOR) {
            let roots = (0..length).map(|k| root(2 * k, length, direction)).collect();
            return Fft { length, way: Way::Factors { factors, roots } };
        }
        // jk = (j² + k² - (k - j)²) / 2.
        let chirp: Vec<Complex<T>> =
            (0..length).map(|k| root(square(k, length), length, direction)).collect();
        let padded = (2 * length - 1).next_power_of_two();
        let there = Box::new(Fft::new(padded, FftDirection::Forward));
        let back = Box::new(Fft::new(padded, FftDirection::Inverse));
        let scale: T = number(1.0 / padded as f64);
        let mut spectrum = vec![Complex::zero(); padded];
        for (k, value) in chirp.iter().enumerate() {
            let value = Complex::new(value.re, -value.im) * scale;
            spectrum[k] = value;
            spectrum[(padded - k) % padded] = value;
        }
        there.process(&mut spectrum);
        Fft { length, way: Way::Convolution { chirp, spectrum, there, back } }
    }

    /// Transforms each stretch of the length, in its place.
    ///
    /// # Panics
    /// Where the buffer is no whole number of them.
    pub fn process(&self, buffer: &mut [Complex<T>]) {
        if self.length == 0 {
            return;
        }
        assert!(buffer.len().is_multiple_of(self.length), "{} of {} each", buffer.len(), self.length);
        let mut scratch = Vec::new();
        for stretch in buffer.chunks_exact_mut(self.length) {
            match &self.way {
                Way::Factors { factors, roots } => {
                    scratch.clear();
                    scratch.extend_from_slice(stretch);
                    step(&scratch, 1, stretch, factors, roots);
                }
                Way::Convolution { chirp, spectrum, there, back } => {
                    scratch.clear();
                    scratch.extend(stretch.iter().zip(chirp).map(|(x, chirp)| *x * *chirp));
                    scratch.resize(spectrum.len(), Complex::zero());
                    there.process(&mut scratch);
                    scratch.iter_mut().zip(spectrum).for_each(|(x, by)| *x = *x * *by);
                    back.process(&mut scratch);
                    let all = scratch.iter().zip(chirp);
                    stretch.iter_mut().zip(all).for_each(|(to, (x, chirp))| *to = *x * *chirp);
                }
            }
        }
    }
}

/// Transforms every `stride`th number of `from` into `to`: by the first factor, each of its parts by the others.
fn step<T: FftNum>(
    from: &[Complex<T>],
    stride: usize,
    to: &mut [Complex<T>],
    factors: &[usize],
    roots: &[Complex<T>],
) {
    let Some((&parts, rest)) = factors.split_first() else {
        to[0] = from[0];
        return;
    };
    let length = to.len() / parts;
    for part in 0..parts {
        step(&from[part * stride..], stride * parts, &mut to[part * length..][..length], rest, roots);
    }
    let mut seen = [Complex::zero(); LARGEST_FACTOR];
    for k in 0..length {
        (0..parts).for_each(|part| seen[part] = to[part * length + k]);
        for out in (k..to.len()).step_by(length) {
            let sum = (1..parts)
                .fold(seen[0], |sum, part| sum + seen[part] * roots[stride * out * part % roots.len()]);
            to[out] = sum;
        }
    }
}

/// Prime factors, smallest first.
fn factors(mut n: usize) -> Vec<usize> {
    let mut factors = vec![];
    let mut factor = 2;
    while n > 1 {
        if n.is_multiple_of(factor) {
            n /= factor;
            factors.push(factor);
        } else {
            factor = if factor * factor > n { n } else { factor + 1 };
        }
    }
    factors
}

/// `exp(∓πi k / n)`.
fn root<T: FftNum>(k: usize, n: usize, direction: FftDirection) -> Complex<T> {
    let (sine, cosine) = (std::f64::consts::PI * k as f64 / n as f64).sin_cos();
    let sine = if direction == FftDirection::Forward { -sine } else { sine };
    Complex::new(number(cosine), number(sine))
}

/// `k² mod 2n`, without overflow.
fn square(k: usize, n: usize) -> usize {
    ((k as u128 * k as u128) % (2 * n as u128)) as usize
}

fn number<T: FftNum>(x: f64) -> T {
    T::from_f64(x).unwrap_or_else(T::zero)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(x: &[Complex<f64>], direction: FftDirection) -> Vec<Complex<f64>> {
        let n = x.len();
        let term = |j: usize, k: usize| x[j] * root::<f64>(2 * (j * k % n), n, direction);
        (0..n).map(|k| (0..n).map(|j| term(j, k)).sum()).collect()
    }

    fn check(n: usize, seed: u64) {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let x: Vec<Complex<f64>> = (0..n).map(|_| Complex::new(next(), next())).collect();
        for direction in [FftDirection::Forward, FftDirection::Inverse] {
            let expected = plain(&x, direction);
            let mut wide = x.clone();
            FftPlanner::new().plan_fft(n, direction).process(&mut wide);
            let mut narrow: Vec<Complex<f32>> =
                x.iter().map(|c| Complex::new(c.re as f32, c.im as f32)).collect();
            FftPlanner::new().plan_fft(n, direction).process(&mut narrow);
            for (expected, (wide, narrow)) in expected.iter().zip(wide.iter().zip(&narrow)) {
                assert!((expected - wide).norm() < 1e-11 * (n as f64 + 1.0), "{n}: {expected} {wide}");
                let narrow = Complex::new(f64::from(narrow.re), f64::from(narrow.im));
                assert!((expected - narrow).norm() < 2e-5 * (n as f64).sqrt(), "{n}: {expected} {narrow}");
            }
        }
    }

    #[test]
    fn every_kind_of_length_is_its_definition() {
        for n in [1, 2, 3, 4, 5, 8, 16, 30, 61, 64, 67, 100, 128, 127, 201, 400, 512, 521] {
            check(n, 7);
        }
        FftPlanner::<f32>::new().plan_fft_forward(0).process(&mut []);
    }

    #[test]
    fn one_transform_lies_behind_the_other() {
        let mut both: Vec<Complex<f64>> = (0..12).map(|i| Complex::new(f64::from(i), 0.0)).collect();
        let (mut first, mut second) = (both[..6].to_vec(), both[6..].to_vec());
        let fft = FftPlanner::new().plan_fft_inverse(6);
        fft.process(&mut both);
        fft.process(&mut first);
        fft.process(&mut second);
        assert_eq!(both, [first, second].concat());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_length_is_its_definition(n in 1usize..300, seed: u64) {
            check(n, seed);
        }
    }
}
