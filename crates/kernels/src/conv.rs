//! Convolutions over planes as matrix products.
//!
//! A pointwise one reads the input in place. Any other gathers, for some output pixels at a time, what their windows see
//! into a small matrix that every channel of the output is then computed from, so the gathering is paid once for all of them
//! and the memory it touches is the same all the time.

use std::sync::Arc;

use crate::lanes::F32x4;
use crate::panels::{Packing, Panels, Precision};
use crate::price::{Follows, ROOM, ZERO};
use crate::product::{After, Matrix};
use crate::window::Window;

/// Output pixels whose windows are gathered at a time: four tiles wide.
const PIXELS: usize = 128;

/// What a part of a row is charged to be gathered, and ten of its numbers where they lie side by side, and where they do not.
const PART: u64 = 310;
const GATHERED: u64 = 43;
const PICKED: u64 = 67;

/// A convolution of one image: `[channels, height, width]` to `[outputs, height, width]`, by groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Windows.
    pub(crate) window: Window,
    /// Channels of the input in a group.
    pub(crate) channels: usize,
    /// For each group, its outputs' weights.
    pub(crate) groups: Arc<Vec<Panels>>,
}

impl Conv {
    /// A convolution with `kernel[output][channel of the group][ky][kx]`, and a bias for each output or none.
    ///
    /// # Panics
    /// Where the kernel is shorter than that.
    pub fn new(
        packing: &mut Packing,
        window: Window,
        channels: usize,
        outputs: usize,
        groups: usize,
        kernel: &[f32],
        bias: &[f32],
    ) -> Conv {
        let (k, m) = (channels * window.places(), outputs / groups);
        let others = if window.is_pointwise() { window.pixels() } else { width(&window) };
        let groups: Vec<Panels> = (0..groups)
            .map(|group| {
                let kernel = &kernel[group * m * k..(group + 1) * m * k];
                let bias = if bias.is_empty() { bias } else { &bias[group * m..(group + 1) * m] };
                Panels::rows_of(packing, others, [m, k], kernel, [k, 1]).with_bias(bias)
            })
            .collect();
        Conv { window, channels, groups: Arc::new(groups) }
    }

    /// The same with another bias, one number an output.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Conv {
        let mut first = 0;
        let groups = (Arc::unwrap_or_clone(self.groups).into_iter())
            .map(|weights| {
                let span = first..first + weights.outputs();
                first = span.end;
                weights.with_bias(&bias[span])
            })
            .collect();
        self.groups = Arc::new(groups);
        self
    }

    /// Its bias, one number an output.
    pub fn bias(&self) -> Vec<f32> {
        self.groups.iter().flat_map(|weights| weights.bias().iter().copied()).collect()
    }

    /// What its weights are kept as, or those of its first group.
    pub fn precision(&self) -> Precision {
        self.groups.first().map_or(Precision::F32, Panels::precision)
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let others = if self.window.is_pointwise() { self.window.pixels() } else { width(&self.window) };
        4 * self.gathered() + self.groups.first().map_or(0, |weights| weights.scratch(others))
    }

    /// What convolving one image takes: the products, and what their windows' gathering does.
    pub fn instructions(&self, follows: Follows) -> u64 {
        let pixels = self.window.pixels();
        let products = |others: usize| -> u64 {
            self.groups.iter().map(|weights| weights.instructions(others, follows) + 100).sum()
        };
        if self.window.is_pointwise() {
            return products(pixels);
        }
        let (width, columns) = (width(&self.window), self.window.output[1]);
        let blocks = pixels.div_ceil(width);
        // Parts of rows that are gathered, for each channel and place of a window.
        let parts: usize = (0..blocks)
            .map(|block| (block * width).min(pixels - width))
            .map(|first| (first + width - 1) / columns + 1 - first / columns)
            .sum();
        let number = if self.window.stride[1] == 1 { GATHERED } else { PICKED };
        let lines = (self.channels * self.groups.len() * self.window.places()) as u64;
        let gathered = lines * (PART * parts as u64 + number * (blocks * width) as u64 / 10);
        ROOM + ZERO * self.gathered() as u64 + blocks as u64 * products(width) + gathered
    }

    /// Numbers that are gathered at a time.
    fn gathered(&self) -> usize {
        let numbers = self.channels * self.window.places() * width(&self.window);
        if self.window.is_pointwise() { 0 } else { numbers }
    }

    /// Its windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The same weights for other windows that differ in sizes of input and output and in the zeros before alone; the weights are shared.
    #[must_use]
    pub fn within(&self, window: Window) -> Conv {
        Conv { window, ..self.clone() }
    }

    /// Convolves one image.
    ///
    /// # Panics
    /// Where slices are shorter than the image and its outputs.
    pub fn run(&self, image: &[f32], out: &mut [f32], after: After<'_>) {
        let (area, pixels) = (self.window.area(), self.window.pixels());
        let mut gathered = vec![0.0; self.gathered()];
        let mut first = 0;
        for (group, weights) in self.groups.iter().enumerate() {
            let image = &image[group * self.channels * area..(group + 1) * self.channels * area];
            let outputs = first..first + weights.outputs();
            first = outputs.end;
            let span = outputs.start * pixels..outputs.end * pixels;
            let after = After { residual: after.residual.map(|r| &r[span.clone()]), ..after };
            let out = &mut out[span];
            if self.window.is_pointwise() {
                let (from, to) = (Matrix::dense(self.channels, area), Matrix::dense(outputs.len(), pixels));
                weights.times(image, from, out, to, after);
            } else {
                self.by_windows(weights, image, &mut gathered, out, after);
            }
        }
    }

    fn by_windows(
        &self,
        weights: &Panels,
        image: &[f32],
        gathered: &mut [f32],
        out: &mut [f32],
        after: After<'_>,
    ) {
        let (pixels, width) = (self.window.pixels(), width(&self.window));
        let mut at = 0;
        while at < pixels {
            // The last ones are as many as the others, some of them again: they come out the same.
            let first = at.min(pixels - width);
            self.gather(image, first, width, gathered);
            let to = Matrix { rows: weights.outputs(), columns: width, stride: pixels };
            let after = After { residual: after.residual.map(|r| &r[first..]), ..after };
            weights.times(gathered, Matrix::dense(weights.k(), width), &mut out[first..], to, after);
            at += width;
        }
    }

    /// What the windows of `width` output pixels see: a row for each channel and place in the window.
    fn gather(&self, image: &[f32], first: usize, width: usize, gathered: &mut [f32]) {
        let window = &self.window;
        let [_, columns] = window.output;
        let rows = first / columns..(first + width - 1) / columns + 1;
        let mut gathered = gathered.chunks_exact_mut(width);
        for plane in image.chunks_exact(window.area()) {
            for ky in 0..window.kernel[0] {
                let (down, top) = window.reach(0, ky);
                for kx in 0..window.kernel[1] {
                    let (across, left) = window.reach(1, kx);
                    let Some(to) = gathered.next() else { return };
                    for row in rows.clone() {
                        // The part of the row that is among these pixels.
                        let begin = (row * columns).max(first) - row * columns;
                        let end = ((row + 1) * columns).min(first + width) - row * columns;
                        let to = &mut to[row * columns + begin - first..row * columns + end - first];
                        let (from, until) = (across.start.clamp(begin, end), across.end.clamp(begin, end));
                        if !down.contains(&row) || from >= until {
                            zeros(to);
                            continue;
                        }
                        zeros(&mut to[..from - begin]);
                        zeros(&mut to[until - begin..]);
                        let line = (top + (row - down.start) * window.stride[0]) * window.input[1];
                        let start = line + left + (from - across.start) * window.stride[1];
                        spread(&plane[start..], window.stride[1], &mut to[from - begin..until - begin]);
                    }
                }
            }
        }
    }
}

/// Output pixels at a time.
fn width(window: &Window) -> usize {
    window.pixels().min(PIXELS)
}

/// Zeros, without a bulk operation, which costs more than these few.
pub(crate) fn zeros(to: &mut [f32]) {
    for to in to {
        // SAFETY: a reference can be written through; volatile, so that no bulk operation is made of the loop.
        unsafe { std::ptr::write_volatile(to, 0.0) };
    }
}

/// Copies floats by vectors, which is cheaper than a bulk operation for up to some hundred.
///
/// # Panics
/// Where there are fewer than `to` has room for.
#[inline(never)]
pub fn copy(from: &[f32], to: &mut [f32]) {
    assert!(from.len() >= to.len(), "the line is too short");
    let vectors = to.len() / 4 * 4;
    let (mut source, mut target) = (from.as_ptr(), to.as_mut_ptr());
    // Four vectors a turn, whose places are offsets.
    for _ in 0..vectors / 16 {
        // SAFETY: sixteen more are in both.
        unsafe {
            let four = [0, 4, 8, 12].map(|at| F32x4::load(source.add(at)));
            four[0].store(target);
            four[1].store(target.add(4));
            four[2].store(target.add(8));
            four[3].store(target.add(12));
            (source, target) = (source.add(16), target.add(16));
        }
    }
    for _ in 0..vectors / 4 % 4 {
        // SAFETY: four more are in both.
        unsafe {
            F32x4::load(source).store(target);
            (source, target) = (source.add(4), target.add(4));
        }
    }
    for (to, from) in to[vectors..].iter_mut().zip(&from[vectors..]) {
        *to = *from;
    }
}

/// Every `step`-th float of `from`.
pub(crate) fn spread(from: &[f32], step: usize, to: &mut [f32]) {
    assert!(to.is_empty() || from.len() > (to.len() - 1) * step, "the line is too short");
    let vectors = if step <= 2 { to.len() / 4 * 4 } else { 0 };
    let (mut source, target) = (from.as_ptr(), to.as_mut_ptr());
    let mut at = 0;
    while at < vectors {
        // SAFETY: four more are in `to`, and of `from` the `4 * step` that lie there: with a step of 2 the last of the
        // eight is skipped and may be outside, so the second load begins one earlier.
        unsafe {
            let four = if step == 1 {
                F32x4::load(source)
            } else {
                let (low, high) = (F32x4::load(source), F32x4::load(source.add(3)));
                low.even_of_seven(high)
            };
            four.store(target.add(at));
            source = source.add(4 * step);
        }
        at += 4;
    }
    while at < to.len() {
        to[at] = from[at * step];
        at += 1;
    }
}

#[cfg(test)]
pub(crate) mod tests;
