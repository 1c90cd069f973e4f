//! What follows a node channel by channel, a scale, an offset, bounds, moved before what only puts numbers elsewhere, so that it
//! can move into a kernel.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::identity::Identity;

use super::{constant, floats, replace, shape};

/// Where channels are before they are put elsewhere.
pub(super) struct Before {
    /// Axes there are.
    pub(super) rank: usize,
    /// The one that channels lie along.
    pub(super) axis: usize,
    /// How many there are of each.
    pub(super) each: usize,
}

/// What alone reads a node and treats each channel alike.
struct Follower {
    node: usize,
    slot: usize,
    /// The other operand: one number, or one a channel.
    values: Vec<f32>,
    op: TypedBinOp,
}

fn follower(model: &TypedModel, id: usize, axis: usize) -> TractResult<Option<Follower>> {
    let [successor] = *model.node(id).outputs[0].successors else { return Ok(None) };
    let next = model.node(successor.node);
    let Some(op) = next.op_as::<TypedBinOp>().filter(|_| next.inputs.len() == 2) else { return Ok(None) };
    let other = next.inputs[1 - successor.slot];
    let (Some(before), Some(after), Some(lies), Some(other)) = (
        shape(model, id.into())?,
        shape(model, next.id.into())?,
        shape(model, other)?,
        constant(model, other)?,
    ) else {
        return Ok(None);
    };
    let along = |ix: usize| if ix == axis { before[ix] } else { 1 };
    let channels = lies.len() == before.len() && lies.iter().enumerate().all(|(ix, d)| *d == along(ix));
    if model.output_outlets()?.contains(&id.into()) || before != after || !(channels || other.len() == 1) {
        return Ok(None);
    }
    let values = floats(&other)?.to_vec();
    Ok(Some(Follower { node: next.id, slot: successor.slot, values, op: op.clone() }))
}

/// Wires what follows node `id`, whose channels are along `axis`, behind `wire`, where they lie as `before` says: what is wired then,
/// and the node that stands for all of it.
pub(super) fn moved(
    model: &mut TypedModel,
    (id, axis): (usize, usize),
    mut wire: OutletId,
    before: &Before,
) -> TractResult<(OutletId, usize)> {
    let mut last = id;
    while let Some(Follower { node, slot, values, op }) = follower(model, last, axis)? {
        let name = format!("{}.before", model.node(node).name);
        let mut lies = vec![1; before.rank];
        let mut repeated = values;
        if repeated.len() > 1 {
            repeated = repeated.iter().flat_map(|one| std::iter::repeat_n(*one, before.each)).collect();
            lies[before.axis] = repeated.len();
        }
        let other = model.add_const(format!("{name}.other"), Tensor::from_shape(&lies, &repeated)?)?;
        let inputs = if slot == 0 { [wire, other] } else { [other, wire] };
        wire = model.wire_node(name, op, &inputs)?[0];
        replace(model, last, Box::new(Identity), vec![]);
        last = node;
    }
    Ok((wire, last))
}
