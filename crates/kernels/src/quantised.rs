//! Matrix products of weights in int8 or int16 with activations that are quantised as they come.
//!
//! A dot of int16 costs the same however large its numbers are, and a sum of `k` products has to fit 31 bits. Both kinds of
//! weights have a scale for each output:
//!
//! - int8: the largest of the output's numbers is 127, and activations have as many bits as the sums then leave room for, 16
//!   at most. With 384 numbers a sum that is all 16 bits, with 4,608 it is 12; so what is lost is the weights'.
//! - int16: bits are shared so that both lose about the same (`Width::most`). How large an output's weights may be is
//!   what the magnitudes of that output's own weights leave, which are known: of weights whose mean is a fifth of their largest,
//!   the largest is five times what it could be if all were as large. With 384 numbers that is 12 bits beside activations of
//!   14, with 4,608 it is 10 beside 12.
//!
//! The scale of activations is that of a token's row, or of all the pixels at hand. Where one of those is no number or
//! infinite, all its outputs are no numbers.

use std::ops::Range;

use crate::far::Numbers;
use crate::product::{ALL, After, By, Matrix, cuts, filled, within};
use crate::tile::{Call, Family, family, place as tile_place};
use crate::turn::{lay, lay_to};
use pack::Packer;
use units::{interleave, magnitude, quantise, unit};

pub use pack::Width;

mod pack;
mod price;
#[cfg(test)]
mod tests;
pub(crate) mod units;

/// Columns that are quantised at a time: four tiles wide.
const COLUMNS: usize = 128;

/// A packed operand in whole numbers with its scales and bias.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeWeights {
    pub(crate) by: By,
    pub(crate) tiles: Family,
    /// The largest activation.
    pub(crate) most: f32,
    /// Bytes of a weight.
    pub(crate) bytes: usize,
    /// Rows or columns that are outputs.
    pub(crate) outputs: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// Panel after panel, pairs along `k`.
    pub(crate) packed: Numbers<u8>,
    /// One an output; columns up to whole vectors. What a unit of the weights is.
    pub(crate) scales: Vec<f32>,
    /// As the scales.
    pub(crate) bias: Vec<f32>,
}

/// Where a tile's outputs go and what is added to them, null for nothing; strides are in numbers.
#[derive(Clone, Copy)]
struct Place {
    out: *mut f32,
    out_stride: usize,
    residual: *const f32,
    residual_stride: usize,
}

/// The longest sums that are served: with more, activations had fewer bits than int8 has.
pub const LONGEST: usize = (i32::MAX as usize) / (127 * 127);

impl WholeWeights {
    /// Packs `w[m][k]`, whose numbers lie `along_m` and `along_k` apart, for [`WholeWeights::times`], without a bias. Answers with it
    /// what rounding takes away, of the weights: the roots of both mean squares.
    ///
    /// Costs about 9 instructions a number where rows or steps lie side by side.
    ///
    /// # Panics
    /// Where `k` is over [`LONGEST`], or the slice is shorter.
    pub fn rows_of(
        width: Width,
        [m, k]: [usize; 2],
        w: &[f32],
        [along_m, along_k]: [usize; 2],
    ) -> (WholeWeights, f64) {
        let mut packer = Packer::new(width, m, k);
        for (first, rows) in cuts(m) {
            let from = &w[(first * along_m).min(w.len())..];
            packer.panel(rows, |laid| lay(from, [k, rows], [along_k, along_m], laid));
        }
        WholeWeights::of(By::Rows, width, m, k, packer)
    }

    /// Packs `w[k][n]`, whose numbers lie `along_k` and `along_n` apart, for [`WholeWeights::under`], as
    /// [`WholeWeights::rows_of`] does.
    ///
    /// # Panics
    /// As there.
    pub fn columns_of(
        width: Width,
        [k, n]: [usize; 2],
        w: &[f32],
        [along_k, along_n]: [usize; 2],
    ) -> (WholeWeights, f64) {
        let vectors = n.div_ceil(4);
        let mut packer = Packer::new(width, 4 * vectors, k);
        for (first, count) in cuts(vectors) {
            let (first, columns) = (4 * first, 4 * count);
            let from = &w[(first * along_n).min(w.len())..];
            let there = columns.min(n - first);
            packer.panel(columns, |laid| lay_to([k, columns], from, there, [along_k, along_n], laid));
        }
        WholeWeights::of(By::Columns, width, n, k, packer)
    }

    /// What was packed, without a bias.
    fn of(by: By, width: Width, outputs: usize, k: usize, packer: Packer) -> (WholeWeights, f64) {
        assert!(k <= LONGEST, "sums of {k}");
        let tiles = match (by, width) {
            (By::Rows, Width::Int8) => Family::I8Splat,
            (By::Rows, Width::Int16) => Family::I16Splat,
            (By::Columns, Width::Int8) => Family::I8Vector,
            (By::Columns, Width::Int16) => Family::I16Vector,
        };
        let error = packer.error();
        let Packer { packed, scales, .. } = packer;
        let bias = filled(&[], scales.len());
        let (most, bytes) = (width.most(k), width.bytes());
        (WholeWeights { by, tiles, most, bytes, outputs, k, packed: packed.into(), scales, bias }, error)
    }

    /// The same with another bias, one number an output.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> WholeWeights {
        self.bias[..self.outputs].copy_from_slice(&bias[..self.outputs]);
        self
    }

    /// The bias, one number an output.
    pub fn bias(&self) -> &[f32] {
        &self.bias[..self.outputs]
    }

    /// What its weights are kept as.
    pub fn width(&self) -> Width {
        if self.bytes == 1 { Width::Int8 } else { Width::Int16 }
    }

    /// Rows or columns that are outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes of an output.
    pub(crate) fn per_output(&self) -> usize {
        self.k.next_multiple_of(2) * self.bytes
    }

    /// Bytes that a run takes beside its operands, for so many rows or columns of the other operand.
    pub fn scratch(&self, others: usize) -> usize {
        let columns = if self.by == By::Rows { others.clamp(4, COLUMNS) } else { others };
        2 * self.k.next_multiple_of(2) * columns + 4 * self.outputs.max(others)
    }

    /// [`crate::product::Weights::times`] in whole numbers. All columns have the scale of the largest number.
    ///
    /// # Panics
    /// As there.
    pub fn times(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        self.times_of(x, from, out, to, after, ALL);
    }

    /// The same of these panels alone.
    pub(crate) fn times_of(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        panels: Range<usize>,
    ) {
        assert!(self.by == By::Rows, "weights packed by columns");
        assert!(from.rows == self.k && to.rows == self.outputs && from.columns == to.columns, "lengths");
        self.check(x, from, out, to, after);
        let n = from.columns;
        let largest = x.chunks(from.stride.max(1)).take(from.rows).map(|row| magnitude(&row[..n])).max();
        let (inverse, unit) = unit(largest.unwrap_or(0), self.most);
        let scales: Vec<f32> = self.scales.iter().map(|scale| scale * unit).collect();
        let width = n.clamp(4, COLUMNS).next_multiple_of(4).min(COLUMNS);
        let mut pairs = vec![0i16; 2 * self.k.div_ceil(2) * width];
        let mut at = 0;
        while at < n {
            let count = width.min(n - at);
            for (step, pairs) in pairs.chunks_exact_mut(2 * width).enumerate() {
                let row = |row: usize| {
                    let row = (row < self.k).then(|| row * from.stride + at);
                    row.map(|first| &x[first..first + count])
                };
                interleave(row(2 * step), row(2 * step + 1), inverse, pairs);
            }
            self.times_columns(
                &pairs,
                width,
                count,
                &scales,
                &mut out[at..],
                to,
                after.residual.map(|r| &r[at..]),
                after.bounds,
                panels.clone(),
            );
            at += count;
        }
    }

    /// Columns whose activations are quantised.
    #[allow(clippy::too_many_arguments)]
    fn times_columns(
        &self,
        pairs: &[i16],
        width: usize,
        count: usize,
        scales: &[f32],
        out: &mut [f32],
        to: Matrix,
        residual: Option<&[f32]>,
        bounds: Option<(f32, f32)>,
        panels: Range<usize>,
    ) {
        let whole = count / 4;
        for (row, rows) in within(cuts(self.outputs), panels.clone()) {
            let panel = self.packed.panel(row, rows, self.per_output());
            for (vector, vectors) in cuts(whole) {
                let at = row * to.stride + 4 * vector;
                let place = Place {
                    out: out[at..].as_mut_ptr(),
                    out_stride: to.stride,
                    residual: residual.map_or(std::ptr::null(), |residual| residual[at..].as_ptr()),
                    residual_stride: to.stride,
                };
                // SAFETY: pairs have `width` columns in each step; outputs and residual hold the tile (`check`).
                unsafe {
                    let splat = panel.address();
                    self.times_tile(
                        splat,
                        &pairs[8 * vector..],
                        width,
                        scales,
                        [row, rows],
                        vectors,
                        place,
                        bounds,
                    );
                }
            }
        }
        if count.is_multiple_of(4) {
            return;
        }
        // Columns that fill no vector come by way of a copy.
        let wanted = count % 4;
        let mut wide = [[0.0f32; 4]; 8];
        let mut added = [[0.0f32; 4]; 8];
        for (row, rows) in within(cuts(self.outputs), panels) {
            let panel = self.packed.panel(row, rows, self.per_output());
            let at = row * to.stride + 4 * whole;
            if let Some(residual) = residual {
                for (ix, added) in added.iter_mut().take(rows).enumerate() {
                    added[..wanted].copy_from_slice(&residual[at + ix * to.stride..][..wanted]);
                }
            }
            let place = Place {
                out: wide.as_mut_ptr().cast(),
                out_stride: 4,
                residual: if residual.is_some() { added.as_ptr().cast() } else { std::ptr::null() },
                residual_stride: 4,
            };
            // SAFETY: as above, but that the copies have eight rows and four columns.
            unsafe {
                let (splat, pairs) = (panel.address(), &pairs[8 * whole..]);
                self.times_tile(splat, pairs, width, scales, [row, rows], 1, place, bounds);
            }
            for (ix, wide) in wide.iter().take(rows).enumerate() {
                out[at + ix * to.stride..][..wanted].copy_from_slice(&wide[..wanted]);
            }
        }
    }

    /// One tile: rows of outputs from one on, so many, and so many vectors of the columns that `pairs` begins at.
    ///
    /// # Safety
    /// `splat` is the panel of those rows, `pairs` have those columns in every step, `width` apart, and what `place` says is there has room for the tile.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn times_tile(
        &self,
        splat: *const u8,
        pairs: &[i16],
        width: usize,
        scales: &[f32],
        [row, rows]: [usize; 2],
        vectors: usize,
        place: Place,
        bounds: Option<(f32, f32)>,
    ) {
        let steps = self.k.div_ceil(2);
        let call = Call {
            splat,
            splat_stride: 0,
            vector: pairs.as_ptr().cast(),
            vector_stride: 4 * width,
            out: place.out.cast(),
            out_stride: 4 * place.out_stride,
            steps,
            bias: self.bias[row..].as_ptr().cast(),
            residual: place.residual.cast(),
            residual_stride: 4 * place.residual_stride,
            bounds,
            row_scale: scales[row..].as_ptr().cast(),
            column_scale: std::ptr::null(),
        };
        // SAFETY: the caller's.
        unsafe { family(self.tiles)[4 * tile_place(rows) + tile_place(vectors)].call(&call) };
    }

    /// [`crate::product::Weights::under`] in whole numbers. Each row has a scale of its own.
    ///
    /// # Panics
    /// As there.
    pub fn under(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        self.under_of(x, from, out, to, after, ALL);
    }

    /// The same of these panels alone.
    pub(crate) fn under_of(
        &self,
        x: &[f32],
        from: Matrix,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        panels: Range<usize>,
    ) {
        assert!(self.by == By::Columns, "weights packed by rows");
        assert!(from.columns == self.k && to.columns == self.outputs && from.rows == to.rows, "lengths");
        self.check(x, from, out, to, after);
        let steps = self.k.div_ceil(2);
        let mut pairs = Vec::with_capacity(2 * steps * from.rows);
        let mut units = Vec::with_capacity(from.rows);
        for row in 0..from.rows {
            let numbers = &x[row * from.stride..row * from.stride + self.k];
            let (inverse, unit) = unit(magnitude(numbers), self.most);
            units.push(unit);
            quantise(numbers, inverse, &mut pairs);
        }
        let whole = self.outputs / 4;
        for (first, vectors) in within(cuts(self.outputs.div_ceil(4)), panels) {
            let panel = self.packed.panel(4 * first, 4 * vectors, self.per_output());
            if first + vectors > whole {
                self.under_ragged(panel.address(), &pairs, &units, first, vectors, out, to, after);
                continue;
            }
            for (row, rows) in cuts(from.rows) {
                let at = row * to.stride + 4 * first;
                let place = Place {
                    out: out[at..].as_mut_ptr(),
                    out_stride: to.stride,
                    residual: after.residual.map_or(std::ptr::null(), |residual| residual[at..].as_ptr()),
                    residual_stride: to.stride,
                };
                // SAFETY: pairs have a row for each of `from`; outputs and residual hold the tile (`check`).
                unsafe {
                    let vector = panel.address();
                    self.under_tile(
                        vector,
                        &pairs,
                        &units,
                        [first, vectors],
                        [row, rows],
                        place,
                        after.bounds,
                    );
                }
            }
        }
    }

    /// A panel whose last vector reaches beyond the outputs: by way of a copy.
    #[allow(clippy::too_many_arguments)]
    fn under_ragged(
        &self,
        vector: *const u8,
        pairs: &[i16],
        units: &[f32],
        first: usize,
        vectors: usize,
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
    ) {
        let wanted = self.outputs - 4 * first;
        let mut wide = [[0.0f32; 32]; 8];
        let mut added = [[0.0f32; 32]; 8];
        for (row, rows) in cuts(to.rows) {
            let at = row * to.stride + 4 * first;
            if let Some(residual) = after.residual {
                for (ix, added) in added.iter_mut().take(rows).enumerate() {
                    added[..wanted].copy_from_slice(&residual[at + ix * to.stride..][..wanted]);
                }
            }
            let place = Place {
                out: wide.as_mut_ptr().cast(),
                out_stride: 32,
                residual: if after.residual.is_some() { added.as_ptr().cast() } else { std::ptr::null() },
                residual_stride: 32,
            };
            // SAFETY: pairs have a row for each of the outputs'; the copies have eight rows and thirty-two columns.
            unsafe {
                self.under_tile(vector, pairs, units, [first, vectors], [row, rows], place, after.bounds);
            }
            for (ix, wide) in wide.iter().take(rows).enumerate() {
                out[at + ix * to.stride..][..wanted].copy_from_slice(&wide[..wanted]);
            }
        }
    }

    /// One tile: columns of outputs from a vector on, so many vectors, and rows from one on, so many.
    ///
    /// # Safety
    /// `vector` is the panel of those columns, `pairs` and `units` have those rows, and what `place` says is there has room for them and for whole vectors.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn under_tile(
        &self,
        vector: *const u8,
        pairs: &[i16],
        units: &[f32],
        [first, vectors]: [usize; 2],
        [row, rows]: [usize; 2],
        place: Place,
        bounds: Option<(f32, f32)>,
    ) {
        let steps = self.k.div_ceil(2);
        let call = Call {
            splat: pairs[2 * steps * row..].as_ptr().cast(),
            splat_stride: 4 * steps,
            vector,
            vector_stride: 0,
            out: place.out.cast(),
            out_stride: 4 * place.out_stride,
            steps,
            bias: self.bias[4 * first..].as_ptr().cast(),
            residual: place.residual.cast(),
            residual_stride: 4 * place.residual_stride,
            bounds,
            row_scale: units[row..].as_ptr().cast(),
            column_scale: self.scales[4 * first..].as_ptr().cast(),
        };
        // SAFETY: the caller's.
        unsafe { family(self.tiles)[4 * tile_place(rows) + tile_place(vectors)].call(&call) };
    }

    fn check(&self, x: &[f32], from: Matrix, out: &[f32], to: Matrix, after: After<'_>) {
        assert!(from.stride >= from.columns && to.stride >= to.columns, "rows overlap");
        assert!(x.len() >= from.span() && out.len() >= to.span(), "a slice is shorter than its matrix");
        assert!(
            after.residual.is_none_or(|r| r.len() >= to.span()),
            "the residual is shorter than the outputs"
        );
    }
}
