//! Jobs: inferences that are submitted now and fetched later.

use ic_cdk::{query, update};
use ic_nn_engine::check_part;
use ic_nn_store::{Job as Record, JobPhase, NewJob};
use ic_nn_types::{
    Error, ErrorCode, Job, JobListRequest, JobPage, JobRequest, JobState, JobStatus, OutputPart, OutputRange,
};

use crate::authority::Spender;
use crate::facts::Facts;
use crate::jobs::{self, Ended};
use crate::wire::{self, Arg};
use crate::{contained, state};

/// Jobs of a page where the request names no limit, and the most: some 300 bytes each.
const PAGE: u32 = 100;
const MOST_OF_PAGE: u32 = 1_000;

#[update(hidden = true, decode_with = "crate::wire::decode::<JobRequest>")]
pub(super) async fn job_submit(request: Arg<JobRequest>) -> Result<Job, Error> {
    let spender = Spender::check()?;
    let JobRequest { request, priority, deadline_seconds, retain_seconds, restart_on_upgrade } = request?;
    let version = state::store(|s| s.resolve(&request.model))?;
    // What can be told now is not left for later.
    let facts = Facts::decode(&state::store(|s| s.facts(&version.name, version.version))?)?;
    for (name, tensor) in &request.inputs {
        check_part(&facts.inputs, name, tensor, None)?;
    }
    if request.inputs.len() != facts.inputs.len() {
        let wanted: Vec<_> = facts.inputs.iter().map(|input| format!("`{}`", input.name)).collect();
        return Err(Error::invalid_argument(format!(
            "{} inputs came, each of {} is expected once",
            request.inputs.len(),
            wanted.join(", ")
        )));
    }
    let asked = candid::encode_one(&request)
        .map_err(|e| Error::new(ErrorCode::RuntimeError, format!("the request does not encode: {e}")))?;
    let new = NewJob {
        owner: spender.caller(),
        name: version.name,
        version: version.version,
        priority: priority.unwrap_or(0),
        restarts: restart_on_upgrade == Some(true),
        unlimited: spender.is_unlimited(),
        deadline_seconds,
        retain_seconds,
    };
    contained::room(0).await?;
    jobs::expire();
    contained::room_for_job(asked.len() as u64).await?;
    let id = state::store(|s| s.submit_job(new, &asked, ic_cdk::api::time()))?;
    // Paid when it is taken: what is refused costs nothing.
    spender.pay();
    jobs::enqueue(id, &state::store(|s| s.job(id))?);
    jobs::pump();
    Ok(id)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn job_status(job: Arg<Job>) -> Result<JobStatus, Error> {
    let id = job?;
    let record = mine(id)?;
    let position = jobs::positions().get(&id).copied();
    Ok(told(id, record, position))
}

type JobResult = (Job, String, Option<OutputRange>);

#[query(hidden = true, decode_with = "crate::wire::decode_all::<JobResult>")]
pub(super) fn job_result(arguments: Arg<JobResult>) -> Result<OutputPart, Error> {
    let (id, name, range) = arguments?;
    let record = mine(id)?;
    let ended = Ended::of(&record);
    if record.phase != JobPhase::Done {
        let why = ended.error.map_or("ask job_status when it is".to_owned(), |e| e.to_string());
        return Err(Error::not_found(format!("job {id} is not done but {}: {why}", word(record.phase))));
    }
    let at = ended.outputs.iter().position(|output| output.name == name);
    let at = at.or_else(|| name.parse().ok().filter(|ix| *ix < ended.outputs.len())).ok_or_else(|| {
        let known: Vec<_> = ended.outputs.iter().map(|output| format!("`{}`", output.name)).collect();
        let name: String = name.chars().take(80).collect();
        Error::invalid_argument(format!("job {id} has no output `{name}`; it has {}", known.join(", ")))
    })?;
    let output = &ended.outputs[at];
    let (offset, length) = wire::part(&output.name, output.bytes, range)?;
    let data = state::store(|s| s.job_output(id, at as u32, offset, length))?;
    let (dimensions, ty, total_bytes) = (output.dimensions.clone(), output.ty, output.bytes);
    let instructions = Some(record.instructions);
    Ok(OutputPart { dimensions, ty, total_bytes, offset, data, instructions })
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn job_cancel(job: Arg<Job>) -> Result<(), Error> {
    let id = job?;
    mine(id)?;
    jobs::cancel(id)?;
    jobs::pump();
    Ok(())
}

#[query(hidden = true, decode_with = "crate::wire::decode::<JobListRequest>")]
pub(super) fn job_list(request: Arg<JobListRequest>) -> Result<JobPage, Error> {
    let caller = ic_cdk::api::msg_caller();
    let JobListRequest { after, limit, all } = request?;
    let all = all == Some(true);
    if all && !ic_cdk::api::is_controller(&caller) {
        return Err(Error::new(
            ErrorCode::Security,
            format!("{caller} is no controller, who may see all jobs"),
        ));
    }
    let limit = limit.unwrap_or(PAGE).clamp(1, MOST_OF_PAGE) as usize;
    let positions = jobs::positions();
    let mut page = JobPage { jobs: vec![], next: None };
    state::store(|s| {
        for job in s.jobs_from(after.unwrap_or(0)) {
            let (id, record) = job?;
            if !all && record.owner != caller {
                continue;
            }
            if page.jobs.len() == limit {
                page.next = page.jobs.last().map(|job| job.job);
                break;
            }
            page.jobs.push(told(id, record, positions.get(&id).copied()));
        }
        Ok::<_, Error>(())
    })?;
    Ok(page)
}

/// A job of the caller. Controllers may see anyone's.
fn mine(id: Job) -> Result<Record, Error> {
    let caller = ic_cdk::api::msg_caller();
    let record = state::store(|s| s.job(id))?;
    if record.owner != caller && !ic_cdk::api::is_controller(&caller) {
        let text = format!("job {id} was submitted by another principal than {caller}");
        return Err(Error::new(ErrorCode::Security, text));
    }
    Ok(record)
}

fn word(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Queued => "queued",
        JobPhase::Running => "running",
        JobPhase::Done => "done",
        JobPhase::Failed => "failed",
        JobPhase::Cancelled => "cancelled",
    }
}

fn told(id: Job, record: Record, position: Option<u32>) -> JobStatus {
    let Ended { error, outputs, receipt } = Ended::of(&record);
    let (known, spent) = jobs::progress(id).unwrap_or((None, record.instructions));
    let progress = match known {
        _ if record.phase == JobPhase::Done => 1.0,
        Some(known) => known.spent as f64 / known.cost.max(1) as f64,
        None => 0.0,
    };
    // What is left takes as much of its estimate as what was spent has.
    let left = known.filter(|known| known.spent > 0).map(|known| {
        let left = u128::from(known.cost.saturating_sub(known.spent)) * u128::from(spent);
        u64::try_from(left / u128::from(known.spent)).unwrap_or(u64::MAX)
    });
    let some = |time: u64| (time != 0).then_some(time);
    JobStatus {
        job: id,
        owner: record.owner,
        model: format!("{}:{}", record.name, record.version),
        state: match record.phase {
            JobPhase::Queued => JobState::Queued,
            JobPhase::Running => JobState::Running,
            JobPhase::Done => JobState::Done,
            JobPhase::Failed => JobState::Failed,
            JobPhase::Cancelled => JobState::Cancelled,
        },
        // One that is about to begin goes next.
        position: position.or((record.phase == JobPhase::Queued).then_some(0)),
        priority: record.priority,
        submitted_at: record.submitted_at,
        started_at: some(record.started_at),
        finished_at: some(record.finished_at),
        deadline_at: some(record.deadline_at),
        expires_at: some(record.expires_at),
        progress,
        instructions: spent,
        instructions_left: left,
        error,
        outputs,
        receipt,
    }
}
