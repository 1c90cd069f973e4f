//! Softmax and norms: nodes of rows. Of a layer norm tract leaves a sum, a difference, a norm of root mean squares, a
//! product and a sum; they become one node.

use ic_nn_kernels::{Norm, Softmax};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::math::{Add, Mul, Sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax as TractSoftmax, SoftmaxKind};

use super::node::{Body, Lowered};
use super::{constant, floats, replace, shape};

/// Makes one node of each norm.
pub(super) fn norms(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        if model.node(id).op_is::<RmsNorm>() {
            norm(model, id)?;
        }
    }
    Ok(())
}

/// A softmax along axes that lie together.
pub(super) fn softmax(node: &TypedNode, shape: &[usize]) -> Option<Body> {
    let op = node.op_as::<TractSoftmax>()?;
    if op.kind != SoftmaxKind::Softmax || op.quant_output_dt.is_some() {
        return None;
    }
    let [first, last] = together(&op.axes, shape)?;
    Softmax::new(shape[first..=last].iter().product(), shape[last + 1..].iter().product()).map(Body::Softmax)
}

/// The first and the last of axes, of which none but those of length 1 may be left out between the two. None of no axis that is
/// longer.
pub(super) fn together(axes: &[usize], shape: &[usize]) -> Option<[usize; 2]> {
    let long = |axis: &usize| axes.contains(axis) && shape[*axis] > 1;
    let (first, last) = ((0..shape.len()).find(long)?, (0..shape.len()).rfind(long)?);
    (first..=last).all(|axis| shape[axis] == 1 || axes.contains(&axis)).then_some([first, last])
}

/// The one node that reads a node, where it is none of the graph's outputs.
fn reader(model: &TypedModel, id: usize) -> TractResult<Option<usize>> {
    let [reader] = *model.node(id).outputs[0].successors else { return Ok(None) };
    Ok((!model.output_outlets()?.contains(&id.into())).then_some(reader.node))
}

/// The two inputs of a node of that operator.
fn operands<O: BinMiniOp>(node: &TypedNode) -> Option<[OutletId; 2]> {
    let op = node.op_as::<TypedBinOp>()?;
    let [a, b] = *node.inputs else { return None };
    (op.0.is::<O>() && op.1.is_none_or(|dt| dt == f32::datum_type())).then_some([a, b])
}

/// What a node's reader applies to each row: constants along it, by that operator. The reader, and the constants.
fn along<O: BinMiniOp>(
    model: &TypedModel,
    id: usize,
    output: &[usize],
) -> TractResult<Option<(usize, Vec<f32>)>> {
    let Some(next) = reader(model, id)? else { return Ok(None) };
    let Some([a, b]) = operands::<O>(model.node(next)) else { return Ok(None) };
    let other = if a.node == id { b } else { a };
    let (Some(values), Some(lies), Some(&row)) =
        (constant(model, other)?, shape(model, other)?, output.last())
    else {
        return Ok(None);
    };
    if other.node == id || shape(model, next.into())?.as_deref() != Some(output) {
        return Ok(None);
    }
    Ok(match floats(&values)? {
        [number] => Some((next, vec![*number; row])),
        values if values.len() == row && lies.last() == Some(&row) => Some((next, values.to_vec())),
        _ => None,
    })
}

/// What is normalised where `from` is a tensor less the mean of its rows.
fn centred(model: &TypedModel, from: OutletId, row: usize) -> TractResult<Option<OutletId>> {
    let Some([x, mean]) = operands::<Sub>(model.node(from.node)) else { return Ok(None) };
    let Some([a, b]) = operands::<Mul>(model.node(mean.node)) else { return Ok(None) };
    for (sum, factor) in [(a, b), (b, a)] {
        let Some(op) = model.node(sum.node).op_as::<Reduce>() else { continue };
        let (Some(factor), Some(input)) = (constant(model, factor)?, shape(model, x)?) else { continue };
        let [factor] = *floats(&factor)? else { continue };
        let per = 1.0 / row as f32;
        if op.reducer == Reducer::Sum
            && *op.axes == [input.len() - 1]
            && model.node(sum.node).inputs[0] == x
            && shape(model, from)?.as_ref() == Some(&input)
            && (factor - per).abs() <= 1e-6 * per
        {
            return Ok(Some(x));
        }
    }
    Ok(None)
}

/// Makes one node of a norm of rows, of the mean that is taken away before it and of the scale and bias behind it.
fn norm(model: &mut TypedModel, id: usize) -> TractResult<()> {
    let node = model.node(id);
    let Some(op) = node.op_as::<RmsNorm>() else { return Ok(()) };
    let from = node.inputs[0];
    let Some(output) = shape(model, id.into())? else { return Ok(()) };
    let Some(&row) = output.last().filter(|_| op.axis + 1 == output.len()) else { return Ok(()) };
    let epsilon = op.eps.cast_to_scalar::<f32>()?;
    // What else reads the difference needs it.
    let alone = reader(model, from.node)? == Some(id);
    let x = if alone { centred(model, from, row)? } else { None };
    let (mut last, mut left) = (id, vec![]);
    let scale = along::<Mul>(model, last, &output)?;
    if let Some((next, _)) = &scale {
        left.push(std::mem::replace(&mut last, *next));
    }
    let bias = along::<Add>(model, last, &output)?;
    if let Some((next, _)) = &bias {
        left.push(std::mem::replace(&mut last, *next));
    }
    let values = |of: &Option<(usize, Vec<f32>)>| of.as_ref().map(|(_, values)| values.clone());
    let (scale, bias) = (values(&scale), values(&bias));
    let Some(norm) = Norm::new(row, epsilon, x.is_some(), scale.as_deref(), bias.as_deref()) else {
        return Ok(());
    };
    if x.is_some() {
        left.push(from.node);
    }
    for id in left {
        replace(model, id, Box::new(Identity), vec![]);
    }
    let lowered = Lowered::new(Body::Norm(norm), None, output, 0);
    replace(model, last, Box::new(lowered), vec![x.unwrap_or(from)]);
    Ok(())
}
