//! Products of weights of two, four or eight bits with a scale, and it may be a zero point, a block along `k`: what language models
//! are quantised to.
//!
//! `y[m][n] = Σ x[m][k] · (w[n][k] - zero[n][k / block]) · scale[n][k / block]`. Weights stay as small as they are in the file,
//! two bits as four: nothing is made real but sums. Activations become int16 by units of 32 numbers of a row, as many as a unit's
//! largest allows, so what is lost of one is a 65,000th of the largest beside it at most. The product of a unit is whole and exact,
//! then real, times both scales, and added up in the order of `k`.
//!
//! Zero points that are not in the middle, reals among them, are a product of their own: of the sums of activations a block times
//! what a block's weights are off by, with one number a block instead of a weight.

use crate::product::{After, Matrix, Weights};
use crate::quantised::units::{magnitude, quantise, unit};
use tile::{COLUMNS, Call, STEPS, Unit, tile};

mod price;
#[cfg(test)]
mod tests;
mod tile;

/// Numbers of a unit.
const UNIT: usize = 2 * STEPS;
/// The largest activation.
const MOST: f32 = 32_767.0;
/// The middle of what nibbles are.
const MIDDLE: i32 = 8;

/// How weights lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Bits of a weight: 2, 4 or 8.
    pub bits: usize,
    /// Weights of a block: a power of two, 16 at least, and no more than the one that `k` fits in.
    pub block: usize,
    /// Length of the sums.
    pub k: usize,
    /// Columns of outputs.
    pub outputs: usize,
}

impl Blocks {
    /// Blocks of a column.
    pub fn count(&self) -> usize {
        self.k.div_ceil(self.block)
    }

    /// Bytes of a column: whole blocks.
    pub fn column_bytes(&self) -> usize {
        self.count() * self.block * self.bits / 8
    }

    /// Whether there are weights like that here.
    pub fn is_served(&self) -> bool {
        let most = self.k.next_power_of_two().max(16);
        matches!(self.bits, 2 | 4 | 8) && self.block.is_power_of_two() && (16..=most).contains(&self.block)
    }

    /// Weights of a unit that are there: the rest of it is padding.
    fn filled(&self) -> usize {
        self.block.min(UNIT)
    }

    /// Units of a block.
    fn each(&self) -> usize {
        self.block.div_ceil(UNIT)
    }

    /// Units of a column.
    fn units(&self) -> usize {
        self.count() * self.each()
    }

    /// Whether two of them are in a byte.
    fn nibbles(&self) -> bool {
        self.bits < 8
    }

    /// Bytes of a unit of 32 columns.
    fn unit_bytes(&self) -> usize {
        if self.nibbles() { COLUMNS * STEPS } else { 2 * COLUMNS * STEPS }
    }

    /// Bytes of packed weights, and how many scales are laid; none where that is more than can be addressed.
    pub(crate) fn packed_lengths(&self) -> Option<[usize; 2]> {
        let panels = self.outputs.div_ceil(COLUMNS);
        let units = self.count().checked_mul(self.each())?;
        let packed = panels.checked_mul(units)?.checked_mul(self.unit_bytes())?;
        let scales = panels.checked_mul(self.count())?.checked_mul(COLUMNS)?;
        (packed < 1 << 31 && scales < 1 << 29).then_some([packed, scales])
    }

    /// What a weight is counted from where no zero point is given.
    pub fn middle(&self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }
}

/// Packed weights.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockWeights {
    pub(crate) blocks: Blocks,
    /// 32 columns after another: their units.
    pub(crate) packed: Vec<u8>,
    /// 32 columns after another: 32 scales a block.
    pub(crate) scales: Vec<f32>,
    /// What a block's weights are off by, where they are.
    pub(crate) off: Option<Weights>,
    /// One an output, or none.
    pub(crate) bias: Vec<f32>,
}

impl BlockWeights {
    /// Packs `w`, the columns of a file one behind the other: blocks of whole bytes, weights from the lowest bits on. Scales, and
    /// zero points if there are any, are one a block, in the order of blocks; a bias has a number a column.
    ///
    /// Costs about 4 instructions a weight.
    ///
    /// # Panics
    /// Where they are not served ([`Blocks::is_served`]), or lengths do not fit.
    pub fn new(
        blocks: Blocks,
        w: &[u8],
        scales: &[f32],
        zeros: Option<&[f32]>,
        bias: Option<&[f32]>,
    ) -> BlockWeights {
        assert!(blocks.is_served(), "weights of {blocks:?}");
        let (n, count, bytes) = (blocks.outputs, blocks.count(), blocks.column_bytes());
        assert!(w.len() == n * bytes && scales.len() == n * count, "lengths");
        assert!(zeros.is_none_or(|z| z.len() == n * count) && bias.is_none_or(|b| b.len() == n), "lengths");
        let panels = n.div_ceil(COLUMNS);
        let size = blocks.units() * blocks.unit_bytes();
        let mut packed = vec![0u8; panels * size];
        let mut laid = vec![0.0f32; panels * count * COLUMNS];
        let mut row = vec![0u8; blocks.units() * UNIT * blocks.bits.max(4) / 8];
        for (column, w) in w.chunks_exact(bytes.max(1)).enumerate() {
            let (panel, lane) = (column / COLUMNS, column % COLUMNS);
            blocks.widen(w, &mut row);
            blocks.lay(&row, lane, &mut packed[panel * size..(panel + 1) * size]);
            for (block, scale) in scales[column * count..(column + 1) * count].iter().enumerate() {
                laid[(panel * count + block) * COLUMNS + lane] = *scale;
            }
        }
        let off = zeros.filter(|zeros| zeros.iter().any(|zero| *zero != blocks.middle())).map(|zeros| {
            let off: Vec<f32> =
                zeros.iter().zip(scales).map(|(zero, scale)| scale * (blocks.middle() - zero)).collect();
            Weights::columns_of([count, n], &off, [1, count])
        });
        BlockWeights { blocks, packed, scales: laid, off, bias: bias.unwrap_or_default().to_vec() }
    }

    /// What they are.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Bytes of the packed weights and what belongs to them.
    pub fn bytes(&self) -> usize {
        let off = self.off.as_ref().map_or(0, |off| 4 * off.k() * off.outputs());
        self.packed.len() + 4 * (self.scales.len() + self.bias.len()) + off
    }

    /// Bytes that [`BlockWeights::under`] takes beside its operands.
    pub fn scratch(&self, rows: usize) -> usize {
        rows * (self.blocks.units() * (2 * UNIT + size_of::<Unit>()) + 4 * self.blocks.count()) + 16 * COLUMNS
    }

    /// `x`, rows of `k` numbers one behind the other, times the weights: to rows of outputs. Where one of a unit is no number or
    /// infinite, all outputs of its row are no numbers.
    ///
    /// # Panics
    /// Where lengths do not fit.
    pub fn under(&self, x: &[f32], rows: usize, out: &mut [f32]) {
        let Blocks { k, outputs: n, .. } = self.blocks;
        assert!(x.len() == rows * k && out.len() == rows * n, "lengths");
        let activations = Activations::of(&self.blocks, x, rows);
        match &self.off {
            Some(off) => {
                let sums = activations.by_blocks(&self.blocks);
                let (from, to) = (Matrix::dense(rows, self.blocks.count()), Matrix::dense(rows, n));
                off.under(&sums, from, out, to, After::default());
                if !self.bias.is_empty() {
                    let rows = out.chunks_exact_mut(n.max(1));
                    rows.for_each(|row| row.iter_mut().zip(&self.bias).for_each(|(y, b)| *y += b));
                }
            }
            None if self.bias.is_empty() => out.fill(0.0),
            None => out.chunks_exact_mut(n.max(1)).for_each(|row| row.copy_from_slice(&self.bias)),
        }
        let (units, nibbles) = (self.blocks.units(), self.blocks.nibbles());
        let size = units * self.blocks.unit_bytes();
        let scales = self.blocks.count() * COLUMNS;
        for panel in 0..n.div_ceil(COLUMNS) {
            let first = panel * COLUMNS;
            let wanted = COLUMNS.min(n - first);
            let mut row = 0;
            while row < rows {
                let (tile, high) = tile(nibbles, rows - row);
                let mut copy = [[0.0f32; COLUMNS]; 4];
                let direct = wanted == COLUMNS;
                if !direct {
                    for (ix, copy) in copy.iter_mut().take(high).enumerate() {
                        copy[..wanted].copy_from_slice(&out[(row + ix) * n + first..][..wanted]);
                    }
                }
                let call = Call {
                    splat: activations.pairs[row * units * UNIT..].as_ptr(),
                    splat_stride: units * UNIT,
                    units: activations.units[row * units..].as_ptr(),
                    units_stride: units,
                    vector: self.packed[panel * size..].as_ptr(),
                    scale: self.scales[panel * scales..].as_ptr(),
                    out: if direct { out[row * n + first..].as_mut_ptr() } else { copy.as_mut_ptr().cast() },
                    out_stride: if direct { n } else { COLUMNS },
                    blocks: self.blocks.count(),
                    each: self.blocks.each(),
                };
                // SAFETY: activations have all units of each row, panels all units and blocks; outputs have the rows, and 32
                // columns from the first on, or are the copy, which has four rows.
                unsafe { tile.call(&call) };
                if !direct {
                    for (ix, copy) in copy.iter().take(high).enumerate() {
                        out[(row + ix) * n + first..][..wanted].copy_from_slice(&copy[..wanted]);
                    }
                }
                row += high;
            }
        }
    }
}

impl Blocks {
    /// A column of a file as whole units: nibbles, or int8. What is padding is multiplied by zeros, whatever it is.
    fn widen(&self, w: &[u8], row: &mut [u8]) {
        match (self.bits, self.block >= UNIT) {
            (4, true) => row.copy_from_slice(w),
            (8, true) => row.iter_mut().zip(w).for_each(|(to, byte)| *to = byte ^ 0x80),
            (8, false) => {
                for (to, from) in row.chunks_exact_mut(UNIT).zip(w.chunks_exact(self.block)) {
                    to.iter_mut().zip(from).for_each(|(to, byte)| *to = byte ^ 0x80);
                }
            }
            (4, false) => {
                for (to, from) in row.chunks_exact_mut(UNIT / 2).zip(w.chunks_exact(self.block / 2)) {
                    to[..from.len()].copy_from_slice(from);
                }
            }
            // Two bits: four a byte, counted from 2 and so 6 less than nibbles are.
            _ => {
                for (to, from) in row.chunks_exact_mut(UNIT / 2).zip(w.chunks_exact(self.filled() / 4)) {
                    for (to, byte) in to.chunks_exact_mut(2).zip(from) {
                        let two = |shift: u32| {
                            let (low, high) = ((byte >> shift) & 3, (byte >> (shift + 2)) & 3);
                            (low + 6) | ((high + 6) << 4)
                        };
                        to.copy_from_slice(&[two(0), two(4)]);
                    }
                }
            }
        }
    }

    /// Lays a column's units where tiles read them.
    fn lay(&self, row: &[u8], lane: usize, panel: &mut [u8]) {
        let (vector, lane) = (lane / 4, 2 * (lane % 4));
        if self.nibbles() {
            for (to, from) in panel.chunks_exact_mut(COLUMNS * STEPS).zip(row.chunks_exact(STEPS)) {
                let to = to[8 * (vector * STEPS / 2)..].chunks_exact_mut(8);
                // A byte of the file is the pair of a step.
                for (to, pairs) in to.zip(from.chunks_exact(2)) {
                    to[lane] = (pairs[0] & 15) | (pairs[1] << 4);
                    to[lane + 1] = (pairs[0] >> 4) | (pairs[1] & 0xf0);
                }
            }
        } else {
            for (to, from) in panel.chunks_exact_mut(2 * COLUMNS * STEPS).zip(row.chunks_exact(UNIT)) {
                let to = to[8 * vector * STEPS..].chunks_exact_mut(8);
                to.zip(from.chunks_exact(2)).for_each(|(to, pair)| to[lane..lane + 2].copy_from_slice(pair));
            }
        }
    }
}

/// Activations as whole numbers.
struct Activations {
    /// Rows of units.
    pairs: Vec<i16>,
    /// The scales of each row's units.
    units: Vec<Unit>,
}

impl Activations {
    fn of(blocks: &Blocks, x: &[f32], rows: usize) -> Activations {
        let (all, filled) = (rows * blocks.units(), blocks.filled());
        let mut pairs: Vec<i16> = Vec::with_capacity(all * UNIT);
        let mut units = Vec::with_capacity(all);
        for row in x.chunks_exact(blocks.k.max(1)) {
            for unit_of in 0..blocks.units() {
                let first = (unit_of * filled).min(row.len());
                let numbers = &row[first..(first + filled).min(row.len())];
                let (inverse, scale) = unit(magnitude(numbers), MOST);
                let at = pairs.len();
                quantise(numbers, inverse, &mut pairs);
                let sum: i32 = pairs[at..].iter().map(|x| i32::from(*x)).sum();
                pairs.resize(at + UNIT, 0);
                units.push(Unit { scale, begins: -MIDDLE * sum });
            }
        }
        Activations { pairs, units }
    }

    /// The sums of each block.
    fn by_blocks(&self, blocks: &Blocks) -> Vec<f32> {
        let one = |unit: &Unit| (unit.begins / -MIDDLE) as f32 * unit.scale;
        self.units.chunks_exact(blocks.each()).map(|units| units.iter().map(one).sum()).collect()
    }
}
