//! `jobs`: inferences that are submitted now and fetched later.

use ic_nn_client::{Client, Transport};
use ic_nn_types::{
    InferParameters, InferRequest, InferResponse, JobListRequest, JobRequest, JobState, JobStatus,
};
use serde_json::{Value, json};

use crate::args::{AnswerArgs, JobsAction, SubmitArgs};
use crate::failure::Failure;
use crate::output::{Answer, Presentation, print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;
use crate::{format, input};

type Caller<'a> = Client<Box<dyn Transport + 'a>>;

/// Does what `jobs` is asked for.
pub fn jobs(action: JobsAction, progress: Progress) -> Result<(), Failure> {
    match action {
        JobsAction::Submit(args) => submit(&args, progress),
        JobsAction::List { all, json, target } => list(&Target::open(&target, progress)?, all, json),
        JobsAction::Show { job, json, target } => {
            let status = Target::open(&target, progress)?.client().job_status(job)?;
            show(&status, json);
            Ok(())
        }
        JobsAction::Wait { job, answer, target } => {
            let target = Target::open(&target, progress)?;
            wait(&target, job, &answer, progress)
        }
        JobsAction::Result { job, answer, target } => {
            let target = Target::open(&target, progress)?;
            let client = target.client();
            let status = client.job_status(job)?;
            answered(&client, &status, &answer)
        }
        JobsAction::Cancel { job, target } => {
            let target = Target::open(&target, progress)?;
            target.client().job_cancel(job)?;
            target.keep()
        }
    }
}

fn submit(args: &SubmitArgs, progress: Progress) -> Result<(), Failure> {
    input::check_files(&args.input)?;
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let description = client.describe(&args.model)?;
    let cases = input::cases(&args.input, &description.inputs)?;
    let mut last = None;
    for case in &cases {
        let parameters = InferParameters { slice_instructions: args.slice, ..Default::default() };
        let request = InferRequest {
            model: args.model.clone(),
            inputs: case.inputs.clone(),
            outputs: None,
            parameters: Some(parameters),
        };
        let job = client.job_submit(&JobRequest {
            request,
            priority: args.priority,
            deadline_seconds: args.deadline,
            retain_seconds: args.retain,
            restart_on_upgrade: Some(args.restart_on_upgrade),
        })?;
        if !args.wait {
            say!("{job}");
        }
        last = Some(job);
    }
    target.keep()?;
    match last {
        Some(job) if args.wait && cases.len() == 1 => wait(&target, job, &args.answer, progress),
        Some(_) if args.wait => Err(Failure::usage(format!(
            "--wait is for one inference, {} were submitted; `ic-nn jobs list` shows them",
            cases.len()
        ))),
        _ => Ok(()),
    }
}

fn list(target: &Target, all: bool, json: bool) -> Result<(), Failure> {
    let client = target.client();
    let mut jobs: Vec<JobStatus> = vec![];
    let mut after = None;
    loop {
        let page = client.job_list(&JobListRequest { after, limit: None, all: all.then_some(true) })?;
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if json {
        print_json(&Value::Array(jobs.iter().map(as_json).collect()));
        return Ok(());
    }
    if jobs.is_empty() {
        say!("no jobs; `ic-nn jobs submit MODEL --input ...` submits one");
        return Ok(());
    }
    let mut table = table(&["job", "model", "state", "done", "instructions", "submitted (UTC)", ""]);
    for job in &jobs {
        table.add_row(vec![
            job.job.to_string(),
            job.model.clone(),
            state(job),
            percent(job),
            format::instructions(job.instructions),
            format::utc(job.submitted_at),
            job.error.as_ref().map_or_else(String::new, |e| e.to_string()),
        ]);
    }
    say!("{table}");
    Ok(())
}

fn show(job: &JobStatus, json: bool) {
    if json {
        print_json(&as_json(job));
        return;
    }
    let mut table = table(&["job", &job.job.to_string()]);
    let mut row = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    row("model", job.model.clone());
    row("state", state(job));
    row("done", percent(job));
    row("instructions", format::instructions(job.instructions));
    if let Some(left) = job.instructions_left {
        row("left, about", format::instructions(left));
    }
    row("submitted", format::utc(job.submitted_at));
    let times = [
        ("began", job.started_at),
        ("finished", job.finished_at),
        ("deadline", job.deadline_at),
        ("kept until", job.expires_at),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            row(name, format::utc(time));
        }
    }
    for output in &job.outputs {
        let shape = format::axes(output.dimensions.iter().map(u32::to_string));
        row("output", format!("{} {} {shape}, {}", output.name, output.ty, format::bytes(output.bytes)));
    }
    if let Some(e) = &job.error {
        row("error", e.to_string());
    }
    say!("{table}");
}

/// Waits until a job is finished.
fn wait(target: &Target, job: u64, answer: &AnswerArgs, progress: Progress) -> Result<(), Failure> {
    let client = target.client();
    let mut bar = progress.job(job);
    let status = client.job_wait(job, &mut |status| bar.tell(status))?;
    bar.finish();
    // On this machine the canister went on while it was waited for.
    target.keep()?;
    answered(&client, &status, answer)
}

/// Prints what a job has answered.
fn answered(client: &Caller<'_>, status: &JobStatus, args: &AnswerArgs) -> Result<(), Failure> {
    match (status.state, &status.error) {
        (JobState::Done, _) => {}
        (_, Some(e)) => return Err(Failure::failed(format!("job {} {}: {e}", status.job, state(status)))),
        (_, None) => {
            let hint = format!("`ic-nn jobs wait {}` waits for it", status.job);
            return Err(Failure::failed(format!("job {} is {}", status.job, state(status))).hint(hint));
        }
    }
    let presentation = Presentation::new(args, client.server_metadata()?.limits)?;
    let fetch = |name: &String| Ok::<_, Failure>((name.clone(), client.fetch_job_output(status.job, name)?));
    let outputs = status.outputs.iter().map(|output| fetch(&output.name)).collect::<Result<_, _>>()?;
    let response = InferResponse {
        outputs,
        version: status.model.rsplit_once(':').and_then(|(_, version)| version.parse().ok()).unwrap_or(0),
        instructions: status.instructions,
        load_instructions: 0,
        plan_instructions: 0,
        cached: false,
        receipt: status.receipt.clone(),
    };
    let label = format!("job {}", status.job);
    presentation.show(&status.model, &[Answer { label, response, charge: None, query: false }])
}

fn state(job: &JobStatus) -> String {
    match (job.state, job.position) {
        (JobState::Queued, Some(0)) => "queued, next".to_owned(),
        (JobState::Queued, Some(before)) => format!("queued behind {before}"),
        (JobState::Queued, None) => "queued".to_owned(),
        (JobState::Running, _) => "running".to_owned(),
        (JobState::Done, _) => "done".to_owned(),
        (JobState::Failed, _) => "failed".to_owned(),
        (JobState::Cancelled, _) => "cancelled".to_owned(),
    }
}

fn percent(job: &JobStatus) -> String {
    format!("{:.0} %", 100.0 * job.progress)
}

fn as_json(job: &JobStatus) -> Value {
    let outputs: Vec<Value> = (job.outputs.iter())
        .map(|o| json!({ "name": o.name, "type": o.ty.to_string(), "dimensions": o.dimensions, "bytes": o.bytes }))
        .collect();
    json!({
        "job": job.job,
        "owner": job.owner.to_text(),
        "model": job.model,
        "state": state(job).split([',', ' ']).next(),
        "position": job.position,
        "priority": job.priority,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "deadline_at": job.deadline_at,
        "expires_at": job.expires_at,
        "progress": job.progress,
        "instructions": job.instructions,
        "instructions_left": job.instructions_left,
        "error": job.error.as_ref().map(|e| json!({ "code": e.code.label(), "data": e.data })),
        "outputs": outputs,
    })
}
