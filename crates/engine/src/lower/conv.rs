//! Convolutions that are no plain products: of planes or with channels innermost, by groups, by channels.

use ic_nn_kernels::{Conv as Planes, Depthwise, HwcConv, HwcDepthwise, Precision, Window, Winograd};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::KernelFormat;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::node::{Body, Lowered};
use super::{constant, floats, shape};

/// A node for the convolution, and its inputs; none where there is no kernel for it. `transformable` is what is left of
/// [`super::TRANSFORMED_BYTES`].
pub(super) fn lower(
    model: &TypedModel,
    node: &TypedNode,
    op: &Conv,
    precision: Precision,
    transformable: &mut usize,
) -> TractResult<Option<(Lowered, TVec<OutletId>)>> {
    let spec = &op.pool_spec;
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW || !matches!(spec.rank(), 1 | 2) {
        return Ok(None);
    }
    let (Some(image), Some(kernel), Some(bias)) =
        (shape(model, node.inputs[0])?, constant(model, node.inputs[1])?, constant(model, node.inputs[2])?)
    else {
        return Ok(None);
    };
    let Some(output) = shape(model, node.id.into())? else { return Ok(None) };
    let innermost = spec.data_format.c_is_last();
    let has_n = matches!(spec.data_format, DataFormat::NCHW | DataFormat::NHWC);
    let mut output_of_n = output.clone();
    if !has_n {
        output_of_n.insert(0, 1);
    }
    let input = spec.data_format.shape(image)?;
    let produced = spec.data_format.shape(output.clone())?;
    let window = window(op, input.hw_dims(), produced.hw_dims());
    let (channels, outputs, groups) = (op.input_channels(), op.output_channels(), op.group);
    let in_group = channels / groups;
    let kernel = floats(&kernel)?;
    let bias = match floats(&bias)? {
        [one] if outputs != 1 => vec![*one; outputs],
        all => all.to_vec(),
    };
    let places = window.places();
    let body = if groups > 1 && in_group == 1 && groups == outputs {
        if innermost && HwcDepthwise::takes(&window, channels) {
            Body::HwcDepthwise(HwcDepthwise::new(window, channels, &bias, kernel))
        } else if !innermost && Depthwise::takes(&window) {
            Body::Depthwise(Depthwise::new(window, channels, kernel, &bias))
        } else {
            return Ok(None);
        }
    } else if groups == 1
        && Winograd::pays(&window, channels, outputs)
        && let Some(left) = transformable.checked_sub(Winograd::bytes(channels, outputs))
    {
        *transformable = left;
        Body::Winograd(Winograd::new(window, channels, outputs, innermost, &bias, kernel))
    } else if innermost {
        if groups > 1 {
            return Ok(None);
        }
        Body::HwcConv(HwcConv::new(precision, window, channels, outputs, &bias, kernel))
    } else {
        // Groups of fewer rows than a tile has are tract's.
        if groups > 1 && outputs / groups < 4 {
            return Ok(None);
        }
        Body::Conv(Planes::new(precision, window, in_group, outputs, groups, kernel, &bias))
    };
    let macs = output_of_n[0] * window.pixels() * outputs * in_group * places;
    let axis = produced.c_axis();
    let mut lowered = Lowered::new(body, Some(axis), output, macs as u64);
    lowered.images = output_of_n[0];
    Ok(Some((lowered, tvec!(node.inputs[0]))))
}

/// The windows over planes; a convolution along one axis is one of a height of 1.
fn window(op: &Conv, input: &[usize], output: &[usize]) -> Window {
    let spec = &op.pool_spec;
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
