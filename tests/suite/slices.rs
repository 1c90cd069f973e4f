//! Inferences that go on over messages: what they answer, what they take, and what becomes of them and of others meanwhile.

use candid::{Decode, Encode};
use ic_nn_engine::{Graph, Limits};
use ic_nn_host::{Host, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim};
use ic_nn_tests::service::{Service, controller, plain_module, refused, repository, request};
use ic_nn_tests::trapping::trapping;
use ic_nn_types::{
    ComputeOptions, Error, ErrorCode, InferParameters, InferRequest, InferResponse, JobRequest, JobState,
    Tensor,
};

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
    let input = vec![("x".into(), shares(size))];
    (model.finish(), request("chain", input))
}

/// Rows whose sums are 1: so are those of every power.
fn shares(size: u32) -> Tensor {
    let count = (size * size) as usize;
    let numbers: Vec<f32> = (0..count).map(|i| ((i % 3) as f32) / size as f32).collect();
    Tensor::from_f32(vec![size, size], &numbers)
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
        // Some 1.8 B each over sides of 1,024: 42 B, or with IC_NN_LONG set 180 B, which are then computed natively as well.
        let long = std::env::var_os("IC_NN_LONG").is_some();
        let (products, least) = if long { (100, 150_000_000_000) } else { (23, 41_000_000_000) };
        let model = onnx::products(Dim::Named("side"), products).finish();
        service.upload("chain", &model).expect("it is accepted");
        let graph = service.controller().load_by_name("chain").expect("it is loaded");
        let context = service.controller().init_execution_context(graph).expect("a context");
        let input = vec![("x".to_owned(), shares(1_024))];
        service.controller().set_whole_input(context, "x", &input[0].1).expect("it is set");
        let none = ComputeOptions { outputs: Some(vec![]), ..Default::default() };
        service.controller().compute(context, &[], Some(&none)).expect("one call computes it");
        let computed =
            service.controller().fetch_output(context, &format!("x{products}")).expect("it is fetched");
        let took = service.controller().model_statistics("chain").expect("it says").max_instructions;
        assert!(took > least, "{took}");
        println!("{took} instructions in one call");
        if long {
            // What the same engine answers natively, to the last bit.
            let mut native = Graph::load(model, &Limits::WASM32).expect("it loads");
            let expected = native.infer(input, &Limits::WASM32).expect("it infers");
            assert_eq!(computed, expected[0].1);
        }
        let sums = computed.to_f32().expect("floats");
        assert!(sums.iter().all(|v| v.is_finite() && *v >= 0.0));
    });
}

#[test]
fn slices_take_two_hundredths_more_at_most() {
    on_every_runtime("what slices take", |replica| {
        let service = Service::deploy(replica, None);
        // Some 2.1 B, in messages of half a billion and of one.
        let (model, request) = chain(512, 10);
        service.serve("chain", &model);
        let caller = service.controller();
        // What the same engine answers natively, to the last bit.
        let mut native = Graph::load(model, &Limits::WASM32).expect("it loads");
        let expected = native.infer(request.inputs.clone(), &Limits::WASM32).expect("it infers");
        let took = |slice_instructions| {
            let parameters = Some(InferParameters { slice_instructions, ..Default::default() });
            let answer = caller.infer(&InferRequest { parameters, ..request.clone() }).expect("it infers");
            assert_eq!(answer.outputs, expected);
            answer.instructions
        };
        took(None);
        let whole = took(None);
        for slice in [500_000_000, 1_000_000_000] {
            let sliced = took(Some(slice));
            println!("{whole} instructions, in messages of {slice}: {sliced}");
            assert!(sliced <= whole + whole / 50, "{whole} in one message, {sliced} in messages of {slice}");
        }
    });
}

#[test]
fn a_message_that_had_too_few_instructions_is_taken_back_and_gone_on_from() {
    // The canister reckons with 40 B a message; here it has 0.4 B, so that slices trap until they are as small.
    let host = Host::builder().update_limit(400_000_000).build().expect("a host");
    let service = Service::deploy(&host, None);
    // Some 0.9 B.
    let (model, request) = chain(256, 30);
    service.upload("chain", &model).expect("its trial goes on");
    let caller = service.controller();
    let sliced = |slice| {
        let parameters = InferParameters { slice_instructions: Some(slice), ..Default::default() };
        let request = InferRequest { parameters: Some(parameters), ..request.clone() };
        let outputs = caller.infer(&request).expect("it goes on").outputs;
        (outputs, host.last_cost().instructions)
    };
    // Slices that trap, and slices that fit.
    let ((trapped, taken_back), (fitted, took)) = (sliced(700_000_000), sliced(250_000_000));
    assert_eq!(trapped, fitted);
    assert!(
        taken_back > took + 300_000_000,
        "no message was taken back: {taken_back} and {took} instructions"
    );
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
fn what_becomes_of_a_run_whose_model_goes() {
    on_every_runtime("a run's bad days", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let expected = caller.infer(&images(64, None)).expect("it infers").outputs;
        let call = submit(replica, &service, &images(64, Some(1)));
        for _ in 0..3 {
            replica.tick();
        }
        let graph = caller.load_by_name("digits").expect("it is loaded");
        caller.unload(graph).expect("it unloads");
        service.delete("digits").expect("it is deleted");
        // The run has its weights.
        let answer = answered(replica.await_call(call)).expect("it goes on");
        assert_eq!(answer.outputs, expected);
        service.serve("digits", &digits());
        assert_eq!(caller.infer(&images(64, None)).expect("it infers again").outputs, expected);
    });
}

/// So many at once that none gets two messages further in a round: some are upgraded under after each of them.
const AT_ONCE: usize = 350;

#[test]
fn an_upgrade_between_any_two_messages_of_a_run_ends_it_and_nothing_else() {
    on_every_runtime("an upgrade at every slice", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let module = service.upload_module();
        let expected = caller.infer(&images(1, Some(1))).expect("it infers").outputs;
        let mut ended = vec![];
        for rounds in 1.. {
            let calls: Vec<_> =
                (0..AT_ONCE).map(|_| submit(replica, &service, &images(1, Some(1)))).collect();
            (0..rounds).for_each(|_| replica.tick());
            service.upgrade_now(&module);
            let mut rejected = 0;
            for call in calls {
                match replica.await_call(call) {
                    Err(reject) => {
                        let text = reject.to_string();
                        assert!(
                            text.contains("upgraded while this call was under way; call again"),
                            "{text}"
                        );
                        rejected += 1;
                    }
                    reply => assert_eq!(answered(reply).expect("it infers").outputs, expected),
                }
            }
            assert_eq!(caller.infer(&images(1, Some(1))).expect("it infers again").outputs, expected);
            ended.push(rejected);
            if rejected == 0 {
                break;
            }
        }
        println!("of {AT_ONCE} runs, ended by an upgrade after 1, 2, ... rounds: {ended:?}");
        assert!(ended[0] > 0, "no upgrade came in between");
        let logs = replica.logs(service.canister, controller()).expect("a log");
        let texts = logs.iter().map(|line| String::from_utf8_lossy(&line.content).into_owned());
        assert_eq!(texts.filter(|text| text.contains("[TRAP]")).collect::<Vec<_>>(), [""; 0]);
    });
}

#[test]
fn a_trap_in_any_message_of_a_run_ends_that_run_alone() {
    on_every_runtime("a trap in every slice", |replica| {
        let service =
            Service::deploy_module(replica, &trapping(&plain_module(), "ic_nn_internal_infer"), None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let trap_at = |message: usize| {
            let arg = vec![0; message];
            replica.update(service.canister, controller(), "trap_at", &arg).expect("it is set");
        };
        let expected = caller.infer(&images(64, None)).expect("it infers").outputs;
        let heap = || caller.server_metadata().expect("it says").heap_bytes;
        caller.infer(&images(3, None)).expect("others are planned for");
        caller.infer(&images(64, Some(1))).expect("it infers in slices");
        let before = heap();
        let mut message = 1;
        loop {
            trap_at(message);
            let other = submit(replica, &service, &images(3, None));
            let answer = caller.infer(&images(64, Some(1)));
            trap_at(0);
            // Whoever was in between had its own messages; one of them may have been the trap's.
            drop(answered(replica.await_call(other)));
            match answer {
                Err(_) => drop(refused(answer, ErrorCode::RuntimeError, &["everything was taken back"])),
                Ok(answer) => {
                    assert_eq!(answer.outputs, expected, "{message}");
                    break;
                }
            }
            assert_eq!(caller.infer(&images(64, Some(1))).expect("it infers again").outputs, expected);
            message += 1;
        }
        assert!(message > 6, "a run of {message} messages");
        assert_eq!(heap(), before);
    });
}

#[test]
fn a_trap_ends_its_job_alone() {
    on_every_runtime("a trap in a job", |replica| {
        let service =
            Service::deploy_module(replica, &trapping(&plain_module(), "ic_nn_internal_infer"), None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let job = |slice| JobRequest { request: images(64, Some(slice)), ..Default::default() };
        caller.infer(&images(64, None)).expect("it infers");
        replica.update(service.canister, controller(), "trap_at", &[0; 3]).expect("it is set");
        let id = caller.job_submit(&job(1)).expect("it is taken");
        let ended = |id| loop {
            let status = caller.job_status(id).expect("it is told of");
            if !matches!(status.state, JobState::Queued | JobState::Running) {
                return status;
            }
            replica.tick();
        };
        let status = ended(id);
        assert_eq!(status.state, JobState::Failed);
        assert!(status.error.expect("a reason").data.contains("everything was taken back"));
        replica.update(service.canister, controller(), "trap_at", &[]).expect("it is set");
        let id = caller.job_submit(&job(1)).expect("it is taken");
        assert_eq!(ended(id).state, JobState::Done);
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
