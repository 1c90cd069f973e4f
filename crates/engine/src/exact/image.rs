//! Images of exact operators.

use std::sync::Arc;

use ic_nn_kernels::image::{Broken, Imaged, Reader, Writer};
use ic_nn_kernels::{ExactConv, ExactWeights};
use tract_onnx::tract_core::internal::*;

use super::{Ending, Exact, Packed, Sums};

/// Numbers of a tensor that a run counts without looking.
const MOST: usize = 1 << 29;

/// A product of lengths that is within that.
fn few(lengths: &[usize]) -> Result<usize, Broken> {
    let all = lengths.iter().try_fold(1usize, |all, length| all.checked_mul(*length));
    all.filter(|all| (1..MOST).contains(all)).ok_or(Broken("an exact product is empty or too large"))
}

impl Exact {
    /// Writes it; none where a convolution's weights are not packed.
    pub(crate) fn write<'a>(&'a self, to: &mut Writer<'a>) -> Option<()> {
        match (&self.sums, self.packed.as_deref()) {
            (Sums::Product { rows, k, n, turned, batches, matrices }, packed) => {
                to.number(0);
                to.sizes(&[*rows, *k, *n, *matrices]);
                to.flag(*turned);
                to.sizes(batches.as_flattened());
                to.flag(packed.is_some());
                if let Some(Packed::Product(all)) = packed {
                    to.each(all);
                }
            }
            (Sums::Conv { images, .. }, Some(Packed::Conv(conv))) => {
                to.number(1);
                to.size(*images);
                conv.write(to);
            }
            _ => return None,
        }
        match self.ending {
            Ending::Sums => to.number(0),
            Ending::Real { added } => to.number(1 + u64::from(added)),
            Ending::Bytes { signed, added } => to.number(3 + u64::from(added) + 2 * u64::from(signed)),
        }
        to.sizes(&self.output);
        Some(())
    }

    /// Reads what was written. Whether its inputs are of the right size is [`Exact::holds`]'s to say.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Exact, Broken> {
        let (sums, packed, written) = match from.number()? {
            0 => {
                let [rows, k, n, matrices] = from.sizes()?[..] else {
                    return Err(Broken("a product has four lengths"));
                };
                let turned = from.flag()?;
                let flat = from.sizes()?;
                let (pairs, rest) = flat.as_chunks::<2>();
                let batches = pairs.to_vec();
                few(&[rows, k])?;
                few(&[matrices, k, n])?;
                let written = few(&[batches.len(), rows, n])?;
                let most = |from: usize| from.checked_add(1).and_then(|n| n.checked_mul(rows * k));
                let within = |[from, matrix]: &[usize; 2]| {
                    *matrix < matrices && most(*from).is_some_and(|end| end < MOST)
                };
                if !rest.is_empty() || !batches.iter().all(within) {
                    return Err(Broken("a product of a matrix that is not there"));
                }
                let packed = if from.flag()? { Some(from.each::<ExactWeights>()?) } else { None };
                let fits = |w: &ExactWeights| w.is_columns() && w.k() == k && w.outputs() == n;
                if packed.as_ref().is_some_and(|all| all.len() != matrices || !all.iter().all(fits)) {
                    return Err(Broken("matrices are not those of the product"));
                }
                let sums = Sums::Product { rows, k, n, turned, batches, matrices };
                (sums, packed.map(Packed::Product), written)
            }
            1 => {
                let images = from.size()?;
                let conv = ExactConv::read(from)?;
                let written = few(&[images, conv.outputs(), conv.window().pixels()])?;
                few(&[images, conv.inputs(), conv.window().area()])?;
                let sums = Sums::Conv {
                    window: *conv.window(),
                    channels: conv.k() / conv.window().places(),
                    outputs: conv.outputs(),
                    groups: conv.groups(),
                    images,
                };
                (sums, Some(Packed::Conv(conv)), written)
            }
            _ => return Err(Broken("sums of a kind that is not known")),
        };
        let ending = match from.number()? {
            0 => Ending::Sums,
            number @ 1..=2 => Ending::Real { added: number == 2 },
            number @ 3..=6 => Ending::Bytes { added: (number - 3) % 2 == 1, signed: number > 4 },
            _ => return Err(Broken("an ending that is not known")),
        };
        let output: TVec<usize> = from.sizes()?.into();
        if few(&output) != Ok(written) {
            return Err(Broken("an exact product does not write its output"));
        }
        Ok(Exact { sums, packed: packed.map(Arc::new), ending, output })
    }

    /// Whether a node of it can have these inputs: as many as it reads, numbers of as many bytes as it multiplies.
    pub(crate) fn holds(&self, inputs: &[&TypedFact]) -> bool {
        let more = match self.ending {
            Ending::Sums => 0,
            Ending::Real { added } => 1 + usize::from(added),
            Ending::Bytes { added, .. } => 2 + usize::from(added),
        };
        let numbers =
            |fact: &TypedFact| fact.shape.as_concrete().map(|shape| shape.iter().product::<usize>());
        let read = match &self.sums {
            Sums::Product { rows, k, batches, .. } => {
                batches.iter().map(|[from, _]| (from + 1) * rows * k).max().unwrap_or(0)
            }
            Sums::Conv { window, channels, groups, images, .. } => images * groups * channels * window.area(),
        };
        let whole = matches!(self.sums, Sums::Conv { .. });
        inputs.len() == self.operands() + more
            && inputs.first().and_then(|fact| numbers(fact)).is_some_and(|n| n == read || n > read && !whole)
    }
}
