//! Matrices turned: rows become columns.

use crate::lanes::F32x4;

/// `to[column][row] = from[row][column]`, rows of `from` being `stride` apart, those of `to` dense.
///
/// Costs about 4 instructions a number.
///
/// # Panics
/// Where slices are shorter than their matrices.
pub fn turn(from: &[f32], rows: usize, columns: usize, stride: usize, to: &mut [f32]) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(stride >= columns && from.len() >= (rows - 1) * stride + columns, "the matrix is shorter");
    assert!(to.len() >= rows * columns, "no room for the turned matrix");
    let (whole_rows, whole_columns) = (rows / 4 * 4, columns / 4 * 4);
    for row in (0..whole_rows).step_by(4) {
        for column in (0..whole_columns).step_by(4) {
            // SAFETY: four rows from `row` on and four columns from `column` on are in both matrices (asserted).
            unsafe {
                let at = from.as_ptr().add(row * stride + column);
                let [a, b, c, d] = [0, 1, 2, 3].map(|ix| F32x4::load(at.add(ix * stride)));
                let (low, high) = (a.even(b), c.even(d));
                let (odd_low, odd_high) = (a.odd(b), c.odd(d));
                // Lanes 0, 2 and 1, 3 of a and b, then of c and d: their even and odd lanes are columns.
                let turned = [low.even(high), odd_low.even(odd_high), low.odd(high), odd_low.odd(odd_high)];
                let place = to.as_mut_ptr().add(column * rows + row);
                for (ix, turned) in turned.into_iter().enumerate() {
                    turned.store(place.add(ix * rows));
                }
            }
        }
    }
    for row in 0..rows {
        let first = if row < whole_rows { whole_columns } else { 0 };
        for column in first..columns {
            to[column * rows + row] = from[row * stride + column];
        }
    }
}

/// `x = x + other`, then held between the bounds; what is no number stays so.
///
/// # Panics
/// Where `other` is shorter.
pub fn finish(x: &mut [f32], other: Option<&[f32]>, bounds: Option<(f32, f32)>) {
    assert!(other.is_none_or(|other| other.len() >= x.len()), "the other operand is shorter");
    let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    for (at, x) in x.iter_mut().enumerate() {
        let sum = *x + other.map_or(0.0, |other| other[at]);
        let sum = if sum < low { low } else { sum };
        *x = if high < sum { high } else { sum };
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
    fn an_end_is_added_and_bounded() {
        let mut x = [1.0, 2.0, f32::NAN, -4.0];
        finish(&mut x, Some(&[0.5, 5.0, 1.0, 1.0]), Some((-1.0, 6.0)));
        assert_eq!(x[..2], [1.5, 6.0]);
        assert!(x[2].is_nan());
        assert_eq!(x[3], -1.0);
    }
}
