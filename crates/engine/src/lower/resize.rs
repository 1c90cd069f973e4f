//! Images that are resized: what each output is made of is known when the graph is planned.

use ic_nn_kernels::{Axis, Resample};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::nn::Resize;

use super::node::Body;

/// How a node resizes a tensor of one shape to another by constants: its axes, in tract's order and with its weights.
pub(super) fn resized(
    model: &TypedModel,
    node: &TypedNode,
    input: &[usize],
    output: &[usize],
) -> TractResult<Option<Body>> {
    let Some(op) = node.op_as::<Resize>() else { return Ok(None) };
    if input.len() != output.len() {
        return Ok(None);
    }
    let mut scales: TVec<f32> = output.iter().zip(input).map(|(o, i)| *o as f32 / *i as f32).collect();
    if let Some(given) = op.optional_scales_input.and_then(|ix| node.inputs.get(ix)) {
        let Some(given) = model.outlet_fact(*given)?.konst.clone() else { return Ok(None) };
        if given.len() == input.len() {
            scales = given.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.into();
        }
    }
    let mut axes = vec![];
    for (axis, &scale) in scales.iter().enumerate() {
        if input[axis] == output[axis] && scale == 1.0 {
            continue;
        }
        let plan = op.plan_axis(scale, input[axis], output[axis]);
        if plan.extrapolated.contains(&true) {
            return Ok(None);
        }
        let (mut taps, mut places, mut weights) = (plan.window, plan.indices, plan.weights);
        // Where each output is one number, that alone is read.
        let one =
            |weights: &[f32]| weights.iter().filter(|w| **w != 0.0).count() == 1 && weights.contains(&1.0);
        if taps > 1 && weights.chunks_exact(taps).all(one) {
            let kept = |ix: &usize| weights[*ix] != 0.0;
            places = (0..places.len()).filter(kept).map(|ix| places[ix]).collect();
            weights = vec![1.0; places.len()];
            taps = 1;
        }
        let inner = input[axis + 1..].iter().product();
        let Some(axis) = Axis::new([input[axis], inner, taps], places, weights) else { return Ok(None) };
        axes.push(axis);
    }
    let made = Resample::new(input.iter().product(), axes);
    let made = made.filter(|resample| resample.given() == output.iter().product::<usize>());
    Ok(made.map(Body::Resample))
}
