//! Convolutions of 3 × 3 with a stride of 1 by minimal filtering: F(4×4, 3×3).
//!
//! A patch of 6 × 6 pixels and the window's numbers are transformed so that sixteen outputs come of 36 products instead of
//! 144; over all channels these are 36 matrix products, of patches by channels with channels by outputs. The transforms are those
//! of A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks* (2015), section 4.3, at other points. Results differ
//! from sums in order by rounding.
//!
//! Channels are innermost here, so that four of them are transformed at a time; images of planes are turned before and
//! after. Transformed weights take four times the space of the weights.

use std::sync::Arc;

use crate::lanes::F32x4;
use crate::panels::{Packing, Panels};
use crate::price::{Follows, ROOM, instructions_of_padding, instructions_of_rows};
use crate::product::{After, Matrix};
use crate::room::{between_zeros, by_rows, unwritten};
use crate::turn::turned;
use crate::window::Window;

/// Outputs of a patch along an axis.
const STEP: usize = 4;
/// Pixels of a patch along an axis.
const SIDE: usize = 6;
/// Places in a patch.
pub(crate) const PLACES: usize = SIDE * SIDE;
/// Floats of transformed patches at a time: a megabyte.
const BLOCK: usize = 1 << 18;

/// What a patch of four channels is charged to be transformed, and of four outputs back.
const TRANSFORMED: u64 = 2_200;
const BACK: u64 = 1_890;

/// A convolution of one image, of planes or with channels innermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Winograd {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    pub(crate) outputs: usize,
    /// Whether channels are innermost.
    pub(crate) innermost: bool,
    /// For each place of a patch.
    pub(crate) weights: Arc<Vec<Panels>>,
    /// One number an output.
    pub(crate) bias: Vec<f32>,
}

impl Winograd {
    /// Whether this is the cheapest way to convolve: windows of 3 × 3 that move by one, enough channels for the
    /// transforms to pay, and patches that are mostly full.
    pub fn pays(window: &Window, channels: usize, outputs: usize) -> bool {
        if window.kernel != [3, 3]
            || window.stride != [1, 1]
            || window.dilation != [1, 1]
            || channels < 8
            || outputs < 8
        {
            return false;
        }
        // Instructions a multiply-add and a transformed number, as counted.
        let (c, o) = (channels as f64, outputs as f64);
        let patches = window.output.map(|n| n.div_ceil(STEP)).iter().product::<usize>() as f64;
        let direct = 9.0 * c * o * window.pixels() as f64 * 1.9;
        let minimal = patches * (PLACES as f64 * c * o * 1.75 + 260.0 * c + 200.0 * o);
        minimal < 0.8 * direct
    }

    /// Bytes of transformed weights; `usize::MAX` where that is not a number.
    pub fn bytes(channels: usize, outputs: usize) -> usize {
        channels.saturating_mul(outputs).saturating_mul(4 * PLACES)
    }

    /// A convolution with `kernel[output][channel][ky][kx]`, and a bias for each output or none.
    ///
    /// Costs about 300 instructions for each channel of each output.
    ///
    /// # Panics
    /// Where the kernel is shorter than that.
    pub fn new(
        window: Window,
        channels: usize,
        outputs: usize,
        innermost: bool,
        bias: &[f32],
        kernel: &[f32],
    ) -> Winograd {
        let mut bias = bias.to_vec();
        bias.resize(outputs, 0.0);
        let mut conv = Winograd { window, channels, outputs, innermost, weights: Arc::default(), bias };
        let patches = vec![conv.at_once(); PLACES];
        conv.weights = Arc::new(transformed([channels, outputs], kernel, &patches, filter));
        conv
    }

    /// The same with another bias, one number an output.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Winograd {
        self.bias.copy_from_slice(bias);
        self
    }

    /// The bias.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Patches that are transformed at a time.
    fn at_once(&self) -> usize {
        let all: usize = self.window.output.iter().map(|n| n.div_ceil(STEP)).product();
        // Whole tiles of eight rows.
        let fit = BLOCK / (PLACES * (self.channels + self.outputs));
        all.min((fit / 8 * 8).max(8))
    }

    /// What convolving one image takes: the products, and the transforms before and after them.
    pub fn instructions(&self, follows: Follows) -> u64 {
        let Window { input, output, .. } = self.window;
        let patches: usize = output.iter().map(|n| n.div_ceil(STEP)).product();
        let at_once = self.at_once();
        let products = |count: usize| -> u64 {
            if count == 0 {
                0
            } else {
                self.weights.iter().map(|w| w.instructions(count, Follows::default())).sum()
            }
        };
        let (whole, rest) = (patches / at_once, patches % at_once);
        let fours = [self.channels, self.outputs].map(|n| n.div_ceil(4) as u64);
        let transforms = fours[0] * TRANSFORMED + fours[1] * BACK + 200;
        let padded = output.map(|n| n.next_multiple_of(STEP) + 2);
        2 * ROOM
            + instructions_of_padding(input, self.channels, self.innermost, padded)
            + whole as u64 * products(at_once)
            + products(rest)
            + patches as u64 * transforms
            + instructions_of_rows([self.window.pixels(), self.outputs], self.innermost, follows)
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let output = self.window.output;
        let padded = output.map(|n| n.next_multiple_of(STEP) + 2).iter().product::<usize>() * self.channels;
        let out = if self.innermost { 0 } else { self.window.pixels() * self.outputs };
        4 * (padded + out + self.at_once() * PLACES * (self.channels + self.outputs))
    }

    /// Its windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Whether channels are innermost.
    pub fn is_innermost(&self) -> bool {
        self.innermost
    }

    /// The same weights for other windows that differ in sizes of input and output and in the zeros before alone; the weights are shared.
    #[must_use]
    pub fn within(&self, window: Window) -> Winograd {
        Winograd { window, ..self.clone() }
    }

    /// Convolves one image.
    ///
    /// # Panics
    /// Where slices are shorter than the image and its outputs.
    pub fn run(&self, image: &[f32], out: &mut [f32], after: After<'_>) {
        assert!(image.len() >= self.window.area() * self.channels, "the image is too short");
        let lies = [self.window.pixels(), self.outputs];
        // SAFETY: every output of every pixel is in a patch.
        unsafe {
            by_rows(out, lies, self.innermost, after, |out, bounds| self.by_patches(image, out, bounds))
        };
    }

    /// What comes out has its channels innermost.
    fn by_patches(&self, image: &[f32], out: &mut [f32], bounds: Option<(f32, f32)>) {
        let Window { input, before, output, .. } = self.window;
        let (channels, outputs) = (self.channels, self.outputs);
        // The image between zeros, up to whole patches.
        let [rows, columns] = output.map(|n| n.next_multiple_of(STEP) + 2);
        let padded = between_zeros(image, input, channels, self.innermost, before, [rows, columns]);
        let across = output[1].div_ceil(STEP);
        let patches = output[0].div_ceil(STEP) * across;
        let at_once = self.at_once();
        // SAFETY: of each place the patches at hand are written before they are read.
        let (mut seen, mut products) =
            unsafe { (unwritten(PLACES * at_once * channels), unwritten(PLACES * at_once * outputs)) };
        for first in (0..patches).step_by(at_once) {
            let count = at_once.min(patches - first);
            for patch in 0..count {
                let (y, x) = ((first + patch) / across * STEP, (first + patch) % across * STEP);
                let corner = &padded[(y * columns + x) * channels..];
                self.transform(corner, columns, patch, at_once, &mut seen);
            }
            for (place, weights) in self.weights.iter().enumerate() {
                let from = &seen[place * at_once * channels..];
                let to = &mut products[place * at_once * outputs..];
                weights.under(
                    from,
                    Matrix::dense(count, channels),
                    to,
                    Matrix::dense(count, outputs),
                    After::default(),
                );
            }
            for patch in 0..count {
                let (y, x) = ((first + patch) / across * STEP, (first + patch) % across * STEP);
                self.back(&products, patch, at_once, [y, x], out, bounds);
            }
        }
    }

    /// Transforms a patch of every channel.
    #[expect(clippy::needless_range_loop, reason = "a column is gone through by rows of the other half")]
    fn transform(&self, corner: &[f32], columns: usize, patch: usize, at_once: usize, seen: &mut [f32]) {
        let channels = self.channels;
        let reach = ((SIDE - 1) * columns + SIDE) * channels;
        assert!(corner.len() >= reach && seen.len() >= PLACES * at_once * channels, "a patch is cut off");
        for channel in fours(channels) {
            // SAFETY: four channels from `channel` on are in each pixel of the patch (asserted), and room for them at each
            // place (asserted).
            unsafe {
                let from = corner.as_ptr().add(channel);
                let mut half = [[F32x4::splat(0.0); SIDE]; SIDE];
                for column in 0..SIDE {
                    let line: [F32x4; SIDE] =
                        std::array::from_fn(|row| F32x4::load(from.add((row * columns + column) * channels)));
                    let line = input(line);
                    (0..SIDE).for_each(|row| half[row][column] = line[row]);
                }
                let to = seen.as_mut_ptr().add(patch * channels + channel);
                for (row, half) in half.into_iter().enumerate() {
                    for (column, value) in input(half).into_iter().enumerate() {
                        value.store(to.add((row * SIDE + column) * at_once * channels));
                    }
                }
            }
        }
    }

    /// Transforms the products of a patch back, into every output that is on the image.
    #[expect(clippy::needless_range_loop, reason = "a column is gone through by rows of the other half")]
    fn back(
        &self,
        products: &[f32],
        patch: usize,
        at_once: usize,
        [y, x]: [usize; 2],
        out: &mut [f32],
        bounds: Option<(f32, f32)>,
    ) {
        let outputs = self.outputs;
        let [height, width] = self.window.output;
        assert!(
            products.len() >= PLACES * at_once * outputs && out.len() >= height * width * outputs,
            "outputs"
        );
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (F32x4::splat(low), F32x4::splat(high));
        let (rows, columns) = (STEP.min(height - y), STEP.min(width - x));
        for channel in fours(outputs) {
            let bias = F32x4::of(&self.bias[channel..]);
            // SAFETY: four outputs from `channel` on are at each place of the patch, and in each pixel that is on the
            // image (asserted).
            unsafe {
                let from = products.as_ptr().add(patch * outputs + channel);
                let mut half = [[F32x4::splat(0.0); SIDE]; STEP];
                for column in 0..SIDE {
                    let line: [F32x4; SIDE] = std::array::from_fn(|row| {
                        F32x4::load(from.add((row * SIDE + column) * at_once * outputs))
                    });
                    let line = inverse(line);
                    (0..STEP).for_each(|row| half[row][column] = line[row]);
                }
                for (row, half) in half.into_iter().enumerate().take(rows) {
                    for (column, value) in inverse(half).into_iter().enumerate().take(columns) {
                        let pixel = (y + row) * width + x + column;
                        (value + bias)
                            .above(low)
                            .below(high)
                            .store(out.as_mut_ptr().add(pixel * outputs + channel));
                    }
                }
            }
        }
    }
}

/// Packed weights for each of the 36 places of windows of 3 × 3 that `filter` transforms along an axis, for so many patches
/// each: `kernel[output][channel][ky][kx]`.
///
/// # Panics
/// Where the kernel is shorter than that, or there are fewer than four outputs.
pub(crate) fn transformed(
    [channels, outputs]: [usize; 2],
    kernel: &[f32],
    patches: &[usize],
    filter: impl Fn([F32x4; 3]) -> [F32x4; SIDE] + Copy,
) -> Vec<Panels> {
    assert!(outputs >= 4 && kernel.len() >= 9 * channels * outputs, "the kernel is shorter");
    // [place][channel][output]
    let size = channels * outputs;
    // SAFETY: each place of each channel is written for every output.
    let mut transformed = unsafe { unwritten(PLACES * size) };
    for channel in 0..channels {
        for output in fours(outputs) {
            // SAFETY: the windows of four outputs from `output` on are in the kernel (asserted), and there is room for four
            // of each place.
            unsafe {
                let windows = kernel.as_ptr().add(9 * (output * channels + channel));
                let to = transformed.as_mut_ptr().add(channel * outputs + output);
                filters(windows, 9 * channels, to, size, filter);
            }
        }
    }
    // In quarters they would take seven times the space of the weights.
    let mut packing = Packing::plain();
    (transformed.chunks_exact(size.max(1)).zip(patches))
        .map(|(place, patches)| {
            Panels::columns_of(&mut packing, *patches, [channels, outputs], place, [outputs, 1])
        })
        .collect()
}

/// Where fours begin; the last overlaps the one before.
pub(crate) fn fours(length: usize) -> impl Iterator<Item = usize> {
    (0..length.div_ceil(4)).map(move |four| (4 * four).min(length - 4))
}

/// The points that the transforms are made from are 0, ±A, ±B and infinity. The paper has 1 and 2; with these, which are exact
/// in f32 as all that follows from them is, errors are less than half as large (`docs/kernels.md` has the search).
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// Transforms the windows of four outputs, `apart` numbers from one to the next, to places that are `stride` apart.
///
/// # Safety
/// The windows are there, and room for four numbers at each place.
#[inline]
unsafe fn filters(
    windows: *const f32,
    apart: usize,
    to: *mut f32,
    stride: usize,
    filter: impl Fn([F32x4; 3]) -> [F32x4; SIDE],
) {
    // SAFETY: the caller's.
    unsafe {
        let first = turned([0, 1, 2, 3].map(|ix| F32x4::load(windows.add(ix * apart))));
        let second = turned([0, 1, 2, 3].map(|ix| F32x4::load(windows.add(ix * apart + 4))));
        let last = [0, 1, 2, 3].map(|ix| *windows.add(ix * apart + 8));
        let window = [
            [first[0], first[1], first[2]],
            [first[3], second[0], second[1]],
            [second[2], second[3], F32x4::of(&last)],
        ];
        let mut half = [[F32x4::splat(0.0); 3]; SIDE];
        for kx in 0..3 {
            let column = filter(window.map(|row| row[kx]));
            (0..SIDE).for_each(|row| half[row][kx] = column[row]);
        }
        for (row, half) in half.into_iter().enumerate() {
            for (column, value) in filter(half).into_iter().enumerate() {
                value.store(to.add((row * SIDE + column) * stride));
            }
        }
    }
}

/// A window's column: G of the paper.
#[inline(always)]
fn filter([x, y, z]: [F32x4; 3]) -> [F32x4; SIDE] {
    let point = |square: f32, other: f32, root: f32| {
        let divisor = F32x4::splat(2.0 * square * (square - other));
        ((x + z * F32x4::splat(square)) / divisor, y * F32x4::splat(root) / divisor)
    };
    let ((p, q), (r, s)) = (point(AA, BB, A), point(BB, AA, B));
    [x / F32x4::splat(AA * BB), p + q, p - q, r + s, r - s, z]
}

/// A patch's column: B transposed.
#[inline(always)]
fn input([u, v, w, x, y, z]: [F32x4; SIDE]) -> [F32x4; SIDE] {
    let (aa, bb) = (F32x4::splat(AA), F32x4::splat(BB));
    let (product, sum) = (F32x4::splat(AA * BB), F32x4::splat(AA + BB));
    let (p, q) = (y - w * bb, (x - v * bb) * F32x4::splat(A));
    let (r, s) = (y - w * aa, (x - v * aa) * F32x4::splat(B));
    [u * product - w * sum + y, p + q, p - q, r + s, r - s, v * product - x * sum + z]
}

/// Products' column: A transposed.
#[inline(always)]
fn inverse([u, v, w, x, y, z]: [F32x4; SIDE]) -> [F32x4; STEP] {
    let times = |x: F32x4, factor: f32| x * F32x4::splat(factor);
    let (p, q, r, s) = (v + w, v - w, x + y, x - y);
    [
        u + p + r,
        times(q, A) + times(s, B),
        times(p, AA) + times(r, BB),
        times(q, AA * A) + times(s, BB * B) + z,
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conv::tests::{equals_its_definition, outputs};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn a_convolution_is_its_definition(
            input in [1usize..20, 1usize..20], before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3],
            channels in 4usize..14, produced in 4usize..14, innermost: bool, bounded: bool, added: bool, seed: u64,
        ) {
            let size = |axis: usize| outputs(input[axis], 3, 1, 1, before[axis] + behind[axis]);
            let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
            let window = Window {
                input, kernel: [3, 3], stride: [1, 1], dilation: [1, 1], before, output: [height, width],
            };
            equals_its_definition(
                window, [channels, produced], innermost, bounded, added, seed,
                |weights, bias, image, out, after| {
                    Winograd::new(window, channels, produced, innermost, bias, weights).run(image, out, after);
                },
            )?;
        }
    }
}
