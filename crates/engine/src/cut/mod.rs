//! Operators of tract's, and kernels of ours that are functions of tensors, cut along an axis whose places are computed each by itself: a
//! part is the operator on a part of its operands.

mod following;
mod ways;

pub(crate) use following::Following;
pub(crate) use ways::{alike, of_einsum, way, with_rest};

use std::ops::Range;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{MultiBroadcastTo, Trilu};
use tract_onnx::tract_core::ops::cnn::{MaxPool, OptMaxPool, OptSumPool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::Resize;

use crate::ops::Kernel;
use crate::parted::Parted;

/// An axis of an operand or an output, and how many of its places go with one that is cut.
pub(crate) type Run = (usize, usize);

/// How an operator can be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Places that are computed each by itself.
    pub(crate) places: usize,
    /// Of each operand what goes with a place; none where all of it is read.
    pub(crate) inputs: TVec<Option<Run>>,
    /// Of each output.
    pub(crate) outputs: TVec<Run>,
}

/// An operator that is cut.
pub(crate) struct Along<'a> {
    op: &'a dyn TypedOp,
    way: Way,
    facts: TVec<(DatumType, TVec<usize>)>,
}

impl<'a> Along<'a> {
    /// The node, cut into as many as are `wanted` along the outermost axis that has so many places, else along the longest. None where its
    /// operator is not known to have such an axis, or lengths depend on values.
    pub(crate) fn of(model: &TypedModel, node: &'a TypedNode, wanted: usize) -> Option<Along<'a>> {
        let concrete = |fact: &TypedFact| {
            let plain = fact.is_plain() && fact.datum_type.is_copy();
            fact.shape.as_concrete().filter(|_| plain).map(TVec::<usize>::from)
        };
        let inputs = model.node_input_facts(node.id).ok()?;
        let inputs: TVec<TVec<usize>> = inputs.into_iter().map(concrete).collect::<Option<_>>()?;
        let outputs: TVec<TVec<usize>> =
            node.outputs.iter().map(|output| concrete(&output.fact)).collect::<Option<_>>()?;
        let ways: Vec<Way> = ways::ways(node.op.as_ref(), &inputs, &outputs);
        let enough = ways.iter().find(|way| way.places >= wanted);
        let way = enough.or_else(|| ways.iter().max_by_key(|way| way.places))?.clone();
        let facts = node.outputs.iter().map(|output| output.fact.datum_type).zip(outputs).collect();
        Some(Along { op: node.op.as_ref(), way, facts })
    }

    /// The operator for so many places.
    fn shorter(&self, places: usize) -> Box<dyn TypedOp> {
        if let Some(op) = self.op.downcast_ref::<Kernel>() {
            let outputs = self.facts.iter().zip(&self.way.outputs).map(|((dt, shape), (axis, each))| {
                let mut shape = shape.clone();
                shape[*axis] = places * each;
                dt.fact(&shape)
            });
            return Box::new(crate::ops::shorter(op, outputs.collect(), &self.way, places));
        }
        if let (Some(op), Some((axis, each))) =
            (self.op.downcast_ref::<MultiBroadcastTo>(), self.way.outputs.first())
        {
            let mut op = op.clone();
            op.shape.set(*axis, (places * each).to_dim());
            return Box::new(op);
        }
        // What tract has chosen for one size it chooses again.
        if let Some(op) = self.op.downcast_ref::<OptMaxPool>() {
            return Box::new(MaxPool::new(self.pool(&op.pool_spec, places), op.with_index_outputs));
        }
        if let Some(op) = self.op.downcast_ref::<OptSumPool>() {
            let spec = self.pool(&op.pool_spec, places);
            return Box::new(SumPool::new(spec, op.count_include_pad, op.normalize));
        }
        if let Some(op) = self.op.downcast_ref::<MaxPool>() {
            return Box::new(MaxPool::new(self.pool(&op.pool_spec, places), op.with_index_outputs));
        }
        if let Some(op) = self.op.downcast_ref::<SumPool>() {
            let spec = self.pool(&op.pool_spec, places);
            return Box::new(SumPool::new(spec, op.count_include_pad, op.normalize));
        }
        tract_onnx::tract_core::dyn_clone::clone_box(self.op)
    }

    /// The windows of a pool, over so many channels where it is cut along them.
    fn pool(&self, spec: &PoolSpec, places: usize) -> PoolSpec {
        let rank = self.facts[0].1.len();
        let channels = if spec.data_format.c_is_last() { rank - 1 } else { rank - 1 - spec.rank() };
        let cut = self.way.outputs.first().is_some_and(|(axis, _)| *axis == channels);
        let count = if cut { places } else { spec.input_channels };
        PoolSpec { input_channels: count, output_channels: count, ..spec.clone() }
    }

    /// The operands of these places.
    fn operands(&self, inputs: &[TValue], places: &Range<usize>) -> TractResult<TVec<TValue>> {
        let mut operands: TVec<TValue> = tvec![];
        for (input, run) in inputs.iter().zip(&self.way.inputs) {
            operands.push(match run {
                Some((axis, each)) => {
                    input.slice(*axis, places.start * each, places.end * each)?.into_tvalue()
                }
                None => input.clone(),
            });
        }
        // The diagonal of lower rows is further to the left.
        if self.op.is::<Trilu>()
            && self.way.outputs.iter().any(|(axis, _)| axis + 2 == self.facts[0].1.len())
            && let Some(diagonal) = operands.get_mut(1)
        {
            let k = *diagonal.try_as_plain_ram()?.to_scalar::<i64>()?;
            *diagonal = tensor0(k + places.start as i64).into_tvalue();
        }
        // Sizes that are asked for are those of the part.
        if let Some(ix) = self.op.downcast_ref::<Resize>().and_then(|op| op.optional_sizes_input)
            && let (Some(sizes), Some((axis, _))) = (operands.get_mut(ix), self.way.outputs.first())
        {
            let mut part = sizes.cast_to::<i64>()?.into_owned();
            if let Some(size) = part.try_as_plain_ram_mut()?.as_slice_mut::<i64>()?.get_mut(*axis) {
                *size = places.len() as i64;
            }
            *sizes = part.cast_to_dt(sizes.datum_type())?.into_owned().into_tvalue();
        }
        Ok(operands)
    }
}

impl Parted for Along<'_> {
    fn units(&self) -> usize {
        self.way.places
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        self.facts.iter().map(|(dt, shape)| Tensor::zero_dt(*dt, shape)).collect()
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        ensure!(inputs.len() == self.way.inputs.len(), "operands are missing");
        let operands = self.operands(inputs, &units)?;
        let made = self.shorter(units.len()).eval(&EvalContext::out_of_plan(), operands)?;
        ensure!(made.len() == out.len(), "outputs are missing");
        for ((made, out), (axis, each)) in made.iter().zip(out).zip(&self.way.outputs) {
            let place = units.start * each..units.end * each;
            ensure!(made.shape().get(*axis) == Some(&place.len()), "a part of another size");
            out.assign_slice(place, made, .., *axis)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::same;
