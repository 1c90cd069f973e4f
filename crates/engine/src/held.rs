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
    pub(crate) fn of(value: &Arc<Tensor>, dims: &[usize]) -> TractResult<Option<Held>> {
        let bytes = dims.iter().try_fold(value.datum_type().size_of(), |bytes, dim| bytes.checked_mul(*dim));
        if !value.is_plain_ram()
            || !value.datum_type().is_copy()
            || bytes.is_none_or(|bytes| bytes < WORTH_BYTES)
        {
            return Ok(None);
        }
        let tensor = filled(value, dims)?.into_arc_tensor();
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

/// `value` all over.
fn filled(value: &Tensor, dims: &[usize]) -> TractResult<Tensor> {
    let one = value.as_bytes();
    let Some(repeats) = 16usize.checked_div(one.len()).filter(|repeats| repeats * one.len() == 16) else {
        return value.broadcast_scalar_to_shape(dims);
    };
    let pattern: [u8; 16] = one.repeat(repeats).try_into().map_err(|_| format_err!("not sixteen bytes"))?;
    let mut tensor = Tensor::zero_dt(value.datum_type(), dims)?;
    ic_nn_kernels::repeat(pattern, tensor.as_bytes_mut());
    Ok(tensor)
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

    fn eval(&self, _ctx: &EvalContext<'_>, _inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that turns a constant of `value`s, 40 x 200, and adds it to its input.
    fn model(op: Box<dyn TypedOp>) -> TypedModel {
        let mut model = TypedModel::default();
        let input = model.add_source("x", f32::fact([200, 40])).expect("a source");
        let held = model.wire_node("constant", op, &[]).expect("a constant")[0];
        let turned = model.wire_node("turned", AxisOp::Move(0, 1), &[held]).expect("an axis moves")[0];
        let sum = tract_onnx::tract_core::ops::math::add();
        let sum = model.wire_node("sum", sum, &[input, turned]).expect("they add")[0];
        model.select_output_outlets(&[sum]).expect("an output");
        model
    }

    fn run(mut model: TypedModel) -> Vec<f32> {
        hold(&mut model).expect("it holds");
        let held = model.nodes().iter().filter(|n| n.op_is::<Held>()).count();
        assert!(held > 0, "no constant is held");
        let mut model = model.into_decluttered().expect("it declutters");
        let constants = model
            .nodes()
            .iter()
            .filter(|n| n.op_is::<Const>() && n.outputs[0].fact.shape.volume() != 1.to_dim());
        assert_eq!(constants.count(), 0, "tract has made a constant of its own");
        release(&mut model).expect("it lets go");
        assert!(!model.nodes().iter().any(|n| n.op_is::<Held>()));
        let plan = model.into_optimized().expect("it optimises").into_runnable().expect("it runs");
        let ones = Tensor::from_shape(&[200, 40], &[1f32; 8000]).expect("ones").into_tvalue();
        let out = plan.run(tvec!(ones)).expect("a sum");
        floats(&out[0])
    }

    fn floats(tensor: &Tensor) -> Vec<f32> {
        tensor.try_as_plain_ram().expect("plain").as_slice::<f32>().expect("floats").to_vec()
    }

    #[test]
    fn a_held_constant_is_what_it_was() {
        let value = tensor0(2.5f32).into_arc_tensor();
        let held = Held::of(&value, &[40, 200]).expect("it fills").expect("it is large");
        assert_eq!(floats(&held.tensor), vec![2.5; 8000]);
        let constant = Const::new(Arc::clone(&held.tensor)).expect("a constant");
        assert_eq!(run(model(Box::new(held))), vec![3.5; 8000]);
        assert_eq!(run(model(Box::new(constant))), vec![3.5; 8000]);
        assert!(Held::of(&value, &[40]).expect("it fills").is_none(), "too small to be worth it");
    }
}
