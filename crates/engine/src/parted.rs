//! Operators that a run computes part by part, so that it can be left within one: what may take more than a tenth of a message.

use std::ops::Range;

use tract_onnx::prelude::*;

use crate::blockwise::Blockwise;
use crate::exact::Exact;
use crate::lower::Lowered;

/// What can be computed part by part. Which parts were computed together does not show but in the rounding of products that are made in
/// quarters; a run cuts by shapes alone.
pub(crate) trait Parted {
    /// Into how many parts it can be cut.
    fn units(&self) -> usize;

    /// What is to be written, every number of it by one of the parts.
    fn begin(&self) -> TractResult<Tensor>;

    /// Computes these of its units into what [`Parted::begin`] gave.
    fn compute(&self, inputs: &[TValue], out: &mut Tensor, units: Range<usize>) -> TractResult<()>;
}

/// The operator, where it can be cut.
pub(crate) fn parted(op: &dyn TypedOp) -> Option<&dyn Parted> {
    if let Some(op) = op.downcast_ref::<Lowered>() {
        return Some(op);
    }
    if let Some(op) = op.downcast_ref::<Exact>() {
        return Some(op);
    }
    op.downcast_ref::<Blockwise>().map(|op| op as &dyn Parted)
}

/// Runs an optimised graph with every operator that can be cut computed unit by unit; how many were, of several.
#[cfg(test)]
pub(crate) fn run_by_units(model: TypedModel, inputs: TVec<TValue>) -> TractResult<(TVec<TValue>, usize)> {
    use tract_onnx::tract_core::plan::SimpleState;

    let mut cut = 0;
    let mut state = SimpleState::new(&model.into_optimized()?.into_runnable()?)?;
    let outputs = state.run_plan_with_eval(inputs, |ctx, op_state, node, operands| {
        if let Some(op) = parted(node.op.as_ref()).filter(|op| op.units() > 1) {
            cut += 1;
            let mut out = op.begin()?;
            for unit in (0..op.units()).rev() {
                op.compute(&operands, &mut out, unit..unit + 1)?;
            }
            return Ok(tvec!(out.into_tvalue()));
        }
        match op_state {
            Some(op_state) => op_state.eval(ctx, node.op.as_ref(), operands),
            None => node.op.eval(ctx, operands),
        }
    })?;
    Ok((outputs, cut))
}
