//! Runs that are left and gone on with, against runs in one go.

use std::path::{Path, PathBuf};

use ic_nn_kernels::Precision;
use ic_nn_types::{GraphEncoding, NamedTensor, Tensor};
use proptest::prelude::*;

use super::*;
use crate::lower::Passes;
use crate::parted::parted;
use crate::plan::Plan;
use crate::{Graph, Limits, fixture, one_node};

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx")
}

/// A plan for inputs of a batch, whose nodes are cut into parts of `largest` instructions.
fn plan(batch: u32, precision: Precision, largest: u64) -> (Plan, Vec<Output>, Vec<Tensor>) {
    let limits = Limits::WASM32;
    let file = std::fs::read(digits()).expect("the model is in the repository");
    let decoded = Graph::decoded(GraphEncoding::Onnx, vec![file.into()], &limits).expect("it decodes");
    let mut inputs: Vec<Tensor> = decoded.description.inputs.iter().map(fixture::varied).collect();
    for input in &mut inputs {
        input.data = input.data.repeat(batch as usize);
        input.dimensions[0] *= batch;
    }
    let shapes: Vec<Vec<u32>> = inputs.iter().map(|input| input.dimensions.clone()).collect();
    let (typed, macs) =
        Plan::lowered(decoded.source, &shapes, &[], precision, Passes::ALL).expect("it lowers");
    let mut plan = Plan::of_lowered(typed, shapes, vec![], macs, &limits).expect("it plans");
    Arc::get_mut(&mut plan.core).expect("nothing runs yet").largest = largest;
    (plan, decoded.outputs, inputs)
}

/// The outputs of a run that is left where `goes_on` says so, how often that was, and how many steps it has.
fn sliced(
    (plan, outputs, inputs): &(Plan, Vec<Output>, Vec<Tensor>),
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> (Vec<NamedTensor>, usize, usize) {
    let mut run = plan.begin(outputs, inputs, &Limits::WASM32).expect("it begins");
    let (mut left, mut steps) = (0, 0);
    loop {
        let before = run.progress();
        assert!(before.spent <= before.cost && (before.next > 0 || before.spent > 0), "{before:?}");
        let mut counted = |next| {
            let goes_on = goes_on(next);
            steps += usize::from(goes_on);
            goes_on
        };
        match run.advance(&mut counted, &mut |_| ()).expect("it runs") {
            Some(outputs) => return (outputs, left, steps),
            None => left += 1,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn where_a_run_is_left_does_not_show(
        batch in prop::sample::select(vec![1u32, 3, 70]), int8: bool, largest in prop::sample::select(vec![20_000u64, 200_000, 1 << 40]),
        budgets in proptest::collection::vec(0usize..6, 1..40),
    ) {
        let precision = if int8 { Precision::Int8 } else { Precision::F32 };
        let plan = plan(batch, precision, largest);
        let (whole, left, steps) = sliced(&plan, &mut |_| true);
        prop_assert_eq!(left, 0);
        // So many steps at a time, at least one.
        let (mut at, mut some) = (0, budgets[0]);
        let (parts, left, same) = sliced(&plan, &mut |_| {
            if some == 0 {
                at += 1;
                some = budgets[at % budgets.len()].max(1);
                return false;
            }
            some -= 1;
            true
        });
        prop_assert_eq!(steps, same);
        prop_assert_eq!(&parts, &whole);
        prop_assert!(left > 0 || budgets[0] >= steps);
        if largest == 20_000 && batch == 70 {
            prop_assert!(steps > plan.0.nodes().len(), "no node of {steps} steps is cut");
        }
    }
}

#[test]
fn parts_are_near_what_the_whole_gives() {
    let largest = |largest| sliced(&plan(70, Precision::F32, largest), &mut |_| true).0;
    let (whole, parts) = (largest(u64::MAX), largest(20_000));
    for ((_, whole), (_, parts)) in whole.iter().zip(&parts) {
        let (Some(whole), Some(parts)) = (whole.to_f32(), parts.to_f32()) else { panic!("floats") };
        let off = whole.iter().zip(&parts).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(off <= 1e-5, "{off}");
    }
}

#[test]
fn every_model_gives_the_same_cut_as_small_as_can_be() {
    let limits = Limits::WASM32;
    let (mut models, mut cut) = (0, std::collections::BTreeSet::new());
    for path in fixture::models() {
        let file = std::fs::read(&path).expect("a model");
        let Ok(mut graph) = Graph::load(file, &limits) else { continue };
        let inputs = graph.description().inputs.iter().map(|i| (i.name.clone(), fixture::varied(i)));
        let inputs: Vec<NamedTensor> = inputs.collect();
        let Ok(whole) = graph.infer(inputs.clone(), &limits) else { continue };
        let Some(core) = graph.plans.first_mut().and_then(|plan| Arc::get_mut(&mut plan.core)) else {
            continue;
        };
        core.set_largest(1);
        let model = core.runnable.model();
        let several = |n: &&TypedNode| parted(model, n, usize::MAX).is_some_and(|op| op.units() > 1);
        let ops = model.nodes().iter().filter(several);
        cut.extend(ops.map(|node| node.op.name().to_string()));
        models += 1;
        let parts = graph.infer(inputs, &limits).expect("it runs by parts");
        for ((name, whole), (_, parts)) in whole.iter().zip(&parts) {
            let (Some(whole), Some(parts)) = (whole.to_f32(), parts.to_f32()) else {
                assert_eq!(whole, parts, "{name} of {}", path.display());
                continue;
            };
            let most = whole.iter().fold(1f32, |most, x| most.max(x.abs()));
            for (whole, parts) in whole.iter().zip(&parts) {
                assert!(
                    (whole.is_nan() && parts.is_nan()) || (whole - parts).abs() <= 1e-5 * most,
                    "{name} of {}: {whole}, {parts}",
                    path.display()
                );
            }
        }
    }
    assert!(models > 10 && cut.len() > 3, "{models} models, cut: {cut:?}");
}

#[test]
fn lengths_that_depend_on_values_are_learned_on_the_way() {
    let declared = |name: &str, ty, axes: &[i64]| one_node::value(name, ty, axes);
    let x = declared("x", one_node::FLOAT, &[2, 3]);
    let y = declared("y", one_node::INT64, &[2, -1]);
    let mut graph =
        one_node::load(("", "NonZero"), vec![x], vec![], vec![y], vec![], ("", 17)).expect("it loads");
    let limits = Limits::WASM32;
    for numbers in [[1f32, 0.0, 0.0, 2.0, 3.0, 0.0], [0.0; 6], [1.0; 6]] {
        let inputs = vec![("x".to_owned(), Tensor::from_f32(vec![2, 3], &numbers))];
        let arranged = graph.arrange(inputs, &limits).expect("it fits");
        graph.plan(&arranged, &limits).expect("it plans");
        let mut run = graph.begin(&arranged, &limits).expect("it begins");
        assert!(!run.is_fixed());
        let mut left = 0;
        // A step at a time.
        let outputs = loop {
            let mut once = true;
            let goes_on = &mut |_| std::mem::replace(&mut once, false);
            match run.advance(goes_on, &mut |_| ()).expect("it runs") {
                Some(outputs) => break outputs,
                None => left += 1,
            }
        };
        graph.finish(run);
        let count = numbers.iter().filter(|n| **n != 0.0).count() as u32;
        assert_eq!(outputs[0].1.dimensions, [2, count]);
        assert!(left > 0, "it is left between its steps");
    }
}

#[test]
fn two_runs_of_a_plan_do_not_share_what_they_compute() {
    let (plan, outputs, inputs) = plan(2, Precision::F32, u64::MAX);
    let other: Vec<Tensor> =
        inputs.iter().map(|input| Tensor { data: vec![0; input.data.len()], ..input.clone() }).collect();
    let limits = Limits::WASM32;
    let alone = |inputs: &[Tensor]| {
        let mut run = plan.begin(&outputs, inputs, &limits).expect("it begins");
        run.advance(&mut |_| true, &mut |_| ()).expect("it runs").expect("it is done")
    };
    let expected = [alone(&inputs), alone(&other)];
    assert_ne!(expected[0], expected[1]);
    let mut runs = [&inputs, &other].map(|inputs| plan.begin(&outputs, inputs, &limits).expect("it begins"));
    let mut answers = [None, None];
    while answers.iter().any(Option::is_none) {
        for (run, answer) in runs.iter_mut().zip(&mut answers) {
            let mut once = true;
            if answer.is_none() {
                *answer =
                    run.advance(&mut |_| std::mem::replace(&mut once, false), &mut |_| ()).expect("it runs");
            }
        }
    }
    assert_eq!(answers.map(|answer| answer.expect("it is done")), expected);
}
