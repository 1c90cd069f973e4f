//! Operators on images that tract lacks: grids, columns, regions, deformed kernels, pooling by powers and its undoing.

use std::ops::Range;

use ic_nn_kernels::dot;
use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};
use tract_onnx::tract_core::ops::math::{Mul, Pow, abs};
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, f32s, f64s, i64s, strides, tensor, volume, zeros};
use super::lowered::Wirer;
use crate::parted::one;

/// An attribute of positive integers, one an axis; `default` in each where it is not there.
fn per_axis(w: &Wirer<'_>, name: &str, axes: usize, default: i64) -> TractResult<Vec<usize>> {
    let values = if w.has(name) { w.ints(name) } else { vec![default; axes] };
    let sizes: Option<Vec<usize>> =
        values.iter().map(|v| usize::try_from(*v).ok().filter(|v| *v <= i32::MAX as usize)).collect();
    match sizes {
        Some(sizes) if sizes.len() == axes => Ok(sizes),
        _ => w.refuse(format!("`{name}` {values:?} for {axes} axes")),
    }
}

fn positive(w: &Wirer<'_>, name: &str, axes: usize) -> TractResult<Vec<usize>> {
    let sizes = per_axis(w, name, axes, 1)?;
    if sizes.contains(&0) { w.refuse(format!("`{name}` {sizes:?}")) } else { Ok(sizes) }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::String as i32,
        s: value.into(),
        ..Default::default()
    }
}

/// Refuses a kernel that does not fit its tensor. tract reads axes that a tensor of too low a rank has not.
pub(super) fn hold_pool(w: &Wirer<'_>) -> TractResult<()> {
    let rank = w.fact(w.need(0)?)?.rank();
    let axes = w.ints("kernel_shape").len();
    let global = w.node.op_type.starts_with("Global");
    if rank < 3 || (!global && rank != axes + 2) {
        return w.refuse(format!("a kernel of {axes} axes on a tensor of rank {rank}"));
    }
    if !global && matches!(w.text("auto_pad", "NOTSET").as_str(), "NOTSET" | "VALID") {
        // Where a kernel reaches beyond its tensor there is nothing to give, and tract gives something.
        let x = w.need(0)?;
        let lengths: Vec<Option<usize>> = w
            .fact(x)?
            .shape
            .iter()
            .skip(2)
            .map(|d| d.to_i64().ok().and_then(|d| usize::try_from(d).ok()))
            .collect();
        let (kernel, dilations) = (positive(w, "kernel_shape", axes)?, positive(w, "dilations", axes)?);
        let pads = per_axis(w, "pads", 2 * axes, 0)?;
        for (axis, length) in lengths.into_iter().enumerate() {
            let reach = dilations[axis].saturating_mul(kernel[axis] - 1) + 1;
            if length.is_some_and(|length| length + pads[axis] + pads[axes + axis] < reach) {
                return w.refuse(format!("a kernel that reaches over {reach} of {length:?} on axis {axis}"));
            }
        }
    }
    Ok(())
}

/// AveragePool, MaxPool and the global ones.
pub(super) fn pool(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    hold_pool(w)?;
    w.stock_itself()
}

/// ConvTranspose. An output shape that leaves away some of what the kernel fills is ONNX's to pad; tract pads otherwise.
pub(super) fn conv_transpose(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let output = w.ints("output_shape");
    if !output.is_empty() {
        let (xs, ws) = (w.shape(w.need(0)?)?, w.shape(w.need(1)?)?);
        let axes = output.len();
        if xs.len() != axes + 2 || ws.len() != axes + 2 {
            return w.refuse(format!("output_shape {output:?} of X {xs:?} and W {ws:?}"));
        }
        if w.ints("pads").iter().any(|p| *p != 0) {
            return w.refuse("output_shape beside pads");
        }
        let padding = w.ints("output_padding");
        let (steps, dilations) = (positive(w, "strides", axes)?, positive(w, "dilations", axes)?);
        for axis in 0..axes {
            let filled = steps[axis] as i128 * (xs[axis + 2] as i128 - 1)
                + dilations[axis] as i128 * (ws[axis + 2] as i128 - 1)
                + 1
                + i128::from(padding.get(axis).copied().unwrap_or(0));
            if i128::from(output[axis]) < filled {
                return w.refuse(format!("output_shape {output:?} where {filled} are filled on axis {axis}"));
            }
        }
    }
    w.stock_itself()
}

/// LpPool: the mean of powers, times how many there are, and the root.
pub(super) fn lp_pool(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let (dt, p) = (w.dt(x)?, w.int("p", 2));
    let kernel = w.ints("kernel_shape");
    let count = kernel.iter().try_fold(1i64, |n, k| n.checked_mul(*k)).filter(|n| *n > 0 && p > 0);
    let rank = w.fact(x)?.rank();
    let Some(count) = count.filter(|_| dt.is_float() && !kernel.is_empty() && rank == kernel.len() + 2)
    else {
        return w.refuse(format!("p {p}, kernel_shape {kernel:?} of {dt:?} of rank {rank}"));
    };
    hold_pool(w)?;
    let single = w.cast(x, if dt == DatumType::F16 { DatumType::F32 } else { dt })?;
    let y = w.each(abs(), single)?;
    let y = w.by(Pow, y, p as f64)?;
    let mut node = NodeProto { op_type: "AveragePool".into(), ..w.node.clone() };
    node.attribute.retain(|a| a.name != "p");
    node.attribute.push(integer("count_include_pad", 1));
    let y = w.stock(&node, &[y])?[0];
    let y = w.by(Mul, y, count as f64)?;
    let y = w.by(Pow, y, 1.0 / p as f64)?;
    Ok(tvec![w.cast(y, dt)?])
}

/// Upsample, which is Resize from where it begins.
pub(super) fn upsample(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let scales = match w.input(1) {
        Some(scales) => scales,
        None if w.has("scales") => w.konst(tensor1(&w.reals("scales")))?,
        None => return w.refuse("its scales are missing"),
    };
    let mode = match w.text("mode", "nearest").as_str() {
        "nearest" => "nearest",
        "linear" | "bilinear" => "linear",
        other => return w.refuse(format!("mode `{other}`")),
    };
    let node = NodeProto {
        op_type: "Resize".into(),
        input: vec!["x".into(), String::new(), "scales".into()],
        output: vec!["y".into()],
        attribute: vec![
            text("mode", mode),
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ],
        ..NodeProto::default()
    };
    w.opset = w.opset.max(13); // tract reads Resize from opset 10 on
    w.stock(&node, &[x, scales])
}

/// AffineGrid in two or three dimensions.
pub(super) fn affine_grid(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (theta, size) = (w.need(0)?, w.need(1)?);
    let dt = w.dt(theta)?;
    let sizes: Option<Vec<usize>> =
        w.integers(size, "size")?.into_iter().map(|d| usize::try_from(d).ok()).collect();
    let Some([n, _, lengths @ ..]) = sizes.as_deref() else {
        return w.refuse("a size is not that of a tensor");
    };
    let axes = lengths.len();
    if !(2..=3).contains(&axes) || w.shape(theta)?.as_slice() != [*n, axes, axes + 1] || !dt.is_float() {
        return w.refuse(format!("theta {:?} for a size of {sizes:?}", w.shape(theta)?));
    }
    let mut shape = vec![*n];
    shape.extend(lengths);
    shape.push(axes);
    volume(&shape)?;
    let kernel = Kernel::new("AffineGrid", tvec![dt.fact(&shape)], run_affine_grid);
    let scratch = 4 * shape.iter().product::<usize>();
    w.kernel(kernel.ints([w.int("align_corners", 0)]).scratch(scratch), &[theta])
}

pub(super) fn run_affine_grid(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let theta = f64s(&inputs[0])?;
    let shape = k.shape(0)?;
    let axes = shape.len() - 2;
    let lengths = &shape[1..=axes];
    let coordinate = |ix: usize, length: usize| {
        if k.int(0) != 0 {
            if length > 1 { 2.0 * ix as f64 / (length - 1) as f64 - 1.0 } else { -1.0 }
        } else {
            (2.0 * ix as f64 + 1.0) / length as f64 - 1.0
        }
    };
    let steps = strides(lengths);
    let points = lengths.iter().product::<usize>();
    let mut y = Vec::with_capacity(shape.iter().product());
    let mut point = vec![1.0; axes + 1];
    for n in 0..shape[0] {
        for at in 0..points {
            // x goes with the innermost axis and comes first.
            for axis in 0..axes {
                point[axes - 1 - axis] = coordinate(at / steps[axis] % lengths[axis], lengths[axis]);
            }
            for row in theta[n * axes * (axes + 1)..(n + 1) * axes * (axes + 1)].chunks_exact(axes + 1) {
                y.push(row.iter().zip(&point).map(|(t, p)| t * p).sum::<f64>() as f32);
            }
        }
    }
    Ok(vec![tensor(k.outputs[0].datum_type, &shape, &y)?])
}

/// Col2Im in any number of dimensions.
pub(super) fn col2im(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, image, block) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let (dt, shape) = (w.dt(x)?, w.shape(x)?);
    let sizes = |w: &Wirer<'_>, operand: OutletId, what: &str| -> TractResult<Vec<usize>> {
        let values = w.integers(operand, what)?;
        let sizes: Option<Vec<usize>> = values
            .iter()
            .map(|v| usize::try_from(*v).ok().filter(|v| (1..=i32::MAX as usize).contains(v)))
            .collect();
        sizes.map_or_else(|| w.refuse(format!("`{what}` {values:?}")), Ok)
    };
    let (image, block) = (sizes(w, image, "image_shape")?, sizes(w, block, "block_shape")?);
    let axes = image.len();
    let (dilations, steps) = (positive(w, "dilations", axes)?, positive(w, "strides", axes)?);
    let pads = if w.has("pads") { w.ints("pads") } else { vec![0; 2 * axes] };
    let taps = volume(&block)?;
    let mut columns = vec![];
    for axis in 0..axes.min(block.len()).min(pads.len() / 2) {
        let reach = dilations[axis] as i64 * (block[axis] as i64 - 1) + 1;
        let room = (image[axis] as i64).saturating_add(pads[axis]).saturating_add(pads[axes + axis]) - reach;
        columns.push(usize::try_from(room).map_or(0, |room| room / steps[axis] + 1));
    }
    let fits = block.len() == axes
        && pads.len() == 2 * axes
        && dt.is_float()
        && shape.len() == 3
        && shape[1].is_multiple_of(taps)
        && shape[2] == volume(&columns)?;
    if !fits {
        return w.refuse(format!("columns of {shape:?} for an image of {image:?} in blocks of {block:?}"));
    }
    let mut to = vec![shape[0], shape[1] / taps];
    to.extend(&image);
    volume(&to)?;
    let mut ints = vec![axes as i64];
    for values in [&image, &block, &dilations, &steps, &columns] {
        ints.extend(values.iter().map(|v| *v as i64));
    }
    ints.extend(&pads[..axes]);
    let scratch = 4 * (shape.iter().product::<usize>() + to.iter().product::<usize>());
    let kernel = Kernel::new("Col2Im", tvec![dt.fact(&to)], run_col2im).ints(ints).scratch(scratch);
    w.kernel(kernel, &[x])
}

pub(super) fn run_col2im(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let axes = k.int(0) as usize;
    let part = |n: usize| -> Vec<usize> {
        k.ints[1 + n * axes..1 + (n + 1) * axes].iter().map(|v| *v as usize).collect()
    };
    let [image, block, dilations, steps, columns] = [0, 1, 2, 3, 4].map(part);
    let pads = &k.ints[1 + 5 * axes..];
    let x = f32s(&inputs[0])?;
    let shape = k.shape(0)?;
    let (size, taps, count) =
        (image.iter().product::<usize>(), block.iter().product::<usize>(), columns.iter().product::<usize>());
    let (image_steps, block_steps, column_steps) = (strides(&image), strides(&block), strides(&columns));
    let mut y = vec![0f32; shape.iter().product()];
    for (ix, x) in x.iter().enumerate() {
        let (plane, tap, column) = (ix / count / taps, ix / count % taps, ix % count);
        let place = (0..axes).try_fold(plane * size, |place, axis| {
            let offset = tap / block_steps[axis] % block[axis] * dilations[axis];
            let at = (column / column_steps[axis] % columns[axis] * steps[axis] + offset) as i64 - pads[axis];
            let at = usize::try_from(at).ok().filter(|at| *at < image[axis])?;
            Some(place + at * image_steps[axis])
        });
        if let Some(y) = place.and_then(|place| y.get_mut(place)) {
            *y += x;
        }
    }
    Ok(vec![tensor(k.outputs[0].datum_type, &shape, &y)?])
}

/// MaxUnpool: values go where their indices say, everything else is zero.
pub(super) fn max_unpool(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, indices) = (w.need(0)?, w.need(1)?);
    let shape = w.shape(x)?;
    let axes = w.ints("kernel_shape").len();
    if shape.len() != axes + 2 || w.shape(indices)? != shape {
        return w.refuse(format!("indices of {:?} beside {shape:?}", w.shape(indices)?));
    }
    let (kernel, steps) = (positive(w, "kernel_shape", axes)?, positive(w, "strides", axes)?);
    let pads = per_axis(w, "pads", 2 * axes, 0)?;
    let mut inner = shape.to_vec();
    for axis in 0..axes {
        let full = (shape[axis + 2].max(1) - 1).checked_mul(steps[axis]).map(|n| n + kernel[axis]);
        match full.and_then(|n| n.checked_sub(pads[axis] + pads[axes + axis])) {
            Some(length) => inner[axis + 2] = length,
            None => return w.refuse(format!("pads of {pads:?}")),
        }
    }
    let to = match w.input(2) {
        Some(to) => {
            w.integers(to, "output_shape")?.into_iter().map(|d| usize::try_from(d).unwrap_or(0)).collect()
        }
        None => inner.clone(),
    };
    if to.len() != inner.len() || to[..2] != inner[..2] || to.iter().zip(&inner).any(|(t, i)| t < i) {
        return w.refuse(format!("output_shape {to:?} of what fills {inner:?}"));
    }
    volume(&to)?;
    let ints = inner.iter().map(|d| *d as i64);
    let kernel = Kernel::new("MaxUnpool", tvec![w.dt(x)?.fact(&to)], run_max_unpool).ints(ints);
    w.kernel(kernel.scratch(8 * shape.iter().product::<usize>()), &[x, indices])
}

pub(super) fn run_max_unpool(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let mut y = zeros(k)?;
    max_unpool_of(k, inputs, &mut y, 0..inputs[0].len())?;
    Ok(y)
}

/// MaxUnpool of these of the values.
pub(super) fn max_unpool_of(
    k: &Kernel,
    inputs: &[TValue],
    y: &mut [Tensor],
    wanted: Range<usize>,
) -> TractResult<()> {
    let to = k.shape(0)?;
    let inner: Vec<usize> = k.ints.iter().map(|d| *d as usize).collect();
    let (from_steps, to_steps) = (strides(&inner), strides(&to));
    let size = inputs[0].datum_type().size_of();
    let bytes = one(y)?.as_bytes_mut();
    let values = inputs[0].as_bytes().chunks_exact(size).zip(i64s(&inputs[1])?);
    for (x, index) in values.skip(wanted.start).take(wanted.len()) {
        let volume: usize = inner.iter().product();
        let Some(at) = usize::try_from(index).ok().filter(|at| *at < volume) else {
            bail!("index {index} into {volume} elements");
        };
        let place: usize =
            (0..to.len()).map(|axis| at / from_steps[axis] % inner[axis] * to_steps[axis]).sum();
        bytes[place * size..(place + 1) * size].copy_from_slice(x);
    }
    Ok(())
}

/// RoiAlign.
pub(super) fn roi_align(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, rois, members) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let (dt, shape, regions) = (w.dt(x)?, w.shape(x)?, w.shape(rois)?);
    let (&[_, channels, height, width], &[count, 4]) = (&shape[..], &regions[..]) else {
        return w.refuse(format!("X {shape:?}, rois {regions:?}"));
    };
    let sizes =
        [w.int("output_height", 1), w.int("output_width", 1)].map(|s| usize::try_from(s).unwrap_or(0));
    if height == 0
        || width == 0
        || sizes.contains(&0)
        || !dt.is_float()
        || w.shape(members)?.as_slice() != [count]
    {
        return w.refuse(format!("{dt:?} {shape:?} to {sizes:?}"));
    }
    let max = match w.text("mode", "avg").as_str() {
        "avg" => 0,
        "max" => 1,
        other => return w.refuse(format!("mode `{other}`")),
    };
    let usual = if w.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let half = i64::from(w.text("coordinate_transformation_mode", usual) == "half_pixel");
    let to = [count, channels, sizes[0], sizes[1]];
    volume(&to)?;
    let kernel = Kernel::new("RoiAlign", tvec![dt.fact(to)], run_roi_align)
        .ints([max, half, w.int("sampling_ratio", 0)])
        .reals([f64::from(w.real("spatial_scale", 1.0))])
        .scratch(4 * (shape.iter().product::<usize>() + to.iter().product::<usize>()));
    w.kernel(kernel, &[x, rois, members])
}

pub(super) fn run_roi_align(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    /// Most samples along an axis of a bin: as many as pixels of the largest maps.
    const MOST_SAMPLES: f64 = 4096.0;
    let (x, rois, members) = (f32s(&inputs[0])?, f64s(&inputs[1])?, i64s(&inputs[2])?);
    let shape = inputs[0].shape();
    let (channels, height, width) = (shape[1], shape[2], shape[3]);
    let to = k.shape(0)?;
    let (max, half) = (k.int(0) != 0, k.int(1) != 0);
    let offset = if half { 0.5 } else { 0.0 };
    let mut y = Vec::with_capacity(to.iter().product());
    for (roi, member) in rois.chunks_exact(4).zip(members) {
        let Some(member) = usize::try_from(member).ok().filter(|m| *m < shape[0]) else {
            bail!("batch index {member} of {}", shape[0]);
        };
        let ends: Vec<f64> = roi.iter().map(|v| v * k.real(0) - offset).collect();
        let least = if half { f64::NEG_INFINITY } else { 1.0 };
        let bins =
            [(ends[3] - ends[1]).max(least) / to[2] as f64, (ends[2] - ends[0]).max(least) / to[3] as f64];
        let mut samples = [0; 2];
        for (samples, bin) in samples.iter_mut().zip(bins) {
            let wanted = if k.int(2) > 0 { k.int(2) as f64 } else { bin.ceil() };
            ensure!(wanted <= MOST_SAMPLES, "a region of {wanted} samples a bin");
            *samples = wanted.max(0.0) as usize;
        }
        for channel in 0..channels {
            let map = &x[(member * channels + channel) * height * width..][..height * width];
            for bin in 0..to[2] * to[3] {
                let (row, column) = ((bin / to[3]) as f64, (bin % to[3]) as f64);
                let (mut sum, mut largest) = (0.0, f64::NEG_INFINITY);
                for sample in 0..samples[0] * samples[1] {
                    let (i, j) = (sample / samples[1], sample % samples[1]);
                    let at = ends[1] + (row + (i as f64 + 0.5) / samples[0] as f64) * bins[0];
                    let along = ends[0] + (column + (j as f64 + 0.5) / samples[1] as f64) * bins[1];
                    let corners = corners(map, height, width, at, along);
                    sum += corners.iter().sum::<f64>();
                    largest = corners.into_iter().fold(largest, f64::max);
                }
                let count = (samples[0] * samples[1]).max(1);
                y.push(match (max, largest.is_finite()) {
                    (true, true) => largest as f32,
                    (true, false) => 0.0,
                    (false, _) => (sum / count as f64) as f32,
                });
            }
        }
    }
    Ok(vec![tensor(k.outputs[0].datum_type, &to, &y)?])
}

/// The four weighted neighbours of a point; nothing more than a pixel outside.
fn corners(map: &[f32], height: usize, width: usize, y: f64, x: f64) -> [f64; 4] {
    let inside = (-1.0..=height as f64).contains(&y) && (-1.0..=width as f64).contains(&x);
    if !inside {
        return [0.0; 4];
    }
    let split = |at: f64, length: usize| {
        let at = at.max(0.0);
        let low = at as usize;
        if low + 1 >= length { (length - 1, length - 1, 0.0) } else { (low, low + 1, at - low as f64) }
    };
    let ((y0, y1, dy), (x0, x1, dx)) = (split(y, height), split(x, width));
    let value = |y: usize, x: usize| f64::from(map[y * width + x]);
    [
        (1.0 - dy) * (1.0 - dx) * value(y0, x0),
        (1.0 - dy) * dx * value(y0, x1),
        dy * (1.0 - dx) * value(y1, x0),
        dy * dx * value(y1, x1),
    ]
}

/// DeformConv in two dimensions.
pub(super) fn deform_conv(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, weight, offset) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let dt = w.dt(x)?;
    let (xs, ws, os) = (w.shape(x)?, w.shape(weight)?, w.shape(offset)?);
    let (&[n, channels, height, width], &[out, per_group, kh, kw], &[on, offsets, oh, ow]) =
        (&xs[..], &ws[..], &os[..])
    else {
        return w.refuse(format!("X {xs:?}, W {ws:?}, offset {os:?}: rank 4 is expected"));
    };
    let groups = [w.int("group", 1), w.int("offset_group", 1)].map(|g| usize::try_from(g).unwrap_or(0));
    let (dilations, steps) = (positive(w, "dilations", 2)?, positive(w, "strides", 2)?);
    let pads = per_axis(w, "pads", 4, 0)?;
    let length = |axis: usize, size: usize, kernel: usize| {
        (size + pads[axis] + pads[axis + 2])
            .checked_sub(dilations[axis] * kernel.max(1) - dilations[axis] + 1)
            .map(|room| room / steps[axis] + 1)
    };
    let fits = !groups.contains(&0)
        && dt.is_float()
        && on == n
        && channels == per_group * groups[0]
        && out.is_multiple_of(groups[0])
        && channels.is_multiple_of(groups[1])
        && offsets == 2 * groups[1] * kh * kw
        && Some(oh) == length(0, height, kh)
        && Some(ow) == length(1, width, kw);
    if !fits {
        return w.refuse(format!("X {xs:?}, W {ws:?}, offset {os:?} in groups of {groups:?}"));
    }
    let mut given = vec![x, weight, offset];
    let expected: [&[usize]; 2] = [&[out], &[n, offsets / 2, oh, ow]];
    for (ix, expected) in expected.into_iter().enumerate() {
        let Some(input) = w.input(3 + ix) else { continue };
        if w.shape(input)?.as_slice() != expected {
            return w.refuse(format!("input {} is {:?}, {expected:?} is expected", 3 + ix, w.shape(input)?));
        }
        given.push(input);
    }
    let ints = [groups[0], groups[1], dilations[0], dilations[1], steps[0], steps[1], pads[0], pads[1]];
    let there = [3, 4].map(|ix| i64::from(w.input(ix).is_some()));
    let kernel = Kernel::new("DeformConv", tvec![dt.fact([n, out, oh, ow])], run_deform_conv)
        .ints(ints.into_iter().map(|i| i as i64).chain(there))
        .scratch(4 * (xs.iter().product::<usize>() + os.iter().product::<usize>()));
    w.kernel(kernel, &given)
}

pub(super) fn run_deform_conv(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let [groups, offset_groups, dh, dw, sh, sw, ph, pw] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(|ix| k.int(ix) as usize);
    let (x, weight, offset) = (f32s(&inputs[0])?, f32s(&inputs[1])?, f32s(&inputs[2])?);
    let mut rest = inputs.iter().skip(3);
    let mut optional =
        |there: i64| if there != 0 { rest.next().map(|t| f32s(t)).transpose() } else { Ok(None) };
    let (bias, mask) = (optional(k.int(8))?, optional(k.int(9))?);
    let (xs, ws, to) = (inputs[0].shape(), inputs[1].shape(), k.shape(0)?);
    let (channels, height, width) = (xs[1], xs[2], xs[3]);
    let (per_group, kh, kw) = (ws[1], ws[2], ws[3]);
    let (out, pixels) = (to[1], to[2] * to[3]);
    let taps = kh * kw;
    let mut y = vec![0f32; to.iter().product()];
    let mut sampled = vec![0f32; channels * taps];
    for n in 0..to[0] {
        for pixel in 0..pixels {
            let (row, column) = (pixel / to[3], pixel % to[3]);
            for channel in 0..channels {
                let group = channel / (channels / offset_groups);
                let map = &x[(n * channels + channel) * height * width..][..height * width];
                for tap in 0..taps {
                    let at = (n * offset_groups + group) * taps + tap;
                    let shift = |axis: usize| f64::from(offset[(2 * at + axis) * pixels + pixel]);
                    let y = (row * sh + tap / kw * dh) as f64 - ph as f64 + shift(0);
                    let x = (column * sw + tap % kw * dw) as f64 - pw as f64 + shift(1);
                    let factor = mask.as_ref().map_or(1.0, |m| m[at * pixels + pixel]);
                    sampled[channel * taps + tap] = bilinear(map, height, width, y, x) * factor;
                }
            }
            for o in 0..out {
                let first = o / (out / groups) * per_group * taps;
                let weight = &weight[o * per_group * taps..(o + 1) * per_group * taps];
                let sum = dot(weight, &sampled[first..first + weight.len()]);
                y[(n * out + o) * pixels + pixel] = sum + bias.as_ref().map_or(0.0, |b| b[o]);
            }
        }
    }
    Ok(vec![tensor(k.outputs[0].datum_type, &to, &y)?])
}

/// A map between its pixels, zero around it.
fn bilinear(map: &[f32], height: usize, width: usize, y: f64, x: f64) -> f32 {
    let (y0, x0) = (y.floor(), x.floor());
    let value = |y: f64, x: f64| {
        let inside = y >= 0.0 && x >= 0.0 && y < height as f64 && x < width as f64;
        if inside { f64::from(map[y as usize * width + x as usize]) } else { 0.0 }
    };
    let (dy, dx) = (y - y0, x - x0);
    let top = (1.0 - dx) * value(y0, x0) + dx * value(y0, x0 + 1.0);
    let bottom = (1.0 - dx) * value(y0 + 1.0, x0) + dx * value(y0 + 1.0, x0 + 1.0);
    ((1.0 - dy) * top + dy * bottom) as f32
}
