//! Matrices turned: rows become columns.

use crate::lanes::F32x4;
use crate::room::unwritten;

/// `to[column][row] = from[row][column]`, rows of `from` being `stride` apart, those of `to` dense.
///
/// Costs about 4 instructions a number.
///
/// # Panics
/// Where slices are shorter than their matrices.
pub fn turn(from: &[f32], rows: usize, columns: usize, stride: usize, to: &mut [f32]) {
    assert!(to.len() >= rows * columns, "no room for the turned matrix");
    // SAFETY: there is room (asserted).
    unsafe { turn_to(from, rows, columns, stride, to.as_mut_ptr()) }
}

/// A matrix turned, dense, as [`turn`] does.
///
/// # Panics
/// Where the slice is shorter than the matrix.
pub fn in_columns(from: &[f32], rows: usize, columns: usize, stride: usize) -> Vec<f32> {
    // SAFETY: all of it is written.
    let mut to = unsafe { unwritten(rows * columns) };
    turn(from, rows, columns, stride, &mut to);
    to
}

/// [`turn`] to an address.
///
/// # Panics
/// Where `from` is shorter than its matrix.
///
/// # Safety
/// There is room for as many floats as the matrix has.
pub(crate) unsafe fn turn_to(from: &[f32], rows: usize, columns: usize, stride: usize, to: *mut f32) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(rows == 1 || stride >= columns, "rows overlap");
    assert!(from.len() >= (rows - 1) * stride + columns, "the matrix is shorter");
    if rows < 4 || columns < 4 {
        for row in 0..rows {
            for column in 0..columns {
                // SAFETY: the place is in the turned matrix.
                unsafe { to.add(column * rows + row).write(from[row * stride + column]) };
            }
        }
        return;
    }
    // The last four overlap those before, which come out again.
    let mut next_row = 0;
    while next_row < rows {
        let row = next_row.min(rows - 4);
        next_row += 4;
        let mut next_column = 0;
        while next_column < columns {
            let column = next_column.min(columns - 4);
            next_column += 4;
            // SAFETY: four rows from `row` on and four columns from `column` on are in both matrices (asserted, and the
            // caller's).
            unsafe {
                let at = from.as_ptr().add(row * stride + column);
                let place = to.add(column * rows + row);
                let turned = turned([0, 1, 2, 3].map(|ix| F32x4::load(at.add(ix * stride))));
                for (ix, turned) in turned.into_iter().enumerate() {
                    turned.store(place.add(ix * rows));
                }
            }
        }
    }
}

/// Four rows of four, turned.
#[inline(always)]
pub(crate) fn turned([a, b, c, d]: [F32x4; 4]) -> [F32x4; 4] {
    let (low, high) = (a.even(b), c.even(d));
    let (odd_low, odd_high) = (a.odd(b), c.odd(d));
    // Lanes 0, 2 and 1, 3 of a and b, then of c and d: their even and odd lanes are columns.
    [low.even(high), odd_low.even(odd_high), low.odd(high), odd_low.odd(odd_high)]
}

/// Numbers that lie `along_step` and `along_lane` apart, laid one behind the other: all lanes of a step, then the next step.
///
/// Costs 2 instructions a number where steps or lanes lie side by side, about 12 elsewhere.
///
/// # Panics
/// Where `from` is shorter.
pub(crate) fn lay(
    from: &[f32],
    [steps, lanes]: [usize; 2],
    [along_step, along_lane]: [usize; 2],
    to: &mut Vec<f32>,
) {
    if steps == 0 || lanes == 0 {
        return;
    }
    to.reserve(steps * lanes);
    let end = to.len() + steps * lanes;
    // SAFETY: there is room for `steps * lanes` floats (reserved), and each of them is written before they count: by
    // `turn_to`, or a step at a time, lanes by fours (the last four overlap those before) or one by one.
    unsafe {
        let place = to.as_mut_ptr().add(to.len());
        if along_step == 1 && (along_lane >= steps || lanes == 1) {
            turn_to(from, lanes, steps, along_lane, place);
        } else {
            assert!(
                from.len() > (steps - 1) * along_step + (lanes - 1) * along_lane,
                "a slice is shorter than its matrix"
            );
            for step in 0..steps {
                let (from, to) = (from.as_ptr().add(step * along_step), place.add(step * lanes));
                if along_lane == 1 && lanes >= 4 {
                    for lane in (0..lanes - 4).step_by(4).chain([lanes - 4]) {
                        F32x4::load(from.add(lane)).store(to.add(lane));
                    }
                } else {
                    for lane in 0..lanes {
                        to.add(lane).write(*from.add(lane * along_lane));
                    }
                }
            }
        }
        to.set_len(end);
    }
}

/// [`lay`] of the lanes that are there, each step filled with zeros to so many.
///
/// # Panics
/// Where `from` is shorter.
pub(crate) fn lay_to(
    [steps, lanes]: [usize; 2],
    from: &[f32],
    there: usize,
    [along_step, along_lane]: [usize; 2],
    to: &mut Vec<f32>,
) {
    if there == lanes {
        return lay(from, [steps, lanes], [along_step, along_lane], to);
    }
    for step in 0..steps {
        lay(&from[step * along_step..], [1, there], [0, along_lane], to);
        to.resize(to.len() + lanes - there, 0.0);
    }
}

/// Writes a pattern again and again, the last time as much of it as there is room for: half an instruction a byte.
pub fn repeat(pattern: [u8; 16], to: &mut [u8]) {
    // SAFETY: sixteen bytes are read as a vector, whatever they mean.
    let vector = unsafe { F32x4::load(pattern.as_ptr().cast()) };
    let mut chunks = to.chunks_exact_mut(16);
    for chunk in chunks.by_ref() {
        // SAFETY: the chunk has sixteen bytes.
        unsafe { vector.store(chunk.as_mut_ptr().cast()) };
    }
    let rest = chunks.into_remainder();
    rest.copy_from_slice(&pattern[..rest.len()]);
}

/// `x = x + other`, then held between the bounds; what is no number stays so. About 5 instructions a number.
///
/// # Panics
/// Where `other` is shorter.
pub fn finish(x: &mut [f32], other: Option<&[f32]>, bounds: Option<(f32, f32)>) {
    assert!(other.is_none_or(|other| other.len() >= x.len()), "the other operand is shorter");
    let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let end = |x: &mut [f32; 4], other: F32x4| {
        let sum = F32x4::of(x) + other;
        // SAFETY: it has four numbers.
        unsafe { sum.above(F32x4::splat(low)).below(F32x4::splat(high)).store(x.as_mut_ptr()) };
    };
    let last = |x: &mut f32, other: f32| {
        let sum = *x + other;
        let sum = if sum < low { low } else { sum };
        *x = if high < sum { high } else { sum };
    };
    let length = x.len();
    let (fours, rest) = x.as_chunks_mut::<4>();
    if let Some(other) = other {
        let (others, others_rest) = other[..length].as_chunks::<4>();
        fours.iter_mut().zip(others).for_each(|(x, other)| end(x, F32x4::of(other)));
        rest.iter_mut().zip(others_rest).for_each(|(x, other)| last(x, *other));
    } else {
        fours.iter_mut().for_each(|x| end(x, F32x4::splat(0.0)));
        rest.iter_mut().for_each(|x| last(x, 0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{many, numbers};

    #[test]
    fn rows_become_columns() {
        let mut next = numbers(3);
        for (rows, columns) in [(1, 1), (4, 4), (5, 9), (8, 3), (3, 8), (17, 33), (0, 4), (4, 0)] {
            let stride = columns + 3;
            let from = many(rows * stride, &mut next);
            let mut to = vec![9.0; rows * columns];
            turn(&from, rows, columns, stride, &mut to);
            for row in 0..rows {
                for column in 0..columns {
                    assert_eq!(to[column * rows + row], from[row * stride + column], "{rows}x{columns}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_laid_step_by_step() {
        let mut next = numbers(5);
        let from = many(4000, &mut next);
        for (steps, lanes) in [(1, 1), (9, 8), (7, 32), (12, 5), (3, 2), (0, 4), (4, 0)] {
            for [along_step, along_lane] in [[1, 13], [40, 1], [37, 2], [1, 1], [0, 0]] {
                let mut to = vec![7.0];
                lay(&from, [steps, lanes], [along_step, along_lane], &mut to);
                let expected =
                    (0..steps).flat_map(|s| (0..lanes).map(move |l| s * along_step + l * along_lane));
                let expected: Vec<f32> = [7.0].into_iter().chain(expected.map(|at| from[at])).collect();
                assert_eq!(to, expected, "{steps} of {lanes}, {along_step} and {along_lane} apart");
            }
        }
    }

    #[test]
    fn a_pattern_is_written_to_the_end() {
        let pattern: [u8; 16] = std::array::from_fn(|ix| ix as u8 + 1);
        for length in [0, 1, 15, 16, 17, 64, 71] {
            let mut to = vec![0; length];
            repeat(pattern, &mut to);
            assert!(to.iter().enumerate().all(|(ix, byte)| *byte == pattern[ix % 16]), "{length}");
        }
    }

    #[test]
    fn an_end_is_added_and_bounded() {
        // By fours, and what is left.
        let mut x = [1.0, 2.0, f32::NAN, -4.0].repeat(3)[..11].to_vec();
        finish(&mut x, Some(&[0.5, 5.0, 1.0, 1.0].repeat(3)), Some((-1.0, 6.0)));
        for x in x.chunks(4) {
            assert_eq!(x[..2], [1.5, 6.0]);
            assert!(x[2].is_nan());
            assert_eq!(x.get(3).copied().unwrap_or(-1.0), -1.0);
        }
    }
}
