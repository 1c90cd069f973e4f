//! Jobs under way: which goes next, what each is doing, and what becomes of it.
//!
//! What a job was asked and what came of it is in the store; here is the queue, which an upgrade makes anew from there. Callers take
//! turns; of a caller's own jobs the highest priority goes first, then the oldest. Each runs in a call context of its own, begun by a
//! timer, by the same contained calls as `infer`; some run side by side, so that a long one does not keep the others out. A job that
//! finds no memory beside the others waits until they are over and runs alone then, and all wait while the canister has no cycles for a
//! message.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use candid::{CandidType, Principal};
use ic_nn_engine::Progress;
use ic_nn_store::{Job, JobPhase};
use ic_nn_types::{Error, ErrorCode, InferRequest, JobOutput, NamedTensor, Receipt};
use serde::Deserialize;

use crate::api::inference;
use crate::authority::Spender;
use crate::run::{self, Limits};
use crate::timers::{self, Task};
use crate::{contained, slices, state, wire};

/// Jobs that run side by side.
const MOST_RUNNING: usize = 3;
/// Callers whose turn is remembered.
const MOST_TURNS: usize = 256;
/// How often a job is to begin that does not.
const MOST_TRIES: u8 = 3;
/// How often waiting jobs are looked after, whatever else happens.
const WATCH: Duration = Duration::from_secs(30);
/// Jobs that are forgotten in a message.
const EXPIRED_AT_ONCE: usize = 1_000;

/// A job that waits.
struct Waiting {
    job: u64,
    owner: Principal,
    priority: u8,
    deadline_at: u64,
    /// How often it was to begin and did not.
    tries: u8,
}

/// A job that runs.
struct Running {
    deadline_at: u64,
    /// Whether its first message has come to a call: a trap takes that back, and a canister without cycles gets no message.
    began: bool,
    tries: u8,
    /// Why it is to stop.
    stop: Option<Error>,
    progress: Option<Progress>,
    instructions: u64,
}

#[derive(Default)]
struct Jobs {
    waiting: Vec<Waiting>,
    running: BTreeMap<u64, Running>,
    /// Who was served, last at the end.
    turns: Vec<Principal>,
    /// The job that waits for memory that those that run have. It goes next, when they are over.
    crowded: Option<u64>,
    /// The one that did, which runs alone.
    alone: Option<u64>,
    /// Whether they are looked after, and when they were last.
    watched: bool,
    seen_at: u64,
}

thread_local! {
    static JOBS: RefCell<Jobs> = RefCell::default();
}

/// How a job ended, in the store's record of it. Fields are added as options only.
#[derive(CandidType, Deserialize, Default)]
pub(crate) struct Ended {
    pub(crate) error: Option<Error>,
    pub(crate) outputs: Vec<JobOutput>,
    pub(crate) receipt: Option<Receipt>,
}

impl Ended {
    /// Of a record; nothing of one that has none.
    pub(crate) fn of(job: &Job) -> Ended {
        candid::decode_one(&job.outcome).unwrap_or_default()
    }
}

impl Jobs {
    /// The place of the job that goes next.
    fn next(&self) -> Option<usize> {
        let turn = |owner: &Principal| self.turns.iter().position(|p| p == owner).map_or(0, |at| at + 1);
        let key = |w: &Waiting| (turn(&w.owner), w.owner, u8::MAX - w.priority, w.job);
        (0..self.waiting.len()).min_by_key(|ix| key(&self.waiting[*ix]))
    }

    /// Has the next one run, if it may.
    fn begin(&mut self) -> Option<u64> {
        let alone = self.alone.is_some_and(|job| self.running.contains_key(&job));
        let drains = self.crowded.is_some() && !self.running.is_empty();
        if self.running.len() >= MOST_RUNNING || alone || drains {
            return None;
        }
        self.alone = self.crowded;
        let crowded = self.crowded.take().and_then(|job| self.waiting.iter().position(|w| w.job == job));
        let next = crowded.or_else(|| self.next())?;
        let Waiting { job, owner, deadline_at, tries, .. } = self.waiting.remove(next);
        self.turns.retain(|p| *p != owner);
        self.turns.push(owner);
        if self.turns.len() > MOST_TURNS {
            self.turns.remove(0);
        }
        let (began, instructions) = (false, 0);
        let running = Running { deadline_at, began, tries, stop: None, progress: None, instructions };
        self.running.insert(job, running);
        Some(job)
    }
}

/// Lays a job that the store has taken into the queue.
pub(crate) fn enqueue(id: u64, job: &Job) {
    let Job { owner, priority, deadline_at, .. } = *job;
    JOBS.with_borrow_mut(|j| j.waiting.push(Waiting { job: id, owner, priority, deadline_at, tries: 0 }));
}

/// Has jobs begin for as long as there is room, each in a message of its own.
pub(crate) fn pump() {
    if slices::frozen().is_none() {
        while let Some(job) = JOBS.with_borrow_mut(Jobs::begin) {
            timers::after(Duration::ZERO, Task::Work(job));
        }
    }
    let watch = JOBS.with_borrow_mut(|j| {
        j.seen_at = ic_cdk::api::time();
        let idle = j.waiting.is_empty() && j.running.is_empty();
        !idle && !std::mem::replace(&mut j.watched, true)
    });
    if watch {
        timers::after(WATCH, Task::Watch);
    }
}

/// Looks after the jobs when it is time.
pub(crate) fn watch() {
    JOBS.with_borrow_mut(|j| j.watched = false);
    look_after();
    pump();
}

/// Has jobs looked after where that has not been done for long: a canister that had no cycles has lost its timers. To be called where
/// somebody calls.
pub(crate) fn wake() {
    let stale = JOBS.with_borrow_mut(|j| {
        let since = ic_cdk::api::time().saturating_sub(j.seen_at);
        let stale = j.watched && u128::from(since) > 2 * WATCH.as_nanos();
        j.watched &= !stale;
        stale
    });
    if stale {
        look_after();
        pump();
    }
}

/// Ends what is overdue; what was to begin and did not begins again, and is ended the second time.
fn look_after() {
    let now = ic_cdk::api::time();
    let (overdue, stuck) = JOBS.with_borrow_mut(|j| {
        j.seen_at = now;
        let over = |w: &Waiting| w.deadline_at != 0 && w.deadline_at < now;
        let overdue: Vec<u64> = j.waiting.iter().filter(|w| over(w)).map(|w| w.job).collect();
        j.waiting.retain(|w| !over(w));
        let stuck: Vec<(u64, u8)> =
            j.running.iter().filter(|(_, r)| !r.began).map(|(job, r)| (*job, r.tries + 1)).collect();
        stuck.iter().for_each(|(job, _)| drop(j.running.remove(job)));
        (overdue, stuck)
    });
    for job in overdue {
        end(job, JobPhase::Failed, late("it waited"));
    }
    for (id, tries) in stuck {
        match state::store(|s| s.job(id)) {
            Ok(job) if tries < MOST_TRIES => {
                enqueue(id, &job);
                JOBS.with_borrow_mut(|j| j.waiting.last_mut().map(|w| w.tries = tries));
            }
            _ => end(id, JobPhase::Failed, trapped()),
        }
    }
}

fn late(what: &str) -> Error {
    Error::new(
        ErrorCode::Timeout,
        format!("the job's deadline passed while {what}; submit it with a later one"),
    )
}

fn trapped() -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        "the canister trapped outside the engine while it ran; submit it again",
    )
}

/// Ends a job without outputs.
fn end(job: u64, phase: JobPhase, error: Error) {
    let ended = Ended { error: Some(error), ..Ended::default() };
    let instructions = JOBS.with_borrow(|j| j.running.get(&job).map_or(0, |r| r.instructions));
    if let Err(e) = finish(job, phase, &ended, &[], instructions) {
        ic_cdk::api::debug_print(format!("job {job} could not be ended: {e}"));
    }
}

fn finish(
    job: u64,
    phase: JobPhase,
    ended: &Ended,
    outputs: &[NamedTensor],
    instructions: u64,
) -> Result<(), Error> {
    let outcome = candid::encode_one(ended)
        .map_err(|e| Error::new(ErrorCode::RuntimeError, format!("what came of it does not encode: {e}")))?;
    let outputs: Vec<&[u8]> = outputs.iter().map(|(_, tensor)| tensor.data.as_slice()).collect();
    let now = ic_cdk::api::time();
    Ok(state::store(|s| s.finish_job(job, phase, (outcome, &outputs), instructions, now))?)
}

/// A job that runs. Dropped with the call context where that traps, it ends the job.
struct Alive(u64);

impl Drop for Alive {
    fn drop(&mut self) {
        if JOBS.with_borrow(|j| j.running.contains_key(&self.0)) {
            end(self.0, JobPhase::Failed, trapped());
            JOBS.with_borrow_mut(|j| j.running.remove(&self.0));
        }
    }
}

/// Runs a job, in a call context of its own.
pub(crate) async fn work(job: u64) {
    // One that was to begin again may have begun meanwhile.
    let begins =
        JOBS.with_borrow_mut(|j| j.running.get_mut(&job).map(|r| !std::mem::replace(&mut r.began, true)));
    if begins != Some(true) {
        return;
    }
    let alive = Alive(job);
    let outcome = compute(job).await;
    let (stop, others) = JOBS.with_borrow_mut(|j| {
        let stop = j.running.get_mut(&job).and_then(|r| r.stop.take());
        (stop, j.running.len() > 1)
    });
    match (outcome, stop) {
        (_, Some(stop)) => end(job, JobPhase::Cancelled, stop),
        (Err(e), None) if others && waits_for_memory(&e) => wait(job, true),
        (Err(e), None) if e.data.starts_with(slices::FROZEN) && restarts(job) => wait(job, false),
        (Err(e), None) => end(job, JobPhase::Failed, e),
        (Ok(()), None) => {}
    }
    JOBS.with_borrow_mut(|j| j.running.remove(&job));
    drop(alive);
    pump();
}

/// Whether a run was refused for memory that others may give back.
fn waits_for_memory(e: &Error) -> bool {
    e.code == ErrorCode::TooLarge && e.data.contains("max_heap_bytes")
}

fn restarts(job: u64) -> bool {
    state::store(|s| s.job(job)).is_ok_and(|job| job.restarts)
}

/// Lays a job back into the queue.
fn wait(id: u64, crowded: bool) {
    let again = state::store(|s| {
        s.set_job_running(id, false, 0)?;
        s.job(id)
    });
    match again {
        Ok(job) => {
            enqueue(id, &job);
            JOBS.with_borrow_mut(|j| j.crowded = j.crowded.or(crowded.then_some(id)));
        }
        Err(e) => ic_cdk::api::debug_print(format!("job {id} is lost: {e}")),
    }
}

/// Computes a job and keeps what comes of it.
async fn compute(id: u64) -> Result<(), Error> {
    let (job, request) = state::store(|s| {
        s.set_job_running(id, true, ic_cdk::api::time())?;
        Ok::<_, Error>((s.job(id)?, s.job_request(id)?))
    })?;
    if let Some(e) = stopped(id) {
        return Err(e);
    }
    let spender = Spender::of_job(job.owner, job.unlimited)?;
    let InferRequest { inputs, outputs: wanted, parameters, .. } = wire::decode(request)?;
    let version = state::store(|s| s.get(&job.name, job.version))?;
    let parameters = parameters.unwrap_or_default();
    let limits = Limits { job: Some(id), ..inference::limits(&version, &parameters)? };
    let result = run::infer(&version, inputs, limits).await;
    let instructions = inference::account(&spender, &version, &result);
    JOBS.with_borrow_mut(|j| j.running.get_mut(&id).map(|r| r.instructions = instructions));
    let answer = result?;
    let outputs = match wanted {
        Some(_) => run::select(&answer.outputs, wanted.as_ref())?,
        None => answer.outputs,
    };
    let receipt = inference::receipt(&version, &answer.inputs_hash, &outputs, &parameters);
    let described = outputs.iter().map(|(name, tensor)| JobOutput {
        name: name.clone(),
        ty: tensor.ty,
        dimensions: tensor.dimensions.clone(),
        bytes: tensor.data.len() as u64,
    });
    let ended = Ended { error: None, outputs: described.collect(), receipt };
    // What it was asked goes when they come.
    let bytes: u64 = outputs.iter().map(|(_, tensor)| tensor.data.len() as u64).sum();
    contained::room_for_job(bytes.saturating_sub(job.data_bytes)).await?;
    if JOBS.with_borrow(|j| j.running.get(&id).is_none_or(|r| r.stop.is_some())) {
        return Ok(());
    }
    finish(id, JobPhase::Done, &ended, &outputs, instructions)
}

/// Why a job that runs is to stop: asked between its messages.
pub(crate) fn stopped(job: u64) -> Option<Error> {
    JOBS.with_borrow(|j| {
        let running = j.running.get(&job)?;
        let overdue = running.deadline_at != 0 && running.deadline_at < ic_cdk::api::time();
        running.stop.clone().or_else(|| overdue.then(|| late("it ran")))
    })
}

/// Notes how far a job is, when one of its messages ends.
pub(crate) fn progressed(job: u64, progress: Progress, instructions: u64) {
    JOBS.with_borrow_mut(|j| {
        if let Some(running) = j.running.get_mut(&job) {
            (running.progress, running.instructions) = (Some(progress), instructions);
        }
    });
}

/// How far a job is that runs: its progress, where one of its messages has ended, and the instructions that it took.
pub(crate) fn progress(job: u64) -> Option<(Option<Progress>, u64)> {
    JOBS.with_borrow(|j| j.running.get(&job).map(|r| (r.progress, r.instructions)))
}

/// How many jobs go before each that waits, all of them in order.
pub(crate) fn positions() -> BTreeMap<u64, u32> {
    JOBS.with_borrow(|j| {
        let mut order = Jobs { turns: j.turns.clone(), ..Jobs::default() };
        let copied = |w: &Waiting| Waiting { tries: 0, ..*w };
        order.waiting = j.waiting.iter().map(copied).collect();
        let mut positions = BTreeMap::new();
        while let Some(job) = order.begin() {
            order.running.clear();
            positions.insert(job, positions.len() as u32);
        }
        positions
    })
}

/// Stops a job: at once where it waits, when its message ends where it runs. Discards one that is finished.
pub(crate) fn cancel(id: u64) -> Result<(), Error> {
    if state::store(|s| s.job(id))?.phase.is_finished() {
        return Ok(state::store(|s| s.discard_job(id))?);
    }
    let stop = Error::new(ErrorCode::RuntimeError, "the job was stopped by job_cancel");
    let runs = JOBS.with_borrow_mut(|j| {
        j.waiting.retain(|w| w.job != id);
        j.running.get_mut(&id).map(|r| r.stop = Some(stop.clone())).is_some()
    });
    if !runs {
        finish(id, JobPhase::Cancelled, &Ended { error: Some(stop), ..Ended::default() }, &[], 0)?;
    }
    Ok(())
}

/// Makes the queue anew after an upgrade. What ran begins again where that was asked for, and fails where it was not.
pub(crate) fn resume() {
    expire();
    let jobs: Vec<(u64, Job)> = state::store(|s| s.jobs_from(0).filter_map(Result::ok).collect());
    for (id, job) in jobs {
        match job.phase {
            JobPhase::Queued => enqueue(id, &job),
            JobPhase::Running if job.restarts => wait(id, false),
            JobPhase::Running => {
                let why = "the canister was upgraded while the job ran; submit it again, with restart_on_upgrade to have it begin again";
                end(id, JobPhase::Failed, Error::new(ErrorCode::RuntimeError, why));
            }
            _ => {}
        }
    }
    pump();
}

/// Forgets the jobs whose time is over.
pub(crate) fn expire() {
    if let Err(e) = state::store(|s| s.expire_jobs(ic_cdk::api::time(), EXPIRED_AT_ONCE)) {
        ic_cdk::api::debug_print(format!("jobs could not be forgotten: {e}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(owner: u8, priority: u8) -> Waiting {
        Waiting { job: 0, owner: Principal::from_slice(&[owner]), priority, deadline_at: 0, tries: 0 }
    }

    #[test]
    fn callers_take_turns_and_priorities_are_their_own() {
        let mut jobs = Jobs::default();
        for (ix, (owner, priority)) in
            [(1, 0), (1, 0), (1, 9), (2, 0), (3, 200), (2, 1)].into_iter().enumerate()
        {
            jobs.waiting.push(Waiting { job: ix as u64, ..job(owner, priority) });
        }
        let mut order = vec![];
        while let Some(next) = jobs.begin() {
            jobs.running.clear();
            order.push(next);
        }
        // 1's dearest, 2's, 3's; then who was served longest ago.
        assert_eq!(order, [2, 5, 4, 0, 3, 1]);
    }

    #[test]
    fn so_many_run_and_none_beside_one_that_waits_for_memory() {
        let mut jobs = Jobs::default();
        jobs.waiting.extend((0..9).map(|ix| Waiting { job: ix, ..job(1, 0) }));
        let begun = std::iter::from_fn(|| jobs.begin()).count();
        assert_eq!(begun, MOST_RUNNING);
        jobs.running.remove(&0);
        jobs.crowded = Some(7);
        assert_eq!(jobs.begin(), None);
        jobs.running.clear();
        assert_eq!(jobs.begin(), Some(7), "alone it may have all there is, whoever's turn it were");
        assert_eq!(jobs.begin(), None, "alone");
        jobs.running.clear();
        assert_eq!(jobs.begin(), Some(3));
        // One that was stopped meanwhile keeps nobody waiting.
        jobs.crowded = Some(99);
        jobs.running.clear();
        assert_eq!(jobs.begin(), Some(4));
    }
}
