//! Convolutions whose windows are seven wide and move by two, as those that images begin with, by minimal filtering along
//! lines: F(2, 4) of every other pixel and F(2, 3) of those between.
//!
//! Two outputs beside one another see nine pixels of a line. Those at even places meet four of the window's numbers, a filter
//! of four that moves by one and takes five products for eight; the others meet three, four products for six. So nine
//! for fourteen; the lines of a window are summed over with the channels, as they are. Few channels make short sums, which
//! is why only one axis is filtered so; and an image's first layer is where rounding shows most in what a network answers, which is why
//! patches are no longer, though four outputs would take thirteen products for twenty-eight (`docs/kernels.md`).
//!
//! The image is laid by columns, each with its lines' channels side by side: what the windows of a column of outputs see is then one
//! matrix for each product, whose rows overlap, and nothing is gathered.

use std::sync::Arc;

use crate::lanes::F32x4;
use crate::price::{Follows, ROOM, ZERO, instructions_of_rows};
use crate::product::{After, By, Matrix, Weights, price};
use crate::room::{by_rows, unwritten};
use crate::strided::{A, B, pointed};
use crate::window::Window;
use crate::winograd::fours;

/// Outputs of a patch.
const STEP: usize = 2;
/// Products for the pixels at even places, and at odd ones.
const EVEN: usize = STEP + 3;
const ODD: usize = STEP + 2;
/// Pixels of a patch: as many products.
pub(crate) const SIDE: usize = EVEN + ODD;
/// Width of a window.
pub(crate) const WIDTH: usize = 7;

/// Points of the even places' filter, beside infinity: those of [`crate::Strided`], whose transform it shares.
const EVEN_POINTS: [f64; EVEN - 1] = [0.0, A as f64, -A as f64, B as f64];
/// Points of the odd places' filter.
const ODD_POINTS: [f64; ODD - 1] = [0.0, 1.0, -1.0];

/// What four numbers of a patch are charged to be transformed, four outputs back, and a number to be laid by columns.
const TRANSFORMED: u64 = 300;
const BACK: u64 = 172;
const LAID: u64 = 12;

/// A convolution of one image, of planes or with channels innermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    pub(crate) outputs: usize,
    /// Whether channels are innermost.
    pub(crate) innermost: bool,
    /// For each product of a patch.
    pub(crate) weights: Arc<Vec<Weights>>,
    /// One number an output.
    pub(crate) bias: Vec<f32>,
}

impl Lines {
    /// Whether this is the cheapest way to convolve: windows seven wide that move by two.
    pub fn pays(window: &Window, channels: usize, outputs: usize) -> bool {
        if window.kernel[1] != WIDTH || window.stride[1] != 2 || window.dilation != [1, 1] || outputs < 8 {
            return false;
        }
        let [height, width] = window.output;
        let (k, patches) = (window.kernel[0] * channels, width.div_ceil(STEP));
        let products = (patches * SIDE) as u64 * price(By::Columns, outputs, k, height);
        let transforms = (patches * height * 30 * outputs + 40 * SIDE * patches * height * channels) as u64;
        let gathered = (window.pixels() * window.places() * channels * 4) as u64;
        products + transforms
            < price(By::Rows, outputs, window.places() * channels, window.pixels()) + gathered
    }

    /// Bytes of transformed weights; `usize::MAX` where that is not a number.
    pub fn bytes(window: &Window, channels: usize, outputs: usize) -> usize {
        channels.saturating_mul(outputs).saturating_mul(4 * SIDE * window.kernel[0])
    }

    /// A convolution with `kernel[output][channel][ky][kx]`, and a bias for each output or none.
    ///
    /// # Panics
    /// Where the kernel is shorter than that, windows are not seven wide, or there are fewer than four outputs.
    pub fn new(
        window: Window,
        channels: usize,
        outputs: usize,
        innermost: bool,
        bias: &[f32],
        kernel: &[f32],
    ) -> Lines {
        assert!(window.kernel[1] == WIDTH && outputs >= 4, "{window:?} is no window of lines");
        // Pixels at even places meet the numbers at even places, those between the ones between.
        let even = factors(&EVEN_POINTS, WIDTH.div_ceil(2));
        let odd = factors(&ODD_POINTS, WIDTH / 2);
        let height = window.kernel[0];
        let k = height * channels;
        let weights: Vec<Weights> = (0..SIDE)
            .map(|product| {
                let (first, factors) = match product.checked_sub(EVEN) {
                    None => (0, &even[product]),
                    Some(product) => (1, &odd[product]),
                };
                // Sums run over lines, and in each over channels.
                Weights::columns(k, outputs, &[], |step, output| {
                    let line = ((output * channels + step % channels) * height + step / channels) * WIDTH;
                    let numbers = kernel[line..line + WIDTH].iter().skip(first).step_by(2);
                    numbers.zip(factors).map(|(number, factor)| f64::from(*number) * factor).sum::<f64>()
                        as f32
                })
            })
            .collect();
        let mut bias = bias.to_vec();
        bias.resize(outputs, 0.0);
        Lines { window, channels, outputs, innermost, weights: Arc::new(weights), bias }
    }

    /// The same with another bias, one number an output.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Lines {
        self.bias.copy_from_slice(bias);
        self
    }

    /// The bias.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Columns of the image between zeros, and numbers of one: a vector more than its lines, for the last vector.
    fn laid(&self) -> [usize; 2] {
        let Window { kernel, stride, output, .. } = self.window;
        let lines = (output[0] - 1) * stride[0] + kernel[0];
        [2 * STEP * (output[1].div_ceil(STEP) - 1) + SIDE, (lines * self.channels).next_multiple_of(4)]
    }

    /// What convolving one image takes: the products, and the transforms before and after them.
    pub fn instructions(&self, follows: Follows) -> u64 {
        let Window { input, output: [height, width], .. } = self.window;
        let [columns, length] = self.laid();
        let patches = width.div_ceil(STEP) as u64;
        let products: u64 = self.weights.iter().map(|w| w.instructions(height, Follows::default())).sum();
        let transforms = (length / 4) as u64 * TRANSFORMED
            + height as u64 * (100 + self.outputs.div_ceil(4) as u64 * BACK);
        ROOM + ZERO * (columns * length) as u64
            + (input[0] * input[1]) as u64 * (30 + LAID * self.channels as u64)
            + patches * (products + transforms)
            + instructions_of_rows([self.window.pixels(), self.outputs], self.innermost, follows)
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let [columns, length] = self.laid();
        let out = if self.innermost { 0 } else { self.window.pixels() * self.outputs };
        4 * (columns * length + SIDE * (length + self.window.output[0] * self.outputs) + out)
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
    pub fn within(&self, window: Window) -> Lines {
        Lines { window, ..self.clone() }
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

    /// The image by columns between zeros: `[column][line][channel]`.
    fn by_columns(&self, image: &[f32]) -> Vec<f32> {
        let Window { input: [height, width], before, .. } = self.window;
        let (channels, [columns, length]) = (self.channels, self.laid());
        let [along_line, along_column, along_channel] =
            if self.innermost { [width * channels, channels, 1] } else { [width, 1, height * width] };
        let mut laid = vec![0.0; columns * length];
        let lines = height.min((length / channels).saturating_sub(before[0]));
        for (x, column) in laid.chunks_exact_mut(length).skip(before[1]).take(width).enumerate() {
            let column = &mut column[before[0] * channels..];
            for (y, pixel) in column.chunks_exact_mut(channels).take(lines).enumerate() {
                let at = y * along_line + x * along_column;
                for (channel, to) in pixel.iter_mut().enumerate() {
                    *to = image[at + channel * along_channel];
                }
            }
        }
        laid
    }

    /// What comes out has its channels innermost.
    fn by_patches(&self, image: &[f32], out: &mut [f32], bounds: Option<(f32, f32)>) {
        let Window { kernel, stride, output: [height, width], .. } = self.window;
        let (channels, outputs) = (self.channels, self.outputs);
        let laid = self.by_columns(image);
        let [_, length] = self.laid();
        // SAFETY: the pixels' transforms and the products are written whole for each patch before they are read.
        let (mut seen, mut products) =
            unsafe { (unwritten(SIDE * length), unwritten(SIDE * height * outputs)) };
        // The windows of a column of outputs, which overlap.
        let from = Matrix { rows: height, columns: kernel[0] * channels, stride: stride[0] * channels };
        for patch in 0..width.div_ceil(STEP) {
            self.transform(&laid[2 * STEP * patch * length..], length, &mut seen);
            for (product, weights) in self.weights.iter().enumerate() {
                let to = &mut products[product * height * outputs..];
                weights.under(
                    &seen[product * length..],
                    from,
                    to,
                    Matrix::dense(height, outputs),
                    After::default(),
                );
            }
            for line in 0..height {
                let first = line * width + STEP * patch;
                let out = &mut out[first * outputs..(first + STEP.min(width - STEP * patch)) * outputs];
                self.back(&products[line * outputs..], height * outputs, out, bounds);
            }
        }
    }

    /// Transforms a patch's columns of numbers.
    fn transform(&self, columns: &[f32], length: usize, seen: &mut [f32]) {
        assert!(columns.len() >= SIDE * length && seen.len() >= SIDE * length, "a patch is cut off");
        assert!(length.is_multiple_of(4), "columns of whole vectors");
        for at in (0..length).step_by(4) {
            // SAFETY: four numbers from `at` on are in each column, and room for them of each product (asserted).
            unsafe {
                let from = columns.as_ptr().add(at);
                let pixel = |at: usize| F32x4::load(from.add(at * length));
                let to = seen.as_mut_ptr().add(at);
                let even = pointed([pixel(0), pixel(2), pixel(4), pixel(6), pixel(8)]);
                let (s, t, u, v) = (pixel(1), pixel(3), pixel(5), pixel(7));
                even[0].store(to);
                even[1].store(to.add(length));
                even[2].store(to.add(2 * length));
                even[3].store(to.add(3 * length));
                even[4].store(to.add(4 * length));
                (u - s).store(to.add(5 * length));
                (t + u).store(to.add(6 * length));
                (u - t).store(to.add(7 * length));
                (v - t).store(to.add(8 * length));
            }
        }
    }

    /// Transforms a patch's products, so far apart, back into as many outputs as there are.
    fn back(&self, products: &[f32], apart: usize, out: &mut [f32], bounds: Option<(f32, f32)>) {
        let outputs = self.outputs;
        let both = out.len() >= STEP * outputs;
        assert!(products.len() >= (SIDE - 1) * apart + outputs && out.len() >= outputs, "a patch is cut off");
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (F32x4::splat(low), F32x4::splat(high));
        for channel in fours(outputs) {
            let bias = F32x4::of(&self.bias[channel..]);
            // SAFETY: four outputs from `channel` on are in each product and in each pixel that is there (asserted).
            unsafe {
                let from = products.as_ptr().add(channel);
                let product = |at: usize| F32x4::load(from.add(at * apart));
                let to = out.as_mut_ptr().add(channel);
                let (p, q, u, v, x) = (product(1), product(2), product(6), product(7), product(3));
                let first = product(0) + (p + q) + x + (product(5) + (u + v));
                (first + bias).above(low).below(high).store(to);
                if both {
                    let second = (p - q) * F32x4::splat(A) + x * F32x4::splat(B) + product(4);
                    let second = second + ((u - v) + product(8));
                    (second + bias).above(low).below(high).store(to.add(outputs));
                }
            }
        }
    }
}

/// For each product of a filter of `taps` numbers at these points and infinity, the factors of the window's numbers: A. Toom's and
/// S. Cook's multiplication of polynomials, transposed.
fn factors(points: &[f64], taps: usize) -> Vec<Vec<f64>> {
    let finite = points.iter().map(|point| {
        let divisor: f64 = points.iter().filter(|other| *other != point).map(|other| point - other).product();
        (0..taps).map(|power| point.powi(power as i32) / divisor).collect()
    });
    let infinity = (0..taps).map(|power| if power == taps - 1 { 1.0 } else { 0.0 }).collect();
    finite.chain([infinity]).collect()
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
            input in [1usize..30, 1usize..30], height in 1usize..8, down in 1usize..3, before in [0usize..4, 0usize..4],
            behind in [0usize..4, 0usize..4], channels in 1usize..5, produced in 4usize..14, innermost: bool,
            bounded: bool, added: bool, seed: u64,
        ) {
            let size = |axis: usize, kernel: usize, stride: usize| {
                outputs(input[axis], kernel, stride, 1, before[axis] + behind[axis])
            };
            let (Some(rows), Some(columns)) = (size(0, height, down), size(1, 7, 2)) else { return Ok(()) };
            let window = Window {
                input, kernel: [height, 7], stride: [down, 2], dilation: [1, 1], before, output: [rows, columns],
            };
            equals_its_definition(
                window, [channels, produced], innermost, bounded, added, seed,
                |weights, bias, image, out, after| {
                    Lines::new(window, channels, produced, innermost, bias, weights).run(image, out, after);
                },
            )?;
        }
    }
}
