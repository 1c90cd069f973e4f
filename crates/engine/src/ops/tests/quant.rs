//! Quantisation.

use ic_nn_types::TensorType::*;

use super::Op;

#[test]
fn ties_go_to_even_and_ends_are_kept() {
    let op = Op::new("QuantizeLinear").f32(&[5], &[0.5, 1.5, 2.5, 1e9, -1e9]).f32(&[], &[1.0]).input(
        U8,
        &[],
        &[3.0],
    );
    op.output(U8).gives(&[5], &[3.0, 5.0, 5.0, 255.0, 0.0]);
    let op = Op::new("QuantizeLinear").f32(&[2], &[1e9, -1e9]).f32(&[], &[0.5]).input(I16, &[], &[-1.0]);
    op.output(I16).gives(&[2], &[32767.0, -32768.0]);
}

#[test]
fn scales_lie_along_axes_and_in_blocks() {
    let x = [2.0, 4.0, 6.0, 8.0, 2.0, 4.0, 6.0, 8.0];
    let op = Op::new("QuantizeLinear").int("axis", 0).f32(&[2, 4], &x).f32(&[2], &[1.0, 2.0]).output(U8);
    op.gives(&[2, 4], &[2.0, 4.0, 6.0, 8.0, 1.0, 2.0, 3.0, 4.0]);
    let op = Op::new("QuantizeLinear").int("axis", 1).int("block_size", 2);
    let op = op.f32(&[2, 4], &x).f32(&[2, 2], &[1.0, 2.0, 2.0, 1.0]).output(U8);
    op.gives(&[2, 4], &[2.0, 4.0, 3.0, 4.0, 1.0, 2.0, 6.0, 8.0]);
    let op = Op::new("DequantizeLinear").int("axis", 1).int("block_size", 2).input(
        I16,
        &[1, 4],
        &[1.0, 2.0, 3.0, -4.0],
    );
    let op = op.f32(&[1, 2], &[1.0, 0.5]).input(I16, &[1, 2], &[0.0, 1.0]);
    op.gives(&[1, 4], &[1.0, 2.0, 1.0, -2.5]);
}

#[test]
fn scales_that_do_not_fit_are_refused() {
    let op = |block: i64| {
        Op::new("QuantizeLinear").int("axis", 1).int("block_size", block).f32(&[1, 4], &[0.0; 4])
    };
    op(0).f32(&[3], &[1.0; 3]).output(U8).refuses(&["[3]", "axis 1"]);
    op(3).f32(&[1, 3], &[1.0; 3]).output(U8).refuses(&["blocks of 3"]);
    op(-1).f32(&[1, 4], &[1.0; 4]).output(U8).refuses(&["blocks of -1"]);
    let op = op(0).f32(&[], &[1.0]).input(U8, &[2], &[0.0; 2]).output(U8);
    op.refuses(&["zero points"]);
}

#[test]
fn a_zero_scale_does_not_panic() {
    let op = Op::new("QuantizeLinear").f32(&[3], &[0.0, 1.0, -1.0]).f32(&[], &[0.0]).output(U8);
    op.gives(&[3], &[0.0, 255.0, 0.0]);
}
