//! Jobs.

use std::time::Duration;

use ic_nn_types::{
    Job, JobListRequest, JobPage, JobRequest, JobState, JobStatus, OutputPart, OutputRange, Tensor,
};

use super::contexts::whole;
use crate::{Client, ClientError, Transport};

impl<T: Transport> Client<T> {
    /// Submits an inference that is run by timers: its id.
    pub fn job_submit(&self, request: &JobRequest) -> Result<Job, ClientError> {
        self.update("job_submit", (request,))
    }

    /// How far a job is.
    pub fn job_status(&self, job: Job) -> Result<JobStatus, ClientError> {
        self.query("job_status", (job,))
    }

    /// An output of a job that is done, or a part of its bytes.
    pub fn job_result(
        &self,
        job: Job,
        name: &str,
        range: Option<OutputRange>,
    ) -> Result<OutputPart, ClientError> {
        self.query("job_result", (job, name, range))
    }

    /// An output of any size, in as many calls as it takes.
    pub fn fetch_job_output(&self, job: Job, name: &str) -> Result<Tensor, ClientError> {
        whole(name, |range| self.job_result(job, name, Some(range)))
    }

    /// Asks every second how far a job is, tells `watch`, and answers when it is finished.
    pub fn job_wait(&self, job: Job, watch: &mut dyn FnMut(&JobStatus)) -> Result<JobStatus, ClientError> {
        loop {
            let status = self.job_status(job)?;
            watch(&status);
            if !matches!(status.state, JobState::Queued | JobState::Running) {
                return Ok(status);
            }
            self.transport().pause(Duration::from_secs(1));
        }
    }

    /// Stops a job, or discards it where it is finished.
    pub fn job_cancel(&self, job: Job) -> Result<(), ClientError> {
        self.update("job_cancel", (job,))
    }

    /// A page of jobs.
    pub fn job_list(&self, request: &JobListRequest) -> Result<JobPage, ClientError> {
        self.query("job_list", (request,))
    }
}
