//! The committed classifier: it is described, it answers what the reference computed, and what it costs is told.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::{Service, repository, request};
use ic_nn_types::{ModelState, Tensor, TensorType};

fn model() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is committed")
}

/// 56 x 56 grey pixels become 8 x 8 means of 7 x 7 blocks, 0 to 1: what expected.json was computed from.
fn image(path: &str) -> Tensor {
    let picture = image::open(repository(path)).expect("the picture reads").into_luma8();
    assert_eq!(picture.dimensions(), (56, 56));
    let mean = |row: u32, column: u32| {
        let block = (0..49).map(|i| f32::from(picture.get_pixel(column * 7 + i % 7, row * 7 + i / 7)[0]));
        block.sum::<f32>() / 49.0 / 255.0
    };
    let values: Vec<f32> = (0..64).map(|i| mean(i / 8, i % 8)).collect();
    Tensor::from_f32(vec![1, 1, 8, 8], &values)
}

#[test]
fn samples_get_the_reference_s_probabilities() {
    let expected = std::fs::read(repository("models/digits/expected.json")).expect("it is committed");
    let expected: serde_json::Value = serde_json::from_slice(&expected).expect("it is JSON");
    let samples = expected["samples"].as_array().expect("samples");
    assert!(samples.len() >= 10);
    on_every_runtime("digits", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &model());
        for sample in samples {
            let file = sample["file"].as_str().expect("a file");
            let outputs =
                service.ask("digits", vec![("image".into(), image(&format!("models/digits/{file}")))]);
            let outputs = outputs.expect("it infers");
            let got = outputs[0].1.to_f32().expect("FP32");
            let want: Vec<f64> = sample["probabilities"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|p| p.as_f64().expect("a number"))
                .collect();
            for (g, w) in got.iter().zip(&want) {
                assert!((f64::from(*g) - w).abs() < 2e-6, "{file}: {got:?} {want:?}");
            }
        }
    });
}

#[test]
fn it_is_described() {
    on_every_runtime("describe", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &model()).expect("it is accepted");
        let d = service.controller().describe("digits:1").expect("it is there");
        assert_eq!((d.name.as_str(), d.version, d.bytes), ("digits", 1, model().len() as u64));
        assert_eq!(d.inputs.len(), 1);
        assert_eq!((d.inputs[0].name.as_str(), d.inputs[0].ty), ("image", TensorType::FP32));
        assert_eq!(d.inputs[0].dimensions, [None, Some(1), Some(8), Some(8)]);
        assert_eq!(d.outputs[0].dimensions, [None, Some(10)]);
        assert!(d.operators.iter().any(|o| o.operator == "Conv" && o.count == 3), "{:?}", d.operators);
        assert!(d.trial_instructions.is_some_and(|n| n > 100_000));
        assert_eq!(d.graph, None);
        let handle = service.controller().load_by_name("digits").expect("it loads");
        assert_eq!(service.controller().describe("digits").expect("it is there").graph, Some(handle));
        let listed = service.controller().list_all().expect("a list");
        assert_eq!(listed[0].state, Some(ModelState::Loaded));
    });
}

#[test]
fn a_query_and_an_update_answer_alike_and_count_alike() {
    on_every_runtime("query and update", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &model());
        let request = request("digits", vec![("image".into(), image("models/digits/digit-3-0.png"))]);
        let query = service.controller().infer_query(&request).expect("it infers");
        let update = service.controller().infer(&request).expect("it infers");
        assert_eq!(query.outputs, update.outputs);
        assert_eq!(query.load_instructions, 0);
        let again = service.controller().infer_query(&request).expect("it infers");
        assert_eq!(again, service.controller().infer_query(&request).expect("it infers"), "counts repeat");
        // An update runs as a future and its answer waits for the reply; the engine's part is the same.
        let (q, u) = (query.instructions, update.instructions);
        assert!(q.abs_diff(u) < q / 20, "{q} as a query, {u} as an update");
    });
}

#[test]
fn a_model_that_is_not_loaded_answers_too() {
    on_every_runtime("implicit load", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &model());
        let controller = service.controller();
        let handle = controller.describe("digits").expect("it is there").graph.expect("it is loaded");
        let request = request("digits", vec![("image".into(), image("models/digits/digit-7-0.png"))]);
        let loaded = controller.infer_query(&request).expect("it infers");
        controller.unload(handle).expect("it unloads");
        let query = controller.infer_query(&request).expect("a query loads for itself");
        assert!(query.load_instructions > 0);
        assert_eq!(query.outputs, loaded.outputs);
        let first = controller.infer(&request).expect("an update loads and keeps");
        assert!(first.load_instructions > 0);
        assert_eq!(controller.infer(&request).expect("it infers").load_instructions, 0);
    });
}

/// What calls take does not depend on what tensors hold: two canisters that are asked the same things about different
/// numbers count the same. (One canister's counts differ by what its heap has been through: the allocator finds room here or there.)
#[test]
fn counts_do_not_depend_on_values() {
    on_every_runtime("counts", |replica| {
        let counts = |seed: u32| -> Vec<u64> {
            let service = Service::deploy(replica, None);
            service.upload("digits", &model()).expect("it is accepted");
            let caller = service.controller();
            let ask = |batch: u32, query: bool| {
                let pixels: Vec<f32> =
                    (0..64 * batch).map(|i| ((i + 7) * seed * (i + 3) % 251) as f32 / 250.0).collect();
                let inputs = vec![("image".into(), Tensor::from_f32(vec![batch, 1, 8, 8], &pixels))];
                let request = request("digits", inputs);
                let response = if query { caller.infer_query(&request) } else { caller.infer(&request) };
                response.expect("it infers").instructions
            };
            vec![ask(1, false), ask(1, false), ask(4, false), ask(1, true), ask(4, true), ask(1, false)]
        };
        let first = counts(1);
        assert_eq!(counts(31), first);
        assert_eq!(counts(77), first);
    });
}
