//! Means of windows over planes.
//!
//! A window's sum is that of its columns' sums: rows are first added into a line, four pixels at a time, then the line's neighbours. What
//! lies outside of the image is zeros on the line; how many numbers a mean is of follows from its place along each axis.

use std::ops::Range;

use crate::lanes::F32x4;
use crate::pool::MaxPool;
use crate::units::parts;
use crate::window::Window;

/// The mean, or the sum, of each window, over planes.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanPool {
    pub(crate) window: Window,
    /// Of what means are.
    pub(crate) of: Mean,
}

/// What a window's sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mean {
    /// Nothing: sums are asked for.
    Sum,
    /// How many of its numbers are in the image.
    Image,
    /// How many are in the image and the zeros around it, which are so long and wide together.
    Padded([usize; 2]),
}

impl MeanPool {
    /// Windows that are computed here: those of [`MaxPool`].
    pub fn takes(window: &Window) -> bool {
        MaxPool::takes(window)
    }

    /// The means of these windows.
    ///
    /// # Panics
    /// Where they are not among those that it takes.
    pub fn new(window: Window, of: Mean) -> MeanPool {
        assert!(Self::takes(&window), "{window:?} is no window of means");
        MeanPool { window, of }
    }

    /// Columns that windows reach.
    fn reached(&self) -> usize {
        let Window { output, stride, kernel, .. } = self.window;
        (output[1].max(1) - 1) * stride[1] + kernel[1]
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        4 * (self.reached() + self.window.output[1])
    }

    /// Pixels of a plane.
    pub fn area(&self) -> usize {
        self.window.area()
    }

    /// Pixels of what a plane gives.
    pub fn pixels(&self) -> usize {
        self.window.pixels()
    }

    /// Whether so many numbers are planes whose outputs are so many.
    pub fn fits(&self, planes: usize, outputs: usize) -> bool {
        let (area, pixels) = (self.window.area(), self.window.pixels());
        area * pixels > 0 && planes.is_multiple_of(area) && planes / area * pixels == outputs
    }

    /// Into how many units so many numbers of planes can be cut: rows of outputs.
    pub fn units(&self, numbers: usize) -> usize {
        numbers / self.window.area().max(1) * self.window.output[0]
    }

    /// What so many planes take.
    pub fn instructions(&self, planes: usize) -> u64 {
        let Window { input, kernel, output, .. } = self.window;
        let above = kernel[0] as u64 * (60 + 21 * input[1].div_ceil(4) as u64);
        let across = output[1].div_ceil(4) as u64 * (36 + 22 * kernel[1] as u64);
        let row = 300 + self.reached() as u64 + above + across;
        800 + 20 * output[1] as u64 + planes as u64 * (60 + output[0] as u64 * row)
    }

    /// How many numbers the window at place `at` along `axis` has.
    fn count(&self, axis: usize, at: usize) -> usize {
        let Window { input, kernel, stride, before, .. } = self.window;
        let (from, to) = match self.of {
            Mean::Sum => return 1,
            Mean::Image => (before[axis], before[axis] + input[axis]),
            Mean::Padded(padded) => (0, padded[axis]),
        };
        let start = at * stride[axis];
        (start + kernel[axis]).min(to).saturating_sub(start.max(from))
    }

    /// The means of these rows of as many planes as there are: about 18 instructions each for 2 × 2 that move by two.
    ///
    /// # Panics
    /// Where there are not as many outputs as the planes have, or not so many rows.
    pub fn run(&self, planes: &[f32], out: &mut [f32], units: Range<usize>) {
        let Window { input, kernel, stride, before, output, .. } = self.window;
        if self.window.area() == 0 || self.window.pixels() == 0 {
            return;
        }
        let mut line = vec![0f32; self.reached()];
        let shares: Vec<f32> = (0..output[1]).map(|at| (self.count(1, at) as f32).recip()).collect();
        let count = input[1].min(line.len().saturating_sub(before[1]));
        let between = line.len().min(before[1])..line.len().min(before[1]) + count;
        let (area, pixels) = (self.window.area(), self.window.pixels());
        assert!(self.fits(planes.len(), out.len()), "outputs of other planes");
        for (ix, rows) in parts(units, output[0]) {
            let (plane, out) =
                (&planes[ix * area..(ix + 1) * area], &mut out[ix * pixels..(ix + 1) * pixels]);
            for row in rows {
                let out = &mut out[row * output[1]..(row + 1) * output[1]];
                let top = row * stride[0];
                line.fill(0.0);
                for y in top.max(before[0])..(top + kernel[0]).min(before[0] + input[0]) {
                    add(&plane[(y - before[0]) * input[1]..][..count], &mut line[between.clone()]);
                }
                let part = (self.count(0, row) as f32).recip();
                across(&line, kernel[1], stride[1], (part, &shares), out);
            }
        }
    }
}

/// Adds a row to the line, which is as long.
fn add(row: &[f32], line: &mut [f32]) {
    assert!(row.len() == line.len(), "a row is as long as its line");
    let vectors = line.len() / 4 * 4;
    let (from, to) = (row.as_ptr(), line.as_mut_ptr());
    let mut at = 0;
    while at < vectors {
        // SAFETY: four numbers from `at` on are in both.
        unsafe { (F32x4::load(to.add(at)) + F32x4::load(from.add(at))).store(to.add(at)) };
        at += 4;
    }
    for (line, row) in line[vectors..].iter_mut().zip(&row[vectors..]) {
        *line += row;
    }
}

/// The sums of `width` neighbours on the line, `stride` (1 or 2) apart, times the row's part and each column's.
fn across(line: &[f32], width: usize, stride: usize, (part, parts): (f32, &[f32]), out: &mut [f32]) {
    let length = out.len();
    assert!(parts.len() == length, "a part for each column");
    if length < 4 {
        for (at, (out, own)) in out.iter_mut().zip(parts).enumerate() {
            *out = line[at * stride..at * stride + width].iter().fold(0.0, |sum, x| sum + x) * (part * own);
        }
        return;
    }
    assert!(line.len() >= (length - 1) * stride + width && width > 0, "the line is shorter than its windows");
    let (from, own, to) = (line.as_ptr(), parts.as_ptr(), out.as_mut_ptr());
    let mut at = 0;
    while at < length {
        // The last four overlap those before: they come out the same.
        let first = at.min(length - 4);
        let mut sum = F32x4::splat(0.0);
        for x in 0..width {
            // SAFETY: the windows of four outputs from `first` on are on the line (asserted): of those that move by two,
            // the last is seven numbers from the first.
            unsafe {
                let seen = from.add(first * stride + x);
                sum = sum
                    + if stride == 1 {
                        F32x4::load(seen)
                    } else {
                        F32x4::load(seen).even_of_seven(F32x4::load(seen.add(3)))
                    };
            }
        }
        // SAFETY: four parts and four outputs from `first` on are there.
        unsafe { (sum * (F32x4::splat(part) * F32x4::load(own.add(first)))).store(to.add(first)) };
        at += 4;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conv::tests::outputs;
    use crate::random::{in_units, many, numbers};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_mean_is_its_definition(
            input in [1usize..20, 1usize..20], kernel in [1usize..5, 1usize..5], stride in [1usize..4, 1usize..3],
            before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3], planes in 1usize..4, how in 0usize..3, seed: u64,
        ) {
            // Windows that see nothing of the image have no mean.
            let before = [0, 1].map(|axis: usize| before[axis].min(kernel[axis] - 1));
            let behind = [0, 1].map(|axis: usize| behind[axis].min(kernel[axis] - 1));
            let size = |axis: usize| outputs(input[axis], kernel[axis], stride[axis], 1, before[axis] + behind[axis]);
            let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
            let window = Window { input, kernel, stride, dilation: [1, 1], before, output: [height, width] };
            let padded = [0, 1].map(|axis: usize| before[axis] + input[axis] + behind[axis]);
            let of = [Mean::Sum, Mean::Image, Mean::Padded(padded)][how];
            let image = many(planes * window.area(), &mut numbers(seed));
            let mut out = vec![9.0; planes * window.pixels()];
            let pool = MeanPool::new(window, of);
            in_units(pool.units(image.len()), seed, |units| pool.run(&image, &mut out, units));
            for (at, out) in out.iter().enumerate() {
                let (plane, oy, ox) = (at / window.pixels(), at % window.pixels() / width, at % width);
                let (mut sum, mut inside, mut around) = (0f64, 0, 0);
                for y in oy * stride[0]..oy * stride[0] + kernel[0] {
                    for x in ox * stride[1]..ox * stride[1] + kernel[1] {
                        around += usize::from(y < padded[0] && x < padded[1]);
                        let (y, x) = (y.wrapping_sub(before[0]), x.wrapping_sub(before[1]));
                        if y < input[0] && x < input[1] {
                            sum += f64::from(image[(plane * input[0] + y) * input[1] + x]);
                            inside += 1;
                        }
                    }
                }
                let expected = sum / [1, inside, around][how] as f64;
                prop_assert!((f64::from(*out) - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{} of {}", out, expected);
            }
        }
    }
}
