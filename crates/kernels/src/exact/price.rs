//! What exact products and convolutions are charged.

use super::alone::Alone;
use super::conv::{ExactConv, Kernel};
use super::{By, ExactWeights};
use crate::price::{ROOM, ZERO};
use crate::product::{counted, cuts};
use crate::tile::family;
use crate::window::Window;

/// Beside what a tile is charged: what its call is made up of, most of it zeroing the places for what fills no vector.
const CALL_OF_ROWS: u64 = 330;
const CALL_OF_COLUMNS: u64 = 1_330;
/// A byte less its zero point.
const WIDENED: u64 = 2;
/// A row of bytes, beside its numbers.
const ROW: u64 = 60;
/// A line of two rows that are taken in turn, and eight numbers of each.
const LINE: u64 = 232;
const LAID: u64 = 24;
/// Of a channel by itself: a line of outputs, a step along it, a pair of weights in a step and each vector's dot, a vector that is
/// written; and a line whose last step goes by way of a copy.
const ALONE_LINE: u64 = 285;
const STEP: u64 = 60;
const PAIR: u64 = 22;
const DOT: u64 = 8;
const STORED: u64 = 8;
const COPIED: u64 = 130;

impl ExactWeights {
    fn tiles(&self, rows: usize, vectors: usize, single: usize) -> u64 {
        let steps = self.k.div_ceil(2);
        let call = if self.by == By::Rows { CALL_OF_ROWS } else { CALL_OF_COLUMNS };
        counted(family(self.tiles), rows, vectors, single)
            .map(|(tile, count)| count * (tile.price.of_sums(steps) + call))
            .sum()
    }

    /// What [`ExactWeights::under`] takes over so many rows.
    pub fn instructions(&self, rows: usize) -> u64 {
        let vectors = self.outputs.div_ceil(4);
        let ragged = !self.outputs.is_multiple_of(4);
        let last = cuts(vectors).last().map_or(0, |(_, count)| count);
        let copies = if ragged { rows as u64 * (100 + 16 * last as u64) } else { 0 };
        let numbers = (2 * self.k.div_ceil(2) * rows) as u64;
        ROOM + self.tiles(rows, vectors, 0) + copies + numbers * (WIDENED + ZERO / 2) + rows as u64 * ROW / 4
    }
}

impl ExactConv {
    /// What a run takes.
    pub fn instructions(&self) -> u64 {
        let w = &self.window;
        let [rows, columns] = self.reached();
        let groups = match &*self.kernel {
            Kernel::Groups(groups) => groups,
            Kernel::Alone(alone) => return alone.instructions(w, self.groups, rows),
        };
        let (pixels, width) = (w.pixels(), self.width());
        let steps = self.k().div_ceil(2) as u64;
        let zeroed = ZERO / 2 * (self.channels * rows * columns) as u64 + ZERO * steps * width as u64;
        let lines = (self.channels * w.input[0].min(rows)) as u64;
        let widened = lines * (ROW + WIDENED * w.input[1].min(columns) as u64);
        let dense = w.stride == [1, 1] && columns == w.output[1];
        let line = if dense { width } else { w.output[1].min(width) }.max(1);
        // Lines that a cut between pixels divides are two.
        let cut = if dense || width % line == 0 { 0 } else { pixels / width };
        let laid = if w.stride[1] <= 2 { LAID * line.div_ceil(8) as u64 } else { 10 * line as u64 };
        let gathered = steps * (pixels.div_ceil(line) + cut) as u64 * (LINE + laid);
        let (blocks, rest) = (pixels / width, pixels % width);
        let ragged = usize::from(!rest.is_multiple_of(4));
        let tiles = groups.first().map_or(0, |group| {
            let copies = if ragged > 0 { 60 * group.outputs as u64 } else { 0 };
            blocks as u64 * group.tiles(group.outputs, width / 4, 0)
                + group.tiles(group.outputs, rest / 4, ragged)
                + copies
        });
        2 * ROOM + zeroed + self.groups as u64 * (widened + gathered + tiles)
    }
}

impl Alone {
    /// What convolving so many channels takes.
    fn instructions(&self, w: &Window, channels: usize, rows: usize) -> u64 {
        let zeroed = ZERO / 2 * Alone::plane(w, rows) as u64;
        let widened = w.input[0].min(rows) as u64 * (ROW + WIDENED * w.input[1] as u64);
        // Steps of sixteen outputs, and one of eight for what is left.
        let (wide, rest) = (w.output[1] / 16, w.output[1] % 16);
        let (wide, narrow) = (wide + usize::from(rest > 8), usize::from(rest > 0 && rest <= 8));
        let pairs = Alone::places(w) as u64;
        let step = |vectors: u64| STEP + pairs * (PAIR + vectors * DOT) + vectors * STORED;
        let line = ALONE_LINE + wide as u64 * step(4) + narrow as u64 * step(2);
        let copied = if rest == 0 || rest == 8 { 0 } else { COPIED };
        let plane = w.output[0] as u64 * (line + copied) * self.each as u64;
        ROOM + zeroed + channels as u64 * (widened + plane + 200)
    }
}
