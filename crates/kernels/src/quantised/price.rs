//! What products in whole numbers are charged.

use super::{COLUMNS, WholeWeights};
use crate::price::{Follows, ROOM, ZERO};
use crate::product::{By, counted, cuts, panels};
use crate::tile::family;

/// Beside what a tile is charged: what its call is made up of.
const CALL: u64 = 150;
/// The magnitude of a number, sixteen at a time.
const MAGNITUDE: u64 = 3;
/// A number in whole units, sixteen at a time where they lie in a row, four where two rows are taken in turn.
const UNITS: u64 = 4;
/// A row whose magnitude is taken and that is turned to whole units, beside its numbers.
const ROW: u64 = 140;

impl WholeWeights {
    /// What [`WholeWeights::times`] or [`WholeWeights::under`] takes over `others` rows or columns of the other operand.
    pub fn instructions(&self, others: usize, follows: Follows) -> u64 {
        let (tiles, steps) = (family(self.tiles), self.k.div_ceil(2));
        let sum = |rows: usize, vectors: usize, single: usize| -> u64 {
            counted(tiles, rows, vectors, single)
                .map(|(tile, count)| count * (tile.price.of(steps) + tile.price.after(follows) + CALL))
                .sum()
        };
        let numbers = (self.k * others) as u64;
        let read = self.packed.instructions(panels(self.by, self.outputs), self.per_output());
        match self.by {
            By::Rows => {
                let width = others.clamp(4, COLUMNS).next_multiple_of(4).min(COLUMNS);
                let (blocks, rest) = (others / width, others % width);
                let ragged = usize::from(!rest.is_multiple_of(4));
                let called =
                    blocks as u64 * sum(self.outputs, width / 4, 0) + sum(self.outputs, rest / 4, ragged);
                let copies = if ragged > 0 { 250 * self.outputs as u64 } else { 0 };
                let rows = (self.k * (1 + others.div_ceil(width))) as u64;
                2 * ROOM
                    + called
                    + copies
                    + read * others.div_ceil(width) as u64
                    + numbers * (MAGNITUDE + UNITS)
                    + rows * ROW / 2
                    + ZERO * (steps * width) as u64
            }
            By::Columns => {
                let vectors = self.outputs.div_ceil(4);
                // The last panel's rows come by way of a copy where it reaches beyond the outputs.
                let ragged = !self.outputs.is_multiple_of(4);
                let last = cuts(vectors).last().map_or(0, |(_, count)| count);
                let copies = if ragged { others as u64 * (150 + 16 * last as u64) } else { 0 };
                2 * ROOM
                    + sum(others, vectors, 0)
                    + copies
                    + read
                    + numbers * (MAGNITUDE + UNITS)
                    + others as u64 * ROW
            }
        }
    }
}
