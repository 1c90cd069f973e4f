//! Planes put between one another: what the phases of a transposed convolution are to its output (a pixel shuffle).

use std::ops::Range;

use crate::conv::copy;
use crate::lanes::F32x4;
use crate::units::parts;

/// Instructions of a plane, of a row of an output, of each line of several that are in it, and ten of its numbers: one line copied,
/// two by vectors, more one by one.
const PLANE: u64 = 120;
const ROW: u64 = 163;
const LINE: u64 = 166;
const COPIED: u64 = 16;
const PAIRED: u64 = 62;
const SPREAD: u64 = 98;

/// Of `[planes, stride…, grid…]` numbers it makes `[planes, output…]`, along three axes: what lies at `y` is of the phase
/// `(y + first) % stride`, at `(y + first) / stride` of its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    pub(crate) stride: [usize; 3],
    pub(crate) grid: [usize; 3],
    pub(crate) first: [usize; 3],
    pub(crate) output: [usize; 3],
}

impl Shuffle {
    /// A shuffle of these lengths. None where one is 0, outputs lie outside of the grid, or a plane has 2^31 numbers or more.
    pub fn new(
        stride: [usize; 3],
        grid: [usize; 3],
        first: [usize; 3],
        output: [usize; 3],
    ) -> Option<Shuffle> {
        let fits = |lengths: &[usize]| {
            let all = lengths.iter().try_fold(1usize, |all, length| all.checked_mul(*length));
            all.is_some_and(|all| (1..1 << 31).contains(&all))
        };
        let within = |axis: usize| {
            first[axis].checked_add(output[axis] - 1).is_some_and(|last| last / stride[axis] < grid[axis])
        };
        let lengths = [stride, grid].concat();
        (fits(&lengths) && fits(&output) && (0..3).all(within)).then_some(Shuffle {
            stride,
            grid,
            first,
            output,
        })
    }

    /// Numbers of all phases of a plane.
    pub fn part(&self) -> usize {
        self.stride.iter().chain(&self.grid).product()
    }

    /// Numbers of a plane that is made.
    pub fn given(&self) -> usize {
        self.output.iter().product()
    }

    /// What it takes for so many numbers that are made.
    pub fn instructions(&self, made: usize) -> u64 {
        let planes = (made / self.given().max(1)) as u64;
        let rows = planes * (self.output[0] * self.output[1]) as u64;
        let (line, number) = match self.stride[2] {
            1 => (0, COPIED),
            2 => (0, PAIRED),
            lines => (LINE * lines.min(self.output[2]) as u64, SPREAD),
        };
        200 + planes * PLANE + rows * (ROW + line) + number * made as u64 / 10
    }

    /// Into how many units so many numbers that are made can be cut: rows.
    pub fn units(&self, made: usize) -> usize {
        made / self.output[2]
    }

    /// Puts the phases of each plane together, in these rows: about 6 instructions a number where pixels of two phases alternate, 10 where more do, and 160 to 170
    /// a row, and a line of each of these.
    ///
    /// # Panics
    /// Where there are no whole planes, not as many outputs, or not so many rows.
    pub fn run(&self, x: &[f32], out: &mut [f32], units: Range<usize>) {
        let (part, given) = (self.part(), self.given());
        assert!(x.len().is_multiple_of(part) && out.len().is_multiple_of(given), "no whole planes");
        assert!(x.len() / part == out.len() / given, "as many planes as there were");
        let [deep, down, across] = self.stride;
        let [_, lines, line] = self.grid;
        let grid = self.grid.iter().product::<usize>();
        let long = self.output[2];
        for (ix, rows) in parts(units, given / long) {
            let (x, out) = (&x[ix * part..(ix + 1) * part], &mut out[ix * given..(ix + 1) * given]);
            for row in rows {
                let out = &mut out[row * long..(row + 1) * long];
                let (z, y) = (row / self.output[1] + self.first[0], row % self.output[1] + self.first[1]);
                let phase = (z % deep * down + y % down) * across;
                let place = (z / deep * lines + y / down) * line;
                // The line that every `across`-th pixel is of, from pixel `at` of the row on.
                let of = |at: usize| {
                    let column = self.first[2] + at;
                    let begin = (phase + column % across) * grid + place;
                    &x[begin + column / across..begin + line]
                };
                match across {
                    1 => copy(of(0), out),
                    2 if out.len() > 1 => paired(of(0), of(1), out),
                    _ => {
                        for at in 0..across.min(out.len()) {
                            out[at..].iter_mut().step_by(across).zip(of(at)).for_each(|(to, x)| *to = *x);
                        }
                    }
                }
            }
        }
    }
}

/// Numbers of both lines in turn.
fn paired(even: &[f32], odd: &[f32], out: &mut [f32]) {
    let pairs = out.len() / 2;
    assert!(even.len() >= out.len() - pairs && odd.len() >= pairs, "a line is too short");
    if pairs < 4 {
        for (at, to) in out.iter_mut().enumerate() {
            *to = if at % 2 == 0 { even[at / 2] } else { odd[at / 2] };
        }
        return;
    }
    let mut next = 0;
    while next < pairs {
        // The last four overlap those before, which come out again.
        let at = next.min(pairs - 4);
        next += 4;
        // SAFETY: four from there on are on both lines, and eight in `out` (asserted).
        unsafe {
            let [low, high] =
                F32x4::load(even.as_ptr().add(at)).alternated(F32x4::load(odd.as_ptr().add(at)));
            let to = out.as_mut_ptr().add(2 * at);
            low.store(to);
            high.store(to.add(4));
        }
    }
    if out.len() > 2 * pairs {
        out[2 * pairs] = even[pairs];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{in_units, many, numbers};

    proptest! {
        #[test]
        fn phases_come_together(
            planes in 1usize..4,
            stride in prop::array::uniform3(1usize..5),
            grid in prop::array::uniform3(1usize..9),
            first in prop::array::uniform3(0usize..5),
            short in prop::array::uniform3(0usize..5),
            seed: u64,
        ) {
            let output: [usize; 3] =
                std::array::from_fn(|ix| (stride[ix] * grid[ix]).saturating_sub(first[ix] + short[ix]).max(1));
            let Some(shuffle) = Shuffle::new(stride, grid, first, output) else {
                prop_assert!((0..3).any(|ix| first[ix] >= stride[ix] * grid[ix]));
                return Ok(());
            };
            let x = many(planes * shuffle.part(), &mut numbers(seed));
            let mut out = vec![9.0; planes * shuffle.given()];
            in_units(shuffle.units(out.len()), seed, |units| shuffle.run(&x, &mut out, units));
            for (at, out) in out.iter().enumerate() {
                let mut rest = at;
                let mut place = [0; 3];
                for axis in (0..3).rev() {
                    place[axis] = rest % output[axis] + first[axis];
                    rest /= output[axis];
                }
                let mut from = rest;
                for axis in 0..3 {
                    from = from * stride[axis] + place[axis] % stride[axis];
                }
                for axis in 0..3 {
                    from = from * grid[axis] + place[axis] / stride[axis];
                }
                prop_assert_eq!(*out, x[from]);
            }
        }
    }

    #[test]
    fn what_lies_outside_is_refused() {
        assert_eq!(Shuffle::new([1, 2, 2], [1, 3, 3], [0, 1, 0], [1, 6, 6]), None);
        assert_eq!(Shuffle::new([1, 2, 0], [1, 3, 3], [0, 0, 0], [1, 6, 6]), None);
        assert_eq!(Shuffle::new([1, 2, 2], [1, 1 << 20, 1 << 20], [0; 3], [1, 6, 6]), None);
        assert_eq!(Shuffle::new([1, 2, 2], [1, 3, 3], [0; 3], [1, 0, 6]), None);
    }
}
