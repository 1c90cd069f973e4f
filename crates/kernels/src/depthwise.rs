//! Convolutions of each channel by itself.
//!
//! A plane is first copied between zeros, so that windows have no edges; where the stride is 2, its even and its odd columns
//! are copied apart, so that neighbouring outputs read neighbouring inputs. Then four outputs are computed at a time, the
//! window's numbers being held in every lane.

use crate::conv::spread;
use crate::lanes::F32x4;
use crate::price::{Follows, ROOM, ZERO};
use crate::product::After;
use crate::window::Window;

/// A convolution of each channel of an image: `[channels, height, width]` to the same channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    pub(crate) window: Window,
    /// The windows' numbers, channel after channel.
    pub(crate) kernel: Vec<f32>,
    /// One a channel.
    pub(crate) bias: Vec<f32>,
}

/// How a plane lies in the copy.
#[derive(Clone, Copy)]
struct Padded {
    /// Rows of the copy.
    rows: usize,
    /// Floats from row to row.
    stride: usize,
    /// Floats from a row's even columns to its odd ones; 0 where they lie together.
    odd: usize,
}

impl Depthwise {
    /// Windows that are computed here: of 3 × 3 or 5 × 5 with a stride of 1 or 2 across, not dilated.
    pub fn takes(window: &Window) -> bool {
        matches!(window.kernel, [3, 3] | [5, 5])
            && window.dilation == [1, 1]
            && matches!(window.stride[1], 1 | 2)
            && window.output[1] >= 4
    }

    /// A convolution with `kernel[channel][ky][kx]`, and a bias for each channel or none.
    ///
    /// # Panics
    /// Where the windows are not those that it takes, or the kernel is shorter.
    pub fn new(window: Window, channels: usize, kernel: &[f32], bias: &[f32]) -> Depthwise {
        assert!(Self::takes(&window), "{window:?} is no window of depthwise kernels");
        let mut bias = bias.to_vec();
        bias.resize(channels, 0.0);
        Depthwise { window, kernel: kernel[..channels * window.places()].to_vec(), bias }
    }

    /// The same with another bias, one number a channel.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Depthwise {
        self.bias.copy_from_slice(bias);
        self
    }

    /// Its bias.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let padded = self.padded();
        4 * padded.rows * padded.stride
    }

    /// What convolving one image takes.
    pub fn instructions(&self, follows: Follows) -> u64 {
        let Window { input, output, .. } = self.window;
        let padded = self.padded();
        let split = padded.odd != 0;
        let (line, number) = if split { (300, 9) } else { (200, 3) };
        let more = u64::from(follows.residual) * 6 + u64::from(follows.bounds) * 6;
        let vector = 36 + 64 * self.window.places() as u64 / 10 + more;
        let rows = output[0] as u64 * (230 + output[1].div_ceil(4) as u64 * vector);
        let copied = input[0].min(padded.rows) as u64 * (line + number * input[1] as u64);
        ROOM + ZERO * (padded.rows * padded.stride) as u64 + self.bias.len() as u64 * (600 + rows + copied)
    }

    fn padded(&self) -> Padded {
        let Window { kernel, stride, output, .. } = self.window;
        let rows = (output[0] - 1) * stride[0] + kernel[0];
        // Outputs are computed up to whole vectors.
        let outputs = output[1].next_multiple_of(4);
        if stride[1] == 1 {
            Padded { rows, stride: outputs + kernel[1] - 1, odd: 0 }
        } else {
            let half = outputs + kernel[1].div_ceil(2);
            Padded { rows, stride: 2 * half, odd: half }
        }
    }

    /// Its windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The same weights for other windows that differ in sizes of input and output and in the zeros before alone; the weights are shared.
    #[must_use]
    pub fn within(&self, window: Window) -> Depthwise {
        Depthwise { window, ..self.clone() }
    }

    /// Convolves one image.
    ///
    /// # Panics
    /// Where slices are shorter than the image and its outputs.
    pub fn run(&self, image: &[f32], out: &mut [f32], after: After<'_>) {
        let padded = self.padded();
        let mut copy = vec![0.0; padded.rows * padded.stride];
        let (area, pixels, places) = (self.window.area(), self.window.pixels(), self.window.places());
        for (channel, &bias) in self.bias.iter().enumerate() {
            self.pad(&image[channel * area..(channel + 1) * area], padded, &mut copy);
            let kernel = &self.kernel[channel * places..(channel + 1) * places];
            let span = channel * pixels..(channel + 1) * pixels;
            let after = After { residual: after.residual.map(|r| &r[span.clone()]), ..after };
            let out = &mut out[span];
            match (self.window.kernel[0], padded.odd) {
                (3, 0) => self.plane::<3, 9, false>(kernel, bias, padded, &copy, out, after),
                (3, _) => self.plane::<3, 9, true>(kernel, bias, padded, &copy, out, after),
                (_, 0) => self.plane::<5, 25, false>(kernel, bias, padded, &copy, out, after),
                _ => self.plane::<5, 25, true>(kernel, bias, padded, &copy, out, after),
            }
        }
    }

    /// Copies the part of a plane that windows reach; the zeros around it are there from the beginning.
    fn pad(&self, plane: &[f32], padded: Padded, copy: &mut [f32]) {
        let Window { input, before, .. } = self.window;
        for (row, to) in copy.chunks_exact_mut(padded.stride).enumerate() {
            let Some(from) = row.checked_sub(before[0]).filter(|row| *row < input[0]) else { continue };
            let line = &plane[from * input[1]..(from + 1) * input[1]];
            if padded.odd == 0 {
                let count = input[1].min(padded.stride - before[1]);
                spread(&line[..count], 1, &mut to[before[1]..before[1] + count]);
                continue;
            }
            let (even, odd) = to.split_at_mut(padded.odd);
            // Column c of the line is column c + before of the padded one.
            for (first, half) in [(before[1] % 2, even), (1 - before[1] % 2, odd)] {
                let place = (first + before[1]) / 2;
                let count = input[1].saturating_sub(first).div_ceil(2).min(half.len().saturating_sub(place));
                if count > 0 {
                    spread(&line[first..], 2, &mut half[place..place + count]);
                }
            }
        }
    }

    /// One channel.
    fn plane<const SIDE: usize, const PLACES: usize, const SPLIT: bool>(
        &self,
        kernel: &[f32],
        bias: f32,
        padded: Padded,
        copy: &[f32],
        out: &mut [f32],
        after: After<'_>,
    ) {
        let weights: [F32x4; PLACES] = std::array::from_fn(|place| F32x4::splat(kernel[place]));
        let bias = F32x4::splat(bias);
        let [rows, columns] = self.window.output;
        assert!(out.len() >= rows * columns && columns >= 4, "the output is too short");
        assert!(after.residual.is_none_or(|r| r.len() >= rows * columns), "the residual is too short");
        let bounds = after.bounds.map(|(low, high)| (F32x4::splat(low), F32x4::splat(high)));
        for row in 0..rows {
            let first = row * self.window.stride[0] * padded.stride;
            assert!(
                copy.len() >= first + (SIDE - 1) * padded.stride + padded.stride,
                "the copy is too short"
            );
            let mut column = 0;
            while column < columns {
                // The last vector overlaps the one before.
                let at = column.min(columns - 4);
                // SAFETY: a row of the copy has room for whole vectors of outputs and a window beyond (`padded`), and the
                // copy has the rows (asserted); outputs and residual have four at `at` (asserted).
                unsafe {
                    let from = copy.as_ptr().add(first + at);
                    let mut sum = bias;
                    for ky in 0..SIDE {
                        let line = from.add(ky * padded.stride);
                        for kx in 0..SIDE {
                            let place = if SPLIT { kx / 2 + kx % 2 * padded.odd } else { kx };
                            sum = sum + F32x4::load(line.add(place)) * weights[SIDE * ky + kx];
                        }
                    }
                    if let Some(residual) = after.residual {
                        sum = sum + F32x4::load(residual.as_ptr().add(row * columns + at));
                    }
                    if let Some((low, high)) = bounds {
                        sum = sum.above(low).below(high);
                    }
                    sum.store(out.as_mut_ptr().add(row * columns + at));
                }
                column += 4;
            }
        }
    }
}
