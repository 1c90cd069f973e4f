//! Two axes that change places: what moving an axis of a tensor is, whatever lies outside of them and within.

use std::ops::Range;

use crate::conv::copy;
use crate::price::instructions_of_turning;
use crate::turn::turn;
use crate::units::parts;

/// Of `[outer, first, second, inner]` numbers it makes `[outer, second, first, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swap {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) inner: usize,
}

impl Swap {
    /// A swap of axes of these lengths. None where one is 0, or their product is more than 2^31.
    pub fn new([first, second, inner]: [usize; 3]) -> Option<Swap> {
        let all = first.checked_mul(second).and_then(|all| all.checked_mul(inner));
        all.filter(|all| (1..1 << 31).contains(all)).map(|_| Swap { first, second, inner })
    }

    /// Numbers of a part that is swapped by itself.
    pub fn part(&self) -> usize {
        self.first * self.second * self.inner
    }

    /// Into how many units so many numbers can be cut: places of the second axis.
    pub fn units(&self, numbers: usize) -> usize {
        numbers / self.part() * self.second
    }

    /// What it takes for so many numbers.
    pub fn instructions(&self, numbers: usize) -> u64 {
        let parts = (numbers / self.part().max(1)) as u64;
        if self.inner == 1 {
            return 200 + parts * (60 + instructions_of_turning(self.first, self.second) * 4 / 3);
        }
        200 + parts * (60 + (self.first * self.second) as u64 * (60 + 16 * self.inner.div_ceil(4) as u64))
    }

    /// Swaps the axes of each part, as far as these units go: about 4 instructions a number where they are the innermost, else 4 and 60 a run of what lies within.
    ///
    /// # Panics
    /// Where there are no whole parts, not as many outputs as numbers, or not so many units.
    pub fn run(&self, x: &[f32], out: &mut [f32], units: Range<usize>) {
        let part = self.part();
        assert!(x.len().is_multiple_of(part) && x.len() == out.len(), "no whole parts");
        let Swap { first, second, inner } = *self;
        for (ix, wanted) in parts(units, second) {
            let (x, out) = (&x[ix * part..(ix + 1) * part], &mut out[ix * part..(ix + 1) * part]);
            let out = &mut out[wanted.start * first * inner..wanted.end * first * inner];
            if inner == 1 {
                turn(&x[wanted.start..], first, wanted.len(), second, out);
                continue;
            }
            for (ix, to) in out.chunks_exact_mut(first * inner).enumerate() {
                let mut from = (wanted.start + ix) * inner;
                for to in to.chunks_exact_mut(inner) {
                    copy(&x[from..from + inner], to);
                    from += second * inner;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{in_units, many, numbers};

    proptest! {
        #[test]
        fn axes_change_places(
            outer in 1usize..4, first in 1usize..12, second in 1usize..12, inner in 1usize..10, seed: u64,
        ) {
            let x = many(outer * first * second * inner, &mut numbers(seed));
            let mut out = vec![9.0; x.len()];
            let swap = Swap::new([first, second, inner]).unwrap();
            in_units(swap.units(x.len()), seed, |units| swap.run(&x, &mut out, units));
            for (at, out) in out.iter().enumerate() {
                let (within, rest) = (at % inner, at / inner);
                let (a, rest) = (rest % first, rest / first);
                let (b, outer) = (rest % second, rest / second);
                prop_assert_eq!(*out, x[((outer * first + a) * second + b) * inner + within]);
            }
        }
    }

    #[test]
    fn what_is_empty_is_not_swapped() {
        assert_eq!(Swap::new([3, 0, 1]), None);
        assert_eq!(Swap::new([1 << 30, 4, 1]), None);
    }
}
