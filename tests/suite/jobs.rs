//! Jobs: what is submitted is run, told of, kept, and lost by nobody's fault but its own.

use std::time::Duration;

use candid::{Decode, Encode, Principal};
use ic_nn_client::ClientError;
use ic_nn_host::{CanisterSettings, Host, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim};
use ic_nn_tests::service::{Caller, Service, controller, principal, refused, repository, request, stranger};
use ic_nn_types::{
    Error, ErrorCode, InferParameters, InferRequest, InitArgs, JobListRequest, JobRequest, JobState,
    JobStatus, OutputRange, Role, Tensor,
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

fn job(request: InferRequest) -> JobRequest {
    JobRequest { request, ..Default::default() }
}

/// Products of 512 x 512, some 0.21 B each, every one in a message of its own: three of these take seven rounds.
const LONG: usize = 20;

/// Serves digits, and `chain`, whose inference takes [`LONG`] messages.
fn serve(service: &Service<'_>) {
    service.serve("digits", &digits());
    service.serve("chain", &onnx::products(Dim::Is(512), LONG).finish());
}

/// An inference over many messages.
fn long() -> JobRequest {
    let numbers: Vec<f32> = (0..512 * 512).map(|i| ((i % 3) as f32) / 512.0).collect();
    let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
    let inputs = vec![("x".into(), Tensor::from_f32(vec![512, 512], &numbers))];
    job(InferRequest { parameters, ..request("chain", inputs) })
}

/// Submits all of them before any round is run.
fn submit_all(service: &Service<'_>, jobs: &[(Principal, JobRequest)]) -> Vec<u64> {
    let replica = service.replica;
    let submit = |(sender, job): &(Principal, JobRequest)| {
        let arg = Encode!(job).expect("the argument encodes");
        replica.submit(service.canister, *sender, "job_submit", &arg).expect("it is taken")
    };
    let calls: Vec<_> = jobs.iter().map(submit).collect();
    let answer = |call| {
        let reply = replica.await_call(call).expect("it is answered");
        Decode!(&reply, Result<u64, Error>).expect("a reply of job_submit").expect("it is taken")
    };
    calls.into_iter().map(answer).collect()
}

/// Rounds until the job is finished.
fn finished(replica: &dyn Replica, caller: &Caller<'_>, job: u64) -> JobStatus {
    for _ in 0..2_000 {
        let status = caller.job_status(job).expect("it is told of");
        if !matches!(status.state, JobState::Queued | JobState::Running) {
            return status;
        }
        replica.tick();
    }
    panic!("job {job} has not come to an end: {:?}", caller.job_status(job));
}

#[test]
fn a_job_answers_what_infer_answers() {
    on_every_runtime("jobs", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let receipts = InferParameters { receipt: Some(true), ..Default::default() };
        let request = InferRequest { parameters: Some(receipts), ..images(64, None) };
        let expected = caller.infer(&request).expect("it infers");
        let id = caller.job_submit(&job(request)).expect("it is taken");
        let early = caller.job_status(id).expect("it is told of");
        assert!(matches!(early.state, JobState::Queued | JobState::Running), "{early:?}");
        refused(caller.job_result(id, "logits", None).map(drop), ErrorCode::NotFound, &["is not done"]);
        let status = finished(replica, &caller, id);
        assert_eq!(status.state, JobState::Done, "{status:?}");
        assert_eq!((status.progress, status.error, status.position), (1.0, None, None));
        assert_eq!(status.receipt, expected.receipt);
        assert!(status.instructions > 0 && status.expires_at > status.finished_at);
        assert_eq!(status.outputs.len(), expected.outputs.len());
        for ((name, tensor), output) in expected.outputs.iter().zip(&status.outputs) {
            assert_eq!((&output.name, &output.dimensions, output.ty), (name, &tensor.dimensions, tensor.ty));
            assert_eq!(&caller.fetch_job_output(id, name).expect("it is fetched"), tensor);
            // In small parts, too.
            let range = Some(OutputRange { offset: Some(7), limit: Some(5) });
            let part = caller.job_result(id, name, range).expect("a part");
            assert_eq!((part.total_bytes, &part.data[..]), (output.bytes, &tensor.data[7..12]));
        }
        refused(caller.job_result(id, "nothing", None).map(drop), ErrorCode::InvalidArgument, &["it has `"]);
        // Over an upgrade as well.
        service.upgrade();
        let (name, tensor) = &expected.outputs[0];
        assert_eq!(&caller.fetch_job_output(id, name).expect("it is kept"), tensor);
        caller.job_cancel(id).expect("a finished one is discarded");
        refused(caller.job_status(id).map(drop), ErrorCode::NotFound, &["has expired or was discarded"]);
        refused(caller.job_status(99).map(drop), ErrorCode::NotFound, &["no job 99"]);
    });
}

#[test]
fn what_cannot_be_a_job_is_told_at_once() {
    on_every_runtime("jobs refused", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let refuse = |change: &dyn Fn(&mut JobRequest), code, texts: &[&str]| {
            let mut job = job(images(1, None));
            change(&mut job);
            refused(caller.job_submit(&job).map(drop), code, texts);
        };
        refuse(&|job| job.request.model = "nobody".into(), ErrorCode::NotFound, &["nobody"]);
        refuse(
            &|job| job.request.inputs[0].0 = "picture".into(),
            ErrorCode::InvalidArgument,
            &["picture", "image"],
        );
        refuse(&|job| job.request.inputs.clear(), ErrorCode::InvalidArgument, &["0 inputs came", "`image`"]);
        refuse(&|job| job.request.inputs[0].1.data.truncate(9), ErrorCode::InvalidArgument, &["image"]);
        refuse(&|job| job.retain_seconds = Some(u64::MAX), ErrorCode::InvalidArgument, &["604800"]);
        let strange = service.caller(stranger()).job_submit(&job(images(1, None)));
        assert!(
            matches!(strange, Err(ClientError::Call { .. })),
            "ingress of strangers is dropped: {strange:?}"
        );
        // Whose it is.
        let (a, b) = (service.grant(principal(1), Role::Caller), service.grant(principal(2), Role::Caller));
        let id = a.job_submit(&job(images(1, None))).expect("it is taken");
        refused(b.job_status(id).map(drop), ErrorCode::Security, &["another principal"]);
        refused(b.job_cancel(id), ErrorCode::Security, &["another principal"]);
        refused(
            b.job_list(&JobListRequest { all: Some(true), ..Default::default() }).map(drop),
            ErrorCode::Security,
            &[],
        );
        assert_eq!(b.job_list(&JobListRequest::default()).expect("its own").jobs, []);
        assert_eq!(finished(replica, &a, id).state, JobState::Done);
        let all = caller.job_list(&JobListRequest { all: Some(true), ..Default::default() }).expect("all");
        assert_eq!(all.jobs.len(), 1);
        assert_eq!(all.jobs[0].owner, principal(1));
    });
}

#[test]
fn progress_is_told_and_callers_take_turns() {
    on_every_runtime("jobs take turns", |replica| {
        let service = Service::deploy(replica, None);
        serve(&service);
        let (a, b) = (service.grant(principal(1), Role::Caller), service.grant(principal(2), Role::Caller));
        let short = || job(images(1, None));
        let urgent = JobRequest { priority: Some(9), ..short() };
        let (of_a, of_b) = (|job| (principal(1), job), |job| (principal(2), job));
        let jobs = [long(), long(), long(), short(), short(), short(), urgent].map(of_a);
        let jobs = submit_all(&service, &[&jobs[..], &[of_b(short())]].concat());
        let (urgent, last, others) = (jobs[6], jobs[5], jobs[7]);
        let waiting = a.job_status(urgent).expect("it is told of");
        assert_eq!((waiting.state, waiting.position), (JobState::Queued, Some(1)), "behind b's");
        assert_eq!(b.job_status(others).expect("it is told of").position, Some(0));
        let mut told: Vec<f64> = vec![];
        replica.tick();
        loop {
            let status = a.job_status(jobs[0]).expect("it is told of");
            if status.state != JobState::Running {
                break;
            }
            if let Some(left) = status.instructions_left {
                assert!(
                    status.progress > 0.0 && status.progress < 1.0 && left > 0 && status.instructions > 0
                );
            }
            told.push(status.progress);
            // Others are served all the while.
            replica.tick();
        }
        assert!(told.is_sorted() && told.iter().any(|p| *p > 0.1 && *p < 0.95), "{told:?}");
        let began = |caller: &Caller<'_>, id| finished(replica, caller, id).started_at.expect("it began");
        for id in &jobs[..6] {
            assert_eq!(finished(replica, &a, *id).state, JobState::Done);
        }
        assert!(began(&b, others) <= began(&a, urgent) && began(&a, urgent) <= began(&a, last));
        let pages = |after, limit| {
            let page = a.job_list(&JobListRequest { after, limit: Some(limit), all: None }).expect("a page");
            (page.jobs.iter().map(|job| job.job).collect::<Vec<_>>(), page.next)
        };
        let (first, next) = pages(None, 4);
        assert_eq!((first, next), (jobs[..4].to_vec(), Some(jobs[3])));
        assert_eq!(pages(next, 4), (jobs[4..7].to_vec(), None));
    });
}

#[test]
fn jobs_are_stopped_late_or_forgotten() {
    on_every_runtime("jobs end", |replica| {
        let service = Service::deploy(replica, None);
        serve(&service);
        let caller = service.controller();
        // Stopped while it waits, and while it runs.
        let all = |count| vec![(controller(), long()); count];
        let jobs = submit_all(&service, &all(5));
        for id in [jobs[0], jobs[4]] {
            caller.job_cancel(id).expect("it is stopped");
            let status = finished(replica, &caller, id);
            assert_eq!(status.state, JobState::Cancelled, "{status:?}");
            assert!(status.error.expect("a reason").data.contains("job_cancel"));
        }
        assert_eq!(finished(replica, &caller, jobs[1]).state, JobState::Done);
        jobs[2..4].iter().for_each(|id| caller.job_cancel(*id).expect("it is stopped"));
        // Late while it runs: time goes on between its messages. Late while it waits, as one that comes last.
        let late = JobRequest { deadline_seconds: Some(5), ..long() };
        let jobs = submit_all(
            &service,
            &[vec![(controller(), late.clone())], all(2), vec![(controller(), late)]].concat(),
        );
        replica.advance_time(Duration::from_secs(10));
        for id in [jobs[0], jobs[3]] {
            let status = finished(replica, &caller, id);
            let code = status.error.map(|e| e.code);
            assert_eq!((status.state, code), (JobState::Failed, Some(ErrorCode::Timeout)));
        }
        // Forgotten when its time is over.
        let short = JobRequest { retain_seconds: Some(1), ..job(images(1, None)) };
        let id = caller.job_submit(&short).expect("it is taken");
        assert_eq!(finished(replica, &caller, id).state, JobState::Done);
        replica.advance_time(Duration::from_secs(2));
        let other = caller.job_submit(&job(images(1, None))).expect("it is taken");
        refused(caller.job_status(id).map(drop), ErrorCode::NotFound, &["expired"]);
        assert_eq!(finished(replica, &caller, other).state, JobState::Done);
        // Its model gone before its turn.
        let jobs = submit_all(&service, &[all(3), vec![(controller(), job(images(1, None)))]].concat());
        service.delete("digits").expect("it is deleted");
        let status = finished(replica, &caller, jobs[3]);
        let error = status.error.expect("a reason");
        assert_eq!((status.state, error.code), (JobState::Failed, ErrorCode::NotFound), "{error}");
    });
}

#[test]
fn an_upgrade_fails_what_runs_or_has_it_begin_again() {
    on_every_runtime("jobs over upgrades", |replica| {
        let service = Service::deploy(replica, None);
        serve(&service);
        let caller = service.controller();
        let expected = caller.infer(&long().request).expect("it infers").outputs;
        let mut failed = 0;
        for ticks in 1..3 {
            let new = |restart_on_upgrade| (controller(), JobRequest { restart_on_upgrade, ..long() });
            // Of those that run one begins again; two wait, whatever they ask for.
            let jobs = submit_all(&service, &[None, Some(true), None, None, Some(false)].map(new));
            for _ in 0..ticks {
                replica.tick();
            }
            let state = |id: &u64| caller.job_status(*id).expect("it is told of").state;
            let before: Vec<JobState> = jobs.iter().map(state).collect();
            assert!(before.contains(&JobState::Running) && before.contains(&JobState::Queued), "{before:?}");
            service.upgrade();
            for (ix, id) in jobs.into_iter().enumerate() {
                let status = finished(replica, &caller, id);
                if status.state == JobState::Failed {
                    assert!(before[ix] == JobState::Running && ix != 1, "{status:?}");
                    assert!(status.error.expect("a reason").data.contains("restart_on_upgrade"));
                    failed += 1;
                } else {
                    assert_eq!(status.state, JobState::Done, "{status:?}");
                    let (name, tensor) = &expected[0];
                    assert_eq!(&caller.fetch_job_output(id, name).expect("it is fetched"), tensor);
                }
                caller.job_cancel(id).expect("it is discarded");
            }
        }
        assert!(failed > 1, "{failed} were running");
    });
}

#[test]
fn a_hundred_jobs_with_memory_for_three() {
    on_every_runtime("jobs and memory", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        // What a run takes, and what is there: room for three of them.
        let peak = caller.estimate(&estimate(512)).expect("it is estimated").peak_bytes;
        caller.infer(&images(512, None)).expect("it is planned");
        let held = caller.server_metadata().expect("it says").heap_bytes;
        let args = InitArgs { max_heap_bytes: Some(held + 5 * peak), ..Default::default() };
        service.upgrade_with(Some(args));
        caller.infer(&images(512, None)).expect("it is planned");
        let expected = caller.infer(&images(512, None)).expect("it infers").outputs;
        let jobs: Vec<u64> =
            (0..100).map(|_| caller.job_submit(&job(images(512, Some(1)))).expect("it is taken")).collect();
        for id in jobs {
            let status = finished(replica, &caller, id);
            assert_eq!(status.state, JobState::Done, "{status:?}");
            assert_eq!(caller.fetch_job_output(id, &expected[0].0).expect("it is fetched"), expected[0].1);
        }
    });
}

fn estimate(batch: u32) -> ic_nn_types::EstimateRequest {
    ic_nn_types::EstimateRequest {
        model: Some("digits".into()),
        graph: None,
        shapes: vec![("image".into(), vec![batch, 1, 8, 8])],
    }
}

#[test]
fn without_cycles_jobs_wait_and_what_runs_says_so() {
    on_every_runtime("jobs and cycles", |replica| {
        let service = Service::deploy(replica, None);
        serve(&service);
        let caller = service.controller();
        let id = caller.job_submit(&long()).expect("it is taken");
        while caller.job_status(id).expect("it is told of").state != JobState::Running {
            replica.tick();
        }
        let waits = submit_all(
            &service,
            &vec![(controller(), JobRequest { restart_on_upgrade: Some(true), ..long() }); 4],
        );
        // All that it has is below the threshold now; some time later it is topped up.
        let settings = CanisterSettings { freezing_threshold: Some(100_000_000_000), ..Default::default() };
        replica.update_settings(service.canister, controller(), settings).expect("it is set");
        for _ in 0..50 {
            replica.tick();
        }
        replica.add_cycles(service.canister, 1 << 60);
        let status = finished(replica, &caller, id);
        let error = status.error.expect("a reason");
        assert_eq!(status.state, JobState::Failed);
        assert!(error.data.contains("cycles"), "{error}");
        // Timers may be lost without cycles; whoever calls wakes the jobs.
        replica.advance_time(Duration::from_secs(100));
        caller.infer(&images(1, None)).expect("it is served again");
        for id in waits {
            let status = finished(replica, &caller, id);
            assert_eq!(status.state, JobState::Done, "{status:?}");
        }
        // It goes on when there are cycles again.
        let id = caller.job_submit(&long()).expect("it is taken");
        assert_eq!(finished(replica, &caller, id).state, JobState::Done);
    });
}

#[test]
fn a_thousand_jobs_leave_nothing_behind() {
    on_every_runtime("leaks of jobs", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits());
        let caller = service.controller();
        let some = |count: usize| {
            let jobs: Vec<u64> = (0..count)
                .map(|_| caller.job_submit(&job(images(3, Some(1)))).expect("it is taken"))
                .collect();
            for id in jobs {
                assert_eq!(finished(replica, &caller, id).state, JobState::Done);
                caller.job_cancel(id).expect("it is discarded");
            }
        };
        let held = || {
            let metadata = caller.server_metadata().expect("it says");
            (
                metadata.heap_bytes,
                replica.status(service.canister, controller()).expect("it says").stable_bytes,
            )
        };
        some(100);
        let (heap, stable) = held();
        for _ in 0..10 {
            some(100);
        }
        let (heap_after, stable_after) = held();
        assert_eq!(stable_after, stable);
        // What timers and hash maps hold varies by some kilobytes.
        assert!(heap_after <= heap + 16_384, "{heap} bytes, then {heap_after}");
        assert_eq!(caller.job_list(&JobListRequest::default()).expect("a page").jobs, []);
    });
}

/// Only the host tells what a call took.
#[test]
fn the_thousandth_job_costs_what_the_tenth_does() {
    let host = Host::new().expect("a host");
    let service = Service::deploy(&host, None);
    service.serve("digits", &digits());
    let caller = service.controller();
    let job = JobRequest { retain_seconds: Some(86_400), ..job(images(1, None)) };
    let mut took = vec![];
    for _ in 0..1_000 {
        let id = caller.job_submit(&job).expect("it is taken");
        took.push(host.last_cost().instructions);
        finished(&host, &caller, id);
    }
    let most = |part: &[u64]| *part.iter().max().expect("some");
    let (first, last) = (most(&took[..20]), most(&took[980..]));
    println!("a job_submit of the first 20 takes {first} instructions, of the last 20 of 1,000 {last}");
    assert!(last < first + first / 2, "{first} instructions at first, {last} at last");
    refused(caller.job_submit(&job), ErrorCode::TooLarge, &["1000 jobs"]);
    // After an upgrade what is counted is counted anew, once.
    service.upgrade();
    refused(caller.job_submit(&job), ErrorCode::TooLarge, &["1000 jobs"]);
    host.advance_time(Duration::from_secs(86_401));
    caller.job_submit(&job).expect("the others are over");
    assert_eq!(caller.job_list(&JobListRequest::default()).expect("a page").jobs.len(), 1);
}
