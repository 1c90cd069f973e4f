//! What tract's own operators, and computations of ours that are no kernels, take by shape.
//!
//! Rates are instructions an element, a row (the innermost axis) or a multiply-accumulate, fitted to nodes of one operator each
//! that the canister was metered on (`docs/prices.md`). Operators go by their names, as profiles have them.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::Cost;
use tract_onnx::tract_core::ops::binary::OptBinChain;
use tract_onnx::tract_core::ops::cnn::{OptSumPool, SumPool};
use tract_onnx::tract_core::ops::matmul::optimized::OptMatMul;
use tract_onnx::tract_core::ops::nn::Softmax;

use super::{dimensions, elements};

/// An element of what no formula is fitted to, read or written; a multiply-accumulate there.
const GENERAL_ELEMENT: u64 = 60;
const GENERAL_MAC: u64 = 12;

/// A byte of an operand that is repeated along axes.
const REPEATED_BYTE: u64 = 4;

/// Operators with a graph of their own that runs some times.
const BODIES: [&str; 6] = ["Scan", "IfThenElse", "SubmodelOp", "Loop", "If", "SequenceMap"];

/// Whether a node runs a graph of its own, which is not priced.
pub(super) fn has_body(node: &TypedNode) -> bool {
    BODIES.contains(&node.op.name().as_ref())
}

/// What a node of a kind without a formula is taken to be charged.
pub(super) fn general(model: &TypedModel, node: &TypedNode) -> u64 {
    let read: u64 = node.inputs.iter().map(|input| elements(model, *input)).sum();
    (read + written(model, node)) * GENERAL_ELEMENT + macs(model, node) * GENERAL_MAC
}

/// Elements of all outputs.
fn written(model: &TypedModel, node: &TypedNode) -> u64 {
    (0..node.outputs.len()).map(|slot| elements(model, OutletId::new(node.id, slot))).sum()
}

/// Multiply-accumulates, as tract counts them.
fn macs(model: &TypedModel, node: &TypedNode) -> u64 {
    let Ok((inputs, _)) = model.node_facts(node.id) else { return 0 };
    let costs = node.op.cost(&inputs).unwrap_or_default();
    let fma = costs.iter().filter(|(cost, _)| matches!(cost, Cost::FMA(_)));
    fma.map(|(_, count)| count.to_i64().map_or(0, |n| n.max(0) as u64)).fold(0, u64::saturating_add)
}

/// Length of the innermost axis, and how many rows of it there are.
fn rows(shape: &[u64]) -> (u64, u64) {
    let row = shape.last().copied().unwrap_or(1);
    (row, shape.iter().product::<u64>() / row.max(1))
}

/// What a node takes beside [`super::NODE`]; none where its kind has no formula.
pub(super) fn instructions(model: &TypedModel, node: &TypedNode) -> Option<u64> {
    let output = &node.outputs.first()?.fact;
    let shape = dimensions(output);
    let out: u64 = shape.iter().product();
    let input = node.inputs.first().and_then(|outlet| model.outlet_fact(*outlet).ok());
    let input_shape = input.map(dimensions).unwrap_or_default();
    let size = output.datum_type.size_of() as u64;
    let name = node.op.name();
    if let Some(op) = node.op_as::<OptBinChain>() {
        let steps = op.steps.iter().enumerate().map(|(ix, step)| {
            let other = node.inputs.get(ix + 1).map_or(1, |outlet| elements(model, *outlet));
            chained(step.binop.name(), out, other)
        });
        return Some(2_000 + steps.sum::<u64>());
    }
    if let Some(rate) = element_wise(&name) {
        return Some(500 + out * rate);
    }
    if let Some(binary) = two_operands(model, node, &name, &shape) {
        return Some(binary);
    }
    Some(match name.as_ref() {
        "IntoShape" | "AddAxis" | "RmAxis" | "Reshape" | "Identity" => 300,
        "Cast" => {
            let from = input.map(|fact| fact.datum_type);
            let rate = match (from, output.datum_type) {
                (Some(DatumType::F32), DatumType::F16) => 74,
                (Some(DatumType::F32 | DatumType::F64), to) if to.is_signed() || to.is_unsigned() => 105,
                (Some(DatumType::Bool), _) => 50,
                _ => 22,
            };
            1_500 + out * rate
        }
        // Blocks of what stays together are copied; single elements where nothing does.
        "MoveAxis" => 500 + moved(&input_shape, &shape, out),
        "Slice" | "Concat" => {
            let (_, rows) = rows(&shape);
            let whole = input_shape.last() == shape.last();
            4_000 + out * size + if whole { 0 } else { rows * 110 }
        }
        "MultiBroadcastTo" => 1_000 + out * 12,
        "Tile" => 1_000 + out * (6 + 3 * size),
        "Pad" => 8_000 + out * 36,
        "Downsample" => 3_000 + out * 13,
        "Trilu" => 1_000 + out * 800,
        "NearestUpsample" => 5_000 + out * 11,
        "Resize" => 10_000 + out * 860,
        "Gather" => {
            let indices = node.inputs.get(1).map_or(1, |outlet| elements(model, *outlet)).max(1);
            let along = out / indices;
            match input_shape.first() {
                // Whole rows of what is looked up, or elements one by one.
                _ if indices * along == out && shape.last() == input_shape.last() => {
                    8_000 + indices * 400 + out * size
                }
                _ => 8_000 + out * 50,
            }
        }
        "GatherElements" | "GatherNd" | "ScatterNd" | "ScatterElements" => 8_000 + out * 200,
        "LstmEpilogue" => 3_000 + out * 635,
        "GridSample" => 5_000 + out * 20_300,
        "Lrn" => 3_000 + out * 4_100,
        "Topk" => 2_000 + input_shape.iter().product::<u64>() * 890,
        "OneHot" | "Onehot" => 2_000 + out * 335,
        "CumSum" => 3_000 + out * if input_shape.last() == Some(&1) { 310 } else { 100 },
        "Reduce<Sum>" => reduced_sum(&input_shape, &shape),
        "Reduce<MeanOfSquares>" => {
            reduced_sum(&input_shape, &shape) + 8 * input_shape.iter().product::<u64>()
        }
        "extreme" => 1_000 + input_shape.iter().product::<u64>() * 300 + out * 90,
        // Each output is a view of its own.
        reduce if reduce.starts_with("Reduce<") => {
            let read: u64 = input_shape.iter().product();
            3_000 + out * 5_500 + read * if read == out { 0 } else { 30 }
        }
        "Softmax" | "LogSoftmax" => {
            let (_, rows) = rows(&shape);
            // Along the innermost axis, or a view for each output.
            let along = input_shape.last() == Some(&1) || !softmax_is_innermost(node, shape.len());
            if along { 3_000 + out * 3_000 } else { 3_000 + rows * 250 + out * 36 }
        }
        "RmsNorm" | "ScaledRmsNorm" => {
            let (_, rows) = rows(&shape);
            3_000 + rows * 1_750 + out * 28
        }
        "OptSumPool" | "SumPool" => 3_000 + out * (220 + 18 * window(node)),
        "OptMaxPool" | "MaxPool" => 3_000 + out * 500,
        // Rows begin and end where windows reach beyond the image.
        "DepthWiseConv" => {
            let macs = macs(model, node);
            3_000 + macs * 8 + rows(&shape).1 * (macs / out.max(1)) * 280
        }
        // Outputs that each get one product, or are added to, by axes.
        "DeconvSum" => {
            let products = input_shape.iter().product::<u64>();
            let rate = match shape.len() {
                _ if products == out => 48,
                3 => 317,
                4 => 97,
                _ => 520,
            };
            20_000 + products * rate
        }
        "DepthwiseDeconv" => {
            let image = node.inputs.get(1).map_or(1, |outlet| elements(model, *outlet));
            20_000 + image * input_shape.iter().skip(1).product::<u64>() * 45
        }
        "LazyIm2col" | "Im2col" => 5_000 + out * 10,
        "OptMatMulPack" | "OptSimpleMatMulPack" => {
            let rate = if input.is_some_and(|fact| fact.datum_type == DatumType::F32) { 4 } else { 22 };
            12_000 + input_shape.iter().product::<u64>() * rate
        }
        "OptMatMul" => {
            let rate = if output.datum_type == DatumType::F32 { 5 } else { 42 };
            // Tiles of eight rows, whether or not they are full.
            let rows = node.op_as::<OptMatMul>().and_then(|op| op.c_m_axis).and_then(|axis| shape.get(axis));
            let rows = rows.copied().unwrap_or(1).max(1);
            let wasted = if rows < 4 { 12 / rows } else { rows.next_multiple_of(8) / rows };
            20_000 + out * 30 + macs(model, node) * rate * wasted.max(1)
        }
        "QuantizeLinear" if size == 1 => 8_500 + out * 10,
        "DequantizeLinear" if input.is_some_and(|fact| fact.datum_type.size_of() == 1) => 6_500 + out * 5,
        "DynamicQuantizeLinear" => 8_000 + out * 13,
        "QLinearAdd" | "QLinearMul" => {
            let repeated = |ix: usize| {
                let other = node.inputs.get(ix).map_or(out, |outlet| elements(model, *outlet));
                if other == out { 0 } else { out * REPEATED_BYTE }
            };
            9_000 + out * 12 + repeated(0) + repeated(3)
        }
        "table" => 90_000 + out * 8,
        "QLinearGlobalAveragePool" => 6_000 + out * 30 + input_shape.iter().product::<u64>() * 51 / 10,
        "QuantizeLinear" => 2_000 + out * 90,
        "DequantizeLinear" | "DequantizeLinearF32" => 2_000 + out * 45,
        _ => return None,
    })
}

/// Instructions an element of what maps elements.
fn element_wise(name: &str) -> Option<u64> {
    Some(match name {
        "Sigmoid" => 109,
        "Tanh" => 106,
        "Exp" => 56,
        "Ln" => 73,
        "Sqrt" | "Erf" | "Recip" | "Square" | "Rsqrt" => 23,
        "Neg" | "Abs" | "Floor" | "Ceil" => 20,
        "Not" => 10,
        "HardSwish" => 45,
        "Sin" | "Cos" => 107,
        "Tan" => 150,
        "Round" | "RoundHalfToEven" => 55,
        "Sign" => 37,
        "LeakyRelu" => 30,
        "GeluExact" => 81,
        "GeluApproximate" => 140,
        "Silu" => 115,
        "PowConst" => 594,
        "Acos" | "Asin" | "Atan" | "Cosh" | "Sinh" | "Acosh" | "Asinh" | "Atanh" => 180,
        "IsNan" | "IsInf" => 30,
        _ => return None,
    })
}

/// Instructions an element of two operands of one shape that lie alike, computed by vectors.
fn by_vectors(name: &str) -> u64 {
    match name {
        "Max" | "Min" => 46,
        _ => 27,
    }
}

/// The same where the second is one number.
fn by_number(name: &str) -> u64 {
    match name {
        "Max" | "Min" => 8,
        _ => 22,
    }
}

/// A step of a chain on `out` elements with an operand of `other`: a little less than the same by itself.
fn chained(name: &str, out: u64, other: u64) -> u64 {
    match other {
        0 | 1 => out * by_number(name) * 7 / 8,
        other if other >= out => out * by_vectors(name),
        other => out * (by_vectors(name) - 1) + out / other * 670,
    }
}

/// What a node of two operands takes, by how one is repeated along the other; none where it is no such node.
fn two_operands(model: &TypedModel, node: &TypedNode, name: &str, shape: &[u64]) -> Option<u64> {
    let [a, b] = *node.inputs else {
        return (name == "Iff").then(|| 2_000 + shape.iter().product::<u64>() * 140);
    };
    let out: u64 = shape.iter().product();
    let (row, rows) = rows(shape);
    let (a, b) = (model.outlet_fact(a).ok()?, model.outlet_fact(b).ok()?);
    let other = dimensions(b).iter().product::<u64>().max(1);
    let alike = dimensions(a) == dimensions(b);
    let optimised = |suffix: &str| name.strip_prefix("Opt").and_then(|name| name.strip_suffix(suffix));
    if let Some(name) = optimised("ByScalar") {
        // Constants of more than one number take the way of all broadcasts.
        return Some(match other {
            1 => 1_500 + out * by_number(name),
            _ if b.konst.is_some() => 2_500 + rows * 750 + out * 85,
            _ => 1_500 + other * 1_100 + out * by_number(name),
        });
    }
    if let Some(name) = optimised("Unicast") {
        return Some(1_500 + out * by_vectors(name) + (out / other).saturating_sub(1) * 1_340);
    }
    let rate = match name {
        "Eq" | "NotEq" | "Neq" | "LT" | "GT" | "LTE" | "GTE" | "Less" | "Greater" => 110,
        "Pow" => 602,
        "Add" | "Sub" | "SubF" | "Mul" => 50,
        "Div" | "Rem" => 57,
        "And" | "Or" | "Xor" => 60,
        "Max" | "Min" => 70,
        _ => return None,
    };
    if alike {
        return Some(2_000 + out * rate);
    }
    let row_of = if row > 1 { 750 } else { 1_470 };
    Some(2_500 + rows * row_of + out * if rate > 80 { rate + 18 } else { rate + 35 })
}

/// What sums along axes take: rows of the innermost, or of several; columns elsewhere.
fn reduced_sum(input: &[u64], output: &[u64]) -> u64 {
    let (read, out): (u64, u64) = (input.iter().product(), output.iter().product::<u64>().max(1));
    let reduced: TVec<usize> =
        (0..input.len()).filter(|axis| input[*axis] != output.get(*axis).copied().unwrap_or(1)).collect();
    let Some(first) = reduced.first() else { return 6_000 + 68 * read };
    let innermost = reduced.last().is_some_and(|axis| *axis + 1 == input.len());
    if *first == 0 && !innermost {
        return 6_000 + 37 * read;
    }
    if innermost && reduced.len() == 1 {
        return 6_000 + out * 2_260 + read * 175 / 10;
    }
    if innermost {
        return 10_000 + out * 250 + read * 173 / 10;
    }
    6_000 + read * 125
}

/// What is charged for axes that are moved.
fn moved(input: &[u64], output: &[u64], out: u64) -> u64 {
    // What stays innermost moves as a whole.
    match (input.last(), output.last()) {
        (Some(a), Some(b)) if a == b && *a >= 8 => out * 22,
        _ => out * 43,
    }
}

/// Places in a pool's window.
fn window(node: &TypedNode) -> u64 {
    let spec = node.op_as::<OptSumPool>().map(|op| &op.pool_spec);
    let spec = spec.or_else(|| node.op_as::<SumPool>().map(|op| &op.pool_spec));
    spec.map_or(1, |spec| spec.kernel_shape.iter().product::<usize>() as u64)
}

/// Whether a softmax runs along the innermost axis alone.
fn softmax_is_innermost(node: &TypedNode, rank: usize) -> bool {
    node.op_as::<Softmax>().is_none_or(|op| op.axes.iter().all(|axis| axis + 1 == rank))
}
