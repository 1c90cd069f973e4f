//! Operators in an image: a number for each, then its fields.
//!
//! These are what tract leaves of graphs whose convolutions and products are lowered. A graph with another one has no image.

use ic_nn_kernels::image::{Broken, Imaged, Reader, Writer};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Gather, MultiBroadcastTo, Pad, PadMode, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Deconv, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::logic::{
    And, CompEq, CompGT, CompGTE, CompLT, CompLTE, CompNE, Iff, Not, Or, Xor,
};
use tract_onnx::tract_core::ops::lstm_cell::LstmEpilogue;
use tract_onnx::tract_core::ops::math::{
    Abs, Add, Ceil, Cos, Div, Erf, Exp, Floor, Ln, Max, Min, Mul, Neg, Pow, PowConst, Recip, Rem, Round,
    RoundHalfToEven, Rsqrt, Sign, Sin, Sqrt, Square, Sub, SubF, Tanh,
};
use tract_onnx::tract_core::ops::nn::gelu_exact::GeluExact;
use tract_onnx::tract_core::ops::nn::{
    DataFormat, HardSwish, LeakyRelu, Reduce, Reducer, RmsNorm, Sigmoid, Silu, Softmax, SoftmaxKind,
};
use tract_onnx::tract_core::ops::scan::Scan;
use tract_onnx::tract_core::ops::source::TypedSource;

use super::graph::{read_type, write_type};
use super::inner;
use crate::blockwise::Blockwise;
use crate::exact::Exact;
use crate::lower::Lowered;
use crate::ops::{Kernel, kernels, tables};

/// Operators of one or two operands that have no fields, by their place in an image.
macro_rules! minis {
    ($write:ident, $read:ident, $of:ident: $($number:literal $op:ident),* $(,)?) => {
        fn $write(op: &dyn $of) -> Option<u64> {
            $(if op.is::<$op>() {
                return Some($number);
            })*
            None
        }

        fn $read(number: u64) -> Result<Box<dyn $of>, Broken> {
            Ok(match number {
                $($number => Box::new($op {}),)*
                _ => return Err(Broken("an operator on elements that is not known")),
            })
        }
    };
}

minis!(write_binary, read_binary, BinMiniOp:
    0 Add, 1 Sub, 2 SubF, 3 Mul, 4 Div, 5 Rem, 6 Min, 7 Max, 8 Pow, 9 And, 10 Or, 11 Xor, 12 CompEq, 13 CompNE,
    14 CompLT, 15 CompGT, 16 CompLTE, 17 CompGTE);
minis!(write_unary, read_unary, ElementWiseMiniOp:
    0 Abs, 1 Exp, 2 Ln, 3 Square, 4 Sqrt, 5 Recip, 6 Rsqrt, 7 Ceil, 8 Floor, 9 Round, 10 RoundHalfToEven, 11 Cos, 12 Sin,
    13 Tanh, 14 Erf, 15 Neg, 16 Sign, 17 Sigmoid, 18 HardSwish, 19 Silu, 20 GeluExact, 21 Not);

/// A type that may be left open.
fn write_option(dt: Option<DatumType>, to: &mut Writer<'_>) -> Option<()> {
    to.flag(dt.is_some());
    dt.map_or(Some(()), |dt| write_type(dt, to))
}

fn read_option(from: &mut Reader<'_>) -> Result<Option<DatumType>, Broken> {
    if from.flag()? { read_type(from).map(Some) } else { Ok(None) }
}

/// A constant: its shape and type are those of its output.
fn write_tensor<'a>(tensor: &'a Tensor, to: &mut Writer<'a>) -> Option<()> {
    if !tensor.is_plain_ram() || !tensor.datum_type().is_copy() {
        return None;
    }
    write_type(tensor.datum_type(), to)?;
    to.sizes(tensor.shape());
    to.bytes(tensor.as_bytes());
    Some(())
}

#[allow(unsafe_code, reason = "zeros would cost an instruction a byte")]
fn read_tensor(from: &mut Reader<'_>) -> Result<Tensor, Broken> {
    let (dt, shape) = (read_type(from)?, from.sizes()?);
    let bytes = shape.iter().try_fold(dt.size_of(), |all, length| all.checked_mul(*length));
    // Before anything of that size is allocated.
    if !dt.is_copy() || bytes != Some(from.announced()?) {
        return Err(Broken("an array has another length than its tensor"));
    }
    // SAFETY: every byte is written below, or the tensor is dropped; any bits are a number of these types, and truth values are
    // held to theirs before anyone reads them as such.
    let mut tensor =
        unsafe { Tensor::uninitialized_dt(dt, &shape) }.map_err(|_| Broken("a constant is no tensor"))?;
    let room = tensor.as_bytes_mut();
    // SAFETY: the same bytes, which are only written through this.
    from.fill(unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len()) })?;
    if dt == DatumType::Bool && room.iter().any(|byte| *byte > 1) {
        return Err(Broken("a truth value is neither 0 nor 1"));
    }
    Ok(tensor)
}

fn write_dims(dims: &[TDim], to: &mut Writer<'_>) -> Option<()> {
    to.size(dims.len());
    for dim in dims {
        to.size(dim.to_usize().ok()?);
    }
    Some(())
}

fn read_dims(from: &mut Reader<'_>) -> Result<TVec<TDim>, Broken> {
    let dim = |size: usize| i64::try_from(size).map(TDim::Val).map_err(|_| Broken("a length is too large"));
    from.sizes()?.into_iter().map(dim).collect()
}

pub(super) fn write_pool(spec: &PoolSpec, to: &mut Writer<'_>) -> Option<()> {
    to.number(match spec.data_format {
        DataFormat::NCHW => 0,
        DataFormat::NHWC => 1,
        DataFormat::CHW => 2,
        DataFormat::HWC => 3,
    });
    to.sizes(&spec.kernel_shape);
    let (kind, before, after): (u64, &[usize], &[usize]) = match &spec.padding {
        PaddingSpec::Valid => (0, &[], &[]),
        PaddingSpec::SameUpper => (1, &[], &[]),
        PaddingSpec::SameLower => (2, &[], &[]),
        PaddingSpec::Explicit(before, after) => (3, before, after),
        PaddingSpec::ExplicitOnnxPool(before, after, ceil) => (4 + u64::from(*ceil), before, after),
    };
    to.number(kind);
    to.sizes(before);
    to.sizes(after);
    for sizes in [&spec.dilations, &spec.strides] {
        to.flag(sizes.is_some());
        to.sizes(sizes.as_deref().unwrap_or_default());
    }
    to.size(spec.input_channels);
    to.size(spec.output_channels);
    Some(())
}

pub(super) fn read_pool(from: &mut Reader<'_>) -> Result<PoolSpec, Broken> {
    let data_format = match from.number()? {
        0 => DataFormat::NCHW,
        1 => DataFormat::NHWC,
        2 => DataFormat::CHW,
        3 => DataFormat::HWC,
        _ => return Err(Broken("a layout of images that is not known")),
    };
    let kernel_shape: TVec<usize> = from.sizes()?.into();
    let kind = from.number()?;
    let (before, after): (TVec<usize>, TVec<usize>) = (from.sizes()?.into(), from.sizes()?.into());
    let rank = kernel_shape.len();
    if kind >= 3 && (before.len() != rank || after.len() != rank) {
        return Err(Broken("pads have another rank than their windows"));
    }
    let padding = match kind {
        0 => PaddingSpec::Valid,
        1 => PaddingSpec::SameUpper,
        2 => PaddingSpec::SameLower,
        3 => PaddingSpec::Explicit(before, after),
        4 | 5 => PaddingSpec::ExplicitOnnxPool(before, after, kind == 5),
        _ => return Err(Broken("a padding that is not known")),
    };
    let mut optional = || -> Result<Option<TVec<usize>>, Broken> {
        let (there, sizes) = (from.flag()?, from.sizes()?);
        match (there, sizes.len() == rank && !sizes.contains(&0)) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(sizes.into())),
            (true, false) => Err(Broken("strides have another rank than their windows")),
        }
    };
    let (dilations, strides) = (optional()?, optional()?);
    let (input_channels, output_channels) = (from.size()?, from.size()?);
    Ok(PoolSpec { data_format, kernel_shape, padding, dilations, strides, input_channels, output_channels })
}

fn reducer_number(reducer: &Reducer) -> u64 {
    match reducer {
        Reducer::ArgMax(last) => u64::from(*last),
        Reducer::ArgMin(last) => 2 + u64::from(*last),
        Reducer::Max => 4,
        Reducer::Min => 5,
        Reducer::Prod => 6,
        Reducer::Sum => 7,
        Reducer::MeanOfSquares => 8,
        Reducer::All => 9,
        Reducer::Any => 10,
    }
}

fn read_reducer(from: &mut Reader<'_>) -> Result<Reducer, Broken> {
    Ok(match from.number()? {
        number @ 0..=1 => Reducer::ArgMax(number == 1),
        number @ 2..=3 => Reducer::ArgMin(number == 3),
        4 => Reducer::Max,
        5 => Reducer::Min,
        6 => Reducer::Prod,
        7 => Reducer::Sum,
        8 => Reducer::MeanOfSquares,
        9 => Reducer::All,
        10 => Reducer::Any,
        _ => return Err(Broken("a reduction that is not known")),
    })
}

/// Writes an operator; none where it has no number. One of the `inner` graph of a node has no graph itself.
pub(super) fn write<'a>(op: &'a dyn TypedOp, to: &mut Writer<'a>, inner: bool) -> Option<()> {
    if op.is::<TypedSource>() {
        to.number(0);
    } else if let Some(op) = op.downcast_ref::<Const>() {
        to.number(1);
        write_tensor(op.val(), to)?;
    } else if let Some(op) = op.downcast_ref::<Lowered>() {
        to.number(2);
        op.write(to);
    } else if let Some(op) = op.downcast_ref::<TypedBinOp>() {
        to.number(3);
        to.number(write_binary(op.0.as_ref())?);
        write_option(op.1, to)?;
    } else if let Some(op) = op.downcast_ref::<ElementWiseOp>() {
        if let Some(LeakyRelu { alpha }) = op.0.downcast_ref::<LeakyRelu>() {
            to.number(5);
            to.float(*alpha);
        } else if let Some(PowConst { exponent }) = op.0.downcast_ref::<PowConst>() {
            to.number(22);
            to.float(*exponent);
        } else {
            to.number(4);
            to.number(write_unary(op.0.as_ref())?);
        }
        write_option(op.1, to)?;
    } else if let Some(op) = op.downcast_ref::<EinSum>() {
        if op.q_params.is_some() {
            return None;
        }
        to.number(6);
        to.text(&op.axes.to_string());
        write_type(op.operating_dt, to)?;
    } else if let Some(op) = op.downcast_ref::<AxisOp>() {
        match op {
            AxisOp::Add(axis) => {
                to.number(7);
                to.size(*axis);
            }
            AxisOp::Rm(axis) => {
                to.number(8);
                to.size(*axis);
            }
            AxisOp::Move(axis, place) => {
                to.number(9);
                to.sizes(&[*axis, *place]);
            }
            AxisOp::Reshape(axis, before, after) => {
                to.number(10);
                to.size(*axis);
                write_dims(before, to)?;
                write_dims(after, to)?;
            }
        }
    } else if let Some(op) = op.downcast_ref::<Reduce>() {
        to.number(11);
        to.sizes(&op.axes);
        to.number(reducer_number(&op.reducer));
    } else if let Some(op) = op.downcast_ref::<Softmax>() {
        to.number(12);
        to.sizes(&op.axes);
        to.flag(op.kind == SoftmaxKind::LogSoftmax);
        if op.quant_output_dt.is_some() {
            return None;
        }
    } else if let Some(op) = op.downcast_ref::<Cast>() {
        to.number(13);
        write_type(op.to, to)?;
    } else if let Some(op) = op.downcast_ref::<Gather>() {
        to.number(14);
        to.size(op.axis);
        write_option(op.output_type, to)?;
    } else if let Some(op) = op.downcast_ref::<Slice>() {
        to.number(15);
        to.size(op.axis);
        to.size(op.start.to_usize().ok()?);
        to.size(op.end.to_usize().ok()?);
    } else if let Some(op) = op.downcast_ref::<TypedConcat>() {
        to.number(16);
        to.size(op.axis);
    } else if let Some(op) = op.downcast_ref::<RmsNorm>() {
        to.number(17);
        to.size(op.axis);
        write_tensor(&op.eps, to)?;
    } else if let Some(op) = op.downcast_ref::<MultiBroadcastTo>() {
        to.number(18);
        write_dims(&op.shape, to)?;
    } else if let Some(op) = op.downcast_ref::<Pad>() {
        let PadMode::Constant(value) = &op.mode else { return None };
        to.number(19);
        to.size(op.pads.len());
        op.pads.iter().for_each(|(before, after)| to.sizes(&[*before, *after]));
        write_tensor(value, to)?;
    } else if let Some(op) = op.downcast_ref::<SumPool>() {
        to.number(20);
        write_pool(&op.pool_spec, to)?;
        to.flag(op.count_include_pad);
        to.flag(op.normalize);
    } else if op.is::<Iff>() {
        to.number(21);
    } else if let Some(op) = op.downcast_ref::<Kernel>() {
        if !kernels::is_named(op) {
            return None;
        }
        to.number(23);
        to.text(op.name);
        to.size(op.ints.len());
        op.ints.iter().for_each(|int| to.number(*int as u64));
        to.size(op.reals.len());
        op.reals.iter().for_each(|real| to.number(real.to_bits()));
        to.number(op.scratch);
    } else if let Some(op) = op.downcast_ref::<Exact>() {
        to.number(24);
        op.write(to)?;
    } else if let Some(op) = op.downcast_ref::<Blockwise>() {
        to.number(25);
        op.write(to)?;
    } else if let Some(op) = op.downcast_ref::<Deconv>() {
        to.number(27);
        inner::write_deconv(op, to)?;
    } else if let Some(op) = op.downcast_ref::<Scan>().filter(|_| !inner) {
        to.number(28);
        inner::write_scan(op, to)?;
    } else if let Some(op) = op.downcast_ref::<LstmEpilogue>() {
        to.number(29);
        to.size(op.hidden);
    } else {
        to.number(26);
        tables::write(op, to)?;
    }
    Some(())
}

/// Reads an operator whose outputs have these facts, and the facts that it then has.
pub(super) fn read(
    from: &mut Reader<'_>,
    mut facts: TVec<TypedFact>,
    inner: bool,
) -> Result<(Box<dyn TypedOp>, TVec<TypedFact>), Broken> {
    let broken = |_: TractError| Broken("an operator cannot be made");
    let op: Box<dyn TypedOp> = match from.number()? {
        0 => Box::new(TypedSource { fact: facts.first().cloned().ok_or(Broken("an input without a type"))? }),
        1 => {
            let op = Const::new(read_tensor(from)?.into_arc_tensor()).map_err(broken)?;
            facts = op.output_facts(&[]).map_err(broken)?;
            Box::new(op)
        }
        2 => {
            let op = Lowered::read(from)?;
            if facts.len() != 1 || facts[0] != f32::fact(&op.output) {
                return Err(Broken("a kernel has another output than its node"));
            }
            Box::new(op)
        }
        3 => Box::new(TypedBinOp(read_binary(from.number()?)?, read_option(from)?)),
        4 => Box::new(ElementWiseOp(read_unary(from.number()?)?, read_option(from)?)),
        5 => Box::new(ElementWiseOp(Box::new(LeakyRelu { alpha: from.float()? }), read_option(from)?)),
        6 => {
            let axes = from.text()?.parse().map_err(broken)?;
            Box::new(EinSum::new(axes, read_type(from)?))
        }
        7 => Box::new(AxisOp::Add(from.size()?)),
        8 => Box::new(AxisOp::Rm(from.size()?)),
        9 => match from.sizes()?[..] {
            [axis, place] => Box::new(AxisOp::Move(axis, place)),
            _ => return Err(Broken("an axis moves to one place")),
        },
        10 => Box::new(AxisOp::Reshape(from.size()?, read_dims(from)?, read_dims(from)?)),
        11 => Box::new(Reduce { axes: from.sizes()?.into(), reducer: read_reducer(from)? }),
        12 => {
            let axes = from.sizes()?.into();
            let kind = if from.flag()? { SoftmaxKind::LogSoftmax } else { SoftmaxKind::Softmax };
            Box::new(Softmax { axes, quant_output_dt: None, kind })
        }
        13 => Box::new(Cast { to: read_type(from)? }),
        14 => Box::new(Gather { axis: from.size()?, output_type: read_option(from)? }),
        15 => Box::new(Slice::new(from.size()?, from.size()?, from.size()?)),
        16 => Box::new(TypedConcat { axis: from.size()? }),
        17 => Box::new(RmsNorm { axis: from.size()?, eps: read_tensor(from)?.into_arc_tensor() }),
        18 => Box::new(MultiBroadcastTo { shape: ShapeFact::from_dims(read_dims(from)?) }),
        19 => {
            let pads = (0..from.count()?).map(|_| match from.sizes()?[..] {
                [before, after] => Ok((before, after)),
                _ => Err(Broken("a pad is before and after")),
            });
            let pads = pads.collect::<Result<_, Broken>>()?;
            Box::new(Pad { pads, mode: PadMode::Constant(read_tensor(from)?.into_arc_tensor()) })
        }
        20 => Box::new(SumPool {
            pool_spec: read_pool(from)?,
            count_include_pad: from.flag()?,
            normalize: from.flag()?,
        }),
        21 => Box::new(Iff),
        22 => Box::new(ElementWiseOp(Box::new(PowConst { exponent: from.float()? }), read_option(from)?)),
        23 => {
            let (name, run) = kernels::named(from.text()?).ok_or(Broken("a kernel that is not known"))?;
            let ints =
                (0..from.count()?).map(|_| Ok(from.number()? as i64)).collect::<Result<Vec<_>, Broken>>()?;
            let reals = (0..from.count()?).map(|_| from.number().map(f64::from_bits));
            let reals = reals.collect::<Result<Vec<_>, _>>()?;
            Box::new(Kernel { name, ints, reals, outputs: facts.clone(), scratch: from.number()?, run })
        }
        24 => Box::new(Exact::read(from)?),
        25 => {
            let op = Blockwise::read(from)?;
            if facts.len() != 1 || facts[0] != f32::fact(&op.output) {
                return Err(Broken("a product has another output than its node"));
            }
            Box::new(op)
        }
        26 => tables::read(from)?,
        27 => Box::new(inner::read_deconv(from)?),
        29 => Box::new(LstmEpilogue { hidden: from.size()? }),
        28 if !inner => Box::new(inner::read_scan(from)?),
        _ => return Err(Broken("an operator that is not known")),
    };
    Ok((op, facts))
}

/// Holds a node that was read to what its operator makes of its inputs.
pub(super) fn check(model: &TypedModel, node: &TypedNode) -> Result<(), Broken> {
    let broken = |_: TractError| Broken("an operator does not go with its inputs");
    if node.op_is::<Lowered>() || node.op_is::<Const>() || node.op_is::<TypedSource>() {
        let inputs = node.op_as::<Lowered>().map_or(0, Lowered::inputs);
        return if node.inputs.len() == inputs { Ok(()) } else { Err(Broken("a node has other inputs")) };
    }
    let inputs = model.node_input_facts(node.id).map_err(broken)?;
    let holds = if let Some(exact) = node.op_as::<Exact>() {
        exact.holds(&inputs)
    } else if let Some(blockwise) = node.op_as::<Blockwise>() {
        inputs.len() == blockwise.inputs()
    } else if let Some(deconv) = node.op_as::<Deconv>() {
        inner::holds_deconv(deconv, &inputs)
    } else if let Some(op) = node.op_as::<LstmEpilogue>() {
        inner::holds_gates(op.hidden, &inputs)
    } else if let Some(scan) = node.op_as::<Scan>() {
        inner::holds_scan(scan, &inputs)
    } else {
        !tables::is(node.op.as_ref()) || inputs.len() == 1
    };
    if !holds {
        return Err(Broken("a node has other inputs"));
    }
    let facts = node.op.output_facts(&inputs).map_err(broken)?;
    let same = |(made, read): (&TypedFact, &Outlet<TypedFact>)| {
        made.datum_type == read.fact.datum_type && made.shape == read.fact.shape
    };
    if facts.len() == node.outputs.len() && facts.iter().zip(&node.outputs).all(same) {
        Ok(())
    } else {
        Err(Broken("an operator gives something else than its node says"))
    }
}
