//! The property `quantize`: other weights, other answers, and nothing mixed up between them.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::{Service, refused, repository, request};
use ic_nn_types::{ErrorCode, InferParameters, InferRequest, InferResponse, Tensor, VerifyRequest};

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is committed")
}

fn image(seed: u32) -> InferRequest {
    let pixels: Vec<f32> = (0..64u32).map(|i| (i * i * (seed + 3) % 17) as f32 / 16.0).collect();
    request("digits", vec![("image".into(), Tensor::from_f32(vec![1, 1, 8, 8], &pixels))])
}

fn values(response: &InferResponse) -> Vec<f32> {
    response.outputs[0].1.to_f32().expect("FP32")
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn quantised_answers_are_near_and_those_of_the_file_come_back() {
    on_every_runtime("quantize", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("digits").expect("it loads");
        let own: Vec<_> = (0..5).map(|seed| caller.infer(&image(seed)).expect("it infers")).collect();
        let before = caller.describe("digits").expect("it is there");
        caller.set_property(graph, "quantize", Some("int8")).expect("it is quantised");
        assert_eq!(caller.get_property(graph, "quantize"), Ok(Some("int8".into())));
        assert_eq!(
            caller.get_property(graph, "in_heap"),
            Ok(Some("true".into())),
            "the trial leaves it there"
        );
        assert_eq!(
            caller.describe("digits").expect("it is there").graph,
            Some(graph),
            "the handle is the same"
        );
        let quantised: Vec<_> = (0..5).map(|seed| caller.infer(&image(seed)).expect("it infers")).collect();
        for (own, quantised) in own.iter().zip(&quantised) {
            let (own, quantised) = (values(own), values(quantised));
            assert_ne!(own, quantised, "other weights give other bits");
            let apart = apart(&own, &quantised);
            assert!(apart < 0.02, "{apart}");
        }
        // What was measured is of these weights.
        let after = caller.describe("digits").expect("it is there");
        assert_ne!(after.trial_instructions, before.trial_instructions);
        caller.infer_query(&image(9)).expect("queries go by the trial of it");
        service.upgrade();
        assert_eq!(caller.get_property(graph, "quantize"), Ok(Some("int8".into())), "an upgrade keeps it");
        assert_eq!(caller.infer(&image(1)).expect("it infers").outputs, quantised[1].outputs);
        caller.set_property(graph, "quantize", Some("int16")).expect("it is quantised otherwise");
        assert_eq!(caller.get_property(graph, "quantize"), Ok(Some("int16".into())));
        for (seed, (own, eight)) in own.iter().zip(&quantised).enumerate() {
            let own = values(own);
            let sixteen = values(&caller.infer(&image(seed as u32)).expect("it infers"));
            let (eight, sixteen) = (apart(&own, &values(eight)), apart(&own, &sixteen));
            assert!(sixteen > 0.0 && sixteen < eight, "{sixteen} {eight}");
        }
        let sixteen = caller.describe("digits").expect("it is there");
        assert!(
            sixteen.trial_instructions <= after.trial_instructions.map(|n| n / 100 * 101),
            "for the same instructions but for what finding room takes"
        );
        service.upgrade();
        assert_eq!(caller.get_property(graph, "quantize"), Ok(Some("int16".into())), "an upgrade keeps it");
        let refusal = caller.set_property(graph, "quantize", Some("int9"));
        refused(refusal, ErrorCode::InvalidArgument, &["`int8`, `int16` or `none`", "int9"]);
        caller.set_property(graph, "quantize", None).expect("it is taken back");
        assert_eq!(caller.get_property(graph, "quantize"), Ok(None));
        assert_eq!(caller.infer(&image(1)).expect("it infers").outputs, own[1].outputs, "bit for bit");
        caller.set_property(graph, "quantize", Some("none")).expect("it is so already");
    });
}

#[test]
fn what_quantising_does_is_told_before_and_after() {
    on_every_runtime("quantization_error", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let told = caller.quantization_error(&image(2), None).expect("it is told before it is set");
        assert_eq!((told.version, told.quantize.as_str(), told.outputs.len()), (1, "int8", 1));
        let output = &told.outputs[0];
        assert!(output.cosine > 0.999 && output.cosine < 1.0, "{output:?}");
        assert!(output.max_error > 0.0 && output.max_error < 0.02, "{output:?}");
        let own = values(&caller.infer(&image(2)).expect("the file's own weights still answer"));
        let largest = own.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert_eq!(output.max_value, f64::from(largest));
        assert!(told.instructions > 100_000 && told.unquantized_instructions > 100_000, "{told:?}");
        let finer = caller.quantization_error(&image(2), Some("int16")).expect("it is told of any");
        assert_eq!(finer.quantize, "int16");
        assert!(finer.outputs[0].max_error < output.max_error / 4.0, "{finer:?}");
        for none in ["none", "int9"] {
            let refusal = caller.quantization_error(&image(2), Some(none));
            refused(refusal, ErrorCode::InvalidArgument, &[none, "int8, int16"]);
        }
        let known = caller.describe("digits").expect("it is there").runs;
        let graph = caller.load_by_name("digits").expect("it loads");
        assert_eq!(caller.describe("digits").expect("it is there").runs, known, "asking leaves nothing");
        caller.set_property(graph, "quantize", Some("int8")).expect("it is quantised");
        let again = caller.quantization_error(&image(2), None).expect("it is told after");
        assert_eq!(again.outputs, told.outputs);
        caller.set_property(graph, "quantize", Some("int16")).expect("it is quantised otherwise");
        let nearer = caller.quantization_error(&image(2), None).expect("it is told of what is set");
        assert_eq!((nearer.quantize.as_str(), &nearer.outputs), ("int16", &finer.outputs));
        let (cosine, largest) = (nearer.outputs[0].cosine, nearer.outputs[0].max_error);
        assert!(cosine >= output.cosine && largest > 0.0 && largest < output.max_error / 4.0, "{nearer:?}");
        assert!(nearer.instructions <= told.instructions / 100 * 101, "{nearer:?} {told:?}");
        let request = InferRequest { outputs: Some(vec!["no".into()]), ..image(2) };
        refused(caller.quantization_error(&request, None), ErrorCode::InvalidArgument, &["no output `no`"]);
        let request = InferRequest { model: "none".into(), ..image(2) };
        refused(caller.quantization_error(&request, None), ErrorCode::NotFound, &["none"]);
    });
}

#[test]
fn receipts_and_kept_answers_are_of_the_weights_that_gave_them() {
    on_every_runtime("quantised receipts", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("digits").expect("it loads");
        caller.set_property(graph, "cache", Some("10")).expect("it is set");
        let receipted = || {
            let parameters = Some(InferParameters { receipt: Some(true), ..Default::default() });
            caller.infer(&InferRequest { parameters, ..image(4) }).expect("it infers")
        };
        let own = receipted();
        caller.set_property(graph, "quantize", Some("int8")).expect("it is quantised");
        let quantised = receipted();
        assert!(
            !quantised.cached && quantised.outputs != own.outputs,
            "what was kept is not of these weights"
        );
        assert!(receipted().cached, "this is");
        caller.set_property(graph, "quantize", Some("int16")).expect("it is quantised otherwise");
        let sixteen = receipted();
        assert!(
            !sixteen.cached && sixteen.outputs != own.outputs && sixteen.outputs != quantised.outputs,
            "nor of those of another variant"
        );
        let [own, quantised, sixteen] =
            [own, quantised, sixteen].map(|answer| answer.receipt.expect("it was asked for"));
        assert_eq!(own.model, quantised.model);
        assert_eq!(quantised.engine, format!("{} int8", own.engine));
        assert_eq!(sixteen.engine, format!("{} int16", own.engine));
        for receipt in [&own, &quantised, &sixteen] {
            let verify = VerifyRequest { receipt: receipt.clone(), inputs: image(4).inputs, outputs: None };
            let verdict = caller.verify_receipt(&verify).expect("it computes again");
            assert!(verdict.valid && verdict.recomputed, "{verdict:?}");
        }
        let mut forged = own;
        forged.engine += " int8";
        let verify = VerifyRequest { receipt: forged, inputs: image(4).inputs, outputs: None };
        let verdict = caller.verify_receipt(&verify).expect("it computes again");
        assert!(!verdict.valid && verdict.mismatches.len() == 2, "{verdict:?}");
    });
}

#[test]
fn versions_of_one_file_are_quantised_each_by_itself() {
    on_every_runtime("two versions", |replica| {
        let service = Service::deploy(replica, None);
        for _ in 0..3 {
            service.upload("digits", &digits()).expect("it is accepted");
        }
        let caller = service.controller();
        let [first, second, third] =
            ["digits:1", "digits:2", "digits:3"].map(|model| caller.load_by_name(model).expect("it loads"));
        caller.set_property(second, "quantize", Some("int8")).expect("it is quantised");
        caller.set_property(third, "quantize", Some("int16")).expect("it is quantised");
        let ask = |model: &str| {
            values(&caller.infer(&InferRequest { model: model.into(), ..image(3) }).expect("it infers"))
        };
        let own = ask("digits:1");
        let (eight, sixteen) = (ask("digits:2"), ask("digits:3"));
        assert!(own != eight && own != sixteen && eight != sixteen);
        assert_eq!(own, ask("digits:1"), "the other stays as it is");
        assert_eq!(caller.get_property(first, "quantize"), Ok(None));
        caller.unload(second).expect("it unloads");
        assert_eq!(own, ask("digits:1"));
        assert_eq!(sixteen, ask("digits:3"));
        let second = caller.load_by_name("digits:2").expect("it loads");
        assert_eq!(caller.get_property(second, "quantize"), Ok(Some("int8".into())), "it is the version's");
    });
}

#[test]
fn asking_about_other_weights_takes_nothing_from_a_version_that_has_them() {
    on_every_runtime("facts of two versions", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let second = caller.load_by_name("digits:2").expect("it loads");
        caller.set_property(second, "warmup", Some("3x1x8x8")).expect("it is set");
        caller.set_property(second, "quantize", Some("int8")).expect("it is quantised");
        let runs = caller.describe("digits:2").expect("it is there").runs;
        assert!(runs.iter().any(|run| run.shapes == [[3, 1, 8, 8]]), "it is warm in these weights: {runs:?}");
        let first = caller.describe("digits:1").expect("it is there");
        // The heap is empty: the graph of the file's own weights is loaded for the version that is not served by them.
        service.upgrade();
        let ask = |model: &str| InferRequest { model: model.into(), ..image(2) };
        caller.quantization_error(&ask("digits:2"), None).expect("it is told");
        caller.infer_query(&ask("digits:1")).expect("the trial's shapes are known of it");
        caller.infer(&ask("digits:1")).expect("it infers");
        assert_eq!(caller.describe("digits:1").expect("it is there"), first, "and what was measured stays");
    });
}
