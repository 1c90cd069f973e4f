//! Days on which something is missing: the caller, stable memory, the canister in front while it is upgraded.

use std::time::Duration;

use candid::Encode;
use ic_nn_host::Host;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx;
use ic_nn_tests::service::{Service, controller, refused, repository, request};
use ic_nn_types::{
    ErrorCode, InferParameters, InferRequest, JobListRequest, JobRequest, JobState, Tensor, TensorType,
};

/// A batch of images, every step in a message of its own.
fn images(batch: u32) -> InferRequest {
    let pixels: Vec<f32> = (0..batch * 64).map(|i| (i % 17) as f32 / 16.0).collect();
    let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
    let image = Tensor::from_f32(vec![batch, 1, 8, 8], &pixels);
    InferRequest { parameters, ..request("digits", vec![("image".into(), image)]) }
}

#[test]
fn a_caller_that_does_not_come_back_leaves_nothing() {
    on_every_runtime("a caller gone", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &std::fs::read(repository("models/digits.onnx")).expect("the model"));
        let caller = service.controller();
        let expected = caller.infer(&images(64)).expect("it infers").outputs;
        let heap = || caller.server_metadata().expect("it says").heap_bytes;
        let abandoned = |count: usize| {
            for _ in 0..count {
                let arg = Encode!(&images(64)).expect("the argument encodes");
                replica.submit(service.canister, controller(), "infer", &arg).expect("it is taken");
            }
            // Nobody asks what became of them.
            for _ in 0..60 {
                replica.tick();
            }
        };
        abandoned(10);
        let before = heap();
        for _ in 0..4 {
            abandoned(10);
        }
        assert_eq!(heap(), before);
        assert_eq!(caller.infer(&images(64)).expect("it infers").outputs, expected);
        // Nor what became of a job: it is forgotten when its time is over.
        let job = JobRequest { request: images(64), retain_seconds: Some(10), ..Default::default() };
        let id = caller.job_submit(&job).expect("it is taken");
        for _ in 0..60 {
            replica.tick();
        }
        replica.advance_time(Duration::from_secs(3_700));
        for _ in 0..5 {
            replica.tick();
        }
        refused(caller.job_status(id).map(drop), ErrorCode::NotFound, &["expired"]);
        assert_eq!(caller.job_list(&JobListRequest::default()).expect("a page").jobs, []);
    });
}

/// Rows of a table, by so many indices: 8 bytes each in, 8 bytes each out.
fn rows(count: u32) -> InferRequest {
    let data = (0..i64::from(count)).flat_map(|i| (i % 4).to_le_bytes()).collect();
    let ids = Tensor { dimensions: vec![count], ty: TensorType::I64, data };
    request("rows", vec![("ids".into(), ids)])
}

/// No other runtime lets a test take the subnet's memory away.
#[test]
fn where_the_subnet_grants_no_memory_jobs_are_refused_and_those_taken_come_to_an_end() {
    let host = Host::builder().stable_limit(64 << 20).build().expect("a host");
    let service = Service::deploy(&host, None);
    service.serve("rows", &onnx::lookup());
    let caller = service.controller();
    caller.infer(&rows(5)).expect("it infers");
    let mut taken = vec![];
    let refusal = loop {
        // Two jobs' inputs are a bucket.
        match caller.job_submit(&JobRequest { request: rows(200_000), ..Default::default() }) {
            Ok(job) => taken.push(job),
            Err(e) => break e,
        }
        assert!(taken.len() < 100, "64 MiB are not so many");
    };
    assert!(refusal.to_string().contains("stable memory could not grow"), "{refusal}");
    assert!(taken.len() > 2, "{taken:?}");
    for job in taken {
        let status = caller.job_wait(job, &mut |_| {}).expect("it is told of");
        match status.state {
            JobState::Done => {
                let rows = caller.fetch_job_output(job, "rows").expect("it is kept");
                assert_eq!(rows.dimensions, [200_000, 2]);
            }
            JobState::Failed => {
                let e = status.error.expect("a reason");
                assert!(e.data.contains("stable memory could not grow"), "{e}");
            }
            state => panic!("{state:?}"),
        }
        caller.job_cancel(job).expect("it is discarded");
    }
    // What has run before is answered still.
    caller.infer(&rows(5)).expect("others are served");
}

/// Neither here.
#[test]
fn where_the_subnet_grants_no_memory_jobs_take_the_room_of_those_before_them() {
    let host = Host::builder().stable_limit(64 << 20).build().expect("a host");
    let service = Service::deploy(&host, None);
    service.serve("rows", &onnx::lookup());
    let caller = service.controller();
    caller.infer(&rows(5)).expect("it infers");
    let job = JobRequest { request: rows(200_000), ..Default::default() };
    let mut kept = vec![];
    let refusal = loop {
        match caller.job_submit(&job) {
            Ok(id) => {
                let state = caller.job_wait(id, &mut |_| {}).expect("it is told of").state;
                assert!(matches!(state, JobState::Done | JobState::Failed), "{state:?}");
                kept.push(id);
            }
            Err(e) => break e,
        }
        assert!(kept.len() < 100, "64 MiB are not so many");
    };
    assert!(refusal.to_string().contains("stable memory could not grow"), "{refusal}");
    assert!(kept.len() > 4, "{kept:?}");
    let full = caller.server_metadata().expect("it says").stable_bytes;
    caller.job_cancel(kept.remove(0)).expect("it is discarded");
    for round in 0..40 {
        caller.job_cancel(kept.remove(0)).expect("it is discarded");
        let id = caller.job_submit(&job).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let status = caller.job_wait(id, &mut |_| {}).expect("it is told of");
        assert_eq!(status.state, JobState::Done, "round {round}: {status:?}");
        kept.push(id);
    }
    assert_eq!(caller.server_metadata().expect("it says").stable_bytes, full);
}
