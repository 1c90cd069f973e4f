//! Sums and extremes along axes that lie together: of rows, or of columns that lie side by side.
//!
//! Rows are taken by sixteen lanes, which are then taken together; columns are taken four at a time, in blocks of rows, so that few
//! roundings are of a large sum.

use std::ops::Range;

use crate::lanes::F32x4;
use crate::units::parts;

/// Lines of columns that are taken together before they join what came before.
const LINES: usize = 32;

/// What numbers come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// The sum of their squares over how many there are.
    MeanOfSquares,
    /// The largest; none where one is none.
    Max,
    /// The smallest; none where one is none.
    Min,
    /// Their sum over how many there are.
    Mean,
}

impl Reduction {
    /// All of them. Their places are in images, so they never change.
    pub(crate) const ALL: [Reduction; 5] =
        [Reduction::Sum, Reduction::MeanOfSquares, Reduction::Max, Reduction::Min, Reduction::Mean];
}

/// A reduction along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    pub(crate) reduction: Reduction,
    /// Numbers along the axis.
    pub(crate) length: usize,
    /// From one number of the axis to the next.
    pub(crate) apart: usize,
}

impl Reduce {
    /// Of `length` numbers that lie `apart`: 1, or at least 4. None elsewhere.
    pub fn new(reduction: Reduction, length: usize, apart: usize) -> Option<Reduce> {
        let takes = (1..1 << 28).contains(&length) && (apart == 1 || (4..1 << 28).contains(&apart));
        takes.then_some(Reduce { reduction, length, apart })
    }

    /// Numbers that come to one, or to as many as lie side by side.
    pub fn part(&self) -> usize {
        self.length * self.apart
    }

    /// How many numbers become one.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Units that lie side by side in a part: the part itself, or four of its columns each.
    fn beside(&self) -> usize {
        if self.apart == 1 { 1 } else { self.apart.div_ceil(4) }
    }

    /// Into how many units so many numbers can be cut: rows, or fours of columns that lie side by side.
    pub fn units(&self, numbers: usize) -> usize {
        numbers / self.part() * self.beside()
    }

    /// What it takes for so many numbers.
    pub fn instructions(&self, numbers: usize) -> u64 {
        let parts = (numbers / self.part().max(1)) as u64;
        let each = match self.reduction {
            Reduction::Sum | Reduction::Mean => 8,
            Reduction::MeanOfSquares => 12,
            Reduction::Max | Reduction::Min => 15,
        };
        if self.apart == 1 {
            let tail = if self.length.is_multiple_of(4) { 0 } else { 40 };
            return 200 + parts * (120 + tail + each * (self.length / 4) as u64);
        }
        let fours = self.apart.div_ceil(4) as u64;
        200 + parts
            * (30 + fours * (100 + (each + 9) * self.length as u64 + 30 * self.length.div_ceil(LINES) as u64))
    }

    /// What each row, or column, of these units comes to.
    ///
    /// # Panics
    /// Where there are no whole parts, not as many outputs as they have, or not so many units.
    pub fn run(&self, x: &[f32], out: &mut [f32], units: Range<usize>) {
        let per = 1.0 / self.length as f32;
        match self.reduction {
            Reduction::Sum => self.with(x, out, units, 0.0, 1.0, |x| x, |a, b| a + b),
            Reduction::Mean => self.with(x, out, units, 0.0, per, |x| x, |a, b| a + b),
            Reduction::MeanOfSquares => self.with(x, out, units, 0.0, per, |x| x * x, |a, b| a + b),
            Reduction::Max => self.largest(x, out, units, 1.0),
            Reduction::Min => self.largest(x, out, units, -1.0),
        }
    }

    /// The largest numbers once all are times `sign`, 1 or -1, and what comes out again.
    fn largest(&self, x: &[f32], out: &mut [f32], units: Range<usize>, sign: f32) {
        let signs = F32x4::splat(sign);
        self.with(x, out, units, f32::NEG_INFINITY, sign, |x| x * signs, F32x4::max);
    }

    /// What numbers come to, times `factor`.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a reduction is these")]
    fn with(
        &self,
        x: &[f32],
        out: &mut [f32],
        units: Range<usize>,
        neutral: f32,
        factor: f32,
        map: impl Fn(F32x4) -> F32x4 + Copy,
        join: impl Fn(F32x4, F32x4) -> F32x4 + Copy,
    ) {
        let part = self.part();
        assert!(x.len().is_multiple_of(part) && out.len() == x.len() / self.length, "no whole rows");
        for (ix, beside) in parts(units, self.beside()) {
            let x = &x[ix * part..(ix + 1) * part];
            let out = &mut out[ix * self.apart..(ix + 1) * self.apart];
            if self.apart == 1 {
                out[0] = row(x, neutral, map, join) * factor;
            } else {
                columns(x, out, beside, neutral, factor, map, join);
            }
        }
    }
}

/// What the lanes come to.
#[inline(always)]
fn across(of: F32x4, join: impl Fn(F32x4, F32x4) -> F32x4) -> f32 {
    let [a, b, c, d] = of.lanes();
    let all = join(F32x4::of(&[a, c, a, c]), F32x4::of(&[b, d, b, d])).lanes();
    join(F32x4::splat(all[0]), F32x4::splat(all[1])).lanes()[0]
}

/// What a row comes to.
#[inline(always)]
fn row(
    x: &[f32],
    neutral: f32,
    map: impl Fn(F32x4) -> F32x4,
    join: impl Fn(F32x4, F32x4) -> F32x4 + Copy,
) -> f32 {
    let zero = neutral == 0.0;
    let mut all = [F32x4::splat(neutral); 4];
    let (sixteens, rest) = x.as_chunks::<16>();
    for sixteen in sixteens {
        for (ix, all) in all.iter_mut().enumerate() {
            *all = join(*all, map(F32x4::of(&sixteen[4 * ix..])));
        }
    }
    let mut all = join(join(all[0], all[1]), join(all[2], all[3]));
    let (fours, rest) = rest.as_chunks::<4>();
    for four in fours {
        all = join(all, map(F32x4::of(four)));
    }
    if !rest.is_empty() {
        // What is mapped again is 0 for sums, and changes no extreme.
        let mut lanes = [if zero { 0.0 } else { rest[0] }; 4];
        lanes[..rest.len()].copy_from_slice(rest);
        all = join(all, map(F32x4::of(&lanes)));
    }
    across(all, join)
}

/// What each of these fours of at least four columns comes to, times `factor`.
#[inline(always)]
fn columns(
    x: &[f32],
    out: &mut [f32],
    fours: Range<usize>,
    neutral: f32,
    factor: f32,
    map: impl Fn(F32x4) -> F32x4,
    join: impl Fn(F32x4, F32x4) -> F32x4,
) {
    let apart = out.len();
    let length = x.len() / apart;
    assert!(apart >= 4 && x.len() == length * apart, "four columns or more");
    let factor = F32x4::splat(factor);
    let mut next = 4 * fours.start;
    while next < apart.min(4 * fours.end) {
        // The last four columns overlap those before, which come out again.
        let first = next.min(apart - 4);
        next += 4;
        let mut all = F32x4::splat(neutral);
        let mut line = 0;
        while line < length {
            let end = (line + LINES).min(length);
            let mut block = F32x4::splat(neutral);
            while line < end {
                // SAFETY: four numbers from `first` on are in each of `length` lines of `apart` numbers (asserted).
                block = join(block, map(unsafe { F32x4::load(x.as_ptr().add(line * apart + first)) }));
                line += 1;
            }
            all = join(all, block);
        }
        // SAFETY: four outputs from `first` on are there.
        unsafe { (all * factor).store(out.as_mut_ptr().add(first)) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{in_units, many, numbers};

    /// In f64, one after the other.
    fn plain(reduction: Reduction, x: &[f64]) -> f64 {
        let extreme = |larger: bool| {
            let begin = if larger { f64::NEG_INFINITY } else { f64::INFINITY };
            x.iter().fold(begin, |best, x| {
                if best.is_nan() || x.is_nan() {
                    f64::NAN
                } else if larger {
                    best.max(*x)
                } else {
                    best.min(*x)
                }
            })
        };
        match reduction {
            Reduction::Sum => x.iter().sum(),
            Reduction::MeanOfSquares => x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64,
            Reduction::Max => extreme(true),
            Reduction::Min => extreme(false),
            Reduction::Mean => x.iter().sum::<f64>() / x.len() as f64,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_reduction_is_its_definition(
            which in 0usize..5, length in 1usize..80, apart in prop_oneof![Just(1usize), 4usize..12], parts in 1usize..4,
            hole: bool, seed: u64,
        ) {
            let mut x = many(parts * length * apart, &mut numbers(seed));
            if hole {
                x[(seed % (length as u64)) as usize] = f32::NAN;
            }
            let reduction = Reduction::ALL[which];
            let mut out = vec![9.0; parts * apart];
            let reduce = Reduce::new(reduction, length, apart).unwrap();
            in_units(reduce.units(x.len()), seed, |units| reduce.run(&x, &mut out, units));
            for (at, out) in out.iter().enumerate() {
                let (part, column) = (at / apart, at % apart);
                let all: Vec<f64> =
                    (0..length).map(|ix| f64::from(x[(part * length + ix) * apart + column])).collect();
                let expected = plain(reduction, &all);
                let same = out.is_nan() && expected.is_nan() || (f64::from(*out) - expected).abs() <= 4e-6;
                prop_assert!(same, "{out} for {expected}");
            }
        }
    }

    #[test]
    fn of_one_number_it_is_that() {
        for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Mean] {
            let mut out = [0.0; 2];
            Reduce::new(reduction, 1, 1).unwrap().run(&[-2.5, f32::INFINITY], &mut out, 0..2);
            assert_eq!(out, [-2.5, f32::INFINITY], "{reduction:?}");
        }
        assert_eq!(Reduce::new(Reduction::Sum, 3, 2), None);
    }
}
