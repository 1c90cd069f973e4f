//! Inferences that go on over messages: what they answer, what they take, and what becomes of them and of others meanwhile.

use candid::{Decode, Encode};
use ic_nn_host::{Host, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim};
use ic_nn_tests::service::{Service, controller, refused, repository, request};
use ic_nn_types::{Error, ErrorCode, InferParameters, InferRequest, InferResponse, Tensor};

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is in the repository")
}

/// A batch of images, in messages of so many instructions.
fn images(batch: u32, slice_instructions: Option<u64>) -> InferRequest {
    let pixels: Vec<f32> = (0..batch * 64).map(|i| (i % 17) as f32 / 16.0).collect();
    let image = Tensor::from_f32(vec![batch, 1, 8, 8], &pixels);
    let parameters = Some(InferParameters { slice_instructions, ..Default::default() });
    InferRequest { parameters, ..request("digits", vec![("image".into(), image)]) }
}

/// `x` times itself, `products` times.
fn chain(size: u32, products: usize) -> (Vec<u8>, InferRequest) {
    let model = onnx::products(Dim::Is(i64::from(size)), products);
    // Rows whose sums are 1: so are those of every power.
    let count = (size * size) as usize;
    let numbers: Vec<f32> = (0..count).map(|i| ((i % 3) as f32) / size as f32).collect();
    let input = vec![("x".into(), Tensor::from_f32(vec![size, size], &numbers))];
    (model.finish(), request("chain", input))
}

#[test]
fn answers_do_not_depend_on_where_a_run_is_left() {
    on_every_runtime("slices", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let whole = caller.infer(&images(64, None)).expect("it infers");
        let whole_again = caller.infer(&images(64, None)).expect("it infers");
        // Each step in a message of its own, some steps in each, and all in one.
        for slice in [1, 201_000_000, 230_000_000, 40_000_000_000] {
            let sliced = caller.infer(&images(64, Some(slice))).expect("it infers in slices");
            assert_eq!(sliced.outputs, whole.outputs, "slices of {slice}");
            // A message of its own takes some instructions; beside those a step is what it was.
            let more = sliced.instructions.saturating_sub(whole_again.instructions);
            assert!(more < 30_000_000, "slices of {slice} take {more} instructions more");
        }
        let new = caller.infer(&images(7, Some(1))).expect("shapes that are new are planned first");
        assert!(new.plan_instructions > 0);
        assert_eq!(new.outputs, caller.infer(&images(7, None)).expect("it infers").outputs);
        let nodes = |slice| caller.profile(&images(64, slice)).expect("it is counted").nodes;
        let (whole, sliced) = (nodes(None), nodes(Some(1)));
        assert_eq!(whole.len(), sliced.len());
        for (whole, sliced) in whole.iter().zip(&sliced) {
            assert_eq!((&whole.name, whole.macs), (&sliced.name, sliced.macs));
        }
    });
}

#[test]
fn a_run_that_no_message_has_room_for_is_answered_by_one_call() {
    on_every_runtime("more than a message", |replica| {
        let service = Service::deploy(replica, None);
        // Some 0.21 B each: 42 B, for the trial at upload and for each inference.
        let (model, request) = chain(512, 200);
        service.upload("chain", &model).expect("its trial goes on over messages");
        let answer = service.controller().infer(&request).expect("it goes on over messages");
        assert!(answer.instructions > 40_000_000_000, "{}", answer.instructions);
        let graph = service.controller().load_by_name("chain").expect("it is loaded");
        let context = service.controller().init_execution_context(graph).expect("a context");
        let computed = service.controller().compute(context, &request.inputs, None);
        assert_eq!(computed.expect("so does compute"), answer.outputs);
        let sums = answer.outputs[0].1.to_f32().expect("floats");
        assert!(sums.iter().all(|v| v.is_finite() && *v >= 0.0));
    });
}

#[test]
fn a_message_that_had_too_few_instructions_is_taken_back_and_gone_on_from() {
    // The canister reckons with 40 B a message; here it has 3 B, so that slices trap until they are as small.
    let host = Host::builder().update_limit(3_000_000_000).build().expect("a host");
    let service = Service::deploy(&host, None);
    let (model, request) = chain(512, 30);
    service.upload("chain", &model).expect("its trial goes on");
    let caller = service.controller();
    let sliced = |slice| {
        let parameters = InferParameters { slice_instructions: Some(slice), ..Default::default() };
        let request = InferRequest { parameters: Some(parameters), ..request.clone() };
        caller.infer(&request).expect("it goes on").outputs
    };
    // Slices that trap, and slices that fit.
    assert_eq!(sliced(5_000_000_000), sliced(2_000_000_000));
    // What cannot even be loaded is given up after the second message, and others go on being served.
    let host = Host::builder().update_limit(15_000_000).build().expect("a host");
    let service = Service::deploy(&host, None);
    refused(service.upload("digits", &digits()), ErrorCode::TooLarge, &["instructions of one message"]);
    assert!(host.last_cost().instructions < 45_000_000, "{}", host.last_cost().instructions);
    assert!(service.controller().server_live().expect("it answers"));
}

#[test]
fn others_are_served_between_slices() {
    on_every_runtime("between slices", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let expected = caller.infer(&images(64, None)).expect("it infers").outputs;
        let submit = |batch, slice| submit(replica, &service, &images(batch, slice));
        // Two runs of one graph, of the same shapes and of others, under way at once.
        let calls = [submit(64, Some(1)), submit(64, Some(1)), submit(3, Some(1))];
        for _ in 0..3 {
            replica.tick();
        }
        assert!(caller.server_live().expect("it answers"));
        caller.infer_query(&images(64, None)).expect("queries are answered");
        let second = caller.infer(&images(2, None)).expect("updates are answered").outputs;
        assert_eq!(second[0].1.dimensions[0], 2);
        let answers = calls.map(|call| answered(replica.await_call(call)).expect("it goes on").outputs);
        assert_eq!(answers[0], expected);
        assert_eq!(answers[1], expected);
        assert_eq!(answers[2][0].1.dimensions[0], 3);
    });
}

#[test]
fn what_becomes_of_a_run_whose_model_goes_or_whose_canister_is_upgraded() {
    on_every_runtime("a run's bad days", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let expected = caller.infer(&images(64, None)).expect("it infers").outputs;
        // At every place that a run of some twenty steps is left.
        for ticks in 1..12 {
            let call = submit(replica, &service, &images(64, Some(1)));
            for _ in 0..ticks {
                replica.tick();
            }
            service.upgrade();
            // The call is rejected, unless it was done: its heap is gone.
            if let Ok(answer) = answered(replica.await_call(call)) {
                assert_eq!(answer.outputs, expected);
            }
            assert_eq!(caller.infer(&images(64, None)).expect("it infers again").outputs, expected);
        }
        let call = submit(replica, &service, &images(64, Some(1)));
        for _ in 0..3 {
            replica.tick();
        }
        let graph = caller.load_by_name("digits").expect("it is loaded");
        caller.unload(graph).expect("it unloads");
        service.delete("digits").expect("it is deleted");
        // The run has its weights; what is remembered of it has no place any more, which it may say.
        if let Ok(answer) = answered(replica.await_call(call)) {
            assert_eq!(answer.outputs, expected);
        }
        service.serve("digits", &digits());
        assert_eq!(caller.infer(&images(64, None)).expect("it infers again").outputs, expected);
    });
}

#[test]
fn runs_leave_nothing_behind() {
    on_every_runtime("leaks of runs", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let heap = || caller.server_metadata().expect("it says").heap_bytes;
        for _ in 0..3 {
            caller.infer(&images(5, Some(1))).expect("it infers");
        }
        let before = heap();
        for _ in 0..20 {
            caller.infer(&images(5, Some(1))).expect("it infers");
        }
        assert_eq!(heap(), before);
    });
}

fn submit(replica: &dyn Replica, service: &Service<'_>, request: &InferRequest) -> ic_nn_host::CallId {
    let arg = Encode!(request).expect("the argument encodes");
    replica.submit(service.canister, controller(), "infer", &arg).expect("it is taken")
}

fn answered(reply: Result<Vec<u8>, ic_nn_host::Reject>) -> Result<InferResponse, String> {
    let reply = reply.map_err(|reject| reject.to_string())?;
    Decode!(&reply, Result<InferResponse, Error>).expect("a reply of infer").map_err(|e| e.to_string())
}
