//! A packed operand, in f32 or in int8.

use crate::product::{After, Matrix, Weights};
use crate::quantised::{Int8Weights, LONGEST};

/// What the numbers of a packed operand are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they came.
    #[default]
    F32,
    /// int8, with activations quantised as they come. Sums that are too long for that stay f32.
    Int8,
}

/// A packed operand with its bias.
#[derive(Clone, Debug, PartialEq)]
pub enum Panels {
    /// f32.
    F32(Weights),
    /// int8.
    Int8(Int8Weights),
}

impl Panels {
    /// Packs `w[m][k]`, given by `at(m, k)`, for [`Panels::times`]. `bias` has one number a row, or none.
    pub fn rows(
        precision: Precision,
        m: usize,
        k: usize,
        bias: &[f32],
        at: impl Fn(usize, usize) -> f32,
    ) -> Panels {
        match precision {
            Precision::Int8 if k <= LONGEST => Panels::Int8(Int8Weights::rows(m, k, bias, at)),
            _ => Panels::F32(Weights::rows(m, k, bias, at)),
        }
    }

    /// Packs `w[k][n]`, given by `at(k, n)`, for [`Panels::under`]. `bias` has one number a column, or none.
    pub fn columns(
        precision: Precision,
        k: usize,
        n: usize,
        bias: &[f32],
        at: impl Fn(usize, usize) -> f32,
    ) -> Panels {
        match precision {
            Precision::Int8 if k <= LONGEST => Panels::Int8(Int8Weights::columns(k, n, bias, at)),
            _ => Panels::F32(Weights::columns(k, n, bias, at)),
        }
    }

    /// [`Panels::rows`] of numbers that lie `along_m` and `along_k` apart, without a bias.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn rows_of(
        precision: Precision,
        [m, k]: [usize; 2],
        w: &[f32],
        [along_m, along_k]: [usize; 2],
    ) -> Panels {
        match precision {
            Precision::Int8 if k <= LONGEST => {
                Panels::Int8(Int8Weights::rows(m, k, &[], |row, step| w[row * along_m + step * along_k]))
            }
            _ => Panels::F32(Weights::rows_of([m, k], w, [along_m, along_k])),
        }
    }

    /// [`Panels::columns`] of numbers that lie `along_k` and `along_n` apart, without a bias.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn columns_of(
        precision: Precision,
        [k, n]: [usize; 2],
        w: &[f32],
        [along_k, along_n]: [usize; 2],
    ) -> Panels {
        match precision {
            Precision::Int8 if k <= LONGEST => {
                Panels::Int8(Int8Weights::columns(k, n, &[], |step, column| {
                    w[step * along_k + column * along_n]
                }))
            }
            _ => Panels::F32(Weights::columns_of([k, n], w, [along_k, along_n])),
        }
    }

    /// The same with another bias, one number an output, or with that which it has where none comes.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn with_bias(self, bias: &[f32]) -> Panels {
        match self {
            _ if bias.is_empty() => self,
            Panels::F32(weights) => Panels::F32(weights.with_bias(bias)),
            Panels::Int8(weights) => Panels::Int8(weights.with_bias(bias)),
        }
    }

    /// The bias, one number an output.
    pub fn bias(&self) -> &[f32] {
        match self {
            Panels::F32(weights) => weights.bias(),
            Panels::Int8(weights) => weights.bias(),
        }
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        match self {
            Panels::F32(weights) => weights.k(),
            Panels::Int8(weights) => weights.k(),
        }
    }

    /// Rows or columns that are outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Panels::F32(weights) => weights.outputs(),
            Panels::Int8(weights) => weights.outputs(),
        }
    }

    /// Bytes that a run takes beside its operands, for so many rows or columns of the other operand.
    pub fn scratch(&self, others: usize) -> usize {
        match self {
            Panels::F32(_) => 0,
            Panels::Int8(weights) => weights.scratch(others),
        }
    }

    /// As [`Weights::times`].
    ///
    /// # Panics
    /// As there.
    pub fn times(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        match self {
            Panels::F32(weights) => weights.times(x, from, out, to, after),
            Panels::Int8(weights) => weights.times(x, from, out, to, after),
        }
    }

    /// As [`Weights::under`].
    ///
    /// # Panics
    /// As there.
    pub fn under(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        match self {
            Panels::F32(weights) => weights.under(x, from, out, to, after),
            Panels::Int8(weights) => weights.under(x, from, out, to, after),
        }
    }
}
