//! What a product by blocks is charged.

use super::tile::{COLUMNS, tile};
use super::{BlockWeights, UNIT};
use crate::price::{Follows, ROOM};

/// Beside what a tile is charged: what its call is made up of.
const CALL: u64 = 120;
/// A unit of a row's activations that become whole, and each number of it.
const WHOLE_UNIT: u64 = 150;
const WHOLE: u64 = 12;
/// A panel of 32 columns.
const PANEL: u64 = 60;

impl BlockWeights {
    /// What [`BlockWeights::under`] takes over so many rows.
    pub fn instructions(&self, rows: usize) -> u64 {
        let (n, units) = (self.blocks.outputs, self.blocks.units() as u64);
        let panels = n.div_ceil(COLUMNS) as u64;
        let mut tiles = 0;
        let mut row = 0;
        while row < rows {
            let (tile, high) = tile(self.blocks.nibbles(), rows - row);
            // Of the same tile there are as many more as there are rows for.
            let count = (rows - row) / high;
            let blocks = self.blocks.count() as u64;
            let one = u64::from(tile.fixed) + blocks * u64::from(tile.block) + units * u64::from(tile.unit);
            tiles += count as u64 * (one + CALL);
            row += count * high;
        }
        let copies = if n.is_multiple_of(COLUMNS) { 0 } else { 200 * rows as u64 };
        let whole = rows as u64 * units * (WHOLE_UNIT + WHOLE * UNIT as u64);
        let begun = match &self.off {
            Some(off) => off.instructions(rows, Follows::default()) + rows as u64 * units * 12,
            None => 0,
        };
        3 * ROOM + panels * (tiles + PANEL) + copies + whole + begun + (4 * rows * n) as u64
    }
}
