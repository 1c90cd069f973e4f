//! What carries a state.

use ic_nn_types::TensorType::*;

use super::{Op, close};

fn attention(rule: &str) -> Op {
    Op::new("LinearAttention")
        .text("update_rule", rule)
        .int("q_num_heads", 1)
        .int("kv_num_heads", 1)
        .real("scale", 1.0)
        .f32(&[1, 2, 1], &[1.0, 1.0])
        .f32(&[1, 2, 1], &[1.0, 2.0])
        .f32(&[1, 2, 1], &[3.0, 5.0])
}

#[test]
fn states_follow_their_rules() {
    attention("linear").gives(&[1, 2, 1], &[3.0, 13.0]);
    let half = 0.5f64.ln();
    let gated = attention("gated").nothing().f32(&[1, 2, 1], &[0.0, half]);
    gated.gives(&[1, 2, 1], &[3.0, 11.5]);
    let delta = attention("delta").nothing().nothing().f32(&[1, 2, 1], &[1.0, 0.5]);
    delta.gives(&[1, 2, 1], &[3.0, 3.0 + 2.0 * 0.5 * (5.0 - 6.0)]);
    let both = attention("gated_delta").f32(&[1, 1, 1, 1], &[1.0]).f32(&[1, 2, 1], &[0.0, half]);
    let outputs = both.f32(&[1, 2, 1], &[1.0, 1.0]).output(FP32).output(FP32).run().unwrap();
    let first = 1.0 + (3.0 - 1.0);
    let second = first / 2.0 + 2.0 * (5.0 - 2.0 * first / 2.0);
    close(&outputs[0].1, &[first, second]);
    close(&outputs[1].1, &[second]);
}

#[test]
fn rules_and_heads_that_do_not_fit_are_refused() {
    attention("gated").refuses(&["decay"]);
    attention("cubic").refuses(&["cubic"]);
    attention("linear").f32(&[1, 1, 1, 2], &[0.0; 2]).refuses(&["past_state"]);
    let none = Op::new("LinearAttention").int("q_num_heads", 0).int("kv_num_heads", 1);
    none.f32(&[1, 1, 1], &[1.0]).f32(&[1, 1, 1], &[1.0]).f32(&[1, 1, 1], &[1.0]).refuses(&["0 and 1 heads"]);
    let empty =
        Op::new("LinearAttention").text("update_rule", "linear").int("q_num_heads", 1).int("kv_num_heads", 1);
    empty.f32(&[1, 1, 0], &[]).f32(&[1, 1, 0], &[]).f32(&[1, 1, 0], &[]).refuses(&["without channels"]);
}

#[test]
fn convolutions_remember_what_came_before() {
    let op =
        || Op::new("CausalConvWithState").f32(&[1, 1, 3], &[1.0, 2.0, 3.0]).f32(&[1, 1, 2], &[10.0, 1.0]);
    op().gives(&[1, 1, 3], &[1.0, 12.0, 23.0]);
    let outputs = op().f32(&[1], &[0.5]).f32(&[1, 1, 1], &[4.0]).output(FP32).output(FP32).run().unwrap();
    close(&outputs[0].1, &[41.5, 12.5, 23.5]);
    assert_eq!(outputs[1], (vec![1, 1, 1], vec![3.0]));
    let silu = |x: f64| x / (1.0 + (-x).exp());
    op().text("activation", "silu").gives(&[1, 1, 3], &[silu(1.0), silu(12.0), silu(23.0)]);
    op().text("activation", "gelu").refuses(&["gelu"]);
    op().f32(&[2], &[0.0; 2]).refuses(&["input 2"]);
}

#[test]
fn caches_are_written_where_indices_say() {
    let op = |mode: &str| {
        Op::new("TensorScatter")
            .int("axis", 1)
            .text("mode", mode)
            .f32(&[2, 3], &[0.0; 6])
            .f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0])
    };
    op("linear").gives(&[2, 3], &[1.0, 2.0, 0.0, 3.0, 4.0, 0.0]);
    op("linear").i64(&[1.0, 0.0]).gives(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 0.0]);
    op("circular").i64(&[2.0, -1.0]).gives(&[2, 3], &[2.0, 0.0, 1.0, 4.0, 0.0, 3.0]);
    for index in [2.0, -1.0, 9e18] {
        let error = op("linear").i64(&[0.0, index]).run().unwrap_err();
        assert!(error.contains("into a cache of 3"), "{error}");
    }
    let wide = Op::new("TensorScatter").int("axis", 1).f32(&[1, 1], &[0.0]).f32(&[1, 2], &[0.0; 2]);
    wide.refuses(&["axis 1"]);
}
