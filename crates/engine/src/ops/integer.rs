//! Operators on bytes whose sums are exact: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv.
//!
//! What [`Exact`] has no kernel for, vectors as operands, convolutions of volumes, scales of each row, is tract's.

use ic_nn_kernels::Window;
use tract_onnx::tract_core::ops::math::{Add, Div, Max, Min, Mul, Sub, round_half_to_even};
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Places, f32s, strides, volume};
use super::lowered::Wirer;
use crate::exact::{Ending, Exact, Sums};

/// Products that an output may have, one for each place of its batch axes.
const MOST_BATCHES: usize = 1 << 16;
/// The longest side of an image between zeros.
const LONGEST: usize = 1 << 24;

/// Numbers of an operand; none where its shape depends on values.
fn count(w: &Wirer<'_>, x: OutletId) -> TractResult<Option<usize>> {
    Ok(w.fact(x)?.shape.as_concrete().map(|shape| shape.iter().product()))
}

/// Whether an operand is bytes.
pub(super) fn is_bytes(w: &Wirer<'_>, x: OutletId) -> TractResult<bool> {
    Ok(matches!(w.dt(x)?, DatumType::U8 | DatumType::I8))
}

/// An operand, or a zero of the type of another in its place.
pub(super) fn zero(w: &mut Wirer<'_>, given: Option<OutletId>, of: OutletId) -> TractResult<OutletId> {
    match given {
        Some(given) => Ok(given),
        None => {
            let dt = w.dt(of)?;
            w.scalar(0.0, dt)
        }
    }
}

/// A product of `a` and `b`, and its shape; none where it is not of bytes and matrices.
pub(super) fn product(
    w: &Wirer<'_>,
    a: OutletId,
    b: OutletId,
    turned: bool,
) -> TractResult<Option<(Sums, TVec<usize>)>> {
    let (x, y) = (w.fact(a)?, w.fact(b)?);
    let (Some(x), Some(y)) = (x.shape.as_concrete(), y.shape.as_concrete()) else { return Ok(None) };
    if x.len() < 2 || y.len() < 2 || !is_bytes(w, a)? || !is_bytes(w, b)? || x.contains(&0) || y.contains(&0)
    {
        return Ok(None);
    }
    let (x_batch, [m, k]) = (&x[..x.len() - 2], [x[x.len() - 2], x[x.len() - 1]]);
    let y_batch = &y[..y.len() - 2];
    let [along, n] = if turned { [y[y.len() - 1], y[y.len() - 2]] } else { [y[y.len() - 2], y[y.len() - 1]] };
    if along != k {
        return Ok(None);
    }
    let rank = x_batch.len().max(y_batch.len());
    let padded = |batch: &[usize]| -> TVec<usize> {
        std::iter::repeat_n(1, rank - batch.len()).chain(batch.iter().copied()).collect()
    };
    let (x_batch, y_batch) = (padded(x_batch), padded(y_batch));
    let mut output = tvec!();
    for (a, b) in x_batch.iter().zip(&y_batch) {
        match (*a, *b) {
            (a, b) if a == b || b == 1 => output.push(a),
            (1, b) => output.push(b),
            _ => return Ok(None),
        }
    }
    let (matrices, products) = (y_batch.iter().product::<usize>(), output.iter().product::<usize>());
    let (rows, batches) = if matrices == 1 {
        (products * m, vec![[0, 0]])
    } else if products > MOST_BATCHES {
        return Ok(None);
    } else {
        let places = |batch: &[usize]| {
            let steps: Vec<isize> = strides(batch)
                .iter()
                .zip(batch)
                .map(|(step, d)| if *d == 1 { 0 } else { *step as isize })
                .collect();
            Places::new(&output, &steps, 0)
        };
        (m, places(&x_batch).zip(places(&y_batch)).map(|(a, b)| [a, b]).collect())
    };
    output.extend([m, n]);
    volume(&output)?;
    Ok(Some((Sums::Product { rows, k, n, turned, batches, matrices }, output)))
}

/// A convolution of `x` by `weights`, and its shape; none where it is not of bytes and planes.
fn convolution(w: &Wirer<'_>, x: OutletId, weights: OutletId) -> TractResult<Option<(Sums, TVec<usize>)>> {
    let (image, kernel) = (w.fact(x)?, w.fact(weights)?);
    let (Some(image), Some(kernel)) = (image.shape.as_concrete(), kernel.shape.as_concrete()) else {
        return Ok(None);
    };
    let bytes = is_bytes(w, x)? && is_bytes(w, weights)?;
    if !bytes || !matches!(image.len(), 3 | 4) || kernel.len() != image.len() {
        return Ok(None);
    }
    let rank = image.len() - 2;
    // A line is a plane of height 1.
    let pair =
        |sides: &[usize], missing: usize| if rank == 2 { [sides[0], sides[1]] } else { [missing, sides[0]] };
    let told = |name: &str, n: usize, default: usize| -> Option<Vec<usize>> {
        let ints = w.ints(name);
        if ints.is_empty() {
            return Some(vec![default; n]);
        }
        let sizes: Option<Vec<usize>> = ints.iter().map(|i| usize::try_from(*i).ok()).collect();
        sizes.filter(|sizes| sizes.len() == n && sizes.iter().all(|size| *size <= LONGEST))
    };
    let (Some(strides), Some(dilations), Some(pads)) =
        (told("strides", rank, 1), told("dilations", rank, 1), told("pads", 2 * rank, 0))
    else {
        return Ok(None);
    };
    let (stride, dilation) = (pair(&strides, 1), pair(&dilations, 1));
    let (input, sides) = (pair(&image[2..], 1), pair(&kernel[2..], 1));
    let Ok(groups) = usize::try_from(w.int("group", 1)) else { return Ok(None) };
    let (images, all, outputs, channels) = (image[0], image[1], kernel[0], kernel[1]);
    let positive = [input, sides, stride, dilation].concat();
    let shape = told("kernel_shape", rank, 0).is_some_and(|s| !w.has("kernel_shape") || s == kernel[2..]);
    if positive.iter().chain(&[images, channels, outputs, groups]).any(|n| !(1..=LONGEST).contains(n))
        || channels.checked_mul(groups) != Some(all)
        || !outputs.is_multiple_of(groups)
        || !shape
    {
        return Ok(None);
    }
    let mut output = [0; 2];
    let mut before = [0; 2];
    let mode = w.text("auto_pad", "NOTSET");
    for axis in [0, 1] {
        let Some(reach) = (sides[axis] - 1).checked_mul(dilation[axis]).map(|reach| reach + 1) else {
            return Ok(None);
        };
        let same = || {
            let produced = input[axis].div_ceil(stride[axis]);
            (produced, ((produced - 1) * stride[axis] + reach).saturating_sub(input[axis]))
        };
        let pads = [pair(&pads[..rank], 0)[axis], pair(&pads[rank..], 0)[axis]];
        let room = match mode.as_str() {
            "SAME_UPPER" | "SAME_LOWER" => {
                let (produced, total) = same();
                (output[axis], before[axis]) =
                    (produced, if mode == "SAME_UPPER" { total / 2 } else { total.div_ceil(2) });
                continue;
            }
            "VALID" => input[axis],
            "NOTSET" | "" => {
                before[axis] = pads[0];
                input[axis] + pads[0] + pads[1]
            }
            _ => return Ok(None),
        };
        let Some(left) = room.checked_sub(reach) else { return Ok(None) };
        output[axis] = left / stride[axis] + 1;
    }
    let window = Window { input, kernel: sides, stride, dilation, before, output };
    let mut produced = tvec![images, outputs];
    produced.extend_from_slice(if rank == 2 { &output } else { &output[1..] });
    let reached =
        [0, 1].map(|axis| (output[axis] - 1) * stride[axis] + (sides[axis] - 1) * dilation[axis] + 1);
    for shape in [&produced[..], &[channels, reached[0], reached[1]], &[channels, sides[0], sides[1], 512]] {
        if volume(shape).is_err() {
            return Ok(None);
        }
    }
    Ok(Some((Sums::Conv { window, channels, outputs, groups, images }, produced)))
}

/// Whether operands are one number, or, where it is allowed, one an output.
fn fits(w: &Wirer<'_>, given: &[(Option<OutletId>, bool)], outputs: usize) -> TractResult<bool> {
    for (outlet, each) in given {
        if let Some(outlet) = outlet {
            match count(w, *outlet)? {
                Some(1) => (),
                Some(n) if *each && n == outputs => (),
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// MatMulInteger and ConvInteger.
pub(super) fn integer(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let (a_zero, b_zero) = (w.input(2), w.input(3));
    let made = if w.node.op_type == "ConvInteger" { convolution(w, a, b)? } else { product(w, a, b, false)? };
    let Some((sums, output)) = made else { return w.stock_itself() };
    if !fits(w, &[(a_zero, false), (b_zero, true)], sums.outputs())? {
        return w.stock_itself();
    }
    let (a_zero, b_zero) = (zero(w, a_zero, a)?, zero(w, b_zero, b)?);
    let op = Exact { sums, packed: None, ending: Ending::Sums, output };
    w.all(op, &[a, a_zero, b, b_zero])
}

/// The operands of a product whose sums are made real or bytes.
pub(super) struct Scaled {
    pub(super) a: OutletId,
    pub(super) a_scale: OutletId,
    pub(super) a_zero: Option<OutletId>,
    pub(super) b: OutletId,
    pub(super) b_scale: OutletId,
    pub(super) b_zero: Option<OutletId>,
    /// What the output is quantised by; where it is not, outputs are real.
    pub(super) y_scale: Option<OutletId>,
    pub(super) y_zero: Option<OutletId>,
    /// int32 and counted as sums are, or real where outputs are.
    pub(super) bias: Option<OutletId>,
}

/// Wires a product or a convolution; none where an operand has another size than is served.
pub(super) fn exact(
    w: &mut Wirer<'_>,
    sums: Sums,
    output: TVec<usize>,
    scaled: &Scaled,
) -> TractResult<Option<TVec<OutletId>>> {
    let Scaled { a, b, y_scale, y_zero, bias, .. } = *scaled;
    let operands = [
        (Some(scaled.a_scale), false),
        (scaled.a_zero, false),
        (Some(scaled.b_scale), true),
        (scaled.b_zero, true),
        (y_scale, false),
        (y_zero, false),
        (bias, true),
    ];
    if !fits(w, &operands, sums.outputs())? {
        return Ok(None);
    }
    let (a_zero, b_zero) = (zero(w, scaled.a_zero, a)?, zero(w, scaled.b_zero, b)?);
    if w.dt(a_zero)? != w.dt(a)? || w.dt(b_zero)? != w.dt(b)? {
        return Ok(None);
    }
    let mut factor = [scaled.a_scale, scaled.b_scale, y_scale.unwrap_or(scaled.a_scale)];
    for scale in &mut factor {
        let n = count(w, *scale)?.unwrap_or(1);
        *scale = w.reshape(*scale, &[n])?;
        *scale = w.cast(*scale, DatumType::F32)?;
    }
    let [a_scale, b_scale, over] = factor;
    let mut factor = w.binary(Mul, a_scale, b_scale)?;
    let mut given = tvec![a, a_zero, b, b_zero];
    let ending = match (y_scale, y_zero) {
        (Some(_), Some(y_zero)) if is_bytes(w, y_zero)? => {
            factor = w.binary(Div, factor, over)?;
            given.extend([factor, y_zero]);
            Ending::Bytes { signed: w.dt(y_zero)? == DatumType::I8, added: bias.is_some() }
        }
        (None, None) => {
            given.push(factor);
            Ending::Real { added: bias.is_some() }
        }
        _ => return Ok(None),
    };
    if let Some(mut bias) = bias {
        match (w.dt(bias)?, ending) {
            (DatumType::F32, Ending::Real { .. }) | (DatumType::I32, Ending::Bytes { .. }) => (),
            (DatumType::I32, Ending::Real { .. }) => {
                // Counted as the sums are.
                let n = count(w, bias)?.unwrap_or(1);
                bias = w.reshape(bias, &[n])?;
                bias = w.cast(bias, DatumType::F32)?;
                bias = w.binary(Mul, bias, factor)?;
            }
            (dt, _) => return w.refuse(format!("a bias of {dt:?}")),
        }
        given.push(bias);
    }
    w.all(Exact { sums, packed: None, ending, output }, &given).map(Some)
}

/// QLinearMatMul and QLinearConv, and what is made of pairs of QuantizeLinear and DequantizeLinear (`pairs`): with a bias, with
/// the second operand turned, and without what the output is quantised by, which it then is not.
pub(super) fn linear(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    for ix in [1, 4, 6] {
        if let Some(scale) = w.input(ix)
            && w.fact(scale)?.konst.is_some_and(|s| f32s(&s).is_ok_and(|s| s.iter().any(|s| *s <= 0.0)))
        {
            return w.refuse("a scale that is not positive");
        }
    }
    let (a, b) = (w.need(0)?, w.need(3)?);
    let conv = matches!(w.node.op_type.as_str(), "QLinearConv" | super::PAIRED_CONV);
    let made = if conv { convolution(w, a, b)? } else { product(w, a, b, w.int("transB", 0) != 0)? };
    let Some((sums, output)) = made else { return stock(w) };
    let scaled = Scaled {
        a,
        a_scale: w.need(1)?,
        a_zero: w.input(2),
        b,
        b_scale: w.need(4)?,
        b_zero: w.input(5),
        y_scale: w.input(6),
        y_zero: w.input(7),
        bias: w.input(8),
    };
    match exact(w, sums, output, &scaled)? {
        Some(made) => Ok(made),
        None => stock(w),
    }
}

/// tract's QLinearMatMul, whose scales may be f16, and QLinearConv.
fn stock(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    if !matches!(w.node.op_type.as_str(), "QLinearConv" | "QLinearMatMul") {
        return apart(w);
    }
    let mut given = w.given();
    if w.node.op_type == "QLinearMatMul" {
        for ix in [1, 4, 6] {
            let scale = w.need(ix)?;
            let Some(place) = given.get_mut(ix) else { return w.refuse("all eight inputs are expected") };
            *place = w.cast(scale, DatumType::F32)?;
        }
    }
    w.stock(w.node, &given)
}

/// What was a pair around a product or a convolution that no kernel fits: in reals, as the file had it.
fn apart(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let conv = w.node.op_type == super::PAIRED_CONV;
    let name = if conv {
        "Conv"
    } else if w.has("transB") {
        "Gemm"
    } else {
        "MatMul"
    };
    let f32 = DatumType::F32;
    let real = |w: &mut Wirer<'_>, ix: usize, axis: usize| -> TractResult<OutletId> {
        let (x, rank) = (w.need(ix)?, w.fact(w.need(ix)?)?.rank());
        let along = |w: &mut Wirer<'_>, operand: OutletId| -> TractResult<OutletId> {
            let mut shape = vec![1; rank];
            if let Some(n) = count(w, operand)?.filter(|n| *n > 1) {
                match shape.get_mut(axis) {
                    Some(length) => *length = n,
                    None => return w.refuse(format!("scales along axis {axis} of {rank}")),
                }
            }
            let real = w.cast(operand, f32)?;
            w.reshape(real, &shape)
        };
        let (scale, zero) = (w.need(ix + 1)?, w.need(ix + 2)?);
        let (scale, zero) = (along(w, scale)?, along(w, zero)?);
        let x = w.cast(x, f32)?;
        let less = w.binary(Sub, x, zero)?;
        w.binary(Mul, less, scale)
    };
    let rows = conv || w.int("transB", 0) != 0;
    let mut given = tvec![real(w, 0, 0)?, real(w, 3, usize::from(!rows))?];
    let (y_scale, y_zero) = (w.input(6), w.input(7));
    if let Some(mut bias) = w.input(8) {
        if y_scale.is_some() {
            // A whole one.
            let (a, b) = (w.need(1)?, w.need(4)?);
            let mut scales = [a, b];
            for scale in &mut scales {
                let n = count(w, *scale)?.unwrap_or(1);
                *scale = w.reshape(*scale, &[n])?;
            }
            let scale = w.binary(Mul, scales[0], scales[1])?;
            bias = w.cast(bias, f32)?;
            bias = w.binary(Mul, bias, scale)?;
        }
        given.push(bias);
    }
    let mut node = w.node.clone();
    node.op_type = name.into();
    node.input = (0..given.len()).map(|ix| format!("operand.{ix}")).collect();
    let made = w.stock(&node, &given)?;
    let (Some(y_scale), Some(y_zero)) = (y_scale, y_zero) else { return Ok(made) };
    let dt = w.dt(y_zero)?;
    let (least, most) = if dt == DatumType::I8 { (-128.0, 127.0) } else { (0.0, 255.0) };
    let zero = w.cast(y_zero, f32)?;
    let mut y = w.binary(Div, made[0], y_scale)?;
    y = w.each(round_half_to_even(), y)?;
    y = w.binary(Add, y, zero)?;
    y = w.by(Max, y, least)?;
    y = w.by(Min, y, most)?;
    Ok(tvec![w.cast(y, dt)?])
}
