//! Maxima and means of windows, and images of which every so many pixels are taken (what tract makes of strides of pointwise
//! convolutions).

use ic_nn_kernels::{MaxPool, Mean, MeanPool, Window};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool as Pool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;

use super::node::{Body, Lowered};
use super::shape;

/// The windows of a pool or convolution over planes; along one axis they are of a height of 1.
pub(super) fn window(spec: &PoolSpec, input: &[usize], output: &[usize]) -> Window {
    let two = |of: &dyn Fn(usize) -> usize, none: usize| {
        if input.len() == 1 { [none, of(0)] } else { [of(0), of(1)] }
    };
    let pads = spec.computed_padding(input);
    Window {
        input: two(&|axis| input[axis], 1),
        kernel: two(&|axis| spec.kernel_shape[axis], 1),
        stride: two(&|axis| spec.stride(axis), 1),
        dilation: two(&|axis| spec.dilation(axis), 1),
        before: two(&|axis| pads[axis].pad_before, 0),
        output: two(&|axis| output[axis], 1),
    }
}

/// A node for maxima over planes; none where there is no kernel for it.
pub(super) fn maxima(model: &TypedModel, node: &TypedNode, op: &Pool) -> TractResult<Option<Lowered>> {
    let spec = &op.pool_spec;
    if op.with_index_outputs.is_some() || spec.data_format.c_is_last() || !matches!(spec.rank(), 1 | 2) {
        return Ok(None);
    }
    let (Some(image), Some(output)) = (shape(model, node.inputs[0])?, shape(model, node.id.into())?) else {
        return Ok(None);
    };
    let (input, produced) = (spec.data_format.shape(image)?, spec.data_format.shape(output.clone())?);
    let window = window(spec, input.hw_dims(), produced.hw_dims());
    Ok(MaxPool::takes(&window).then(|| Lowered::new(Body::MaxPool(MaxPool::new(window)), None, output, 0)))
}

/// A node for means over planes; none where there is no kernel for it.
pub(super) fn means(model: &TypedModel, node: &TypedNode, op: &SumPool) -> TractResult<Option<Lowered>> {
    let spec = &op.pool_spec;
    if spec.data_format.c_is_last() || !matches!(spec.rank(), 1 | 2) {
        return Ok(None);
    }
    let (Some(image), Some(output)) = (shape(model, node.inputs[0])?, shape(model, node.id.into())?) else {
        return Ok(None);
    };
    let (input, produced) = (spec.data_format.shape(image)?, spec.data_format.shape(output.clone())?);
    let window = window(spec, input.hw_dims(), produced.hw_dims());
    let of = match (op.normalize, op.count_include_pad) {
        (false, _) => Mean::Sum,
        (true, false) => Mean::Image,
        (true, true) => {
            let pads = spec.computed_padding(input.hw_dims());
            let long = |axis: usize| pads[axis].pad_before + input.hw_dims()[axis] + pads[axis].pad_after;
            Mean::Padded(if pads.len() == 1 { [1, long(0)] } else { [long(0), long(1)] })
        }
    };
    Ok(MeanPool::takes(&window)
        .then(|| Lowered::new(Body::MeanPool(MeanPool::new(window, of)), None, output, 0)))
}

/// Every so many pixels of planes.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    /// Rows and columns of a plane.
    pub(crate) plane: [usize; 2],
    /// From one that is taken to the next.
    pub(crate) stride: [usize; 2],
    /// The first that is taken.
    pub(crate) first: [usize; 2],
}

/// A node for pixels taken along one of the two innermost axes, and its inputs. Where its input is such a node along the other,
/// the one does for both.
pub(super) fn picked(
    model: &TypedModel,
    node: &TypedNode,
    op: &Downsample,
) -> TractResult<Option<(Lowered, TVec<OutletId>)>> {
    let (Some(image), Some(output)) = (shape(model, node.inputs[0])?, shape(model, node.id.into())?) else {
        return Ok(None);
    };
    let Some(axis) = (op.axis + 2).checked_sub(image.len()).filter(|_| image.len() >= 2 && op.stride > 0)
    else {
        return Ok(None);
    };
    let mut picked =
        Picked { plane: [image[image.len() - 2], image[image.len() - 1]], stride: [1; 2], first: [0; 2] };
    let mut from = node.inputs[0];
    let before = model.node(from.node);
    if let Some(Lowered { body, .. }) = before.op_as::<Lowered>()
        && let Body::Picked(other) = &**body
        && other.stride[axis] == 1
        && before.outputs[0].successors.len() == 1
        && !model.output_outlets()?.contains(&from)
    {
        picked = other.clone();
        from = before.inputs[0];
    }
    picked.stride[axis] = op.stride.unsigned_abs();
    picked.first[axis] = op.modulo;
    Ok(Some((Lowered::new(Body::Picked(picked), None, output, 0), tvec!(from))))
}
