//! ConstantOfShape: as tract's, but single zeros where the model does not say what, and a large one knows its fact.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::array::ConstantOfShape;

use super::Refusal;
use crate::held::Held;

#[derive(Clone, Debug)]
struct Filled {
    value: Arc<Tensor>,
    stock: ConstantOfShape,
}

/// A tensor of one value; f32 zeros where the node does not say otherwise (tract's are f64 then).
pub(super) fn filled(
    ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let value = match node.get_attr_opt("value")? {
        Some(value) => ctx.load_tensor(value)?,
        None => tensor0(0f32),
    };
    if value.len() != 1 {
        let place = format!("node `{}` (ConstantOfShape)", node.name);
        let reason = format!("its value is one element, {} came", value.len());
        return Err(Refusal { place, reason }.into());
    }
    let value = value.into_shape(&[])?.into_arc_tensor();
    Ok((expand(Filled { stock: ConstantOfShape::new(Arc::clone(&value)), value }), vec![]))
}

impl Expansion for Filled {
    fn name(&self) -> StaticName {
        self.stock.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.stock.rules(s, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        if let [shape] = inputs
            && let Some(shape) = target.outlet_fact(*shape)?.konst.clone()
            && let Some(dims) =
                ShapeFact::from(shape.cast_to::<TDim>()?.try_as_plain_ram()?.as_slice::<TDim>()?)
                    .as_concrete()
            && let Some(held) = Held::of(&self.value, dims)?
        {
            return target.wire_node(prefix, held, &[]);
        }
        self.stock.wire(prefix, target, inputs)
    }
}
