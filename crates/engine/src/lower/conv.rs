//! Convolutions that are no plain products: of planes or with channels innermost, by groups, by channels.

use ic_nn_kernels::{
    Conv as Planes, Depthwise, HwcConv, HwcDepthwise, Lines, Packing, Precision, Strided, Window, Winograd,
};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::KernelFormat;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::node::{Body, Lowered};
use super::pool::window;
use super::{constant, floats, shape, volume};

/// Whether a convolution stays f32 in any precision: of each channel by itself, by minimal filtering of stride 1, or tract's.
pub(super) fn stays_f32(model: &TypedModel, node: &TypedNode, op: &Conv) -> TractResult<bool> {
    let spec = &op.pool_spec;
    let (Some(image), Some(output)) = (shape(model, node.inputs[0])?, shape(model, node.id.into())?) else {
        return Ok(true);
    };
    if op.group > 1 || !matches!(spec.rank(), 1 | 2) {
        let whole = spec.rank() == 3 && !volume::is_filtered(op, &image, &output)?;
        return Ok(op.group == op.input_channels() || !(matches!(spec.rank(), 1 | 2) || whole));
    }
    let (image, output) = (spec.data_format.shape(image)?, spec.data_format.shape(output)?);
    let window = window(spec, image.hw_dims(), output.hw_dims());
    Ok(Winograd::pays(&window, op.input_channels(), op.output_channels()))
}

/// A node for the convolution, and its inputs; none where there is no kernel for it.
pub(super) fn lower(
    model: &TypedModel,
    node: &TypedNode,
    op: &Conv,
    packing: &mut Packing,
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
    let window = window(spec, input.hw_dims(), produced.hw_dims());
    let (channels, outputs, groups) = (op.input_channels(), op.output_channels(), op.group);
    let in_group = channels / groups;
    let kernel = floats(&kernel)?;
    let bias = biases(&bias, outputs)?;
    let Some(body) = body(packing, window, [channels, outputs, groups], innermost, kernel, &bias) else {
        return Ok(None);
    };
    let macs = output_of_n[0] * window.pixels() * outputs * in_group * window.places();
    let axis = produced.c_axis();
    let mut lowered = Lowered::new(body, Some(axis), output, macs as u64);
    lowered.images = output_of_n[0];
    Ok(Some((lowered, tvec!(node.inputs[0]))))
}

/// The kernel of a convolution of so many channels, outputs and groups; none where there is none for it.
pub(super) fn body(
    packing: &mut Packing,
    window: Window,
    [channels, outputs, groups]: [usize; 3],
    innermost: bool,
    kernel: &[f32],
    bias: &[f32],
) -> Option<Body> {
    let in_group = channels / groups;
    // What these save is less than what int8 does.
    let in_f32 = packing.precision == Precision::F32;
    Some(if groups > 1 && in_group == 1 && groups == outputs {
        if innermost && HwcDepthwise::takes(&window, channels) {
            Body::HwcDepthwise(HwcDepthwise::new(window, channels, bias, kernel))
        } else if !innermost && Depthwise::takes(&window) {
            Body::Depthwise(Depthwise::new(window, channels, kernel, bias))
        } else {
            return None;
        }
    } else if groups == 1
        && Winograd::pays(&window, channels, outputs)
        && let Some(left) = packing.spare.checked_sub(Winograd::bytes(channels, outputs))
    {
        packing.spare = left;
        Body::Winograd(Winograd::new(window, channels, outputs, innermost, bias, kernel))
    } else if groups == 1
        && in_f32
        && Strided::pays(&window, channels, outputs)
        && let Some(left) = packing.spare.checked_sub(Strided::bytes(channels, outputs))
    {
        packing.spare = left;
        Body::Strided(Strided::new(window, channels, outputs, innermost, bias, kernel))
    } else if groups == 1
        && in_f32
        && Lines::pays(&window, channels, outputs)
        && let Some(left) = packing.spare.checked_sub(Lines::bytes(&window, channels, outputs))
    {
        packing.spare = left;
        Body::Lines(Lines::new(window, channels, outputs, innermost, bias, kernel))
    } else if innermost {
        if groups > 1 {
            return None;
        }
        Body::HwcConv(HwcConv::new(packing, window, channels, outputs, bias, kernel))
    } else {
        Body::Conv(Planes::new(packing, window, in_group, outputs, groups, kernel, bias))
    })
}

/// A bias for each output.
pub(super) fn biases(bias: &Tensor, outputs: usize) -> TractResult<Vec<f32>> {
    Ok(match floats(bias)? {
        [one] if outputs != 1 => vec![*one; outputs],
        all => all.to_vec(),
    })
}
