//! What a run is charged.

use super::{Ending, Exact, Packed, Sums};

/// A number of a sum that becomes real, and one that becomes a byte, with the zeros that are written before it.
const REAL: u64 = 9;
const BYTE: u64 = 12;
/// A row or an output that is gone through.
const LINE: u64 = 90;
/// A run by itself: operands looked at, factors brought to one length.
const RUN: u64 = 8_000;
/// A product or an image by itself.
const STEP: u64 = 250;
/// A number of weights that is packed in a run.
const PACKED: u64 = 60;
/// A multiply-accumulate of those, where no kernel is there yet to say what it takes.
const MAC: u64 = 1;

impl Exact {
    /// What a run takes: fixed by shapes alone.
    pub(crate) fn instructions(&self) -> u64 {
        let sums = match (&self.sums, self.packed.as_deref()) {
            (Sums::Product { rows, batches, .. }, Some(Packed::Product(all))) => {
                let each = all.first().map_or(0, |weights| weights.instructions(*rows));
                batches.len() as u64 * (STEP + each)
            }
            (Sums::Conv { images, .. }, Some(Packed::Conv(conv))) => {
                *images as u64 * (STEP + conv.instructions())
            }
            (Sums::Product { k, n, matrices, .. }, _) => {
                (matrices * k * n) as u64 * PACKED + self.sums.macs() * MAC
            }
            (Sums::Conv { window, channels, outputs, .. }, _) => {
                (channels * window.places() * outputs) as u64 * PACKED + self.sums.macs() * MAC
            }
        };
        let numbers: usize = self.output.iter().product();
        let lines = (numbers / self.line().0.max(1)) as u64;
        let ending = match self.ending {
            Ending::Sums => 0,
            Ending::Real { .. } => numbers as u64 * REAL + lines * LINE,
            Ending::Bytes { .. } => numbers as u64 * BYTE + lines * LINE,
        };
        RUN + sums + ending
    }
}
