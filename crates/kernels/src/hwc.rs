//! Convolutions of images whose channels are innermost: `[height, width, channels]`.
//!
//! A window's row is then one run of floats, and the channels of a pixel are neighbours: each pixel is a row of a matrix,
//! its windows are gathered run by run, and what is computed of each channel by itself is computed four channels at a time.

use std::sync::Arc;

use crate::conv::{spread, zeros};
use crate::lanes::F32x4;
use crate::panels::{Packing, Panels};
use crate::price::{Follows, ROOM, ZERO};
use crate::product::{After, Matrix};
use crate::turn::lay;
use crate::window::Window;

/// Output pixels whose windows are gathered at a time: eight tiles high.
const PIXELS: usize = 64;

/// A convolution of one image: `[height, width, channels]` to `[height, width, outputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HwcConv {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    pub(crate) weights: Arc<Panels>,
}

impl HwcConv {
    /// A convolution with `kernel[output][channel][ky][kx]`, and a bias for each output or none.
    ///
    /// # Panics
    /// Where the kernel is shorter than that.
    pub fn new(
        packing: &mut Packing,
        window: Window,
        channels: usize,
        outputs: usize,
        bias: &[f32],
        kernel: &[f32],
    ) -> HwcConv {
        let places = window.places();
        let k = channels * places;
        let others = window.pixels().min(if places == 1 { usize::MAX } else { PIXELS });
        // A window's row is one run of the image: of each output, places in turn, and channels of a place.
        let mut turned = vec![];
        if places > 1 {
            turned.reserve(outputs * k);
            for kernel in kernel[..outputs * k].chunks_exact(k) {
                lay(kernel, [places, channels], [1, places], &mut turned);
            }
        }
        let kernel = if places > 1 { &turned } else { kernel };
        let weights = Panels::columns_of(packing, others, [k, outputs], kernel, [1, k]).with_bias(bias);
        HwcConv { window, channels, weights: Arc::new(weights) }
    }

    /// The same with another bias.
    #[must_use]
    pub fn with_bias(self, bias: &[f32]) -> HwcConv {
        HwcConv { weights: Arc::new(Arc::unwrap_or_clone(self.weights).with_bias(bias)), ..self }
    }

    /// Its weights.
    pub fn weights(&self) -> &Panels {
        &self.weights
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let gathered = if self.window.is_pointwise() { 0 } else { 4 * self.weights.k() * self.height() };
        let others = if self.window.is_pointwise() { self.window.pixels() } else { self.height() };
        gathered + self.weights.scratch(others)
    }

    /// What convolving one image takes: the products, and what their windows' gathering does.
    pub fn instructions(&self, follows: Follows) -> u64 {
        let pixels = self.window.pixels();
        if self.window.is_pointwise() {
            return self.weights.instructions(pixels, follows);
        }
        let (height, [lines, _]) = (self.height(), self.window.kernel);
        let blocks = pixels.div_ceil(height) as u64;
        let seen = height as u64 * (100 + 150 * lines as u64 + 3 * self.weights.k() as u64);
        ROOM + ZERO * (height * self.weights.k()) as u64
            + blocks * (seen + self.weights.instructions(height, follows))
    }

    /// Output pixels at a time.
    fn height(&self) -> usize {
        self.window.pixels().min(PIXELS)
    }

    /// Its windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The same weights for other windows that differ in sizes of input and output and in the zeros before alone; the weights are shared.
    #[must_use]
    pub fn within(&self, window: Window) -> HwcConv {
        HwcConv { window, ..self.clone() }
    }

    /// Convolves one image.
    ///
    /// # Panics
    /// Where slices are shorter than the image and its outputs.
    pub fn run(&self, image: &[f32], out: &mut [f32], after: After<'_>) {
        let (pixels, k, outputs) = (self.window.pixels(), self.weights.k(), self.weights.outputs());
        if self.window.is_pointwise() {
            return self.weights.under(
                image,
                Matrix::dense(pixels, k),
                out,
                Matrix::dense(pixels, outputs),
                after,
            );
        }
        let height = self.height();
        let mut gathered = vec![0.0; k * height];
        let mut at = 0;
        while at < pixels {
            // The last ones are as many as the others, some of them again: they come out the same.
            let first = at.min(pixels - height);
            for (pixel, to) in gathered.chunks_exact_mut(k).enumerate() {
                self.gather(image, first + pixel, to);
            }
            let after = After { residual: after.residual.map(|r| &r[first * outputs..]), ..after };
            let (from, to) = (Matrix::dense(height, k), Matrix::dense(height, outputs));
            self.weights.under(&gathered, from, &mut out[first * outputs..], to, after);
            at += height;
        }
    }

    /// What the window of a pixel sees.
    fn gather(&self, image: &[f32], pixel: usize, to: &mut [f32]) {
        let Window { input, kernel, stride, dilation, before, output } = self.window;
        let channels = self.channels;
        let (oy, ox) = (pixel / output[1], pixel % output[1]);
        for (ky, to) in to.chunks_exact_mut(kernel[1] * channels).enumerate() {
            let y = (oy * stride[0] + ky * dilation[0]).wrapping_sub(before[0]);
            if y >= input[0] {
                zeros(to);
                continue;
            }
            let line = &image[y * input[1] * channels..(y + 1) * input[1] * channels];
            let left = ox * stride[1];
            if dilation[1] == 1 {
                // One run, cut off at the edges.
                let skipped = before[1].saturating_sub(left).min(kernel[1]);
                let from = (left + skipped).saturating_sub(before[1]).min(input[1]);
                let count = (kernel[1] - skipped).min(input[1] - from);
                zeros(&mut to[..skipped * channels]);
                spread(
                    &line[from * channels..],
                    1,
                    &mut to[skipped * channels..(skipped + count) * channels],
                );
                zeros(&mut to[(skipped + count) * channels..]);
                continue;
            }
            for (kx, to) in to.chunks_exact_mut(channels).enumerate() {
                let x = (left + kx * dilation[1]).wrapping_sub(before[1]);
                match line.get(x.saturating_mul(channels)..).filter(|_| x < input[1]) {
                    Some(seen) => spread(seen, 1, to),
                    None => zeros(to),
                }
            }
        }
    }
}

/// A convolution of each channel by itself: `[height, width, channels]` to the same channels.
#[derive(Clone, Debug, PartialEq)]
pub struct HwcDepthwise {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    /// For each four channels: the window's numbers, four each.
    pub(crate) kernel: Vec<f32>,
    /// One a channel.
    pub(crate) bias: Vec<f32>,
}

impl HwcDepthwise {
    /// Windows that are computed here: of 3 × 3 or 5 × 5, of four channels or more.
    pub fn takes(window: &Window, channels: usize) -> bool {
        matches!(window.kernel, [3, 3] | [5, 5]) && window.dilation == [1, 1] && channels >= 4
    }

    /// A convolution with `kernel[channel][ky][kx]`, and a bias for each channel or none.
    ///
    /// # Panics
    /// Where the windows are not those that it takes, or the kernel is shorter.
    pub fn new(window: Window, channels: usize, bias: &[f32], kernel: &[f32]) -> HwcDepthwise {
        assert!(Self::takes(&window, channels), "{window:?} is no window of depthwise kernels");
        let mut packed = vec![];
        for first in fours(channels) {
            for place in 0..window.places() {
                packed.extend((first..first + 4).map(|channel| kernel[channel * window.places() + place]));
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(channels, 0.0);
        HwcDepthwise { window, channels, kernel: packed, bias }
    }

    /// The same with another bias.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> HwcDepthwise {
        self.bias.copy_from_slice(bias);
        self
    }

    /// Its bias.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Rows and columns of the copy between zeros.
    fn padded(&self) -> [usize; 2] {
        [0, 1]
            .map(|axis| (self.window.output[axis] - 1) * self.window.stride[axis] + self.window.kernel[axis])
    }

    /// What convolving one image takes.
    pub fn instructions(&self, follows: Follows) -> u64 {
        if self.is_patched(follows.residual) {
            return self.instructions_by_patches();
        }
        let Window { input, output, .. } = self.window;
        let [rows, columns] = self.padded();
        let vector = 17 + 28 * self.window.places() as u64 / 3 + u64::from(follows.residual) * 5;
        let copied = input[0].min(rows) as u64 * (30 + 12 * input[1].min(columns) as u64);
        let computed = output[0] as u64 * (25 + output[1] as u64 * vector);
        let four = 880 + copied + computed;
        ROOM + ZERO * (4 * rows * columns) as u64 + self.channels.div_ceil(4) as u64 * four
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let [rows, columns] = self.padded();
        (16 * rows * columns).max(4 * self.channels)
    }

    /// Its windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The same weights for other windows that differ in sizes of input and output and in the zeros before alone; the weights are shared.
    #[must_use]
    pub fn within(&self, window: Window) -> HwcDepthwise {
        HwcDepthwise { window, ..self.clone() }
    }

    /// Convolves one image.
    ///
    /// # Panics
    /// Where slices are shorter than the image and its outputs.
    pub fn run(&self, image: &[f32], out: &mut [f32], after: After<'_>) {
        let (channels, pixels, area) = (self.channels, self.window.pixels(), self.window.area());
        assert!(image.len() >= area * channels && out.len() >= pixels * channels, "a slice is too short");
        assert!(after.residual.is_none_or(|r| r.len() >= pixels * channels), "the residual is too short");
        if self.is_patched(after.residual.is_some()) {
            // SAFETY: image and outputs hold every channel of every pixel (asserted).
            return unsafe { self.by_patches(image, out, after.bounds) };
        }
        let [rows, columns] = self.padded();
        let mut copy = vec![0.0; 4 * rows * columns];
        let size = 4 * self.window.places();
        for (first, kernel) in fours(channels).zip(self.kernel.chunks_exact(size)) {
            // SAFETY: image, outputs and residual hold every channel of every pixel (asserted), and four channels are
            // there from `first` on (`fours`). The copy has `padded` pixels of four channels.
            unsafe {
                self.copy(image.as_ptr().add(first), &mut copy, columns);
                let bias = F32x4::load(self.bias.as_ptr().add(first));
                let residual = after.residual.map(|r| r.as_ptr().add(first));
                let out = out.as_mut_ptr().add(first);
                let stride = self.window.stride[1];
                match (self.window.kernel[0], stride) {
                    (3, 1) => self.four::<3, 9, 1>(kernel, bias, &copy, columns, out, residual, after.bounds),
                    (3, 2) => self.four::<3, 9, 2>(kernel, bias, &copy, columns, out, residual, after.bounds),
                    (3, _) => self.four::<3, 9, 0>(kernel, bias, &copy, columns, out, residual, after.bounds),
                    (_, 1) => {
                        self.four::<5, 25, 1>(kernel, bias, &copy, columns, out, residual, after.bounds)
                    }
                    (_, 2) => {
                        self.four::<5, 25, 2>(kernel, bias, &copy, columns, out, residual, after.bounds)
                    }
                    _ => self.four::<5, 25, 0>(kernel, bias, &copy, columns, out, residual, after.bounds),
                }
            }
        }
    }

    /// Copies four channels of the pixels that windows reach; the zeros around them are there from the beginning.
    ///
    /// # Safety
    /// `image` points at four channels of the first pixel of an image of this window and these channels; the copy has
    /// the rows and columns of `padded`.
    unsafe fn copy(&self, image: *const f32, copy: &mut [f32], columns: usize) {
        let Window { input, before, .. } = self.window;
        let count = input[1].min(columns.saturating_sub(before[1]));
        for (row, to) in copy.chunks_exact_mut(4 * columns).enumerate().skip(before[0]).take(input[0]) {
            let line = (row - before[0]) * input[1] * self.channels;
            let to = &mut to[4 * before[1]..4 * (before[1] + count)];
            let (mut from, mut to) = (image.wrapping_add(line), to.as_mut_ptr());
            for _ in 0..count {
                // SAFETY: the pixel is one of the image's, and of the copy's row.
                unsafe { F32x4::load(from).store(to) };
                from = from.wrapping_add(self.channels);
                to = to.wrapping_add(4);
            }
        }
    }

    /// Four channels, from the copy. `STRIDE` is that of the columns where it is known, else 0.
    ///
    /// # Safety
    /// As in `run`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn four<const SIDE: usize, const PLACES: usize, const STRIDE: usize>(
        &self,
        kernel: &[f32],
        bias: F32x4,
        copy: &[f32],
        columns: usize,
        out: *mut f32,
        residual: Option<*const f32>,
        bounds: Option<(f32, f32)>,
    ) {
        let weights: [F32x4; PLACES] = std::array::from_fn(|place| F32x4::of(&kernel[4 * place..]));
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (F32x4::splat(low), F32x4::splat(high));
        let stride = if STRIDE == 0 { self.window.stride[1] } else { STRIDE };
        let mut place = 0;
        for row in 0..self.window.output[0] {
            // SAFETY: windows are within the copy by `padded`; the pixels are the output's.
            unsafe {
                let lines: [*const f32; SIDE] = std::array::from_fn(|ky| {
                    copy.as_ptr().add(4 * (row * self.window.stride[0] + ky) * columns)
                });
                let mut at = 0;
                for _ in 0..self.window.output[1] {
                    let mut sum = bias;
                    for ky in 0..SIDE {
                        let line = lines[ky].add(at);
                        for kx in 0..SIDE {
                            sum = sum + F32x4::load(line.add(4 * kx)) * weights[SIDE * ky + kx];
                        }
                    }
                    if let Some(residual) = residual {
                        sum = sum + F32x4::load(residual.add(place));
                    }
                    sum.above(low).below(high).store(out.add(place));
                    at += 4 * stride;
                    place += self.channels;
                }
            }
        }
    }
}

/// Where fours of channels begin; the last overlaps the one before.
fn fours(channels: usize) -> impl Iterator<Item = usize> {
    (0..channels.div_ceil(4)).map(move |four| (4 * four).min(channels - 4))
}

mod patches;
#[cfg(test)]
mod tests;
