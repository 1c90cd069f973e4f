//! Weights as whole numbers: the unit of each output, and the pairs that tiles read.
//!
//! A panel's numbers are laid as floats first, a step of all its outputs after the other. Then each four outputs are measured and
//! rounded, a vector a step. Where a panel has fewer outputs than four, they are taken one by one, to the same bits.

use super::units::{NEAREST, nearest, unit};
use crate::lanes::F32x4;

/// Steps whose magnitudes and squares are added up as f32: sums of more are of f64, since int16 fills what a sum has to the last of
/// its bits (`Width::unit`).
const BLOCK: usize = 256;

/// What weights are kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte each.
    Int8,
    /// Two bytes each, of as many bits as the sums leave.
    Int16,
}

impl Width {
    /// The largest activation for sums of `k`.
    ///
    /// For int16 it balances what is lost. Weights have units of `mean · A · k / 2^31`, where `A` is what this answers and the mean is
    /// of the output's magnitudes; activations have units of `largest / A`, and their largest is taken to be sixteen
    /// times their mean. Those are equal parts of the means at `A² = 16 · 2^31 / k`.
    pub(super) fn most(self, k: usize) -> f32 {
        match self {
            Width::Int8 => (i32::MAX as usize / (127 * k.next_multiple_of(2).max(2))).min(32_767) as f32,
            Width::Int16 => {
                (16.0 * f64::from(i32::MAX) / k.max(1) as f64).sqrt().min(32_767.0).floor() as f32
            }
        }
    }

    /// One over the unit of an output's `k` weights, and the unit; both 0 where it is too small to be turned, the unit no number
    /// where a weight is none.
    ///
    /// For int16 no sum overflows: the magnitudes of whole weights add up to what `most` activations of one sign leave of 31
    /// bits, less `k`, when they are not rounded; rounding adds `k / 2` at most, and that of the unit, of one over it, of the
    /// products and of the magnitudes' sums, `(BLOCK + 3) · 2^-24` of the sum for long ones, less than the other half (of one weight,
    /// which has none, the largest is far from it).
    pub(super) fn unit(self, k: usize, of: &Measured) -> (f32, f32) {
        let largest = f32::from_bits(of.largest);
        match self {
            Width::Int8 => unit(of.largest, 127.0),
            Width::Int16 if !largest.is_finite() => (0.0, f32::NAN),
            Width::Int16 => {
                let room = (f64::from(i32::MAX) / f64::from(self.most(k))).floor() - k as f64;
                let unit = ((of.sum / room) as f32).max(largest / 32_767.0);
                // A unit of fewer bits is not what was reckoned with: all its weights count as 0.
                if unit < f32::MIN_POSITIVE { (0.0, 0.0) } else { (1.0 / unit, unit) }
            }
        }
    }

    /// Bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Width::Int8 => 1,
            Width::Int16 => 2,
        }
    }
}

/// What there is to know of an output's weights before they are rounded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// The largest magnitude, as bits.
    pub(super) largest: u32,
    /// The magnitudes' sum.
    pub(super) sum: f64,
    /// The squares' sum.
    pub(super) squares: f64,
}

/// Panels as they are packed, one behind the other.
pub(super) struct Packer {
    width: Width,
    k: usize,
    /// The numbers of the panel at hand: all its outputs of a step, then the next step.
    laid: Vec<f32>,
    /// What is packed.
    pub(super) packed: Vec<u8>,
    /// The unit of each output's weights.
    pub(super) scales: Vec<f32>,
    /// The squares' sum of what rounding takes away, as it is expected: of each number a twelfth of its unit's square.
    lost: f64,
    /// The squares' sum of all numbers.
    squares: f64,
}

impl Packer {
    /// For so many outputs of `k` weights.
    pub(super) fn new(width: Width, outputs: usize, k: usize) -> Packer {
        let packed = Vec::with_capacity(width.bytes() * outputs * k.next_multiple_of(2));
        Packer {
            width,
            k,
            laid: vec![],
            packed,
            scales: Vec::with_capacity(outputs),
            lost: 0.0,
            squares: 0.0,
        }
    }

    /// What rounding takes away, of the weights: the roots of both mean squares.
    pub(super) fn error(&self) -> f64 {
        (self.lost / self.squares).sqrt()
    }

    /// Packs the panel of so many outputs that `lay` appends to what it is given.
    pub(super) fn panel(&mut self, outputs: usize, lay: impl FnOnce(&mut Vec<f32>)) {
        self.laid.clear();
        lay(&mut self.laid);
        assert!(self.laid.len() == outputs * self.k, "a panel of other lengths");
        let steps = self.k.div_ceil(2);
        self.laid.resize(2 * outputs * steps, 0.0);
        let pair = 2 * self.width.bytes();
        self.packed.reserve(pair * outputs * steps);
        let end = self.packed.len() + pair * outputs * steps;
        // SAFETY: there is room for the panel (reserved), and each of its pairs is written before they count: `laid` holds both
        // numbers of every step of every output, and fours of outputs, or single ones, cover them all.
        unsafe {
            let to = self.packed.as_mut_ptr().add(self.packed.len());
            if outputs.is_multiple_of(4) {
                for first in (0..outputs).step_by(4) {
                    let inverse = self.measured(measure_four(&self.laid, self.k, outputs, first));
                    let to = to.add(pair * first);
                    round_four(self.width, &self.laid, outputs, first, F32x4::of(&inverse), to);
                }
            } else {
                for first in 0..outputs {
                    let [inverse] = self.measured([measure_one(&self.laid, self.k, outputs, first)]);
                    round_one(self.width, &self.laid, outputs, first, inverse, to.add(pair * first));
                }
            }
            self.packed.set_len(end);
        }
    }

    /// Takes down what units outputs have; answers one over each.
    fn measured<const N: usize>(&mut self, outputs: [Measured; N]) -> [f32; N] {
        outputs.map(|measured| {
            let (inverse, unit) = self.width.unit(self.k, &measured);
            self.scales.push(unit);
            self.lost += f64::from(unit).powi(2) / 12.0 * self.k as f64;
            self.squares += measured.squares;
            inverse
        })
    }
}

/// Measures the four outputs from `first` on.
fn measure_four(laid: &[f32], k: usize, outputs: usize, first: usize) -> [Measured; 4] {
    assert!(laid.len() >= k * outputs && first + 4 <= outputs, "four outputs of every step");
    let mut largest = F32x4::splat(0.0);
    let mut measured = [Measured::default(); 4];
    let mut from = laid.as_ptr().wrapping_add(first);
    let mut step = 0;
    while step < k {
        let end = (step + BLOCK).min(k);
        let (mut sum, mut squares) = (F32x4::splat(0.0), F32x4::splat(0.0));
        while step < end {
            // SAFETY: the step has four outputs from `first` on (asserted).
            let x = unsafe { F32x4::load(from) };
            largest = largest.magnitude(x);
            sum = sum + x.abs();
            squares = squares + x * x;
            from = from.wrapping_add(outputs);
            step += 1;
        }
        for (measured, (sum, squares)) in measured.iter_mut().zip(sum.bits().into_iter().zip(squares.bits()))
        {
            measured.sum += f64::from(f32::from_bits(sum));
            measured.squares += f64::from(f32::from_bits(squares));
        }
    }
    for (measured, largest) in measured.iter_mut().zip(largest.bits()) {
        measured.largest = largest;
    }
    measured
}

/// [`measure_four`] of one.
pub(super) fn measure_one(laid: &[f32], k: usize, outputs: usize, at: usize) -> Measured {
    let mut measured = Measured::default();
    let mut step = 0;
    while step < k {
        let end = (step + BLOCK).min(k);
        let (mut sum, mut squares) = (0.0f32, 0.0f32);
        while step < end {
            let x = laid[step * outputs + at];
            measured.largest = measured.largest.max(x.abs().to_bits());
            sum += x.abs();
            squares += x * x;
            step += 1;
        }
        measured.sum += f64::from(sum);
        measured.squares += f64::from(squares);
    }
    measured
}

/// Writes pairs of four outputs in units.
///
/// # Safety
/// There is room for the pairs of every two steps, which are as far apart as `outputs` pairs.
unsafe fn round_four(
    width: Width,
    laid: &[f32],
    outputs: usize,
    first: usize,
    inverse: F32x4,
    mut to: *mut u8,
) {
    assert!(first + 4 <= outputs, "four outputs");
    let shift = F32x4::splat(NEAREST);
    let mut from = laid.as_ptr().wrapping_add(first);
    for _ in 0..laid.len() / (2 * outputs) {
        // SAFETY: two steps of `outputs` are there, four from `first` on are among them (asserted); the room is the caller's.
        unsafe {
            let low = F32x4::load(from) * inverse + shift;
            let high = F32x4::load(from.wrapping_add(outputs)) * inverse + shift;
            match width {
                Width::Int8 => low.store_byte_pairs(high, to),
                Width::Int16 => low.store_pairs(high, to.cast()),
            }
        }
        from = from.wrapping_add(2 * outputs);
        to = to.wrapping_add(2 * width.bytes() * outputs);
    }
}

/// [`round_four`] of one.
///
/// # Safety
/// As there.
unsafe fn round_one(width: Width, laid: &[f32], outputs: usize, at: usize, inverse: f32, mut to: *mut u8) {
    for two in laid.chunks_exact(2 * outputs) {
        let pair = [two[at], two[outputs + at]].map(|x| nearest(x, inverse));
        // SAFETY: the caller's.
        unsafe {
            match width {
                Width::Int8 => to.cast::<[u8; 2]>().write_unaligned(pair.map(|x| x as u8)),
                Width::Int16 => to.cast::<[i16; 2]>().write_unaligned(pair),
            }
        }
        to = to.wrapping_add(2 * width.bytes() * outputs);
    }
}
