//! What follows a lowered node, moved into it: a constant added along one axis, another tensor added, bounds.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};

use super::node::Lowered;
use super::{constant, floats, shape};

/// Fuses until nothing is left to fuse.
pub(super) fn fuse(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        // What follows the fused node may follow once more.
        let mut at = id;
        while let Some(next) = step(model, at)? {
            at = next;
        }
    }
    Ok(())
}

/// Moves what follows node `id` into it; the node that it is now.
fn step(model: &mut TypedModel, id: usize) -> TractResult<Option<usize>> {
    let node = model.node(id);
    let Some(op) = node.op_as::<Lowered>() else { return Ok(None) };
    let [successor] = *node.outputs[0].successors else { return Ok(None) };
    if model.output_outlets()?.contains(&id.into()) {
        return Ok(None);
    }
    let next = model.node(successor.node);
    let Some(binary) = next.op_as::<TypedBinOp>() else { return Ok(None) };
    let other = next.inputs[1 - successor.slot];
    if other.node == id || shape(model, next.id.into())?.as_ref() != Some(&op.output) {
        return Ok(None);
    }
    let fused = if binary.0.is::<Add>() {
        added(model, op, other)?
    } else if binary.0.is::<Max>() {
        uniform(model, other)?.and_then(|low| bounded(op, |(l, h)| (l.max(low), h.max(low))))
    } else if binary.0.is::<Min>() {
        uniform(model, other)?.and_then(|high| bounded(op, |(l, h)| (l.min(high), h.min(high))))
    } else {
        None
    };
    let Some(fused) = fused else { return Ok(None) };
    let mut inputs = node.inputs.clone();
    if fused.residual && !op.residual {
        inputs.push(other);
    }
    // The node takes the place of what followed it, where the other operand is known.
    let mut patch = TypedModelPatch::new("lowered");
    let taps = patch.taps(model, &inputs)?;
    let name = next.name.clone();
    let wire = patch.wire_node(&name, fused, &taps)?[0];
    let next = next.id;
    patch.shunt_outside(model, next.into(), wire)?;
    patch.apply(model)?;
    Ok(model.nodes().iter().rposition(|node| node.name == name && node.op_is::<Lowered>()))
}

/// With an addition: of constants along the axis of the bias, or of a tensor of the output's shape.
fn added(model: &TypedModel, op: &Lowered, other: OutletId) -> TractResult<Option<Lowered>> {
    if op.bounds.is_some() || op.residual {
        return Ok(None);
    }
    let Some(other_shape) = shape(model, other)? else { return Ok(None) };
    if let Some(constant) = constant(model, other)? {
        let values = floats(&constant)?;
        let axis = op.bias_axis.filter(|axis| {
            let along = other_shape.len() == op.output.len() && other_shape[*axis] == op.output[*axis];
            values.len() == 1 || (along && values.len() == op.output[*axis])
        });
        if let (Some(axis), Some(bias)) = (axis, op.bias()) {
            ensure!(bias.len() == op.output[axis], "a bias of {} along {}", bias.len(), op.output[axis]);
            let sum: Vec<f32> = bias
                .iter()
                .enumerate()
                .map(|(ix, b)| b + values[if values.len() == 1 { 0 } else { ix }])
                .collect();
            return Ok(Some(op.clone().with_bias(&sum)));
        }
    }
    if other_shape != op.output {
        return Ok(None);
    }
    Ok(Some(Lowered { residual: true, ..op.clone() }))
}

/// The one value of a constant.
fn uniform(model: &TypedModel, outlet: OutletId) -> TractResult<Option<f32>> {
    let Some(constant) = constant(model, outlet)? else { return Ok(None) };
    let values = floats(&constant)?;
    Ok(values.first().copied().filter(|first| values.iter().all(|v| v == first)))
}

fn bounded(op: &Lowered, narrow: impl Fn((f32, f32)) -> (f32, f32)) -> Option<Lowered> {
    let bounds = narrow(op.bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)));
    Some(Lowered { bounds: Some(bounds), ..op.clone() })
}
