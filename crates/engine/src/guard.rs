//! Values that tract would index with, checked before it does.
//!
//! A query cannot contain a panic (it has no call of its own to fail in), so nodes whose operand *values* decide
//! where they read or write are guarded: an index out of range becomes an error that names node, value and range.
//! Which nodes those are is decided once per plan; a run pays for its index tensors only.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::TypedOp;
use tract_onnx::tract_core::ops::array::{
    Gather, GatherElements, GatherNd, ScatterElements, ScatterNd, Topk,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use crate::InferError;

/// What has to hold of a node's operands before it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Operand 1 holds indices into `axis` of operand 0, negative ones counted from the end.
    Axis(usize),
    /// Operand 1 holds coordinates into operand 0 behind `batch` axes, its last axis a coordinate each.
    Coordinates { batch: usize, negative: bool },
    /// Operand 1 is at most as large as `axis` of operand 0.
    Count(usize),
    /// Where both are integers operand 1 holds no zero, and no -1 where operand 0 holds the least value of its type.
    Divisor,
}

impl Guard {
    /// The guard that an operator needs, if any.
    pub(crate) fn of(op: &dyn TypedOp) -> Option<Guard> {
        if let Some(op) = op.downcast_ref::<Gather>() {
            Some(Guard::Axis(op.axis))
        } else if let Some(op) = op.downcast_ref::<GatherElements>() {
            Some(Guard::Axis(op.axis))
        } else if let Some(op) = op.downcast_ref::<ScatterElements>() {
            Some(Guard::Axis(op.axis))
        } else if let Some(op) = op.downcast_ref::<GatherNd>() {
            Some(Guard::Coordinates { batch: op.batch_dims, negative: false })
        } else if op.is::<ScatterNd>() {
            Some(Guard::Coordinates { batch: 0, negative: false })
        } else if let Some(op) = op.downcast_ref::<Topk>() {
            Some(Guard::Count(op.axis))
        } else if let Some(op) = op.downcast_ref::<TypedBinOp>() {
            matches!(op.0.name(), "Div" | "Rem").then_some(Guard::Divisor)
        } else {
            None
        }
    }

    /// Holds `inputs` to the guard.
    pub(crate) fn check(self, node: &TypedNode, inputs: &[TValue]) -> Result<(), InferError> {
        let refuse = |reason: String| {
            Err(InferError::Value { node: node.name.clone(), operator: node.op.name().to_string(), reason })
        };
        let [data, operand, ..] = inputs else { return Ok(()) };
        if self == Guard::Divisor {
            let integers = data.datum_type().is_integer() && operand.datum_type().is_integer();
            return match overflow(data, operand).filter(|_| integers) {
                Some(reason) => refuse(reason.into()),
                None => Ok(()),
            };
        }
        let Ok(values) = operand.cast_to::<i64>() else { return Ok(()) };
        let values = values.try_as_plain_ram().ok();
        let Some(values) = values.as_ref().and_then(|v| v.as_slice::<i64>().ok()) else { return Ok(()) };
        let shape = data.shape();
        let outside = |value: i64, length: usize, negative: bool| {
            let length = length as i64;
            value >= length || value < if negative { -length } else { 0 }
        };
        match self {
            Guard::Axis(axis) => {
                let length = shape.get(axis).copied().unwrap_or(0);
                match values.iter().find(|v| outside(**v, length, true)) {
                    Some(v) => refuse(format!("index {v} into an axis of {length}")),
                    None => Ok(()),
                }
            }
            Guard::Coordinates { batch, negative } => {
                let depth = operand.shape().last().copied().unwrap_or(0);
                if depth == 0 {
                    return Ok(());
                }
                let lengths = shape.get(batch..).unwrap_or_default();
                if depth > lengths.len() {
                    return refuse(format!("coordinates of {depth} into {} axes", lengths.len()));
                }
                for point in values.chunks_exact(depth) {
                    if let Some((v, length)) =
                        point.iter().zip(lengths).find(|(v, l)| outside(**v, **l, negative))
                    {
                        return refuse(format!("index {v} into an axis of {length}"));
                    }
                }
                Ok(())
            }
            Guard::Count(axis) => {
                let length = shape.get(axis).copied().unwrap_or(0) as i64;
                match values.first() {
                    Some(k) if *k < 0 || *k > length => {
                        refuse(format!("{k} of the top of an axis of {length}"))
                    }
                    _ => Ok(()),
                }
            }
            Guard::Divisor => Ok(()),
        }
    }
}

/// Why an integer division would trap.
fn overflow(data: &Tensor, divisor: &Tensor) -> Option<&'static str> {
    if elements(divisor).any(|e| e.iter().all(|b| *b == 0)) {
        return Some("integer division by zero");
    }
    let least =
        |e: &[u8]| e.split_last().is_some_and(|(high, low)| *high == 0x80 && low.iter().all(|b| *b == 0));
    (divisor.datum_type().is_signed()
        && elements(divisor).any(|e| e.iter().all(|b| *b == 0xff))
        && elements(data).any(least))
    .then_some("integer division of the least value by -1")
}

/// The bytes of each element.
fn elements(tensor: &Tensor) -> impl Iterator<Item = &[u8]> {
    let size = tensor.datum_type().size_of().max(1);
    let bytes = if tensor.is_plain_ram() { tensor.as_bytes() } else { &[] };
    bytes.chunks_exact(size)
}
