//! `ArrayFeatureExtractor`: chosen elements of the last axis.
//!
//! tract 0.23.9 has it as a Gather, whose rank follows the indices'; ONNX's list of indices is flat, whatever its shape.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::array::Gather;
use tract_onnx::tract_hir::internal::*;

#[derive(Clone, Debug)]
struct ArrayFeatureExtractor;

pub(super) fn array_feature_extractor(
    _ctx: &ParsingContext<'_>,
    _node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(ArrayFeatureExtractor), vec![]))
}

impl Expansion for ArrayFeatureExtractor {
    fn name(&self) -> StaticName {
        "ArrayFeatureExtractor".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.given_2(&inputs[0].shape, &inputs[1].shape, move |s, data, indices| {
            let mut shape: TVec<TDim> = match data.len() {
                0 => bail!("an array with an axis is expected, a scalar came"),
                1 => tvec!(1.to_dim()),
                rank => data[..rank - 1].into(),
            };
            shape.push(indices.iter().product());
            s.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let (mut data, mut indices) = (inputs[0], inputs[1]);
        let shape = model.outlet_fact(indices)?.shape.to_tvec();
        if shape.len() != 1 {
            let flat = match shape.len() {
                0 => AxisOp::Add(0),
                _ => AxisOp::Reshape(0, shape.clone(), tvec!(shape.iter().product())),
            };
            indices = model.wire_node(format!("{prefix}.flat"), flat, &[indices])?[0];
        }
        if model.outlet_fact(data)?.rank() == 1 {
            data = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[data])?[0];
        }
        let axis = model.outlet_fact(data)?.rank() - 1;
        model.wire_node(prefix, Gather::new(axis), &[data, indices])
    }
}
