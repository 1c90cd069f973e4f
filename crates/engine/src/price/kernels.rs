//! What computations of ours take that are no tiles: kernels that go row by row, by their names.
//!
//! Rates are fitted to nodes of one operator each that the canister was metered on (`docs/prices.md`).

use tract_onnx::prelude::*;

use super::dimensions;
use crate::ops::Kernel;

/// A number of an operand that is copied as f32.
const COPIED: u64 = 5;
/// A multiply-accumulate of two rows, a hundred times, and such a row.
const MAC: u64 = 425;
const ROW: u64 = 100;

/// Rows of `length` multiplied, or added some times.
fn rows(count: u64, length: u64) -> u64 {
    count * (ROW + length * MAC / 100)
}

/// What a kernel takes beside [`super::NODE`]; none where it has no formula.
pub(super) fn instructions(model: &TypedModel, node: &TypedNode) -> Option<u64> {
    let kernel = node.op_as::<Kernel>()?;
    let shapes: TVec<TVec<u64>> = node
        .inputs
        .iter()
        .map(|input| model.outlet_fact(*input).ok().map(dimensions))
        .collect::<Option<_>>()?;
    let output = dimensions(&node.outputs.first()?.fact);
    let all = |shape: &TVec<u64>| shape.iter().product::<u64>();
    let int = |ix: usize| kernel.int(ix).max(0) as u64;
    let own = match kernel.name {
        "Attention" => {
            let (&[batch, heads, queries, depth], &[_, _, keys, _], &[_, _, _, wide]) =
                (&shapes.first()?[..], &shapes.get(1)?[..], &shapes.get(2)?[..])
            else {
                return None;
            };
            // The bias of a score, its scale and its share of the softmax. What is masked adds nothing: causally, half of it.
            let seen = if int(0) == 1 { keys / 2 } else { keys };
            let each = keys * 390 + rows(keys, depth) + rows(seen, wide);
            batch * heads * queries * (1_500 + each)
        }
        "recurrent" => {
            let (&[a, b, width], &[directions, gates, _], &[_, _, hidden]) =
                (&shapes.first()?[..], &shapes.get(1)?[..], &shapes.get(2)?[..])
            else {
                return None;
            };
            // Of a GRU whose reset comes first, the candidate once more; activations are functions of f64.
            let again = if int(0) == 1 && int(3) == 0 { hidden } else { 0 };
            let products = rows(gates, width) + rows(gates + again, hidden);
            a * b * directions * (2_000 + products + gates * 490)
        }
        "DeformConv" => {
            let (&[n, channels, _, _], &[out, per_group, high, wide]) =
                (&shapes.first()?[..], &shapes.get(1)?[..])
            else {
                return None;
            };
            let (taps, pixels) = (high * wide, output.iter().skip(2).product::<u64>());
            n * pixels * (channels * taps * 960 + rows(out, per_group * taps) + out * 20)
        }
        "RoiAlign" => {
            // How many samples a bin has may depend on its region.
            let samples = if int(2) > 0 { int(2) * int(2) } else { 4 };
            all(&output) * (100 + samples * 890)
        }
        "LinearAttention" => {
            let (&[batch, steps, _], [_, kv_heads, keys, values]) =
                (&shapes.first()?[..], [0, 1, 2, 3].map(int))
            else {
                return None;
            };
            let group = int(0) / kv_heads.max(1);
            let times = 1 + group + 2 * u64::from(int(5) > 0) + u64::from(int(6) > 0);
            batch * steps * kv_heads * (1_000 + times * (rows(keys, values) + 100 * keys))
        }
        "CausalConvWithState" => {
            let taps = shapes.get(1)?.last().copied().unwrap_or(1);
            all(&output) * (195 + taps * MAC / 100)
        }
        "Col2Im" => all(shapes.first()?) * 720,
        _ => return None,
    };
    Some(8_000 + own + shapes.iter().map(|shape| all(shape) * COPIED).sum::<u64>())
}
