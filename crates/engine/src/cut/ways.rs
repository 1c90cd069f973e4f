//! Along which axes operators can be cut: tract's by their types, ours by their names ([`crate::ops`]).

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{
    CumSum, Gather, GatherElements, GatherNd, MultiBroadcastTo, OneHot, Pad, ScatterElements, Slice, Tile,
    Topk, Trilu, TypedConcat,
};
use tract_onnx::tract_core::ops::binary::{OptBinByScalar, OptBinChain, OptBinUnicast, TypedBinOp};
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{MaxPool, OptMaxPool, OptSumPool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::fft::{Fft, Stft};
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{GridSample, NearestUpsample, Reduce, Resize, RmsNorm, Softmax};
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;

use super::{Run, Way};
use crate::ops::{self, Kernel};

type Shape = TVec<usize>;

/// A way along output axis `axis`, where operands have what `input` says of them and that axis.
pub(crate) fn way(
    inputs: &[Shape],
    outputs: &[Shape],
    axis: usize,
    input: impl Fn(usize) -> Option<usize>,
) -> Option<Way> {
    let places = *outputs.first()?.get(axis)?;
    let inputs: TVec<Option<Run>> = (0..inputs.len()).map(|ix| input(ix).map(|axis| (axis, 1))).collect();
    let outputs = outputs.iter().map(|_| (axis, 1)).collect();
    (places > 1 && inputs.iter().any(Option::is_some)).then_some(Way { places, inputs, outputs })
}

/// A way along output axis `axis` of operators on numbers that lie alike: operands have the axis, or are repeated along it. None where an
/// operand is neither.
pub(crate) fn alike(inputs: &[Shape], outputs: &[Shape], axis: usize) -> Option<Way> {
    let places = outputs.first()?.get(axis)?;
    let fits =
        |shape: &Shape| shape.len() == outputs[0].len() && (shape[axis] == *places || shape[axis] == 1);
    if !inputs.iter().all(fits) || outputs.iter().any(|shape| shape.get(axis) != Some(places)) {
        return None;
    }
    way(inputs, outputs, axis, |ix| (inputs[ix][axis] == *places).then_some(axis))
}

/// The same, where only the first operand has the axis.
fn first(inputs: &[Shape], outputs: &[Shape], axis: usize) -> Option<Way> {
    alike(&inputs[..1], outputs, axis).map(|way| with_rest(way, inputs.len()))
}

/// With operands that are read whole.
pub(crate) fn with_rest(mut way: Way, count: usize) -> Way {
    way.inputs.resize(count, None);
    way
}

/// Axes of images that windows do not move along.
fn around(spec: &PoolSpec, rank: usize) -> Vec<usize> {
    let spatial = spec.kernel_shape.len();
    if spec.data_format.c_is_last() {
        (0..rank - spatial - 1).chain([rank - 1]).collect()
    } else {
        (0..rank - spatial).collect()
    }
}

/// All ways, the outermost axis of the output first.
pub(super) fn ways(op: &dyn TypedOp, inputs: &[Shape], outputs: &[Shape]) -> Vec<Way> {
    let (Some(x), Some(y)) = (inputs.first(), outputs.first()) else { return vec![] };
    let rank = y.len();
    // Ways along the axes that `can` allows.
    let alike_but = |can: &dyn Fn(usize) -> bool| -> Vec<Way> {
        (0..rank).filter(|axis| can(*axis)).filter_map(|axis| alike(inputs, outputs, axis)).collect()
    };
    let first_but = |can: &dyn Fn(usize) -> bool| -> Vec<Way> {
        (0..rank).filter(|axis| can(*axis)).filter_map(|axis| first(inputs, outputs, axis)).collect()
    };
    let each = |with: &dyn Fn(usize) -> Option<Way>| -> Vec<Way> { (0..rank).filter_map(with).collect() };
    if let Some(op) = op.downcast_ref::<Kernel>() {
        return ops::ways(op, inputs, outputs);
    }
    let on_elements = op.is::<ElementWiseOp>()
        || op.is::<TypedBinOp>()
        || op.is::<OptBinByScalar>()
        || op.is::<OptBinUnicast>()
        || op.is::<OptBinChain>()
        || op.is::<Iff>()
        || op.is::<Cast>()
        || op.is::<DequantizeLinearF32>();
    if on_elements {
        alike_but(&|_| true)
    } else if let Some(op) = op.downcast_ref::<Reduce>() {
        alike_but(&|axis| !op.axes.contains(&axis))
    } else if let Some(op) = op.downcast_ref::<Softmax>() {
        alike_but(&|axis| !op.axes.contains(&axis))
    } else if let Some(op) = op.downcast_ref::<RmsNorm>() {
        alike_but(&|axis| axis != op.axis)
    } else if let Some(op) = op.downcast_ref::<CumSum>() {
        alike_but(&|axis| axis != op.axis)
    } else if let Some(op) = op.downcast_ref::<Topk>() {
        first_but(&|axis| axis != op.axis)
    } else if let Some(op) = op.downcast_ref::<TypedConcat>() {
        alike_but(&|axis| axis != op.axis)
    } else if let Some(op) = op.downcast_ref::<Slice>() {
        alike_but(&|axis| axis != op.axis)
    } else if let Some(op) = op.downcast_ref::<Pad>() {
        alike_but(&|axis| op.pads.get(axis) == Some(&(0, 0)))
    } else if let Some(op) = op.downcast_ref::<Downsample>() {
        alike_but(&|axis| axis != op.axis)
    } else if let Some(op) = op.downcast_ref::<NearestUpsample>() {
        alike_but(&|axis| op.scales.get(axis) == Some(&1))
    } else if op.is::<Trilu>() {
        first_but(&|axis| axis + 1 < rank)
    } else if op.is::<Resize>() {
        first_but(&|axis| x.get(axis) == y.get(axis))
    } else if op.is::<MultiBroadcastTo>() {
        alike_but(&|_| true).into_iter().chain(each(&|axis| repeated(inputs, outputs, axis))).collect()
    } else if let Some(op) = op.downcast_ref::<Tile>() {
        alike_but(&|axis| op.multipliers.get(axis).is_some_and(|times| times.is_one()))
    } else if let Some(op) = op.downcast_ref::<Fft>() {
        alike_but(&|axis| axis != op.axis && axis + 1 < rank)
    } else if let Some(op) = op.downcast_ref::<Stft>() {
        each(&|axis| way(inputs, outputs, axis, |_| Some(axis)).filter(|_| axis < op.axis))
    } else if let Some(op) = op.downcast_ref::<OneHot>() {
        each(&|axis| {
            let from = if axis < op.axis { axis } else { axis.checked_sub(1)? };
            way(inputs, outputs, axis, |ix| (ix == 0).then_some(from)).filter(|_| axis != op.axis)
        })
    } else if let Some(AxisOp::Move(from, to)) = op.downcast_ref::<AxisOp>() {
        let mut axes: Vec<usize> = (0..rank).collect();
        let moved = axes.remove(*from);
        axes.insert(*to, moved);
        each(&|axis| way(inputs, outputs, axis, |_| Some(axes[axis])))
    } else if let Some(op) = op.downcast_ref::<Gather>() {
        let indices = inputs.get(1).map_or(0, |shape| shape.len());
        each(&|axis| {
            way(inputs, outputs, axis, |ix| {
                let within = axis >= op.axis && axis < op.axis + indices;
                match ix {
                    1 => within.then(|| axis - op.axis),
                    _ if within => None,
                    _ => Some(if axis < op.axis { axis } else { axis + 1 - indices }),
                }
            })
        })
    } else if let Some(op) = op.downcast_ref::<GatherNd>() {
        let coordinates = inputs.get(1).map_or(0, |shape| shape.len().saturating_sub(1));
        each(&|axis| {
            let own = |ix| (ix == 1 || axis < op.batch_dims).then_some(axis);
            way(inputs, outputs, axis, own).filter(|_| axis < coordinates)
        })
    } else if let Some(op) = op.downcast_ref::<GatherElements>() {
        each(&|axis| way(inputs, outputs, axis, |_| Some(axis)).filter(|_| axis != op.axis))
    } else if let Some(op) = op.downcast_ref::<ScatterElements>() {
        let whole = |axis: usize| inputs.iter().all(|shape| shape.get(axis) == y.get(axis));
        alike_but(&|axis| axis != op.axis && whole(axis))
    } else if op.is::<GridSample>() {
        each(&|axis| {
            way(inputs, outputs, axis, |ix| match (axis, ix) {
                (0, _) => Some(0),
                (1, 0) => Some(1),
                (1, _) | (_, 0) => None,
                _ => Some(axis - 1),
            })
        })
    } else if let Some(op) = op.downcast_ref::<EinSum>() {
        of_einsum(op, inputs, y)
    } else if let Some(spec) = pool(op) {
        let around = around(spec, rank);
        alike_but(&|axis| around.contains(&axis))
    } else {
        ops::rows(op, inputs, outputs)
    }
}

/// A product along the axes of its output.
pub(crate) fn of_einsum(op: &EinSum, inputs: &[Shape], output: &Shape) -> Vec<Way> {
    let along = |axis: usize| {
        let found = op.axes.iter_all_axes().find(|found| found.outputs[0].contains(&axis))?;
        let once = found.outputs[0].len() == 1 && found.inputs.iter().all(|inputs| inputs.len() <= 1);
        let own = |ix: usize| {
            let own = *found.inputs.get(ix)?.first()?;
            (inputs[ix].get(own) == output.get(axis)).then_some(own)
        };
        let plain = once && op.q_params.is_none() && inputs.len() == 2;
        way(inputs, std::slice::from_ref(output), axis, own).filter(|_| plain)
    };
    (0..output.len()).filter_map(along).collect()
}

fn pool(op: &dyn TypedOp) -> Option<&PoolSpec> {
    let spec = op.downcast_ref::<OptMaxPool>().map(|op| &op.pool_spec);
    let spec = spec.or_else(|| op.downcast_ref::<OptSumPool>().map(|op| &op.pool_spec));
    let spec = spec.or_else(|| op.downcast_ref::<MaxPool>().map(|op| &op.pool_spec));
    spec.or_else(|| op.downcast_ref::<SumPool>().map(|op| &op.pool_spec))
}

/// A way along an axis that the operand is repeated along.
fn repeated(inputs: &[Shape], outputs: &[Shape], axis: usize) -> Option<Way> {
    let places = outputs[0][axis];
    let once = inputs[0].len() == outputs[0].len() && inputs[0][axis] == 1 && places > 1;
    once.then(|| Way { places, inputs: tvec![None; inputs.len()], outputs: tvec![(axis, 1)] })
}
