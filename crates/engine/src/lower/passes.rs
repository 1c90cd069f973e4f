//! Whole models with each pass left out, against the same models with all of them.

use std::path::Path;

use ic_nn_kernels::Precision;
use ic_nn_types::{GraphEncoding, NamedTensor, Tensor};

use super::Passes;
use crate::plan::Plan;
use crate::{Graph, Limits, fixture};

/// Answers of a model on numbers that its shapes decide; none where it is there to be refused, or does not take them.
fn answers(file: &Path, passes: Passes) -> Option<Vec<NamedTensor>> {
    let limits = Limits::WASM32;
    let decoded =
        Graph::decoded(GraphEncoding::Onnx, vec![std::fs::read(file).unwrap().into()], &limits).ok()?;
    if !decoded.bound.is_empty() {
        return None;
    }
    let inputs: Vec<Tensor> = decoded.description.inputs.iter().map(fixture::varied).collect();
    let shapes: Vec<Vec<u32>> = inputs.iter().map(|input| input.dimensions.clone()).collect();
    let (typed, macs) = Plan::lowered(decoded.source, &shapes, &[], Precision::F32, passes).ok()?;
    let plan = Plan::of_lowered(typed, shapes, vec![], macs, &limits).ok()?;
    let mut run = plan.begin(&decoded.outputs, &inputs, &limits).ok()?;
    run.advance(&mut |_| true, &mut |_| ()).ok()?
}

/// Largest difference of two answers, relative to the largest number; of what are no floats whether they differ.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let (Some(x), Some(y)) = (a.to_f32(), b.to_f32()) else { return f64::from(u8::from(a != b)) };
    let largest = x.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    x.iter().zip(&y).map(|(x, y)| f64::from((x - y).abs() / largest)).fold(0.0, f64::max)
}

#[test]
fn models_answer_the_same_without_any_of_the_passes() {
    let mut compared = 0;
    for file in fixture::models() {
        let Some(all) = answers(&file, Passes::ALL) else { continue };
        for passes in [
            Passes { early: false, ..Passes::ALL },
            Passes { nodes: false, ..Passes::ALL },
            Passes { fuse: false, ..Passes::ALL },
            Passes { maps: false, ..Passes::ALL },
            Passes { early: false, nodes: false, fuse: false, maps: false },
        ] {
            let other = answers(&file, passes).expect("it runs without a pass as well");
            for ((name, a), (_, b)) in all.iter().zip(&other) {
                let apart = apart(a, b);
                assert!(apart < 1e-4, "{}: {name} is {apart} apart with {passes:?}", file.display());
            }
            compared += 1;
        }
    }
    assert!(compared >= 200, "{compared} comparisons");
}
