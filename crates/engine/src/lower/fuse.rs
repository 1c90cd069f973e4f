//! What follows a lowered node, moved into it: a constant added along one axis, another tensor added, bounds.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};

use super::node::Lowered;
use super::{constant, floats, replace, shape};

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

/// What follows a node and can move into it.
enum Follower {
    /// Constants added along the axis of the bias: the new bias.
    Bias(Vec<f32>),
    /// A tensor of the output's shape, added.
    Residual(OutletId),
    /// A least output.
    Low(f32),
    /// A largest output.
    High(f32),
}

impl Lowered {
    /// With what follows it.
    fn followed(mut self, by: &Follower) -> Lowered {
        let (low, high) = self.bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        match by {
            Follower::Bias(bias) => return self.with_bias(bias),
            Follower::Residual(_) => self.residual = true,
            Follower::Low(least) => self.bounds = Some((low.max(*least), high.max(*least))),
            Follower::High(most) => self.bounds = Some((low.min(*most), high.min(*most))),
        }
        self
    }
}

/// Moves what follows node `id` into it; the node that it is now.
fn step(model: &mut TypedModel, id: usize) -> TractResult<Option<usize>> {
    let Some((next, follower)) = follower(model, id)? else { return Ok(None) };
    let mut inputs = model.node(id).inputs.clone();
    if let Follower::Residual(other) = follower {
        inputs.push(other);
    }
    // The node leaves the graph: its weights go on without being copied.
    let op = std::mem::replace(&mut model.node_mut(id).op, Box::new(Identity));
    let Ok(op) = op.downcast::<Lowered>() else { bail!("a lowered node is none") };
    replace(model, id, Box::new(Identity), vec![]);
    // It takes the place of what followed it, where the other operand is known.
    replace(model, next, Box::new(op.followed(&follower)), inputs);
    Ok(Some(next))
}

/// The one node that reads node `id`, and what it is, where it can move into it.
fn follower(model: &TypedModel, id: usize) -> TractResult<Option<(usize, Follower)>> {
    let node = model.node(id);
    let Some(op) = node.op_as::<Lowered>() else { return Ok(None) };
    if !op.body.is_of_sums() {
        return Ok(None);
    }
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
    let follower = if binary.0.is::<Add>() {
        added(model, op, other)?
    } else if binary.0.is::<Max>() {
        uniform(model, other)?.map(Follower::Low)
    } else if binary.0.is::<Min>() {
        uniform(model, other)?.map(Follower::High)
    } else {
        None
    };
    Ok(follower.map(|follower| (next.id, follower)))
}

/// An addition: of constants along the axis of the bias, or of a tensor of the output's shape.
fn added(model: &TypedModel, op: &Lowered, other: OutletId) -> TractResult<Option<Follower>> {
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
        if let (Some(axis), Some(mut bias)) = (axis, op.bias()) {
            ensure!(bias.len() == op.output[axis], "a bias of {} along {}", bias.len(), op.output[axis]);
            bias.iter_mut().zip(values.iter().cycle()).for_each(|(bias, value)| *bias += value);
            return Ok(Some(Follower::Bias(bias)));
        }
    }
    Ok((other_shape == op.output).then_some(Follower::Residual(other)))
}

/// The one value of a constant.
fn uniform(model: &TypedModel, outlet: OutletId) -> TractResult<Option<f32>> {
    let Some(constant) = constant(model, outlet)? else { return Ok(None) };
    let values = floats(&constant)?;
    Ok(values.first().copied().filter(|first| values.iter().all(|v| v == first)))
}
