//! Parts of exact products and convolutions: blocks of rows, and bands of rows of images. Each is the operator itself over less.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;

use super::{Exact, Packed, Sums};
use crate::lower::{bands, rows};
use crate::parted::Parted;

/// Rows of a product in a unit: tiles are filled.
const ROWS: usize = 64;

/// Rows of planes of `line` bytes a row, put where they lie.
fn put(from: &[u8], to: &mut [u8], line: usize, height: usize, rows: &Range<usize>) {
    let planes = to.chunks_exact_mut(height * line);
    for (from, plane) in from.chunks_exact(rows.len() * line).zip(planes) {
        plane[rows.start * line..rows.end * line].copy_from_slice(from);
    }
}

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
        let with = |sums: Sums, packed, output: TVec<usize>, x: TValue| {
            let part = Exact { sums, packed, output, ..self.clone() };
            let mut inputs: TVec<TValue> = inputs.iter().cloned().collect();
            inputs[0] = x;
            part.run_whole(&inputs)
        };
        match &self.sums {
            Sums::Product { rows, k, n, turned, batches, matrices } => {
                let [from, matrix] = *batches.get(at).context("a product that it has not")?;
                let span = units.start * ROWS..(units.end * ROWS).min(*rows);
                let lies = (from * rows + span.start) * k..(from * rows + span.end) * k;
                ensure!(inputs[0].as_bytes().len() >= lies.end, "numbers are missing");
                let x = tensor(&inputs[0], &[span.len(), *k], |all, part| part.copy_from_slice(&all[lies]))?;
                let sums = Sums::Product {
                    rows: span.len(),
                    batches: vec![[0, matrix]],
                    k: *k,
                    n: *n,
                    turned: *turned,
                    matrices: *matrices,
                };
                let made = with(sums, self.packed.clone(), tvec![span.len(), *n], x)?;
                let first = (at * rows + span.start) * n * size;
                let to = out.as_bytes_mut().get_mut(first..first + made.as_bytes().len());
                to.context("as many outputs")?.copy_from_slice(made.as_bytes());
            }
            Sums::Conv { window, channels, outputs, groups, images } => {
                let Some(Packed::Conv(conv)) = self.packed.as_deref() else {
                    bail!("packed weights are expected")
                };
                let rows = rows(window, units);
                let (within, seen) = window.band(rows.clone()).context("a band sees nothing")?;
                let ([height, width], planes) = (window.input, channels * groups);
                let image = planes * height * width;
                ensure!(inputs[0].as_bytes().len() == images * image, "images of another size");
                let x = tensor(&inputs[0], &[planes, seen.len(), width], |all, part| {
                    let planes = all[at * image..(at + 1) * image].chunks_exact(height * width);
                    for (plane, part) in planes.zip(part.chunks_exact_mut(seen.len() * width)) {
                        part.copy_from_slice(&plane[seen.start * width..seen.end * width]);
                    }
                })?;
                let sums = Sums::Conv {
                    window: within,
                    images: 1,
                    channels: *channels,
                    outputs: *outputs,
                    groups: *groups,
                };
                let packed = Some(Arc::new(Packed::Conv(conv.within(within))));
                let made = with(sums, packed, tvec![*outputs, rows.len(), window.output[1]], x)?;
                let produced = outputs * window.pixels() * size;
                let to = out.as_bytes_mut().get_mut(at * produced..(at + 1) * produced);
                let to = to.context("as many outputs")?;
                put(made.as_bytes(), to, window.output[1] * size, window.output[0], &rows);
            }
        }
        Ok(())
    }
}

impl Parted for Exact {
    /// Blocks of rows of products, bands of images, where weights are packed.
    fn units(&self) -> usize {
        let all = match &self.sums {
            Sums::Product { batches, .. } => batches.len(),
            Sums::Conv { images, .. } => *images,
        };
        if self.packed.is_some() { all * self.each() } else { 1 }
    }

    fn begin(&self) -> TractResult<Tensor> {
        Tensor::zero_dt(self.dt(), &self.output)
    }

    fn compute(&self, inputs: &[TValue], out: &mut Tensor, units: Range<usize>) -> TractResult<()> {
        ensure!(inputs.len() >= self.operands() && self.packed.is_some(), "operands are missing");
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
