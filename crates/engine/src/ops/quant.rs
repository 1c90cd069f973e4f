//! Quantisation: every integer type, scales by tensor, axis and block, divided as ONNX says and not multiplied by a
//! rounded reciprocal, which would put ties on the other side.

use std::ops::Range;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, f32s, i64s, put, strides, tensor};
use super::lowered::Wirer;

/// The type that attribute `name` says, if it says one.
fn named_type(w: &Wirer<'_>, name: &str) -> TractResult<Option<DatumType>> {
    match w.int(name, 0) {
        0 => Ok(None),
        raw => {
            let dt = i32::try_from(raw).ok().and_then(|raw| DataType::try_from(raw).ok());
            match dt.and_then(|dt| DatumType::try_from(dt).ok()).filter(DatumType::is_copy) {
                Some(dt) => Ok(Some(dt)),
                None => w.refuse(format!("`{name}` {raw} is not held")),
            }
        }
    }
}

/// How scales lie over `x`: the axis, the length of a block, and how many scales an axis has; for one scale, none.
fn layout(w: &Wirer<'_>, x: OutletId, scale: OutletId, zero: Option<OutletId>) -> TractResult<[i64; 3]> {
    let (shape, scales) = (w.shape(x)?, w.shape(scale)?);
    if let Some(zero) = zero
        && w.shape(zero)?.iter().product::<usize>() != scales.iter().product::<usize>()
    {
        return w.refuse(format!("zero points of {:?} beside scales of {scales:?}", w.shape(zero)?));
    }
    if scales.iter().product::<usize>() == 1 {
        return Ok([0, 0, 1]);
    }
    let axis = w.axis(w.int("axis", 1), shape.len())?;
    let block = w.int("block_size", 0);
    let fits = if block == 0 {
        scales.as_slice() == [shape[axis]]
    } else {
        block > 0
            && scales.len() == shape.len()
            && scales
                .iter()
                .zip(&shape)
                .enumerate()
                .all(|(ix, (s, d))| *s == if ix == axis { d.div_ceil(block as usize) } else { *d })
    };
    if !fits {
        return w.refuse(format!("scales of {scales:?} for axis {axis} of {shape:?}, blocks of {block}"));
    }
    Ok([axis as i64, block, if block == 0 { shape[axis] } else { scales[axis] } as i64])
}

/// The place of the scale of each element.
fn scale_places(k: &Kernel, shape: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let (axis, block, count) = (k.int(0) as usize, k.int(1) as usize, k.int(2) as usize);
    let (inner, length) = match (count, shape.get(axis)) {
        (2.., Some(length)) => (strides(shape)[axis], *length),
        _ => (1, 1),
    };
    let one = count <= 1;
    (0..shape.iter().product::<usize>()).map(move |at| {
        let along = at / inner % length;
        match (one, block) {
            (true, _) => 0,
            (false, 0) => along,
            (false, block) => (at / inner / length * count + along / block) * inner + at % inner,
        }
    })
}

/// QuantizeLinear.
pub(super) fn quantize(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, scale, zero) = (w.need(0)?, w.need(1)?, w.input(2));
    let named = named_type(w, "output_dtype")?;
    let dt = match zero {
        Some(zero) => w.dt(zero)?,
        None => named.unwrap_or(DatumType::U8),
    };
    if !dt.is_integer() || dt.size_of() > 4 || !w.dt(scale)?.is_float() {
        return w.refuse(format!("to {dt:?} by {:?}", w.dt(scale)?));
    }
    let ints = layout(w, x, scale, zero)?;
    let shape = w.shape(x)?;
    let mut given = vec![x, scale];
    given.extend(zero);
    let scratch = 12 * shape.iter().product::<usize>();
    w.kernel(
        Kernel::new("QuantizeLinear", tvec![dt.fact(shape)], run_quantize).ints(ints).scratch(scratch),
        &given,
    )
}

/// Runs of elements of one scale, one behind the other: how long, and how many before the scales begin anew. None where they are of
/// blocks or of one element.
fn runs(k: &Kernel, shape: &[usize]) -> Option<(usize, usize)> {
    let (axis, block, count) = (k.int(0) as usize, k.int(1), k.int(2) as usize);
    let all = shape.iter().product();
    match (block, count) {
        (_, 1) => Some((all, 1)),
        (0, count) => Some((strides(shape).get(axis).copied()?, count)).filter(|(length, _)| *length > 1),
        _ => None,
    }
}

/// Goes through runs: what to do with each is told its elements, its scale and its zero point.
fn each_run(
    (length, count): (usize, usize),
    all: usize,
    scales: &[f32],
    zeros: Option<&[i64]>,
    mut with: impl FnMut(std::ops::Range<usize>, f32, i16),
) {
    for (ix, first) in (0..all).step_by(length.max(1)).enumerate() {
        let place = ix % count;
        let zero = zeros.map_or(0, |zeros| zeros[place] as i16);
        with(first..(first + length).min(all), scales[place], zero);
    }
}

pub(super) fn run_quantize(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    if let (DatumType::U8 | DatumType::I8, DatumType::F32, Some(runs)) =
        (k.outputs[0].datum_type, inputs[0].datum_type(), runs(k, inputs[0].shape()))
    {
        let signed = i16::from(k.outputs[0].datum_type == DatumType::I8);
        let (x, scales) = (inputs[0].try_as_plain_ram()?.as_slice::<f32>()?, f32s(&inputs[1])?);
        let zeros = inputs.get(2).map(|t| i64s(t)).transpose()?;
        let mut y = Tensor::zero_dt(k.outputs[0].datum_type, inputs[0].shape())?;
        let to = y.as_bytes_mut();
        each_run(runs, x.len(), &scales, zeros.as_deref(), |at, scale, zero| {
            ic_nn_kernels::quantise(&x[at.clone()], scale, [signed, zero], &mut to[at]);
        });
        return Ok(vec![y]);
    }
    let (dt, shape) = (k.outputs[0].datum_type, inputs[0].shape());
    let (x, scales) = (f32s(&inputs[0])?, f32s(&inputs[1])?);
    let zeros = inputs.get(2).map(|t| i64s(t)).transpose()?;
    let bits = 8 * dt.size_of() as u32;
    let (least, most) =
        if dt.is_signed() { (-(1i64 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1i64 << bits) - 1) };
    let half = inputs[0].datum_type() == DatumType::F16;
    let y: Vec<i64> = x
        .into_iter()
        .zip(scale_places(k, shape))
        .map(|(x, place)| {
            let quotient = x / scales[place];
            let quotient = if half { f16::from_f32(quotient).to_f32() } else { quotient };
            let rounded = quotient.round_ties_even() as i64;
            rounded.saturating_add(zeros.as_ref().map_or(0, |z| z[place])).clamp(least, most)
        })
        .collect();
    Ok(vec![tensor(dt, shape, &y)?])
}

/// DequantizeLinear. Constants of 8 bits and one scale are tract's, which folds them whatever their size.
pub(super) fn dequantize(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, scale, zero) = (w.need(0)?, w.need(1)?, w.input(2));
    let named = named_type(w, "output_dtype")?;
    let dt = named.unwrap_or(w.dt(scale)?);
    let constant = |x: OutletId| -> TractResult<bool> { Ok(w.fact(x)?.konst.is_some_and(|k| k.len() == 1)) };
    let plain = matches!(w.dt(x)?, DatumType::U8 | DatumType::I8)
        && w.fact(x)?.konst.is_some()
        && dt == DatumType::F32
        && w.dt(scale)? == dt
        && constant(scale)?
        && zero.map_or(Ok(w.dt(x)? == DatumType::U8), constant)?;
    if plain {
        return w.stock(w.node, &w.given());
    }
    if !w.dt(x)?.is_integer() || !dt.is_float() {
        return w.refuse(format!("{:?} to {dt:?}", w.dt(x)?));
    }
    let ints = layout(w, x, scale, zero)?;
    let shape = w.shape(x)?;
    let mut given = vec![x, scale];
    given.extend(zero);
    let scratch = 12 * shape.iter().product::<usize>();
    w.kernel(
        Kernel::new("DequantizeLinear", tvec![dt.fact(shape)], run_dequantize).ints(ints).scratch(scratch),
        &given,
    )
}

pub(super) fn run_dequantize(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    if let (DatumType::F32, DatumType::U8 | DatumType::I8, Some(runs)) =
        (k.outputs[0].datum_type, inputs[0].datum_type(), runs(k, inputs[0].shape()))
    {
        let signed = i16::from(inputs[0].datum_type() == DatumType::I8);
        ensure!(inputs[0].is_plain_ram(), "a tensor of plain numbers is expected");
        let (x, scales) = (inputs[0].as_bytes(), f32s(&inputs[1])?);
        let zeros = inputs.get(2).map(|t| i64s(t)).transpose()?;
        // Runs cover all of it.
        let mut y = crate::lower::output(inputs[0].shape())?;
        let mut plain = y.try_as_plain_ram_mut()?;
        let to = plain.as_slice_mut::<f32>()?;
        each_run(runs, x.len(), &scales, zeros.as_deref(), |at, scale, zero| {
            ic_nn_kernels::dequantise(&x[at.clone()], scale, [signed, zero], &mut to[at]);
        });
        return Ok(vec![y]);
    }
    let shape = inputs[0].shape();
    let (x, scales) = (i64s(&inputs[0])?, f32s(&inputs[1])?);
    let zeros = inputs.get(2).map(|t| i64s(t)).transpose()?;
    let y: Vec<f32> = x
        .into_iter()
        .zip(scale_places(k, shape))
        .map(|(x, place)| x.wrapping_sub(zeros.as_ref().map_or(0, |z| z[place])) as f32 * scales[place])
        .collect();
    Ok(vec![tensor(k.outputs[0].datum_type, shape, &y)?])
}

/// DynamicQuantizeLinear. What is no number is left out of the range; where all are 0, the scale is 1.
pub(super) fn quantize_dynamically(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    if w.dt(x)? != DatumType::F32 {
        return w.refuse(format!("of {:?}", w.dt(x)?));
    }
    let shape = w.shape(x)?;
    let none: &[usize] = &[];
    let outputs = tvec![u8::fact(&shape), f32::fact(none), u8::fact(none)];
    w.kernel(Kernel::new("DynamicQuantizeLinear", outputs, run_quantize_dynamically), &[x])
}

/// The scale and the zero point of numbers between these, 0 among them.
fn scale_of((least, most): (f32, f32)) -> (f32, u8) {
    let scale = if least == most { 1.0 } else { (most - least) / 255.0 };
    (scale, (-least / scale).round_ties_even().clamp(0.0, 255.0) as u8)
}

/// Numbers of a step of a tensor that is quantised by its range.
const STEP: usize = 1 << 20;

/// Steps through a tensor of so many numbers: for its range, then to quantise it.
pub(super) fn steps_of(numbers: usize) -> usize {
    2 * numbers.div_ceil(STEP)
}

/// Takes these steps. The range lies where the first numbers will, until it is known.
pub(super) fn quantize_in_steps(
    _: &Kernel,
    inputs: &[TValue],
    outputs: &mut [Tensor],
    wanted: Range<usize>,
) -> TractResult<()> {
    let x = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
    let blocks = x.len().div_ceil(STEP);
    let [y, scale, zero] = outputs else { bail!("three outputs are expected") };
    ensure!(y.len() == x.len() && x.len() >= 8, "as many bytes as numbers, and room for a range");
    for step in wanted {
        let place = step % blocks * STEP..(step % blocks * STEP + STEP).min(x.len());
        if step < blocks {
            let (ends, _) = y.as_bytes_mut()[..8].as_chunks_mut::<4>();
            let (least, most) = ic_nn_kernels::span(&x[place]);
            let [low, high] = [0, 1].map(|ix| f32::from_le_bytes(ends[ix]));
            (ends[0], ends[1]) = (low.min(least).to_le_bytes(), high.max(most).to_le_bytes());
            if step + 1 == blocks {
                let range = [0, 1].map(|ix| f32::from_le_bytes(ends[ix]));
                let (over, point) = scale_of((range[0], range[1]));
                put(scale, 0, &[over])?;
                zero.as_bytes_mut()[0] = point;
            }
        } else {
            let over = f32s(scale)?.first().copied().context("a scale is expected")?;
            let point = i16::from(zero.as_bytes()[0]);
            ic_nn_kernels::quantise(&x[place.clone()], over, [0, point], &mut y.as_bytes_mut()[place]);
        }
    }
    Ok(())
}

pub(super) fn run_quantize_dynamically(_: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let x = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
    let (scale, zero) = scale_of(ic_nn_kernels::span(x));
    let mut y = Tensor::zero::<u8>(inputs[0].shape())?;
    let mut plain = y.try_as_plain_ram_mut()?;
    ic_nn_kernels::quantise(x, scale, [0, i16::from(zero)], plain.as_slice_mut::<u8>()?);
    Ok(vec![y, tensor0(scale), tensor0(zero)])
}
