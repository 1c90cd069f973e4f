//! Reductions along axes that lie together, and means of whole planes.

use ic_nn_kernels::{Reduce, Reduction};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::SumPool;
use tract_onnx::tract_core::ops::nn::{Reduce as TractReduce, Reducer};

use super::node::Body;
use super::rows::together;
use crate::ops::Kernel;

/// What a node reduces, of a tensor of that shape to one of the other.
pub(super) fn reduce(node: &TypedNode, from: &[usize], output: &[usize]) -> Option<Body> {
    let reduce = if let Some(op) = node.op_as::<TractReduce>() {
        of_axes(&op.axes, reduction(op.reducer)?, from)
    } else if let Some(op) = node.op_as::<Kernel>()
        && op.name == "extreme"
    {
        let axes: TVec<usize> = (0..from.len()).filter(|axis| op.int(axis + 1) != 0).collect();
        of_axes(&axes, if op.int(0) == 0 { Reduction::Min } else { Reduction::Max }, from)
    } else {
        planes(node.op_as::<SumPool>()?, from, output)
    };
    reduce.map(Body::Reduce)
}

fn reduction(reducer: Reducer) -> Option<Reduction> {
    match reducer {
        Reducer::Sum => Some(Reduction::Sum),
        Reducer::MeanOfSquares => Some(Reduction::MeanOfSquares),
        Reducer::Max => Some(Reduction::Max),
        Reducer::Min => Some(Reduction::Min),
        _ => None,
    }
}

/// A reduction along axes that lie together.
fn of_axes(axes: &[usize], reduction: Reduction, shape: &[usize]) -> Option<Reduce> {
    let [first, last] = together(axes, shape)?;
    Reduce::new(reduction, shape[first..=last].iter().product(), shape[last + 1..].iter().product())
}

/// The means, or sums, of whole planes.
fn planes(op: &SumPool, from: &[usize], output: &[usize]) -> Option<Reduce> {
    let spec = &op.pool_spec;
    let input = spec.data_format.shape(from).ok()?;
    let made = spec.data_format.shape(output).ok()?;
    let whole = *spec.kernel_shape == *input.hw_dims() && made.hw_dims().iter().all(|length| *length == 1);
    let pads = spec.computed_padding(input.hw_dims());
    if !whole || pads.iter().any(|pad| pad.pad_before + pad.pad_after > 0) {
        return None;
    }
    let apart = if spec.data_format.c_is_last() { *input.c() } else { 1 };
    let reduction = if op.normalize { Reduction::Mean } else { Reduction::Sum };
    Reduce::new(reduction, input.hw_dims().iter().product(), apart)
}
