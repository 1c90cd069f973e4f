//! Operators that a run computes part by part, so that it can be left within one: what may take more than a tenth of a message.

use std::ops::Range;

use tract_onnx::prelude::*;

use crate::blockwise::Blockwise;
use crate::cut::{Along, Following};
use crate::exact::Exact;
use crate::lower::Lowered;
use crate::ops::Stepwise;

/// What can be computed part by part, from the first to the last. Which parts were computed together does not show but in the rounding of
/// products that are made in quarters; a run cuts by shapes alone.
pub(crate) trait Parted {
    /// Into how many parts it can be cut.
    fn units(&self) -> usize;

    /// What is to be written, every number of it by one of the parts: what the operator gives, and behind it what one part leaves to
    /// the next.
    fn begin(&self) -> TractResult<TVec<Tensor>>;

    /// Computes these of its units into what [`Parted::begin`] gave. Those before have been.
    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()>;
}

/// What is written of an operator that gives one tensor.
pub(crate) fn one(out: &mut [Tensor]) -> TractResult<&mut Tensor> {
    match out {
        [one] => Ok(one),
        _ => Err(TractError::msg("one output is expected")),
    }
}

/// How a node is computed part by part, in as many as are `wanted` if that can be; none where it is not.
pub(crate) fn parted<'a>(
    model: &TypedModel,
    node: &'a TypedNode,
    wanted: usize,
) -> Option<Box<dyn Parted + 'a>> {
    // The same for each of ours.
    fn own<'a, P: TypedOp + Parted + Clone>(node: &'a TypedNode) -> Option<Box<dyn Parted + 'a>> {
        node.op_as::<P>().map(|op| Box::new(op.clone()) as Box<dyn Parted + 'a>)
    }
    own::<Lowered>(node)
        .or_else(|| own::<Exact>(node))
        .or_else(|| own::<Blockwise>(node))
        .or_else(|| Some(Box::new(Stepwise::of(model, node)?) as Box<dyn Parted + 'a>))
        .or_else(|| Some(Box::new(Following::of(model, node)?) as Box<dyn Parted + 'a>))
        .or_else(|| Some(Box::new(Along::of(model, node, wanted)?) as Box<dyn Parted + 'a>))
}

/// Runs an optimised graph with every operator that can be cut computed unit by unit; how many were, of several.
#[cfg(test)]
pub(crate) fn run_by_units(model: TypedModel, inputs: TVec<TValue>) -> TractResult<(TVec<TValue>, usize)> {
    use tract_onnx::tract_core::plan::SimpleState;

    let mut cut = 0;
    let plan = model.into_optimized()?.into_runnable()?;
    let mut state = SimpleState::new(&plan)?;
    let outputs = state.run_plan_with_eval(inputs, |ctx, op_state, node, operands| {
        let op = parted(plan.model(), node, usize::MAX);
        if let Some(op) = op.filter(|op| op.units() > 1) {
            cut += 1;
            let mut out = op.begin()?;
            for unit in 0..op.units() {
                op.compute(&operands, &mut out, unit..unit + 1)?;
            }
            return Ok(out.into_iter().take(node.outputs.len()).map(IntoTValue::into_tvalue).collect());
        }
        match op_state {
            Some(op_state) => op_state.eval(ctx, node.op.as_ref(), operands),
            None => node.op.eval(ctx, operands),
        }
    })?;
    Ok((outputs, cut))
}
