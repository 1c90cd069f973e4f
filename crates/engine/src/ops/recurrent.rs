//! RNN, GRU and LSTM where tract has no part or gets it wrong: reverse and bidirectional, lengths by sequence,
//! clipping, activations other than the usual, coupled gates, batch first. What is forward and plain is left to tract.
//!
//! Weights are multiplied in f32, activations are computed in f64.

use std::ops::Range;

use ic_nn_kernels::dot;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, f32s, i64s, put, zeros};
use super::lowered::Wirer;

/// Gates of each cell, by kind.
const GATES: [usize; 3] = [1, 3, 4];
const RNN: i64 = 0;
const GRU: i64 = 1;

/// Activations by code, with their defaults of alpha and beta.
const ACTIVATIONS: [(&str, f64, f64); 11] = [
    ("sigmoid", 0.0, 0.0),
    ("tanh", 0.0, 0.0),
    ("relu", 0.0, 0.0),
    ("affine", 1.0, 0.0),
    ("leakyrelu", 0.01, 0.0),
    ("thresholdedrelu", 1.0, 0.0),
    ("scaledtanh", 1.0, 1.0),
    ("hardsigmoid", 0.2, 0.5),
    ("elu", 1.0, 0.0),
    ("softsign", 0.0, 0.0),
    ("softplus", 0.0, 0.0),
];

/// RNN, GRU, LSTM.
pub(super) fn recurrent(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (kind, usual): (i64, &[&str]) = match w.node.op_type.as_str() {
        "RNN" => (RNN, &["Tanh"]),
        "GRU" => (GRU, &["Sigmoid", "Tanh"]),
        _ => (2, &["Sigmoid", "Tanh", "Tanh"]),
    };
    let direction = match w.text("direction", "forward").as_str() {
        "forward" => 0,
        "reverse" => 1,
        "bidirectional" => 2,
        other => return w.refuse(format!("direction `{other}`")),
    };
    let names = w.texts("activations");
    // tract's GRU loses digits where a gate is nearly closed.
    let unusual = direction != 0
        || kind == GRU
        || w.dt(w.need(0)?)? != DatumType::F32
        || w.input(4).is_some()
        || !names.is_empty()
        || w.has("clip")
        || w.int("input_forget", 0) != 0
        || w.int("layout", 0) != 0;
    if !unusual {
        // Of a sequence as long as values say tract makes a Scan; of a batch of unknown size it makes nothing.
        let x = w.fact(w.need(0)?)?;
        if x.shape.dims().get(1).is_none_or(|batch| batch.to_usize().is_err()) {
            return w.refuse("the size of the batch depends on values");
        }
        return w.stock_itself();
    }
    let x = w.need(0)?;
    let dt = w.dt(x)?;
    let batch_first = w.int("layout", 0) != 0;
    let (x_shape, w_shape, r_shape) = (w.shape(x)?, w.shape(w.need(1)?)?, w.shape(w.need(2)?)?);
    let gates = GATES[kind as usize];
    let directions = if direction == 2 { 2 } else { 1 };
    let (&[a, b, inputs], &[_, rows, columns], &[_, r_rows, hidden]) =
        (&x_shape[..], &w_shape[..], &r_shape[..])
    else {
        return w.refuse(format!("X {x_shape:?}, W {w_shape:?}, R {r_shape:?}: rank 3 is expected"));
    };
    let (steps, batch) = if batch_first { (b, a) } else { (a, b) };
    let fits = columns == inputs
        && rows == gates * hidden
        && r_rows == rows
        && w_shape[0] == directions
        && r_shape[0] == directions;
    if !fits {
        return w.refuse(format!("W {w_shape:?} and R {r_shape:?} do not fit X {x_shape:?}"));
    }
    let state: &[usize] =
        if batch_first { &[batch, directions, hidden] } else { &[directions, batch, hidden] };
    let expected: [&[usize]; 5] =
        [&[directions, 2 * rows], &[batch], state, state, &[directions, 3 * hidden]];
    let mut mask = 0;
    let mut given = vec![w.need(0)?, w.need(1)?, w.need(2)?];
    for (ix, expected) in expected.into_iter().enumerate() {
        let Some(input) = w.input(3 + ix) else { continue };
        let shape = w.shape(input)?;
        if shape.as_slice() != expected {
            return w.refuse(format!("input {} is {shape:?}, {expected:?} is expected", 3 + ix));
        }
        mask |= 1 << ix;
        given.push(input);
    }
    let mut ints = vec![
        kind,
        direction,
        i64::from(batch_first),
        w.int("linear_before_reset", 0),
        w.int("input_forget", 0),
        mask,
    ];
    let clip = if w.has("clip") { f64::from(w.real("clip", 0.0)) } else { f64::INFINITY };
    let mut reals = vec![clip];
    let (alphas, betas) = (w.reals("activation_alpha"), w.reals("activation_beta"));
    let (mut alphas, mut betas) = (alphas.into_iter(), betas.into_iter());
    for ix in 0..usual.len() * directions {
        let name = match names.get(ix) {
            Some(name) => name.to_lowercase(),
            None if names.is_empty() => usual[ix % usual.len()].to_lowercase(),
            None => return w.refuse(format!("{} activations for {directions} directions", names.len())),
        };
        let Some(code) = ACTIVATIONS.iter().position(|(known, _, _)| *known == name) else {
            return w.refuse(format!("activation `{name}`"));
        };
        let (_, alpha, beta) = ACTIVATIONS[code];
        ints.push(code as i64);
        reals.push(if alpha != 0.0 { alphas.next().map_or(alpha, f64::from) } else { 0.0 });
        reals.push(if beta != 0.0 { betas.next().map_or(beta, f64::from) } else { 0.0 });
    }
    let y: &[usize] =
        if batch_first { &[batch, steps, directions, hidden] } else { &[steps, directions, batch, hidden] };
    let mut outputs = tvec![dt.fact(y), dt.fact(state)];
    if kind > GRU {
        outputs.push(dt.fact(state));
    }
    let copies =
        4 * (x_shape.iter().chain(&w_shape[..1]).product::<usize>() + directions * rows * (inputs + hidden));
    w.kernel(Kernel::new("recurrent", outputs, run).ints(ints).reals(reals).scratch(copies), &given)
}

/// One activation: code, alpha, beta.
type Activation = (i64, f64, f64);

fn activate((code, alpha, beta): Activation, x: f64) -> f64 {
    match code {
        0 => 1.0 / (1.0 + (-x).exp()),
        1 => x.tanh(),
        2 => x.max(0.0),
        3 => alpha * x + beta,
        4 => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        5 => {
            if x > alpha {
                x
            } else {
                0.0
            }
        }
        6 => alpha * (beta * x).tanh(),
        7 => (alpha * x + beta).clamp(0.0, 1.0),
        8 => {
            if x < 0.0 {
                alpha * (x.exp() - 1.0)
            } else {
                x
            }
        }
        9 => x / (1.0 + x.abs()),
        _ => (1.0 + x.exp()).ln(),
    }
}

pub(super) fn run(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    let mut outputs = zeros(k)?;
    let shapes: Vec<TVec<usize>> = inputs.iter().map(|input| input.shape().into()).collect();
    steps(k, inputs, &mut outputs, 0..units(&shapes))?;
    Ok(outputs)
}

/// Steps of all sequences in all directions.
pub(super) fn units(inputs: &[TVec<usize>]) -> usize {
    let directions = inputs.get(1).and_then(|weights| weights.first());
    inputs
        .first()
        .zip(directions)
        .map_or(0, |(x, directions)| x.iter().take(2).product::<usize>() * directions)
}

/// Computes these steps: those of a sequence one after the other, its state meanwhile being where its last one will be.
pub(super) fn steps(
    k: &Kernel,
    inputs: &[TValue],
    outputs: &mut [Tensor],
    wanted: Range<usize>,
) -> TractResult<()> {
    let (kind, batch_first) = (k.int(0), k.int(2) != 0);
    let mut rest = inputs.iter().skip(3);
    let mut optional = |bit: i64| if k.int(5) & bit != 0 { rest.next() } else { None };
    let bias = optional(1).map(|t| f32s(t)).transpose()?;
    let lengths = optional(2).map(|t| i64s(t)).transpose()?;
    let first_h = optional(4).map(|t| f32s(t)).transpose()?;
    let first_c = optional(8).map(|t| f32s(t)).transpose()?;
    let peepholes = optional(16).map(|t| f32s(t)).transpose()?;
    let (x, weights, recurrence) = (f32s(&inputs[0])?, f32s(&inputs[1])?, f32s(&inputs[2])?);
    let x_shape = inputs[0].shape();
    let (steps, batch) = if batch_first { (x_shape[1], x_shape[0]) } else { (x_shape[0], x_shape[1]) };
    let (width, hidden) = (x_shape[2], inputs[2].shape()[2]);
    let (directions, rows) = (inputs[1].shape()[0], inputs[1].shape()[1]);
    let per_cell = (k.ints.len() - 6) / directions;
    // Where a step or a state of a direction and a member of the batch stands.
    let x_at =
        |t: usize, b: usize| if batch_first { (b * steps + t) * width } else { (t * batch + b) * width };
    let state_at = |d: usize, b: usize| {
        if batch_first { (b * directions + d) * hidden } else { (d * batch + b) * hidden }
    };
    let y_at = |t: usize, d: usize, b: usize| {
        hidden * if batch_first { (b * steps + t) * directions + d } else { (t * directions + d) * batch + b }
    };
    let mut gates = vec![0f32; rows];
    let mut from_h = vec![0f32; rows];
    let mut next = wanted.start;
    while next < wanted.end {
        let (sequence, first) = (next / steps, next % steps);
        let end = steps.min(first + wanted.end - next);
        next = sequence * steps + end;
        let (d, b) = (sequence / batch, sequence % batch);
        let reverse = k.int(1) == 1 || d == 1;
        let activation: Vec<Activation> = (d * per_cell..(d + 1) * per_cell)
            .map(|ix| (k.int(6 + ix), k.real(1 + 2 * ix), k.real(2 + 2 * ix)))
            .collect();
        let w = &weights[d * rows * width..(d + 1) * rows * width];
        let r = &recurrence[d * rows * hidden..(d + 1) * rows * hidden];
        let bias_w = bias.as_ref().map(|b| &b[2 * d * rows..(2 * d + 1) * rows]);
        let bias_r = bias.as_ref().map(|b| &b[(2 * d + 1) * rows..(2 * d + 2) * rows]);
        let peephole = peepholes.as_ref().map(|p| &p[3 * d * hidden..3 * (d + 1) * hidden]);
        let at = state_at(d, b);
        let take = |begin: &Option<Vec<f32>>, so_far: Option<&Tensor>| match (begin, so_far) {
            (_, Some(state)) if first > 0 => Ok(f32s(state)?[at..at + hidden].to_vec()),
            (Some(begin), _) => Ok(begin[at..at + hidden].to_vec()),
            (None, _) => TractResult::Ok(vec![0f32; hidden]),
        };
        let mut h = take(&first_h, outputs.get(1))?;
        let mut c = take(&first_c, outputs.get(2))?;
        let length = match &lengths {
            Some(lengths) => usize::try_from(lengths[b]).unwrap_or(0).min(steps),
            None => steps,
        };
        for step in first..end.min(length) {
            let t = if reverse { length - 1 - step } else { step };
            let x = &x[x_at(t, b)..x_at(t, b) + width];
            for row in 0..rows {
                gates[row] = dot(&w[row * width..(row + 1) * width], x) + bias_w.map_or(0.0, |b| b[row]);
                from_h[row] = dot(&r[row * hidden..(row + 1) * hidden], &h) + bias_r.map_or(0.0, |b| b[row]);
            }
            let cell = Cell { k, activation: &activation, gates: &gates, from_h: &from_h, hidden };
            match kind {
                RNN => cell.rnn(&mut h),
                GRU => cell.gru(&mut h, &r[2 * hidden * hidden..], bias_r),
                _ => cell.lstm(&mut h, &mut c, peephole),
            }
            put(&mut outputs[0], y_at(t, d, b), &h)?;
        }
        put(&mut outputs[1], at, &h)?;
        if let Some(state) = outputs.get_mut(2) {
            put(state, at, &c)?;
        }
    }
    Ok(())
}

/// One step of one sequence: what the input and the state come to, gate after gate.
struct Cell<'a> {
    k: &'a Kernel,
    activation: &'a [Activation],
    gates: &'a [f32],
    from_h: &'a [f32],
    hidden: usize,
}

impl Cell<'_> {
    fn clip(&self, x: f64) -> f64 {
        x.clamp(-self.k.real(0), self.k.real(0))
    }

    /// Gate `gate` of unit `unit` before its activation.
    fn gate(&self, gate: usize, unit: usize) -> f64 {
        let at = gate * self.hidden + unit;
        f64::from(self.gates[at]) + f64::from(self.from_h[at])
    }

    fn rnn(&self, h: &mut [f32]) {
        for (unit, h) in h.iter_mut().enumerate() {
            *h = activate(self.activation[0], self.clip(self.gate(0, unit))) as f32;
        }
    }

    fn gru(&self, h: &mut [f32], r_h: &[f32], bias_r: Option<&[f32]>) {
        let hidden = self.hidden;
        let gates = |gate: usize| -> Vec<f64> {
            (0..hidden).map(|u| activate(self.activation[0], self.clip(self.gate(gate, u)))).collect()
        };
        let (update, reset) = (gates(0), gates(1));
        let linear = self.k.int(3) != 0;
        let reset_h: Vec<f32> = h.iter().zip(&reset).map(|(h, r)| (f64::from(*h) * r) as f32).collect();
        let candidate: Vec<f64> = (0..hidden)
            .map(|u| {
                let at = 2 * hidden + u;
                let from_h = if linear {
                    reset[u] * f64::from(self.from_h[at])
                } else {
                    let bias = bias_r.map_or(0.0, |b| b[at]);
                    f64::from(dot(&r_h[u * hidden..(u + 1) * hidden], &reset_h) + bias)
                };
                activate(self.activation[1], self.clip(f64::from(self.gates[at]) + from_h))
            })
            .collect();
        for (u, h) in h.iter_mut().enumerate() {
            *h = ((1.0 - update[u]) * candidate[u] + update[u] * f64::from(*h)) as f32;
        }
    }

    fn lstm(&self, h: &mut [f32], c: &mut [f32], peephole: Option<&[f32]>) {
        let (f, g, out) = (self.activation[0], self.activation[1], self.activation[2]);
        let peek = |gate: usize, u: usize, c: f64| {
            peephole.map_or(0.0, |p| f64::from(p[gate * self.hidden + u]) * c)
        };
        for (u, (h, c)) in h.iter_mut().zip(c).enumerate() {
            let before = f64::from(*c);
            // ONNX's order: input, output, forget, cell; of peepholes: input, output, forget.
            let input = activate(f, self.clip(self.gate(0, u) + peek(0, u, before)));
            let forget = if self.k.int(4) != 0 {
                1.0 - input
            } else {
                activate(f, self.clip(self.gate(2, u) + peek(2, u, before)))
            };
            let now = forget * before + input * activate(g, self.clip(self.gate(3, u)));
            let output = activate(f, self.clip(self.gate(1, u) + peek(1, u, now)));
            *c = now as f32;
            *h = (output * activate(out, now)) as f32;
        }
    }
}
