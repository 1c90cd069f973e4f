//! Products and convolutions that stay tract's, cut in the graph where they are large: tract packs what it multiplies, so a part cannot be
//! taken of what it has chosen, but it chooses for each part by itself.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::cnn::KernelFormat;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::replace;
use crate::core::LARGEST;
use crate::cut::{Run, Way, of_einsum};

/// Instructions of a multiply-accumulate, of f32 and of other numbers.
const SINGLE: u64 = 8;
const OTHER: u64 = 42;

/// Places of a part at least: rows of tract's tiles.
const TILE: usize = 8;

/// Parts at most: as many as a run of some hundred messages has.
const MOST: usize = 1_000;

/// Cuts what is large into parts of at most [`LARGEST`] instructions.
pub(super) fn split(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let Some(way) = way(model, node)? else { continue };
        let (inputs, outputs) = model.node_facts(id)?;
        let macs = node.op.cost(&inputs)?.into_iter().fold(0u64, |sum, (cost, count)| match cost {
            Cost::FMA(_) => sum.saturating_add(count.to_i64().map_or(0, |n| n.max(0) as u64)),
            _ => sum,
        });
        let rate = if outputs[0].datum_type == f32::datum_type() { SINGLE } else { OTHER };
        drop((inputs, outputs));
        let wanted = (macs.saturating_mul(rate) / LARGEST) as usize + 1;
        let parts = wanted.min(way.places / TILE).min(MOST);
        if parts > 1 {
            parted(model, id, &way, parts)?;
        }
    }
    Ok(())
}

/// How the node can be cut; none where it is no product or convolution of tract's, or one of weights that are bytes.
fn way(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Way>> {
    let concrete = |fact: &TypedFact| -> Option<TVec<usize>> {
        let plain = fact.is_plain() && fact.datum_type.is_copy();
        fact.shape.as_concrete().filter(|shape| plain && !shape.contains(&0)).map(TVec::<usize>::from)
    };
    let (inputs, outputs) = model.node_facts(node.id)?;
    let inputs: Option<Vec<TVec<usize>>> = inputs.into_iter().map(concrete).collect();
    let (Some(inputs), [output]) = (inputs, &*outputs) else { return Ok(None) };
    let Some(output) = concrete(output) else { return Ok(None) };
    Ok(if let Some(op) = node.op_as::<EinSum>() {
        of_einsum(op, &inputs, &output).into_iter().max_by_key(|way| way.places)
    } else if let Some(op) = node.op_as::<Conv>() {
        of_conv(op, &inputs, &output)
    } else {
        None
    })
}

/// A convolution by its groups, or by its outputs where it has one.
fn of_conv(op: &Conv, inputs: &[TVec<usize>], output: &TVec<usize>) -> Option<Way> {
    let spec = &op.pool_spec;
    let (outputs, bias) = (spec.output_channels, inputs.get(2)?);
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW || inputs.len() != 3 {
        return None;
    }
    let axis = if spec.data_format.c_is_last() { output.len() - 1 } else { output.len() - 1 - spec.rank() };
    let places = if op.group == 1 { outputs } else { op.group };
    let each = outputs / places;
    let run = |axis: usize, each: usize| -> Option<Run> { Some((axis, each)) };
    let image = if op.group == 1 { None } else { run(axis, spec.input_channels / places) };
    let bias = if bias.iter().product::<usize>() == outputs && bias.len() == 1 { run(0, each) } else { None };
    Some(Way { places, inputs: tvec![image, run(0, each), bias], outputs: tvec![(axis, each)] })
}

/// The operator for so many of the places of a way.
fn shorter(op: &dyn TypedOp, way: &Way, places: usize) -> Box<dyn TypedOp> {
    let mut op = tract_onnx::tract_core::dyn_clone::clone_box(op);
    if let Some(conv) = op.downcast_mut::<Conv>() {
        conv.pool_spec.output_channels = conv.pool_spec.output_channels / way.places * places;
        if conv.group > 1 {
            conv.pool_spec.input_channels = conv.pool_spec.input_channels / way.places * places;
            conv.group = places;
        }
    }
    op
}

/// Makes a node of several and what joins them.
fn parted(model: &mut TypedModel, id: usize, way: &Way, parts: usize) -> TractResult<()> {
    let node = model.node(id).clone();
    let mut made = vec![];
    for part in 0..parts {
        let (start, end) = (part * way.places / parts, (part + 1) * way.places / parts);
        let mut operands = tvec![];
        for (ix, (input, run)) in node.inputs.iter().zip(&way.inputs).enumerate() {
            operands.push(match run {
                Some((axis, each)) => {
                    let name = format!("{}.part.{part}.{ix}", node.name);
                    model.wire_node(name, Slice::new(*axis, start * each, end * each), &[*input])?[0]
                }
                None => *input,
            });
        }
        let op = shorter(node.op.as_ref(), way, end - start);
        made.push(model.wire_node(format!("{}.part.{part}", node.name), op, &operands)?[0]);
    }
    replace(model, id, Box::new(TypedConcat::new(way.outputs[0].0)), made);
    Ok(())
}
