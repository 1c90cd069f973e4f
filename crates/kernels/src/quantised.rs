//! Matrix products of weights in int8 with activations that are quantised as they come.
//!
//! Weights have a scale for each output, so that the largest of its numbers is 127. Activations have as many bits as the
//! sums leave room for, 16 at most: a dot of int16 costs the same however large its numbers are, and a sum of `k` products
//! has to fit 31 bits. With 384 numbers a sum that is all 16 bits, with 4,608 it is 12; so what is lost is the weights'.
//! The scale of activations is that of a token's row, or of all the pixels at hand. Where one of those is no number or
//! infinite, all its outputs are no numbers.

use crate::lanes::F32x4;
use crate::product::{After, By, Matrix, cuts, filled};
use crate::tile::{Call, Family, family, place};

/// Columns that are quantised at a time: four tiles wide.
const COLUMNS: usize = 128;

/// 1.5 · 2^23: added to a float of fewer than 22 bits, it leaves the nearest whole number in the lower bits.
const NEAREST: f32 = 12_582_912.0;

/// A packed operand in int8 with its scales and bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Weights {
    by: By,
    /// Rows or columns that are outputs.
    outputs: usize,
    /// Length of the sums.
    k: usize,
    /// Panel after panel, pairs along `k`.
    packed: Vec<i8>,
    /// One an output; columns up to whole vectors. What a unit of the weights is.
    scales: Vec<f32>,
    /// As the scales.
    bias: Vec<f32>,
}

/// The longest sums that are served: with more, activations had fewer bits than weights.
pub const LONGEST: usize = (i32::MAX as usize) / (127 * 127);

/// The largest activation for sums of `k`.
fn most(k: usize) -> f32 {
    (i32::MAX as usize / (127 * k.next_multiple_of(2).max(2))).min(32_767) as f32
}

/// One over the unit in which numbers of a largest magnitude are counted, and the unit.
fn unit(magnitude: u32, k: usize) -> (f32, f32) {
    let magnitude = f32::from_bits(magnitude);
    if !magnitude.is_finite() {
        return (0.0, f32::NAN);
    }
    let unit = magnitude / most(k);
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

impl Int8Weights {
    /// Packs `w[m][k]`, given by `at(m, k)`, for [`Int8Weights::times`]. `bias` has one number a row, or none.
    ///
    /// # Panics
    /// Where `k` is over [`LONGEST`].
    pub fn rows(m: usize, k: usize, bias: &[f32], at: impl Fn(usize, usize) -> f32) -> Int8Weights {
        assert!(k <= LONGEST, "sums of {k}");
        let scales: Vec<f32> = (0..m).map(|row| scale((0..k).map(|step| at(row, step)))).collect();
        let mut packed = Vec::with_capacity(m * k.next_multiple_of(2));
        for (first, rows) in cuts(m) {
            for step in 0..k.div_ceil(2) {
                for (row, &scale) in scales.iter().enumerate().skip(first).take(rows) {
                    packed.extend(pair(2 * step, k, scale, |step| at(row, step)));
                }
            }
        }
        Int8Weights { by: By::Rows, outputs: m, k, packed, scales, bias: filled(bias, m) }
    }

    /// Packs `w[k][n]`, given by `at(k, n)`, for [`Int8Weights::under`]. `bias` has one number a column, or none.
    ///
    /// # Panics
    /// Where `k` is over [`LONGEST`].
    pub fn columns(k: usize, n: usize, bias: &[f32], at: impl Fn(usize, usize) -> f32) -> Int8Weights {
        assert!(k <= LONGEST, "sums of {k}");
        let vectors = n.div_ceil(4);
        let mut scales: Vec<f32> = (0..n).map(|column| scale((0..k).map(|step| at(step, column)))).collect();
        scales.resize(4 * vectors, 0.0);
        let mut packed = Vec::with_capacity(4 * vectors * k.next_multiple_of(2));
        for (first, count) in cuts(vectors) {
            for step in 0..k.div_ceil(2) {
                for (column, &scale) in scales.iter().enumerate().skip(4 * first).take(4 * count) {
                    packed.extend(pair(
                        2 * step,
                        k,
                        scale,
                        |step| if column < n { at(step, column) } else { 0.0 },
                    ));
                }
            }
        }
        Int8Weights { by: By::Columns, outputs: n, k, packed, scales, bias: filled(bias, 4 * vectors) }
    }

    /// The same with another bias, one number an output.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Int8Weights {
        self.bias[..self.outputs].copy_from_slice(&bias[..self.outputs]);
        self
    }

    /// The bias, one number an output.
    pub fn bias(&self) -> &[f32] {
        &self.bias[..self.outputs]
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
        let (inverse, unit) = unit(largest.unwrap_or(0), self.k);
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
                    splat: self.packed[2 * row * steps..].as_ptr().cast(),
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
                unsafe { family(Family::I8Splat)[4 * place(rows) + place(vectors)].call(&call) };
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
            let (inverse, unit) = unit(magnitude(numbers), self.k);
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
                    vector: self.packed[8 * first * steps..].as_ptr().cast(),
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
                unsafe { family(Family::I8Vector)[4 * place(rows) + place(vectors)].call(&call) };
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

/// What one unit of the largest number's 127 is.
fn scale(numbers: impl Iterator<Item = f32>) -> f32 {
    numbers.fold(0.0f32, |most, x| if x.abs() > most { x.abs() } else { most }) / 127.0
}

/// Two numbers along `k` in units of `scale`; 0 beyond the end.
fn pair(first: usize, k: usize, scale: f32, at: impl Fn(usize) -> f32) -> [i8; 2] {
    [first, first + 1].map(|step| {
        let units = if step < k && scale > 0.0 { at(step) / scale } else { 0.0 };
        units.round_ties_even().clamp(-127.0, 127.0) as i8
    })
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

#[cfg(test)]
mod tests;
