//! Upgrades: what was acknowledged is there afterwards, with equal bytes, and graphs that were loaded come back.

use candid::{Decode, Encode};
use ic_nn_host::{Reject, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim};
use ic_nn_tests::service::{Service, controller, repository, request, stranger};
use ic_nn_types::{
    Error, InferParameters, InferRequest, InferResponse, JobRequest, JobState, ModelState, NamedTensor, Role,
    Tensor,
};

use crate::leases::deep;
use crate::pipeline::{Line, rows, stages};

#[test]
fn models_answer_again_with_equal_bytes() {
    let digits = std::fs::read(repository("models/digits.onnx")).expect("the model is committed");
    on_every_runtime("upgrade", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        service.serve("digits", &digits);
        service.upload("add", &onnx::add()).expect("it is accepted");
        caller.grant_role(stranger(), Role::Admin).expect("a controller names admins");
        let pixels: Vec<f32> = (0..64).map(|i| (i % 9) as f32 / 8.0).collect();
        let ask =
            || service.ask("digits", vec![("image".into(), Tensor::from_f32(vec![1, 1, 8, 8], &pixels))]);
        let before = (caller.describe("digits"), caller.list_roles(), ask());
        let before_add = caller.describe("add");
        assert!(before.2.is_ok());
        service.upgrade();
        assert_eq!(ask(), before.2, "right after the upgrade, the graph not yet back");
        for _ in 0..10 {
            replica.tick();
        }
        assert_eq!((caller.describe("digits"), caller.list_roles(), ask()), before);
        assert_eq!(caller.describe("add"), before_add);
        let states: Vec<_> =
            caller.list_all().expect("a list").into_iter().map(|m| (m.name, m.state)).collect();
        assert_eq!(
            states,
            [("add".into(), Some(ModelState::Available)), ("digits".into(), Some(ModelState::Loaded))],
            "what was loaded came back by itself"
        );
    });
}

/// Small products, each in a message of its own: so many calls of the canister to itself, which take some rounds.
const PRODUCTS: usize = 600;

fn chain() -> Vec<u8> {
    onnx::products(Dim::Is(64), PRODUCTS).finish()
}

fn long(model: &str) -> InferRequest {
    let numbers: Vec<f32> = (0..64 * 64).map(|i| (i % 3) as f32 / 64.0).collect();
    let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
    let inputs = vec![("x".into(), Tensor::from_f32(vec![64, 64], &numbers))];
    InferRequest { parameters, ..request(model, inputs) }
}

/// What a call of `infer` gave, where it was not rejected.
fn outputs(reply: Result<Vec<u8>, Reject>) -> Result<Vec<NamedTensor>, Reject> {
    let answer = Decode!(&reply?, Result<InferResponse, Error>).expect("a reply of infer");
    Ok(answer.expect("it infers").outputs)
}

/// Calls that the canister is upgraded under are answered after it, by a module whose heap knows nothing of them.
#[test]
fn no_answer_goes_astray_however_often_the_canister_is_upgraded_under_its_calls() {
    on_every_runtime("upgrades under calls", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("chain", &chain());
        let caller = service.controller();
        let expected = caller.infer(&long("chain")).expect("it infers").outputs;
        let arg = Encode!(&long("chain")).expect("the argument encodes");
        let submit = || replica.submit(service.canister, controller(), "infer", &arg).expect("it is taken");
        let module = service.upload_module();
        let (mut told, mut heap) = (0, vec![]);
        for ticks in 2..11 {
            let job = |restart_on_upgrade| JobRequest {
                request: long("chain"),
                restart_on_upgrade,
                ..Default::default()
            };
            let [lasts, ends] =
                [Some(true), None].map(|restarts| caller.job_submit(&job(restarts)).expect("it is taken"));
            let first = [submit(), submit()];
            (0..ticks / 2).for_each(|_| replica.tick());
            service.upgrade_now(&module);
            // Once more, while answers of two sessions are under way.
            let second = submit();
            (0..ticks % 2).for_each(|_| replica.tick());
            service.upgrade_now(&module);
            for call in first.into_iter().chain([second]) {
                match outputs(replica.await_call(call)) {
                    Ok(outputs) => assert_eq!(outputs, expected, "in round {ticks}"),
                    Err(reject) => {
                        let text = reject.to_string();
                        assert!(text.contains("upgraded while this call was under way"), "{ticks}: {text}");
                        told += 1;
                    }
                }
            }
            let [lasted, ended] =
                [lasts, ends].map(|job| caller.job_wait(job, &mut |_| {}).expect("it is told of"));
            assert_eq!(lasted.state, JobState::Done, "in round {ticks}: {lasted:?}");
            assert!(matches!(ended.state, JobState::Done | JobState::Failed), "in round {ticks}: {ended:?}");
            let (name, tensor) = &expected[0];
            assert_eq!(&caller.fetch_job_output(lasts, name).expect("it is kept"), tensor);
            for job in [lasts, ends] {
                caller.job_cancel(job).expect("it is discarded");
            }
            heap.push(caller.server_metadata().expect("it says").heap_bytes);
            let logs = replica.logs(service.canister, controller()).expect("a log");
            for line in logs {
                let text = String::from_utf8_lossy(&line.content).into_owned();
                assert!(!text.contains("[TRAP]"), "in round {ticks}: {text}");
            }
        }
        println!("calls under way in upgrades: {told}, heap afterwards: {heap:?}");
        assert!(told > 0, "no upgrade came under a call");
        let (least, most) = (heap.iter().min(), heap.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least < 40_000), "{heap:?}");
    });
}

/// Requests that are under way at once, and upgrades of their stages after so many rounds: every one is answered.
fn stages_upgraded_under(
    replica: &dyn Replica,
    model: &[u8],
    inputs: &[NamedTensor],
    calls: usize,
    rounds: u64,
) {
    let line = Line::deploy(replica, model, &stages(2));
    let expected = line.infer(inputs).expect("it infers");
    let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
    let asked = InferRequest { parameters, ..request("model", inputs.to_vec()) };
    let arg = Encode!(&asked).expect("the argument encodes");
    let modules: Vec<_> = line.stages.iter().map(Service::upload_module).collect();
    for rounds in 1..=rounds {
        let submit =
            |_| replica.submit(line.front.canister, controller(), "infer", &arg).expect("it is taken");
        let calls: Vec<_> = (0..calls).map(submit).collect();
        (0..rounds).for_each(|_| replica.tick());
        line.stages.iter().zip(&modules).for_each(|(stage, module)| stage.upgrade_now(module));
        for call in calls {
            let outputs = outputs(replica.await_call(call)).expect("it is answered");
            assert!(outputs == expected, "after {rounds} rounds");
        }
    }
}

#[test]
fn a_stage_that_is_upgraded_under_its_calls_is_called_again() {
    on_every_runtime("stages upgraded under calls", |replica| {
        stages_upgraded_under(replica, &chain(), &long("model").inputs, 2, 4);
    });
}

/// What a context had is gone then: all of it is sent once more.
#[test]
fn a_stage_that_is_upgraded_while_it_is_asked_in_parts_is_asked_again() {
    on_every_runtime("stages upgraded under calls in parts", |replica| {
        stages_upgraded_under(replica, &deep(), &rows(16_384), 8, 8);
    });
}
