//! Products and convolutions of bytes whose sums are exact.
//!
//! Operands are int8 or uint8 with a zero point each. A byte less its zero point fits int16, so the tiles of int16 sum the
//! differences themselves and there is nothing to correct afterwards; where all weights' differences fit int8, they are kept
//! as such. Sums are int32 modulo 2^32, as ONNX has them. What is made of sums (`ending`) is by the rules of
//! ONNX too: nothing here rounds but where an operator says so.

use std::mem::MaybeUninit;

use crate::product::{By, cuts};
use crate::tile::{Call, Family, family, place};

pub(crate) use alone::Alone;
pub use bytes::{Two, combine, map_bytes, sum_lines, sum_rows};
pub use conv::ExactConv;
pub(crate) use conv::Kernel;
pub use ending::{dequantise, quantise, real, requantise, span};

mod alone;
mod bytes;
mod conv;
mod ending;
mod price;
#[cfg(test)]
mod tests;

/// Bytes of one type with the zero point that is subtracted from each.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    bytes: &'a [u8],
    /// What makes a byte one that counts from 0.
    flip: u8,
    /// What such a byte has to lose.
    less: i16,
}

impl<'a> Bytes<'a> {
    /// Bytes that are int8 in two's complement or uint8. `zero` is of the same type, so from -128 to 255.
    pub fn new(bytes: &'a [u8], signed: bool, zero: i16) -> Bytes<'a> {
        if signed {
            Bytes { bytes, flip: 0x80, less: zero.wrapping_add(0x80) }
        } else {
            Bytes { bytes, flip: 0, less: zero }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some of them.
    ///
    /// # Panics
    /// Where they are not there.
    pub fn part(self, range: std::ops::Range<usize>) -> Bytes<'a> {
        Bytes { bytes: &self.bytes[range], ..self }
    }

    /// The differences to the zero point.
    ///
    /// # Panics
    /// Where `to` has another length.
    pub fn widen(self, to: &mut [i16]) {
        assert!(to.len() == self.len(), "a place for each number");
        for (to, byte) in to.iter_mut().zip(self.bytes) {
            *to = i16::from(byte ^ self.flip).wrapping_sub(self.less);
        }
    }
}

/// A packed operand of whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactWeights {
    pub(crate) by: By,
    pub(crate) tiles: Family,
    /// Rows or columns that are outputs.
    pub(crate) outputs: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// Panel after panel, pairs along `k`.
    pub(crate) packed: Vec<u8>,
}

impl ExactWeights {
    /// Packs `w[m][k]`, whose numbers lie `along_m` and `along_k` apart, as rows: what [`ExactConv`] is made of.
    ///
    /// Costs about 20 instructions a number.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub(crate) fn rows_of([m, k]: [usize; 2], w: &[i16], apart: [usize; 2]) -> ExactWeights {
        Self::packed(By::Rows, [m, k], w, apart)
    }

    /// Packs `w[k][n]`, whose numbers lie `along_k` and `along_n` apart, for [`ExactWeights::under`].
    ///
    /// Costs about 20 instructions a number.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn columns_of([k, n]: [usize; 2], w: &[i16], [along_k, along_n]: [usize; 2]) -> ExactWeights {
        Self::packed(By::Columns, [n, k], w, [along_n, along_k])
    }

    fn packed(by: By, [outputs, k]: [usize; 2], w: &[i16], [along, along_k]: [usize; 2]) -> ExactWeights {
        let narrow = w.iter().all(|x| i8::try_from(*x).is_ok());
        let unit = if by == By::Columns { 4 } else { 1 };
        let bytes = if narrow { 1 } else { 2 };
        let mut packed = Vec::with_capacity(2 * bytes * outputs.next_multiple_of(unit) * k.div_ceil(2));
        for (first, count) in cuts(outputs.div_ceil(unit)) {
            let (first, lanes) = (unit * first, unit * count);
            for step in 0..k.div_ceil(2) {
                for output in first..first + lanes {
                    for row in [2 * step, 2 * step + 1] {
                        let there = output < outputs && row < k;
                        let number = if there { w[output * along + row * along_k] } else { 0 };
                        match narrow {
                            true => packed.push(number as u8),
                            false => packed.extend(number.to_le_bytes()),
                        }
                    }
                }
            }
        }
        let tiles = match (by, narrow) {
            (By::Rows, true) => Family::I8Splat,
            (By::Rows, false) => Family::I16Splat,
            (By::Columns, true) => Family::I8Vector,
            (By::Columns, false) => Family::I16Vector,
        };
        ExactWeights { by, tiles, outputs, k, packed }
    }

    /// Rows or columns that are outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Length of the sums.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Whether they are columns: what [`ExactWeights::under`] takes.
    pub fn is_columns(&self) -> bool {
        self.by == By::Columns
    }

    /// Bytes of the packed numbers.
    pub fn bytes(&self) -> usize {
        self.packed.len()
    }

    /// Bytes of a pair on the packed side.
    fn pair(&self) -> usize {
        if matches!(self.tiles, Family::I8Splat | Family::I8Vector) { 2 } else { 4 }
    }

    /// Bytes that [`ExactWeights::under`] takes beside its operands.
    pub fn scratch(&self, rows: usize) -> usize {
        4 * self.k.div_ceil(2) * rows
    }

    /// `x` times the weights: rows of `k` numbers, one behind the other, to rows of outputs.
    ///
    /// # Panics
    /// Where lengths do not fit, or the weights are rows.
    pub fn under(&self, x: Bytes<'_>, rows: usize, out: &mut [MaybeUninit<i32>]) {
        assert!(self.by == By::Columns, "weights packed by rows");
        assert!(x.len() == rows * self.k && out.len() == rows * self.outputs, "lengths");
        let steps = self.k.div_ceil(2);
        let mut pairs: Vec<i16> = vec![0; 2 * steps * rows];
        if 2 * steps == self.k {
            x.widen(&mut pairs);
        } else {
            for (row, to) in pairs.chunks_exact_mut(2 * steps).enumerate() {
                x.part(row * self.k..(row + 1) * self.k).widen(&mut to[..self.k]);
            }
        }
        for (first, vectors) in cuts(self.outputs.div_ceil(4)) {
            let wanted = (4 * vectors).min(self.outputs - 4 * first);
            let direct = wanted == 4 * vectors;
            for (row, rows) in cuts(rows) {
                let mut copy = [[0i32; 32]; 8];
                let out = &mut out[row * self.outputs + 4 * first..];
                let call = Call {
                    splat: pairs[2 * steps * row..].as_ptr().cast(),
                    splat_stride: 4 * steps,
                    vector: self.packed[4 * first * steps * self.pair()..].as_ptr(),
                    vector_stride: 0,
                    out: if direct { out.as_mut_ptr().cast() } else { copy.as_mut_ptr().cast() },
                    out_stride: if direct { 4 * self.outputs } else { 128 },
                    steps,
                    ..SUMS
                };
                // SAFETY: pairs have a row for each of `x`, of so many steps; outputs hold the tile, or are the copy, of eight
                // rows and thirty-two columns.
                unsafe { family(self.tiles)[4 * place(rows) + place(vectors)].call(&call) };
                if !direct {
                    for (ix, copy) in copy.iter().take(rows).enumerate() {
                        out[ix * self.outputs..][..wanted].write_copy_of_slice(&copy[..wanted]);
                    }
                }
            }
        }
    }

    /// The weights times `count` columns of pairs, which have room for `width` in each step; rows of outputs are `stride` apart.
    ///
    /// # Panics
    /// Where lengths do not fit, or the weights are columns.
    fn times(&self, pairs: &[i16], [width, count]: [usize; 2], out: &mut [MaybeUninit<i32>], stride: usize) {
        let steps = self.k.div_ceil(2);
        assert!(self.by == By::Rows, "weights packed by columns");
        assert!(count <= stride && out.len() >= (self.outputs.max(1) - 1) * stride + count, "rows overlap");
        // The last tile reads whole vectors.
        assert!(count.next_multiple_of(4) <= width && pairs.len() >= 2 * steps * width, "pairs");
        let whole = count / 4;
        let parts = cuts(whole).map(|(first, vectors)| (4 * first, vectors, 4 * vectors));
        // Columns that fill no vector come by way of a copy.
        let ragged = (!count.is_multiple_of(4)).then_some((4 * whole, 1, count % 4));
        for (row, rows) in cuts(self.outputs) {
            for (column, vectors, wanted) in parts.clone().chain(ragged) {
                let direct = wanted == 4 * vectors;
                let mut copy = [[0i32; 4]; 8];
                let out = &mut out[row * stride + column..];
                let call = Call {
                    splat: self.packed[row * steps * self.pair()..].as_ptr(),
                    splat_stride: 0,
                    vector: pairs[2 * column..].as_ptr().cast(),
                    vector_stride: 4 * width,
                    out: if direct { out.as_mut_ptr().cast() } else { copy.as_mut_ptr().cast() },
                    out_stride: if direct { 4 * stride } else { 16 },
                    steps,
                    ..SUMS
                };
                // SAFETY: pairs have `width` columns in each step (asserted); outputs hold the tile (asserted), or are the copy,
                // of eight rows and four columns.
                unsafe { family(self.tiles)[4 * place(rows) + place(vectors)].call(&call) };
                if !direct {
                    for (ix, copy) in copy.iter().take(rows).enumerate() {
                        out[ix * stride..][..wanted].write_copy_of_slice(&copy[..wanted]);
                    }
                }
            }
        }
    }
}

/// A call whose outputs are whole sums, and whose operands are still to be said.
const SUMS: Call = Call {
    splat: std::ptr::null(),
    splat_stride: 0,
    vector: std::ptr::null(),
    vector_stride: 0,
    out: std::ptr::null_mut(),
    out_stride: 0,
    steps: 0,
    bias: std::ptr::null(),
    residual: std::ptr::null(),
    residual_stride: 0,
    bounds: None,
    row_scale: std::ptr::null(),
    column_scale: std::ptr::null(),
};
