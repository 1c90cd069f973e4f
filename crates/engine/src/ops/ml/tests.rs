//! Attributes well used and misused. What frameworks make of these operators is held by the suite `exporters`.

use ic_nn_types::{NamedTensor, Tensor, TensorType};
use tract_onnx::pb::{AttributeProto, ValueInfoProto, attribute_proto::AttributeType};

use crate::one_node::{self, FLOAT, INT64, attribute, float, floats, int, ints, text, texts, value};
use crate::{Graph, Limits};

/// One node of `ai.onnx.ml` from `inputs` to outputs of unknown shape.
fn load(
    op: &str,
    inputs: Vec<ValueInfoProto>,
    outputs: &[(&str, i32)],
    attributes: Vec<AttributeProto>,
) -> Result<Graph, String> {
    let outputs = outputs.iter().map(|(name, ty)| value(name, *ty, &[])).collect();
    one_node::load(("ai.onnx.ml", op), inputs, vec![], outputs, attributes, ("ai.onnx.ml", 3))
}

fn table(op: &str, columns: i64, labelled: bool, attributes: Vec<AttributeProto>) -> Result<Graph, String> {
    let outputs = [("label", INT64), ("scores", FLOAT)];
    let outputs = if labelled { &outputs[..] } else { &outputs[1..] };
    load(op, vec![value("x", FLOAT, &[-1, columns])], outputs, attributes)
}

fn ask(graph: &mut Graph, columns: u32, x: &[f32]) -> Result<Vec<NamedTensor>, String> {
    let x = Tensor::from_f32(vec![x.len() as u32 / columns, columns], x);
    graph.infer(vec![("x".into(), x)], &Limits::default()).map_err(|e| e.to_string())
}

/// Labels and scores of rows of one feature.
fn classes(graph: &mut Graph, x: &[f32]) -> (Vec<i64>, Vec<f32>) {
    let outputs = ask(graph, 1, x).expect("it infers");
    let labels = outputs[0].1.data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
    (labels, outputs[1].1.to_f32().expect("FP32"))
}

fn values(graph: &mut Graph, columns: u32, x: &[f32]) -> Vec<f32> {
    ask(graph, columns, x).expect("it infers")[0].1.to_f32().expect("FP32")
}

/// A tree of one branch on feature 0 with threshold 0, and leaves' weights (node, class or target, weight).
fn stump(mode: &str, leaves: &str, weights: &[(i64, i64, f32)]) -> Vec<AttributeProto> {
    let of = |field: &str| format!("{leaves}_{field}");
    vec![
        ints("nodes_treeids", &[0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[0, 0, 0]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
        floats("nodes_values", &[0.0, 0.0, 0.0]),
        texts("nodes_modes", &[mode, "LEAF", "LEAF"]),
        ints(&of("treeids"), &vec![0; weights.len()]),
        ints(&of("nodeids"), &weights.iter().map(|w| w.0).collect::<Vec<_>>()),
        ints(&of("ids"), &weights.iter().map(|w| w.1).collect::<Vec<_>>()),
        floats(&of("weights"), &weights.iter().map(|w| w.2).collect::<Vec<_>>()),
    ]
}

fn with(mut attributes: Vec<AttributeProto>, more: Vec<AttributeProto>) -> Vec<AttributeProto> {
    attributes.retain(|a| more.iter().all(|m| m.name != a.name));
    attributes.extend(more);
    attributes
}

fn binary(weights: &[(i64, i64, f32)], transform: &str) -> Vec<AttributeProto> {
    let more = vec![ints("classlabels_int64s", &[10, 20]), text("post_transform", transform)];
    with(stump("BRANCH_LEQ", "class", weights), more)
}

#[test]
fn log_odds_of_two_classes_are_the_second_s() {
    let attributes =
        with(binary(&[(1, 0, -2.0), (2, 0, 1.0)], "LOGISTIC"), vec![floats("base_values", &[0.5])]);
    let mut graph = table("TreeEnsembleClassifier", 1, true, attributes).expect("it loads");
    let (labels, scores) = classes(&mut graph, &[-1.0, 1.0]);
    assert_eq!(labels, [10, 20]);
    for (got, log_odds) in scores.chunks(2).zip([-1.5f32, 1.5]) {
        let second = 1.0 / (1.0 + (-log_odds).exp());
        assert!((got[1] - second).abs() < 1e-6 && (got[0] + got[1] - 1.0).abs() < 1e-6, "{got:?}");
    }
}

#[test]
fn a_probability_of_two_classes_is_the_second_s() {
    let mut graph = table("TreeEnsembleClassifier", 1, true, binary(&[(1, 0, 0.25), (2, 0, 0.75)], "NONE"))
        .expect("it loads");
    assert_eq!(classes(&mut graph, &[-1.0, 1.0]), (vec![10, 20], vec![0.75, 0.25, 0.25, 0.75]));
}

#[test]
fn a_score_a_class_lets_the_largest_win() {
    let weights = [(1, 0, 1.0), (1, 1, 3.0), (2, 2, 4.0)];
    let more = vec![ints("classlabels_int64s", &[7, 8, 9]), floats("base_values", &[0.0, 0.0, 2.5])];
    let attributes = with(stump("BRANCH_LT", "class", &weights), more);
    let mut graph = table("TreeEnsembleClassifier", 1, true, attributes).expect("it loads");
    assert_eq!(classes(&mut graph, &[-1.0, 0.0]), (vec![8, 9], vec![1.0, 3.0, 2.5, 0.0, 0.0, 6.5]));
}

#[test]
fn every_mode_compares_and_missing_values_follow_their_track() {
    let rows = [-1.0, 0.0, 1.0, f32::NAN];
    for (mode, holds) in [
        ("BRANCH_LEQ", [1.0, 1.0, 0.0, 0.0]),
        ("BRANCH_LT", [1.0, 0.0, 0.0, 0.0]),
        ("BRANCH_GTE", [0.0, 1.0, 1.0, 0.0]),
        ("BRANCH_GT", [0.0, 0.0, 1.0, 0.0]),
        ("BRANCH_EQ", [0.0, 1.0, 0.0, 0.0]),
        ("BRANCH_NEQ", [1.0, 0.0, 1.0, 1.0]),
    ] {
        for track in [0, 1] {
            let more = vec![ints("nodes_missing_value_tracks_true", &[track, 0, 0])];
            let attributes = with(stump(mode, "target", &[(1, 0, 1.0)]), more);
            let mut graph = table("TreeEnsembleRegressor", 1, false, attributes).expect("it loads");
            let mut expected = holds;
            expected[3] = f32::max(expected[3], track as f32);
            assert_eq!(values(&mut graph, 1, &rows), expected, "{mode}, track {track}");
        }
    }
}

#[test]
fn a_regressor_aggregates() {
    // Two trees of one leaf each.
    let forest = vec![
        ints("nodes_treeids", &[0, 1]),
        ints("nodes_nodeids", &[0, 0]),
        ints("nodes_featureids", &[0, 0]),
        ints("nodes_truenodeids", &[0, 0]),
        ints("nodes_falsenodeids", &[0, 0]),
        floats("nodes_values", &[0.0, 0.0]),
        texts("nodes_modes", &["LEAF", "LEAF"]),
        ints("target_treeids", &[0, 1, 1]),
        ints("target_nodeids", &[0, 0, 0]),
        ints("target_ids", &[0, 0, 1]),
        floats("target_weights", &[4.0, -2.0, 6.0]),
        int("n_targets", 2),
        floats("base_values", &[1.0, 10.0]),
    ];
    for (aggregate, expected) in
        [("SUM", [3.0, 16.0]), ("AVERAGE", [2.0, 13.0]), ("MIN", [-1.0, 16.0]), ("MAX", [5.0, 16.0])]
    {
        let attributes = with(forest.clone(), vec![text("aggregate_function", aggregate)]);
        let mut graph = table("TreeEnsembleRegressor", 1, false, attributes).expect("it loads");
        assert_eq!(values(&mut graph, 1, &[0.0]), expected, "{aggregate}");
    }
}

#[test]
fn a_forest_that_leads_astray_is_refused() {
    let stump = || stump("BRANCH_LEQ", "target", &[(1, 0, 1.0)]);
    for (more, words) in [
        (ints("nodes_nodeids", &[0, 1, 1]), "tree 0 has two nodes 1"),
        (ints("nodes_truenodeids", &[9, 0, 0]), "node 0 of tree 0 leads to 9, which is not there"),
        (ints("nodes_truenodeids", &[0, 0, 0]), "two ways lead to node 0 of tree 0"),
        (ints("nodes_truenodeids", &[2, 0, 0]), "two ways lead to node 2 of tree 0"),
        (ints("nodes_featureids", &[-1, 0, 0]), "feature -1"),
        (ints("nodes_featureids", &[3, 0, 0]), "rows of 4 features or more are expected, 1 came"),
        (floats("nodes_values", &[0.0]), "nodes_treeids has 3 elements, nodes_values has 1"),
        (texts("nodes_modes", &["BRANCH_MEMBER", "LEAF", "LEAF"]), "mode BRANCH_MEMBER"),
        (ints("nodes_missing_value_tracks_true", &[1]), "nodes_missing_value_tracks_true has 1"),
        (ints("target_nodeids", &[5]), "a weight is for node 5 of tree 0, which is not there"),
        (ints("target_ids", &[1]), "a weight is for target 1, there are 1 of them"),
        (ints("target_ids", &[0, 0]), "target_ids has 2 elements, target_treeids has 1"),
        (int("n_targets", 0), "n_targets is 0"),
        (floats("base_values", &[0.0, 0.0]), "base_values has 2 elements, 1 are expected"),
        (text("post_transform", "PROBIT"), "post_transform PROBIT is not served"),
        (text("aggregate_function", "MEDIAN"), "aggregate_function MEDIAN"),
        (attribute("nodes_values_as_tensor", AttributeType::Tensor), "nodes_values_as_tensor is not served"),
    ] {
        let refused = table("TreeEnsembleRegressor", 1, false, with(stump(), vec![more])).err();
        let refused = refused.unwrap_or_else(|| panic!("it loads: {words}"));
        assert!(refused.contains(words), "`{words}` is missing in: {refused}");
    }
}

#[test]
fn a_classifier_whose_scores_are_anyone_s_guess_is_refused() {
    for (attributes, words) in [
        (binary(&[(1, 0, -1.0), (2, 0, 1.0)], "NONE"), "two classes share one weight"),
        (binary(&[(1, 0, 1.0), (2, 0, 1.0)], "SOFTMAX"), "two classes share one weight"),
        (
            with(binary(&[(1, 0, 1.0)], "LOGISTIC"), vec![floats("base_values", &[1.0, 2.0])]),
            "base_values has 2 elements, 1 are expected",
        ),
        (
            with(binary(&[(1, 0, 1.0)], "LOGISTIC"), vec![ints("classlabels_int64s", &[1])]),
            "1 class labels, two at least are expected",
        ),
    ] {
        let refused = table("TreeEnsembleClassifier", 1, true, attributes).err();
        let refused = refused.unwrap_or_else(|| panic!("it loads: {words}"));
        assert!(refused.contains(words), "`{words}` is missing in: {refused}");
    }
}

#[test]
fn labels_that_are_strings_are_refused_for_what_they_are() {
    for op in ["TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"] {
        let refused = table(op, 1, true, vec![texts("classlabels_strings", &["a", "b"])]).err();
        let refused = refused.expect("it is refused");
        assert!(refused.contains("labels are strings") && refused.contains("encode"), "{op}: {refused}");
    }
}

fn machine() -> Vec<AttributeProto> {
    vec![
        ints("classlabels_ints", &[3, 4]),
        ints("vectors_per_class", &[1, 1]),
        floats("support_vectors", &[1.0, 0.0, 0.0, 1.0]),
        floats("coefficients", &[1.0, -1.0]),
        floats("rho", &[0.25]),
        text("kernel_type", "LINEAR"),
    ]
}

#[test]
fn a_support_vector_machine_votes() {
    let mut graph = table("SVMClassifier", 2, true, machine()).expect("it loads");
    let outputs = ask(&mut graph, 2, &[1.0, 0.0, 0.0, 1.0]).expect("it infers");
    assert_eq!(outputs[0].1.data, [3i64.to_le_bytes(), 4i64.to_le_bytes()].concat());
    assert_eq!(outputs[1].1.to_f32().expect("FP32"), [-1.25, 1.25, 0.75, -0.75]);
    for kernel in ["POLY", "RBF", "SIGMOID"] {
        let more = vec![text("kernel_type", kernel), floats("kernel_params", &[0.5, 0.1, 2.0])];
        let mut graph = table("SVMClassifier", 2, true, with(machine(), more)).expect("it loads");
        let outputs = ask(&mut graph, 2, &[1.0, 0.0]).expect("it infers");
        let (own, other) = match kernel {
            "POLY" => (0.6f64.powi(2), 0.1f64.powi(2)),
            "RBF" => (1.0, (-1.0f64).exp()),
            _ => (0.6f64.tanh(), 0.1f64.tanh()),
        };
        let got = f64::from(outputs[1].1.to_f32().expect("FP32")[1]);
        assert!((got - (own - other + 0.25)).abs() < 1e-6, "{kernel}: {got}");
    }
}

#[test]
fn a_support_vector_machine_out_of_measure_is_refused() {
    for (more, words) in [
        (ints("vectors_per_class", &[1]), "vectors_per_class has 1 elements, 2 are expected"),
        (ints("vectors_per_class", &[1, -1]), "vectors_per_class holds -1"),
        (ints("vectors_per_class", &[1, 2]), "which are not 3 vectors"),
        (floats("coefficients", &[1.0]), "coefficients has 1 elements, 2 are expected"),
        (floats("rho", &[]), "rho has 0 elements, 1 are expected"),
        (floats("prob_a", &[1.0, 2.0]), "prob_a has 2 elements, 1 are expected"),
        (floats("prob_a", &[1.0]), "prob_b has 0 elements, 1 are expected"),
        (floats("support_vectors", &[1.0, 2.0]), "rows of 1 features are expected, 2 came"),
        (text("kernel_type", "LAPLACE"), "kernel_type LAPLACE"),
        (text("post_transform", "SOFTMAX"), "post_transform Softmax"),
    ] {
        let refused = table("SVMClassifier", 2, true, with(machine(), vec![more])).err();
        let refused = refused.unwrap_or_else(|| panic!("it loads: {words}"));
        assert!(refused.contains(words), "`{words}` is missing in: {refused}");
    }
}

#[test]
fn columns_are_scaled_and_imputed() {
    let attributes = vec![floats("offset", &[1.0, 2.0]), floats("scale", &[10.0])];
    let mut graph = table("Scaler", 2, false, attributes).expect("it loads");
    assert_eq!(values(&mut graph, 2, &[1.0, 2.0, 3.0, 4.0]), [0.0, 0.0, 20.0, 20.0]);
    let refused =
        table("Scaler", 3, false, vec![floats("offset", &[1.0, 2.0])]).err().expect("it is refused");
    assert!(refused.contains("offset has 2 elements"), "{refused}");

    let attributes =
        vec![floats("imputed_value_floats", &[5.0, 6.0]), float("replaced_value_float", f32::NAN)];
    let mut graph = table("Imputer", 2, false, attributes).expect("it loads");
    assert_eq!(values(&mut graph, 2, &[f32::NAN, 2.0, 3.0, f32::NAN]), [5.0, 2.0, 3.0, 6.0]);
}

#[test]
fn categories_become_one_hot() {
    let encoder = |zeros| vec![ints("cats_int64s", &[4, 7]), int("zeros", zeros)];
    let mut graph = table("OneHotEncoder", 1, false, encoder(1)).expect("it loads");
    let outputs = ask(&mut graph, 1, &[7.0, 5.0]).expect("it infers");
    assert_eq!(outputs[0].1.dimensions, [2, 1, 2]);
    assert_eq!(outputs[0].1.to_f32().expect("FP32"), [0.0, 1.0, 0.0, 0.0]);
    let mut graph = table("OneHotEncoder", 1, false, encoder(0)).expect("it loads");
    let refused = ask(&mut graph, 1, &[5.0]).expect_err("it is refused");
    assert!(refused.contains("5 is none of the categories [4, 7]"), "{refused}");
}

#[test]
fn extracted_features_keep_the_rows() {
    // Whatever the shape of the list of indices, it is flat.
    for (axes, length) in [(&[1i64][..], 1u32), (&[2], 2), (&[1, 2], 2)] {
        let inputs = vec![value("x", FLOAT, &[-1, 3]), value("y", INT64, axes)];
        let mut graph = load("ArrayFeatureExtractor", inputs, &[("z", FLOAT)], vec![]).expect("it loads");
        let indices = |indices: &[i64]| Tensor {
            dimensions: axes.iter().map(|d| *d as u32).collect(),
            ty: TensorType::I64,
            data: indices[..length as usize].iter().flat_map(|i| i.to_le_bytes()).collect(),
        };
        let mut ask = |at: &[i64]| {
            let x = Tensor::from_f32(vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            graph.infer(vec![("x".into(), x), ("y".into(), indices(at))], &Limits::default())
        };
        let outputs = ask(&[2, 0]).expect("it infers");
        assert_eq!(outputs[0].1.dimensions, [2, length], "{axes:?}");
        let expected = if length == 1 { vec![3.0, 6.0] } else { vec![3.0, 1.0, 6.0, 4.0] };
        assert_eq!(outputs[0].1.to_f32().expect("FP32"), expected);
        let refused = ask(&[3, 0]).expect_err("it is refused").to_string();
        assert!(refused.contains("index 3 into an axis of 3"), "{refused}");
    }
}

#[test]
fn onnx_s_own_operators_need_its_operator_set() {
    let graph = table("Scaler", 1, false, vec![]).expect("it loads");
    assert_eq!(graph.description().opset, 0);
    for domain in ["", "ai.onnx"] {
        let (input, output) = (value("x", FLOAT, &[1]), value("y", FLOAT, &[1]));
        let relu =
            one_node::load((domain, "Relu"), vec![input], vec![], vec![output], vec![], ("ai.onnx.ml", 3));
        let refused = relu.err().expect("it is refused");
        assert!(refused.contains("operator set is not imported"), "{refused}");
    }
}
