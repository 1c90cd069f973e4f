//! Images resized: along one axis after the other, each output being a few numbers of its line by their weights.

use std::ops::Range;

use crate::lanes::F32x4;
use crate::room::unwritten;
use crate::units::parts;

/// The most numbers that one is made of.
const TAPS: usize = 16;

/// One axis, resized: of `[outer, input, inner]` numbers `[outer, outputs, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub(crate) input: usize,
    pub(crate) inner: usize,
    /// How many numbers each output is made of.
    pub(crate) taps: usize,
    /// Where they are along the axis, those of each output one behind the other.
    pub(crate) places: Vec<usize>,
    /// As many weights.
    pub(crate) weights: Vec<f32>,
}

impl Axis {
    /// An axis of `input` places and what lies within one of them, each output being made of `taps`. None where lengths do not go
    /// together, or a place is not there.
    pub fn new([input, inner, taps]: [usize; 3], places: Vec<usize>, weights: Vec<f32>) -> Option<Axis> {
        let fits = (1..1 << 28).contains(&input)
            && (1..1 << 28).contains(&inner)
            && (1..=TAPS).contains(&taps)
            && !places.is_empty()
            && places.len().is_multiple_of(taps)
            && weights.len() == places.len()
            && places.iter().all(|place| *place < input)
            && input.checked_mul(inner).and_then(|all| all.checked_mul(taps)).is_some();
        fits.then_some(Axis { input, inner, taps, places, weights })
    }

    fn outputs(&self) -> usize {
        self.places.len() / self.taps
    }

    /// How many numbers come of so many.
    fn given(&self, numbers: usize) -> usize {
        numbers / self.input * self.outputs()
    }

    /// Instructions for so many outputs.
    fn instructions(&self, given: usize) -> u64 {
        let taps = self.taps as u64;
        if self.inner < 4 {
            return given as u64 * (60 + 20 * taps);
        }
        let lines = (given / self.inner) as u64;
        lines * (30 + 12 * taps + self.inner.div_ceil(4) as u64 * (9 + 9 * taps))
    }

    fn run(&self, x: &[f32], out: &mut [f32]) {
        let (part, given) = (self.input * self.inner, self.outputs() * self.inner);
        assert!(x.len() / part == out.len() / given, "as many parts as there were");
        for (x, out) in x.chunks_exact(part).zip(out.chunks_exact_mut(given)) {
            if self.inner == 1 {
                self.one_by_one(x, out);
                continue;
            }
            let taps = self.places.chunks_exact(self.taps).zip(self.weights.chunks_exact(self.taps));
            for (out, (places, weights)) in out.chunks_exact_mut(self.inner).zip(taps) {
                if self.inner < 4 {
                    for (within, out) in out.iter_mut().enumerate() {
                        let mut sum = 0.0;
                        for (place, weight) in places.iter().zip(weights) {
                            sum += weight * x[place * self.inner + within];
                        }
                        *out = sum;
                    }
                } else {
                    line(x, places, weights, out);
                }
            }
        }
    }
}

impl Axis {
    /// The outputs of one row, whose numbers lie side by side.
    fn one_by_one(&self, x: &[f32], out: &mut [f32]) {
        assert!(x.len() >= self.input && out.len() == self.outputs(), "a row and its outputs");
        let (mut places, mut weights) = (self.places.as_ptr(), self.weights.as_ptr());
        for out in out {
            let mut sum = 0.0;
            for _ in 0..self.taps {
                // SAFETY: there are as many places and weights as outputs times taps, and every place is one of the input's
                // (`Axis::new`), of which the row has as many.
                unsafe {
                    sum += *weights * *x.get_unchecked(*places);
                    places = places.add(1);
                    weights = weights.add(1);
                }
            }
            *out = sum;
        }
    }
}

/// A line of at least four that is lines by their weights.
fn line(x: &[f32], places: &[usize], weights: &[f32], out: &mut [f32]) {
    let length = out.len();
    let there = places.iter().all(|place| x.len() >= (place + 1) * length);
    assert!(length >= 4 && there && weights.len() == places.len(), "lines of four or more");
    let mut at = 0;
    while at < length {
        // The last four overlap those before, which come out again.
        let first = at.min(length - 4);
        let mut sum = F32x4::splat(0.0);
        for (place, weight) in places.iter().zip(weights) {
            // SAFETY: four numbers from `first` on are in each line (asserted).
            sum =
                sum + F32x4::splat(*weight) * unsafe { F32x4::load(x.as_ptr().add(place * length + first)) };
        }
        // SAFETY: as above, of the output.
        unsafe { sum.store(out.as_mut_ptr().add(first)) };
        at += 4;
    }
}

/// Axes that are resized, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Resample {
    pub(crate) numbers: usize,
    pub(crate) axes: Vec<Axis>,
}

impl Resample {
    /// Of so many numbers, along these axes in their order. None where they do not go together.
    pub fn new(numbers: usize, axes: Vec<Axis>) -> Option<Resample> {
        let mut count = numbers;
        for axis in &axes {
            if count == 0 || count >= 1 << 29 || !count.is_multiple_of(axis.input * axis.inner) {
                return None;
            }
            count = (count / axis.input).checked_mul(axis.outputs())?;
        }
        ((1..1 << 29).contains(&count) && (1..=8).contains(&axes.len())).then_some(Resample { numbers, axes })
    }

    /// Numbers that it reads.
    pub fn numbers(&self) -> usize {
        self.numbers
    }

    /// Numbers that it gives.
    pub fn given(&self) -> usize {
        self.axes.iter().fold(self.numbers, |count, axis| axis.given(count))
    }

    /// Bytes that a run takes beside its operands.
    pub fn scratch(&self) -> usize {
        let mut count = self.numbers;
        let counts = self.axes.iter().map(|axis| {
            count = axis.given(count);
            count
        });
        let all: Vec<usize> = counts.collect();
        4 * all[..all.len() - 1].iter().sum::<usize>()
    }

    /// What a run takes.
    pub fn instructions(&self) -> u64 {
        let (mut count, mut sum) = (self.numbers, 500);
        for axis in &self.axes {
            count = axis.given(count);
            sum += 400 + axis.instructions(count);
        }
        sum
    }

    /// Images that are resized each by itself, and places of each that are: those of the first axis where that is the outermost.
    fn parts(&self) -> [usize; 2] {
        let mut count = self.numbers;
        let outer = self.axes.iter().map(|axis| {
            let outer = count / (axis.input * axis.inner);
            count = axis.given(count);
            outer
        });
        let outer: Vec<usize> = outer.collect();
        let images = outer.iter().copied().min().unwrap_or(1);
        [images, if outer.first() == Some(&images) { self.axes[0].outputs() } else { 1 }]
    }

    /// Into how many units it can be cut: lines of outputs of the outermost axis, or whole images.
    pub fn units(&self) -> usize {
        self.parts().iter().product()
    }

    /// Resizes, as far as these units go.
    ///
    /// # Panics
    /// Where slices are not as long as said, or there are not so many units.
    pub fn run(&self, x: &[f32], out: &mut [f32], units: Range<usize>) {
        assert!(x.len() == self.numbers && out.len() == self.given(), "an image of another size");
        let [images, places] = self.parts();
        let (read, given) = (x.len() / images, out.len() / images);
        // Images that are whole are resized together.
        let (first, end) = (units.start.div_ceil(places), units.end / places);
        if first < end {
            along(&self.axes, &x[first * read..end * read], &mut out[first * given..end * given]);
        }
        for (ix, wanted) in parts(units, places).filter(|(_, wanted)| wanted.len() < places) {
            let Some((outermost, within)) = self.axes.split_first() else { return };
            let taps = wanted.start * outermost.taps..wanted.end * outermost.taps;
            let places_of = outermost.places[taps.clone()].to_vec();
            let mut axes =
                vec![Axis { places: places_of, weights: outermost.weights[taps].to_vec(), ..*outermost }];
            axes.extend_from_slice(within);
            let line = given / places;
            let out = &mut out[ix * given..(ix + 1) * given];
            along(&axes, &x[ix * read..(ix + 1) * read], &mut out[wanted.start * line..wanted.end * line]);
        }
    }
}

/// Resizes along these axes, one after the other.
fn along(axes: &[Axis], x: &[f32], out: &mut [f32]) {
    let Some((last, before)) = axes.split_last() else { return };
    let mut made: Option<Vec<f32>> = None;
    for axis in before {
        let from = made.as_deref().unwrap_or(x);
        // SAFETY: each output is written by the axis before it is read.
        let mut to = unsafe { unwritten(axis.given(from.len())) };
        axis.run(from, &mut to);
        made = Some(to);
    }
    last.run(made.as_deref().unwrap_or(x), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{in_units, many, numbers};

    proptest! {
        #[test]
        fn each_output_is_its_numbers_by_their_weights(
            outer in 1usize..3, input in 1usize..9, inner in 1usize..9, taps in 1usize..4, outputs in 1usize..9, seed: u64,
        ) {
            let mut next = numbers(seed);
            let places: Vec<usize> =
                (0..outputs * taps).map(|_| (next().abs() * input as f32) as usize % input).collect();
            let weights = many(outputs * taps, &mut next);
            let x = many(outer * input * inner, &mut next);
            let axis = Axis::new([input, inner, taps], places.clone(), weights.clone()).unwrap();
            let resample = Resample::new(x.len(), vec![axis]).unwrap();
            let mut out = vec![9.0; resample.given()];
            in_units(resample.units(), seed, |units| resample.run(&x, &mut out, units));
            prop_assert_eq!(out.len(), outer * outputs * inner);
            for (at, out) in out.iter().enumerate() {
                let (within, output, outer) = (at % inner, at / inner % outputs, at / inner / outputs);
                let mut expected = 0.0;
                for tap in output * taps..(output + 1) * taps {
                    expected += weights[tap] * x[(outer * input + places[tap]) * inner + within];
                }
                prop_assert_eq!(*out, expected);
            }
        }
    }

    #[test]
    fn axes_follow_one_another() {
        // Twice as wide, then half as high.
        let wide = Axis::new([2, 1, 1], vec![0, 0, 1, 1], vec![1.0; 4]).unwrap();
        let low = Axis::new([2, 4, 2], vec![0, 1], vec![0.5, 0.5]).unwrap();
        let resample = Resample::new(4, vec![wide.clone(), low]).unwrap();
        let mut out = [0.0; 4];
        in_units(resample.units(), 5, |units| resample.run(&[1.0, 2.0, 3.0, 6.0], &mut out, units));
        assert_eq!(out, [2.0, 2.0, 4.0, 4.0]);
        assert_eq!(resample.scratch(), 4 * 8);
        assert_eq!(Resample::new(3, vec![wide]), None);
        assert_eq!(Axis::new([2, 1, 1], vec![2], vec![1.0]), None);
    }
}
