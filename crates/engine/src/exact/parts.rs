//! Parts of exact products and convolutions: blocks of rows, and bands of rows of images. Each is the operator itself over less.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;

use super::{Exact, Packed, Sums};
use crate::lower::{Band, bands};
use crate::parted::{Parted, one};

/// Rows of a product in a unit: tiles are filled.
const ROWS: usize = 64;

/// A tensor of some bytes of another.
fn tensor(like: &Tensor, shape: &[usize], fill: impl FnOnce(&[u8], &mut [u8])) -> TractResult<TValue> {
    let mut part = Tensor::zero_dt(like.datum_type(), shape)?;
    fill(like.as_bytes(), part.as_bytes_mut());
    Ok(part.into_tvalue())
}

impl Exact {
    /// Units of each product, or of each image.
    fn each(&self) -> usize {
        match &self.sums {
            Sums::Product { rows, .. } => rows.div_ceil(ROWS),
            Sums::Conv { window, .. } => bands(window),
        }
    }

    /// Computes units of one product or one image, which have begun at `first` of it.
    fn part(&self, inputs: &[TValue], out: &mut Tensor, at: usize, units: Range<usize>) -> TractResult<()> {
        let size = self.dt().size_of();
        let with = |sums: Sums, packed: Arc<Packed>, output: TVec<usize>, x: TValue| {
            let part = Exact { sums, packed: Some(packed), output, ending: self.ending };
            let ending = inputs.get(self.operands()..).unwrap_or_default();
            let inputs: TVec<TValue> = [&x, &inputs[1]].into_iter().chain(ending).cloned().collect();
            part.run_whole(&inputs)
        };
        match &self.sums {
            Sums::Product { rows, k, n, turned, batches, matrices } => {
                let [from, matrix] = *batches.get(at).context("a product that it has not")?;
                let span = units.start * ROWS..(units.end * ROWS).min(*rows);
                let lies = (from * rows + span.start) * k..(from * rows + span.end) * k;
                ensure!(inputs[0].as_bytes().len() >= lies.end, "numbers are missing");
                let x = tensor(&inputs[0], &[span.len(), *k], |all, part| part.copy_from_slice(&all[lies]))?;
                let sums = |matrix: usize, matrices: usize| Sums::Product {
                    rows: span.len(),
                    batches: vec![[0, matrix]],
                    k: *k,
                    n: *n,
                    turned: *turned,
                    matrices,
                };
                let (sums, packed) = match &self.packed {
                    Some(packed) => (sums(matrix, *matrices), Arc::clone(packed)),
                    None => {
                        let lies = matrix * k * n..(matrix + 1) * k * n;
                        ensure!(inputs[2].as_bytes().len() >= lies.end, "weights are missing");
                        let one = tensor(&inputs[2], &[*k, *n], |all, one| one.copy_from_slice(&all[lies]))?;
                        let alone = Exact { sums: sums(0, 1), ..self.clone() };
                        let packed = alone.pack(&one, &inputs[3])?;
                        (alone.sums, Arc::new(packed))
                    }
                };
                let made = with(sums, packed, tvec![span.len(), *n], x)?;
                let first = (at * rows + span.start) * n * size;
                let to = out.as_bytes_mut().get_mut(first..first + made.as_bytes().len());
                to.context("as many outputs")?.copy_from_slice(made.as_bytes());
            }
            Sums::Conv { window, channels, outputs, groups, images } => {
                let fresh;
                let conv = match self.packed.as_deref() {
                    Some(packed) => packed,
                    None => {
                        fresh = self.pack(&inputs[2], &inputs[3])?;
                        &fresh
                    }
                };
                let Packed::Conv(conv) = conv else { bail!("packed weights are expected") };
                let band = Band::of(window, units);
                let (within, seen) = band.within(window).context("a band sees nothing")?;
                let image = channels * groups * window.area();
                ensure!(inputs[0].as_bytes().len() == images * image, "images of another size");
                let runs = seen.runs(window.input, 1);
                let x = tensor(&inputs[0], &[runs.count(image)], |all, part| {
                    runs.take(&all[at * image..(at + 1) * image], part, |from, to| to.copy_from_slice(from));
                })?;
                let sums = Sums::Conv {
                    window: within,
                    images: 1,
                    channels: *channels,
                    outputs: *outputs,
                    groups: *groups,
                };
                let output = tvec![*outputs, within.output[0], within.output[1]];
                let made = with(sums, Arc::new(Packed::Conv(conv.within(within))), output, x)?;
                let produced = outputs * window.pixels() * size;
                let to = out.as_bytes_mut().get_mut(at * produced..(at + 1) * produced);
                let runs = band.runs(window.output, size);
                runs.put(made.as_bytes(), to.context("as many outputs")?, |from, to| {
                    to.copy_from_slice(from)
                });
            }
        }
        Ok(())
    }
}

impl Parted for Exact {
    /// Blocks of rows of products, bands of images. Weights that are no constants are packed for each part again.
    fn units(&self) -> usize {
        let all = match &self.sums {
            Sums::Product { batches, .. } => batches.len(),
            Sums::Conv { images, .. } => *images,
        };
        all * self.each()
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        Ok(tvec!(Tensor::zero_dt(self.dt(), &self.output)?))
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        let out = one(out)?;
        ensure!(inputs.len() >= self.operands(), "operands are missing");
        let each = self.each();
        let mut at = units.start;
        while at < units.end {
            let (whole, first) = (at / each, at % each);
            let end = (first + units.end - at).min(each);
            self.part(inputs, out, whole, first..end)?;
            at = whole * each + end;
        }
        Ok(())
    }
}
