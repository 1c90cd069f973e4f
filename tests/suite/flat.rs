//! Memory: a hundred loads and unloads leave what ten do.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Model, element};
use ic_nn_tests::service::{Caller, Service};
use ic_nn_types::{ExecutionTarget, GraphBuilder, GraphEncoding, NamedTensor, Tensor};

/// Heap bytes that may differ between the tenth cycle and the hundredth: what maps of ids and the allocator round.
const SLACK: u64 = 64 << 10;

/// `y = x + w` with 200 KB of weights, so that a graph that stays is seen.
fn model() -> Vec<u8> {
    let weights = vec![0x3f; 200_000];
    Model {
        nodes: vec![onnx::node("Add", &["x", "w"], &["y"], vec![])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1)])],
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(50_000)])],
        initializers: vec![onnx::tensor("w", element::FLOAT, &[50_000], &weights)],
        ..Model::default()
    }
    .finish()
}

fn input() -> [NamedTensor; 1] {
    [("x".to_owned(), Tensor::from_f32(vec![1], &[1.0]))]
}

/// Heap, stable memory and graphs in the heap.
fn memory(caller: &Caller<'_>) -> (u64, u64, u32) {
    let metadata = caller.server_metadata().expect("metadata");
    (metadata.heap_bytes, metadata.stable_bytes, metadata.loaded_graphs)
}

/// Runs `cycle` a hundred times and compares what the tenth and the last left.
fn stays_flat(name: &str, prepare: impl Fn(&Service<'_>), cycle: impl Fn(&Caller<'_>)) {
    on_every_runtime(name, |replica| {
        let service = Service::deploy(replica, None);
        prepare(&service);
        let caller = service.controller();
        let mut tenth = None;
        for count in 1..=100 {
            cycle(&caller);
            if count == 10 {
                tenth = Some(memory(&caller));
            }
        }
        let (heap, stable, graphs) = tenth.expect("there was a tenth");
        let after = memory(&caller);
        assert!(
            after.0.abs_diff(heap) < SLACK,
            "{name}: {heap} bytes of heap after 10 cycles, {} after 100",
            after.0
        );
        assert_eq!(after.1, stable, "{name}: bytes of stable memory after 100 cycles and after 10");
        assert_eq!(after.2, graphs, "{name}: graphs in the heap after 100 cycles and after 10");
    });
}

#[test]
fn load_and_unload() {
    stays_flat(
        "load and unload",
        |_| {},
        |caller| {
            let builders = [GraphBuilder::from(model())];
            let graph =
                caller.load(&builders, GraphEncoding::Onnx, ExecutionTarget::Cpu, None).expect("it loads");
            caller.unload(graph).expect("it unloads");
        },
    );
}

#[test]
fn load_compute_and_unload() {
    stays_flat(
        "load, compute and unload",
        |_| {},
        |caller| {
            let builders = [GraphBuilder::from(model())];
            let graph =
                caller.load(&builders, GraphEncoding::Onnx, ExecutionTarget::Cpu, None).expect("it loads");
            let context = caller.init_execution_context(graph).expect("it opens");
            caller.unload(graph).expect("it unloads");
            caller.compute(context, &input(), None).expect("it computes");
            caller.finalize_execution_context(context).expect("it closes");
        },
    );
}

#[test]
fn load_by_name_compute_and_unload() {
    let prepare = |service: &Service<'_>| {
        service.upload("m", &model()).expect("it is accepted");
    };
    stays_flat("load by name, compute and unload", prepare, |caller| {
        let graph = caller.load_by_name("m").expect("it loads");
        let context = caller.init_execution_context(graph).expect("it opens");
        caller.compute(context, &input(), None).expect("it computes");
        caller.finalize_execution_context(context).expect("it closes");
        caller.unload(graph).expect("it unloads");
    });
}

#[test]
fn upload_and_delete() {
    stays_flat(
        "upload and delete",
        |_| {},
        |caller| {
            let version = caller.upload("m", &model(), &mut |_| {}).expect("it is accepted");
            let model = format!("m:{}", version.version);
            let request = ic_nn_types::DeleteRequest { model, sha256: version.sha256 };
            caller.delete(&request).expect("it is deleted");
        },
    );
}
