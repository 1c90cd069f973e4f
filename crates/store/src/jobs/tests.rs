//! Jobs against a plain model of them, over openings of the same memory.

use std::collections::BTreeMap;

use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

use super::*;
use crate::fixture::{memories, share};

fn new(owner: u8, version: u64) -> NewJob {
    NewJob {
        owner: Principal::from_slice(&[owner; 4]),
        name: "digits".into(),
        version,
        priority: owner,
        restarts: owner.is_multiple_of(2),
        unlimited: owner == 0,
        deadline_seconds: (owner > 1).then_some(7),
        retain_seconds: Some(u64::from(owner)),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u8, usize),
    Begin(u64),
    Finish(u64, Vec<usize>),
    Discard(u64),
    Expire(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u64..14;
    prop_oneof![
        (0u8..4, 0usize..200_000).prop_map(|(owner, bytes)| Step::Submit(owner, bytes)),
        id.clone().prop_map(Step::Begin),
        (id.clone(), proptest::collection::vec(0usize..150_000, 0..3))
            .prop_map(|(id, sizes)| Step::Finish(id, sizes)),
        id.prop_map(Step::Discard),
        (0u64..4).prop_map(Step::Expire),
        Just(Step::Reopen),
    ]
}

/// The memory of what they were asked and answered.
fn job_data(memories: &crate::Memories<VectorMemory>) -> VectorMemory {
    share(memories).job_data
}

/// A job, what it was asked, and its outputs.
type Known = (Job, Vec<u8>, Vec<Vec<u8>>);

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|ix| (ix * 31 + seed * 7 + ix / 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn jobs_are_what_a_map_of_them_is(steps in proptest::collection::vec(step(), 1..40)) {
        let memories = memories();
        let mut store = Store::open(share(&memories)).expect("it opens");
        (store.bounds.jobs, store.bounds.jobs_per_owner, store.bounds.job_bytes) = (6, 3, 700_000);
        let mut model: BTreeMap<u64, Known> = BTreeMap::new();
        let (mut next, mut now, mut highest) = (1, 1_000, 0);
        for step in steps {
            now += NANOS;
            let kept: u64 = model.values().map(|(job, ..)| job.data_bytes).sum();
            match step {
                Step::Submit(owner, length) => {
                    let his = model.values().filter(|(job, ..)| job.owner == new(owner, 1).owner).count();
                    let fits = model.len() < 6 && (owner == 0 || his < 3) && kept + length as u64 <= 700_000;
                    let asked = bytes(next, length);
                    let submitted = store.submit_job(new(owner, next), &asked, now);
                    prop_assert_eq!(submitted.is_ok(), fits, "{:?}", submitted);
                    if let Ok(id) = submitted {
                        prop_assert_eq!(id, next);
                        let job = store.job(id).expect("it is there");
                        prop_assert_eq!(job.deadline_at == 0, owner <= 1);
                        model.insert(id, (job, asked, vec![]));
                        next += 1;
                    }
                }
                Step::Begin(id) => {
                    let there = model.get(&id).is_some_and(|(job, ..)| !job.phase.is_finished());
                    prop_assert_eq!(store.set_job_running(id, true, now).is_ok(), there);
                    if let (true, Some((job, ..))) = (there, model.get_mut(&id)) {
                        (job.phase, job.started_at) = (JobPhase::Running, now);
                    }
                }
                Step::Finish(id, sizes) => {
                    let outputs: Vec<Vec<u8>> = sizes.iter().map(|size| bytes(id + 1, *size)).collect();
                    let slices: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
                    let size: u64 = sizes.iter().map(|size| *size as u64).sum();
                    let fits = model.get(&id).is_some_and(|(job, ..)| {
                        !job.phase.is_finished() && kept - job.data_bytes + size <= 700_000
                    });
                    let ended = store.finish_job(id, JobPhase::Done, (vec![9], &slices), 5, now);
                    prop_assert_eq!(ended.is_ok(), fits, "{:?}", ended);
                    if let (true, Some(entry)) = (fits, model.get_mut(&id)) {
                        let job = Job {
                            phase: JobPhase::Done,
                            outcome: vec![9],
                            instructions: 5,
                            data_bytes: size,
                            finished_at: now,
                            expires_at: now + entry.0.retain_seconds * NANOS,
                            ..entry.0.clone()
                        };
                        *entry = (job, vec![], outputs);
                    }
                }
                Step::Discard(id) => {
                    let there = model.get(&id).is_some_and(|(job, ..)| job.phase.is_finished());
                    prop_assert_eq!(store.discard_job(id).is_ok(), there);
                    if there {
                        model.remove(&id);
                    }
                }
                Step::Expire(seconds) => {
                    now += seconds * NANOS;
                    store.expire_jobs(now, 1_000).expect("they expire");
                    model.retain(|_, (job, ..)| !job.phase.is_finished() || job.expires_at > now);
                }
                Step::Reopen => {
                    let bounds = store.bounds;
                    store = Store::open(share(&memories)).expect("it opens");
                    store.bounds = bounds;
                }
            }
            let all: Vec<_> = store.jobs_from(0).collect::<Result<_, _>>().expect("they are read");
            prop_assert!(all.iter().map(|(id, job)| (id, job)).eq(model.iter().map(|(id, (job, ..))| (id, job))));
            if let Some(index) = &store.job_index {
                prop_assert_eq!(index, &store.derived_job_index().expect("they are read"));
            }
            // What its memory needs is never more than was said, whatever was freed in between.
            highest = highest.max(store.job_data_bytes(0).expect("it is read"));
            prop_assert!(job_data(&memories).size() * 65_536 <= highest + 2 * 65_536);
            let (counted, kept) = store.job_counter().expect("it is read");
            prop_assert_eq!(counted, next);
            prop_assert_eq!(kept, model.values().map(|(job, ..)| job.data_bytes).sum::<u64>());
            prop_assert_eq!(kept, store.job_data.iter().map(|(_, part)| part.len() as u64).sum::<u64>());
        }
        for (id, (job, asked, outputs)) in &model {
            if job.phase.is_finished() {
                for (ix, output) in outputs.iter().enumerate() {
                    let length = output.len() as u64;
                    let got = store.job_output(*id, ix as u32, 0, length).expect("it is there");
                    prop_assert_eq!(&got, output);
                    let (from, to) = (length / 3, length - length / 5);
                    let got = store.job_output(*id, ix as u32, from, to - from).expect("it is there");
                    prop_assert_eq!(&got[..], &output[from as usize..to as usize]);
                    prop_assert!(store.job_output(*id, ix as u32, 0, length + 1).is_err());
                }
            } else {
                prop_assert_eq!(&store.job_request(*id).expect("it is kept"), asked);
            }
        }
    }
}

#[test]
fn records_are_drawn_as_they_are_written() {
    let job = Job {
        phase: JobPhase::Failed,
        owner: Principal::from_slice(&[1, 2]),
        name: "m".into(),
        version: 3,
        priority: 4,
        restarts: true,
        unlimited: false,
        submitted_at: 5,
        started_at: 6,
        finished_at: 7,
        deadline_at: 8,
        expires_at: 9,
        retain_seconds: 10,
        instructions: 11,
        data_bytes: 12,
        outcome: vec![0xaa],
    };
    let mut golden = vec![1, 4, 4, 1];
    for number in [3u64, 5, 6, 7, 8, 9, 10, 11, 12] {
        golden.extend(number.to_le_bytes());
    }
    golden.extend([2, 1, 2, 1, b'm', 0xaa]);
    assert_eq!(job.encode(), golden);
    assert_eq!(Job::decode(&golden), Ok(job));
    for cut in 0..golden.len() - 1 {
        assert!(Job::decode(&golden[..cut]).is_err());
    }
    assert!(Job::decode(&[&[1u8, 9], &golden[2..]].concat()).is_err(), "a state that is not known");
}

#[test]
fn ids_and_times() {
    let mut store = Store::open(memories()).expect("it opens");
    assert_eq!(store.job(1), Err(JobError::Unknown { job: 1 }));
    let too_long = NewJob { retain_seconds: Some(MAX_RETAIN_SECONDS + 1), ..new(0, 1) };
    assert!(matches!(store.submit_job(too_long, &[], 0), Err(SubmitError::Retain { .. })));
    let job = store.submit_job(NewJob { retain_seconds: None, ..new(0, 1) }, b"x", 5).expect("it is taken");
    assert_eq!(store.job(job).expect("it is there").retain_seconds, RETAIN_SECONDS);
    store.finish_job(job, JobPhase::Cancelled, (vec![], &[]), 0, 6).expect("it ends");
    let again = store.finish_job(job, JobPhase::Done, (vec![], &[]), 0, 6);
    assert!(matches!(again, Err(FinishError::Job(JobError::Phase { .. }))));
    store.discard_job(job).expect("it is discarded");
    assert_eq!(store.job(job), Err(JobError::Expired { job }));
    assert_eq!(store.job(0), Err(JobError::Unknown { job: 0 }));
}
