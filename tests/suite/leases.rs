//! What becomes of contexts whose openers do not come back: a client that forgot, a front that was upgraded, installed anew or deleted
//! in the midst of a request.

use std::time::Duration;

use candid::{Decode, Encode, Principal};
use ic_nn_host::{InstallMode, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Model, element};
use ic_nn_tests::service::{Service, controller, module, principal, refused, request, stranger};
use ic_nn_types::{
    ComputeOptions, ContextOptions, Error, ErrorCode, ExecutionTarget, GraphEncoding, HttpRequest,
    HttpResponse, InferParameters, InferRequest, InitArgs, NamedTensor, Role, Tensor,
};

use crate::pipeline::{Line, constant, rows, stages};

fn seconds(idle: u64) -> ContextOptions {
    ContextOptions { idle_seconds: Some(idle), session: None }
}

fn session(session: u64) -> ContextOptions {
    ContextOptions { session: Some(session), ..Default::default() }
}

fn input(values: &[f32]) -> [NamedTensor; 1] {
    [("x".to_owned(), Tensor::from_f32(vec![values.len() as u32], values))]
}

/// An echo, loaded.
fn echo(service: &Service<'_>) -> u64 {
    service.upload("echo", &onnx::echo(element::FLOAT, &[Dim::Named("n")])).expect("it is accepted");
    service.controller().load_by_name("echo").expect("it loads")
}

/// Lets time pass, and timers come.
fn pass(replica: &dyn Replica, seconds: u64) {
    replica.advance_time(Duration::from_secs(seconds));
    for _ in 0..5 {
        replica.tick();
    }
}

/// Contexts that the service says are open.
fn open(service: &Service<'_>) -> u64 {
    let request = HttpRequest { method: "GET".into(), url: "/metrics".into(), headers: vec![], body: vec![] };
    let arg = Encode!(&request).expect("it encodes");
    let reply = service.replica.query(service.canister, Principal::anonymous(), "http_request", &arg);
    let response = Decode!(&reply.expect("it answers"), HttpResponse).expect("a response");
    let text = String::from_utf8(response.body).expect("it is UTF-8");
    let line = text.lines().find(|line| !line.starts_with('#') && line.contains("open_contexts"));
    let number = line.and_then(|line| line.rsplit(' ').next()).expect("it is told");
    number.parse().expect("a number")
}

/// Bytes of the service's heap of that purpose.
fn heap(service: &Service<'_>, purpose: &str) -> u64 {
    let status = service.controller().memory_status().expect("it says");
    let part = status.heap.iter().find(|(name, _)| name == purpose);
    part.expect("there is such a purpose").1
}

#[test]
fn a_context_that_nobody_calls_on_is_closed_and_says_so() {
    on_every_runtime("idle contexts", |replica| {
        let service = Service::deploy(replica, None);
        let graph = echo(&service);
        let caller = service.controller();
        let short = caller.init_execution_context_with(graph, &seconds(100)).expect("it opens");
        let used = caller.init_execution_context_with(graph, &seconds(100)).expect("it opens");
        let day = caller.init_execution_context(graph).expect("it opens");
        let week = caller.init_execution_context_with(graph, &seconds(604_800)).expect("it opens");
        let values = vec![1.0; 100_000];
        for context in [short, used, day, week] {
            caller.set_input(context, "x", &input(&values)[0].1, None).expect("it is set");
        }
        assert!(heap(&service, "contexts") >= 1_600_000);
        pass(replica, 60);
        caller.compute(used, &input(&[2.0]), None).expect("a call");
        pass(replica, 60);
        let (code, words) = (ErrorCode::NotFound, ["100 seconds", "init_execution_context"]);
        refused(caller.get_output(short, "y", None), code, &words);
        refused(caller.set_input(short, "x", &input(&values)[0].1, None), code, &words);
        refused(caller.compute(short, &input(&values), None), code, &words);
        refused(caller.finalize_execution_context(short), code, &words);
        refused(service.caller(stranger()).get_output(short, "y", None), code, &words);
        assert_eq!(caller.get_output(used, "y", None).expect("it is open").data, 2f32.to_le_bytes());
        // Reading is no call on it: a query leaves no trace.
        pass(replica, 60);
        refused(caller.get_output(used, "y", None), code, &words);
        pass(replica, 86_400 - 200);
        caller.get_output(day, "y", None).expect_err("nothing was computed, but it is open");
        caller.compute(day, &[], None).expect("it is open, with its input");
        pass(replica, 86_401);
        refused(caller.compute(day, &[], None), code, &["86400 seconds"]);
        assert_eq!(open(&service), 1);
        pass(replica, 604_800 - 3 * 86_400);
        caller
            .compute(week, &[], Some(&ComputeOptions { outputs: Some(vec![]), ..Default::default() }))
            .expect("it is open");
        pass(replica, 604_801);
        refused(caller.compute(week, &[], None), code, &["604800 seconds"]);
        assert_eq!((open(&service), heap(&service, "contexts")), (0, 0));
        for idle in [0, 604_801, u64::MAX] {
            let opened = caller.init_execution_context_with(graph, &seconds(idle));
            refused(opened, ErrorCode::InvalidArgument, &["1 to 604800", &idle.to_string()]);
        }
    });
}

#[test]
fn a_context_that_computes_is_not_idle() {
    on_every_runtime("long computations", |replica| {
        let service = Service::deploy(replica, None);
        // Products of 512 x 512, some 0.21 B each, every one in a message of its own: rounds enough.
        service.serve("model", &onnx::products(Dim::Is(512), 40).finish());
        let caller = service.controller();
        let graph = caller.load_by_name("model").expect("it is loaded");
        let context = caller.init_execution_context_with(graph, &seconds(10)).expect("it opens");
        let numbers: Vec<f32> = (0..512 * 512).map(|i| ((i % 3) as f32) / 512.0).collect();
        let x = vec![("x".to_owned(), Tensor::from_f32(vec![512, 512], &numbers))];
        let options = ComputeOptions { slice_instructions: Some(1), outputs: None };
        let arg = Encode!(&context, &x, &Some(options)).expect("it encodes");
        let call = replica.submit(service.canister, controller(), "compute", &arg).expect("it is taken");
        replica.tick();
        for _ in 0..2 {
            replica.advance_time(Duration::from_secs(70));
            replica.tick();
        }
        assert!(heap(&service, "runs under way") > 0, "it is over before the time was");
        let reply = replica.await_call(call).expect("it is answered");
        let outputs =
            Decode!(&reply, Result<Vec<NamedTensor>, Error>).expect("a reply").expect("it computes");
        assert_eq!(outputs[0].1.dimensions, [512, 512]);
        caller.get_output(context, "0", None).expect("from its end on there are ten seconds more");
        pass(replica, 70);
        refused(caller.compute(context, &x, None), ErrorCode::NotFound, &["10 seconds"]);
    });
}

#[test]
fn leases_survive_upgrades_which_count_as_calls() {
    on_every_runtime("leases over upgrades", |replica| {
        let service = Service::deploy(replica, None);
        let graph = echo(&service);
        let caller = service.controller();
        let context = caller.init_execution_context_with(graph, &seconds(100)).expect("it opens");
        let gone = caller.init_execution_context_with(graph, &seconds(10)).expect("it opens");
        pass(replica, 70);
        service.upgrade();
        pass(replica, 70);
        caller.compute(context, &input(&[1.0]), None).expect("it is open");
        refused(caller.compute(gone, &input(&[1.0]), None), ErrorCode::NotFound, &["10 seconds"]);
        service.upgrade();
        refused(caller.compute(gone, &input(&[1.0]), None), ErrorCode::NotFound, &["10 seconds"]);
        pass(replica, 101);
        pass(replica, 60);
        refused(caller.compute(context, &input(&[1.0]), None), ErrorCode::NotFound, &["100 seconds"]);
        assert_eq!(open(&service), 0);
    });
}

#[test]
fn what_lapses_makes_room_and_lets_its_graph_go() {
    on_every_runtime("room of idle contexts", |replica| {
        let service =
            Service::deploy(replica, Some(InitArgs { max_contexts: Some(70), ..Default::default() }));
        let graph = echo(&service);
        let caller = service.grant(principal(1), Role::Caller);
        for _ in 0..64 {
            caller.init_execution_context_with(graph, &seconds(30)).expect("it opens");
        }
        refused(caller.init_execution_context(graph), ErrorCode::TooLarge, &["64"]);
        // Before any timer has come.
        replica.advance_time(Duration::from_secs(31));
        caller.init_execution_context(graph).expect("there is room");
        pass(replica, 60);
        assert_eq!(open(&service), 1);
        // A model without a name goes with the last context on it.
        let file = onnx::echo(element::DOUBLE, &[Dim::Named("n")]);
        let admin = service.controller();
        let bytes = || admin.memory_status().expect("it says").models.len();
        let before = bytes();
        let loaded = admin.load(&[file.into()], GraphEncoding::Onnx, ExecutionTarget::Cpu, None);
        let loaded = loaded.expect("it loads");
        admin.init_execution_context_with(loaded, &seconds(30)).expect("it opens");
        admin.unload(loaded).expect("it unloads");
        assert_eq!(bytes(), before + 1);
        pass(replica, 100);
        assert_eq!(bytes(), before);
    });
}

#[test]
fn a_session_closes_what_was_opened_in_others() {
    on_every_runtime("sessions", |replica| {
        let service = Service::deploy(replica, None);
        let graph = echo(&service);
        let (one, other) =
            (service.grant(principal(1), Role::Caller), service.grant(principal(2), Role::Caller));
        let init = |options| one.init_execution_context_with(graph, &options).expect("it opens");
        let (kept, first, second) = (init(session(0)), init(session(7)), init(session(7)));
        let others = other.init_execution_context_with(graph, &session(6)).expect("it opens");
        one.set_input(first, "x", &input(&[1.0; 1_000])[0].1, None).expect("it is set");
        let third = init(session(8));
        for context in [first, second] {
            refused(one.compute(context, &input(&[1.0]), None), ErrorCode::InvalidArgument, &["finalized"]);
        }
        for (caller, context) in [(&one, kept), (&other, others), (&one, third)] {
            caller.compute(context, &input(&[1.0]), None).expect("it is open");
        }
        assert_eq!((open(&service), heap(&service, "contexts")), (3, 3 * 4));
    });
}

/// Two stages with 6 MiB between them for 16,384 rows. What the bytes are charged for and the first stage's 0.25 B instructions
/// have requests take rounds, and contexts on both.
pub(crate) fn deep() -> Vec<u8> {
    let shape = |n: i64| [Dim::Named("rows"), Dim::Is(n)];
    let product = |a, w, y| onnx::node("MatMul", &[a, w], &[y], vec![]);
    Model {
        nodes: vec![
            product("x", "a", "wide"),
            product("wide", "b", "h"),
            product("h", "c", "broad"),
            product("broad", "d", "y"),
        ],
        inputs: vec![onnx::value("x", element::FLOAT, &shape(16))],
        outputs: vec![onnx::value("y", element::FLOAT, &shape(4))],
        initializers: vec![
            constant("a", 16, 128, 1),
            constant("b", 128, 96, 2),
            constant("c", 96, 32, 3),
            constant("d", 32, 4, 4),
        ],
        ..Default::default()
    }
    .finish()
}

/// What the stages of a pipeline keep of its requests.
fn left(line: &Line<'_>) -> Vec<(u64, u64, u64)> {
    let of = |stage: &Service<'_>| (open(stage), heap(stage, "contexts"), heap(stage, "runs under way"));
    line.stages.iter().map(of).collect()
}

/// Requests that are begun at a time: enough that an installation, which takes rounds by itself, finds them half way.
const BURST: u64 = 18;

/// Has requests that go in parts begin, does that to the front, and waits until nothing of them is under way.
fn interrupted(line: &Line<'_>, ticks: u64, then: impl FnOnce()) {
    let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
    let asked = InferRequest { parameters, ..request("model", rows(16_384)) };
    let arg = Encode!(&asked).expect("it encodes");
    let (front, replica) = (line.front.canister, line.front.replica);
    let submit = |_| replica.submit(front, controller(), "infer", &arg).expect("it is taken");
    let calls: Vec<_> = (0..BURST).map(submit).collect();
    for _ in 0..ticks {
        replica.tick();
    }
    then();
    for call in calls {
        let _ = replica.await_call(call);
    }
    for _ in 0..100 {
        replica.tick();
        if left(line).iter().all(|(_, _, runs)| *runs == 0) {
            break;
        }
    }
    replica.tick();
}

fn reinstall(line: &Line<'_>) {
    let arg = Encode!(&None::<InitArgs>).expect("it encodes");
    let (front, replica) = (line.front.canister, line.front.replica);
    replica.install(front, controller(), InstallMode::Reinstall, &module(), &arg).expect("it installs");
}

#[test]
fn a_front_that_ends_in_the_midst_of_its_requests_leaves_no_contexts() {
    on_every_runtime("fronts upgraded and installed anew", |replica| {
        let line = Line::deploy(replica, &deep(), &stages(2));
        let inputs = rows(16_384);
        let expected = line.infer(&inputs).expect("its stages infer");
        let whole = |stage: &Service<'_>| stage.controller().memory_status().expect("it says").heap_bytes;
        let (mut before, mut caught) = (vec![], [0; 2]);
        for round in 0..6 {
            let again = round % 2 == 0;
            interrupted(&line, 1 + round % 3, || match again {
                true => reinstall(&line),
                false => line.front.upgrade(),
            });
            if again {
                line.publish().expect("the manifest is accepted");
            }
            for ((contexts, _, runs), caught) in left(&line).into_iter().zip(&mut caught) {
                // Of this round alone: the next closes them.
                assert!(contexts <= BURST && runs == 0, "round {round}: {contexts} contexts, {runs} bytes");
                *caught += contexts;
            }
            if round % 2 == 1 {
                assert!(line.infer(&inputs).expect("a later request is answered") == expected);
                replica.tick();
                assert_eq!(left(&line), [(0, 0, 0); 2], "round {round}");
                before.push(line.stages.iter().map(whole).collect::<Vec<_>>());
            }
        }
        println!("contexts left on the stages, all rounds together: {caught:?}");
        assert!(caught.iter().any(|caught| *caught > 64), "fewer than a principal may have open: {caught:?}");
        for (first, last) in before[0].iter().zip(&before[2]) {
            assert!(last.abs_diff(*first) < 20_000, "stages grow: {before:?}");
        }
    });
}

#[test]
fn a_front_that_never_comes_back_leaves_no_contexts() {
    on_every_runtime("fronts gone", |replica| {
        let line = Line::deploy(replica, &deep(), &stages(2));
        let front = line.front.canister;
        let mut most = 0;
        for ticks in [1, 3] {
            interrupted(&line, ticks, || reinstall(&line));
            most = most.max(left(&line).iter().map(|(contexts, ..)| *contexts).sum());
            // What it was is not deployed again: to the stages it is gone.
            pass(replica, 1_801);
            pass(replica, 60);
            assert_eq!(left(&line), [(0, 0, 0); 2], "after {ticks} ticks");
            line.publish().expect("the manifest is accepted");
            line.front.controller().load_by_name("model").expect("every stage is in order");
        }
        assert!(most > 0, "not one was interrupted while it had a context open");
        interrupted(&line, 1, || {
            // With calls under way it cannot be stopped, but installed anew.
            reinstall(&line);
        });
        replica.stop(front, controller()).expect("it stops");
        replica.delete(front, controller()).expect("it is deleted");
        pass(replica, 1_801);
        pass(replica, 60);
        assert_eq!(left(&line), [(0, 0, 0); 2]);
    });
}
