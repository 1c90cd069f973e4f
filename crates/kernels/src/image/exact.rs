//! Images of what is exact, and of weights by blocks.

use std::sync::Arc;

use super::kernels::{covered, must, pair, product};
use super::{Broken, Imaged, Reader, Writer};
use crate::exact::{Alone, Kernel};
use crate::product::{By, Weights};
use crate::tile::Family;
use crate::{BlockWeights, Blocks, ExactConv, ExactWeights, Window};

/// Numbers that a run may go through without looking: as many as its places are counted by.
const MOST: u128 = 1 << 30;

/// Whether a product of lengths is within what a run goes through.
fn is_few(lengths: &[usize]) -> bool {
    let all = lengths.iter().try_fold(1u128, |all, length| all.checked_mul(*length as u128));
    all.is_some_and(|all| all < MOST)
}

impl Imaged for ExactWeights {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.by.write(to);
        to.flag(matches!(self.tiles, Family::I8Splat | Family::I8Vector));
        to.sizes(&[self.outputs, self.k]);
        to.bytes(&self.packed);
    }

    fn read(from: &mut Reader<'_>) -> Result<ExactWeights, Broken> {
        let (by, narrow) = (By::read(from)?, from.flag()?);
        let [outputs, k] = pair(from)?;
        let packed = from.bytes()?;
        let (tiles, bytes) = match (by, narrow) {
            (By::Rows, true) => (Family::I8Splat, 1),
            (By::Columns, true) => (Family::I8Vector, 1),
            (By::Rows, false) => (Family::I16Splat, 2),
            (By::Columns, false) => (Family::I16Vector, 2),
        };
        let numbers = product(&[bytes, covered(by, outputs), k.next_multiple_of(2)]);
        must(numbers == Some(packed.len()) && k > 0, "weights are not as many as their shape says")?;
        Ok(ExactWeights { by, tiles, outputs, k, packed })
    }
}

impl Imaged for ExactConv {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.window.write(to);
        to.sizes(&[self.channels, self.groups]);
        match &*self.kernel {
            Kernel::Groups(groups) => {
                to.number(0);
                to.each(groups);
            }
            Kernel::Alone(Alone { each, pairs }) => {
                to.number(1);
                to.size(*each);
                to.bytes(pairs);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<ExactConv, Broken> {
        let window = Window::read(from)?;
        let [channels, groups] = pair(from)?;
        let kernel = match from.number()? {
            0 => Kernel::Groups(from.each::<ExactWeights>()?),
            1 => Kernel::Alone(Alone { each: from.size()?, pairs: from.bytes()? }),
            _ => return Err(Broken("a convolution that is not known")),
        };
        let (fits, outputs) = match &kernel {
            Kernel::Groups(all) => {
                let k = product(&[channels, window.places()]).filter(|k| *k > 0);
                let outputs = all.first().map_or(0, ExactWeights::outputs);
                let one = |w: &ExactWeights| w.by == By::Rows && Some(w.k) == k && w.outputs == outputs;
                (all.len() == groups && all.iter().all(one), outputs)
            }
            Kernel::Alone(alone) => {
                let pairs = product(&[4, groups, alone.each, Alone::places(&window)]);
                (Alone::takes(&window, channels) && pairs == Some(alone.pairs.len()), alone.each)
            }
        };
        must(fits && outputs > 0 && channels > 0 && groups > 0, "weights are not those of the convolution")?;
        // Planes between zeros, image, outputs and windows.
        let seen = [0, 1].map(|axis| {
            let last =
                window.output[axis] * window.stride[axis] + window.kernel[axis] * window.dilation[axis];
            last + window.before[axis] + 64 * window.stride[axis]
        });
        let few = is_few(&[channels, seen[0], seen[1]])
            && is_few(&[groups, channels, window.input[0], window.input[1]])
            && is_few(&[groups, outputs, window.output[0], window.output[1]])
            && is_few(&[channels, window.kernel[0], window.kernel[1], 512]);
        must(few, "a convolution is too large")?;
        Ok(ExactConv { window, channels, groups, kernel: Arc::new(kernel) })
    }
}

impl Imaged for BlockWeights {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        let Blocks { bits, block, k, outputs } = self.blocks;
        [bits, block, k, outputs].into_iter().for_each(|n| to.size(n));
        to.bytes(&self.packed);
        to.floats(&self.scales);
        to.flag(self.off.is_some());
        if let Some(off) = &self.off {
            off.write(to);
        }
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<BlockWeights, Broken> {
        let blocks =
            Blocks { bits: from.size()?, block: from.size()?, k: from.size()?, outputs: from.size()? };
        let sides = [blocks.block, blocks.k, blocks.outputs];
        let within = sides.iter().all(|n| (1..=1 << 26).contains(n));
        must(within && blocks.is_served(), "blocks that are not served")?;
        let (packed, scales) = (from.bytes()?, from.floats()?);
        let off = if from.flag()? { Some(Weights::read(from)?) } else { None };
        let bias = from.floats()?;
        let [packed_bytes, laid] = blocks.packed_lengths().ok_or(Broken("blocks are too large"))?;
        must(
            packed.len() == packed_bytes && scales.len() == laid,
            "weights are not as many as their blocks say",
        )?;
        let fits =
            |off: &Weights| off.by == By::Columns && off.k == blocks.count() && off.outputs == blocks.outputs;
        must(off.as_ref().is_none_or(fits), "zero points are not those of the blocks")?;
        must(bias.is_empty() || bias.len() == blocks.outputs, "a bias has another length than its outputs")?;
        Ok(BlockWeights { blocks, packed, scales, off, bias })
    }
}
