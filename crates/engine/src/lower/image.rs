//! Images of lowered nodes.

use std::sync::Arc;

use ic_nn_kernels::Panels;
use ic_nn_kernels::image::{Broken, Imaged, Reader, Writer};
use tract_onnx::tract_core::internal::*;

use super::einsum::{Loops, Run};
use super::node::{Body, Lowered};
use super::pool::Picked;
use super::product::{Packed, Product, steps};

impl Imaged for Run {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        [self.length, self.narrow, self.wide, self.out].into_iter().for_each(|n| to.size(n));
    }

    fn read(from: &mut Reader<'_>) -> Result<Run, Broken> {
        let run = Run { length: from.size()?, narrow: from.size()?, wide: from.size()?, out: from.size()? };
        let all = [run.narrow, run.wide, run.out].map(|stride| run.length.checked_mul(stride));
        if all.iter().all(|n| n.is_some_and(|n| n < 1 << 31)) {
            Ok(run)
        } else {
            Err(Broken("an axis is too long"))
        }
    }
}

impl Imaged for Product {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        let Loops { wide_first, p, q, k, outer, q_axis } = &self.loops;
        to.flag(*wide_first);
        [p, q, k].into_iter().for_each(|run| run.write(to));
        to.each(outer);
        to.size(q_axis.map_or(0, |axis| axis + 1));
        match &self.packed {
            Packed::Run => to.number(0),
            Packed::Wide(panels) => {
                to.number(1);
                to.each(panels);
            }
            Packed::Narrow(panels) => {
                to.number(2);
                to.each(panels);
            }
            Packed::Turned(panels) => {
                to.number(3);
                to.each(panels);
            }
        }
        to.sizes(&self.which);
    }

    fn read(from: &mut Reader<'_>) -> Result<Product, Broken> {
        let wide_first = from.flag()?;
        let [p, q, k] = [Run::read(from)?, Run::read(from)?, Run::read(from)?];
        let outer = from.each::<Run>()?;
        let q_axis = from.size()?.checked_sub(1);
        let packed = match from.number()? {
            0 => Packed::Run,
            1 => Packed::Wide(from.each::<Panels>()?),
            2 => Packed::Narrow(from.each::<Panels>()?),
            3 => Packed::Turned(from.each::<Panels>()?),
            _ => return Err(Broken("operands are packed in a way that is not known")),
        };
        let which = from.sizes()?;
        let count = outer.iter().try_fold(1usize, |all, run| all.checked_mul(run.length));
        let (panels, outputs) = match &packed {
            Packed::Run => (None, 0),
            Packed::Wide(panels) => (Some(panels), q.length),
            Packed::Narrow(panels) | Packed::Turned(panels) => (Some(panels), p.length),
        };
        let fits = match panels {
            // One of the panels in each step.
            Some(all) => {
                Some(which.len()) == count
                    && which.iter().all(|ix| *ix < all.len())
                    && all.iter().all(|panels| panels.k() == k.length && panels.outputs() == outputs)
            }
            None => which.is_empty() && count.is_some_and(|count| count <= 1 << 24),
        };
        if !fits {
            return Err(Broken("operands are not those of the product"));
        }
        let loops = Loops { wide_first, p, q, k, outer, q_axis };
        Ok(Product { steps: steps(&loops.outer), loops, packed, which })
    }
}

impl Imaged for Picked {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        [self.plane, self.stride, self.first].into_iter().flatten().for_each(|n| to.size(n));
    }

    fn read(from: &mut Reader<'_>) -> Result<Picked, Broken> {
        let mut pair = || Ok([from.size()?, from.size()?]);
        let picked = Picked { plane: pair()?, stride: pair()?, first: pair()? };
        let holds = |axis: usize| {
            (1..1 << 28).contains(&picked.plane[axis])
                && (1..1 << 28).contains(&picked.stride[axis])
                && picked.first[axis] < picked.plane[axis]
        };
        if holds(0) && holds(1) { Ok(picked) } else { Err(Broken("no pixels are picked so")) }
    }
}

impl Imaged for Body {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        macro_rules! tagged {
            ($($tag:literal $body:ident),*) => {
                match self {
                    $(Body::$body(body) => {
                        to.number($tag);
                        body.write(to);
                    })*
                }
            };
        }
        tagged!(
            0 Product, 1 Conv, 2 Winograd, 3 Strided, 4 Lines, 5 Depthwise, 6 HwcConv, 7 HwcDepthwise, 8 MaxPool, 9 Picked,
            10 Chain, 11 Softmax, 12 Norm, 13 Reduce, 14 Swap,
            15 Resample, 16 MeanPool, 17 Shuffle
        );
    }

    fn read(from: &mut Reader<'_>) -> Result<Body, Broken> {
        Ok(match from.number()? {
            0 => Body::Product(Imaged::read(from)?),
            1 => Body::Conv(Imaged::read(from)?),
            2 => Body::Winograd(Imaged::read(from)?),
            3 => Body::Strided(Imaged::read(from)?),
            4 => Body::Lines(Imaged::read(from)?),
            5 => Body::Depthwise(Imaged::read(from)?),
            6 => Body::HwcConv(Imaged::read(from)?),
            7 => Body::HwcDepthwise(Imaged::read(from)?),
            8 => Body::MaxPool(Imaged::read(from)?),
            9 => Body::Picked(Imaged::read(from)?),
            10 => Body::Chain(Imaged::read(from)?),
            11 => Body::Softmax(Imaged::read(from)?),
            12 => Body::Norm(Imaged::read(from)?),
            13 => Body::Reduce(Imaged::read(from)?),
            14 => Body::Swap(Imaged::read(from)?),
            15 => Body::Resample(Imaged::read(from)?),
            16 => Body::MeanPool(Imaged::read(from)?),
            17 => Body::Shuffle(Imaged::read(from)?),
            _ => return Err(Broken("a kernel that is not known")),
        })
    }
}

impl Imaged for Lowered {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        self.body.write(to);
        to.size(self.bias_axis.map_or(0, |axis| axis + 1));
        to.flag(self.residual);
        to.flag(self.bounds.is_some());
        if let Some((low, high)) = self.bounds {
            to.float(low);
            to.float(high);
        }
        to.sizes(&self.output);
        to.size(self.images);
        to.flag(self.depth.is_some());
        if let Some(depth) = &self.depth {
            depth.write(to);
        }
        to.number(self.macs);
    }

    fn read(from: &mut Reader<'_>) -> Result<Lowered, Broken> {
        let body = Arc::new(Body::read(from)?);
        let bias_axis = from.size()?.checked_sub(1);
        let residual = from.flag()?;
        let bounds = if from.flag()? { Some((from.float()?, from.float()?)) } else { None };
        let output: TVec<usize> = from.sizes()?.into();
        let images = from.size()?;
        let depth = if from.flag()? { Some(Imaged::read(from)?) } else { None };
        let macs = from.number()?;
        let numbers = output.iter().try_fold(1usize, |all, length| all.checked_mul(*length));
        let numbers =
            numbers.filter(|n| (1..1 << 29).contains(n)).ok_or(Broken("an output is empty or too large"))?;
        // Every number of an output is written by its kernel: what there is without zeros rests on it.
        let written = match &*body {
            Body::Product(product) => product.writes(),
            Body::Chain(chain) => Some(chain.length()),
            Body::Resample(resample) => Some(resample.given()),
            Body::Shuffle(shuffle) => Some(numbers / shuffle.given() * shuffle.given()),
            _ => Some(numbers),
        };
        let axis = bias_axis.is_none_or(|axis| axis < output.len());
        if written != Some(numbers) || !axis || images == 0 || !numbers.is_multiple_of(images) {
            return Err(Broken("a kernel does not write its output"));
        }
        Ok(Lowered { body, bias_axis, residual, bounds, output, images, depth, macs })
    }
}

impl Product {
    /// Numbers that a run writes.
    fn writes(&self) -> Option<usize> {
        let Loops { p, q, outer, .. } = &self.loops;
        let runs = [p, q].into_iter().chain(outer);
        runs.map(|run| run.length).try_fold(1usize, |all, length| all.checked_mul(length))
    }
}
