//! Memory as a cache: where every byte is, and what leaves when there are too many.

use candid::Encode;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Caller, Service, request};
use ic_nn_types::{InferParameters, InferRequest, InitArgs, MemoryStatus, NamedTensor, Tensor};

/// `y = x · w` with 4 MiB of weights.
fn product(seed: usize) -> Vec<u8> {
    const SIDE: usize = 1024;
    let weights = (0..SIDE * SIDE).flat_map(|ix| (((ix + seed) % 17) as f32 / 17.0).to_le_bytes());
    let side = Dim::Is(SIDE as i64);
    onnx::Model {
        nodes: vec![onnx::node("MatMul", &["x", "w"], &["y"], vec![])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(1), side])],
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(1), side])],
        initializers: vec![onnx::tensor(
            "w",
            element::FLOAT,
            &[SIDE as i64, SIDE as i64],
            &weights.collect::<Vec<u8>>(),
        )],
        ..onnx::Model::default()
    }
    .finish()
}

fn input() -> Vec<NamedTensor> {
    let numbers: Vec<f32> = (0..1024).map(|ix| (ix % 5) as f32).collect();
    vec![("x".into(), Tensor::from_f32(vec![1, 1024], &numbers))]
}

/// What it says, whose parts are the whole.
fn status(caller: &Caller<'_>) -> MemoryStatus {
    let status = caller.memory_status().expect("it says");
    let sum = |parts: &[(String, u64)]| parts.iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert_eq!(sum(&status.heap), status.heap_bytes, "{:?}", status.heap);
    assert_eq!(sum(&status.stable), status.stable_bytes, "{:?}", status.stable);
    let graphs: u64 = status.graphs.iter().map(|graph| graph.bytes).sum();
    assert_eq!(part(&status, "graphs"), graphs);
    assert_eq!(part(&status, "weight cache"), status.weight_cache.bytes);
    let files: u64 = status.models.iter().map(|model| model.file_bytes).sum();
    let images: u64 = status.models.iter().map(|model| model.image_bytes).sum();
    assert_eq!((part(&status, "files"), part(&status, "images")), (files, images));
    let metadata = caller.server_metadata().expect("it says");
    assert_eq!(status.stable_bytes, metadata.stable_bytes);
    assert_eq!(status.graphs.len() as u32, metadata.loaded_graphs);
    status
}

fn part(status: &MemoryStatus, purpose: &str) -> u64 {
    let parts = status.heap.iter().chain(&status.stable);
    parts.filter(|(name, _)| name == purpose).map(|(_, bytes)| bytes).sum()
}

#[test]
fn every_byte_is_told_as_models_come_and_go() {
    on_every_runtime("memory status", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let empty = status(&caller);
        assert_eq!((empty.graphs.len(), empty.models.len()), (0, 0));
        service.serve("first", &product(1));
        let one = status(&caller);
        const WEIGHTS: u64 = 4 << 20;
        let graph = &one.graphs[0];
        assert_eq!(graph.models, ["first:1"]);
        assert!((WEIGHTS..WEIGHTS + WEIGHTS / 4).contains(&graph.bytes), "{}", graph.bytes);
        assert!(graph.pinned && graph.last_used > 0 && graph.streamed_bytes == 0);
        assert!(one.models[0].file_bytes > WEIGHTS && one.models[0].image_bytes > WEIGHTS);
        let rest = |status: &MemoryStatus| {
            status.heap.last().filter(|(name, _)| name == "rest").map_or(0, |(_, bytes)| *bytes)
        };
        assert!(rest(&one) < rest(&empty) + (1 << 20), "{} {}", rest(&one), rest(&empty));
        // What a context holds.
        let handle = caller.load_by_name("first").expect("it is loaded");
        let context = caller.init_execution_context(handle).expect("a context opens");
        caller.compute(context, &input(), None).expect("it computes");
        assert!(part(&status(&caller), "contexts") >= 4096);
        caller.finalize_execution_context(context).expect("it is finalized");
        assert_eq!(part(&status(&caller), "contexts"), 0);
        // Another one, then streamed.
        service.serve("second", &product(2));
        let two = status(&caller);
        assert!(part(&two, "graphs") > part(&one, "graphs") + WEIGHTS);
        assert!(part(&two, "files") > part(&one, "files") + WEIGHTS);
        let handle = caller.load_by_name("second").expect("it is loaded");
        caller.set_property(handle, "resident", Some("streamed")).expect("it is taken");
        caller.infer(&request("second", input())).expect("it infers");
        let streamed = status(&caller);
        let graph = streamed.graphs.iter().find(|graph| graph.models == ["second:1"]).expect("it is there");
        assert!(graph.bytes < 1 << 20, "{}", graph.bytes);
        assert_eq!((graph.streamed_bytes, graph.cached_bytes), (WEIGHTS, WEIGHTS));
        assert!(streamed.weight_cache.misses > 0 && streamed.weight_cache.read_bytes == WEIGHTS);
        caller.infer(&request("second", input())).expect("it infers");
        assert!(status(&caller).weight_cache.hits > 0);
        caller.unload(handle).expect("it unloads");
        service.delete("second").expect("it is deleted");
        let gone = status(&caller);
        assert_eq!(part(&gone, "weight cache"), 0, "what came from its stream leaves with it");
        assert_eq!(gone.models, one.models);
        assert!(part(&gone, "free for files") > 2 * WEIGHTS);
        assert!(gone.heap_bytes.abs_diff(one.heap_bytes) < 1 << 20, "{} {}", gone.heap_bytes, one.heap_bytes);
    });
}

#[test]
fn what_is_used_least_leaves_and_comes_back_from_its_image() {
    on_every_runtime("least recently used", |replica| {
        let args = InitArgs { max_heap_bytes: Some(32 << 20), ..Default::default() };
        let service = Service::deploy(replica, Some(args));
        let caller = service.controller();
        let names: Vec<String> = (0..10).map(|n| format!("model-{n}")).collect();
        for (seed, name) in names.iter().enumerate() {
            service.upload(name, &product(seed)).expect("it is accepted");
        }
        let answers = || -> Vec<_> {
            let infer = |name: &String| caller.infer(&request(name, input())).expect("it infers");
            names.iter().map(infer).collect()
        };
        let first: Vec<_> = answers().into_iter().map(|answer| answer.outputs).collect();
        let full = status(&caller);
        assert!((2..10).contains(&full.graphs.len()), "{}", full.graphs.len());
        assert!(full.heap_bytes < 32 << 20, "{}", full.heap_bytes);
        let last = full.graphs.last().expect("some are there");
        assert_eq!(last.models, ["model-9:1"], "the least recently used come first");
        assert!(full.graphs.is_sorted_by_key(|graph| graph.last_used));
        let again = answers();
        assert!(again.iter().any(|answer| answer.load_instructions > 0), "some were away");
        assert!(again.iter().zip(&first).all(|(again, first)| again.outputs == *first));
        // One that a handle is open on stays, whoever comes.
        caller.load_by_name("model-0").expect("it loads");
        answers();
        let graphs = status(&caller).graphs;
        let pinned = graphs.iter().find(|graph| graph.models == ["model-0:1"]).expect("it stayed");
        assert!(pinned.pinned && graphs.iter().filter(|graph| graph.pinned).count() == 1);
    });
}

#[test]
fn what_waits_between_messages_is_told() {
    on_every_runtime("memory of runs", |replica| {
        let service = Service::deploy(replica, None);
        const SIDE: usize = 512;
        let name = |n: usize| if n == 0 { "x".to_owned() } else { format!("x{n}") };
        let value = |name: &str| onnx::value(name, element::FLOAT, &[Dim::Is(SIDE as i64); 2]);
        // Some 0.2 B each, of which a round has room for ten.
        let model = onnx::Model {
            nodes: (0..30).map(|n| onnx::node("MatMul", &[&name(n), "x"], &[&name(n + 1)], vec![])).collect(),
            inputs: vec![value("x")],
            outputs: vec![value(&name(30))],
            ..onnx::Model::default()
        };
        service.serve("chain", &model.finish());
        let caller = service.controller();
        let numbers = Tensor::from_f32(vec![SIDE as u32; 2], &vec![0.001; SIDE * SIDE]);
        let parameters = InferParameters { slice_instructions: Some(1), ..Default::default() };
        let request =
            InferRequest { parameters: Some(parameters), ..request("chain", vec![("x".into(), numbers)]) };
        caller.infer(&request).expect("it infers");
        let arg = Encode!(&request).expect("the argument encodes");
        let controller = ic_nn_tests::service::controller();
        let call = replica.submit(service.canister, controller, "infer", &arg).expect("it is taken");
        let mut held = 0;
        for _ in 0..3 {
            replica.tick();
            held = held.max(part(&status(&caller), "runs under way"));
        }
        assert!(held > 4 * (SIDE * SIDE) as u64, "{held}");
        replica.await_call(call).expect("it answers");
        assert_eq!(part(&status(&caller), "runs under way"), 0);
    });
}
