//! Lowering: nodes of tract's graph that nearly all instructions are spent in, replaced by nodes on our own kernels.
//!
//! Runs on the decluttered graph, before tract chooses implementations for what is left; convolutions that tract would only
//! spend instructions on are lowered before it declutters ([`early`]), transposed ones made convolutions before that ([`deconv`]),
//! those of volumes convolutions of their slices ([`volume`]). First each product and each
//! convolution of f32, and what pools and thins images, is replaced where there is a kernel for its shape ([`product`], [`conv`],
//! [`pool`]); then what follows one, a bias, an
//! addition, bounds, moves into it ([`fuse`]); then what maps, sums and moves numbers, which tract computes one operator and one number
//! after the other ([`rows`], [`reduce`], [`moves`],
//! [`resize`], [`maps`]). Everything that a pass does not know stays as it is, so a pass can be left
//! out and the graph means the same.

mod bands;
mod channelwise;
mod conv;
mod deconv;
mod early;
mod einsum;
mod fuse;
mod image;
mod innermost;
mod maps;
mod moves;
mod node;
mod pool;
mod price;
mod product;
mod reduce;
mod resize;
mod rows;
mod split;
mod units;
mod unplanned;
mod volume;

use ic_nn_kernels::{Packing, Precision};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{InletId, TypedOp, ensure};
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::cnn::{MaxPool, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::scan::{OptScan, Scan};

use crate::{blockwise, exact};
pub(crate) use bands::{Band, bands};
pub(crate) use node::{Lowered, output};
pub(crate) use unplanned::{Unplanned, planned};

/// Bytes that a plan's weights may take so that products become fewer: transformed for minimal filtering, to four times what
/// they are in the file, or three quarters more in Strassen's quarters; further products are plain. Constant, so that answers do
/// not depend on what memory is left.
const TRANSFORMED_BYTES: usize = 512 << 20;

/// Of the weights of products and of convolutions that are products, the part that comes first in the order of evaluation and is of
/// int16 where int8 is asked for: one over this. Networks of images have few weights where their errors matter most: without it,
/// answers of ResNet-50 of random weights have a cosine of 0.89 to those in f32, with it 0.99 or more, in an eighth more of int8's
/// memory.
const FIRST: usize = 8;

/// How a plan's constants are packed: those of products and of convolutions that are products become of that precision; what is
/// cheaper in f32 (minimal filtering, channels by themselves) and products of two tensors stay f32.
pub(crate) fn packing(precision: Precision) -> Packing {
    Packing { precision, spare: TRANSFORMED_BYTES, wide: 0 }
}

/// Which passes run. A graph means the same without any of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    /// Convolutions before tract declutters.
    pub(crate) early: bool,
    /// Whatever has a kernel, after it.
    pub(crate) nodes: bool,
    /// What follows them moves in.
    pub(crate) fuse: bool,
    /// What maps, sums and moves numbers.
    pub(crate) maps: bool,
}

impl Passes {
    /// All of them.
    pub(crate) const ALL: Passes = Passes { early: true, nodes: true, fuse: true, maps: true };
}

/// Lowers what need not be decluttered first.
pub(crate) fn lower_early(model: &mut TypedModel, packing: &mut Packing, passes: Passes) -> TractResult<()> {
    if passes.fuse {
        exact::fuse(model)?;
    }
    if passes.early { early::lower(model, packing, passes.fuse) } else { Ok(()) }
}

/// Lets the first of a graph's weights be wide.
fn widen(model: &TypedModel, packing: &mut Packing) -> TractResult<()> {
    if packing.precision == Precision::Int8 {
        packing.wide = numbers(model)? / FIRST;
    }
    Ok(())
}

/// Lowers what can be in a decluttered graph.
pub(crate) fn lower(model: &mut TypedModel, packing: &mut Packing, passes: Passes) -> TractResult<()> {
    if passes.nodes {
        lower_nodes(model, packing, passes)?;
    }
    if passes.maps {
        lower_maps(model)?;
    }
    if passes.nodes {
        unplanned::leave(model)?;
    }
    bodies(model, passes)?;
    if passes.nodes {
        split::split(model)?;
    }
    if passes.nodes || passes.maps { model.compact() } else { Ok(()) }
}

/// Lowers what sequences do in each step. Weights stay f32: what is carried from step to step gathers their errors.
fn bodies(model: &mut TypedModel, passes: Passes) -> TractResult<()> {
    for node in model.nodes_mut() {
        if let Some(scan) = node.op_as_mut::<Scan>() {
            lower(&mut scan.body, &mut packing(Precision::F32), passes)?;
        }
    }
    Ok(())
}

/// The nodes on our own kernels of an optimised graph, those in the bodies of its sequences among them.
pub(crate) fn lowered(model: &TypedModel) -> Vec<&Lowered> {
    let nodes = model.nodes().iter();
    nodes
        .flat_map(|node| match node.op_as::<OptScan>() {
            Some(scan) => lowered(scan.plan.model()),
            None => node.op_as::<Lowered>().into_iter().collect(),
        })
        .collect()
}

/// Lowers what maps, sums and moves numbers.
fn lower_maps(model: &mut TypedModel) -> TractResult<()> {
    rows::norms(model)?;
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(&input) = node.inputs.first() else { continue };
        let ([_], Some(from)) = (&*node.outputs, shape(model, input)?) else { continue };
        let Some(output) = shape(model, id.into())? else { continue };
        let body = rows::softmax(node, &from)
            .or_else(|| reduce::reduce(node, &from, &output))
            .or_else(|| moves::moved(node, &from));
        let body = match body {
            None => resize::resized(model, node, &from, &output)?,
            body => body,
        };
        if let Some(body) = body {
            replace(model, id, Box::new(Lowered::new(body, None, output, 0)), vec![input]);
        }
    }
    maps::lower(model)
}

/// Lowers products, convolutions and pools, and what follows them.
fn lower_nodes(model: &mut TypedModel, packing: &mut Packing, passes: Passes) -> TractResult<()> {
    let early = |node: &TypedNode| node.op_as::<Lowered>().is_some_and(|op| op.body.is_of_sums());
    if !model.nodes().iter().any(early) {
        widen(model, packing)?;
    }
    exact::pack(model)?;
    blockwise::pack(model)?;
    for id in model.eval_order()? {
        let node = model.node(id);
        let lowered = if let Some(op) = node.op_as::<EinSum>() {
            product::lower(model, node, op, packing)?
        } else if let Some(op) = node.op_as::<Conv>() {
            conv::lower(model, node, op, packing)?
        } else if let Some(op) = node.op_as::<MaxPool>() {
            pool::maxima(model, node, op)?.map(|lowered| (lowered, node.inputs.as_slice().into()))
        } else if let Some(op) = node.op_as::<SumPool>() {
            pool::means(model, node, op)?.map(|lowered| (lowered, node.inputs.as_slice().into()))
        } else if let Some(op) = node.op_as::<Downsample>() {
            pool::picked(model, node, op)?
        } else {
            None
        };
        let Some((lowered, inputs)) = lowered else { continue };
        ensure!(
            shape(model, id.into())?.as_ref() == Some(&lowered.output),
            "a lowered node's output has another shape"
        );
        let before = model.node(id).inputs.clone();
        replace(model, id, Box::new(lowered), inputs.to_vec());
        // A lowered node that nothing reads any more reads nothing either, so that what it read may move.
        for outlet in before {
            let other = model.node(outlet.node);
            if other.op_is::<Lowered>() && other.outputs[0].successors.is_empty() {
                replace(model, outlet.node, Box::new(Identity), vec![]);
            }
        }
    }
    if passes.fuse {
        fuse::fuse(model)?;
    }
    Ok(())
}

/// Makes another operator of node `id`, with other inputs and the same output. tract's own way is a patch, which compares
/// the new node with every other.
#[inline(never)]
pub(crate) fn replace(model: &mut TypedModel, id: usize, op: Box<dyn TypedOp>, inputs: Vec<OutletId>) {
    let nodes = model.nodes_mut();
    let node = &mut nodes[id];
    node.op = op;
    let before = std::mem::replace(&mut node.inputs, inputs.clone());
    for outlet in before {
        nodes[outlet.node].outputs[outlet.slot].successors.retain(|inlet| inlet.node != id);
    }
    for (slot, outlet) in inputs.into_iter().enumerate() {
        nodes[outlet.node].outputs[outlet.slot].successors.push(InletId::new(id, slot));
    }
}

/// Constants of products and of convolutions that are products, in numbers.
fn numbers(model: &TypedModel) -> TractResult<usize> {
    let mut numbers = 0;
    for node in model.nodes() {
        let inputs: &[OutletId] = match node.op_as::<Conv>() {
            Some(op) if !conv::stays_f32(model, node, op)? => &node.inputs[1..2],
            None if node.op_is::<EinSum>() => &node.inputs,
            _ => &[],
        };
        for input in inputs {
            numbers += constant(model, *input)?.map_or(0, |tensor| tensor.len());
        }
    }
    Ok(numbers)
}

/// The f32 values of a constant outlet.
#[inline(never)]
fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    let fact = model.outlet_fact(outlet)?;
    Ok(fact.konst.clone().filter(|k| k.datum_type() == f32::datum_type() && k.is_plain_ram()))
}

/// The concrete shape of a plain f32 outlet. None where it has no numbers: kernels are for those.
#[inline(never)]
fn shape(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TVec<usize>>> {
    let fact = model.outlet_fact(outlet)?;
    if fact.datum_type != f32::datum_type() || !fact.is_plain() {
        return Ok(None);
    }
    Ok(fact.shape.as_concrete().filter(|shape| !shape.contains(&0)).map(|shape| shape.into()))
}

/// The floats of a tensor.
fn floats(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

#[cfg(test)]
mod passes;
#[cfg(test)]
mod tests;
