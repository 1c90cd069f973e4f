//! Along which axes kernels can be cut, by their names; each reads its lengths off its operands and its outputs, so a part is the kernel on
//! a part of them.

use tract_onnx::tract_hir::internal::*;

use super::kernel::Kernel;
use super::ml::image as tables;
use crate::cut::{Run, Way, alike, way, with_rest};

type Shape = TVec<usize>;

/// All ways of a kernel, the outermost axis of the output first.
pub(crate) fn ways(k: &Kernel, inputs: &[Shape], outputs: &[Shape]) -> Vec<Way> {
    let (Some(x), Some(y)) = (inputs.first(), outputs.first()) else { return vec![] };
    let rank = y.len();
    let each = |with: &dyn Fn(usize) -> Option<Way>| -> Vec<Way> { (0..rank).filter_map(with).collect() };
    let first = |axis: usize| alike(&inputs[..1], outputs, axis).map(|way| with_rest(way, inputs.len()));
    let ints = |ix: usize| usize::try_from(k.int(ix)).unwrap_or(usize::MAX);
    match k.name {
        "Div" | "Pow" | "BitShift" | "BitCast" | "Cast" => each(&|axis| alike(inputs, outputs, axis)),
        "table" => each(&first),
        "QLinearAdd" | "QLinearMul" => each(&|axis| {
            let own = |ix: usize| {
                let own = (axis + inputs[ix].len()).checked_sub(rank)?;
                (matches!(ix, 0 | 3) && inputs[ix][own] == y[axis]).then_some(own)
            };
            way(inputs, outputs, axis, own)
        }),
        "QLinearGlobalAveragePool" => each(&first),
        "QuantizeLinear" | "DequantizeLinear" => each(&|axis| {
            let (along, blocks, scales) = (ints(0), k.int(1) > 0, ints(2));
            let way = first(axis).filter(|_| scales <= 1 || axis != along)?;
            if scales <= 1 || !blocks {
                return Some(way);
            }
            let inputs =
                inputs.iter().map(|shape| (shape.get(axis) == Some(&way.places)).then_some((axis, 1)));
            Some(Way { inputs: inputs.collect(), ..way })
        }),
        "ReverseSequence" => each(&|axis| {
            let own = |ix: usize| match ix {
                0 => Some(axis),
                _ => (axis == ints(0)).then_some(0),
            };
            way(inputs, outputs, axis, own).filter(|_| axis != ints(1))
        }),
        "window" => each(&|axis| first(axis).filter(|_| x[axis] == y[axis] && k.int(1 + axis) == 0)),
        "OneHot" => each(&|axis| {
            let from = if axis < ints(0) { axis } else { axis.checked_sub(1)? };
            way(inputs, outputs, axis, |ix| (ix == 0).then_some(from)).filter(|_| axis != ints(0))
        }),
        "extreme" => each(&|axis| first(axis).filter(|_| k.int(1 + axis) == 0)),
        "CumProd" => each(&|axis| first(axis).filter(|_| axis != ints(0))),
        "Det" => each(&|axis| way(inputs, outputs, axis, |_| Some(axis))),
        "AffineGrid" => each(&|axis| first(axis).filter(|_| axis == 0)),
        "Col2Im" => {
            let taps = x.get(1).zip(y.get(1)).map_or(1, |(x, y)| x / y.max(&1));
            let channels = way(inputs, outputs, 1, |_| Some(1));
            let channels = channels.map(|way| Way { inputs: tvec![Some((1, taps))], ..way });
            way(inputs, outputs, 0, |_| Some(0)).into_iter().chain(channels).collect()
        }
        "RoiAlign" => {
            let regions = way(inputs, outputs, 0, |ix| (ix > 0).then_some(0));
            let channels = way(inputs, outputs, 1, |ix| (ix == 0).then_some(1));
            regions.into_iter().chain(channels).collect()
        }
        "DeformConv" => {
            let (bias, mask) = (k.int(8) != 0, 3 + usize::from(k.int(8) != 0));
            let images = way(inputs, outputs, 0, |ix| (matches!(ix, 0 | 2) || ix == mask).then_some(0));
            let planes = way(inputs, outputs, 1, |ix| (ix == 1 || bias && ix == 3).then_some(0));
            images.into_iter().chain(planes.filter(|_| k.int(0) == 1)).collect()
        }
        "CausalConvWithState" => {
            let past = 2 + usize::from(k.int(1) != 0);
            let own = |ix: usize| (ix == 0 || ix >= past && ix >= 2).then_some(0);
            let lines = way(inputs, outputs, 0, own);
            let channels = way(inputs, outputs, 1, |ix| Some(usize::from(ix == 0 || ix >= past)));
            lines.into_iter().chain(channels).collect()
        }
        "TensorScatter" => way(inputs, outputs, 0, |_| Some(0)).into_iter().collect(),
        "LinearAttention" => {
            let batch = way(inputs, outputs, 0, |_| Some(0));
            batch.into_iter().chain(heads(k, inputs)).collect()
        }
        _ => vec![],
    }
}

/// LinearAttention by its heads of keys and values.
fn heads(k: &Kernel, inputs: &[Shape]) -> Option<Way> {
    let [q_heads, kv_heads, d_k, d_v, past, decays, betas] =
        [0, 1, 2, 3, 4, 5, 6].map(|ix| usize::try_from(k.int(ix)).unwrap_or(0));
    let group = q_heads.checked_div(kv_heads)?;
    let mut runs: TVec<Option<Run>> = tvec![Some((2, group * d_k)), Some((2, d_k)), Some((2, d_v))];
    if past != 0 {
        runs.push(Some((1, 1)));
    }
    if decays != 0 {
        runs.push(Some((2, decays / kv_heads)));
    }
    if betas != 0 {
        runs.push((betas == kv_heads).then_some((2, 1)));
    }
    let fits = kv_heads > 1 && runs.len() == inputs.len();
    fits.then(|| Way { places: kv_heads, inputs: runs, outputs: tvec![(2, group * d_v), (1, 1)] })
}

/// The kernel for so many places of a way, whose outputs are `facts`.
pub(crate) fn shorter(k: &Kernel, facts: TVec<TypedFact>, way: &Way, places: usize) -> Kernel {
    let mut part = Kernel { outputs: facts, ..k.clone() };
    if k.name == "LinearAttention" && way.outputs.first().is_some_and(|(axis, _)| *axis == 2) {
        let all = way.places as i64;
        for ix in [0, 1, 5] {
            part.ints[ix] = part.ints[ix] / all * places as i64;
        }
        if part.ints[6] == all {
            part.ints[6] = places as i64;
        }
    }
    part
}

/// Ways of operators that compute row by row: tables, and what else has a line of its own for each member of a batch.
pub(crate) fn rows(op: &dyn TypedOp, inputs: &[Shape], outputs: &[Shape]) -> Vec<Way> {
    let rows = inputs.first().and_then(|shape| shape.first());
    let whole = inputs.len() == 1 && outputs.iter().all(|shape| shape.first() == rows);
    let cut: Vec<usize> = if tables::is(op) && whole {
        vec![0]
    } else if op.name() == "Lrn" {
        // A number looks at its neighbours among the channels.
        (0..outputs.first().map_or(0, |shape| shape.len())).filter(|axis| *axis != 1).collect()
    } else {
        vec![]
    };
    cut.into_iter().filter_map(|axis| way(inputs, outputs, axis, |_| Some(axis))).collect()
}
