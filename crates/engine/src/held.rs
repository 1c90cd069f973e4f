//! Constants that know their fact. tract asks a constant for its fact at every pass over a graph, and looks each time whether
//! all of its elements are one: at once answered where they differ, a walk over all of it where they do not. A model of
//! weights that are all one, which test models and freshly initialised ones are, costs more by that than by running it.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::ops::konst::Const;

/// Bytes from which a constant is worth holding.
const WORTH_BYTES: usize = 1 << 14;

/// A uniform constant and its fact.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    tensor: Arc<Tensor>,
    fact: TypedFact,
}

impl Held {
    /// A tensor of `dims` that is `value` all over; none where it is too small to be worth it.
    pub(crate) fn filled(value: &Arc<Tensor>, dims: &[usize]) -> TractResult<Option<Held>> {
        let bytes = dims.iter().try_fold(value.datum_type().size_of(), |bytes, dim| bytes.checked_mul(*dim));
        if !value.is_plain_ram() || bytes.is_none_or(|bytes| bytes < WORTH_BYTES) {
            return Ok(None);
        }
        let tensor = value.broadcast_scalar_to_shape(dims)?.into_arc_tensor();
        let mut fact = value.datum_type().fact(dims);
        fact.uniform = Some(Arc::clone(value));
        fact.konst = Some(Arc::clone(&tensor));
        Ok(Some(Held { tensor, fact }))
    }

    /// The same with its axes changed; none where they cannot be.
    fn changed(&self, change: &AxisOp) -> TractResult<Option<Held>> {
        let mut tensor = self.tensor.as_ref().clone();
        if change.change_tensor(&mut tensor, false).is_err() {
            return Ok(None);
        }
        let tensor = tensor.into_arc_tensor();
        let mut fact = self.fact.clone();
        fact.shape = tensor.shape().into();
        fact.konst = Some(Arc::clone(&tensor));
        Ok(Some(Held { tensor, fact }))
    }
}

/// Equal where the values are: all of them the same one.
impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        self.tensor.shape() == other.tensor.shape() && self.fact.uniform == other.fact.uniform
    }
}

impl Eq for Held {}

impl Op for Held {
    fn name(&self) -> StaticName {
        "Const".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Held {
    // What tract could evaluate it would make a constant of its own of.
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, _inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec!(Arc::clone(&self.tensor).into_tvalue()))
    }
}

impl TypedOp for Held {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.fact.clone()))
    }

    fn change_axes(
        &self,
        _model: &TypedModel,
        _node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        ensure!(io == InOut::Out(0));
        Ok(self.changed(change)?.map(|held| AxisChangeConsequence {
            substitute_op: Some(Box::new(held)),
            wire_changes: tvec!((io, change.clone())),
        }))
    }
}

/// Holds the large uniform constants of `model`, and what only changes their axes.
pub(crate) fn hold(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let [output] = &node.outputs[..] else { continue };
        let fact = &output.fact;
        if let (true, Some(tensor), Some(_)) = (node.op.is::<Const>(), &fact.konst, &fact.uniform)
            && fact.is_plain()
            && tensor.len() * tensor.datum_type().size_of() >= WORTH_BYTES
        {
            let held = Held { tensor: Arc::clone(tensor), fact: fact.clone() };
            model.node_mut(id).op = Box::new(held);
        } else if let (Some(change), [input]) = (node.op_as::<AxisOp>(), &node.inputs[..])
            && let Some(held) = model.node(input.node).op_as::<Held>()
            && let Some(held) = held.changed(change)?
        {
            TypedModelPatch::replace_single_op(model, node, &[], held)?.apply(model)?;
        }
    }
    Ok(())
}

/// Makes tract's constants again of those that are held: it keeps them out of the order of a run.
pub(crate) fn release(model: &mut TypedModel) -> TractResult<()> {
    for node in model.nodes_mut() {
        if let Some(held) = node.op.downcast_ref::<Held>() {
            node.op = Box::new(Const::new(Arc::clone(&held.tensor))?);
        }
    }
    Ok(())
}
