//! Kernels that are computed step by step into what they give, where no axis is cut: rows that look at all others, sequences that carry a
//! state, places that values decide.

use std::ops::Range;

use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, zeros};
use super::{attention, quant, recurrent, spatial};
use crate::parted::Parted;

type Shape = TVec<usize>;

/// Computes some steps into the outputs.
type Steps = fn(&Kernel, &[TValue], &mut [Tensor], Range<usize>) -> TractResult<()>;

/// A kernel and its steps.
pub(crate) struct Stepwise<'a> {
    kernel: &'a Kernel,
    steps: Steps,
    units: usize,
}

impl<'a> Stepwise<'a> {
    /// The node; none where it is no kernel of these.
    pub(crate) fn of(model: &TypedModel, node: &'a TypedNode) -> Option<Stepwise<'a>> {
        let kernel = node.op_as::<Kernel>()?;
        let inputs = model.node_input_facts(node.id).ok()?;
        let shapes: Vec<Shape> =
            inputs.iter().map(|fact| fact.shape.as_concrete().map(Shape::from)).collect::<Option<_>>()?;
        let (units, steps): (usize, Steps) = match kernel.name {
            "Attention" => (attention::units(&shapes), attention::rows),
            "recurrent" => (recurrent::units(&shapes), recurrent::steps),
            "DynamicQuantizeLinear" if shapes.first()?.iter().product::<usize>() >= 8 => {
                (quant::steps_of(shapes.first()?.iter().product()), quant::quantize_in_steps)
            }
            "MaxUnpool" => (shapes.first()?.iter().product(), spatial::max_unpool_of),
            _ => return None,
        };
        Some(Stepwise { kernel, steps, units })
    }
}

impl Parted for Stepwise<'_> {
    fn units(&self) -> usize {
        self.units
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        Ok(zeros(self.kernel)?.into())
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        ensure!(out.len() == self.kernel.outputs.len() && units.end <= self.units, "steps that it has not");
        (self.steps)(self.kernel, inputs, out, units).map_err(|e| super::Fault(format!("{e:#}")).into())
    }
}
