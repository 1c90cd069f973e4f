//! Convolutions and pools of volumes, by planes.
//!
//! A convolution of a volume is one of images for each slice of its output: their channels are those of all slices of the input
//! that a window reaches. With depth outermost these slices lie together, so that an image is where it lies, and the images of
//! neighbouring outputs overlap; those at the ends, those of windows with gaps and those of groups are put together first ([`Depth`]). Depth is
//! moved outwards before and back afterwards. What follows channel by channel is moved into the convolution.
//!
//! Maxima, sums and means of windows are those of planes, then those of what these are in depth.

use std::borrow::Cow;

use ic_nn_kernels::image::{Broken, Imaged, Reader, Writer};
use ic_nn_kernels::{MaxPool, Mean, MeanPool, Packing, Swap, Window, Winograd, copy};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::cnn::{KernelFormat, MaxPool as Pool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::channelwise::{self, Before};
use super::conv::{biases, body};
use super::early::scaled;
use super::node::{Body, Lowered};
use super::{constant, floats, replace, shape};

/// The longest line that a pool goes by: windows of images are read up to that length.
const LONGEST: usize = 1 << 20;

/// Multiply-adds of channels by themselves that tract does in a step: half of what one is to take, at 13 instructions each.
const ALONE: usize = 40_000_000;

/// How the images of a convolution lie in volumes whose depth is outermost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Numbers of a slice.
    slice: usize,
    /// Slices of a volume.
    input: usize,
    /// Slices that an image is of.
    kernel: usize,
    /// From the first slice of one image to that of the next.
    stride: usize,
    /// From a slice of an image to its next.
    dilation: usize,
    /// Slices of zeros before the volume.
    before: usize,
    /// Images of a volume.
    output: usize,
    /// Groups of channels.
    groups: usize,
}

impl Depth {
    /// Whether an image has to be put together.
    fn is_apart(&self, image: usize) -> bool {
        let first = (image % self.output * self.stride).checked_sub(self.before);
        let dense = self.groups == 1 && (self.dilation == 1 || self.kernel == 1);
        !dense || first.is_none_or(|first| first + self.kernel > self.input)
    }

    /// Numbers of an image.
    pub(super) fn size(&self) -> usize {
        self.slice * self.kernel
    }

    /// Image `ix` of volumes: where it lies, or put together.
    ///
    /// # Errors
    /// Where there are fewer volumes.
    pub(super) fn image<'a>(&self, volumes: &'a [f32], ix: usize) -> TractResult<Cow<'a, [f32]>> {
        let volume = self.input * self.slice;
        let volumes =
            volumes.chunks_exact(volume).nth(ix / self.output).context("a volume that is not there")?;
        let first = ix % self.output * self.stride;
        if !self.is_apart(ix) {
            return Ok(Cow::Borrowed(&volumes[(first - self.before) * self.slice..][..self.size()]));
        }
        // By groups, then by slices.
        let mut image = vec![0.0; self.size()];
        let part = self.slice / self.groups;
        for (place, to) in image.chunks_exact_mut(part).enumerate() {
            let (group, tap) = (place / self.kernel, place % self.kernel);
            let at = (first + tap * self.dilation).checked_sub(self.before);
            if let Some(at) = at.filter(|at| *at < self.input) {
                copy(&volumes[at * self.slice + group * part..], to);
            }
        }
        Ok(Cow::Owned(image))
    }

    /// Bytes of an image that is put together, where there is one.
    pub(super) fn scratch(&self) -> usize {
        if (0..self.output).any(|image| self.is_apart(image)) { 4 * self.size() } else { 0 }
    }

    /// What putting together those of so many images takes that are.
    pub(super) fn instructions(&self, images: usize) -> u64 {
        let apart = (0..self.output).filter(|image| self.is_apart(*image)).count() * (images / self.output);
        apart as u64 * (600 + 80 * (self.kernel * self.groups) as u64 + 14 * self.size() as u64)
    }

    fn lengths(&self) -> [usize; 8] {
        let Depth { slice, input, kernel, stride, dilation, before, output, groups } = *self;
        [slice, input, kernel, stride, dilation, output, groups, before]
    }
}

impl Imaged for Depth {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.sizes(&self.lengths());
    }

    fn read(from: &mut Reader<'_>) -> Result<Depth, Broken> {
        let lengths: Result<[usize; 8], _> = from.sizes()?.try_into();
        let lengths =
            lengths.ok().filter(|all| all.iter().all(|n| *n <= 1 << 28) && all[..7].iter().all(|n| *n > 0));
        let [slice, input, kernel, stride, dilation, output, groups, before] =
            lengths.ok_or(Broken("volumes without slices"))?;
        let depth = Depth { slice, input, kernel, stride, dilation, before, output, groups };
        let held = [input, kernel].map(|slices| slices.checked_mul(slice).is_some_and(|n| n < 1 << 29));
        let reached = [output.checked_mul(stride), kernel.checked_mul(dilation)];
        if held == [true; 2] && reached.iter().all(Option::is_some) && slice.is_multiple_of(groups) {
            Ok(depth)
        } else {
            Err(Broken("volumes without slices"))
        }
    }
}

/// Lowers what there is of volumes.
pub(super) fn lower(model: &mut TypedModel, packing: &mut Packing) -> TractResult<()> {
    let mut lowered = false;
    for id in model.eval_order()? {
        lowered |= convolution(model, id, packing)? || pool(model, id)?;
    }
    if lowered { model.compact() } else { Ok(()) }
}

/// Whether there is something to lower in a node.
pub(super) fn concerns(node: &TypedNode) -> bool {
    let sums = node.op_as::<SumPool>().map(|op| &op.pool_spec);
    sums.or(node.op_as::<Pool>().map(|op| &op.pool_spec)).is_some_and(is_of_volumes)
}

/// Whether it is over volumes whose channels are before them.
fn is_of_volumes(spec: &PoolSpec) -> bool {
    spec.rank() == 3 && matches!(spec.data_format, DataFormat::NCHW | DataFormat::CHW)
}

/// The windows of an axis of a plane, or of two.
struct Along {
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    output: usize,
}

impl Along {
    /// Those of each axis of volumes of these lengths.
    fn of(spec: &PoolSpec, input: &[usize], output: &[usize]) -> TVec<Along> {
        let pads = spec.computed_padding(input);
        let along = |axis: usize| Along {
            input: input[axis],
            kernel: spec.kernel_shape[axis],
            stride: spec.stride(axis),
            dilation: spec.dilation(axis),
            before: pads[axis].pad_before,
            output: output[axis],
        };
        (0..spec.rank()).map(along).collect()
    }

    /// One of which nothing is done along.
    fn still(length: usize) -> Along {
        Along { input: length, kernel: 1, stride: 1, dilation: 1, before: 0, output: length }
    }

    /// Whether nothing is done along it.
    fn is_still(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before == 0 && self.input == self.output
    }
}

/// The windows over two axes.
fn window(down: &Along, across: &Along) -> Window {
    let two = |of: fn(&Along) -> usize| [of(down), of(across)];
    Window {
        input: two(|along| along.input),
        kernel: two(|along| along.kernel),
        stride: two(|along| along.stride),
        dilation: two(|along| along.dilation),
        before: two(|along| along.before),
        output: two(|along| along.output),
    }
}

/// Whether minimal filtering is what a convolution of volumes is made by, or it stays tract's.
pub(super) fn is_filtered(op: &Conv, image: &[usize], output: &[usize]) -> TractResult<bool> {
    let spec = &op.pool_spec;
    let (from, to) = (spec.data_format.shape(image)?, spec.data_format.shape(output)?);
    let along = Along::of(spec, from.hw_dims(), to.hw_dims());
    let [deep, down, across] = &*along else { return Ok(true) };
    let pays = Winograd::pays(&window(down, across), op.input_channels() * deep.kernel, op.output_channels());
    Ok(pays || !is_of_volumes(spec))
}

/// Lowers node `id`, where it is a convolution of volumes that there is a kernel for.
fn convolution(model: &mut TypedModel, id: usize, packing: &mut Packing) -> TractResult<bool> {
    if !model.node(id).op_as::<Conv>().is_some_and(|op| is_of_volumes(&op.pool_spec)) {
        return Ok(false);
    }
    let id = scaled(model, id)?;
    let node = model.node(id);
    let Some(op) = node.op_as::<Conv>().cloned() else { return Ok(false) };
    let (Some(image), Some(made), Some(kernel), Some(bias)) = (
        shape(model, node.inputs[0])?,
        shape(model, id.into())?,
        constant(model, node.inputs[1])?,
        constant(model, node.inputs[2])?,
    ) else {
        return Ok(false);
    };
    let spec = &op.pool_spec;
    let (from, to) = (spec.data_format.shape(image)?, spec.data_format.shape(made.clone())?);
    let along = Along::of(spec, from.hw_dims(), to.hw_dims());
    let [deep, down, across] = &*along else { return Ok(false) };
    // A product, which needs no slices.
    let product = op.group == 1 && along.iter().all(Along::is_still);
    if product || op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
        return Ok(false);
    }
    let window = window(down, across);
    let (channels, outputs) = (op.input_channels(), op.output_channels());
    let in_group = channels / op.group;
    // Of each output, slices before channels.
    let (each, places) = (in_group * deep.kernel, window.places());
    let mut turned = vec![0.0; outputs * each * places];
    let kernels = floats(&kernel)?.chunks_exact(each * places);
    let swap = Swap::new([in_group, deep.kernel, places]).context("a kernel is too large")?;
    kernels
        .zip(turned.chunks_exact_mut(each * places))
        .for_each(|(from, to)| swap.run(from, to, 0..swap.units(from.len())));
    let sizes = [channels * deep.kernel, outputs, op.group];
    // Each channel by itself is cheaper as tract has it, which cannot be left within.
    let alone = op.group > 1 && in_group == 1 && op.group == outputs;
    let macs = made.iter().product::<usize>() * each * places;
    if alone && macs < ALONE {
        return Ok(false);
    }
    let Some(body) = body(packing, window, sizes, false, &turned, &biases(&bias, outputs)?) else {
        return Ok(false);
    };
    let axis = to.c_axis();
    let slices = |shape: &[usize]| {
        let mut shape: TVec<usize> = shape.into();
        shape.swap(axis, axis + 1);
        shape
    };
    // Depth outermost, of volumes of `first` by `second`.
    let moved = |shape: TVec<usize>, [first, second]: [usize; 2], slice: usize| {
        let swap = Swap::new([first, second, slice]).context("a volume is too large")?;
        TractResult::Ok(Lowered::new(Body::Swap(swap), None, shape, 0))
    };
    let (name, mut wire) = (node.name.clone(), node.inputs[0]);
    if channels > 1 && deep.input > 1 {
        let turned = moved(slices(&from.shape), [channels, deep.input], window.area())?;
        wire = model.wire_node(format!("{name}.outermost"), turned, &[wire])?[0];
    }
    let images = to.n().copied().unwrap_or(1) * deep.output;
    let back = outputs > 1 && deep.output > 1;
    let (shape, bias_axis) = if back { (slices(&made), axis + 1) } else { (made.clone(), axis) };
    let mut lowered = Lowered::new(body, Some(bias_axis), shape, macs as u64);
    lowered.images = images;
    lowered.depth = Some(Depth {
        slice: channels * window.area(),
        input: deep.input,
        kernel: deep.kernel,
        stride: deep.stride,
        dilation: deep.dilation,
        before: deep.before,
        output: deep.output,
        groups: op.group,
    });
    if back {
        let wire = model.wire_node(format!("{name}.slices"), lowered, &[wire])?[0];
        let before = Before { rank: made.len(), axis: bias_axis, each: 1 };
        let (wire, last) = channelwise::moved(model, (id, axis), wire, &before)?;
        let back = moved(made, [deep.output, outputs], window.pixels())?;
        replace(model, last, Box::new(back), vec![wire]);
    } else {
        replace(model, id, Box::new(lowered), vec![wire]);
    }
    Ok(true)
}

/// Lowers node `id`, where it is a pool of volumes that there are kernels for.
fn pool(model: &mut TypedModel, id: usize) -> TractResult<bool> {
    let node = model.node(id);
    let sums = node.op_as::<SumPool>();
    let maxima = node.op_as::<Pool>().filter(|op| op.with_index_outputs.is_none());
    let Some(spec) = sums.map(|op| &op.pool_spec).or(maxima.map(|op| &op.pool_spec)) else {
        return Ok(false);
    };
    let (Some(image), Some(made)) = (shape(model, node.inputs[0])?, shape(model, id.into())?) else {
        return Ok(false);
    };
    if !is_of_volumes(spec) {
        return Ok(false);
    }
    let (from, to) = (spec.data_format.shape(image.clone())?, spec.data_format.shape(made.clone())?);
    // Whole volumes are reduced.
    if *spec.kernel_shape == *from.hw_dims() {
        return Ok(false);
    }
    let pads = spec.computed_padding(from.hw_dims());
    let along = Along::of(spec, from.hw_dims(), to.hw_dims());
    let [deep, down, across] = &*along else { return Ok(false) };
    let long = |axis: usize| pads[axis].pad_before + from.hw_dims()[axis] + pads[axis].pad_after;
    let line = down.output * across.output;
    let steps = [
        (window(down, across), [long(1), long(2)], down.is_still() && across.is_still()),
        (window(deep, &Along::still(line)), [long(0), line], deep.is_still()),
    ];
    let takes = |(window, _, still): &(Window, [usize; 2], bool)| *still || MaxPool::takes(window);
    if line > LONGEST || !steps.iter().all(takes) || steps.iter().all(|(.., still)| *still) {
        return Ok(false);
    }
    let of = |long: [usize; 2]| {
        sums.map(|op| match (op.normalize, op.count_include_pad) {
            (false, _) => Mean::Sum,
            (true, false) => Mean::Image,
            (true, true) => Mean::Padded(long),
        })
    };
    let [planes, depth] = steps.map(|(window, long, still)| {
        let body = match of(long) {
            Some(of) => Body::MeanPool(MeanPool::new(window, of)),
            None => Body::MaxPool(MaxPool::new(window)),
        };
        (!still).then_some(body)
    });
    let (name, mut wire) = (node.name.clone(), node.inputs[0]);
    let (planes, last) = match (planes, depth) {
        (planes, Some(depth)) => (planes, depth),
        (Some(planes), None) => (None, planes),
        (None, None) => return Ok(false),
    };
    if let Some(planes) = planes {
        let mut shape = image;
        let rank = shape.len();
        shape[rank - 2..].copy_from_slice(&to.hw_dims()[1..]);
        let planes = Lowered::new(planes, None, shape, 0);
        wire = model.wire_node(format!("{name}.planes"), planes, &[wire])?[0];
    }
    replace(model, id, Box::new(Lowered::new(last, None, made, 0)), vec![wire]);
    Ok(true)
}
