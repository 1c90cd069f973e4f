//! If, Loop and Scan.

use ic_nn_types::TensorType::{BOOL, FP32, I64};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::{Op, close};
use crate::one_node;

/// A body: names that enter, nodes as operator, inputs and output, names that leave.
fn body(inputs: &[&str], nodes: &[(&str, &[&str], &str)], outputs: &[&str]) -> GraphProto {
    let value = |name: &&str| ValueInfoProto { name: (*name).into(), ..ValueInfoProto::default() };
    let node = |(operator, inputs, output): &(&str, &[&str], &str)| NodeProto {
        op_type: (*operator).into(),
        input: inputs.iter().map(|i| (*i).into()).collect(),
        output: vec![(*output).into()],
        ..NodeProto::default()
    };
    GraphProto {
        name: "body".into(),
        input: inputs.iter().map(value).collect(),
        output: outputs.iter().map(value).collect(),
        node: nodes.iter().map(node).collect(),
        ..GraphProto::default()
    }
}

#[test]
fn a_known_condition_takes_its_branch_alone() {
    // The other branch could not even be planned.
    let op = |condition: f64| {
        Op::new("If")
            .input(BOOL, &[], &[condition])
            .outside(FP32, &[2], &[1.0, -2.0])
            .body("then_branch", body(&[], &[("Neg", &["x1"], "a")], &["a"]))
            .body("else_branch", body(&[], &[("MatMul", &["x0", "x1"], "b")], &["b"]))
            .ranks(1)
    };
    op(1.0).gives(&[2], &[-1.0, 2.0]);
    assert!(op(0.0).run().is_err());
}

#[test]
fn a_condition_of_the_graph_keeps_both_branches() {
    let op = |x: &[f64]| {
        Op::new("If")
            .input(BOOL, &[1, 1], x)
            .outside(FP32, &[2], &[1.0, -2.0])
            .body("then_branch", body(&[], &[("Neg", &["x1"], "a")], &["a"]))
            .body("else_branch", body(&[], &[("Abs", &["x1"], "b")], &["b"]))
    };
    op(&[1.0]).gives(&[2], &[-1.0, 2.0]);
    op(&[0.0]).gives(&[2], &[1.0, 2.0]);
}

#[test]
fn branches_that_are_constants_are_given() {
    let constant = |number: f32| {
        let mut graph = body(&[], &[], &["a"]);
        let data = TensorProto { name: "a".into(), data_type: 1, dims: vec![2], ..TensorProto::default() };
        graph.initializer.push(TensorProto { float_data: vec![number; 2], ..data });
        graph
    };
    let op = |x: f64| {
        let op = Op::new("If").input(BOOL, &[1], &[x]);
        op.body("then_branch", constant(3.0)).body("else_branch", constant(4.0))
    };
    op(1.0).gives(&[2], &[3.0, 3.0]);
    op(0.0).gives(&[2], &[4.0, 4.0]);
}

#[test]
fn lengths_of_a_branch_may_depend_on_values() {
    let op = |x: f64| {
        let found: [(&str, &[&str], &str); 3] =
            [("NonZero", &["x1"], "n"), ("Gather", &["x1", "n"], "g"), ("Neg", &["g"], "a")];
        Op::new("If")
            .input(BOOL, &[1], &[x])
            .outside(FP32, &[4], &[1.0, 0.0, -2.0, 3.0])
            .body("then_branch", body(&[], &found, &["a"]))
            .body("else_branch", body(&[], &found[..2], &["g"]))
            .ranks(2)
    };
    op(1.0).gives(&[1, 3], &[-1.0, 2.0, -3.0]);
    op(0.0).gives(&[1, 3], &[1.0, -2.0, 3.0]);
}

#[test]
fn lengths_within_a_step_may_depend_on_values() {
    let nodes: &[(&str, &[&str], &str)] =
        &[("NonZero", &["t"], "n"), ("Gather", &["t", "n"], "g"), ("ReduceMax", &["g"], "m")];
    // With types tract makes a Scan of it.
    let mut step = body(&["t"], nodes, &["m"]);
    step.input = vec![one_node::value("t", one_node::FLOAT, &[4])];
    step.output = vec![one_node::value("m", one_node::FLOAT, &[1, 1])];
    let x = [1.0, 0.0, -2.0, 3.0, -1.0, -1.0, 0.0, -4.0];
    let op = Op::new("Scan").body("body", step).int("num_scan_inputs", 1).f32(&[2, 4], &x);
    op.ranks(3).gives(&[2, 1, 1], &[3.0, -1.0]);
}

fn doubling() -> Op {
    let nodes: &[(&str, &[&str], &str)] = &[("Add", &["v", "v"], "w"), ("Identity", &["w"], "s")];
    Op::new("Loop").body("body", body(&["i", "c", "v"], nodes, &["c", "w", "s"]))
}

#[test]
fn repetition_carries_and_collects() {
    let op = doubling().input(I64, &[], &[3.0]).input(BOOL, &[], &[1.0]).f32(&[1], &[1.5]);
    let outputs = op.ranks(1).output(FP32).output(FP32).run().unwrap();
    close(&outputs[0].1, &[12.0]);
    assert_eq!(outputs[1], (vec![3, 1], vec![3.0, 6.0, 12.0]));
    let never = || doubling().input(I64, &[], &[3.0]).input(BOOL, &[], &[0.0]).f32(&[1], &[1.5]);
    never().ranks(1).gives(&[1], &[1.5]);
    never().ranks(1).output(FP32).output(FP32).refuses(&["no time"]);
}

#[test]
fn what_is_carried_may_grow() {
    let nodes: &[(&str, &[&str], &str)] = &[("Unsqueeze", &["v", "zero"], "w")];
    let op = Op::new("Loop").body("body", body(&["i", "c", "v"], nodes, &["c", "w"]));
    let op = op.input(I64, &[], &[2.0]).nothing().f32(&[1], &[1.5]).named("zero", I64, &[1], &[0.0]);
    op.ranks(3).gives(&[1, 1, 1], &[1.5]);
}

#[test]
fn ends_that_are_not_known_and_steps_without_end_are_refused() {
    let nodes: &[(&str, &[&str], &str)] = &[("Add", &["v", "v"], "w"), ("Less", &["w", "x2"], "d")];
    let op = Op::new("Loop").body("body", body(&["i", "c", "v"], nodes, &["d", "w"]));
    let op = op.input(I64, &[], &[9.0]).input(BOOL, &[], &[1.0]).f32(&[], &[1.0]).ranks(0);
    op.refuses(&["depends on values"]);
    let forever = doubling().nothing().input(BOOL, &[], &[1.0]).f32(&[1], &[1.0]).ranks(1);
    forever.refuses(&["nodes"]);
    let op = doubling().input(I64, &[], &[1.0]).input(BOOL, &[], &[1.0]).ranks(1);
    op.refuses(&["a body of 3 inputs for 0 values"]);
}

#[test]
fn sequences_are_scanned_without_types_in_the_body() {
    let nodes: &[(&str, &[&str], &str)] = &[("Add", &["h", "x"], "g"), ("Neg", &["g"], "o")];
    let op = |x: &[f64], directions: &[i64]| {
        Op::new("Scan")
            .int("num_scan_inputs", 1)
            .ints("scan_input_directions", directions)
            .body("body", body(&["h", "x"], nodes, &["g", "o"]))
            .f32(&[1], &[0.5])
            .f32(&[x.len() as u32, 1], x)
            .output(FP32)
            .output(FP32)
    };
    let outputs = op(&[1.0, 2.0, 4.0], &[0]).run().unwrap();
    close(&outputs[0].1, &[7.5]);
    assert_eq!(outputs[1], (vec![3, 1], vec![-1.5, -3.5, -7.5]));
    let backwards = op(&[1.0, 2.0, 4.0], &[1]).run().unwrap();
    assert_eq!(backwards[1].1, [-4.5, -6.5, -7.5]);
    op(&[], &[0]).refuses(&["nothing"]);
}

#[test]
fn shapes_are_filled_with_single_zeros() {
    Op::new("ConstantOfShape").i64(&[2.0]).gives(&[2], &[0.0, 0.0]);
}
