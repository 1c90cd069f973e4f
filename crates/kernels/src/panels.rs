//! A packed operand, in f32 or in whole numbers, whole or in Strassen's quarters: whichever is cheaper.

use std::ops::Range;
use std::sync::Arc;

use crate::far::{Far, Lies, Numbers, Rough, Stream};
use crate::price::Follows;
use crate::product::{ALL, After, By, Matrix, Weights, filled, instructions_of_packing, price};
use crate::quantised::{LONGEST, WholeWeights, Width};
use crate::room::by_rows;
use crate::strassen::Strassen;

/// What the numbers of a packed operand are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they came.
    #[default]
    F32,
    /// int8 where a byte is enough, else int16 ([`Packing::wide`], [`ENOUGH`]), with activations quantised as they come. Sums that are
    /// too long for that stay f32.
    Int8,
    /// int16 of as many bits as sums leave, with activations quantised as they come: nearer than int8 in the same
    /// instructions and twice the space. Sums that are too long for that stay f32.
    Int16,
}

impl Precision {
    /// What weights of sums of `k` are kept as, where not in f32.
    fn whole(self, k: usize) -> Option<Width> {
        match self {
            Precision::F32 => None,
            Precision::Int8 => Some(Width::Int8),
            Precision::Int16 => Some(Width::Int16),
        }
        .filter(|_| k <= LONGEST)
    }
}

/// What rounding to bytes may take away of an operand's weights, as the roots of their mean squares compare: with more, it is of
/// int16. Weights that are spread evenly lose a 256th, normally distributed ones a 150th to a 110th; more than a 64th is lost where few are far larger
/// than all others of their output, and it is those that answers hang on.
pub const ENOUGH: f64 = 1.0 / 64.0;

/// How constants are packed.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// What their numbers become.
    pub precision: Precision,
    /// Bytes that they may take beyond what they are, where that makes products cheaper; what is taken is taken from it.
    pub spare: usize,
    /// Numbers that may be of int16 where int8 is asked for, whatever rounding takes away; what is taken is taken from it. They are those
    /// that are packed first, since what is lost early in a network grows in all that follows.
    pub wide: usize,
}

impl Packing {
    /// f32, in no more bytes than they are.
    pub fn plain() -> Packing {
        Packing { precision: Precision::F32, spare: 0, wide: 0 }
    }
}

/// A packed operand with its bias.
#[derive(Clone, Debug, PartialEq)]
pub enum Panels {
    /// f32.
    F32(Weights),
    /// f32, for large products.
    Strassen(Strassen),
    /// int8 or int16.
    Whole(WholeWeights),
}

impl Panels {
    /// Packs `w[m][k]`, whose numbers lie `along_m` and `along_k` apart, for [`Panels::times`], without a bias. They are for products
    /// with `others` columns, and may take three quarters more memory where that makes these cheaper.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn rows_of(
        packing: &mut Packing,
        others: usize,
        [m, k]: [usize; 2],
        w: &[f32],
        [along_m, along_k]: [usize; 2],
    ) -> Panels {
        whole(packing, m, k, |width| WholeWeights::rows_of(width, [m, k], w, [along_m, along_k]))
            .or_else(|| split(By::Rows, others, packing, [m, k], w, [along_m, along_k]))
            .unwrap_or_else(|| Panels::F32(Weights::rows_of([m, k], w, [along_m, along_k])))
    }

    /// Packs `w[k][n]`, whose numbers lie `along_k` and `along_n` apart, for [`Panels::under`], without a bias, for products with
    /// `others` rows, as in [`Panels::rows_of`].
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn columns_of(
        packing: &mut Packing,
        others: usize,
        [k, n]: [usize; 2],
        w: &[f32],
        [along_k, along_n]: [usize; 2],
    ) -> Panels {
        whole(packing, n, k, |width| WholeWeights::columns_of(width, [k, n], w, [along_k, along_n]))
            .or_else(|| split(By::Columns, others, packing, [n, k], w, [along_n, along_k]))
            .unwrap_or_else(|| Panels::F32(Weights::columns_of([k, n], w, [along_k, along_n])))
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
            Panels::Strassen(weights) => Panels::Strassen(weights.with_bias(bias)),
            Panels::Whole(weights) => Panels::Whole(weights.with_bias(bias)),
        }
    }

    /// The bias, one number an output.
    pub fn bias(&self) -> &[f32] {
        match self {
            Panels::F32(weights) => weights.bias(),
            Panels::Strassen(weights) => weights.bias(),
            Panels::Whole(weights) => weights.bias(),
        }
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        match self {
            Panels::F32(weights) => weights.k(),
            Panels::Strassen(weights) => weights.k(),
            Panels::Whole(weights) => weights.k(),
        }
    }

    /// What its numbers are kept as.
    pub fn precision(&self) -> Precision {
        match self {
            Panels::F32(_) | Panels::Strassen(_) => Precision::F32,
            Panels::Whole(weights) if weights.width() == Width::Int8 => Precision::Int8,
            Panels::Whole(_) => Precision::Int16,
        }
    }

    /// Rows or columns that are outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Panels::F32(weights) => weights.outputs(),
            Panels::Strassen(weights) => weights.outputs(),
            Panels::Whole(weights) => weights.outputs(),
        }
    }

    /// Bytes that a run takes beside its operands, for so many rows or columns of the other operand.
    pub fn scratch(&self, others: usize) -> usize {
        match self {
            Panels::F32(_) => 0,
            Panels::Strassen(weights) => weights.scratch(others),
            Panels::Whole(weights) => weights.scratch(others),
        }
    }

    /// What a product takes over `others` rows or columns of the other operand, which [`Panels::times`] or
    /// [`Panels::under`] computes: exact for tiles, about so for what is around them.
    pub fn instructions(&self, others: usize, follows: Follows) -> u64 {
        match self {
            Panels::F32(weights) => weights.instructions(others, follows),
            Panels::Strassen(weights) => weights.instructions(others, follows),
            Panels::Whole(weights) => weights.instructions(others, follows),
        }
    }

    /// What packing `w[k][n]` in f32 and a product of it with `others` rows take, where both are done in each run; its numbers lie
    /// `along_k` and `along_n` apart.
    pub fn instructions_of_run(
        others: usize,
        [k, n]: [usize; 2],
        apart: [usize; 2],
        follows: Follows,
    ) -> [u64; 2] {
        [instructions_of_packing([k, n], apart), Weights::shape([k, n]).instructions(others, follows)]
    }

    /// [`Panels::under`] of `from`, each output laid as a row: `out[output][row]`, as a residual lies. About 5 instructions an
    /// output more.
    ///
    /// # Panics
    /// As there.
    pub fn under_and_turned(&self, x: &[f32], from: Matrix, out: &mut [f32], after: After<'_>) {
        let to = Matrix::dense(from.rows, self.outputs());
        let write = |rowwise: &mut [f32], bounds| {
            self.under(x, from, rowwise, to, After { residual: None, bounds });
        };
        // SAFETY: a product writes every output.
        unsafe { by_rows(out, [to.rows, to.columns], false, after, write) };
    }

    /// As [`Weights::times`].
    ///
    /// # Panics
    /// As there.
    pub fn times(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        self.times_of(x, from, out, to, after, ALL);
    }

    /// [`Panels::times`] that writes the outputs of these parts alone, of which there are [`Panels::parts`].
    ///
    /// # Panics
    /// As there.
    pub fn times_of(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        parts: Range<usize>,
    ) {
        match self {
            Panels::F32(weights) => weights.times_and(x, from, out, to, after, to.stride, parts),
            Panels::Strassen(weights) => weights.run(x, from, out, to, after),
            Panels::Whole(weights) => weights.times_of(x, from, out, to, after, parts),
        }
    }

    /// As [`Weights::under`].
    ///
    /// # Panics
    /// As there.
    pub fn under(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        self.under_of(x, from, out, to, after, ALL);
    }

    /// [`Panels::under`] that writes the outputs of these parts alone, of which there are [`Panels::parts`].
    ///
    /// # Panics
    /// As there.
    pub fn under_of(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        parts: Range<usize>,
    ) {
        match self {
            Panels::F32(weights) => weights.under_and(x, from, out, to, after, to.stride, parts),
            Panels::Strassen(weights) => weights.run(x, from, out, to, after),
            Panels::Whole(weights) => weights.under_of(x, from, out, to, after, parts),
        }
    }

    /// Into how many parts its outputs can be cut: panels of eight rows, or of 32 columns. One where all are needed for any.
    pub fn parts(&self) -> usize {
        match self {
            Panels::F32(weights) => parts(weights.by, weights.outputs),
            Panels::Strassen(_) => 1,
            Panels::Whole(weights) => parts(weights.by, weights.outputs),
        }
    }

    /// Whether its numbers are in the heap, and not in a stream.
    pub fn are_here(&self) -> bool {
        match self {
            Panels::F32(weights) => weights.packed.are_here(),
            Panels::Strassen(weights) => weights.parts.iter().all(|part| part.packed.are_here()),
            Panels::Whole(weights) => weights.packed.are_here(),
        }
    }

    /// [`Panels::columns_of`] of numbers that are in a stream, from a byte on, and stay there, or [`Panels::rows_of`] where `rows`
    /// is said. In f32 and not in quarters, whatever pays. None where they lie side by side along neither axis.
    ///
    /// A product takes about 1 instruction a byte more where they lie along `k`, with 5 a number for packing, and otherwise one read
    /// of 128 bytes for each step of `k` and 32 outputs.
    pub fn far(
        (stream, at): (&Arc<Stream>, u64),
        rows: bool,
        [outputs, k]: [usize; 2],
        [along_output, along_k]: [usize; 2],
    ) -> Option<Panels> {
        let by = if rows { By::Rows } else { By::Columns };
        let rough = Rough { by, outputs, k, along_output, along_k };
        let numbers = rough.covered().checked_mul(k).filter(|_| rough.is_read())?;
        let packed = Numbers::Far(Far::of(stream, at, Lies::Rough(rough)), numbers);
        Some(Panels::F32(Weights { by, outputs, k, packed, bias: filled(&[], rough.covered()) }))
    }
}

/// Parts of so many outputs.
fn parts(by: By, outputs: usize) -> usize {
    outputs.div_ceil(if by == By::Columns { 32 } else { 8 }).max(1)
}

/// In whole numbers, where those are asked for: in bytes, or in int16 where these are allowed or bytes are not enough.
fn whole(
    packing: &mut Packing,
    outputs: usize,
    k: usize,
    pack: impl Fn(Width) -> (WholeWeights, f64),
) -> Option<Panels> {
    let mut width = packing.precision.whole(k)?;
    if width == Width::Int8
        && let Some(left) = packing.wide.checked_sub(outputs * k)
    {
        packing.wide = left;
        width = Width::Int16;
    }
    let (weights, error) = pack(width);
    let weights = if width == Width::Int8 && error > ENOUGH { pack(Width::Int16).0 } else { weights };
    Some(Panels::Whole(weights))
}

/// In quarters, where that is cheaper and there are bytes to spare.
fn split(
    by: By,
    others: usize,
    packing: &mut Packing,
    [m, k]: [usize; 2],
    w: &[f32],
    apart: [usize; 2],
) -> Option<Panels> {
    if packing.precision != Precision::F32 {
        return None;
    }
    let left =
        packing.spare.checked_sub(Strassen::more(m, k)).filter(|_| Strassen::pays(by, m, k, others))?;
    let weights = Strassen::new(by, [m, k], w, apart)?;
    packing.spare = left;
    Some(Panels::Strassen(weights))
}

/// Whether planes of `pixels`, `k` of them, are better turned, so that a product of `outputs` takes them as rows: where they have
/// few pixels, whose columns do not fill tiles.
pub fn pays_to_turn(outputs: usize, k: usize, pixels: usize) -> bool {
    let best = |by| {
        let seven = if Strassen::pays(by, outputs, k, pixels) { 7 } else { 8 };
        price(by, outputs, k, pixels) * seven / 8
    };
    // Turned there and back.
    best(By::Columns) + (5 * pixels * (outputs + k)) as u64 <= best(By::Rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{many, numbers};

    #[test]
    fn bytes_are_taken_where_they_are_enough() {
        let even = many(40 * 300, &mut numbers(3));
        let mut uneven = even.clone();
        uneven.iter_mut().step_by(300).for_each(|w| *w = 10.0);
        let mut packing = Packing { precision: Precision::Int8, spare: 0, wide: 20_000 };
        let mut pack = |w: &[f32]| {
            let rows = Panels::rows_of(&mut packing, 9, [40, 300], w, [300, 1]);
            let columns = Panels::columns_of(&mut Packing { wide: 0, ..packing }, 9, [300, 40], w, [1, 300]);
            (rows.precision(), columns.precision())
        };
        assert_eq!(pack(&even), (Precision::Int16, Precision::Int8), "the first may be wide");
        assert_eq!(pack(&even), (Precision::Int8, Precision::Int8), "until they do not fit");
        assert_eq!(pack(&uneven), (Precision::Int16, Precision::Int16), "one stands out");
        assert_eq!(packing.wide, 8_000);
        let packed = Panels::rows_of(&mut Packing::plain(), 9, [40, 300], &uneven, [300, 1]);
        assert_eq!(packed.precision(), Precision::F32);
    }
}
