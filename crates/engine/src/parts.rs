//! Tensors that come in parts: inputs of a graph that are put together before anything reads them.
//!
//! tract makes of a product of such a tensor as many products as there are parts, and adds what they give. That saves a copy, and
//! rounds otherwise than the one product does of which a pipeline's columns were cut ([`crate::shard`]); so it is kept from seeing
//! what such a node does while it declutters.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::source::TypedSource;

/// A concatenation of inputs, by its axis.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts(usize);

impl Op for Parts {
    fn name(&self) -> StaticName {
        "Parts".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Parts {
    not_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, _inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        bail!("parts are joined before a graph runs")
    }
}

impl TypedOp for Parts {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        TypedConcat { axis: self.0 }.output_facts(inputs)
    }
}

/// Hides concatenations of inputs alone.
pub(crate) fn hide(model: &mut TypedModel) {
    let nodes = model.nodes();
    let joins = nodes.iter().filter_map(|node| {
        let inputs = || node.inputs.iter().all(|input| nodes[input.node].op_is::<TypedSource>());
        node.op_as::<TypedConcat>().filter(|_| node.inputs.len() > 1 && inputs()).map(|op| (node.id, op.axis))
    });
    for (id, axis) in joins.collect::<Vec<_>>() {
        model.node_mut(id).op = Box::new(Parts(axis));
    }
}

/// Makes concatenations of them again.
pub(crate) fn show(model: &mut TypedModel) {
    for node in model.nodes_mut() {
        if let Some(Parts(axis)) = node.op.downcast_ref::<Parts>() {
            node.op = Box::new(TypedConcat { axis: *axis });
        }
    }
}
