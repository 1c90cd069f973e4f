//! What carries a state from token to token: `LinearAttention`, `CausalConvWithState`, and the cache of
//! `TensorScatter`.

use ic_nn_kernels::{add_times, dot};
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, f32s, i64s, strides, tensor};
use super::lowered::Wirer;

fn real(w: &Wirer<'_>, x: OutletId) -> TractResult<DatumType> {
    match w.dt(x)? {
        dt @ (DatumType::F32 | DatumType::F16) => Ok(dt),
        dt => w.refuse(format!("{dt:?}; f32 or f16 is expected")),
    }
}

/// LinearAttention.
pub(super) fn linear_attention(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (q, k, v) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let dt = real(w, q)?;
    let count = |name: &str| usize::try_from(w.int(name, 0)).unwrap_or(0);
    let (q_heads, kv_heads) = (count("q_num_heads"), count("kv_num_heads"));
    let (qs, ks, vs) = (w.shape(q)?, w.shape(k)?, w.shape(v)?);
    let (&[batch, steps, q_width], &[_, _, k_width], &[_, _, v_width]) = (&qs[..], &ks[..], &vs[..]) else {
        return w.refuse(format!("query {qs:?}, key {ks:?}, value {vs:?}: rank 3 is expected"));
    };
    let fits = kv_heads > 0
        && q_heads > 0
        && q_heads.is_multiple_of(kv_heads)
        && q_width.is_multiple_of(q_heads)
        && k_width == q_width / q_heads * kv_heads
        && v_width.is_multiple_of(kv_heads)
        && ks[..2] == qs[..2]
        && vs[..2] == qs[..2];
    if !fits {
        return w.refuse(format!("{q_heads} and {kv_heads} heads of query {qs:?}, key {ks:?}, value {vs:?}"));
    }
    let (d_k, d_v) = (q_width / q_heads, v_width / kv_heads);
    if d_k == 0 || d_v == 0 {
        return w.refuse("heads without channels");
    }
    let rule = w.text("update_rule", "gated_delta");
    let (gated, delta) = match rule.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return w.refuse(format!("update_rule `{other}`")),
    };
    if gated != w.input(4).is_some() || delta != w.input(5).is_some() {
        return w.refuse(format!("update_rule `{rule}` with decay and beta it does not go with"));
    }
    let state = [batch, kv_heads, d_k, d_v];
    let mut given = vec![q, k, v];
    let mut state_dt = dt;
    let past = w.input(3);
    if let Some(past) = past {
        state_dt = real(w, past)?;
        if w.shape(past)?.as_slice() != state {
            return w.refuse(format!("past_state is {:?}, {state:?} is expected", w.shape(past)?));
        }
        given.push(past);
    }
    let mut widths = [0, 0];
    for (ix, allowed) in [(0, [kv_heads, kv_heads * d_k]), (1, [kv_heads, 1])] {
        let Some(input) = w.input(4 + ix) else { continue };
        let shape = w.shape(input)?;
        let width = shape.last().copied().unwrap_or(0);
        if shape.len() != 3 || shape[..2] != qs[..2] || !allowed.contains(&width) {
            return w.refuse(format!("{} of {shape:?}", ["decay", "beta"][ix]));
        }
        widths[ix] = width;
        given.push(input);
    }
    let scale = match w.real("scale", 0.0) {
        0.0 => 1.0 / (d_k as f64).sqrt(),
        scale => f64::from(scale),
    };
    let outputs = tvec![dt.fact([batch, steps, q_heads * d_v]), state_dt.fact(state)];
    let ints = [q_heads, kv_heads, d_k, d_v, usize::from(past.is_some()), widths[0], widths[1]];
    let copies = 4 * batch * steps * (q_width + k_width + v_width);
    let kernel = Kernel::new("LinearAttention", outputs, run_linear_attention)
        .ints(ints.map(|i| i as i64))
        .reals([scale])
        .scratch(copies);
    w.kernel(kernel, &given)
}

pub(super) fn run_linear_attention(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let [q_heads, kv_heads, d_k, d_v, past, decays, betas] =
        [0, 1, 2, 3, 4, 5, 6].map(|ix| k.int(ix) as usize);
    let scale = k.real(0) as f32;
    let (batch, steps) = (inputs[0].shape()[0], inputs[0].shape()[1]);
    let (query, key, value) = (f32s(&inputs[0])?, f32s(&inputs[1])?, f32s(&inputs[2])?);
    let mut rest = inputs.iter().skip(3);
    let mut optional = |there: usize| -> TractResult<Vec<f32>> {
        if there == 0 { Ok(vec![]) } else { f32s(rest.next().context("an input is missing")?) }
    };
    let mut state = optional(past)?;
    let (decay, beta) = (optional(decays)?, optional(betas)?);
    let size = d_k * d_v;
    state.resize(batch * kv_heads * size, 0.0);
    let mut y = vec![0f32; batch * steps * q_heads * d_v];
    let mut update = vec![0f32; d_v];
    for b in 0..batch {
        for t in 0..steps {
            let at = b * steps + t;
            for h in 0..kv_heads {
                let state = &mut state[(b * kv_heads + h) * size..(b * kv_heads + h + 1) * size];
                let key = &key[(at * kv_heads + h) * d_k..(at * kv_heads + h + 1) * d_k];
                update.copy_from_slice(&value[(at * kv_heads + h) * d_v..(at * kv_heads + h + 1) * d_v]);
                if decays > 0 {
                    for (i, row) in state.chunks_exact_mut(d_v).enumerate() {
                        let place = if decays == kv_heads { h } else { h * d_k + i };
                        let factor = decay[at * decays + place].exp();
                        row.iter_mut().for_each(|s| *s *= factor);
                    }
                }
                if betas > 0 {
                    for (row, key) in state.chunks_exact(d_v).zip(key) {
                        add_times(&mut update, row, -key);
                    }
                    let rate = beta[at * betas + if betas == 1 { 0 } else { h }];
                    update.iter_mut().for_each(|u| *u *= rate);
                }
                for (row, key) in state.chunks_exact_mut(d_v).zip(key) {
                    add_times(row, &update, *key);
                }
                let group = q_heads / kv_heads;
                for head in h * group..(h + 1) * group {
                    let query = &query[(at * q_heads + head) * d_k..(at * q_heads + head + 1) * d_k];
                    let y = &mut y[(at * q_heads + head) * d_v..(at * q_heads + head + 1) * d_v];
                    for (row, query) in state.chunks_exact(d_v).zip(query) {
                        add_times(y, row, query * scale);
                    }
                }
            }
        }
    }
    let dts = [k.outputs[0].datum_type, k.outputs[1].datum_type];
    Ok(vec![tensor(dts[0], &k.shape(0)?, &y)?, tensor(dts[1], &k.shape(1)?, &state)?])
}

/// CausalConvWithState.
pub(super) fn causal_conv(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (x, weight) = (w.need(0)?, w.need(1)?);
    let dt = real(w, x)?;
    let (xs, ws) = (w.shape(x)?, w.shape(weight)?);
    let (&[batch, channels, length], &[w_channels, 1, taps]) = (&xs[..], &ws[..]) else {
        return w.refuse(format!("input {xs:?}, weight {ws:?}: (N, C, L) and (C, 1, k) are expected"));
    };
    if w_channels != channels || taps == 0 {
        return w.refuse(format!("a weight of {ws:?} for {channels} channels"));
    }
    let silu = match w.text("activation", "none").as_str() {
        "none" => 0,
        "silu" | "swish" => 1,
        other => return w.refuse(format!("activation `{other}`")),
    };
    let state = [batch, channels, taps - 1];
    let mut given = vec![x, weight];
    let expected: [&[usize]; 2] = [&[channels], &state];
    for (ix, expected) in expected.into_iter().enumerate() {
        let Some(input) = w.input(2 + ix) else { continue };
        let shape = w.shape(input)?;
        if shape.as_slice() != expected {
            return w.refuse(format!("input {} is {shape:?}, {expected:?} is expected", 2 + ix));
        }
        given.push(input);
    }
    let there = |ix: usize| i64::from(w.input(ix).is_some());
    let ints = [silu, there(2), there(3)];
    let outputs = tvec![dt.fact([batch, channels, length]), dt.fact(state)];
    let kernel = Kernel::new("CausalConvWithState", outputs, run_causal_conv).ints(ints);
    w.kernel(kernel.scratch(8 * batch * channels * length), &given)
}

pub(super) fn run_causal_conv(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (x, weight) = (f32s(&inputs[0])?, f32s(&inputs[1])?);
    let mut rest = inputs.iter().skip(2);
    let mut optional = |there: i64| -> TractResult<Option<Vec<f32>>> {
        if there == 0 { Ok(None) } else { rest.next().map(|t| f32s(t)).transpose() }
    };
    let (bias, past) = (optional(k.int(1))?, optional(k.int(2))?);
    let shape = k.shape(0)?;
    let (channels, length) = (shape[1], shape[2]);
    let taps = inputs[1].shape()[2];
    let dt = inputs[0].datum_type();
    let half = dt == DatumType::F16;
    let (mut y, mut present) = (vec![0f32; x.len()], vec![]);
    let mut padded = vec![0f32; taps - 1 + length];
    for line in 0..shape[0] * channels {
        let channel = line % channels;
        match &past {
            Some(past) => {
                padded[..taps - 1].copy_from_slice(&past[line * (taps - 1)..(line + 1) * (taps - 1)])
            }
            None => padded[..taps - 1].fill(0.0),
        }
        padded[taps - 1..].copy_from_slice(&x[line * length..(line + 1) * length]);
        let weight = &weight[channel * taps..(channel + 1) * taps];
        for (at, y) in y[line * length..(line + 1) * length].iter_mut().enumerate() {
            let sum = dot(&padded[at..at + taps], weight);
            *y = sum + bias.as_ref().map_or(0.0, |b| b[channel]);
            if k.int(0) != 0 {
                let x = if half { f16::from_f32(*y).to_f32() } else { *y };
                *y = x / (1.0 + (-x).exp());
            }
        }
        present.extend_from_slice(&padded[length..]);
    }
    Ok(vec![tensor(dt, &shape, &y)?, tensor(dt, &k.shape(1)?, &present)?])
}

/// TensorScatter.
pub(super) fn tensor_scatter(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (cache, update) = (w.need(0)?, w.need(1)?);
    let (cs, us) = (w.shape(cache)?, w.shape(update)?);
    let axis = w.axis(w.int("axis", -2), cs.len())?;
    let fits = axis > 0
        && us.len() == cs.len()
        && us.iter().zip(&cs).enumerate().all(|(ix, (u, c))| if ix == axis { u <= c } else { u == c });
    if !fits {
        return w.refuse(format!("an update of {us:?} of a cache of {cs:?} along axis {axis}"));
    }
    let circular = match w.text("mode", "linear").as_str() {
        "linear" => 0,
        "circular" => 1,
        other => return w.refuse(format!("mode `{other}`")),
    };
    let mut given = vec![cache, update];
    if let Some(indices) = w.input(2) {
        if w.shape(indices)?.as_slice() != &cs[..1] {
            return w.refuse("write_indices has one index for each member of the batch");
        }
        given.push(indices);
    }
    let outputs = tvec![w.dt(cache)?.fact(&cs[..])];
    w.kernel(Kernel::new("TensorScatter", outputs, run_tensor_scatter).ints([axis as i64, circular]), &given)
}

pub(super) fn run_tensor_scatter(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let (axis, circular) = (k.int(0) as usize, k.int(1) != 0);
    let mut cache = inputs[0].clone().into_tensor();
    let shape: TVec<usize> = cache.shape().into();
    let (longest, steps) = (shape[axis], inputs[1].shape()[axis]);
    let line = strides(&shape)[axis] * cache.datum_type().size_of();
    let blocks: usize = shape[..axis].iter().product();
    let per_member = blocks / shape[0].max(1);
    let indices = inputs.get(2).map(|t| i64s(t)).transpose()?;
    let update = inputs[1].as_bytes();
    let bytes = cache.as_bytes_mut();
    for block in 0..blocks {
        let first = indices.as_ref().map_or(0, |i| i[block / per_member]);
        for step in 0..steps {
            let mut to = first.saturating_add(step as i64);
            if circular {
                to = to.rem_euclid(longest as i64);
            }
            let to = usize::try_from(to).ok().filter(|to| *to < longest);
            let to = to.with_context(|| format!("index {first} into a cache of {longest}"))?;
            let (to, from) = ((block * longest + to) * line, (block * steps + step) * line);
            bytes[to..to + line].copy_from_slice(&update[from..from + line]);
        }
    }
    Ok(vec![cache])
}
