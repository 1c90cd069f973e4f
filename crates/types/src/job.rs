//! Jobs: inferences that are submitted, run by timers over as many messages as they take, and fetched later.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};

use crate::{Error, InferRequest, Receipt, TensorType};

/// A job's id. Never reused.
pub type Job = u64;

/// What a job is submitted with.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct JobRequest {
    /// The inference.
    pub request: InferRequest,
    /// Of the caller's jobs the highest goes first; 0 unless set. Callers take turns whatever their priorities.
    pub priority: Option<u8>,
    /// Seconds from now in which it has to be finished; it fails with `timeout` after that. Null for ever.
    pub deadline_seconds: Option<u64>,
    /// Seconds that it is kept once it is finished; an hour unless set, a week at most.
    pub retain_seconds: Option<u64>,
    /// Begin again where an upgrade of the canister ends it half way, instead of failing.
    pub restart_on_upgrade: Option<bool>,
}

/// How far a job is.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its turn, or for memory or cycles.
    #[serde(rename = "queued")]
    Queued,
    /// It runs.
    #[serde(rename = "running")]
    Running,
    /// Its outputs are there (`job_result`).
    #[serde(rename = "done")]
    Done,
    /// It has none; `error` says why.
    #[serde(rename = "failed")]
    Failed,
    /// It was stopped by `job_cancel`.
    #[serde(rename = "cancelled")]
    Cancelled,
}

/// An output that a job has.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct JobOutput {
    /// The output's name.
    pub name: String,
    /// Element type.
    pub ty: TensorType,
    /// Length of each axis.
    pub dimensions: Vec<u32>,
    /// Bytes of it.
    pub bytes: u64,
}

/// What is to be told of a job. Times are nanoseconds since 1970.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct JobStatus {
    /// The job.
    pub job: Job,
    /// Who submitted it.
    pub owner: Principal,
    /// `"name:version"`.
    pub model: String,
    /// How far it is.
    pub state: JobState,
    /// Jobs that go before it; null where it does not wait.
    pub position: Option<u32>,
    /// As it was submitted.
    pub priority: u8,
    /// When it was submitted.
    pub submitted_at: u64,
    /// When it began.
    pub started_at: Option<u64>,
    /// When it was finished.
    pub finished_at: Option<u64>,
    /// When it fails unless it is finished.
    pub deadline_at: Option<u64>,
    /// When it is forgotten.
    pub expires_at: Option<u64>,
    /// The part of its work that is done, by estimated instructions: 0 to 1.
    pub progress: f64,
    /// Instructions that were spent on it.
    pub instructions: u64,
    /// Instructions that are left, as estimated by those that were spent; null where nothing is known yet.
    pub instructions_left: Option<u64>,
    /// Why it failed, or was cancelled.
    pub error: Option<Error>,
    /// Its outputs, once it is done.
    pub outputs: Vec<JobOutput>,
    /// What ties model, inputs and outputs together, where its request asked for it.
    pub receipt: Option<Receipt>,
}

/// Which jobs are asked for: the caller's own; a controller may ask for everyone's.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobListRequest {
    /// Jobs after this one.
    pub after: Option<Job>,
    /// Most jobs of a page; 100 unless set, 1,000 at most.
    pub limit: Option<u32>,
    /// Everyone's; controllers only.
    pub all: Option<bool>,
}

/// Jobs, oldest first.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobStatus>,
    /// What `after` of the next page is; null on the last.
    pub next: Option<Job>,
}
