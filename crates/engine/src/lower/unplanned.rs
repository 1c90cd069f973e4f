//! Operators that tract or we plan for their shapes, products, convolutions and sequences, where shapes depend on values: they are left as
//! they are, and planned when their operands have come ([`crate::late`]).

use std::collections::HashMap;

use ic_nn_kernels::Precision;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::Deconv;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::scan::Scan;

use super::Passes;

/// A graph lowered and optimised for its shapes. Weights stay f32, as in all graphs inside of nodes.
pub(crate) fn planned(mut model: TypedModel) -> TractResult<TypedModel> {
    let mut packing = super::packing(Precision::F32);
    super::lower_early(&mut model, &mut packing, Passes::ALL)?;
    let mut model = model.into_decluttered()?;
    super::lower(&mut model, &mut packing, Passes::ALL)?;
    model.into_optimized()
}

/// An operator that is planned for its shapes, left as it is until they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unplanned(pub(crate) Box<dyn TypedOp>);

impl Op for Unplanned {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for Unplanned {
    // What is folded has lengths that are known.
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut model = TypedModel::default();
        let mut outlets = tvec![];
        for (ix, input) in inputs.iter().enumerate() {
            outlets.push(model.add_source(format!("input.{ix}"), input.datum_type().fact(input.shape()))?);
        }
        let outlets = model.wire_node("node", self.0.clone(), &outlets)?;
        model.select_output_outlets(&outlets)?;
        planned(model)?.into_runnable()?.run(inputs)
    }
}

impl TypedOp for Unplanned {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        self.0.cost(inputs)
    }

    fn set_symbols(
        &self,
        source: &TypedModel,
        node: &TypedNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
        subs: &HashMap<Symbol, TDim>,
    ) -> TractResult<TVec<OutletId>> {
        let outlets = self.0.set_symbols(source, node, target, mapping, subs)?;
        for outlet in &outlets {
            let made = target.node_mut(outlet.node);
            if !made.op_is::<Unplanned>() {
                made.op = Box::new(Unplanned(made.op.clone()));
            }
        }
        Ok(outlets)
    }
}

/// Leaves what is planned for shapes that are not known.
pub(super) fn leave(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let (inputs, outputs) = model.node_facts(id)?;
        let known = inputs.into_iter().chain(outputs).all(|fact| fact.shape.is_concrete());
        let op = &model.node(id).op;
        let is_planned = op.is::<EinSum>() || op.is::<Conv>() || op.is::<Deconv>() || op.is::<Scan>();
        if !known && is_planned {
            let op = Unplanned(op.clone());
            model.node_mut(id).op = Box::new(op);
        }
    }
    Ok(())
}
