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

use crate::lanes::F32x4;
use crate::product::{After, By, Matrix, cuts, filled};
use crate::tile::{Call, Family, family, place};
use crate::turn::{lay, lay_to};
use pack::Packer;

pub use pack::Width;

mod pack;

/// Columns that are quantised at a time: four tiles wide.
const COLUMNS: usize = 128;

/// 1.5 · 2^23: added to a float of fewer than 22 bits, it leaves the nearest whole number in the lower bits.
const NEAREST: f32 = 12_582_912.0;

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
    pub(crate) packed: Vec<u8>,
    /// One an output; columns up to whole vectors. What a unit of the weights is.
    pub(crate) scales: Vec<f32>,
    /// As the scales.
    pub(crate) bias: Vec<f32>,
}

/// The longest sums that are served: with more, activations had fewer bits than int8 has.
pub const LONGEST: usize = (i32::MAX as usize) / (127 * 127);

/// One over the unit in which numbers of a largest magnitude are counted, up to `most`, and the unit.
fn unit(magnitude: u32, most: f32) -> (f32, f32) {
    let magnitude = f32::from_bits(magnitude);
    if !magnitude.is_finite() {
        return (0.0, f32::NAN);
    }
    let unit = magnitude / most;
    // Where the unit is below what can be turned, all numbers count as 0.
    let inverse = 1.0 / unit;
    if inverse.is_finite() { (inverse, unit) } else { (0.0, 0.0) }
}

/// The largest magnitude as bits. What is no number is larger than any.
fn magnitude(numbers: &[f32]) -> u32 {
    let mut four = F32x4::splat(0.0);
    let mut chunks = numbers.chunks_exact(4);
    for chunk in &mut chunks {
        four = four.magnitude(F32x4::of(chunk));
    }
    let rest = chunks.remainder().iter().map(|x| x.to_bits() & 0x7fff_ffff);
    four.bits().into_iter().chain(rest).max().unwrap_or(0)
}

/// The nearest whole number of units.
fn nearest(x: f32, inverse: f32) -> i16 {
    (x * inverse + NEAREST).to_bits() as i16
}

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
        (WholeWeights { by, tiles, most, bytes, outputs, k, packed, scales, bias }, error)
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
    ) {
        let steps = self.k.div_ceil(2);
        let whole = count / 4;
        let parts = cuts(whole).map(|(first, vectors)| (4 * first, vectors, 4 * vectors));
        // Columns that fill no vector come by way of a copy.
        let ragged = (!count.is_multiple_of(4)).then_some((4 * whole, 1, count % 4));
        for (row, rows) in cuts(self.outputs) {
            for (column, vectors, wanted) in parts.clone().chain(ragged) {
                let at = row * to.stride + column;
                let direct = wanted == 4 * vectors;
                let mut wide = [[0.0f32; 4]; 8];
                let mut added = [[0.0f32; 4]; 8];
                if let (false, Some(residual)) = (direct, residual) {
                    for (ix, added) in added.iter_mut().take(rows).enumerate() {
                        added[..wanted].copy_from_slice(&residual[at + ix * to.stride..][..wanted]);
                    }
                }
                let residual = match residual {
                    Some(residual) if direct => residual[at..].as_ptr(),
                    Some(_) => added.as_ptr().cast(),
                    None => std::ptr::null(),
                };
                let call = Call {
                    splat: self.packed[2 * row * steps * self.bytes..].as_ptr(),
                    splat_stride: 0,
                    vector: pairs[2 * column..].as_ptr().cast(),
                    vector_stride: 4 * width,
                    out: if direct { out[at..].as_mut_ptr().cast() } else { wide.as_mut_ptr().cast() },
                    out_stride: if direct { 4 * to.stride } else { 16 },
                    steps,
                    bias: self.bias[row..].as_ptr().cast(),
                    residual: residual.cast(),
                    residual_stride: if direct { 4 * to.stride } else { 16 },
                    bounds,
                    row_scale: scales[row..].as_ptr().cast(),
                    column_scale: std::ptr::null(),
                };
                // SAFETY: pairs have `width` columns in each step; outputs and residual hold the tile (`check`), or are the
                // copies, of eight rows and four columns.
                unsafe { family(self.tiles)[4 * place(rows) + place(vectors)].call(&call) };
                if !direct {
                    for (ix, wide) in wide.iter().take(rows).enumerate() {
                        out[at + ix * to.stride..][..wanted].copy_from_slice(&wide[..wanted]);
                    }
                }
            }
        }
    }

    /// [`crate::product::Weights::under`] in whole numbers. Each row has a scale of its own.
    ///
    /// # Panics
    /// As there.
    pub fn under(&self, x: &[f32], from: Matrix, out: &mut [f32], to: Matrix, after: After<'_>) {
        assert!(self.by == By::Columns, "weights packed by rows");
        assert!(from.columns == self.k && to.columns == self.outputs && from.rows == to.rows, "lengths");
        self.check(x, from, out, to, after);
        let steps = self.k.div_ceil(2);
        let mut pairs = vec![0i16; 2 * steps * from.rows];
        let mut units = vec![0.0; from.rows];
        for (row, (pairs, to)) in pairs.chunks_exact_mut((2 * steps).max(1)).zip(&mut units).enumerate() {
            let numbers = &x[row * from.stride..row * from.stride + self.k];
            let (inverse, unit) = unit(magnitude(numbers), self.most);
            *to = unit;
            quantise(numbers, inverse, pairs);
        }
        for (first, vectors) in cuts(self.outputs.div_ceil(4)) {
            let wanted = (4 * vectors).min(self.outputs - 4 * first);
            let direct = wanted == 4 * vectors;
            for (row, rows) in cuts(from.rows) {
                let at = row * to.stride + 4 * first;
                let mut wide = [[0.0f32; 32]; 8];
                let mut added = [[0.0f32; 32]; 8];
                if let (false, Some(residual)) = (direct, after.residual) {
                    for (ix, added) in added.iter_mut().take(rows).enumerate() {
                        added[..wanted].copy_from_slice(&residual[at + ix * to.stride..][..wanted]);
                    }
                }
                let residual = match after.residual {
                    Some(residual) if direct => residual[at..].as_ptr(),
                    Some(_) => added.as_ptr().cast(),
                    None => std::ptr::null(),
                };
                let call = Call {
                    splat: pairs[2 * steps * row..].as_ptr().cast(),
                    splat_stride: 4 * steps,
                    vector: self.packed[8 * first * steps * self.bytes..].as_ptr(),
                    vector_stride: 0,
                    out: if direct { out[at..].as_mut_ptr().cast() } else { wide.as_mut_ptr().cast() },
                    out_stride: if direct { 4 * to.stride } else { 128 },
                    steps,
                    bias: self.bias[4 * first..].as_ptr().cast(),
                    residual: residual.cast(),
                    residual_stride: if direct { 4 * to.stride } else { 128 },
                    bounds: after.bounds,
                    row_scale: units[row..].as_ptr().cast(),
                    column_scale: self.scales[4 * first..].as_ptr().cast(),
                };
                // SAFETY: pairs have a row for each of `from`; outputs and residual hold the tile (`check`), or are the
                // copies, of eight rows and thirty-two columns.
                unsafe { family(self.tiles)[4 * place(rows) + place(vectors)].call(&call) };
                if !direct {
                    for (ix, wide) in wide.iter().take(rows).enumerate() {
                        out[at + ix * to.stride..][..wanted].copy_from_slice(&wide[..wanted]);
                    }
                }
            }
        }
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

/// Numbers one behind the other, as whole units.
fn quantise(numbers: &[f32], inverse: f32, to: &mut [i16]) {
    let (factor, shift) = (F32x4::splat(inverse), F32x4::splat(NEAREST));
    let whole = numbers.len() / 8 * 8;
    assert!(to.len() >= numbers.len(), "room for the numbers");
    let mut at = 0;
    while at < whole {
        // SAFETY: eight numbers are there, and room for them (asserted).
        unsafe {
            let from = numbers.as_ptr().add(at);
            let low = F32x4::load(from) * factor + shift;
            let high = F32x4::load(from.add(4)) * factor + shift;
            low.store_halves(high, to.as_mut_ptr().add(at));
        }
        at += 8;
    }
    for (to, number) in to[whole..].iter_mut().zip(&numbers[whole..]) {
        *to = nearest(*number, inverse);
    }
}

/// Two rows in turn, as whole units; a row that is not there counts as zeros.
fn interleave(low: Option<&[f32]>, high: Option<&[f32]>, inverse: f32, to: &mut [i16]) {
    let Some(low) = low else { return };
    let (factor, shift) = (F32x4::splat(inverse), F32x4::splat(NEAREST));
    let whole = low.len() / 4 * 4;
    assert!(to.len() >= 2 * low.len() && high.is_none_or(|h| h.len() >= low.len()), "room for the pairs");
    let mut at = 0;
    while at < whole {
        // SAFETY: four numbers are in each row, and room for their pairs (asserted).
        unsafe {
            let first = F32x4::load(low.as_ptr().add(at)) * factor + shift;
            let second = match high {
                Some(high) => F32x4::load(high.as_ptr().add(at)) * factor + shift,
                None => shift,
            };
            first.store_pairs(second, to.as_mut_ptr().add(2 * at));
        }
        at += 4;
    }
    for at in whole..low.len() {
        to[2 * at] = nearest(low[at], inverse);
        to[2 * at + 1] = high.map_or(0, |high| nearest(high[at], inverse));
    }
}

mod price;

#[cfg(test)]
mod tests;
