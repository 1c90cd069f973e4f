//! Compiled images: what a start reads instead of the file, and that nothing is different for it.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::{Service, refused, repository, request};
use ic_nn_types::{ErrorCode, InferRequest, InferResponse, Tensor};

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is committed")
}

/// So many pictures.
fn pictures(count: u32) -> InferRequest {
    let pixels: Vec<f32> = (0..64 * count).map(|i| (i * i * 7 % 17) as f32 / 16.0).collect();
    request("digits", vec![("image".into(), Tensor::from_f32(vec![count, 1, 8, 8], &pixels))])
}

#[test]
fn a_start_reads_the_image_and_answers_the_same() {
    on_every_runtime("images", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let loading = caller.describe("digits").expect("it is there").load_instructions;
        let infer = |count| -> InferResponse { caller.infer(&pictures(count)).expect("it infers") };
        let own: Vec<_> = [1, 3].map(|count| infer(count).outputs).into();
        service.upgrade();
        // Nobody holds it, so the inference brings it: from its image.
        let first = infer(1);
        assert!(
            first.load_instructions > 0 && first.load_instructions < loading / 3,
            "{} {loading}",
            first.load_instructions
        );
        assert_eq!(first.outputs, own[0], "bit for bit");
        // Another batch takes the model in the file, once.
        let other = infer(3);
        assert_eq!((other.load_instructions, &other.outputs), (0, &own[1]));
        assert!(other.plan_instructions > first.load_instructions, "{}", other.plan_instructions);
        assert_eq!(infer(3).plan_instructions, 0);
        assert!(infer(5).plan_instructions < other.plan_instructions, "the model is there now");
        // A query brings it too, and leaves nothing.
        service.upgrade();
        let asked = caller.infer_query(&pictures(1)).expect("a query has room for the image");
        assert!(
            asked.load_instructions > 0 && asked.load_instructions < loading / 3,
            "{}",
            asked.load_instructions
        );
        assert_eq!(asked.outputs, own[0]);
        assert_eq!(caller.infer_query(&pictures(3)).expect("for the file as well").outputs, own[1]);
    });
}

#[test]
fn an_image_is_of_its_weights_and_goes_when_it_is_not_wanted() {
    on_every_runtime("images by property", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("digits", &digits()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("digits").expect("it loads");
        let bytes = || -> u64 {
            let told = caller.get_property(graph, "image_bytes").expect("it is told");
            told.expect("it always is").parse().expect("a number")
        };
        let loading = caller.describe("digits").expect("it is there").load_instructions;
        let whole = bytes();
        assert!(whole > 60_000, "{whole}");
        caller.set_property(graph, "quantize", Some("int8")).expect("it is quantised");
        let eight = bytes();
        assert!(eight > 0 && eight < whole, "{eight} {whole}");
        let quantised = caller.infer(&pictures(1)).expect("it infers").outputs;
        caller.unload(graph).expect("nobody holds it");
        service.upgrade();
        let first = caller.infer(&pictures(1)).expect("it infers");
        assert_eq!(first.outputs, quantised, "the image is of the variant");
        assert!(first.load_instructions < loading / 3, "{}", first.load_instructions);
        // What was asked about without being set leaves no image.
        let graph = caller.load_by_name("digits").expect("it loads");
        caller.set_property(graph, "quantize", None).expect("it is taken back");
        caller.set_property(graph, "image", Some("false")).expect("it is not wanted");
        refused(
            caller.set_property(graph, "image", Some("maybe")),
            ErrorCode::InvalidArgument,
            &["`image` is `true` or `false`", "maybe"],
        );
        caller.unload(graph).expect("nobody holds it");
        service.upgrade();
        let own = caller.infer(&pictures(1)).expect("it infers");
        assert!(own.load_instructions > loading / 2, "{} {loading}", own.load_instructions);
        let graph = caller.load_by_name("digits").expect("it loads");
        let bytes = caller.get_property(graph, "image_bytes").expect("it is told");
        assert_eq!(bytes.as_deref(), Some("0"));
        // Wanted again, the next load from the file writes it.
        caller.set_property(graph, "image", None).expect("it is wanted");
        service.upgrade();
        assert_eq!(caller.infer(&pictures(1)).expect("it infers").outputs, own.outputs);
        let bytes = caller.get_property(graph, "image_bytes").expect("it is told").expect("it always is");
        assert_eq!(bytes.parse(), Ok(whole));
    });
}
