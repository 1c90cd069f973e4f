//! What moves elements.

use ic_nn_types::TensorType::*;
use tract_onnx::pb::TensorProto;

use super::Op;
use crate::Limits;
use crate::one_node::{FLOAT, INT64, load, value};

fn counted(n: u32) -> Vec<f64> {
    (0..n).map(f64::from).collect()
}

#[test]
fn space_goes_to_depth_in_either_mode() {
    let op = |mode: &str| {
        Op::new("SpaceToDepth").int("blocksize", 2).text("mode", mode).f32(&[1, 2, 2, 2], &counted(8))
    };
    op("DCR").gives(&[1, 8, 1, 1], &[0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    op("CRD").gives(&[1, 8, 1, 1], &counted(8));
    op("XYZ").refuses(&["XYZ"]);
    Op::new("SpaceToDepth").int("blocksize", 3).f32(&[1, 2, 2, 2], &counted(8)).refuses(&["blocks of 3"]);
    Op::new("SpaceToDepth").int("blocksize", 0).f32(&[1, 2, 2, 2], &counted(8)).refuses(&["blocks of 0"]);
}

#[test]
fn sequences_are_reversed_as_far_as_they_go() {
    let op = |lengths: &[f64]| Op::new("ReverseSequence").f32(&[3, 2], &counted(6)).i64(lengths);
    op(&[3.0, 2.0]).gives(&[3, 2], &[4.0, 3.0, 2.0, 1.0, 0.0, 5.0]);
    let batch_first = Op::new("ReverseSequence").int("batch_axis", 0).int("time_axis", 1);
    batch_first.f32(&[2, 3], &counted(6)).i64(&[1.0, 3.0]).gives(&[2, 3], &[0.0, 1.0, 2.0, 5.0, 4.0, 3.0]);
    let error = op(&[4.0, 1.0]).run().unwrap_err();
    assert!(error.contains("a length of 4"), "{error}");
    op(&[1.0]).refuses(&["lengths"]);
}

#[test]
fn centres_are_cropped_and_padded() {
    let op = |shape: &[f64]| Op::new("CenterCropPad").f32(&[3, 4], &counted(12)).i64(shape);
    op(&[1.0, 2.0]).gives(&[1, 2], &[5.0, 6.0]);
    op(&[4.0, 3.0]).gives(&[4, 3], &[0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 9.0, 10.0, 0.0, 0.0, 0.0]);
    op(&[4.0]).refuses(&["1 lengths for 2 axes"]);
    op(&[-1.0, 2.0]).refuses(&["length of -1"]);
}

#[test]
fn pads_wrap_and_take_a_value_in_one_axis() {
    let op = Op::new("Pad").text("mode", "wrap").f32(&[3], &counted(3)).i64(&[2.0, 4.0]);
    op.gives(&[9], &[1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0]);
    let op = Op::new("Pad").f32(&[2], &counted(2)).i64(&[1.0, 0.0]).f32(&[1], &[7.0]);
    op.gives(&[3], &[7.0, 0.0, 1.0]);
    let op = Op::new("Pad").text("mode", "wrap").f32(&[3], &counted(3)).i64(&[2.0]);
    op.refuses(&["1 pads for 1 axes"]);
    let op = Op::new("Pad").text("mode", "wrap").f32(&[0], &[]).i64(&[1.0, 0.0]);
    op.refuses(&["without elements"]);
}

#[test]
fn edges_are_padded_whatever_the_value() {
    let op = |mode: &str| {
        Op::new("Pad").text("mode", mode).f32(&[3], &[1.0, 2.0, 3.0]).i64(&[2.0, 0.0]).f32(&[], &[9.0])
    };
    op("constant").gives(&[5], &[9.0, 9.0, 1.0, 2.0, 3.0]);
    Op::new("Pad").f32(&[3], &[1.0, 2.0, 3.0]).i64(&[2.0, -1.0]).refuses(&["below 0"]);
    op("edge").gives(&[5], &[1.0, 1.0, 1.0, 2.0, 3.0]);
    op("reflect").gives(&[5], &[3.0, 2.0, 1.0, 2.0, 3.0]);
}

#[test]
fn what_is_not_zero_is_found_where_it_is() {
    let op = |ty, shape: &[u32], values: &[f64]| Op::new("NonZero").input(ty, shape, values).output(I64);
    op(FP32, &[2, 3], &[1.0, 0.0, -0.0, 0.5, 0.0, 2.0]).gives(&[2, 3], &[0.0, 1.0, 1.0, 0.0, 0.0, 2.0]);
    op(BOOL, &[1, 1, 4], &[0.0, 1.0, 1.0, 0.0]).gives(&[3, 2], &[0.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
    op(I64, &[3], &[0.0, 0.0, 7.0]).gives(&[1, 1], &[2.0]);
    op(U8, &[2, 1, 2], &[3.0, 0.0, 4.0, 5.0]).gives(&[3, 3], &[0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    op(I64, &[1], &[0.0]).gives(&[1, 0], &[]);
    op(FP32, &[2, 0], &[]).gives(&[2, 0], &[]);
    op(FP32, &[], &[3.0]).gives(&[0, 1], &[]);
}

#[test]
fn what_is_not_zero_in_a_constant_is_known_beforehand() {
    let numbers = [0f32, 2.0, -0.0, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
    let dims = vec![2, 2];
    let x =
        TensorProto { name: "x".into(), data_type: FLOAT, dims, raw_data: numbers, ..TensorProto::default() };
    let (given, gives) = (value("x", FLOAT, &[2, 2]), value("y", INT64, &[2, 2]));
    let graph = load(("", "NonZero"), vec![given], vec![x], vec![gives], vec![], ("", 13));
    let outputs =
        graph.and_then(|mut graph| graph.infer(vec![], &Limits::default()).map_err(|e| e.to_string()));
    let (_, found) = outputs.expect("it is found").swap_remove(0);
    let found: Vec<i64> = found.data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
    assert_eq!(found, [0, 1, 1, 1]);
}

#[test]
fn coordinates_are_counted_from_the_end() {
    let op = |at: f64| {
        Op::new("ScatterND").f32(&[3], &[1.0, 2.0, 3.0]).input(I64, &[1, 1], &[at]).f32(&[1], &[9.0])
    };
    op(-1.0).gives(&[3], &[1.0, 2.0, 9.0]);
    assert!(op(-4.0).run().unwrap_err().contains("index -1 into an axis of 3"));
}

#[test]
fn classes_out_of_range_are_hot_nowhere() {
    let op = |depth: f64| {
        Op::new("OneHot").i64(&[0.0, -1.0, 5.0]).input(I64, &[], &[depth]).f32(&[2], &[2.0, 9.0])
    };
    op(3.0).gives(&[3, 3], &[9.0, 2.0, 2.0, 2.0, 2.0, 9.0, 2.0, 2.0, 2.0]);
    let first =
        Op::new("OneHot").int("axis", 0).i64(&[0.0, 1.0]).input(I64, &[], &[2.0]).f32(&[2], &[0.0, 1.0]);
    first.gives(&[2, 2], &[1.0, 0.0, 0.0, 1.0]);
    op(-1.0).refuses(&["depth of -1"]);
    let error = op(1e12).run().unwrap_err();
    assert!(error.contains("what the inputs ask for"), "{error}");
}

#[test]
fn conditions_keep_what_they_say() {
    let op = |c: &[f64]| {
        Op::new("Compress").int("axis", 1).f32(&[2, 3], &counted(6)).input(BOOL, &[c.len() as u32], c)
    };
    op(&[0.0, 1.0, 1.0]).gives(&[2, 2], &[1.0, 2.0, 4.0, 5.0]);
    op(&[1.0]).gives(&[2, 1], &[0.0, 3.0]);
    op(&[0.0, 0.0, 0.0, 1.0]).refuses(&["a condition of 4"]);
    let flat = Op::new("Compress").f32(&[2, 2], &counted(4)).input(BOOL, &[4], &[0.0, 1.0, 0.0, 1.0]);
    flat.gives(&[2], &[1.0, 3.0]);
}

#[test]
fn a_tensor_is_an_element() {
    Op::new("OptionalHasElement").f32(&[1], &[1.0]).output(BOOL).gives(&[], &[1.0]);
    Op::new("OptionalGetElement").f32(&[1], &[1.0]).gives(&[1], &[1.0]);
}
