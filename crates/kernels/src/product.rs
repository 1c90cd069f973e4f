//! Matrix products with one operand packed beforehand.
//!
//! [`Weights`] are packed on one side: [`Weights::rows`] for outputs that lie row by row of the weights, as a convolution's
//! channels do (`out[m][n] = Σ w[m][k] · x[k][n]`, [`Weights::times`]); [`Weights::columns`] for outputs that lie token by
//! token (`out[m][n] = Σ x[m][k] · w[k][n]`, [`Weights::under`]). The other operand is read where it lies, and every sum runs in
//! the order of `k`, by sixteens. What a product is charged is known beforehand (`price`).

use std::ops::Range;

use crate::far::Numbers;
use crate::price::{BULK, Follows, ROOM, ZERO, instructions_of_laying};
use crate::tile::{Call, Family, Tile, family, largest, place};
use crate::turn::{lay, lay_to};

/// What follows the sums, in this order.
#[derive(Clone, Copy, Default)]
pub struct After<'a> {
    /// Added to the outputs, lying as they do.
    pub residual: Option<&'a [f32]>,
    /// Bounds of the outputs. What is no number stays so.
    pub bounds: Option<(f32, f32)>,
}

/// A matrix in memory: numbers from one row to the next.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Numbers from row to row; of what is written at least `columns`.
    pub stride: usize,
}

impl Matrix {
    /// A matrix without gaps.
    pub fn dense(rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, stride: columns }
    }

    /// Numbers from the first to the last.
    pub(crate) fn span(&self) -> usize {
        if self.rows == 0 { 0 } else { (self.rows - 1) * self.stride + self.columns }
    }
}

/// A packed operand with its bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub(crate) by: By,
    /// Rows or columns that are outputs.
    pub(crate) outputs: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// Panel after panel.
    pub(crate) packed: Numbers<f32>,
    /// One an output; columns up to whole vectors.
    pub(crate) bias: Vec<f32>,
}

/// What the packed side's panels are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Rows of outputs: the splat side.
    Rows,
    /// Columns of outputs: the vector side.
    Columns,
}

/// Lengths that cover `length`: 8s, then what is left by halves; with where each begins.
pub(crate) fn cuts(length: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let mut at = 0;
    std::iter::from_fn(move || {
        let cut = (at < length).then(|| largest(length - at))?;
        at += cut;
        Some((at - cut, cut))
    })
}

/// Every panel.
pub(crate) const ALL: Range<usize> = 0..usize::MAX;

/// Those of the cuts that lie in panels of eight with these numbers; what is left behind the last eight is of the last panel.
pub(crate) fn within(
    cuts: impl Iterator<Item = (usize, usize)>,
    panels: Range<usize>,
) -> impl Iterator<Item = (usize, usize)> {
    cuts.filter(move |(first, _)| panels.contains(&(first / 8)))
}

/// Outputs of each panel of such weights, those included that are there to fill vectors.
pub(crate) fn panels(by: By, outputs: usize) -> impl Iterator<Item = usize> {
    let width = if by == By::Columns { 4 } else { 1 };
    cuts(outputs.div_ceil(width)).map(move |(_, count)| width * count)
}

/// Beside what a tile is charged: what its call is made up of.
const CALL: u64 = 60;
/// A product by itself.
const PRODUCT: u64 = 200;

/// About what a product of weights packed so is charged, over `others` rows or columns of the other operand: exact but
/// for the calls' operands.
pub(crate) fn price(by: By, outputs: usize, k: usize, others: usize) -> u64 {
    covered(by, outputs, others).map(|(tile, count)| count * (tile.price.of(k) + CALL)).sum()
}

/// About what it is charged more where something is added.
pub(crate) fn price_of_residual(by: By, outputs: usize, others: usize) -> u64 {
    covered(by, outputs, others).map(|(tile, count)| count * u64::from(tile.price.residual)).sum()
}

/// The tiles that cover the outputs, and how many of each.
fn covered(by: By, outputs: usize, others: usize) -> impl Iterator<Item = (&'static Tile, u64)> {
    let (tiles, rows, columns) = match by {
        By::Rows => (family(Family::F32Splat), outputs, others),
        By::Columns => (family(Family::F32Vector), others, outputs),
    };
    counted(tiles, rows, columns.div_ceil(4), 0)
}

/// How many there are of each tile over so many rows and vectors, and over so many single vectors beside them.
pub(crate) fn counted(
    tiles: &'static [Tile; 16],
    rows: usize,
    vectors: usize,
    single: usize,
) -> impl Iterator<Item = (&'static Tile, u64)> {
    let counts = |length: usize| [8, 4, 2, 1].map(|cut| if cut == 8 { length / 8 } else { length / cut % 2 });
    let (down, mut across) = (counts(rows), counts(vectors));
    across[3] += single;
    (0..16).map(move |at| (&tiles[at], (down[at / 4] * across[at % 4]) as u64))
}

/// What packing `w[k][n]`, whose numbers lie so far apart, takes ([`Weights::columns_of`]).
pub(crate) fn instructions_of_packing([k, n]: [usize; 2], apart: [usize; 2]) -> u64 {
    let panels = cuts(n.div_ceil(4))
        .map(|(first, vectors)| instructions_of_laying(k, (4 * vectors).min(n - 4 * first), apart) + 60);
    2 * ROOM + panels.sum::<u64>()
}

impl Weights {
    /// Packs `w[m][k]`, given by `at(m, k)`, for [`Weights::times`]. `bias` has one number a row, or none.
    ///
    /// Costs about 12 instructions a number; [`Weights::rows_of`] 3.
    pub fn rows(m: usize, k: usize, bias: &[f32], at: impl Fn(usize, usize) -> f32) -> Weights {
        let mut packed = Vec::with_capacity(m * k);
        for (first, rows) in cuts(m) {
            for step in 0..k {
                packed.extend((first..first + rows).map(|row| at(row, step)));
            }
        }
        Weights { by: By::Rows, outputs: m, k, packed: packed.into(), bias: filled(bias, m) }
    }

    /// Packs `w[k][n]`, given by `at(k, n)`, for [`Weights::under`]. `bias` has one number a column, or none.
    pub fn columns(k: usize, n: usize, bias: &[f32], at: impl Fn(usize, usize) -> f32) -> Weights {
        let vectors = n.div_ceil(4);
        let mut packed = Vec::with_capacity(4 * vectors * k);
        for (first, count) in cuts(vectors) {
            for step in 0..k {
                let columns = 4 * first..4 * (first + count);
                packed.extend(columns.map(|column| if column < n { at(step, column) } else { 0.0 }));
            }
        }
        Weights { by: By::Columns, outputs: n, k, packed: packed.into(), bias: filled(bias, 4 * vectors) }
    }

    /// [`Weights::rows`] of numbers that lie `along_m` and `along_k` apart, without a bias.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn rows_of([m, k]: [usize; 2], w: &[f32], [along_m, along_k]: [usize; 2]) -> Weights {
        let mut packed = Vec::with_capacity(m * k);
        for (first, rows) in cuts(m) {
            let from = &w[(first * along_m).min(w.len())..];
            lay(from, [k, rows], [along_k, along_m], &mut packed);
        }
        Weights { by: By::Rows, outputs: m, k, packed: packed.into(), bias: filled(&[], m) }
    }

    /// [`Weights::columns`] of numbers that lie `along_k` and `along_n` apart, without a bias.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn columns_of([k, n]: [usize; 2], w: &[f32], [along_k, along_n]: [usize; 2]) -> Weights {
        let vectors = n.div_ceil(4);
        let mut packed = Vec::with_capacity(4 * vectors * k);
        for (first, count) in cuts(vectors) {
            let (first, lanes) = (4 * first, 4 * count);
            let from = &w[(first * along_n).min(w.len())..];
            lay_to([k, lanes], from, lanes.min(n - first), [along_k, along_n], &mut packed);
        }
        Weights { by: By::Columns, outputs: n, k, packed: packed.into(), bias: filled(&[], 4 * vectors) }
    }

    /// Packed columns without their numbers, to say what a product of such takes.
    pub(crate) fn shape([k, n]: [usize; 2]) -> Weights {
        Weights { by: By::Columns, outputs: n, k, packed: vec![].into(), bias: vec![] }
    }

    /// The same with another bias, one number an output.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Weights {
        self.bias[..self.outputs].copy_from_slice(&bias[..self.outputs]);
        self
    }

    /// The bias, one number an output.
    pub fn bias(&self) -> &[f32] {
        &self.bias[..self.outputs]
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows or columns that are outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `out[m][n] = bias[m] + Σ w[m][k] · x[k][n]`, then what comes after. `out` and a residual lie as `to` says, which has
    /// as many columns as `x`.
    ///
    /// # Panics
    /// Where slices are shorter than their matrices, lengths disagree, or the weights are packed for the other side.
    pub fn times(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        self.times_and(x, from, out, to, after, to.stride, ALL);
    }

    /// [`Weights::times`] of these panels alone ([`panels`]) with a residual whose rows are so far apart.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn times_and(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        apart: usize,
        panels: Range<usize>,
    ) {
        assert!(self.by == By::Rows, "weights packed by columns");
        assert!(from.rows == self.k && to.rows == self.outputs && from.columns == to.columns, "lengths");
        self.check(x, from, out, to, after, apart);
        let n = to.columns;
        if n < 4 {
            return self.times_narrow(x, from, out, to, after, apart, panels);
        }
        if !self.packed.are_here() {
            // Each panel comes once.
            for at in panels.start..panels.end.min(self.outputs.div_ceil(8)) {
                self.times_columns_of(x, from, out, to, after, apart, at..at + 1);
            }
            return;
        }
        self.times_columns_of(x, from, out, to, after, apart, panels);
    }

    /// All columns of these panels.
    #[allow(clippy::too_many_arguments)]
    fn times_columns_of(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        apart: usize,
        panels: Range<usize>,
    ) {
        let n = to.columns;
        for (first, count) in cuts(n / 4) {
            self.times_columns(x, from, 4 * first, count, out, to, after, apart, panels.clone());
        }
        if !n.is_multiple_of(4) {
            // The last vector overlaps the one before: its outputs come out the same.
            self.times_columns(x, from, n - 4, 1, out, to, after, apart, panels);
        }
    }

    /// The columns of one width of tiles.
    #[allow(clippy::too_many_arguments)]
    fn times_columns(
        &self,
        x: &[f32],
        from: Matrix,
        column: usize,
        vectors: usize,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        apart: usize,
        panels: Range<usize>,
    ) {
        let tiles = family(Family::F32Splat);
        for (row, rows) in within(cuts(self.outputs), panels) {
            let tile = &tiles[4 * place(rows) + place(vectors)];
            let panel = self.packed.panel(row, rows, self.k);
            let place = row * to.stride + column;
            let added = row * apart + column;
            let call = Call {
                splat: panel.address(),
                splat_stride: 0,
                vector: x[column.min(x.len())..].as_ptr().cast(),
                vector_stride: 4 * from.stride,
                out: out[place..].as_mut_ptr().cast(),
                out_stride: 4 * to.stride,
                steps: self.k,
                bias: self.bias[row..].as_ptr().cast(),
                residual: after.residual.map_or(std::ptr::null(), |r| r[added..].as_ptr().cast()),
                residual_stride: 4 * apart,
                bounds: after.bounds,
                row_scale: std::ptr::null(),
                column_scale: std::ptr::null(),
            };
            // SAFETY: `check` holds the slices to their matrices; rows and columns of the tile are within them.
            unsafe { tile.call(&call) };
        }
    }

    /// Fewer columns than a vector has lanes: by way of a copy with four.
    #[allow(clippy::too_many_arguments)]
    fn times_narrow(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        apart: usize,
        panels: Range<usize>,
    ) {
        let n = to.columns;
        let widened = |source: &[f32], lies: Matrix| {
            let mut wide = vec![0.0; 4 * lies.rows];
            for (row, wide) in wide.chunks_exact_mut(4).enumerate() {
                wide[..n].copy_from_slice(&source[row * lies.stride..row * lies.stride + n]);
            }
            wide
        };
        let x = widened(x, from);
        let residual = after.residual.map(|r| widened(r, Matrix { stride: apart, ..to }));
        let mut wide = vec![0.0; 4 * to.rows];
        let after = After { residual: residual.as_deref(), ..after };
        self.times_columns(
            &x,
            Matrix::dense(from.rows, 4),
            0,
            1,
            &mut wide,
            Matrix::dense(to.rows, 4),
            after,
            4,
            panels.clone(),
        );
        let rows = 8 * panels.start.min(to.rows)..panels.end.saturating_mul(8).min(to.rows);
        for (row, wide) in wide.chunks_exact(4).enumerate().take(rows.end).skip(rows.start) {
            out[row * to.stride..row * to.stride + n].copy_from_slice(&wide[..n]);
        }
    }

    /// `out[m][n] = bias[n] + Σ x[m][k] · w[k][n]`, then what comes after. `out` and a residual lie as `to` says, which has
    /// as many rows as `x`. Rows of `x` may overlap.
    ///
    /// # Panics
    /// As [`Weights::times`].
    pub fn under(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        self.under_and(x, from, out, to, after, to.stride, ALL);
    }

    /// [`Weights::under`] of these panels alone ([`panels`]) with a residual whose rows are so far apart.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn under_and(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        apart: usize,
        panels: Range<usize>,
    ) {
        assert!(self.by == By::Columns, "weights packed by rows");
        assert!(from.columns == self.k && to.columns == self.outputs && from.rows == to.rows, "lengths");
        self.check(x, from, out, to, after, apart);
        let whole = self.outputs / 4;
        for (first, count) in within(cuts(self.outputs.div_ceil(4)), panels) {
            if first + count <= whole {
                self.under_columns(x, from, first, count, out, to.stride, after, apart);
            } else {
                self.under_ragged(x, from, first, count, out, to, after, apart);
            }
        }
    }

    /// A panel whose last vector reaches beyond the outputs: by way of a copy.
    #[allow(clippy::too_many_arguments)]
    fn under_ragged(
        &self,
        x: &[f32],
        from: Matrix,
        first: usize,
        vectors: usize,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        apart: usize,
    ) {
        let (width, columns) = (4 * vectors, 4 * first..self.outputs);
        let mut wide = vec![0.0; width * to.rows];
        let residual = after.residual.map(|residual| {
            let mut wide = vec![0.0; width * to.rows];
            for (row, wide) in wide.chunks_exact_mut(width).enumerate() {
                let from = row * apart;
                wide[..columns.len()].copy_from_slice(&residual[from + columns.start..from + columns.end]);
            }
            wide
        });
        let after = After { residual: residual.as_deref(), ..after };
        self.under_panel(x, from, first, vectors, &mut wide, width, after, width);
        for (row, wide) in wide.chunks_exact(width).enumerate() {
            let to = row * to.stride;
            out[to + columns.start..to + columns.end].copy_from_slice(&wide[..columns.len()]);
        }
    }

    /// A panel whose columns are all outputs.
    #[allow(clippy::too_many_arguments)]
    fn under_columns(
        &self,
        x: &[f32],
        from: Matrix,
        first: usize,
        vectors: usize,
        out: &mut [f32],
        stride: usize,
        after: After<'_>,
        apart: usize,
    ) {
        let place = (4 * first).min(out.len());
        let after = After { residual: after.residual.map(|r| &r[(4 * first).min(r.len())..]), ..after };
        self.under_panel(x, from, first, vectors, &mut out[place..], stride, after, apart);
    }

    /// A panel, `out` and the residual beginning at its first column.
    #[allow(clippy::too_many_arguments)]
    fn under_panel(
        &self,
        x: &[f32],
        from: Matrix,
        first: usize,
        vectors: usize,
        out: &mut [f32],
        stride: usize,
        after: After<'_>,
        apart: usize,
    ) {
        let tiles = family(Family::F32Vector);
        let panel = self.packed.panel(4 * first, 4 * vectors, self.k);
        for (row, rows) in cuts(from.rows) {
            let tile = &tiles[4 * place(rows) + place(vectors)];
            let place = row * stride;
            let call = Call {
                splat: x[row * from.stride..].as_ptr().cast(),
                splat_stride: 4 * from.stride,
                vector: panel.address(),
                vector_stride: 0,
                out: out[place..].as_mut_ptr().cast(),
                out_stride: 4 * stride,
                steps: self.k,
                bias: self.bias[4 * first..].as_ptr().cast(),
                residual: after.residual.map_or(std::ptr::null(), |r| r[row * apart..].as_ptr().cast()),
                residual_stride: 4 * apart,
                bounds: after.bounds,
                row_scale: std::ptr::null(),
                column_scale: std::ptr::null(),
            };
            // SAFETY: `check` holds the slices to their matrices; rows and columns of the tile are within them, or within
            // the copy that `under_ragged` made.
            unsafe { tile.call(&call) };
        }
    }

    /// What [`Weights::times`] or [`Weights::under`], whichever these are packed for, takes over `others` rows or columns of the
    /// other operand: what its tiles are charged, and about what calling them is.
    pub fn instructions(&self, others: usize, follows: Follows) -> u64 {
        let (tiles, rows, vectors, single) = match self.by {
            By::Rows if others < 4 => (family(Family::F32Splat), self.outputs, 1, 0),
            By::Rows => {
                (family(Family::F32Splat), self.outputs, others / 4, usize::from(!others.is_multiple_of(4)))
            }
            By::Columns => (family(Family::F32Vector), others, self.outputs.div_ceil(4), 0),
        };
        let called: u64 = counted(tiles, rows, vectors, single)
            .map(|(tile, count)| count * (tile.price.of(self.k) + tile.price.after(follows) + CALL))
            .sum();
        // Rows that are widened, or narrowed, by way of a copy.
        let copied = match self.by {
            By::Rows if others < 4 => self.k + self.outputs * (1 + usize::from(follows.residual)),
            By::Columns if !self.outputs.is_multiple_of(4) => others * (1 + usize::from(follows.residual)),
            _ => 0,
        };
        let widest = match self.by {
            By::Rows => 4,
            By::Columns => cuts(self.outputs.div_ceil(4)).last().map_or(0, |(_, vectors)| 4 * vectors),
        };
        let read = self.packed.instructions(panels(self.by, self.outputs), self.k);
        PRODUCT + called + copied as u64 * (BULK + 2 * ZERO * widest as u64) + read
    }

    fn check(&self, x: &[f32], from: Matrix, out: &[f32], to: Matrix, after: After<'_>, apart: usize) {
        assert!(to.stride >= to.columns, "rows overlap");
        assert!(x.len() >= from.span() && out.len() >= to.span(), "a slice is shorter than its matrix");
        assert!(
            after
                .residual
                .is_none_or(|r| apart >= to.columns && r.len() >= Matrix { stride: apart, ..to }.span()),
            "the residual is shorter than the outputs"
        );
    }
}

pub(crate) fn filled(bias: &[f32], length: usize) -> Vec<f32> {
    let mut filled = bias.to_vec();
    filled.resize(length, 0.0);
    filled
}

#[cfg(test)]
mod tests;
