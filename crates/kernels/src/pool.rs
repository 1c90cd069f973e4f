//! Maxima of windows over planes, and every so many pixels of planes.
//!
//! A window's maximum is that of its columns' maxima: rows are first taken together into a line, four pixels at a time, then
//! the line's neighbours. Comparisons are `pmax` (1) and not `max` (4); what is no number is smaller than all others.

use std::ops::Range;

use crate::conv::spread;
use crate::lanes::F32x4;
use crate::units::parts;
use crate::window::Window;

/// Rows that are taken into the line at a time.
const ROWS: usize = 3;

/// The largest number of each window, over planes.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool {
    pub(crate) window: Window,
}

impl MaxPool {
    /// Windows that are computed here: without gaps, moving by one or two across.
    pub fn takes(window: &Window) -> bool {
        window.dilation == [1, 1] && matches!(window.stride[1], 1 | 2) && window.stride[0] > 0
    }

    /// The maxima of these windows.
    ///
    /// # Panics
    /// Where they are not among those that it takes.
    pub fn new(window: Window) -> MaxPool {
        assert!(Self::takes(&window), "{window:?} is no window of maxima");
        MaxPool { window }
    }

    /// Columns that windows reach: at least four, so that a vector of them is there.
    fn reached(&self) -> usize {
        let Window { output, stride, kernel, .. } = self.window;
        (output[1] - 1) * stride[1] + kernel[1]
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        4 * self.reached()
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
        let above = (kernel[0].div_ceil(ROWS) * input[1].div_ceil(4)) as u64 * 38;
        let across = output[1].div_ceil(4) as u64 * (20 + 20 * kernel[1] as u64);
        let row = 300 + 4 * input[1] as u64 + above + across;
        500 + planes as u64 * (60 + output[0] as u64 * row)
    }

    /// The maxima of these rows of as many planes as there are: about 12 instructions each for 3 × 3 that move by two.
    ///
    /// # Panics
    /// Where there are not as many outputs as the planes have, or not so many rows.
    pub fn run(&self, planes: &[f32], out: &mut [f32], units: Range<usize>) {
        let Window { input, kernel, stride, before, output, .. } = self.window;
        if self.window.area() == 0 || self.window.pixels() == 0 {
            return;
        }
        let mut line = vec![f32::MIN; self.reached()];
        let count = input[1].min(line.len().saturating_sub(before[1]));
        let (area, pixels) = (self.window.area(), self.window.pixels());
        assert!(self.fits(planes.len(), out.len()), "outputs of other planes");
        for (ix, rows) in parts(units, output[0]) {
            let (plane, out) =
                (&planes[ix * area..(ix + 1) * area], &mut out[ix * pixels..(ix + 1) * pixels]);
            for row in rows {
                let out = &mut out[row * output[1]..(row + 1) * output[1]];
                let top = row * stride[0];
                let seen = top.max(before[0])..(top + kernel[0]).min(before[0] + input[0]);
                let line_of = |row: usize| &plane[(row - before[0]) * input[1]..][..count];
                let between = line.len().min(before[1])..line.len().min(before[1]) + count;
                line[between.clone()].fill(f32::MIN);
                let mut at = seen.start;
                while at < seen.end {
                    // The last row again where there are fewer: it changes nothing.
                    let rows = [at, at + 1, at + 2].map(|row| line_of(row.min(seen.end - 1)));
                    above(rows, &mut line[between.clone()]);
                    at += ROWS;
                }
                across(&line, kernel[1], stride[1], out);
            }
        }
    }
}

/// Takes the rows into the line, which is no longer than they are.
fn above(rows: [&[f32]; ROWS], line: &mut [f32]) {
    let length = line.len();
    assert!(rows.iter().all(|row| row.len() >= length), "a row is shorter than its line");
    if length < 4 {
        for row in rows {
            line.iter_mut().zip(row).for_each(|(most, x)| *most = larger(*most, *x));
        }
        return;
    }
    let rows = rows.map(<[f32]>::as_ptr);
    let to = line.as_mut_ptr();
    let mut at = 0;
    while at < length {
        // The last four overlap those before: a maximum taken again is the same.
        let first = at.min(length - 4);
        // SAFETY: four numbers from `first` on are in the line and in every row (asserted).
        unsafe {
            let most = F32x4::load(to.add(first)).above(F32x4::load(rows[0].add(first)));
            let most = most.above(F32x4::load(rows[1].add(first))).above(F32x4::load(rows[2].add(first)));
            most.store(to.add(first));
        }
        at += 4;
    }
}

/// The maxima of `width` neighbours on the line, `stride` (1 or 2) apart.
fn across(line: &[f32], width: usize, stride: usize, out: &mut [f32]) {
    let length = out.len();
    if length < 4 {
        for (at, out) in out.iter_mut().enumerate() {
            *out = line[at * stride..at * stride + width].iter().fold(f32::MIN, |most, x| larger(most, *x));
        }
        return;
    }
    assert!(line.len() >= (length - 1) * stride + width && width > 0, "the line is shorter than its windows");
    let (from, to) = (line.as_ptr(), out.as_mut_ptr());
    let mut at = 0;
    while at < length {
        let first = at.min(length - 4);
        let mut most = F32x4::splat(f32::MIN);
        for x in 0..width {
            // SAFETY: the windows of four outputs from `first` on are on the line (asserted): of those that move by two,
            // the last is seven numbers from the first.
            unsafe {
                let seen = from.add(first * stride + x);
                most = most.above(if stride == 1 {
                    F32x4::load(seen)
                } else {
                    F32x4::load(seen).even_of_seven(F32x4::load(seen.add(3)))
                });
            }
        }
        // SAFETY: four outputs from `first` on are there.
        unsafe { most.store(to.add(first)) };
        at += 4;
    }
}

fn larger(most: f32, x: f32) -> f32 {
    if most < x { x } else { most }
}

/// Of planes of `[rows, columns]` every `stride`-th row and column, from `first` on: about 4 instructions a pixel.
///
/// # Panics
/// Where slices are no whole planes, or not equally many.
pub fn pick(
    planes: &[f32],
    [rows, columns]: [usize; 2],
    stride: [usize; 2],
    first: [usize; 2],
    out: &mut [f32],
) {
    let count = |axis: usize, length: usize| length.saturating_sub(first[axis]).div_ceil(stride[axis]);
    let (down, along) = (count(0, rows), count(1, columns));
    if down * along == 0 {
        return;
    }
    assert!(planes.len() / (rows * columns) == out.len() / (down * along), "as many planes as there were");
    for (plane, out) in planes.chunks_exact(rows * columns).zip(out.chunks_exact_mut(down * along)) {
        for (row, out) in out.chunks_exact_mut(along).enumerate() {
            let line = (first[0] + row * stride[0]) * columns;
            spread(&plane[line + first[1]..line + columns], stride[1], out);
        }
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
        fn a_maximum_is_its_definition(
            input in [1usize..20, 1usize..20], kernel in [1usize..5, 1usize..5], stride in [1usize..4, 1usize..3],
            before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3], planes in 1usize..4, holes: bool, seed: u64,
        ) {
            let size = |axis: usize| outputs(input[axis], kernel[axis], stride[axis], 1, before[axis] + behind[axis]);
            let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
            let window = Window { input, kernel, stride, dilation: [1, 1], before, output: [height, width] };
            let mut next = numbers(seed);
            let mut image = many(planes * window.area(), &mut next);
            if holes {
                image.iter_mut().step_by(3).for_each(|x| *x = f32::NAN);
            }
            let mut out = vec![9.0; planes * window.pixels()];
            let pool = MaxPool::new(window);
            in_units(pool.units(image.len()), seed, |units| pool.run(&image, &mut out, units));
            for (at, out) in out.iter().enumerate() {
                let (plane, oy, ox) = (at / window.pixels(), at % window.pixels() / width, at % width);
                let mut most = f32::MIN;
                for y in (oy * stride[0]).max(before[0])..(oy * stride[0] + kernel[0]).min(before[0] + input[0]) {
                    for x in (ox * stride[1]).max(before[1])..(ox * stride[1] + kernel[1]).min(before[1] + input[1]) {
                        let seen = image[(plane * input[0] + y - before[0]) * input[1] + x - before[1]];
                        most = most.max(seen);
                    }
                }
                prop_assert_eq!(*out, most);
            }
        }

        #[test]
        fn picked_pixels_are_those_of_the_plane(
            input in [1usize..20, 1usize..20], stride in [1usize..4, 1usize..4], first in [0usize..3, 0usize..3],
            planes in 1usize..4, seed: u64,
        ) {
            let image = many(planes * input[0] * input[1], &mut numbers(seed));
            let expected: Vec<f32> = (image.iter().enumerate())
                .filter(|(at, _)| {
                    let (y, x) = (at / input[1] % input[0], at % input[1]);
                    y >= first[0] && x >= first[1] && (y - first[0]) % stride[0] == 0 && (x - first[1]) % stride[1] == 0
                })
                .map(|(_, x)| *x)
                .collect();
            let mut out = vec![9.0; expected.len()];
            pick(&image, input, stride, first, &mut out);
            prop_assert_eq!(out, expected);
        }
    }
}
