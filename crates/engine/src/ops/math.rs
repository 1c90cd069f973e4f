//! Elementwise operators and products where tract lacks a type, an attribute or a rank, or rounds as it may not.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_core::ops::logic::CompGT;
use tract_onnx::tract_core::ops::math::{Add, Div, Max, Min, Mul, Sub, exp, ln};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, sigmoid};
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, f32s, f64s, i64s, strides, tensor};
use super::lowered::Wirer;
use crate::element::{bfloat_bits, from_bfloat_bits};

/// Softmax, MatMul and the like on f16: in f32, which is as exact as ONNX's and quicker where f16 is emulated.
pub(super) fn half_in_single(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let mut given = w.given();
    let dt = w.dt(w.need(0)?)?;
    if dt != DatumType::F16 {
        return w.stock(w.node, &given);
    }
    for input in &mut given {
        if w.dt(*input)? == DatumType::F16 {
            *input = w.cast(*input, DatumType::F32)?;
        }
    }
    let made = w.stock(w.node, &given)?;
    made.into_iter().map(|x| w.cast(x, dt)).collect()
}

/// Add and its like before operator set 7: the second operand begins at an axis of the first.
pub(super) fn broadcast_by_axis(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let (rank, shape) = (w.fact(a)?.rank(), w.shape(b)?);
    let axis = w.axis(w.int("axis", 0), rank.max(1))?;
    let Some(behind) = rank.checked_sub(axis + shape.len()) else {
        return w.refuse(format!("{shape:?} from axis {axis} of a tensor of rank {rank}"));
    };
    let mut to = shape.to_vec();
    to.resize(shape.len() + behind, 1);
    let b = w.reshape(b, &to)?;
    w.stock(w.node, &[a, b])
}

/// LayerNormalization, RMSNormalization: tract counts axes from one that is not there.
pub(super) fn normalize(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let rank = w.fact(w.need(0)?)?.rank();
    w.axis(w.int("axis", -1), rank)?;
    w.stock_itself()
}

/// MatMul; two vectors too.
pub(super) fn matmul(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let (rank_a, rank_b) = (w.fact(a)?.rank(), w.fact(b)?.rank());
    if rank_a == 0 || rank_b == 0 {
        return w.refuse("a scalar; rank 1 or more is expected");
    }
    if (rank_a, rank_b) != (1, 1) {
        return half_in_single(w);
    }
    let (n, m) = (w.shape(a)?, w.shape(b)?);
    if n != m {
        return w.refuse(format!("vectors of {n:?} and {m:?}"));
    }
    let row = w.reshape(a, &[1, n[0]])?;
    let product = w.stock(w.node, &[row, b])?;
    Ok(tvec![w.reshape(product[0], &[])?])
}

/// Div. Floats are divided, where tract would multiply by a rounded reciprocal.
pub(super) fn div(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let dt = w.dt(a)?;
    let variable = w.fact(b)?.konst.is_none();
    let (Some(left), Some(right)) = (concrete(w, a)?, concrete(w, b)?) else {
        return w.stock(w.node, &[a, b]);
    };
    if !dt.is_float() || w.dt(b)? != dt || !variable {
        return w.stock(w.node, &[a, b]);
    }
    let shape = tract_onnx::tract_core::broadcast::multi_broadcast(&[&left, &right])?;
    let rank = shape.len();
    let (a, b) = (ranked(w, a, &left, rank)?, ranked(w, b, &right, rank)?);
    w.kernel(Kernel::new("Div", tvec![dt.fact(shape)], run_div), &[a, b])
}

fn concrete(w: &Wirer<'_>, x: OutletId) -> TractResult<Option<TVec<usize>>> {
    Ok(w.fact(x)?.shape.as_concrete().map(|shape| shape.into()))
}

fn ranked(w: &mut Wirer<'_>, x: OutletId, shape: &[usize], rank: usize) -> TractResult<OutletId> {
    let mut to = vec![1; rank - shape.len()];
    to.extend(shape);
    w.reshape(x, &to)
}

pub(super) fn run_div(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    Ok(vec![Div.eval(inputs[0].clone(), inputs[1].clone(), k.outputs[0].datum_type)?])
}

/// `x` computed in f32 where it is f16.
fn single(w: &mut Wirer<'_>, x: OutletId) -> TractResult<OutletId> {
    if w.dt(x)? == DatumType::F16 { w.cast(x, DatumType::F32) } else { Ok(x) }
}

/// Celu.
pub(super) fn celu(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let dt = w.dt(w.need(0)?)?;
    let alpha = f64::from(w.real("alpha", 1.0));
    let input = w.need(0)?;
    let x = single(w, input)?;
    let y = w.by(Mul, x, 1.0 / alpha)?;
    let y = w.each(exp(), y)?;
    let y = w.by(Sub, y, 1.0)?;
    let y = w.by(Mul, y, alpha)?;
    let negative = w.by(Min, y, 0.0)?;
    let positive = w.by(Max, x, 0.0)?;
    let y = w.binary(Add, positive, negative)?;
    Ok(tvec![w.cast(y, dt)?])
}

fn swished(w: &mut Wirer<'_>, x: OutletId) -> TractResult<OutletId> {
    let alpha = f64::from(w.real("alpha", 1.0));
    let y = w.by(Mul, x, alpha)?;
    let y = w.each(sigmoid(), y)?;
    w.binary(Mul, x, y)
}

/// Swish.
pub(super) fn swish(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let dt = w.dt(x)?;
    let x = single(w, x)?;
    let y = swished(w, x)?;
    Ok(tvec![w.cast(y, dt)?])
}

/// SwiGLU.
pub(super) fn swiglu(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let dt = w.dt(a)?;
    let (a, b) = (single(w, a)?, single(w, b)?);
    let gate = swished(w, a)?;
    let y = w.binary(Mul, gate, b)?;
    Ok(tvec![w.cast(y, dt)?])
}

/// PRelu. Before opset 7 a slope of one axis goes with the channels.
pub(super) fn prelu(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, mut slope) = (w.need(0)?, w.need(1)?);
    let (rank, slopes) = (w.fact(x)?.rank(), w.shape(slope)?);
    if w.opset < 7 && slopes.len() == 1 && rank > 1 {
        let mut shape = vec![1; rank - 1];
        shape[0] = slopes[0];
        slope = w.reshape(slope, &shape)?;
    }
    let dt = w.dt(x)?;
    let zero = w.scalar(0.0, dt)?;
    let scaled = w.binary(Mul, x, slope)?;
    let positive = w.binary(CompGT, x, zero)?;
    Ok(tvec![w.choose(positive, x, scaled)?])
}

/// BatchNormalization by the statistics that it is given; tract takes those of a batch for them too.
pub(super) fn batch_normalization(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    if w.int("training_mode", 0) != 0 {
        return w.refuse("training_mode takes the statistics of a batch; export the model for inference");
    }
    w.stock_itself()
}

/// Shrink, of floats: tract rounds the bias to the type of the tensor.
pub(super) fn shrink(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let dt = w.dt(w.need(0)?)?;
    if !dt.is_float() {
        return w.refuse(format!("{dt:?}; floats are expected"));
    }
    w.stock_itself()
}

/// Pow, whose integers to a negative power tract makes something of.
pub(super) fn pow(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let dt = w.dt(a)?;
    if !matches!(dt, DatumType::I32 | DatumType::I64) || !w.dt(b)?.is_integer() {
        return w.stock_itself();
    }
    let shape = tract_onnx::tract_core::broadcast::multi_broadcast(&[&w.shape(a)?, &w.shape(b)?])?;
    let (a, b) = (w.broadcast(a, &shape)?, w.broadcast(b, &shape)?);
    let scratch = 24 * shape.iter().product::<usize>();
    w.kernel(Kernel::new("Pow", tvec![dt.fact(shape)], run_pow).scratch(scratch), &[a, b])
}

pub(super) fn run_pow(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let power = |(a, b): (i64, i64)| match (a, b) {
        (_, 0..) => a.wrapping_pow(u32::try_from(b).unwrap_or(u32::MAX)),
        (1, _) => 1,
        (-1, _) => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        _ => 0,
    };
    let y: Vec<i64> = i64s(&inputs[0])?.into_iter().zip(i64s(&inputs[1])?).map(power).collect();
    Ok(vec![tensor(k.outputs[0].datum_type, &k.shape(0)?, &y)?])
}

/// Dropout, which drops nothing here.
pub(super) fn dropout(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    if let Some(training) = w.input(2)
        && w.integers(training, "training_mode")?.iter().any(|t| *t != 0)
    {
        let ratio = match w.input(1) {
            Some(ratio) => w.constant(ratio, "ratio")?.cast_to_scalar::<f64>()?,
            None => 0.5,
        };
        if ratio != 0.0 {
            return w.refuse("training_mode drops at random; export the model for inference");
        }
    }
    let shape = w.shape(x)?;
    let kept = w.konst(tensor0(true))?;
    let mask = if w.gives(1) { w.broadcast(kept, &shape)? } else { kept };
    Ok(tvec![x, mask])
}

/// Cast to bfloat16: f32 that a bfloat16 can hold.
pub(super) fn to_bfloat(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let shape = w.shape(x)?;
    let x = w.cast(x, DatumType::F32)?;
    w.kernel(Kernel::new("Cast", tvec![DatumType::F32.fact(shape)], run_to_bfloat), &[x])
}

pub(super) fn run_to_bfloat(_: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let rounded = |x: f32| from_bfloat_bits(bfloat_bits(x));
    let x: Vec<f32> = f32s(&inputs[0])?.into_iter().map(rounded).collect();
    Ok(vec![tensor(DatumType::F32, inputs[0].shape(), &x)?])
}

/// BitShift. Counts below 0 or beyond the width shift everything out.
pub(super) fn bit_shift(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b) = (w.need(0)?, w.need(1)?);
    let dt = w.dt(a)?;
    let right = match w.text("direction", "").as_str() {
        "LEFT" => 0,
        "RIGHT" => 1,
        other => return w.refuse(format!("direction `{other}`; LEFT or RIGHT is expected")),
    };
    if !dt.is_integer() || w.dt(b)? != dt {
        return w.refuse(format!("{dt:?} by {:?}; integers of one type are expected", w.dt(b)?));
    }
    let shape = tract_onnx::tract_core::broadcast::multi_broadcast(&[&w.shape(a)?, &w.shape(b)?])?;
    let (a, b) = (w.broadcast(a, &shape)?, w.broadcast(b, &shape)?);
    let scratch = 24 * shape.iter().product::<usize>();
    let kernel = Kernel::new("BitShift", tvec![dt.fact(shape)], run_bit_shift).ints([right]).scratch(scratch);
    w.kernel(kernel, &[a, b])
}

pub(super) fn run_bit_shift(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let dt = k.outputs[0].datum_type;
    let width = 8 * dt.size_of() as i64;
    let signed = dt.is_signed();
    let wide = dt == DatumType::U64;
    // As i64, a U64 beyond its half would saturate; its bits are carried instead.
    let bits = |t: &TValue| -> TractResult<Vec<i64>> {
        if wide {
            Ok(t.as_bytes().as_chunks().0.iter().map(|b| i64::from_ne_bytes(*b)).collect())
        } else {
            i64s(t)
        }
    };
    let shifted: Vec<i64> = bits(&inputs[0])?
        .into_iter()
        .zip(bits(&inputs[1])?)
        .map(|(a, by)| match (k.int(0) != 0, (0..width).contains(&by)) {
            (true, true) if wide => ((a as u64) >> by) as i64,
            (true, true) => a >> by,
            (true, false) if signed && a < 0 => -1,
            (_, false) => 0,
            (false, true) => {
                let unused = 64 - width;
                let moved = a.wrapping_shl(by as u32).wrapping_shl(unused as u32);
                if signed { moved >> unused } else { ((moved as u64) >> unused) as i64 }
            }
        })
        .collect();
    if wide {
        let bits: Vec<u64> = shifted.into_iter().map(|v| v as u64).collect();
        return Ok(vec![tensor(dt, &k.shape(0)?, &bits)?]);
    }
    Ok(vec![tensor(dt, &k.shape(0)?, &shifted)?])
}

/// BitCast.
pub(super) fn bit_cast(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let to = i32::try_from(w.int("to", 0)).ok().and_then(|to| DataType::try_from(to).ok());
    let Some(dt) = to.and_then(|to| DatumType::try_from(to).ok()).filter(DatumType::is_copy) else {
        return w.refuse(format!("`to` {} is not held", w.int("to", 0)));
    };
    let from = w.dt(x)?;
    let from = if from.is_tdim() { DatumType::I64 } else { from };
    if from.size_of() != dt.size_of() {
        return w.refuse(format!("{from:?} as {dt:?}; types of one width are expected"));
    }
    let x = w.cast(x, from)?;
    let shape = w.shape(x)?;
    w.kernel(Kernel::new("BitCast", tvec![dt.fact(shape)], run_bit_cast), &[x])
}

pub(super) fn run_bit_cast(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let dt = k.outputs[0].datum_type;
    let mut y = Tensor::zero_dt(dt, inputs[0].shape())?;
    y.as_bytes_mut().copy_from_slice(inputs[0].as_bytes());
    if dt == DatumType::Bool {
        y.as_bytes_mut().iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    Ok(vec![y])
}

/// CumProd.
pub(super) fn cum_prod(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, axis) = (w.need(0)?, w.need(1)?);
    let (dt, shape) = (w.dt(x)?, w.shape(x)?);
    if !dt.is_number() {
        return w.refuse(format!("{dt:?}; numbers are expected"));
    }
    let axis = w.integers(axis, "axis")?.first().copied().unwrap_or(0);
    let axis = w.axis(axis, shape.len())?;
    let ints = [axis as i64, w.int("exclusive", 0), w.int("reverse", 0)];
    let scratch = 16 * shape.iter().product::<usize>();
    let kernel = Kernel::new("CumProd", tvec![dt.fact(shape)], run_cum_prod).ints(ints).scratch(scratch);
    w.kernel(kernel, &[x])
}

pub(super) fn run_cum_prod(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (dt, shape) = (k.outputs[0].datum_type, k.shape(0)?);
    if dt.is_float() {
        Ok(vec![tensor(dt, &shape, &products(k, &shape, &f64s(&inputs[0])?, 1.0, |a, b| a * b))?])
    } else {
        Ok(vec![tensor(dt, &shape, &products(k, &shape, &i64s(&inputs[0])?, 1, i64::wrapping_mul))?])
    }
}

fn products<T: Copy>(k: &Kernel, shape: &[usize], x: &[T], one: T, by: impl Fn(T, T) -> T) -> Vec<T> {
    let (axis, exclusive, reverse) = (k.int(0) as usize, k.int(1) != 0, k.int(2) != 0);
    let (step, length) = (strides(shape)[axis], shape[axis]);
    let mut y = vec![one; x.len()];
    for first in (0..x.len()).filter(|at| (at / step).is_multiple_of(length)) {
        let mut product = one;
        for n in 0..length {
            let at = first + step * if reverse { length - 1 - n } else { n };
            if exclusive {
                y[at] = product;
            }
            product = by(product, x[at]);
            if !exclusive {
                y[at] = product;
            }
        }
    }
    y
}

/// Det of the innermost two axes.
pub(super) fn det(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let (dt, shape) = (w.dt(x)?, w.shape(x)?);
    let [outer @ .., rows, columns] = &shape[..] else {
        return w.refuse(format!("{shape:?}; rank 2 or more is expected"));
    };
    if rows != columns || !dt.is_float() {
        return w.refuse(format!("{dt:?} {shape:?}; square matrices of floats are expected"));
    }
    let kernel = Kernel::new("Det", tvec![dt.fact(outer)], run_det).ints([*rows as i64]);
    w.kernel(kernel.scratch(8 * shape.iter().product::<usize>()), &[x])
}

pub(super) fn run_det(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let n = k.int(0) as usize;
    let shape = k.shape(0)?;
    let mut x = f64s(&inputs[0])?;
    let count = shape.iter().product::<usize>();
    let determinants: Vec<f64> =
        (0..count).map(|ix| eliminated(&mut x[ix * n * n..(ix + 1) * n * n], n)).collect();
    Ok(vec![tensor(k.outputs[0].datum_type, &shape, &determinants)?])
}

/// The determinant of a matrix of `n` rows, by elimination with the largest pivots.
fn eliminated(m: &mut [f64], n: usize) -> f64 {
    let mut product = 1.0;
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| m[a * n + column].abs().total_cmp(&m[b * n + column].abs()));
        let Some(pivot) = pivot.filter(|p| m[p * n + column] != 0.0) else { return 0.0 };
        if pivot != column {
            (0..n).for_each(|c| m.swap(pivot * n + c, column * n + c));
            product = -product;
        }
        product *= m[column * n + column];
        for row in column + 1..n {
            let factor = m[row * n + column] / m[column * n + column];
            (column..n).for_each(|c| m[row * n + c] -= factor * m[column * n + c]);
        }
    }
    product
}

/// Softmax, which on f16 rounds after each step, as ONNX's does.
pub(super) fn softmax(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let dt = w.dt(x)?;
    if dt != DatumType::F16 {
        return w.stock(w.node, &w.given());
    }
    let shape = w.shape(x)?;
    let first = w.axis(w.int("axis", if w.opset < 13 { 1 } else { -1 }), shape.len())?;
    let last = if w.opset < 13 { shape.len() } else { first + 1 };
    let axes: TVec<usize> = (first..last).collect();
    let largest = w.op(Reduce::new(axes.clone(), Reducer::Max), &[x])?;
    let y = w.binary(Sub, x, largest)?;
    let y = w.each(exp(), y)?;
    let single = w.cast(y, DatumType::F32)?;
    let sum = w.op(Reduce::new(axes, Reducer::Sum), &[single])?;
    let sum = w.cast(sum, dt)?;
    Ok(tvec![w.binary(Div, y, sum)?])
}

/// LogSoftmax: the largest taken off before it is raised, so that no difference of a row is lost.
pub(super) fn log_softmax(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = w.need(0)?;
    let (dt, shape) = (w.dt(x)?, w.shape(x)?);
    if !dt.is_float() {
        return w.refuse(format!("{dt:?}; floats are expected"));
    }
    let first = w.axis(w.int("axis", if w.opset < 13 { 1 } else { -1 }), shape.len())?;
    let last = if w.opset < 13 { shape.len() } else { first + 1 };
    let axes: TVec<usize> = (first..last).collect();
    let x = single(w, x)?;
    let largest = w.op(Reduce::new(axes.clone(), Reducer::Max), &[x])?;
    let x = w.binary(Sub, x, largest)?;
    let raised = w.each(exp(), x)?;
    let sum = w.op(Reduce::new(axes, Reducer::Sum), &[raised])?;
    let sum = w.each(ln(), sum)?;
    let y = w.binary(Sub, x, sum)?;
    Ok(tvec![w.cast(y, dt)?])
}

/// DFT, in f64: of sums that cancel, f32 leaves no digit.
pub(super) fn dft(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let mut given = w.given();
    let x = w.need(0)?;
    let dt = w.dt(x)?;
    given[0] = w.cast(x, DatumType::F64)?;
    let y = w.stock(w.node, &given)?;
    Ok(tvec![w.cast(y[0], dt)?])
}
