//! From whole sums to outputs, and from reals to bytes and back, as ONNX says: ties go to the even number, what does not fit a byte
//! is held to its bounds.

use crate::lanes::{F32x4, sixteen, store_held};

/// 1.5 · 2^23: added to a float of fewer than 22 bits, it leaves the nearest whole number in the lower bits.
const NEAREST: f32 = 12_582_912.0;

/// What a quotient is held to before it is rounded: beyond what any byte and zero point reach, and well within 16 bits.
const FAR: f32 = 1024.0;

/// Sums times `factor`: each has its own where there are several. With `added`, one a factor, that is added to the product.
///
/// Costs about 4 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn real(sums: &[i32], factor: &[f32], added: Option<&[f32]>, out: &mut [f32]) {
    assert!(sums.len() == out.len() && added.is_none_or(|a| a.len() == factor.len()), "lengths");
    let n = sums.len();
    match (factor, added) {
        ([factor], None) => {
            sums.iter().zip(out).for_each(|(sum, out)| *out = *sum as f32 * factor);
        }
        ([factor], Some(added)) => {
            sums.iter().zip(out).for_each(|(sum, out)| *out = *sum as f32 * factor + added[0]);
        }
        (factors, None) => {
            assert!(factors.len() == n, "a factor each");
            sums.iter().zip(factors).zip(out).for_each(|((sum, factor), out)| *out = *sum as f32 * factor);
        }
        (factors, Some(added)) => {
            assert!(factors.len() == n, "a factor each");
            let operands = factors.iter().zip(added);
            for ((sum, (factor, added)), out) in sums.iter().zip(operands).zip(out) {
                *out = *sum as f32 * factor + added;
            }
        }
    }
}

/// Sums with `added` to each, times `factor`, to the nearest, plus `zero`, as bytes. Several factors are one a sum, and so is what is
/// added.
///
/// Costs about 5 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn requantise(sums: &[i32], added: &[i32], factor: &[f32], [signed, zero]: [i16; 2], out: &mut [u8]) {
    let n = sums.len();
    assert!(out.len() == n && added.len() == factor.len(), "lengths");
    let to = To { zero, signed: signed != 0 };
    if let ([factor], [added]) = (factor, added) {
        let factors = F32x4::splat(*factor);
        // SAFETY: four sums are there (`bytes`).
        let four = |at: usize| unsafe { F32x4::sums_and(sums.as_ptr().add(at), *added) } * factors;
        to.bytes(n, four, |at| sums[at].wrapping_add(*added) as f32 * factor, out);
    } else {
        assert!(factor.len() == n, "a factor each");
        // SAFETY: four sums are there (`bytes`), and as many factors and numbers to add.
        let four = |at: usize| unsafe {
            F32x4::sums(sums.as_ptr().add(at), added.as_ptr().add(at)) * F32x4::load(factor.as_ptr().add(at))
        };
        to.bytes(n, four, |at| sums[at].wrapping_add(added[at]) as f32 * factor[at], out);
    }
}

/// Numbers over `scale`, to the nearest, plus `zero`, as bytes. What is no number counts as one far below.
///
/// Costs about 6 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn quantise(x: &[f32], scale: f32, [signed, zero]: [i16; 2], out: &mut [u8]) {
    assert!(out.len() == x.len(), "lengths");
    let to = To { zero, signed: signed != 0 };
    let scales = F32x4::splat(scale);
    // SAFETY: four numbers are there (`bytes`).
    let four = |at: usize| unsafe { F32x4::load(x.as_ptr().add(at)) } / scales;
    to.bytes(x.len(), four, |at| x[at] / scale, out);
}

/// Bytes less `zero`, times `scale`.
///
/// Costs about 3 instructions a number.
///
/// # Panics
/// Where lengths do not fit.
pub fn dequantise(x: &[u8], scale: f32, [signed, zero]: [i16; 2], out: &mut [f32]) {
    assert!(out.len() == x.len(), "lengths");
    let (flip, lost) = if signed != 0 { (0x80, zero.wrapping_add(0x80)) } else { (0, zero) };
    let (less, scales) = (F32x4::splat(f32::from(lost)), F32x4::splat(scale));
    let whole = x.len() / 16 * 16;
    for at in (0..whole).step_by(16) {
        // SAFETY: sixteen are there, and room for them (asserted).
        unsafe {
            let to = out.as_mut_ptr().add(at);
            let four = sixteen(x.as_ptr().add(at), flip);
            ((four[0] - less) * scales).store(to);
            ((four[1] - less) * scales).store(to.add(4));
            ((four[2] - less) * scales).store(to.add(8));
            ((four[3] - less) * scales).store(to.add(12));
        }
    }
    for (out, x) in out[whole..].iter_mut().zip(&x[whole..]) {
        *out = (f32::from(x ^ flip) - f32::from(lost)) * scale;
    }
}

/// The least and the largest number, 0 among them. What is no number is left out.
///
/// Costs about 2 instructions a number.
pub fn span(x: &[f32]) -> (f32, f32) {
    let (mut least, mut most) = (F32x4::splat(0.0), F32x4::splat(0.0));
    let mut chunks = x.chunks_exact(4);
    for chunk in &mut chunks {
        let four = F32x4::of(chunk);
        (least, most) = (least.below(four), most.above(four));
    }
    let lanes = |four: F32x4| four.bits().map(f32::from_bits);
    let rest = chunks.remainder().iter().copied();
    let below = |a: f32, b: f32| if b < a { b } else { a };
    let above = |a: f32, b: f32| if b > a { b } else { a };
    let least = lanes(least).into_iter().chain(rest.clone()).fold(0.0, below);
    (least, lanes(most).into_iter().chain(rest).fold(0.0, above))
}

/// What quotients become.
pub(super) struct To {
    pub(super) zero: i16,
    pub(super) signed: bool,
}

impl To {
    /// Quotients as bytes: `four` gives those at four places that are there, `one` that at a place.
    #[inline(always)]
    fn bytes(self, n: usize, four: impl Fn(usize) -> F32x4, one: impl Fn(usize) -> f32, out: &mut [u8]) {
        self.sixteens(n, |at| [0, 4, 8, 12].map(|lane| four(at + lane)), one, out);
    }

    /// The same where `all` gives those at sixteen places.
    #[inline(always)]
    pub(super) fn sixteens(
        self,
        n: usize,
        all: impl Fn(usize) -> [F32x4; 4],
        one: impl Fn(usize) -> f32,
        out: &mut [u8],
    ) {
        assert!(out.len() == n, "a place for each");
        let (low, high, shift) = (F32x4::splat(-FAR), F32x4::splat(FAR), F32x4::splat(NEAREST));
        let held = |x: F32x4| low.above(x).below(high) + shift;
        let whole = n / 16 * 16;
        for at in (0..whole).step_by(16) {
            let quotients = all(at).map(held);
            // SAFETY: sixteen are there, and room for them (asserted).
            unsafe { store_held(quotients, self.zero, self.signed, out.as_mut_ptr().add(at)) };
        }
        for (at, out) in out.iter_mut().enumerate().skip(whole) {
            let x = one(at);
            // As above of what is no number.
            let x = if -FAR < x { x } else { -FAR };
            let x = if FAR < x { FAR } else { x };
            let sum = ((x + NEAREST).to_bits() as i16).wrapping_add(self.zero);
            *out = if self.signed { sum.clamp(-128, 127) as u8 } else { sum.clamp(0, 255) as u8 };
        }
    }
}
