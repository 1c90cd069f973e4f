//! Operators on each byte, on two, and on several: sums, products, functions, concatenation, softmax.
//!
//! A function of a byte is a table of 256. Quotients go to the nearest, ties to the even number, plus the zero point, held to what
//! a byte has; what onnxruntime rounds along the way in another order, it may have one next to it.

use ic_nn_kernels::{Bytes, Two, combine, map_bytes, quantise};
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_hir::internal::*;

use super::super::integer::{is_bytes, zero};
use super::super::kernel::{Kernel, f32s, volume};
use super::super::lowered::Wirer;
use super::super::quant::{run_dequantize, run_quantize};

/// An operand with its scale and zero point.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) x: OutletId,
    pub(super) scale: OutletId,
    pub(super) zero: OutletId,
}

/// Holds a scale and a zero point of the bytes' type to one number.
fn one(w: &Wirer<'_>, scale: OutletId, zero: OutletId, dt: DatumType) -> TractResult<()> {
    let single =
        |outlet: OutletId| -> TractResult<bool> { Ok(w.shape(outlet)?.iter().product::<usize>() == 1) };
    if !single(scale)? || !single(zero)? || !w.dt(scale)?.is_float() || w.dt(zero)? != dt {
        return w.refuse(format!(
            "a scale of {:?} {:?} and a zero point of {:?} {:?}; one of a tensor of {dt:?} each is served",
            w.dt(scale)?,
            w.shape(scale)?,
            w.dt(zero)?,
            w.shape(zero)?
        ));
    }
    Ok(())
}

/// An operand of bytes whose place is `at`, scale and zero point behind it.
pub(super) fn side(w: &mut Wirer<'_>, at: usize) -> TractResult<Side> {
    let (x, scale) = (w.need(at)?, w.need(at + 1)?);
    if !is_bytes(w, x)? {
        return w.refuse(format!("an operand of {:?}; uint8 and int8 are served", w.dt(x)?));
    }
    let given = w.input(at + 2);
    let zero = zero(w, given, x)?;
    one(w, scale, zero, w.dt(x)?)?;
    Ok(Side { x, scale, zero })
}

/// What an output of the type of `x` is quantised by: a scale at place `at`, its zero point behind it.
pub(super) fn output(w: &mut Wirer<'_>, at: usize, x: OutletId) -> TractResult<[OutletId; 2]> {
    let (scale, given) = (w.need(at)?, w.input(at + 1));
    let zero = zero(w, given, x)?;
    one(w, scale, zero, w.dt(x)?)?;
    Ok([scale, zero])
}

/// Bytes made real.
pub(super) fn real(w: &mut Wirer<'_>, side: Side) -> TractResult<OutletId> {
    let shape = w.shape(side.x)?;
    let kernel = Kernel::new("DequantizeLinear", tvec![f32::fact(shape)], run_dequantize).ints([0, 0, 1]);
    let made = w.kernel(kernel, &[side.x, side.scale, side.zero])?;
    Ok(made[0])
}

/// Reals made bytes.
pub(super) fn byte(w: &mut Wirer<'_>, y: OutletId, [scale, zero]: [OutletId; 2]) -> TractResult<OutletId> {
    let (shape, dt) = (w.shape(y)?, w.dt(zero)?);
    let kernel = Kernel::new("QuantizeLinear", tvec![dt.fact(shape)], run_quantize).ints([0, 0, 1]);
    let made = w.kernel(kernel, &[y, scale, zero])?;
    Ok(made[0])
}

/// Bytes of a tensor, whether they are signed, and the one zero point.
fn bytes<'a>(x: &'a Tensor, zero: &Tensor) -> TractResult<Bytes<'a>> {
    ensure!(x.is_plain_ram() && zero.is_plain_ram(), "tensors of plain numbers are expected");
    let signed = x.datum_type() == DatumType::I8;
    Ok(Bytes::new(x.as_bytes(), signed, zero_of(zero)?))
}

fn zero_of(zero: &Tensor) -> TractResult<i16> {
    let byte = zero.as_bytes().first().copied().context("a zero point is expected")?;
    Ok(if zero.datum_type() == DatumType::I8 { i16::from(byte as i8) } else { i16::from(byte) })
}

fn scale_of(scale: &Tensor) -> TractResult<f32> {
    f32s(scale)?.first().copied().context("a scale is expected")
}

/// QLinearAdd.
pub(super) fn add(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    two(w, "QLinearAdd", run_added)
}

/// QLinearMul.
pub(super) fn multiply(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    two(w, "QLinearMul", run_multiplied)
}

fn two(w: &mut Wirer<'_>, name: &'static str, run: super::super::kernel::Run) -> TractResult<TVec<OutletId>> {
    let (a, b) = (side(w, 0)?, side(w, 3)?);
    let [scale, zero] = output(w, 6, a.x)?;
    if w.dt(a.x)? != w.dt(b.x)? {
        return w.refuse(format!("{:?} beside {:?}; one type is served", w.dt(a.x)?, w.dt(b.x)?));
    }
    let (x, y) = (w.shape(a.x)?, w.shape(b.x)?);
    let rank = x.len().max(y.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |ix| shape[ix]);
    let mut shape = tvec!();
    for axis in 0..rank {
        match (at(&x, axis), at(&y, axis)) {
            (a, b) if a == b || b == 1 => shape.push(a),
            (1, b) => shape.push(b),
            _ => return w.refuse(format!("{x:?} and {y:?} do not go together")),
        }
    }
    let scratch = 2 * volume(&shape)?;
    let dt = w.dt(a.x)?;
    let kernel = Kernel::new(name, tvec![dt.fact(shape)], run).scratch(scratch);
    w.kernel(kernel, &[a.x, a.scale, a.zero, b.x, b.scale, b.zero, scale, zero])
}

/// A tensor repeated along its axes of length 1, or the tensor itself.
fn repeated<'a>(x: &'a Tensor, shape: &[usize]) -> TractResult<std::borrow::Cow<'a, Tensor>> {
    if x.len() == shape.iter().product::<usize>() {
        return Ok(std::borrow::Cow::Borrowed(x));
    }
    let missing = shape.len().checked_sub(x.rank()).context("an operand has more axes than the output")?;
    // From the last axis on: what lies behind an axis is one piece, which is repeated where the axis is 1 long.
    let mut bytes = x.as_bytes().to_vec();
    let mut piece = 1;
    for (axis, length) in shape.iter().enumerate().rev() {
        let own = axis.checked_sub(missing).map_or(1, |ix| x.shape()[ix]);
        ensure!(own == *length || own == 1, "an axis of {own} beside {length}");
        if own != *length {
            let mut longer = Vec::with_capacity(bytes.len() * length);
            for piece in bytes.chunks_exact(piece) {
                match piece {
                    [byte] => longer.resize(longer.len() + length, *byte),
                    _ => (0..*length).for_each(|_| longer.extend_from_slice(piece)),
                }
            }
            bytes = longer;
        }
        piece *= length;
    }
    let mut repeated = Tensor::zero_dt(x.datum_type(), shape)?;
    repeated.as_bytes_mut().copy_from_slice(&bytes);
    Ok(std::borrow::Cow::Owned(repeated))
}

fn combined(k: &Kernel, inputs: &[TValue], how: Two) -> TractResult<Vec<Tensor>> {
    ensure!(inputs.len() == 8, "eight operands are expected");
    let shape = k.shape(0)?;
    let (a, b) = (repeated(&inputs[0], &shape)?, repeated(&inputs[3], &shape)?);
    let over = scale_of(&inputs[6])?;
    let (a_scale, b_scale) = (scale_of(&inputs[1])?, scale_of(&inputs[4])?);
    let mut y = Tensor::zero_dt(k.outputs[0].datum_type, &shape)?;
    ensure!(a.len() == y.len() && b.len() == y.len(), "operands of another size");
    let to = [i16::from(k.outputs[0].datum_type == DatumType::I8), zero_of(&inputs[7])?];
    let factors = match how {
        Two::Sum => [a_scale / over, b_scale / over],
        Two::Product => [a_scale * b_scale / over, 1.0],
    };
    combine(how, [bytes(&a, &inputs[2])?, bytes(&b, &inputs[5])?], factors, to, y.as_bytes_mut());
    Ok(vec![y])
}

pub(in super::super) fn run_added(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    combined(k, inputs, Two::Sum)
}

pub(in super::super) fn run_multiplied(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    combined(k, inputs, Two::Product)
}

/// What a table holds of a number: itself, or a function of it.
const ITSELF: i64 = 0;
const LEAKY_RELU: i64 = 1;
const SIGMOID: i64 = 2;

/// A function of each byte, wired.
fn mapped(w: &mut Wirer<'_>, x: Side, to: [OutletId; 2], function: i64, alpha: f64) -> TractResult<OutletId> {
    let (shape, dt) = (w.shape(x.x)?, w.dt(x.x)?);
    let kernel = Kernel::new("table", tvec![dt.fact(shape)], run_mapped).ints([function]).reals([alpha]);
    let made = w.kernel(kernel, &[x.x, x.scale, x.zero, to[0], to[1]])?;
    Ok(made[0])
}

pub(in super::super) fn run_mapped(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    ensure!(inputs.len() == 5, "five operands are expected");
    let (scale, zero) = (scale_of(&inputs[1])?, zero_of(&inputs[2])?);
    let signed = inputs[0].datum_type() == DatumType::I8;
    let alpha = k.real(0) as f32;
    let function = |byte: u8| {
        let number = if signed { i16::from(byte as i8) } else { i16::from(byte) };
        let x = f32::from(number - zero) * scale;
        match k.int(0) {
            LEAKY_RELU if x < 0.0 => x * alpha,
            SIGMOID if x < 0.0 => 1.0 - 1.0 / (1.0 + x.exp()),
            SIGMOID => 1.0 / (1.0 + (-x).exp()),
            _ => x,
        }
    };
    let reals: Vec<f32> = (0..=255).map(function).collect();
    let mut table = [0u8; 256];
    let to_signed = i16::from(k.outputs[0].datum_type == DatumType::I8);
    quantise(&reals, scale_of(&inputs[3])?, [to_signed, zero_of(&inputs[4])?], &mut table);
    let mut y = Tensor::zero_dt(k.outputs[0].datum_type, inputs[0].shape())?;
    ensure!(inputs[0].is_plain_ram() && inputs[0].datum_type().size_of() == 1, "bytes are expected");
    map_bytes(inputs[0].as_bytes(), &table, y.as_bytes_mut());
    Ok(vec![y])
}

/// QLinearLeakyRelu.
pub(super) fn leaky_relu(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = side(w, 0)?;
    let to = output(w, 3, x.x)?;
    let alpha = w.real("alpha", 0.01);
    Ok(tvec![mapped(w, x, to, LEAKY_RELU, f64::from(alpha))?])
}

/// QLinearSigmoid.
pub(super) fn sigmoid(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = side(w, 0)?;
    let to = output(w, 3, x.x)?;
    Ok(tvec![mapped(w, x, to, SIGMOID, 0.0)?])
}

/// QLinearConcat: what is quantised as the output is, goes in as it is.
pub(super) fn concat(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let count = w.node.input.len();
    if count < 5 || !(count - 2).is_multiple_of(3) {
        return w.refuse(format!("{count} inputs; two of the output and three a part are expected"));
    }
    let first = w.need(2)?;
    let to = output(w, 0, first)?;
    let (mut parts, mut shapes) = (tvec!(), vec![]);
    for at in (2..count).step_by(3) {
        let part = side(w, at)?;
        if w.dt(part.x)? != w.dt(to[1])? {
            return w.refuse(format!("{:?} beside {:?}; one type is served", w.dt(part.x)?, w.dt(to[1])?));
        }
        shapes.push(w.shape(part.x)?);
        let known = |a: OutletId, b: OutletId| -> TractResult<bool> {
            let (a, b) = (w.fact(a)?.konst, w.fact(b)?.konst);
            Ok(a.zip(b)
                .is_some_and(|(a, b)| a.is_plain_ram() && b.is_plain_ram() && a.as_bytes() == b.as_bytes()))
        };
        let same = known(part.scale, to[0])? && known(part.zero, to[1])?;
        parts.push(if same { part.x } else { mapped(w, part, to, ITSELF, 0.0)? });
    }
    let axis = w.axis(w.int("axis", 0), shapes[0].len())?;
    let differ = |shape: &TVec<usize>| {
        shape.len() != shapes[0].len()
            || shape.iter().zip(&shapes[0]).enumerate().any(|(ix, (a, b))| ix != axis && a != b)
    };
    if shapes.iter().any(differ) {
        return w.refuse(format!("parts of {shapes:?} along axis {axis}"));
    }
    w.all(TypedConcat { axis }, &parts)
}

/// QLinearSoftmax: along an axis, or, by the operator sets before 13, over all axes from one on.
pub(super) fn softmax(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = side(w, 0)?;
    let to = output(w, 3, x.x)?;
    let rank = w.shape(x.x)?.len();
    let axis = w.axis(w.int("axis", -1), rank)?;
    let last = if w.int("opset", 13) < 13 { rank } else { axis + 1 };
    let y = real(w, x)?;
    let y = w.op(Softmax::new((axis..last).collect(), None, SoftmaxKind::Softmax), &[y])?;
    Ok(tvec![byte(w, y, to)?])
}
