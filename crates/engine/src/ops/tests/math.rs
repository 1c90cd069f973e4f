//! Elementwise operators, products, reductions.

use ic_nn_types::TensorType::*;

use super::{Op, element};

fn shift(ty: ic_nn_types::TensorType, direction: &str, a: &[f64], by: &[f64]) -> Vec<f64> {
    let n = a.len() as u32;
    Op::new("BitShift")
        .text("direction", direction)
        .input(ty, &[n], a)
        .input(ty, &[n], by)
        .output(ty)
        .values()
}

#[test]
fn shifts_by_too_much_shift_everything_out() {
    assert_eq!(shift(U8, "LEFT", &[3.0, 255.0, 1.0], &[1.0, 7.0, 8.0]), [6.0, 128.0, 0.0]);
    assert_eq!(shift(I8, "LEFT", &[65.0, 1.0, 1.0], &[1.0, -1.0, 200.0]), [-126.0, 0.0, 0.0]);
    assert_eq!(shift(I8, "RIGHT", &[-8.0, -8.0, 8.0], &[1.0, 100.0, -3.0]), [-4.0, -1.0, 0.0]);
    let top = (1u64 << 63) as f64;
    assert_eq!(shift(U64, "RIGHT", &[top, top, 9.0], &[63.0, 64.0, 0.0]), [1.0, 0.0, 9.0]);
    assert_eq!(shift(I64, "LEFT", &[1.0, 5.0], &[62.0, 64.0]), [(1u64 << 62) as f64, 0.0]);
    let op = Op::new("BitShift").text("direction", "UP").input(U8, &[1], &[1.0]).input(U8, &[1], &[1.0]);
    op.output(U8).refuses(&["direction", "UP"]);
}

#[test]
fn bits_are_cast_between_types_of_one_width() {
    let op = Op::new("BitCast").int("to", i64::from(element(I32))).f32(&[2], &[1.0, -0.0]).output(I32);
    op.gives(&[2], &[f64::from(0x3f80_0000), f64::from(i32::MIN)]);
    Op::new("BitCast").int("to", i64::from(element(I64))).f32(&[1], &[1.0]).output(I64).refuses(&["width"]);
    Op::new("BitCast").int("to", 99).f32(&[1], &[1.0]).refuses(&["99"]);
    Op::new("BitCast").int("to", 1).input(BF16, &[1], &[1.0]).refuses(&["bfloat16"]);
}

#[test]
fn activations_take_their_alpha() {
    let e = std::f64::consts::E;
    Op::new("Celu").real("alpha", 2.0).f32(&[2], &[-2.0, 3.0]).gives(&[2], &[2.0 * (1.0 / e - 1.0), 3.0]);
    let swish = |x: f64, alpha: f64| x / (1.0 + (-alpha * x).exp());
    Op::new("Swish")
        .real("alpha", 0.5)
        .f32(&[2], &[-2.0, 3.0])
        .gives(&[2], &[swish(-2.0, 0.5), swish(3.0, 0.5)]);
    let op = Op::new("SwiGLU").real("alpha", 2.0).f32(&[2], &[-2.0, 3.0]).f32(&[2], &[4.0, 5.0]);
    op.gives(&[2], &[4.0 * swish(-2.0, 2.0), 5.0 * swish(3.0, 2.0)]);
}

#[test]
fn slopes_go_with_channels_in_old_models() {
    let x: Vec<f64> = (0..8).map(|i| -f64::from(i)).collect();
    let old = Op::new("PRelu").opset(6).f32(&[1, 2, 4], &x).f32(&[2], &[1.0, 0.5]);
    old.gives(&[1, 2, 4], &[0.0, -1.0, -2.0, -3.0, -2.0, -2.5, -3.0, -3.5]);
    let new = Op::new("PRelu").f32(&[2, 2], &[-1.0, 2.0, -3.0, -4.0]).f32(&[2], &[0.1, 0.5]);
    new.gives(&[2, 2], &[-0.1, 2.0, -0.3, -2.0]);
}

#[test]
fn old_operands_are_broadcast_from_their_axis() {
    let op = |axis| Op::new("Add").opset(6).int("broadcast", 1).int("axis", axis).f32(&[2, 2], &[0.0; 4]);
    op(0).f32(&[2], &[1.0, 2.0]).gives(&[2, 2], &[1.0, 1.0, 2.0, 2.0]);
    op(1).f32(&[2], &[1.0, 2.0]).gives(&[2, 2], &[1.0, 2.0, 1.0, 2.0]);
    op(1).f32(&[2, 2], &[1.0; 4]).refuses(&["axis"]);
}

#[test]
fn floats_are_divided_and_not_multiplied() {
    // 5.5 / 11 is a half; times the rounded reciprocal of 11 it is not quite.
    let x: Vec<f64> = (0..64).map(|i| f64::from(i) * 5.5).collect();
    let expected: Vec<f64> = x.iter().map(|x| f64::from(*x as f32 / 11.0)).collect();
    let came = Op::new("Div").f32(&[64], &x).f32(&[], &[11.0]).values();
    assert_eq!(came, expected);
    let came =
        Op::new("Div").input(I32, &[2], &[7.0, -7.0]).input(I32, &[2], &[2.0, 2.0]).output(I32).values();
    assert_eq!(came, [3.0, -3.0]);
}

#[test]
fn vectors_multiply() {
    Op::new("MatMul").f32(&[3], &[1.0, 2.0, 3.0]).f32(&[3], &[4.0, 5.0, 6.0]).gives(&[], &[32.0]);
    Op::new("MatMul").f32(&[2], &[1.0, 2.0]).f32(&[3], &[4.0, 5.0, 6.0]).refuses(&["[2]", "[3]"]);
    let error = Op::new("MatMul").f32(&[2], &[1.0; 2]).f32(&[3, 1], &[1.0; 3]).run().unwrap_err();
    assert!(error.contains("cannot prepare"), "{error}");
    Op::new("MatMul").f32(&[], &[1.0]).f32(&[3], &[4.0, 5.0, 6.0]).refuses(&["scalar"]);
}

#[test]
fn products_accumulate_along_an_axis() {
    let op = || Op::new("CumProd").f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    op().input(I32, &[], &[1.0]).gives(&[2, 3], &[1.0, 2.0, 6.0, 4.0, 20.0, 120.0]);
    op().int("reverse", 1).input(I32, &[], &[-2.0]).gives(&[2, 3], &[4.0, 10.0, 18.0, 4.0, 5.0, 6.0]);
    let exclusive = op().int("exclusive", 1).int("reverse", 1).input(I32, &[], &[1.0]);
    exclusive.gives(&[2, 3], &[6.0, 3.0, 1.0, 30.0, 6.0, 1.0]);
    op().input(I32, &[], &[2.0]).refuses(&["axis 2"]);
}

#[test]
fn large_numbers_keep_their_logarithms() {
    let x = [0.0, 1.0, 1e4, 1e4 + 1.0];
    Op::new("LogSoftmax").int("axis", 0).f32(&[2, 2], &x).gives(&[2, 2], &[-1e4, -1e4, 0.0, 0.0]);
    let rest = (1.0 + 1f64.exp()).ln();
    Op::new("LogSoftmax").f32(&[2, 2], &x).gives(&[2, 2], &[-rest, 1.0 - rest, -rest, 1.0 - rest]);
}

#[test]
fn determinants() {
    let x = [0.0, 2.0, 3.0, 4.0, 1.0, 2.0, 2.0, 4.0];
    Op::new("Det").f32(&[2, 2, 2], &x).gives(&[2], &[-6.0, 0.0]);
    Op::new("Det").f32(&[2, 3], &[0.0; 6]).refuses(&["square"]);
}

#[test]
fn batches_are_normalised_by_given_statistics() {
    let op = |training: i64| {
        let op = Op::new("BatchNormalization").int("training_mode", training).real("epsilon", 0.0);
        let op = op.f32(&[1, 2, 2], &[1.0, 3.0, 4.0, 8.0]).f32(&[2], &[1.0, 2.0]).f32(&[2], &[0.0, 1.0]);
        op.f32(&[2], &[1.0, 4.0]).f32(&[2], &[4.0, 16.0])
    };
    op(0).gives(&[1, 2, 2], &[0.0, 1.0, 1.0, 3.0]);
    op(1).refuses(&["training_mode"]);
}

#[test]
fn integers_to_a_negative_power_are_whole() {
    let op = Op::new("Pow").input(I64, &[5], &[3.0, -1.0, -1.0, 1.0, 2.0]).input(
        I64,
        &[5],
        &[-1.0, -3.0, -2.0, -9.0, 10.0],
    );
    op.output(I64).gives(&[5], &[0.0, -1.0, 1.0, 1.0, 1024.0]);
    Op::new("Pow").f32(&[2], &[2.0, 4.0]).f32(&[], &[-1.0]).gives(&[2], &[0.5, 0.25]);
}

#[test]
fn types_that_have_no_code_are_refused_before_they_run() {
    Op::new("Sigmoid").input(FP64, &[1], &[0.0]).output(FP64).refuses(&["F64"]);
    Op::new("Shrink").input(I8, &[1], &[1.0]).output(I8).refuses(&["floats are expected"]);
}

#[test]
fn nothing_is_dropped_but_in_training() {
    let op = || Op::new("Dropout").f32(&[2], &[1.0, 2.0]).f32(&[], &[0.5]);
    let outputs = op().output(FP32).output(BOOL).run().unwrap();
    assert_eq!(outputs, [(vec![2], vec![1.0, 2.0]), (vec![2], vec![1.0, 1.0])]);
    op().input(BOOL, &[], &[1.0]).refuses(&["training_mode"]);
    op().input(BOOL, &[], &[0.0]).gives(&[2], &[1.0, 2.0]);
}

#[test]
fn extremes_of_nothing_are_infinite_and_nan_is_kept() {
    let inf = f64::INFINITY;
    let op = |name: &str| Op::new(name).f32(&[2, 0], &[]).i64(&[1.0]).int("keepdims", 0);
    op("ReduceMax").gives(&[2], &[-inf, -inf]);
    op("ReduceMin").gives(&[2], &[inf, inf]);
    let x = [-inf, -inf, 1.0, f64::NAN];
    Op::new("ReduceMax").f32(&[2, 2], &x).i64(&[-1.0]).gives(&[2, 1], &[-inf, f64::NAN]);
    Op::new("ReduceMin").f32(&[2, 2], &[4.0, 3.0, 1.0, 2.0]).gives(&[1, 1], &[1.0]);
    let op = Op::new("ReduceMax").input(BOOL, &[2, 2], &[0.0, 1.0, 0.0, 0.0]).i64(&[1.0]).output(BOOL);
    op.gives(&[2, 1], &[1.0, 0.0]);
    Op::new("ReduceMax").f32(&[2], &[1.0, 2.0]).i64(&[3.0]).refuses(&["axis 3"]);
}

#[test]
fn transforms_cancel_to_nothing() {
    // One turn of a cosine has two lines and nothing else, to well below f32's digits of its sums.
    let x: Vec<f64> = (0..32).map(|i| (std::f64::consts::TAU * f64::from(i) / 32.0).cos()).collect();
    let y = Op::new("DFT").f32(&[1, 32, 1], &x).nothing().input(I64, &[], &[1.0]).values();
    for (ix, y) in y.iter().enumerate() {
        let expected = if ix == 2 || ix == 62 { 16.0 } else { 0.0 };
        assert!((y - expected).abs() < 1e-6, "{ix}: {y}");
    }
}

#[test]
fn axes_that_are_not_there_are_refused() {
    Op::new("LayerNormalization")
        .int("axis", -9)
        .f32(&[2], &[1.0, 2.0])
        .f32(&[2], &[1.0; 2])
        .refuses(&["axis -9"]);
    Op::new("RMSNormalization")
        .int("axis", 5)
        .f32(&[2], &[1.0, 2.0])
        .f32(&[2], &[1.0; 2])
        .refuses(&["axis 5"]);
}

#[test]
fn bfloat16_goes_through_and_is_rounded_where_it_leaves() {
    let op = |x: &[f64]| Op::new("Add").input(BF16, &[2], x).input(BF16, &[2], &[1.0, 1.0]).output(BF16);
    op(&[1.0, 256.0]).gives(&[2], &[2.0, 256.0]);
    Op::new("Cast").int("to", 16).f32(&[2], &[1.001, 3.0]).output(BF16).gives(&[2], &[1.0, 3.0]);
    let op = Op::new("CastLike").f32(&[1], &[1.001]).input(BF16, &[1], &[0.0]).output(BF16);
    op.gives(&[1], &[1.0]);
}
