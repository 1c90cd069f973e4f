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

/// Columns that are quantised at a time: four tiles wide.
const COLUMNS: usize = 128;

/// 1.5 · 2^23: added to a float of fewer than 22 bits, it leaves the nearest whole number in the lower bits.
const NEAREST: f32 = 12_582_912.0;

/// What weights are kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte each.
    Int8,
    /// Two bytes each, of as many bits as the sums leave.
    Int16,
}

impl Width {
    /// The largest activation for sums of `k`.
    ///
    /// For int16 it balances what is lost. Weights have units of `mean · A · k / 2^31`, where `A` is what this answers and the mean is
    /// of the output's magnitudes; activations have units of `largest / A`, and their largest is taken to be sixteen
    /// times their mean. Those are equal parts of the means at `A² = 16 · 2^31 / k`.
    fn most(self, k: usize) -> f32 {
        match self {
            Width::Int8 => (i32::MAX as usize / (127 * k.next_multiple_of(2).max(2))).min(32_767) as f32,
            Width::Int16 => {
                (16.0 * f64::from(i32::MAX) / k.max(1) as f64).sqrt().min(32_767.0).floor() as f32
            }
        }
    }

    /// The largest weight.
    fn largest(self) -> f32 {
        match self {
            Width::Int8 => 127.0,
            Width::Int16 => 32_767.0,
        }
    }

    /// The unit of an output's `k` weights.
    ///
    /// For int16 no sum overflows: the magnitudes of whole weights add up to what `most` activations of one sign leave of 31
    /// bits, less `k`, when they are not rounded; rounding adds `k / 2` at most, and that of the unit and the
    /// divisions, 2^-23 of the sum, less than the other half (of one weight, which has none, the largest is far from it).
    fn unit(self, k: usize, numbers: impl Iterator<Item = f32>) -> f32 {
        let larger = |most: f32, x: f32| if x.abs() > most { x.abs() } else { most };
        match self {
            Width::Int8 => numbers.fold(0.0f32, larger) / self.largest(),
            Width::Int16 => {
                let (mut most, mut sum) = (0.0f32, 0.0f64);
                for x in numbers {
                    most = larger(most, x);
                    sum += f64::from(x.abs());
                }
                let room = (f64::from(i32::MAX) / f64::from(self.most(k))).floor() - k as f64;
                let (unit, least) = ((sum / room) as f32, most / self.largest());
                // Where a weight is no number, neither is the unit, and so are the outputs.
                let unit = if unit < least { least } else { unit };
                // A unit of fewer bits is not what was reckoned with: all its weights count as 0.
                if unit < f32::MIN_POSITIVE { 0.0 } else { unit }
            }
        }
    }

    /// Two numbers along `k` in units of `unit`; 0 beyond the end.
    fn pair(self, first: usize, k: usize, unit: f32, at: impl Fn(usize) -> f32) -> [i16; 2] {
        let largest = self.largest();
        [first, first + 1].map(|step| {
            let units = if step < k && unit > 0.0 { at(step) / unit } else { 0.0 };
            units.round_ties_even().clamp(-largest, largest) as i16
        })
    }

    /// Bytes of a number.
    fn bytes(self) -> usize {
        match self {
            Width::Int8 => 1,
            Width::Int16 => 2,
        }
    }

    /// A pair behind those that are packed.
    fn push(self, pair: [i16; 2], packed: &mut Vec<u8>) {
        match self {
            Width::Int8 => packed.extend(pair.map(|x| x as u8)),
            Width::Int16 => packed.extend_from_slice(pair.map(i16::to_ne_bytes).as_flattened()),
        }
    }
}

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
    /// Packs `w[m][k]`, given by `at(m, k)`, for [`WholeWeights::times`]. `bias` has one number a row, or none.
    ///
    /// # Panics
    /// Where `k` is over [`LONGEST`].
    pub fn rows(
        width: Width,
        m: usize,
        k: usize,
        bias: &[f32],
        at: impl Fn(usize, usize) -> f32,
    ) -> WholeWeights {
        assert!(k <= LONGEST, "sums of {k}");
        let scales: Vec<f32> = (0..m).map(|row| width.unit(k, (0..k).map(|step| at(row, step)))).collect();
        let mut packed = Vec::with_capacity(width.bytes() * m * k.next_multiple_of(2));
        for (first, rows) in cuts(m) {
            for step in 0..k.div_ceil(2) {
                for (row, &scale) in scales.iter().enumerate().skip(first).take(rows) {
                    width.push(width.pair(2 * step, k, scale, |step| at(row, step)), &mut packed);
                }
            }
        }
        WholeWeights {
            by: By::Rows,
            tiles: if width == Width::Int8 { Family::I8Splat } else { Family::I16Splat },
            most: width.most(k),
            bytes: width.bytes(),
            outputs: m,
            k,
            packed,
            scales,
            bias: filled(bias, m),
        }
    }

    /// Packs `w[k][n]`, given by `at(k, n)`, for [`WholeWeights::under`]. `bias` has one number a column, or none.
    ///
    /// # Panics
    /// Where `k` is over [`LONGEST`].
    pub fn columns(
        width: Width,
        k: usize,
        n: usize,
        bias: &[f32],
        at: impl Fn(usize, usize) -> f32,
    ) -> WholeWeights {
        assert!(k <= LONGEST, "sums of {k}");
        let vectors = n.div_ceil(4);
        let mut scales: Vec<f32> =
            (0..n).map(|column| width.unit(k, (0..k).map(|step| at(step, column)))).collect();
        scales.resize(4 * vectors, 0.0);
        let mut packed = Vec::with_capacity(width.bytes() * 4 * vectors * k.next_multiple_of(2));
        for (first, count) in cuts(vectors) {
            for step in 0..k.div_ceil(2) {
                for (column, &scale) in scales.iter().enumerate().skip(4 * first).take(4 * count) {
                    let at = |step| if column < n { at(step, column) } else { 0.0 };
                    width.push(width.pair(2 * step, k, scale, at), &mut packed);
                }
            }
        }
        WholeWeights {
            by: By::Columns,
            tiles: if width == Width::Int8 { Family::I8Vector } else { Family::I16Vector },
            most: width.most(k),
            bytes: width.bytes(),
            outputs: n,
            k,
            packed,
            scales,
            bias: filled(bias, 4 * vectors),
        }
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
