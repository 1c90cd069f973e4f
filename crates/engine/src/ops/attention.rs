//! Attention over queries, keys and values, as ONNX's `Attention` has it: grouped heads, masks, windows, a cache.
//!
//! A row of scores at a time is held, so long sequences take no square of memory. Sums are in f32; where the tensors
//! are f16, each step rounds as ONNX's definition by operators does.

use std::ops::Range;

use ic_nn_kernels::{Softmax, add_times, dot};
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, i64s, part, put, zeros};
use super::lowered::Wirer;

/// Attention.
pub(super) fn attention(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (q, k, v) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let dt = w.dt(q)?;
    if !matches!(dt, DatumType::F32 | DatumType::F16) {
        return w.refuse(format!("{dt:?}; f32 or f16 is expected"));
    }
    let flat = w.shape(q)?.len() == 3;
    let q = heads(w, q, "q_num_heads")?;
    let mut k = heads(w, k, "kv_num_heads")?;
    let mut v = heads(w, v, "kv_num_heads")?;
    let past = match (w.input(4), w.input(5)) {
        (Some(past_k), Some(past_v)) => {
            let past = w.shape(past_k)?;
            for (past, now) in [(past_k, k), (past_v, v)] {
                let (before, now) = (w.shape(past)?, w.shape(now)?);
                let fits = before.len() == 4
                    && before.len() == now.len()
                    && (0..4).all(|axis| axis == 2 || before[axis] == now[axis]);
                if !fits {
                    return w.refuse(format!("a past of {before:?} before {now:?}"));
                }
            }
            if w.shape(past_v)?.get(2) != past.get(2) {
                return w.refuse("past_key and past_value are of different lengths");
            }
            k = w.op(TypedConcat::new(2), &[past_k, k])?;
            v = w.op(TypedConcat::new(2), &[past_v, v])?;
            past.get(2).copied().unwrap_or(0)
        }
        (None, None) => 0,
        _ => return w.refuse("past_key and past_value go together"),
    };
    let (qs, ks, vs) = (w.shape(q)?, w.shape(k)?, w.shape(v)?);
    let (
        &[batch, q_heads, rows, depth],
        &[kb, kv_heads, columns, k_depth],
        &[vb, v_heads, v_columns, v_depth],
    ) = (&qs[..], &ks[..], &vs[..])
    else {
        return w.refuse(format!("Q {qs:?}, K {ks:?}, V {vs:?}: rank 3 or 4 is expected"));
    };
    let fits = kb == batch
        && vb == batch
        && k_depth == depth
        && v_heads == kv_heads
        && v_columns == columns
        && kv_heads > 0
        && q_heads.is_multiple_of(kv_heads);
    if !fits {
        return w.refuse(format!("K {ks:?} and V {vs:?} do not fit Q {qs:?}"));
    }
    let mut given = vec![q, k, v];
    let mut mask_shape = vec![];
    if let Some(mask) = w.input(3) {
        let shape = w.shape(mask)?;
        let target = [batch, q_heads, rows, columns];
        let skip = 4usize.checked_sub(shape.len());
        let Some(target) = skip.filter(|s| *s < 4).and_then(|s| target.get(s..)) else {
            return w.refuse(format!("a mask of {shape:?}"));
        };
        let last = shape.len() - 1;
        let fits = shape
            .iter()
            .zip(target)
            .enumerate()
            .all(|(axis, (m, t))| m == t || *m == 1 || (axis == last && m < t));
        if !fits {
            return w.refuse(format!("a mask of {shape:?} does not fit {target:?}"));
        }
        mask_shape = vec![1; 4 - shape.len()];
        mask_shape.extend(shape.iter().map(|d| *d as i64));
        let boolean = w.dt(mask)? == DatumType::Bool;
        mask_shape.push(i64::from(boolean));
        given.push(mask);
    }
    let lengths = w.input(6);
    if let Some(lengths) = lengths {
        if w.shape(lengths)?.as_slice() != [batch] || past > 0 {
            return w
                .refuse("nonpad_kv_seqlen has a length for each member of the batch, and no past beside it");
        }
        given.push(lengths);
    }
    let windows = [w.int("left_window_size", -1), w.int("right_window_size", -1)];
    if windows.iter().any(|size| *size < -1) {
        return w.refuse(format!("windows of {windows:?}; a length or -1 is expected"));
    }
    let mode = w.int("qk_matmul_output_mode", 0);
    let precision = w.int("softmax_precision", 0);
    if !(0..4).contains(&mode) || ![0, 1, 10, 11].contains(&precision) {
        return w.refuse(format!("qk_matmul_output_mode {mode}, softmax_precision {precision}"));
    }
    let scale = if w.has("scale") { f64::from(w.real("scale", 1.0)) } else { 1.0 / (depth as f64).sqrt() };
    let mut ints = vec![
        i64::from(w.int("is_causal", 0) == 1),
        windows[0],
        windows[1],
        mode,
        past as i64,
        i64::from(lengths.is_some()),
        i64::from(dt == DatumType::F16),
        i64::from(precision == 10 || (precision == 0 && dt == DatumType::F16)),
    ];
    ints.extend(mask_shape);
    let mut outputs = tvec![dt.fact([batch, q_heads, rows, v_depth])];
    if w.gives(3) {
        outputs.push(dt.fact([batch, q_heads, rows, columns]));
    }
    let copies =
        4 * (qs.iter().product::<usize>() + ks.iter().product::<usize>() + vs.iter().product::<usize>());
    let kernel = Kernel::new("Attention", outputs, run)
        .ints(ints)
        .reals([scale.sqrt(), f64::from(w.real("softcap", 0.0))])
        .scratch(copies);
    let made = w.kernel(kernel, &given)?;
    let mut y = made[0];
    if flat {
        y = w.transpose(y, &[0, 2, 1, 3])?;
        y = w.reshape(y, &[batch, rows, q_heads * v_depth])?;
    }
    let scores = made.get(1).copied().unwrap_or(y);
    Ok(tvec![y, k, v, scores])
}

/// `[batch, sequence, heads * depth]` as `[batch, heads, sequence, depth]`; what has rank 4 is as it is.
pub(super) fn heads(w: &mut Wirer<'_>, x: OutletId, attribute: &str) -> TractResult<OutletId> {
    let shape = w.shape(x)?;
    let &[batch, steps, width] = &shape[..] else { return Ok(x) };
    let heads = usize::try_from(w.int(attribute, 0)).unwrap_or(0);
    if heads == 0 || !width.is_multiple_of(heads) {
        return w.refuse(format!("{width} channels do not divide into `{attribute}` {heads}"));
    }
    let x = w.reshape(x, &[batch, steps, heads, width / heads])?;
    w.transpose(x, &[0, 2, 1, 3])
}

fn round(half: bool, x: f32) -> f32 {
    if half { f16::from_f32(x).to_f32() } else { x }
}

pub(super) fn run(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let mut outputs = zeros(k)?;
    let shapes: Vec<TVec<usize>> = inputs.iter().map(|input| input.shape().into()).collect();
    rows(k, inputs, &mut outputs, 0..units(&shapes))?;
    Ok(outputs)
}

/// Rows of queries of all heads.
pub(super) fn units(inputs: &[TVec<usize>]) -> usize {
    inputs.first().map_or(0, |queries| queries.iter().take(3).product())
}

/// Computes these rows.
pub(super) fn rows(
    k: &Kernel,
    inputs: &[TValue],
    outputs: &mut [Tensor],
    wanted: Range<usize>,
) -> TractResult<()> {
    let [causal, left, right, mode, past, lengths, half, half_softmax] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(|ix| k.int(ix));
    let (half, half_softmax) = (half != 0, half_softmax != 0);
    let (qs, ks, vs) = (inputs[0].shape(), inputs[1].shape(), inputs[2].shape());
    let (q_heads, rows, depth) = (qs[1], qs[2], qs[3]);
    let (kv_heads, columns, v_depth) = (ks[1], ks[2], vs[3]);
    let (scale, softcap) = (round(half, k.real(0) as f32), k.real(1) as f32);
    // Of each operand what is read: a row, or a head.
    let scaled = |t: &TValue, at: usize, count: usize| -> TractResult<Vec<f32>> {
        Ok(part(t, at..at + count)?.into_iter().map(|x| round(half, x * scale)).collect())
    };
    let (mut head, mut keys, mut values) = (usize::MAX, vec![], vec![]);
    let mut rest = inputs.iter().skip(3);
    let mask_shape: Vec<usize> = k.ints.iter().skip(8).take(4).map(|d| *d as usize).collect();
    let mask = match mask_shape.len() {
        4 => Some(rest.next().context("no mask")?),
        _ => None,
    };
    let boolean = k.int(12) != 0;
    let lengths = match lengths {
        0 => None,
        _ => Some(i64s(rest.next().context("no lengths")?)?),
    };
    let (mut scores, mut bias) = (vec![0f32; columns], vec![0f32; columns]);
    let mut y = vec![0f32; v_depth];
    for row in wanted {
        let (b, h, i) = (row / rows / q_heads, row / rows % q_heads, row % rows);
        let valid = lengths.as_ref().map(|l| l[b]);
        let offset = valid.map_or(past, |valid| valid - rows as i64);
        let kv = b * kv_heads + h / (q_heads / kv_heads);
        if kv != head {
            (head, keys) = (kv, scaled(&inputs[1], kv * columns * depth, columns * depth)?);
            values = part(&inputs[2], kv * columns * v_depth..(kv + 1) * columns * v_depth)?;
        }
        let at = offset + i as i64;
        let mask = match mask {
            Some(mask) => {
                let place = |axis: usize, ix: usize| if mask_shape[axis] == 1 { 0 } else { ix };
                let row = (place(0, b) * mask_shape[1] + place(1, h)) * mask_shape[2] + place(2, i);
                Some(part(mask, row * mask_shape[3]..(row + 1) * mask_shape[3])?)
            }
            None => None,
        };
        for (j, bias) in bias.iter_mut().enumerate() {
            let key = j as i64;
            let hidden = (causal != 0 && key > at)
                || (left >= 0 && key < at - left)
                || (right >= 0 && key > at + right)
                || valid.is_some_and(|valid| key >= valid);
            *bias = match &mask {
                _ if hidden => f32::NEG_INFINITY,
                None => 0.0,
                Some(mask) => match (boolean, mask.get(j)) {
                    // A mask that is shorter hides what is beyond it.
                    (_, None) | (true, Some(0.0)) => f32::NEG_INFINITY,
                    (true, _) => 0.0,
                    (false, Some(value)) => *value,
                },
            };
        }
        let query = scaled(&inputs[0], row * depth, depth)?;
        for (j, score) in scores.iter_mut().enumerate() {
            let at = j * depth;
            *score = round(half, dot(&query, &keys[at..at + depth]));
        }
        let mut show = |wanted: i64, scores: &[f32]| match outputs.get_mut(1) {
            Some(shown) if mode == wanted => put(shown, row * columns, scores),
            _ => Ok(()),
        };
        show(0, &scores)?;
        if softcap > 0.0 {
            scores.iter_mut().for_each(|s| *s = round(half, softcap * (*s / softcap).tanh()));
        }
        show(1, &scores)?;
        scores.iter_mut().zip(&bias).for_each(|(s, b)| *s = round(half, *s + b));
        show(2, &scores)?;
        if bias.iter().all(|b| *b == f32::NEG_INFINITY) {
            scores.fill(0.0);
        } else {
            softmax(&mut scores, half_softmax);
        }
        scores.iter_mut().for_each(|s| *s = round(half, *s));
        show(3, &scores)?;
        y.fill(0.0);
        for (j, p) in scores.iter().enumerate().filter(|(_, p)| **p != 0.0) {
            let at = j * v_depth;
            add_times(&mut y, &values[at..at + v_depth], *p);
        }
        put(&mut outputs[0], row * v_depth, &y)?;
    }
    Ok(())
}

/// The softmax of a row of scores.
fn softmax(scores: &mut [f32], half: bool) {
    if let (false, Some(softmax)) = (half, Softmax::new(scores.len(), 1)) {
        let from = scores.to_vec();
        return softmax.run(&from, scores, 0..1);
    }
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0f32;
    for score in scores.iter_mut() {
        *score = round(half, round(half, *score - largest).exp());
        sum += *score;
    }
    let sum = round(half, sum);
    scores.iter_mut().for_each(|s| *s = round(half, *s / sum));
}
