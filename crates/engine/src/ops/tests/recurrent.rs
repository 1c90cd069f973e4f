//! RNN, GRU and LSTM where they are ours.

use ic_nn_types::TensorType::*;

use super::{Op, close};

/// A recurrence of one unit: h = tanh(x + h / 2).
fn rnn(x: &[f64]) -> Vec<f64> {
    x.iter()
        .scan(0.0, |h, x| {
            *h = f64::tanh(x + *h / 2.0);
            Some(*h)
        })
        .collect()
}

fn one_unit(direction: &str, directions: u32, x: &[f64]) -> Op {
    let n = directions as usize;
    Op::new("RNN")
        .text("direction", direction)
        .int("hidden_size", 1)
        .f32(&[x.len() as u32, 1, 1], x)
        .f32(&[directions, 1, 1], &vec![1.0; n])
        .f32(&[directions, 1, 1], &vec![0.5; n])
}

#[test]
fn steps_are_taken_from_either_end() {
    let x = [0.1, -0.4, 0.7];
    let forward = rnn(&x);
    let mut backward = rnn(&[0.7, -0.4, 0.1]);
    let last = backward[2];
    backward.reverse();
    let reverse = one_unit("reverse", 1, &x).output(FP32).output(FP32).run().unwrap();
    assert_eq!(reverse[0].0, [3, 1, 1, 1]);
    close(&reverse[0].1, &backward);
    close(&reverse[1].1, &[last]);
    let both = one_unit("bidirectional", 2, &x).output(FP32).output(FP32).run().unwrap();
    let expected: Vec<f64> = forward.iter().zip(&backward).flat_map(|(a, b)| [*a, *b]).collect();
    close(&both[0].1, &expected);
    close(&both[1].1, &[forward[2], last]);
    one_unit("sideways", 1, &x).refuses(&["sideways"]);
}

#[test]
fn sequences_end_where_their_lengths_say() {
    let x = [0.1, 0.5, -0.4, 0.6, 0.7, 0.8];
    let op = |direction: &str| {
        Op::new("RNN")
            .text("direction", direction)
            .f32(&[3, 2, 1], &x)
            .f32(&[1, 1, 1], &[1.0])
            .f32(&[1, 1, 1], &[0.5])
            .nothing()
            .input(I32, &[2], &[2.0, 0.0])
            .output(FP32)
            .output(FP32)
    };
    let h = rnn(&[0.1, -0.4]);
    let outputs = op("forward").run().unwrap();
    close(&outputs[0].1, &[h[0], 0.0, h[1], 0.0, 0.0, 0.0]);
    close(&outputs[1].1, &[h[1], 0.0]);
    let h = rnn(&[-0.4, 0.1]);
    let outputs = op("reverse").run().unwrap();
    close(&outputs[0].1, &[h[1], 0.0, h[0], 0.0, 0.0, 0.0]);
    close(&outputs[1].1, &[h[1], 0.0]);
}

#[test]
fn gates_of_a_gru() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let op = |linear: i64| {
        Op::new("GRU")
            .int("linear_before_reset", linear)
            .f32(&[1, 1, 1], &[2.0])
            .f32(&[1, 3, 1], &[0.1, 0.2, 0.3])
            .f32(&[1, 3, 1], &[0.4, 0.5, 0.6])
            .f32(&[1, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.7])
            .nothing()
            .f32(&[1, 1, 1], &[-0.5])
    };
    let h = -0.5;
    let (z, r) = (sigmoid(0.2 + 0.4 * h), sigmoid(0.4 + 0.5 * h));
    let expected = |n: f64| (1.0 - z) * n + z * h;
    op(0).gives(&[1, 1, 1, 1], &[expected((0.6 + 0.6 * (r * h) + 0.7).tanh())]);
    op(1).gives(&[1, 1, 1, 1], &[expected((0.6 + r * (0.6 * h + 0.7)).tanh())]);
}

#[test]
fn gates_of_an_lstm_with_peepholes_and_clipping() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let op = |coupled: i64| {
        Op::new("LSTM")
            .int("input_forget", coupled)
            .real("clip", 0.5)
            .f32(&[1, 1, 1], &[2.0])
            .f32(&[1, 4, 1], &[0.1, 0.2, 0.05, 0.9])
            .f32(&[1, 4, 1], &[0.0; 4])
            .nothing()
            .nothing()
            .nothing()
            .f32(&[1, 1, 1], &[1.0])
            .f32(&[1, 3], &[0.1, 0.2, -0.3])
            .output(FP32)
            .output(FP32)
            .output(FP32)
    };
    let cell = |forget: Option<f64>| {
        let input = sigmoid(0.2 + 0.1);
        let c = forget.unwrap_or(1.0 - input) + input * 0.5f64.tanh();
        let output = sigmoid((0.4 + 0.2 * c).min(0.5));
        (output * c.tanh(), c)
    };
    for (coupled, (h, c)) in [(0, cell(Some(sigmoid(0.1 - 0.3)))), (1, cell(None))] {
        let outputs = op(coupled).run().unwrap();
        close(&outputs[0].1, &[h]);
        close(&outputs[1].1, &[h]);
        close(&outputs[2].1, &[c]);
    }
}

#[test]
fn activations_are_looked_up_and_weights_held_to_the_input() {
    let relu = Op::new("RNN").f32(&[2, 1, 1], &[-1.0, 2.0]).f32(&[1, 1, 1], &[1.0]).f32(&[1, 1, 1], &[1.0]);
    let relu = relu.strings("activations", &["Relu"]);
    relu.gives(&[2, 1, 1, 1], &[0.0, 2.0]);
    one_unit("reverse", 1, &[1.0]).strings("activations", &["Softmax"]).refuses(&["softmax"]);
    one_unit("bidirectional", 2, &[1.0]).strings("activations", &["Tanh"]).refuses(&["1 activations"]);
    one_unit("bidirectional", 1, &[1.0]).refuses(&["do not fit"]);
    let op = one_unit("reverse", 1, &[1.0]).f32(&[1, 3], &[0.0; 3]);
    op.refuses(&["input 3"]);
}
