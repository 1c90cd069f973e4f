//! Axes that move: blocks of axes that change places.

use ic_nn_kernels::Swap;
use tract_onnx::tract_core::internal::*;

use super::node::Body;

/// What changes places in a node that moves an axis of a tensor of that shape; none where numbers stay where they are.
pub(super) fn moved(node: &TypedNode, input: &[usize]) -> Option<Body> {
    let Some(AxisOp::Move(from, to)) = node.op_as::<AxisOp>() else { return None };
    let length = |axes: std::ops::Range<usize>| input[axes].iter().product::<usize>();
    let (low, high) = (*from.min(to), *from.max(to));
    let middle = if from < to { low + 1 } else { high };
    let (first, second) = (length(low..middle), length(middle..high + 1));
    if first == 1 || second == 1 {
        return None;
    }
    Swap::new([first, second, length(high + 1..input.len())]).map(Body::Swap)
}
