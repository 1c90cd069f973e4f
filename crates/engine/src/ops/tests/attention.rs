//! Attention.

use ic_nn_types::TensorType::*;

use super::{Op, close};

/// Three keys of one channel whose scores with a query of 1 are their values; the values count.
fn op(rows: u32) -> Op {
    let n = rows as usize;
    Op::new("Attention")
        .real("scale", 1.0)
        .f32(&[1, 1, rows, 1], &vec![1.0; n])
        .f32(&[1, 1, 3, 1], &[0.0, 1.0, 2.0])
        .f32(&[1, 1, 3, 1], &[1.0, 2.0, 3.0])
}

fn mean(scores: &[(f64, f64)]) -> f64 {
    let sum: f64 = scores.iter().map(|(s, _)| s.exp()).sum();
    scores.iter().map(|(s, v)| s.exp() * v).sum::<f64>() / sum
}

const ALL: [(f64, f64); 3] = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)];

#[test]
fn scores_weigh_values() {
    op(1).gives(&[1, 1, 1, 1], &[mean(&ALL)]);
    let capped: Vec<_> = ALL.iter().map(|(s, v)| (0.5 * (s / 0.5).tanh(), *v)).collect();
    op(1).real("softcap", 0.5).gives(&[1, 1, 1, 1], &[mean(&capped)]);
}

#[test]
fn rows_see_what_causality_and_windows_leave() {
    op(3).int("is_causal", 1).gives(&[1, 1, 3, 1], &[1.0, mean(&ALL[..2]), mean(&ALL)]);
    let window = op(3).int("left_window_size", 1).int("right_window_size", 0);
    window.gives(&[1, 1, 3, 1], &[1.0, mean(&ALL[..2]), mean(&ALL[1..])]);
    op(1).int("left_window_size", -2).refuses(&["windows"]);
}

#[test]
fn rows_that_see_nothing_are_zero() {
    let masked = op(2).input(BOOL, &[2, 3], &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    masked.gives(&[1, 1, 2, 1], &[0.0, 1.0]);
    let inf = f64::NEG_INFINITY;
    op(1).f32(&[3], &[inf, inf, inf]).gives(&[1, 1, 1, 1], &[0.0]);
    let short = op(1).nothing().nothing().nothing().i64(&[1.0]).int("is_causal", 1);
    short.gives(&[1, 1, 1, 1], &[1.0]);
}

#[test]
fn masks_are_broadcast_and_filled_up() {
    op(1).f32(&[1, 2], &[0.0, 5.0]).gives(&[1, 1, 1, 1], &[mean(&[(0.0, 1.0), (6.0, 2.0)])]);
    op(1).f32(&[2, 3], &[0.0; 6]).refuses(&["mask"]);
    op(1).f32(&[1, 1, 1, 1, 3], &[0.0; 3]).refuses(&["mask"]);
}

#[test]
fn the_past_comes_first_and_is_given_on() {
    let op = |causal: i64| {
        Op::new("Attention")
            .real("scale", 1.0)
            .int("is_causal", causal)
            .f32(&[1, 1, 1, 1], &[1.0])
            .f32(&[1, 1, 1, 1], &[2.0])
            .f32(&[1, 1, 1, 1], &[3.0])
            .nothing()
            .f32(&[1, 1, 2, 1], &[0.0, 1.0])
    };
    let outputs = op(1).f32(&[1, 1, 2, 1], &[1.0, 2.0]).output(FP32).output(FP32).output(FP32).run().unwrap();
    close(&outputs[0].1, &[mean(&ALL)]);
    assert_eq!(outputs[1], (vec![1, 1, 3, 1], vec![0.0, 1.0, 2.0]));
    assert_eq!(outputs[2], (vec![1, 1, 3, 1], vec![1.0, 2.0, 3.0]));
    op(0).refuses(&["past_value"]);
    op(0).f32(&[1, 1, 1, 1], &[1.0]).refuses(&["different lengths"]);
    op(0).f32(&[1, 2, 2, 1], &[1.0; 4]).refuses(&["a past of [1, 2, 2, 1]"]);
}

#[test]
fn queries_share_keys_in_groups_and_channels_are_heads() {
    let op = |kv: i64| {
        Op::new("Attention")
            .real("scale", 1.0)
            .int("q_num_heads", 2)
            .int("kv_num_heads", kv)
            .f32(&[1, 1, 2], &[1.0, -1.0])
            .f32(&[1, 2, 1], &[0.0, 1.0])
            .f32(&[1, 2, 1], &[1.0, 2.0])
    };
    op(1).gives(&[1, 1, 2], &[mean(&ALL[..2]), mean(&[(0.0, 1.0), (-1.0, 2.0)])]);
    op(0).refuses(&["kv_num_heads"]);
    op(2).refuses(&["kv_num_heads"]);
}

#[test]
fn scores_are_shown_as_asked() {
    for (mode, expected) in [(0, vec![0.0, 1.0, 2.0]), (2, vec![0.5, 1.5, 2.5])] {
        let op = op(1).int("qk_matmul_output_mode", mode).f32(&[3], &[0.5; 3]);
        let outputs = op.output(FP32).output(FP32).output(FP32).output(FP32).run().unwrap();
        close(&outputs[3].1, &expected);
    }
    op(1).int("qk_matmul_output_mode", 4).refuses(&["qk_matmul_output_mode"]);
    let op = Op::new("Attention").input(FP64, &[1, 1, 1, 1], &[1.0]).input(FP64, &[1, 1, 1, 1], &[1.0]);
    op.input(FP64, &[1, 1, 1, 1], &[1.0]).output(FP64).refuses(&["F64"]);
}
