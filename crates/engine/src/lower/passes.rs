//! Whole models with each pass left out, against the same models with all of them.

use std::path::{Path, PathBuf};

use ic_nn_kernels::Precision;
use ic_nn_types::{GraphEncoding, NamedTensor, Tensor, TensorType};

use super::Passes;
use crate::plan::Plan;
use crate::{Graph, Limits};

fn models(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            models(&path, found);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
}

/// Answers of a model on numbers that its shapes decide; none where it is there to be refused, or does not take them.
fn answers(file: &Path, passes: Passes) -> Option<Vec<NamedTensor>> {
    let limits = Limits::WASM32;
    let decoded = Graph::decoded(GraphEncoding::Onnx, vec![std::fs::read(file).unwrap()], &limits).ok()?;
    if !decoded.bound.is_empty() {
        return None;
    }
    let inputs: Vec<Tensor> = (decoded.description.inputs.iter())
        .map(|input| {
            let mut tensor = input.zeros();
            if tensor.ty == TensorType::FP32 {
                for (ix, number) in tensor.data.chunks_exact_mut(4).enumerate() {
                    let value = ((ix * 7919 + 13) % 1009) as f32 / 1009.0 - 0.3;
                    number.copy_from_slice(&value.to_le_bytes());
                }
            }
            tensor
        })
        .collect();
    let shapes: Vec<Vec<u32>> = inputs.iter().map(|input| input.dimensions.clone()).collect();
    let (typed, macs) = Plan::lowered(decoded.source, &shapes, &[], Precision::F32, passes).ok()?;
    let plan = Plan::of_lowered(typed, shapes, vec![], macs, &limits).ok()?;
    plan.run(&decoded.outputs, &inputs, &limits, &mut |_| ()).ok()
}

/// Largest difference of two answers, relative to the largest number; of what are no floats whether they differ.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let (Some(x), Some(y)) = (a.to_f32(), b.to_f32()) else { return f64::from(u8::from(a != b)) };
    let largest = x.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    x.iter().zip(&y).map(|(x, y)| f64::from((x - y).abs() / largest)).fold(0.0, f64::max)
}

#[test]
fn models_answer_the_same_without_any_of_the_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("models/digits.onnx")];
    models(&root.join("tests/fixtures/exporters"), &mut files);
    let mobilenet = root.join("models/generated/mobilenetv2.onnx");
    files.extend(mobilenet.exists().then_some(mobilenet));
    files.sort();
    let mut compared = 0;
    for file in files {
        let Some(all) = answers(&file, Passes::ALL) else { continue };
        for passes in [
            Passes { early: false, ..Passes::ALL },
            Passes { nodes: false, ..Passes::ALL },
            Passes { fuse: false, ..Passes::ALL },
            Passes { early: false, nodes: false, fuse: false },
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
