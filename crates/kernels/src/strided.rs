//! Convolutions of 3 × 3 that move by two, by minimal filtering: F(4, 2) of every other pixel, the rest as they are.
//!
//! Along an axis, four outputs see nine pixels: five at even places by the window's first and last number, which is a filter of
//! two that moves by one and takes five products for eight (S. Winograd, *Arithmetic Complexity of Computations*, 1980); and four at
//! odd places by the number between, a product each. So nine for twelve, and over both axes 81 for 144. What the odd places see
//! is multiplied by the same number everywhere, so there are 36 matrices of weights, as with windows that move by one, and the
//! products of odd places are as many as there are outputs, whether or not patches are full.
//!
//! Channels are innermost here, as in [`crate::Winograd`], whose weights these are made like.

use std::sync::Arc;

use crate::lanes::F32x4;
use crate::panels::Panels;
use crate::price::{Follows, ROOM, instructions_of_padding, instructions_of_rows};
use crate::product::{After, By, Matrix, price};
use crate::room::{between_zeros, by_rows, unwritten};
use crate::window::Window;
use crate::winograd::{fours, transformed};

/// Outputs of a patch along an axis.
const STEP: usize = 4;
/// Points that a filter of two is evaluated at.
const POINTS: usize = STEP + 1;
/// What is told apart along an axis: the points, and the odd places.
pub(crate) const KINDS: usize = POINTS + 1;
/// Pixels of a patch along an axis: as many products.
const SIDE: usize = POINTS + STEP;
/// Floats of transformed patches at a time, about: four megabytes.
const BLOCK: usize = 1 << 20;

/// What a patch of four channels is charged to be transformed, of four outputs back, and where its rows lie.
const TRANSFORMED: u64 = 6_700;
const BACK: u64 = 6_230;
const PLACED: u64 = 6_000;

/// A convolution of one image, of planes or with channels innermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Strided {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    pub(crate) outputs: usize,
    /// Whether channels are innermost.
    pub(crate) innermost: bool,
    /// For each kind along the height, each along the width.
    pub(crate) weights: Arc<Vec<Panels>>,
    /// One number an output.
    pub(crate) bias: Vec<f32>,
}

/// Where products of some rows of patches lie.
struct Places {
    /// Rows of patches, and patches in a row.
    patches: [usize; 2],
    /// Rows and columns of outputs.
    outputs: [usize; 2],
    /// For each kind along the height and the width, the first row of its matrix.
    first: [[usize; KINDS]; KINDS],
    /// Rows of all matrices.
    rows: usize,
}

impl Places {
    fn new(patches: [usize; 2], outputs: [usize; 2]) -> Places {
        let mut places = Places { patches, outputs, first: [[0; KINDS]; KINDS], rows: 0 };
        for down in 0..KINDS {
            for across in 0..KINDS {
                places.first[down][across] = places.rows;
                places.rows += places.of(down, across);
            }
        }
        places
    }

    /// How many there are of a kind along an axis.
    fn along(&self, axis: usize, kind: usize) -> usize {
        if kind < POINTS { self.patches[axis] } else { self.outputs[axis] }
    }

    /// Rows of a matrix.
    fn of(&self, down: usize, across: usize) -> usize {
        self.along(0, down) * self.along(1, across)
    }

    /// The rows of a patch's products, in order of the pixels' transforms; one beyond the last for those of no output.
    fn rows_of(&self, patch: [usize; 2]) -> [[usize; SIDE]; SIDE] {
        let at = |axis: usize, place: usize| match place.checked_sub(POINTS) {
            None => Some((place, patch[axis])),
            Some(odd) => {
                let output = STEP * patch[axis] + odd;
                (output < self.outputs[axis]).then_some((POINTS, output))
            }
        };
        std::array::from_fn(|y| {
            std::array::from_fn(|x| match (at(0, y), at(1, x)) {
                (Some((down, row)), Some((across, column))) => {
                    self.first[down][across] + row * self.along(1, across) + column
                }
                _ => self.rows,
            })
        })
    }
}

impl Strided {
    /// Whether this is the cheapest way to convolve: windows of 3 × 3 that move by two, and enough channels for the transforms to
    /// pay.
    pub fn pays(window: &Window, channels: usize, outputs: usize) -> bool {
        if window.kernel != [3, 3]
            || window.stride != [2, 2]
            || window.dilation != [1, 1]
            || channels < 8
            || outputs < 8
            || window.pixels() == 0
        {
            return false;
        }
        let patches = window.output.map(|n| n.div_ceil(STEP));
        let places = Places::new(patches, window.output);
        let products: u64 = (0..KINDS * KINDS)
            .map(|at| price(By::Columns, outputs, channels, places.of(at / KINDS, at % KINDS)))
            .sum();
        // Transforms of a patch's channel and output; the windows that would be gathered.
        let transforms = (patches[0] * patches[1] * (500 * channels + 500 * outputs)) as u64;
        let gathered = (window.pixels() * 9 * channels * 4) as u64;
        products + transforms < price(By::Rows, outputs, 9 * channels, window.pixels()) + gathered
    }

    /// Bytes of transformed weights; `usize::MAX` where that is not a number.
    pub fn bytes(channels: usize, outputs: usize) -> usize {
        crate::Winograd::bytes(channels, outputs)
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
    ) -> Strided {
        let mut bias = bias.to_vec();
        bias.resize(outputs, 0.0);
        let mut conv = Strided { window, channels, outputs, innermost, weights: Arc::default(), bias };
        let places = conv.places(0);
        let rows: Vec<usize> = (0..KINDS * KINDS).map(|at| places.of(at / KINDS, at % KINDS)).collect();
        conv.weights = Arc::new(transformed([channels, outputs], kernel, &rows, filter));
        conv
    }

    /// The same with another bias, one number an output.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Strided {
        self.bias.copy_from_slice(bias);
        self
    }

    /// The bias.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Patches along an axis.
    fn patches(&self) -> [usize; 2] {
        self.window.output.map(|n| n.div_ceil(STEP))
    }

    /// Rows of patches at a time.
    fn at_once(&self) -> usize {
        let [down, across] = self.patches();
        let row = SIDE * SIDE * across * (self.channels + self.outputs);
        (BLOCK / row.max(1)).clamp(1, down)
    }

    /// The places of some rows of patches, from this one on.
    fn places(&self, first: usize) -> Places {
        let [down, across] = self.patches();
        let [height, width] = self.window.output;
        let rows = self.at_once().min(down - first);
        Places::new([rows, across], [(STEP * rows).min(height - STEP * first), width])
    }

    /// Rows and columns of the image between zeros.
    fn padded(&self) -> [usize; 2] {
        self.patches().map(|n| 2 * STEP * n + 1)
    }

    /// What convolving one image takes: the products, and the transforms before and after them.
    pub fn instructions(&self, follows: Follows) -> u64 {
        let [down, across] = self.patches();
        let products: u64 = (0..down)
            .step_by(self.at_once())
            .map(|first| {
                let places = self.places(first);
                let rows = (0..KINDS * KINDS).map(|at| places.of(at / KINDS, at % KINDS));
                self.weights
                    .iter()
                    .zip(rows)
                    .map(|(w, rows)| w.instructions(rows, Follows::default()))
                    .sum::<u64>()
            })
            .sum();
        let fours = [self.channels, self.outputs].map(|n| n.div_ceil(4) as u64);
        let transforms = fours[0] * TRANSFORMED + fours[1] * BACK + PLACED;
        2 * ROOM
            + instructions_of_padding(self.window.input, self.channels, self.innermost, self.padded())
            + products
            + (down * across) as u64 * transforms
            + instructions_of_rows([self.window.pixels(), self.outputs], self.innermost, follows)
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let padded = self.padded().iter().product::<usize>() * self.channels;
        let out = if self.innermost { 0 } else { self.window.pixels() * self.outputs };
        4 * (padded + out + (self.places(0).rows + 1) * (self.channels + self.outputs))
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
    pub fn within(&self, window: Window) -> Strided {
        Strided { window, ..self.clone() }
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
        let Window { input, before, .. } = self.window;
        let (channels, outputs) = (self.channels, self.outputs);
        let padded = self.padded();
        let image = between_zeros(image, input, channels, self.innermost, before, padded);
        let [down, across] = self.patches();
        let rows = self.places(0).rows;
        // SAFETY: each row of each place is written before it is read, but for that of no output, which only outputs that are
        // not kept are made from.
        let (mut seen, mut products) =
            unsafe { (unwritten((rows + 1) * channels), unwritten(rows * outputs)) };
        for first in (0..down).step_by(self.at_once()) {
            let places = self.places(first);
            let patches = (0..places.patches[0]).flat_map(|row| (0..across).map(move |column| [row, column]));
            for patch in patches.clone() {
                let (y, x) = (2 * STEP * (first + patch[0]), 2 * STEP * patch[1]);
                let corner = &image[(y * padded[1] + x) * channels..];
                self.transform(corner, padded[1], &places.rows_of(patch), &mut seen);
            }
            for (at, weights) in self.weights.iter().enumerate() {
                let (place, count) =
                    (places.first[at / KINDS][at % KINDS], places.of(at / KINDS, at % KINDS));
                weights.under(
                    &seen[place * channels..],
                    Matrix::dense(count, channels),
                    &mut products[place * outputs..],
                    Matrix::dense(count, outputs),
                    After::default(),
                );
            }
            for patch in patches {
                let corner = [STEP * (first + patch[0]), STEP * patch[1]];
                // Those of no output are read where others are, and left away.
                let rows =
                    places.rows_of(patch).map(|row| row.map(|row| if row < places.rows { row } else { 0 }));
                self.back(&products, &rows, corner, out, bounds);
            }
        }
    }

    /// Transforms a patch of every channel.
    #[expect(clippy::needless_range_loop, reason = "a column is gone through by rows of the other half")]
    fn transform(&self, corner: &[f32], columns: usize, rows: &[[usize; SIDE]; SIDE], seen: &mut [f32]) {
        let channels = self.channels;
        let reach = ((SIDE - 1) * columns + SIDE) * channels;
        let most = rows.as_flattened().iter().max().map_or(0, |row| row + 1);
        assert!(corner.len() >= reach && seen.len() >= most * channels, "a patch is cut off");
        for channel in fours(channels) {
            // SAFETY: four channels from `channel` on are in each pixel of the patch (asserted), and room for them in each
            // row (asserted).
            unsafe {
                let from = corner.as_ptr().add(channel);
                let mut half = [[F32x4::splat(0.0); SIDE]; SIDE];
                for column in 0..SIDE {
                    let line: [F32x4; SIDE] =
                        std::array::from_fn(|row| F32x4::load(from.add((row * columns + column) * channels)));
                    let line = input(line);
                    (0..SIDE).for_each(|row| half[row][column] = line[row]);
                }
                let to = seen.as_mut_ptr().add(channel);
                for (half, rows) in half.into_iter().zip(rows) {
                    for (value, row) in input(half).into_iter().zip(rows) {
                        value.store(to.add(row * channels));
                    }
                }
            }
        }
    }

    /// Transforms the products of a patch back, into every output that is on the image.
    fn back(
        &self,
        products: &[f32],
        rows: &[[usize; SIDE]; SIDE],
        [y, x]: [usize; 2],
        out: &mut [f32],
        bounds: Option<(f32, f32)>,
    ) {
        let outputs = self.outputs;
        let [height, width] = self.window.output;
        let most = rows.as_flattened().iter().max().map_or(0, |row| row + 1);
        assert!(products.len() >= most * outputs && out.len() >= height * width * outputs, "outputs");
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (F32x4::splat(low), F32x4::splat(high));
        let (down, across) = (STEP.min(height - y), STEP.min(width - x));
        for channel in fours(outputs) {
            let bias = F32x4::of(&self.bias[channel..]);
            // SAFETY: four outputs from `channel` on are in each row of the products, and in each pixel that is on the
            // image (asserted).
            unsafe {
                let from = products.as_ptr().add(channel);
                let mut half = [[F32x4::splat(0.0); SIDE]; STEP];
                for column in 0..SIDE {
                    let line: [F32x4; SIDE] =
                        std::array::from_fn(|row| F32x4::load(from.add(rows[row][column] * outputs)));
                    let line = inverse(line);
                    (0..STEP).for_each(|row| half[row][column] = line[row]);
                }
                for (row, half) in half.into_iter().enumerate().take(down) {
                    for (column, value) in inverse(half).into_iter().enumerate().take(across) {
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

/// The points are 0, ±A, B and infinity: exact in f32, as all that follows from them is, and of the small fractions those with
/// the smallest errors (`docs/kernels.md`).
pub(crate) const A: f32 = 0.75;
pub(crate) const B: f32 = 2.0;
const AA: f32 = A * A;

/// A window's column: at each point the first and last number, then the one between.
#[inline(always)]
fn filter([first, between, last]: [F32x4; 3]) -> [F32x4; KINDS] {
    let point = |point: f32, divisor: f32| (first + last * F32x4::splat(point)) / F32x4::splat(divisor);
    [
        first / F32x4::splat(AA * B),
        point(A, 2.0 * AA * (A - B)),
        point(-A, -2.0 * AA * (A + B)),
        point(B, B * (B * B - AA)),
        last,
        between,
    ]
}

/// A patch's column: pixels at even places to the points, then those at odd places.
#[inline(always)]
fn input([s, t, u, v, w, x, y, z, last]: [F32x4; SIDE]) -> [F32x4; SIDE] {
    let [s, u, w, y, last] = pointed([s, u, w, y, last]);
    [s, u, w, y, last, t, v, x, z]
}

/// Five numbers to the points: B transposed, in the words of [`crate::winograd`].
#[inline(always)]
pub(crate) fn pointed([s, t, u, v, w]: [F32x4; POINTS]) -> [F32x4; POINTS] {
    let (aa, b) = (F32x4::splat(AA), F32x4::splat(B));
    let p = v - u * b;
    let q = u - t * b;
    let r = q * F32x4::splat(A);
    [p - (t - s * b) * aa, p + r, p - r, v - t * aa, w - v * b - q * aa]
}

/// Products' column back to four outputs.
#[inline(always)]
fn inverse([s, t, u, v, w, odd @ ..]: [F32x4; SIDE]) -> [F32x4; STEP] {
    let times = |x: F32x4, factor: f32| x * F32x4::splat(factor);
    let (p, q) = (t + u, times(t - u, A));
    [
        s + p + v + odd[0],
        q + times(v, B) + odd[1],
        times(p, AA) + times(v, B * B) + odd[2],
        times(q, AA) + times(v, B * B * B) + w + odd[3],
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
            input in [1usize..30, 1usize..30], before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3],
            channels in 4usize..14, produced in 4usize..14, innermost: bool, bounded: bool, added: bool, seed: u64,
        ) {
            let size = |axis: usize| outputs(input[axis], 3, 2, 1, before[axis] + behind[axis]);
            let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
            let window = Window {
                input, kernel: [3, 3], stride: [2, 2], dilation: [1, 1], before, output: [height, width],
            };
            equals_its_definition(
                window, [channels, produced], innermost, bounded, added, seed,
                |weights, bias, image, out, after| {
                    Strided::new(window, channels, produced, innermost, bias, weights).run(image, out, after);
                },
            )?;
        }
    }
}
