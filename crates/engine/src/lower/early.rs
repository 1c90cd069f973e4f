//! Convolutions of planes, lowered before tract declutters the graph.
//!
//! tract moves axes around each of them and matches every node with every other while it does, which costs more instructions
//! than packing their weights: of MobileNetV2's load four fifths. A graph that moves no axes itself, which those of PyTorch do
//! not, has nothing to gain from that. In it constants are folded, then convolutions with constant weights become kernels, and
//! tract gets what is left.

use ic_nn_kernels::{HwcDepthwise, Packing, Window};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat};
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::math::Mul;
use tract_onnx::tract_core::optim::Optimizer;

use super::conv::{self, biases};
use super::innermost::{self, Innermost};
use super::node::{Body, Lowered};
use super::pool::{Picked, window};
use super::product::Product;
use super::{constant, deconv, floats, fuse, replace, shape, volume, widen};

/// Lowers what can be, where the graph moves no axes of what has an image's rank.
pub(super) fn lower(model: &mut TypedModel, packing: &mut Packing, fused: bool) -> TractResult<()> {
    let concerns =
        |node: &TypedNode| node.op_is::<Conv>() || node.op_is::<Deconv>() || volume::concerns(node);
    if !model.nodes().iter().any(concerns) {
        return Ok(());
    }
    Optimizer::prop_consts().optimize(model)?;
    deconv::lower(model, packing)?;
    widen(model, packing)?;
    volume::lower(model, packing)?;
    let moves = |node: &TypedNode| {
        matches!(node.op_as::<AxisOp>(), Some(AxisOp::Move(..)))
            && node.outputs.iter().any(|output| output.fact.konst.is_none() && output.fact.rank() > 2)
    };
    if model.nodes().iter().any(moves) {
        return Ok(());
    }
    let order = model.eval_order()?;
    for &id in &order {
        scaled(model, id)?;
    }
    let innermost = innermost::assign(model)?;
    for id in model.eval_order()? {
        convolution(model, id, packing, innermost.get(&id).copied().unwrap_or_default())?;
    }
    if fused {
        fuse::fuse(model)?;
    }
    model.compact()
}

/// Lowers a convolution over planes, where there is a kernel for it.
fn convolution(
    model: &mut TypedModel,
    id: usize,
    packing: &mut Packing,
    innermost: Innermost,
) -> TractResult<()> {
    let node = model.node(id);
    let Some(op) = node.op_as::<Conv>().cloned() else { return Ok(()) };
    if op.pool_spec.data_format.c_is_last() {
        return Ok(());
    }
    let lowered = if let Some(Pointwise { window, sizes, kernel, bias }) =
        pointwise(model, node, &op, innermost)?
    {
        let image = node.inputs[0];
        let Some(output) = shape(model, id.into())? else { return Ok(()) };
        let pixels = window.pixels();
        let Some(product) = Product::pointwise(packing, sizes, pixels, floats(&kernel)?, innermost) else {
            return Ok(());
        };
        let macs = sizes.iter().product::<usize>() * pixels;
        let axis = if innermost.output { output.len() - 1 } else { output.len() - 1 - op.pool_spec.rank() };
        let product = Body::Product(product.with_bias(&bias));
        let lowered = Lowered::new(product, Some(axis), output.clone(), macs as u64);
        let mut input = image;
        if window.stride != [1, 1] {
            let mut picked = shape(model, image)?.unwrap_or_default();
            let across = picked.len() - op.pool_spec.rank();
            picked[across..].copy_from_slice(&window.output[2 - op.pool_spec.rank()..]);
            let body = Picked { plane: window.input, stride: window.stride, first: [0, 0] };
            let name = format!("{}.picked", node.name);
            input = model.wire_node(name, Lowered::new(Body::Picked(body), None, picked, 0), &[image])?[0];
        }
        Some((lowered, tvec!(input)))
    } else if innermost.input {
        alone(model, node, &op)?
    } else {
        conv::lower(model, node, &op, packing)?
    };
    if let Some((lowered, inputs)) = lowered {
        replace(model, id, Box::new(lowered), inputs.to_vec());
    }
    Ok(())
}

/// A convolution of each channel by itself whose channels are innermost, though its operator says otherwise.
fn alone(model: &TypedModel, node: &TypedNode, op: &Conv) -> TractResult<Option<(Lowered, TVec<OutletId>)>> {
    let (Some(image), Some(output), Some(kernel), Some(bias)) = (
        shape(model, node.inputs[0])?,
        shape(model, node.id.into())?,
        constant(model, node.inputs[1])?,
        constant(model, node.inputs[2])?,
    ) else {
        bail!("a convolution without its constants")
    };
    let (channels, rank) = (op.input_channels(), output.len());
    let window = window(&op.pool_spec, &image[rank - 3..rank - 1], &output[rank - 3..rank - 1]);
    let images = if rank == 4 { output[0] } else { 1 };
    let macs = images * window.pixels() * channels * window.places();
    let conv = HwcDepthwise::new(window, channels, &biases(&bias, channels)?, floats(&kernel)?);
    let mut lowered = Lowered::new(Body::HwcDepthwise(conv), Some(rank - 1), output, macs as u64);
    lowered.images = images;
    Ok(Some((lowered, tvec!(node.inputs[0]))))
}

/// A convolution of windows of one pixel.
pub(super) struct Pointwise {
    window: Window,
    /// Images, channels, outputs.
    sizes: [usize; 3],
    kernel: Arc<Tensor>,
    bias: Vec<f32>,
}

/// What the convolution is, where its windows are of one pixel and nothing is around the image.
pub(super) fn pointwise(
    model: &TypedModel,
    node: &TypedNode,
    op: &Conv,
    innermost: Innermost,
) -> TractResult<Option<Pointwise>> {
    let spec = &op.pool_spec;
    if op.q_params.is_some()
        || op.group != 1
        || op.kernel_fmt != KernelFormat::OIHW
        || !matches!(spec.rank(), 1 | 2)
        || spec.kernel_shape.iter().any(|k| *k != 1)
    {
        return Ok(None);
    }
    let (Some(mut image), Some(mut output), Some(kernel), Some(bias)) = (
        shape(model, node.inputs[0])?,
        shape(model, node.id.into())?,
        constant(model, node.inputs[1])?,
        constant(model, node.inputs[2])?,
    ) else {
        return Ok(None);
    };
    // As the operator has them.
    for (shape, innermost) in [(&mut image, innermost.input), (&mut output, innermost.output)] {
        if innermost {
            let channels = shape.len() - 1 - spec.rank();
            shape[channels..].rotate_right(1);
        }
    }
    let (input, produced) = (spec.data_format.shape(image)?, spec.data_format.shape(output)?);
    let window = window(spec, input.hw_dims(), produced.hw_dims());
    let within = |axis: usize| (window.output[axis] - 1) * window.stride[axis] < window.input[axis];
    if window.before != [0, 0] || !within(0) || !within(1) {
        return Ok(None);
    }
    let sizes = [input.n().copied().unwrap_or(1), op.input_channels(), op.output_channels()];
    Ok(Some(Pointwise { window, sizes, bias: biases(&bias, sizes[2])?, kernel }))
}

/// Makes constants that multiply the outputs, one number a channel, part of the weights and the bias; the node that the
/// convolution is then.
pub(super) fn scaled(model: &mut TypedModel, id: usize) -> TractResult<usize> {
    let node = model.node(id);
    let Some(op) = node.op_as::<Conv>() else { return Ok(id) };
    let [successor] = *node.outputs[0].successors else { return Ok(id) };
    let next = model.node(successor.node);
    if model.output_outlets()?.contains(&id.into())
        || op.q_params.is_some()
        || op.kernel_fmt != KernelFormat::OIHW
        || !next.op_as::<TypedBinOp>().is_some_and(|binary| binary.0.is::<Mul>())
        || next.inputs[1 - successor.slot].node == id
    {
        return Ok(id);
    }
    let factor = next.inputs[1 - successor.slot];
    let (Some(output), Some(produced), Some(lies), Some(factors), Some(kernel), Some(bias)) = (
        shape(model, id.into())?,
        shape(model, next.id.into())?,
        shape(model, factor)?,
        constant(model, factor)?,
        constant(model, node.inputs[1])?,
        constant(model, node.inputs[2])?,
    ) else {
        return Ok(id);
    };
    let (axis, outputs) = (op.pool_spec.data_format.shape(&output)?.c_axis(), op.output_channels());
    let along = lies.len() == output.len()
        && lies.iter().enumerate().all(|(ix, d)| *d == if ix == axis { outputs } else { 1 });
    let factors = floats(&factors)?;
    if produced != output || !(along || factors.len() == 1) {
        return Ok(id);
    }
    let mut weights = kernel.as_ref().clone();
    let row = weights.len() / outputs.max(1);
    let mut bias = biases(&bias, outputs)?;
    let all = factors.iter().cycle();
    let mut plain = weights.try_as_plain_ram_mut()?;
    for (row, factor) in plain.as_slice_mut::<f32>()?.chunks_exact_mut(row.max(1)).zip(all.clone()) {
        row.iter_mut().for_each(|weight| *weight *= factor);
    }
    bias.iter_mut().zip(all).for_each(|(bias, factor)| *bias *= factor);
    let (op, image, name) = (op.clone(), node.inputs[0], node.name.clone());
    let next = next.id;
    let kernel = model.add_const(format!("{name}.scaled"), weights)?;
    let bias = model.add_const(format!("{name}.scaled_bias"), tensor1(&bias))?;
    // The convolution takes the place of what multiplied it, under its own name.
    replace(model, id, Box::new(Identity), vec![]);
    replace(model, next, Box::new(op), vec![image, kernel, bias]);
    // What multiplied may be multiplied once more.
    scaled(model, next)
}
