//! Transposed convolutions, as convolutions.
//!
//! Of the outputs along an axis, every `stride`-th sees the same places of the image through the same weights: they are a *phase*.
//! A convolution by steps of one computes all phases at once, as so many more outputs of each pixel; weights that a phase has not
//! are zeros. Then the phases are put between one another ([`Shuffle`]).
//!
//! Where the grid of a phase begins is up to us: where the output does, or where what was cut off from it did. That decides how
//! wide windows are and how many pixels they have; so it is what takes fewest products. What follows channel by channel (a
//! scale, an offset, bounds) comes before the phases are put together, so that it moves into the convolution.
//!
//! Runs before convolutions are lowered, which this makes and nothing more: what has no kernel is tract's.

use ic_nn_kernels::{Packing, Shuffle, Window, Winograd};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::channelwise::Before;
use super::conv::biases;
use super::node::{Body, Lowered};
use super::{channelwise, constant, floats, replace, shape};

/// Instructions that a product takes, in tenths: of windows that are gathered, of one pixel, by minimal filtering (of those that
/// sums in order would take), by tract; and what it takes to add each sum to an output.
const GATHERED: usize = 19;
const POINTWISE: usize = 16;
const FILTERED: usize = 6;
const BY_TRACT: usize = 37;
const ADDED: usize = 970;

/// Weights of all phases, for one of the kernel.
const MOST: usize = 64;

/// Makes a convolution of each transposed one of constant weights.
pub(super) fn lower(model: &mut TypedModel, packing: &Packing) -> TractResult<()> {
    if !model.nodes().iter().any(|node| node.op_is::<Deconv>()) {
        return Ok(());
    }
    for id in model.eval_order()? {
        transposed(model, id, packing)?;
    }
    model.compact()
}

/// How the phases along an axis see the image.
#[derive(Clone, Copy)]
struct Along {
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Outputs that are cut off before the first, but for those that lie on the grid of phases.
    base: usize,
    /// Place on the grid of phases of the first output.
    first: usize,
    /// Pixels of a phase that are seen.
    pixels: usize,
    /// The first pixel that a window sees, from where it is.
    low: isize,
    /// How many it sees.
    window: usize,
    /// From one that it sees to the next.
    step: usize,
}

impl Along {
    /// With `first` outputs of the grid before those that are `wanted`, `before` being cut off.
    fn new([kernel, stride, dilation, before, wanted]: [usize; 5], first: usize) -> Along {
        let pixels = (wanted + first).div_ceil(stride);
        // Where there is one phase, its windows have the kernel's steps; else zeros are between its taps.
        let step = if stride == 1 { dilation } else { 1 };
        let base = before - first;
        let mut along = Along { kernel, stride, dilation, base, first, pixels, low: 0, window: 1, step };
        let all = || (0..kernel).map(|tap| along.goes(tap).1);
        let (low, high) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        (along.low, along.window) = (low, (high - low) as usize / step + 1);
        along
    }

    /// The phase that a tap is of, and the pixel that it reads, from where its window is.
    fn goes(&self, tap: usize) -> (usize, isize) {
        let (back, stride) = (self.base as isize - (tap * self.dilation) as isize, self.stride as isize);
        let phase = (-back).rem_euclid(stride);
        (phase as usize, (phase + back) / stride)
    }

    /// From the first pixel that a window sees to the last.
    fn reach(&self) -> usize {
        (self.window - 1) * self.step
    }
}

/// What of a node its phases are made from.
struct Transposed {
    spec: PoolSpec,
    group: usize,
    kernel: Arc<Tensor>,
    bias: Vec<f32>,
    along: TVec<Along>,
    /// Lengths of the image and of the output.
    input: TVec<usize>,
    output: TVec<usize>,
    /// Axis of the channels.
    axis: usize,
}

impl Transposed {
    /// What the node is; none where it stays tract's.
    fn of(model: &TypedModel, node: &TypedNode, packing: &Packing) -> TractResult<Option<Transposed>> {
        let Some(op) = node.op_as::<Deconv>() else { return Ok(None) };
        let spec = &op.pool_spec;
        if op.kernel_format != KernelFormat::OIHW
            || !matches!(spec.rank(), 1..=3)
            || !matches!(spec.data_format, DataFormat::NCHW | DataFormat::CHW)
        {
            return Ok(None);
        }
        let (Some(image), Some(made), Some(kernel), Some(bias)) = (
            shape(model, node.inputs[0])?,
            shape(model, node.id.into())?,
            constant(model, node.inputs[1])?,
            constant(model, node.inputs[2])?,
        ) else {
            return Ok(None);
        };
        let (from, to) = (spec.data_format.shape(image)?, spec.data_format.shape(made)?);
        let (input, output): (TVec<usize>, TVec<usize>) = (from.hw_dims().into(), to.hw_dims().into());
        let (strides, dilations) = (spec.strides(), spec.dilations());
        let cut = spec.padding.compute_for_deconv(
            &input,
            &spec.kernel_shape,
            &dilations,
            &strides,
            &op.adjustments,
        )?;
        let (channels, outputs) = (spec.input_channels / op.group, spec.output_channels);
        let phases = strides.iter().try_fold(1usize, |all, stride| all.checked_mul(*stride));
        let taps: usize = spec.kernel_shape.iter().product();
        let Some(phases) = phases.filter(|phases| *phases <= MOST * taps) else { return Ok(None) };
        // The ways to lay the grids of phases, each axis for itself.
        let each = (0..spec.rank()).map(|axis| {
            let lengths =
                [spec.kernel_shape[axis], strides[axis], dilations[axis], cut[axis].pad_before, output[axis]];
            let firsts: TVec<usize> = match cut[axis].pad_before % strides[axis] {
                0 => tvec![0],
                first => tvec![0, first],
            };
            firsts.into_iter().map(|first| Along::new(lengths, first)).collect::<TVec<Along>>()
        });
        let each: TVec<TVec<Along>> = each.collect();
        let mut best: Option<(usize, TVec<Along>)> = None;
        for way in 0..each.iter().map(|axis| axis.len()).product() {
            let mut rest = way;
            let take = |axis: &TVec<Along>| {
                let taken = axis[rest % axis.len()];
                rest /= axis.len();
                taken
            };
            let along: TVec<Along> = each.iter().map(take).collect();
            let pixels: usize = along.iter().map(|along| along.pixels).product();
            let places: usize = along.iter().map(|along| along.window).product();
            if along.iter().any(|along| along.low > 0) || phases * places > MOST * taps {
                continue;
            }
            let rate = if places == 1 { POINTWISE } else { GATHERED };
            let mut ways = tvec![(pixels * places * rate, along.clone())];
            // A little more of the image, for minimal filtering.
            let mut wider = along.clone();
            if let [deep @ .., down, across] = &mut *wider
                && op.group == 1
            {
                (down.window, across.window) = (down.window.max(3), across.window.max(3));
                let window = window(&[*down, *across], &input[deep.len()..]);
                let slices: usize = deep.iter().map(|along| along.window).product();
                let images: usize = deep.iter().map(|along| along.pixels).product();
                let fits = packing.spare >= Winograd::bytes(channels * slices, outputs * phases);
                if Winograd::pays(&window, channels * slices, outputs * phases) && fits && places > 1 {
                    let patches = images * down.pixels.div_ceil(4) * across.pixels.div_ceil(4);
                    ways.push((patches * 16 * 9 * slices * FILTERED, wider));
                }
            }
            for (takes, along) in ways {
                if best.as_ref().is_none_or(|(least, _)| takes < *least) {
                    best = Some((takes, along));
                }
            }
        }
        let bias = biases(&bias, outputs)?;
        let products = input.iter().chain(&*spec.kernel_shape).product::<usize>();
        let theirs = products * (BY_TRACT + ADDED / channels.max(1));
        Ok(best.filter(|(takes, _)| takes * phases <= theirs).map(|(_, along)| Transposed {
            spec: spec.clone(),
            group: op.group,
            bias,
            kernel,
            along,
            axis: to.c_axis(),
            input,
            output,
        }))
    }

    /// Outputs of a pixel.
    fn phases(&self) -> usize {
        self.along.iter().map(|along| along.stride).product()
    }

    /// Weights `[outputs, phases, channels, window…]`.
    fn weights(&self) -> TractResult<Tensor> {
        let (channels, outputs) = (self.spec.input_channels / self.group, self.spec.output_channels);
        let places: usize = self.along.iter().map(|along| along.window).product();
        let taps: usize = self.along.iter().map(|along| along.kernel).product();
        // Where each tap goes among the phases and places of an output's first channel.
        let goes = (0..taps).map(|tap| {
            let (mut rest, [mut phase, mut phases], [mut place, mut step]) = (tap, [0, 1], [0, 1]);
            for along in self.along.iter().rev() {
                let (of, reads) = along.goes(rest % along.kernel);
                (phase, phases) = (phase + of * phases, phases * along.stride);
                (place, step) =
                    (place + (reads - along.low) as usize / along.step * step, step * along.window);
                rest /= along.kernel;
            }
            phase * channels * places + place
        });
        let goes: Vec<usize> = goes.collect();
        let mut weights = vec![0f32; outputs * self.phases() * channels * places];
        let each = floats(&self.kernel)?.chunks_exact((channels * taps).max(1));
        for (kernel, weights) in each.zip(weights.chunks_exact_mut(self.phases() * channels * places)) {
            for (channel, kernel) in kernel.chunks_exact(taps).enumerate() {
                let weights = &mut weights[channel * places..];
                goes.iter().zip(kernel).for_each(|(place, weight)| weights[*place] = *weight);
            }
        }
        let mut shape: TVec<usize> = tvec![outputs * self.phases(), channels];
        shape.extend(self.along.iter().map(|along| along.window));
        Tensor::from_shape(&shape, &weights)
    }

    /// The convolution that makes all phases.
    fn convolution(&self) -> Conv {
        let each = self.along.iter().zip(&self.input).map(|(along, length)| padding(along, *length));
        let (before, after) = each.unzip();
        let pool_spec = PoolSpec {
            kernel_shape: self.along.iter().map(|along| along.window).collect(),
            padding: PaddingSpec::Explicit(before, after),
            dilations: Some(self.along.iter().map(|along| along.step).collect()),
            strides: None,
            output_channels: self.spec.output_channels * self.phases(),
            ..self.spec.clone()
        };
        Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group: self.group, q_params: None }
    }

    /// What puts the phases together, where there are several or the grid has more than the output.
    fn shuffle(&self) -> Option<Shuffle> {
        let three = |of: &dyn Fn(usize) -> usize, none: usize| {
            let mut all = [none; 3];
            let missing = 3 - self.along.len();
            (0..self.along.len()).for_each(|axis| all[missing + axis] = of(axis));
            all
        };
        let grid = |axis: usize| {
            let (along, length) = (&self.along[axis], self.input[axis]);
            let (before, after) = padding(along, length);
            length + before + after - along.reach()
        };
        Shuffle::new(
            three(&|axis| self.along[axis].stride, 1),
            three(&grid, 1),
            three(&|axis| self.along[axis].first, 0),
            three(&|axis| self.output[axis], 1),
        )
    }
}

/// Zeros before and behind an image of that length.
fn padding(along: &Along, length: usize) -> (usize, usize) {
    let before = along.low.unsigned_abs();
    (before, (along.pixels + along.reach()).saturating_sub(length + before))
}

/// The windows over a plane.
fn window(along: &[Along; 2], input: &[usize]) -> Window {
    Window {
        input: [input[0], input[1]],
        kernel: along.map(|along| along.window),
        stride: [1; 2],
        dilation: along.map(|along| along.step),
        before: along.map(|along| along.low.unsigned_abs()),
        output: along.map(|along| along.pixels),
    }
}

/// Makes of node `id`, where it is a transposed convolution, one that is not, what follows channel by channel, and the shuffle.
fn transposed(model: &mut TypedModel, id: usize, packing: &Packing) -> TractResult<()> {
    let Some(made) = Transposed::of(model, model.node(id), packing)? else { return Ok(()) };
    let (phases, Some(shuffle)) = (made.phases(), made.shuffle()) else { return Ok(()) };
    let (name, image) = (model.node(id).name.clone(), model.node(id).inputs[0]);
    let repeated: Vec<f32> = made.bias.iter().flat_map(|bias| std::iter::repeat_n(*bias, phases)).collect();
    let kernel = model.add_const(format!("{name}.phases.kernel"), made.weights()?)?;
    let bias = model.add_const(format!("{name}.phases.bias"), tensor1(&repeated))?;
    let convolution = made.convolution();
    if shuffle.part() == shuffle.given() && phases == 1 {
        replace(model, id, Box::new(convolution), vec![image, kernel, bias]);
        return Ok(());
    }
    let wire = model.wire_node(format!("{name}.phases"), convolution, &[image, kernel, bias])?[0];
    let before = Before { rank: model.outlet_fact(wire)?.rank(), axis: made.axis, each: phases };
    let (wire, last) = channelwise::moved(model, (id, made.axis), wire, &before)?;
    let output = shape(model, last.into())?.context("a transposed convolution without a shape")?;
    let shuffled = Lowered::new(Body::Shuffle(shuffle), None, output, 0);
    replace(model, last, Box::new(shuffled), vec![wire]);
    Ok(())
}
