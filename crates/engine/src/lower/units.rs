//! Units of the kernels that are no sums of products: what such a node is cut into, so that a run can be left within it.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;

use super::floats;
use super::node::Body;
use super::pool::Picked;

impl Picked {
    /// Pixels of a plane that are taken.
    fn pixels(&self) -> usize {
        let along =
            |axis: usize| self.plane[axis].saturating_sub(self.first[axis]).div_ceil(self.stride[axis]);
        along(0) * along(1)
    }
}

impl Body {
    /// Into how many units it can be cut, where it gives so many numbers.
    pub(super) fn units(&self, given: usize) -> usize {
        match self {
            Body::MaxPool(pool) => pool.units(given / pool.pixels().max(1) * pool.area()),
            Body::MeanPool(pool) => pool.units(given / pool.pixels().max(1) * pool.area()),
            Body::Picked(picked) => given / picked.pixels().max(1),
            Body::Chain(chain) => chain.units(),
            Body::Softmax(softmax) => softmax.units(given),
            Body::Norm(norm) => norm.units(given),
            Body::Reduce(reduce) => reduce.units(given * reduce.length()),
            Body::Swap(swap) => swap.units(given),
            Body::Shuffle(shuffle) => shuffle.units(given),
            Body::Resample(resample) => resample.units(),
            Body::Product(_)
            | Body::Conv(_)
            | Body::Winograd(_)
            | Body::Strided(_)
            | Body::Lines(_)
            | Body::Depthwise(_)
            | Body::HwcConv(_)
            | Body::HwcDepthwise(_) => 1,
        }
    }

    /// Computes these of its units.
    pub(super) fn compute(&self, inputs: &[TValue], out: &mut [f32], units: Range<usize>) -> TractResult<()> {
        let x = floats(&inputs[0])?;
        let alike = x.len() == out.len();
        let rows = || format_err!("no whole rows of {} numbers", x.len());
        match self {
            Body::MaxPool(pool) => {
                ensure!(pool.fits(x.len(), out.len()), "planes and outputs of a pool");
                pool.run(x, out, units);
            }
            Body::MeanPool(pool) => {
                ensure!(pool.fits(x.len(), out.len()), "planes and outputs of a pool");
                pool.run(x, out, units);
            }
            Body::Picked(picked) => {
                let Picked { plane, stride, first } = *picked;
                let (area, pixels) = (plane[0] * plane[1], picked.pixels());
                let whole = area * pixels > 0 && x.len() / area == out.len() / pixels;
                ensure!(whole, "planes of pixels that are taken");
                let planes = &x[units.start * area..units.end * area];
                let out = &mut out[units.start * pixels..units.end * pixels];
                ic_nn_kernels::pick(planes, plane, stride, first, out);
            }
            Body::Chain(chain) => {
                let operands = inputs.iter().map(|input| floats(input)).collect::<TractResult<TVec<_>>>()?;
                let long = chain.operands().iter().zip(&operands).all(|(lies, x)| x.len() >= lies.numbers());
                let all = operands.len() == chain.operands().len() && out.len() == chain.length();
                ensure!(long && all, "an operand of a chain is short");
                chain.run(&operands, out, units);
            }
            Body::Softmax(softmax) => {
                ensure!(alike && x.len().is_multiple_of(softmax.part()), rows());
                softmax.run(x, out, units);
            }
            Body::Norm(norm) => {
                ensure!(alike && x.len().is_multiple_of(norm.length()), rows());
                norm.run(x, out, units);
            }
            Body::Reduce(reduce) => {
                let whole = x.len().is_multiple_of(reduce.part()) && x.len() / reduce.length() == out.len();
                ensure!(whole, rows());
                reduce.run(x, out, units);
            }
            Body::Swap(swap) => {
                ensure!(alike && x.len().is_multiple_of(swap.part()), rows());
                swap.run(x, out, units);
            }
            Body::Shuffle(shuffle) => {
                let planes = x.len() / shuffle.part();
                let whole = x.len() == planes * shuffle.part() && out.len() == planes * shuffle.given();
                ensure!(whole, "no whole planes of {} numbers", x.len());
                shuffle.run(x, out, units);
            }
            Body::Resample(resample) => {
                let whole = x.len() == resample.numbers() && out.len() == resample.given();
                ensure!(whole, "an image of {} numbers", x.len());
                resample.run(x, out, units);
            }
            Body::Product(_)
            | Body::Conv(_)
            | Body::Winograd(_)
            | Body::Strided(_)
            | Body::Lines(_)
            | Body::Depthwise(_)
            | Body::HwcConv(_)
            | Body::HwcDepthwise(_) => bail!("sums of products are computed elsewhere"),
        }
        Ok(())
    }
}
