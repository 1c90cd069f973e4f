//! Where channels come to lie innermost among planes: around convolutions of each channel by itself.
//!
//! Those take half the instructions where a vector holds four channels of a pixel, for nothing is left over at the end of a
//! row. Between two convolutions of one pixel, which write and read either layout at about the same price, the turn is
//! theirs; nowhere else is it for nothing. (tract makes the same of such places, only for wasm, by moving axes around until nothing
//! moves any more.)

use std::collections::BTreeMap;

use ic_nn_kernels::HwcDepthwise;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::math::{Max, Min};

use super::early::pointwise;
use super::pool::window;
use super::{constant, floats, shape};

/// What of a convolution lies with its channels innermost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Innermost {
    /// The image.
    pub(super) input: bool,
    /// The outputs.
    pub(super) output: bool,
}

/// The convolutions whose images or outputs shall have their channels innermost, by node. The facts of what lies in between
/// are changed to that.
pub(super) fn assign(model: &mut TypedModel) -> TractResult<BTreeMap<usize, Innermost>> {
    let mut assigned: BTreeMap<usize, Innermost> = BTreeMap::new();
    for id in model.eval_order()? {
        let Some((first, last, between)) = sandwich(model, id, &assigned)? else { continue };
        assigned.entry(first).or_default().output = true;
        assigned.insert(id, Innermost { input: true, output: true });
        assigned.entry(last).or_default().input = true;
        for node in between {
            let fact = &mut model.node_mut(node).outputs[0].fact;
            let mut dims = fact.shape.to_tvec();
            // Channels go behind height and width.
            let rank = dims.len();
            dims[rank - 3..].rotate_left(1);
            fact.shape = ShapeFact::from_dims(dims);
        }
    }
    Ok(assigned)
}

/// The convolutions of one pixel before and behind one of each channel by itself, and all nodes whose outputs lie between
/// them. None where it is not one, or something else is around it.
fn sandwich(
    model: &TypedModel,
    id: usize,
    assigned: &BTreeMap<usize, Innermost>,
) -> TractResult<Option<(usize, usize, Vec<usize>)>> {
    let node = model.node(id);
    let Some(op) = node.op_as::<Conv>().filter(|op| op.pool_spec.rank() == 2) else { return Ok(None) };
    let (channels, spec) = (op.input_channels(), &op.pool_spec);
    let (Some(image), Some(output)) = (shape(model, node.inputs[0])?, shape(model, id.into())?) else {
        return Ok(None);
    };
    let (input, produced) = (spec.data_format.shape(image)?, spec.data_format.shape(output)?);
    let window = window(spec, input.hw_dims(), produced.hw_dims());
    let alone = op.group == channels && op.output_channels() == channels && op.q_params.is_none();
    let constants = constant(model, node.inputs[1])?.is_some() && constant(model, node.inputs[2])?.is_some();
    if !alone || !constants || !HwcDepthwise::takes(&window, channels) {
        return Ok(None);
    }
    let mut between = vec![id];
    let mut first = node.inputs[0].node;
    while let Some(from) = bounds(model, first)? {
        between.push(first);
        first = from;
    }
    between.push(first);
    let mut at = id;
    let last = loop {
        let [next] = *model.node(at).outputs[0].successors else { return Ok(None) };
        if bounds(model, next.node)? != Some(at) {
            break next;
        }
        between.push(next.node);
        at = next.node;
    };
    let outputs = model.output_outlets()?;
    let alone = |id: &usize| {
        let node = model.node(*id);
        node.outputs[0].successors.len() == 1 && !outputs.contains(&(*id).into())
    };
    let is_pointwise = |id: usize| -> TractResult<bool> {
        let node = model.node(id);
        let Some(op) = node.op_as::<Conv>().filter(|op| !op.pool_spec.data_format.c_is_last()) else {
            return Ok(false);
        };
        let innermost = assigned.get(&id).copied().unwrap_or_default();
        Ok(op.pool_spec.rank() == 2 && pointwise(model, node, op, innermost)?.is_some())
    };
    let steps = |id: usize| {
        model.node(id).op_as::<Conv>().is_some_and(|op| (0..2).any(|axis| op.pool_spec.stride(axis) != 1))
    };
    let fits = between.iter().all(alone)
        && last.slot == 0
        && is_pointwise(first)?
        && is_pointwise(last.node)?
        && !steps(last.node);
    Ok(fits.then_some((first, last.node, between)))
}

/// What a node bounds by one number, and does nothing else to.
fn bounds(model: &TypedModel, id: usize) -> TractResult<Option<usize>> {
    let node = model.node(id);
    let Some(op) = node.op_as::<TypedBinOp>().filter(|op| op.0.is::<Max>() || op.0.is::<Min>()) else {
        return Ok(None);
    };
    if op.1.is_some() {
        return Ok(None);
    }
    for (bounded, by) in [(0, 1), (1, 0)] {
        let Some(by) = constant(model, node.inputs[by])? else { continue };
        let one = by.len() == 1 && floats(&by)?.len() == 1;
        let same = shape(model, node.inputs[bounded])? == shape(model, id.into())?;
        if one && same {
            return Ok(Some(node.inputs[bounded].node));
        }
    }
    Ok(None)
}
