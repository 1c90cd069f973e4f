//! Operators that move elements and compute nothing.

use tract_onnx::tract_core::ops::array::{Gather, Range};
use tract_onnx::tract_core::ops::logic::CompLT;
use tract_onnx::tract_core::ops::math::Add;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, Places, i64s, picked, strides, volume};
use super::lowered::Wirer;

fn signed(steps: &[usize]) -> Vec<isize> {
    steps.iter().map(|s| *s as isize).collect()
}

/// Range. Where the delta is known to be negative tract's rules count with a `usize`, which on wasm has 32 bits, and come to
/// another length than its operator: so the operator is wired without them.
pub(super) fn range(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let delta = w.fact(w.need(2)?)?.konst;
    let Some(delta) = delta.filter(|d| !d.datum_type().is_tdim() && d.len() == 1) else {
        return w.stock_itself();
    };
    let delta = delta.cast_to_scalar::<f64>()?;
    if delta == 0.0 {
        return w.refuse("a delta of 0");
    }
    let given = w.given();
    let known = given.iter().all(|x| w.fact(*x).is_ok_and(|f| f.konst.is_some() && !f.datum_type.is_tdim()));
    if delta > 0.0 || !known {
        return w.stock_itself();
    }
    // The length follows from the constants; what stands here is not looked at then.
    w.all(Range::new(0.to_dim()), &given)
}

/// SpaceToDepth, in either mode.
pub(super) fn space_to_depth(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let shape = w.shape(x)?;
    let block = usize::try_from(w.int("blocksize", 0)).unwrap_or(0);
    let &[n, c, h, width] = &shape[..] else {
        return w.refuse(format!("{shape:?}; rank 4 is expected"));
    };
    if block == 0 || !h.is_multiple_of(block) || !width.is_multiple_of(block) {
        return w.refuse(format!("blocks of {block} in {shape:?}"));
    }
    let order = match w.text("mode", "DCR").as_str() {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return w.refuse(format!("mode `{other}`; DCR or CRD is expected")),
    };
    let x = w.reshape(x, &[n, c, h / block, block, width / block, block])?;
    let x = w.transpose(x, &order)?;
    Ok(tvec![w.reshape(x, &[n, c * block * block, h / block, width / block])?])
}

/// ReverseSequence.
pub(super) fn reverse_sequence(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, lengths) = (w.need(0)?, w.need(1)?);
    let shape = w.shape(x)?;
    let (batch, time) =
        (w.axis(w.int("batch_axis", 1), shape.len())?, w.axis(w.int("time_axis", 0), shape.len())?);
    if batch == time || w.shape(lengths)?.as_slice() != [shape[batch]] {
        return w.refuse(format!("lengths for axis {batch}, time on axis {time}, of {shape:?}"));
    }
    let kernel = Kernel::new("ReverseSequence", tvec![w.dt(x)?.fact(&shape)], run_reverse_sequence);
    w.kernel(kernel.ints([batch as i64, time as i64]), &[x, lengths])
}

pub(super) fn run_reverse_sequence(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (shape, lengths) = (inputs[0].shape(), i64s(&inputs[1])?);
    let (batch, time) = (k.int(0) as usize, k.int(1) as usize);
    let steps = strides(shape);
    if let Some(length) = lengths.iter().find(|l| !(0..=shape[time] as i64).contains(*l)) {
        bail!("a length of {length} on an axis of {}", shape[time]);
    }
    let places = Places::new(shape, &signed(&steps), 0).map(|place| {
        let (member, at) = (place / steps[batch] % shape[batch], place / steps[time] % shape[time]);
        let length = lengths[member] as usize;
        Some(if at < length { place - at * steps[time] + (length - 1 - at) * steps[time] } else { place })
    });
    Ok(vec![picked(&inputs[0], shape, places)?])
}

/// Wires a kernel that puts a window onto a tensor: axis by axis, where the window begins and how long it is.
fn window(
    w: &mut Wirer<'_>,
    x: OutletId,
    begins: &[i64],
    lengths: &[usize],
    wrap: bool,
) -> TractResult<OutletId> {
    volume(lengths)?;
    let mut ints = vec![i64::from(wrap)];
    ints.extend(begins);
    let kernel = Kernel::new("window", tvec![w.dt(x)?.fact(lengths)], run_window).ints(ints);
    w.op(kernel, &[x])
}

pub(super) fn run_window(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (from, to) = (inputs[0].shape(), k.shape(0)?);
    let (wrap, begins) = (k.int(0) != 0, &k.ints[1..]);
    let (from_steps, to_steps) = (strides(from), strides(&to));
    let places = (0..to.iter().product::<usize>()).map(|at| {
        let mut place = 0;
        for axis in 0..to.len() {
            let mut ix = (at / to_steps[axis] % to[axis]) as i64 + begins[axis];
            if wrap {
                ix = ix.rem_euclid(from[axis].max(1) as i64);
            }
            place += from_steps[axis] * usize::try_from(ix).ok().filter(|ix| *ix < from[axis])?;
        }
        Some(place)
    });
    Ok(vec![picked(&inputs[0], &to, places)?])
}

/// CenterCropPad.
pub(super) fn center_crop_pad(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, target) = (w.need(0)?, w.need(1)?);
    let shape = w.shape(x)?;
    let target = w.integers(target, "shape")?;
    let axes = if w.has("axes") { w.ints("axes") } else { (0..shape.len() as i64).collect() };
    if axes.len() != target.len() {
        return w.refuse(format!("{} lengths for {} axes", target.len(), axes.len()));
    }
    let (mut begins, mut lengths) = (vec![0; shape.len()], shape.to_vec());
    for (axis, length) in axes.into_iter().zip(target) {
        let axis = w.axis(axis, shape.len())?;
        let Ok(to) = usize::try_from(length) else { return w.refuse(format!("a length of {length}")) };
        let from = shape[axis];
        begins[axis] = if to < from { ((from - to) / 2) as i64 } else { -(((to - from) / 2) as i64) };
        lengths[axis] = to;
    }
    Ok(tvec![window(w, x, &begins, &lengths, false)?])
}

/// Pad: with a value of one element too, and wrapped.
pub(super) fn pad(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let mut given = w.given();
    if w.text("mode", "constant") == "wrap" {
        let (x, pads) = (w.need(0)?, w.need(1)?);
        let shape = w.shape(x)?;
        let pads = w.integers(pads, "pads")?;
        let axes = match w.input(3) {
            Some(axes) => w.integers(axes, "axes")?,
            None => (0..shape.len() as i64).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return w.refuse(format!("{} pads for {} axes", pads.len(), axes.len()));
        }
        let (mut begins, mut lengths) = (vec![0i64; shape.len()], shape.to_vec());
        for (ix, axis) in axes.iter().enumerate() {
            let axis = w.axis(*axis, shape.len())?;
            let (before, after) = (pads[ix], pads[ix + axes.len()]);
            begins[axis] = before.saturating_neg();
            let length = i128::from(before) + i128::from(after) + shape[axis] as i128;
            let Ok(length) = usize::try_from(length) else { return w.refuse(format!("pads of {pads:?}")) };
            if shape[axis] == 0 && length > 0 {
                return w.refuse("an axis without elements to wrap");
            }
            lengths[axis] = length;
        }
        return Ok(tvec![window(w, x, &begins, &lengths, true)?]);
    }
    if let Some(pads) = w.input(1)
        && w.integers(pads, "pads")?.iter().any(|pad| *pad < 0)
    {
        return w.refuse("pads below 0; cut with Slice");
    }
    if w.text("mode", "constant") != "constant" && w.input(2).is_some() {
        // tract pads with a value that is there, whatever the mode.
        let mut node = w.node.clone();
        if let Some(name) = node.input.get_mut(2) {
            name.clear();
        }
        given.remove(2);
        return w.stock(&node, &given);
    }
    if let Some(value) = w.input(2)
        && w.fact(value)?.rank() > 0
    {
        let scalar = w.reshape(value, &[])?;
        given.iter_mut().filter(|i| **i == value).for_each(|i| *i = scalar);
    }
    w.stock(w.node, &given)
}

/// GatherND, ScatterND: tract counts no index from the end.
pub(super) fn by_coordinates(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (data, indices) = (w.need(0)?, w.need(1)?);
    let (shape, coordinates) = (w.shape(data)?, w.shape(indices)?);
    let first = usize::try_from(w.int("batch_dims", 0)).unwrap_or(usize::MAX);
    let depth = coordinates.last().copied().unwrap_or(0);
    let lengths = first.checked_add(depth).and_then(|end| shape.get(first..end));
    let Some(lengths) = lengths.filter(|_| depth > 0) else {
        return w.refuse(format!("coordinates {coordinates:?} into {shape:?} behind {first} axes"));
    };
    let lengths: Vec<i64> = lengths.iter().map(|d| *d as i64).collect();
    let mut given = w.given();
    let indices = w.cast(indices, DatumType::I64)?;
    let lengths = w.konst(tensor1(&lengths))?;
    let counted = w.binary(Add, indices, lengths)?;
    let zero = w.scalar(0.0, DatumType::I64)?;
    let negative = w.binary(CompLT, indices, zero)?;
    given[1] = w.choose(negative, counted, indices)?;
    w.stock(w.node, &given)
}

/// OneHot. An index out of range is hot nowhere.
pub(super) fn one_hot(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (indices, depth, values) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let shape = w.shape(indices)?;
    let depth = w.constant(depth, "depth")?.cast_to::<i64>()?.into_owned();
    let depth = i64s(&depth)?.first().copied().unwrap_or(0);
    let axis = w.axis(w.int("axis", -1), shape.len() + 1)?;
    let Ok(length) = usize::try_from(depth) else { return w.refuse(format!("a depth of {depth}")) };
    let mut to = shape.to_vec();
    to.insert(axis, length);
    volume(&to)?;
    if w.shape(values)?.as_slice() != [2] {
        return w.refuse("values are two, off and on");
    }
    let scratch = 8 * shape.iter().product::<usize>();
    let kernel = Kernel::new("OneHot", tvec![w.dt(values)?.fact(&to)], run_one_hot);
    w.kernel(kernel.ints([axis as i64, depth]).scratch(scratch), &[indices, values])
}

pub(super) fn run_one_hot(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (to, depth) = (k.shape(0)?, k.int(1));
    let inner = strides(&to)[k.int(0) as usize];
    let indices = i64s(&inputs[0])?;
    let places = (0..to.iter().product::<usize>()).map(|at| {
        let (outer, class, inside) = (at / inner / depth as usize, at / inner % depth as usize, at % inner);
        let index = indices[outer * inner + inside];
        let index = if index < 0 { index + depth } else { index };
        Some(usize::from(index == class as i64))
    });
    Ok(vec![picked(&inputs[1], &to, places)?])
}

/// Compress, by a condition that is known beforehand.
pub(super) fn compress(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, condition) = (w.need(0)?, w.need(1)?);
    let condition = w.integers(condition, "condition")?;
    let kept: Vec<i64> =
        condition.iter().enumerate().filter(|(_, c)| **c != 0).map(|(ix, _)| ix as i64).collect();
    let shape = w.shape(x)?;
    let (x, axis, length) = if w.has("axis") {
        let axis = w.axis(w.int("axis", 0), shape.len())?;
        (x, axis, shape[axis])
    } else {
        let length = shape.iter().product();
        (w.reshape(x, &[length])?, 0, length)
    };
    if kept.last().is_some_and(|last| *last >= length as i64) {
        return w.refuse(format!("a condition of {} on an axis of {length}", condition.len()));
    }
    let kept = w.konst(tensor1(&kept))?;
    Ok(tvec![w.op(Gather::new(axis), &[x, kept])?])
}

/// OptionalHasElement of a tensor, which is one, or of nothing.
pub(super) fn has_element(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let there = w.input(0).is_some();
    Ok(tvec![w.konst(tensor0(there))?])
}

/// OptionalGetElement of a tensor.
pub(super) fn get_element(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    Ok(tvec![w.need(0)?])
}
