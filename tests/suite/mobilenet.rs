//! MobileNetV2 1.0/224: 14 MB of weights through upload, load and a query, and what comes out against the native engine.

use std::io::Write;

use ic_nn_engine::{Graph, Limits};
use ic_nn_host::Host;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::{Service, repository, request};
use ic_nn_types::{Tensor, TensorDescription};

#[test]
fn it_answers_in_a_query_what_the_native_engine_answers() {
    let path = repository("models/generated/mobilenetv2.onnx");
    let model = match std::fs::read(&path) {
        Ok(model) => model,
        Err(e) if std::env::var_os("CI").is_some() => {
            panic!("{}: {e}; run scripts/models/run architectures mobilenetv2", path.display())
        }
        Err(_) => {
            // Past the capture of tests' output, for scripts/test to repeat.
            let how = "scripts/models/run architectures mobilenetv2 makes it";
            let word = format!("skipped: {} is not there; {how}\n", path.display());
            std::io::stderr().write_all(word.as_bytes()).expect("stderr takes it");
            return;
        }
    };
    // A picture's worth of numbers from -2 to 2, from a fixed linear congruence.
    let mut state = 20_251_120u32;
    let values: Vec<f32> = (0..3 * 224 * 224)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect();
    let input = vec![("image".to_owned(), Tensor::from_f32(vec![1, 3, 224, 224], &values))];
    let mut native = Graph::load(model.clone(), &Limits::default()).expect("it loads natively");
    let want =
        native.infer(input.clone(), &Limits::default()).expect("it infers")[0].1.to_f32().expect("FP32");
    let scale = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(scale > 0.1, "a model that says something");
    on_every_runtime("MobileNetV2", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("mobilenetv2", &model);
        let request = request("mobilenetv2", input.clone());
        let reply = service.controller().infer_query(&request).expect("it fits a query");
        let got = reply.outputs[0].1.to_f32().expect("FP32");
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0f32, f32::max);
        println!(
            "MobileNetV2: {} instructions, worst difference {:.1e} of {scale:.2}",
            reply.instructions, worst
        );
        assert!(worst <= 1e-4 * scale, "{worst} of {scale}");
        let caller = service.controller();
        caller.infer(&request).expect("it fits an update");
        let profile = caller.profile(&request).expect("it is counted");
        let (arena, alive) = profile.arena_bytes.zip(profile.alive_bytes).expect("it has run before");
        assert!(
            arena * 10 <= alive * 12,
            "the arena has {arena} bytes, {alive} are alive at the worst moment"
        );
    });
}

/// Holds what an inference took to what docs/benchmarks.md says of it: within half a percent.
fn current(model: &str, update: u64) {
    let committed = committed(model);
    assert!(
        update.abs_diff(committed) * 200 <= committed,
        "docs/benchmarks.md says {committed} instructions of {model}, it takes {update}; run scripts/bench"
    );
}

/// Instructions of an inference as docs/benchmarks.md has them.
fn committed(model: &str) -> u64 {
    let text =
        std::fs::read_to_string(repository("docs/benchmarks.md")).expect("the benchmarks are committed");
    let row =
        text.lines().find(|line| line.starts_with(&format!("| {model} |"))).expect("a row for the model");
    let count = row.split('|').nth(3).expect("the third column").replace([',', ' '], "");
    count.parse().expect("instructions")
}

/// Holds a model's rows of docs/benchmarks.md to what it takes, message included, on the host that they were counted on.
fn held(model: &str) {
    let path = repository(&format!("models/generated/{model}.onnx"));
    let Ok(file) = std::fs::read(&path) else {
        let how = format!("scripts/models/run architectures {model} makes it");
        assert!(std::env::var_os("CI").is_none(), "{} is not there; {how}", path.display());
        let word = format!("skipped: {} is not there; {how}\n", path.display());
        std::io::stderr().write_all(word.as_bytes()).expect("stderr takes it");
        return;
    };
    let host = Host::new().expect("a host");
    let service = Service::deploy(&host, None);
    service.serve("model", &file);
    let caller = service.controller();
    let zeros = |input: &TensorDescription| {
        let dimensions: Vec<u32> = input.dimensions.iter().map(|d| d.expect("fixed shapes")).collect();
        let tensor = Tensor { dimensions, ty: input.ty, data: vec![] };
        let data = vec![0; tensor.expected_bytes().expect("a size") as usize];
        (input.name.clone(), Tensor { data, ..tensor })
    };
    let description = caller.describe("model").expect("it is described");
    let request = request("model", description.inputs.iter().map(zeros).collect());
    let takes = || {
        caller.infer(&request).expect("it infers");
        host.last_cost().instructions
    };
    current(model, takes());
    let graph = caller.load_by_name("model").expect("it is loaded");
    caller.set_property(graph, "quantize", Some("int8")).expect("it is quantised");
    current(&format!("{model} int8"), takes());
}

#[test]
fn figures_of_mobilenetv2_are_current() {
    held("mobilenetv2");
}

#[test]
fn figures_of_minilm_16_are_current() {
    held("minilm-16");
}

#[test]
fn figures_of_minilm_128_are_current() {
    held("minilm-128");
}

#[test]
fn figures_of_resnet50_are_current() {
    held("resnet50");
}
