//! Softmax: e to the power of each number of a row, over their sum.
//!
//! A row goes by three times: for its largest number, for the powers and their sum, and to be divided. Rows whose numbers lie apart are
//! taken four side by side.

use std::ops::Range;

use crate::lanes::F32x4;
use crate::maths::exp_below;
use crate::units::parts;

/// Softmax along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Numbers along the axis.
    pub(crate) length: usize,
    /// From one number of the axis to the next.
    pub(crate) apart: usize,
}

impl Softmax {
    /// Along `length` numbers that lie `apart`: 1, or at least 4. None elsewhere.
    pub fn new(length: usize, apart: usize) -> Option<Softmax> {
        let takes = (1..1 << 28).contains(&length) && (apart == 1 || (4..1 << 28).contains(&apart));
        takes.then_some(Softmax { length, apart })
    }

    /// Numbers of a part that is computed by itself: a row, or the rows that lie side by side.
    pub fn part(&self) -> usize {
        self.length * self.apart
    }

    /// Units that lie side by side in a part: the part itself, or four of its rows each.
    fn beside(&self) -> usize {
        if self.apart == 1 { 1 } else { self.apart.div_ceil(4) }
    }

    /// Into how many units so many numbers can be cut: rows, or fours of rows that lie side by side.
    pub fn units(&self, numbers: usize) -> usize {
        numbers / self.part() * self.beside()
    }

    /// What it takes for so many numbers.
    pub fn instructions(&self, numbers: usize) -> u64 {
        let parts = (numbers / self.part().max(1)) as u64;
        if self.apart > 1 {
            let fours = self.apart.div_ceil(4) as u64;
            return 200 + parts * (40 + fours * (70 + 120 * self.length as u64));
        }
        let (fours, tail) = ((self.length / 4) as u64, !self.length.is_multiple_of(4));
        200 + parts * (180 + 104 * fours + if tail { 200 } else { 0 })
    }

    /// The softmax of each row of these units.
    ///
    /// # Panics
    /// Where there are no whole rows, fewer outputs than numbers, or not so many units.
    pub fn run(&self, x: &[f32], out: &mut [f32], units: Range<usize>) {
        let part = self.part();
        assert!(x.len().is_multiple_of(part) && out.len() == x.len(), "no whole rows");
        for (ix, beside) in parts(units, self.beside()) {
            let (x, out) = (&x[ix * part..(ix + 1) * part], &mut out[ix * part..(ix + 1) * part]);
            match (self.apart, self.length) {
                (1, 0..4) => short(x, out),
                (1, _) => row(x, out),
                _ => columns(x, self.apart, out, beside),
            }
        }
    }
}

/// A row of fewer than four.
fn short(x: &[f32], out: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; 4];
    lanes[..x.len()].copy_from_slice(x);
    let all = F32x4::of(&lanes);
    let powers = exp_below(all - F32x4::splat(largest(all)));
    let powers = powers * F32x4::splat(1.0 / sum(powers));
    out.copy_from_slice(&powers.lanes()[..x.len()]);
}

/// The largest lane.
#[inline(always)]
fn largest(of: F32x4) -> f32 {
    let [a, b, c, d] = of.lanes();
    let larger = |a: f32, b: f32| if a < b { b } else { a };
    larger(larger(a, b), larger(c, d))
}

/// The lanes' sum.
#[inline(always)]
pub(crate) fn sum(of: F32x4) -> f32 {
    let [a, b, c, d] = of.lanes();
    (a + b) + (c + d)
}

/// Zeros in the place of those of the last four numbers of a row of `length` that are not new, whole fours having been taken.
#[inline(always)]
pub(crate) fn new_lanes(last: F32x4, length: usize) -> F32x4 {
    const ALL: f32 = f32::from_bits(u32::MAX);
    const NEW: [f32; 7] = [0.0, 0.0, 0.0, 0.0, ALL, ALL, ALL];
    last.masked(F32x4::of(&NEW[length % 4..]))
}

/// A row of at least four.
#[inline(never)]
fn row(x: &[f32], out: &mut [f32]) {
    let length = x.len();
    assert!(length >= 4 && out.len() == length, "a row of four or more");
    let (from, to) = (x.as_ptr(), out.as_mut_ptr());
    let (fours, last) = (length / 4 * 4, length - 4);
    // SAFETY: four numbers from every place below `fours` that is a multiple of four, and from `last`, are in both (asserted).
    unsafe {
        let mut most = F32x4::load(from.add(last));
        let mut at = 0;
        while at + 16 <= fours {
            let a = from.add(at);
            let four = F32x4::load(a).above(F32x4::load(a.add(4))).above(F32x4::load(a.add(8)));
            most = most.above(four.above(F32x4::load(a.add(12))));
            at += 16;
        }
        while at < fours {
            most = most.above(F32x4::load(from.add(at)));
            at += 4;
        }
        let most = F32x4::splat(largest(most));
        let mut total = F32x4::splat(0.0);
        at = 0;
        while at + 8 <= fours {
            let (a, b) = (from.add(at), to.add(at));
            let first = exp_below(F32x4::load(a) - most);
            first.store(b);
            let second = exp_below(F32x4::load(a.add(4)) - most);
            second.store(b.add(4));
            total = total + (first + second);
            at += 8;
        }
        if at < fours {
            let power = exp_below(F32x4::load(from.add(at)) - most);
            power.store(to.add(at));
            total = total + power;
        }
        if fours < length {
            // Those before `fours` come out again.
            let power = exp_below(F32x4::load(from.add(last)) - most);
            power.store(to.add(last));
            total = total + new_lanes(power, length);
        }
        let factor = F32x4::splat(1.0 / sum(total));
        let behind = F32x4::load(to.add(last)) * factor;
        at = 0;
        while at + 16 <= fours {
            let b = to.add(at);
            (F32x4::load(b) * factor).store(b);
            (F32x4::load(b.add(4)) * factor).store(b.add(4));
            (F32x4::load(b.add(8)) * factor).store(b.add(8));
            (F32x4::load(b.add(12)) * factor).store(b.add(12));
            at += 16;
        }
        while at < fours {
            (F32x4::load(to.add(at)) * factor).store(to.add(at));
            at += 4;
        }
        behind.store(to.add(last));
    }
}

/// These fours of rows that lie side by side, at least four of them, their numbers `apart`.
#[inline(never)]
fn columns(x: &[f32], apart: usize, out: &mut [f32], fours: Range<usize>) {
    let length = x.len() / apart;
    assert!(
        apart >= 4 && length * apart == x.len() && out.len() == x.len(),
        "four rows or more, side by side"
    );
    let mut next = 4 * fours.start;
    while next < apart.min(4 * fours.end) {
        // The last four rows overlap those before, which come out again.
        let first = next.min(apart - 4);
        next += 4;
        let (from, to) = (x[first..].as_ptr(), out[first..].as_mut_ptr());
        // SAFETY: four numbers from `first` on are in each of `length` lines of `apart` numbers (asserted).
        unsafe {
            let mut most = F32x4::load(from);
            for at in 1..length {
                most = most.above(F32x4::load(from.add(at * apart)));
            }
            let mut total = F32x4::splat(0.0);
            for at in 0..length {
                let power = exp_below(F32x4::load(from.add(at * apart)) - most);
                power.store(to.add(at * apart));
                total = total + power;
            }
            let factor = F32x4::splat(1.0) / total;
            for at in 0..length {
                let to = to.add(at * apart);
                (F32x4::load(to) * factor).store(to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{in_units, many, numbers};

    /// As it is defined, in f64.
    fn plain(x: &[f32], length: usize, apart: usize) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for part in 0..x.len() / (length * apart) {
            for column in 0..apart {
                let place = |at: usize| part * length * apart + at * apart + column;
                let most = (0..length).map(|at| x[place(at)]).fold(f32::NEG_INFINITY, f32::max);
                let power = |at: usize| (f64::from(x[place(at)]) - f64::from(most)).exp();
                let total: f64 = (0..length).map(power).sum();
                (0..length).for_each(|at| out[place(at)] = power(at) / total);
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_softmax_is_its_definition(
            length in 1usize..40, apart in prop_oneof![Just(1usize), 4usize..12], parts in 1usize..4, scale in 0.01f32..60.0,
            masked: bool, seed: u64,
        ) {
            let mut x = many(parts * length * apart, &mut numbers(seed));
            x.iter_mut().for_each(|x| *x *= scale);
            if masked {
                // Each row keeps its first number.
                let place = |at: usize| at / apart % length;
                (0..x.len()).filter(|at| place(*at) % 3 == 1).for_each(|at| x[at] = f32::NEG_INFINITY);
            }
            let mut out = vec![9.0; x.len()];
            let softmax = Softmax::new(length, apart).unwrap();
            in_units(softmax.units(x.len()), seed, |units| softmax.run(&x, &mut out, units));
            for ((out, expected), x) in out.iter().zip(plain(&x, length, apart)).zip(&x) {
                prop_assert!((f64::from(*out) - expected).abs() <= 1e-6 * expected.max(1e-3), "{out} for {expected}");
                prop_assert!(*x != f32::NEG_INFINITY || *out == 0.0, "what is masked is 0, not {out}");
            }
        }
    }

    #[test]
    fn what_is_no_number_makes_none_of_its_row() {
        for length in [3, 4, 7, 24] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut x = vec![0.5; 2 * length];
                x[1] = bad;
                let mut out = vec![0.0; 2 * length];
                Softmax::new(length, 1).unwrap().run(&x, &mut out, 0..2);
                assert!(out[..length].iter().all(|x| x.is_nan()), "{length} {bad}: {out:?}");
                assert!(out[length..].iter().all(|x| (x - 1.0 / length as f32).abs() < 1e-6), "{out:?}");
            }
        }
        assert_eq!(Softmax::new(5, 3), None);
    }
}
