//! The cases that other implementations of wasi-nn hold themselves to, transliterated: a test for each row of their
//! tables, by the row's name.

mod wamr;
mod wasmedge;
mod wasmtime;

use ic_nn_tests::service::{Caller, Service};
use ic_nn_types::{Context, ExecutionTarget, Graph, GraphBuilder, GraphEncoding, NamedTensor, Tensor};

/// The caller and a loaded graph of these bytes, with a context on it.
fn open<'a>(service: &Service<'a>, model: Vec<u8>) -> (Caller<'a>, Graph, Context) {
    let caller = service.controller();
    let builders = [GraphBuilder::from(model)];
    let graph =
        caller.load(&builders, GraphEncoding::Onnx, ExecutionTarget::Cpu, None).expect("the bytes load");
    let context = caller.init_execution_context(graph).expect("a context opens");
    (caller, graph, context)
}

/// 0, 1, 2, … as f32.
fn counting(dimensions: &[u32]) -> Tensor {
    let values: Vec<f32> = (0..dimensions.iter().product::<u32>()).map(|i| i as f32).collect();
    Tensor::from_f32(dimensions.to_vec(), &values)
}

fn named(name: &str, tensor: Tensor) -> NamedTensor {
    (name.to_owned(), tensor)
}

/// The floats of the n-th output.
#[track_caller]
fn floats(outputs: &[NamedTensor], n: usize) -> Vec<f32> {
    outputs[n].1.to_f32().expect("FP32")
}
