//! Jobs: inferences that are asked for now and computed later, with what they were asked and what came of them.
//!
//! ```text
//! jobs       key: the job's id as 8 bytes big-endian; 0 is the counter's
//!   layout = 1         ↕ 1     state            ↕ 1   1 queued, 2 running, 3 done, 4 failed, 5 cancelled
//!   priority           ↕ 1     flags            ↕ 1   1 restarts after an upgrade, 2 its owner has no quota
//!   version            ↕ 8     submitted_at     ↕ 8   nanoseconds since 1970, as the next four
//!   started_at         ↕ 8     0 where it was not   finished_at  ↕ 8   likewise
//!   deadline_at        ↕ 8     0 for none           expires_at   ↕ 8   0 while it is not finished
//!   retain_seconds     ↕ 8     instructions     ↕ 8   spent on it so far
//!   data_bytes         ↕ 8     of its entries in job_data
//!   owner              ↕ short name             ↕ short
//!   outcome            ↕ to the end: the embedder's bytes; empty while it is not finished
//!
//!            key: 0 as 8 bytes
//!   layout = 1         ↕ 1     next_job         ↕ 8   data_bytes  ↕ 8   of all jobs
//!
//! job_data   key: the job's id as 8 bytes big-endian, 0 for what was asked or 1 for an output, the output's place and the part's
//!                 as 4 bytes big-endian each
//!   at most 64 KiB
//! ```
//!
//! A job that was acknowledged is here, with what it was asked, until it is finished; and with what came of it until it expires or its
//! owner discards it. INVARIANT: ids are never given twice. What is queued and what runs is the embedder's to decide.

use std::ops::Bound;

use candid::Principal;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::store::Store;

mod index;

pub(crate) use index::JobIndex;

/// Jobs that there may be, finished ones that are kept among them.
pub const MAX_JOBS: u64 = 1_000;
/// Of one owner who is neither admin nor controller.
pub const MAX_JOBS_PER_OWNER: usize = 100;
/// What all jobs were asked and answered, in bytes.
pub const MAX_JOB_BYTES: u64 = 1 << 30;
/// The longest that a finished job is kept, in seconds: a week.
pub const MAX_RETAIN_SECONDS: u64 = 7 * 86_400;
/// How long it is kept where nothing else is asked for: an hour.
pub const RETAIN_SECONDS: u64 = 3_600;
/// Bytes of an entry of `job_data`.
const PART_BYTES: usize = 64 << 10;

/// Entries of a node of the B-tree at most.
const NODE_ENTRIES: u64 = 11;

const ASKED: u8 = 0;
const OUTPUT: u8 = 1;
const COUNTER: u64 = 0;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It has outputs.
    Done,
    /// It has none, for a reason.
    Failed,
    /// Its owner has stopped it.
    Cancelled,
}

impl JobPhase {
    const ALL: [JobPhase; 5] =
        [JobPhase::Queued, JobPhase::Running, JobPhase::Done, JobPhase::Failed, JobPhase::Cancelled];

    /// Whether nothing more will come of it.
    pub fn is_finished(self) -> bool {
        !matches!(self, JobPhase::Queued | JobPhase::Running)
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// How far it is.
    pub phase: JobPhase,
    /// Who submitted it.
    pub owner: Principal,
    /// Model name.
    pub name: String,
    /// Version.
    pub version: u64,
    /// Of the owner's jobs the highest goes first.
    pub priority: u8,
    /// Whether it begins again after an upgrade, had it been running.
    pub restarts: bool,
    /// Whether its owner has no quota.
    pub unlimited: bool,
    /// When, nanoseconds since 1970, as those below.
    pub submitted_at: u64,
    /// When it began last; 0 where it has not.
    pub started_at: u64,
    /// When it was finished; 0 where it is not.
    pub finished_at: u64,
    /// When it fails unless it is finished; 0 for never.
    pub deadline_at: u64,
    /// When a finished one is forgotten.
    pub expires_at: u64,
    /// Seconds that it is kept once it is finished.
    pub retain_seconds: u64,
    /// Instructions spent on it so far.
    pub instructions: u64,
    /// Bytes that are kept of it.
    pub data_bytes: u64,
    /// What the embedder has to say of how it ended.
    pub outcome: Vec<u8>,
}

/// What a job is submitted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Who submits it.
    pub owner: Principal,
    /// Model name.
    pub name: String,
    /// Version.
    pub version: u64,
    /// See [`Job::priority`].
    pub priority: u8,
    /// See [`Job::restarts`].
    pub restarts: bool,
    /// Whether neither its owner's quota nor [`MAX_JOBS_PER_OWNER`] binds it.
    pub unlimited: bool,
    /// Seconds from now on in which it has to be finished; none for ever.
    pub deadline_seconds: Option<u64>,
    /// Seconds that it is kept once it is finished; [`RETAIN_SECONDS`] where nothing is said.
    pub retain_seconds: Option<u64>,
}

/// Why a job is not taken. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum SubmitError {
    /// There are too many.
    #[error("there are {limit} jobs, as many as are kept; wait until some expire")]
    TooMany {
        /// [`MAX_JOBS`].
        limit: u64,
    },
    /// The owner has too many.
    #[error(
        "{owner} has {limit} jobs, as many as one may have; wait until some expire, or discard some by job_cancel"
    )]
    TooManyOfOwner {
        /// Who.
        owner: Principal,
        /// [`MAX_JOBS_PER_OWNER`].
        limit: usize,
    },
    /// What they keep is too much.
    #[error(
        "jobs keep {kept} bytes and this takes {bytes} more, {limit} are allowed; wait until some expire, or discard some by job_cancel"
    )]
    Bytes {
        /// Bytes that are kept.
        kept: u64,
        /// Bytes that it takes.
        bytes: u64,
        /// [`MAX_JOB_BYTES`].
        limit: u64,
    },
    /// It is to be kept for too long.
    #[error("a job is kept for {MAX_RETAIN_SECONDS} seconds at most, {seconds} were asked for")]
    Retain {
        /// What was asked for.
        seconds: u64,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why a job is not there.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// There never was one.
    #[error("no job {job}; submit one by job_submit")]
    Unknown {
        /// The id.
        job: u64,
    },
    /// There was.
    #[error("job {job} has expired or was discarded")]
    Expired {
        /// The id.
        job: u64,
    },
    /// It is not in the state that this needs.
    #[error("job {job} is {phase:?} already")]
    Phase {
        /// The id.
        job: u64,
        /// How far it is.
        phase: JobPhase,
    },
    /// It has no such output.
    #[error("job {job} has no bytes {offset} to {end} of output {output}")]
    Output {
        /// The id.
        job: u64,
        /// The output's place.
        output: u32,
        /// First byte asked for.
        offset: u64,
        /// The one after the last.
        end: u64,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Job {
    pub(crate) const TABLE: &'static str = "jobs";
    const LAYOUT: u8 = 1;

    fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        let phase = JobPhase::ALL.iter().position(|phase| *phase == self.phase).unwrap_or(0) as u8 + 1;
        w.raw(&[phase, self.priority, u8::from(self.restarts) | u8::from(self.unlimited) << 1]);
        w.u64(self.version).u64(self.submitted_at).u64(self.started_at).u64(self.finished_at);
        w.u64(self.deadline_at).u64(self.expires_at).u64(self.retain_seconds).u64(self.instructions);
        w.u64(self.data_bytes).short(self.owner.as_slice()).short(self.name.as_bytes());
        w.raw(&self.outcome).finish()
    }

    fn decode(bytes: &[u8]) -> Result<Job, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let phase = usize::from(r.u8()?).checked_sub(1).and_then(|ix| JobPhase::ALL.get(ix));
        let phase = *phase.ok_or(r.field("state"))?;
        let (priority, flags) = (r.u8()?, r.u8()?);
        if flags > 3 {
            return Err(r.field("flags"));
        }
        let (version, submitted_at, started_at, finished_at) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
        let (deadline_at, expires_at, retain_seconds) = (r.u64()?, r.u64()?, r.u64()?);
        let (instructions, data_bytes) = (r.u64()?, r.u64()?);
        let (owner, name) = (r.principal("owner")?, r.text("name")?);
        Ok(Job {
            phase,
            owner,
            name,
            version,
            priority,
            restarts: flags & 1 != 0,
            unlimited: flags & 2 != 0,
            submitted_at,
            started_at,
            finished_at,
            deadline_at,
            expires_at,
            retain_seconds,
            instructions,
            data_bytes,
            outcome: r.rest().to_vec(),
        })
    }
}

/// Jobs. Who may see and stop one is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Takes a job that is asked `request`: its id.
    pub fn submit_job(&mut self, new: NewJob, request: &[u8], now: u64) -> Result<u64, SubmitError> {
        let NewJob { owner, name, version, priority, restarts, unlimited, deadline_seconds, retain_seconds } =
            new;
        let retain_seconds = retain_seconds.unwrap_or(RETAIN_SECONDS);
        if retain_seconds > MAX_RETAIN_SECONDS {
            return Err(SubmitError::Retain { seconds: retain_seconds });
        }
        let (next, kept) = self.job_counter()?;
        let (limit, of_owner) = (self.bounds.jobs, self.bounds.jobs_per_owner);
        if self.jobs.len() > limit {
            return Err(SubmitError::TooMany { limit });
        }
        if self.job_index()?.of_owner(owner) >= of_owner && !unlimited {
            return Err(SubmitError::TooManyOfOwner { owner, limit: of_owner });
        }
        let bytes = request.len() as u64;
        if kept + bytes > self.bounds.job_bytes {
            return Err(SubmitError::Bytes { kept, bytes, limit: self.bounds.job_bytes });
        }
        let job = Job {
            phase: JobPhase::Queued,
            owner,
            name,
            version,
            priority,
            restarts,
            unlimited,
            submitted_at: now,
            started_at: 0,
            finished_at: 0,
            deadline_at: deadline_seconds.map_or(0, |s| now.saturating_add(s.saturating_mul(NANOS))),
            expires_at: 0,
            retain_seconds,
            instructions: 0,
            data_bytes: bytes,
            outcome: vec![],
        };
        self.set_job_counter(next + 1, kept + bytes);
        self.write_parts(next, ASKED, 0, request);
        self.jobs.insert(&next.to_be_bytes(), job.encode());
        self.job_index()?.add(next, &job);
        Ok(next)
    }

    /// What a job is.
    pub fn job(&self, job: u64) -> Result<Job, JobError> {
        match self.jobs.get(&job.to_be_bytes()).filter(|_| job != COUNTER) {
            Some(bytes) => Ok(Job::decode(&bytes)?),
            None if (1..self.job_counter()?.0).contains(&job) => Err(JobError::Expired { job }),
            None => Err(JobError::Unknown { job }),
        }
    }

    /// What a job that is not finished was asked.
    pub fn job_request(&self, job: u64) -> Result<Vec<u8>, JobError> {
        self.unfinished(job)?;
        Ok(self.parts(job, ASKED, 0).flat_map(|(_, part)| part).collect())
    }

    /// Has a job run from now on, or wait again.
    pub fn set_job_running(&mut self, id: u64, running: bool, now: u64) -> Result<(), JobError> {
        let mut job = self.unfinished(id)?;
        (job.phase, job.started_at) = if running { (JobPhase::Running, now) } else { (JobPhase::Queued, 0) };
        self.jobs.insert(&id.to_be_bytes(), job.encode());
        Ok(())
    }

    /// Ends a job: what it was asked is forgotten; `outputs` are kept with `outcome` until it expires.
    ///
    /// # Errors
    /// Also where all jobs would keep too much; the job is as it was then.
    pub fn finish_job(
        &mut self,
        id: u64,
        phase: JobPhase,
        (outcome, outputs): (Vec<u8>, &[&[u8]]),
        instructions: u64,
        now: u64,
    ) -> Result<(), FinishError> {
        let mut job = self.unfinished(id)?;
        let (next, kept) = self.job_counter().map_err(JobError::from)?;
        let kept = kept.saturating_sub(job.data_bytes);
        let bytes: u64 = outputs.iter().map(|output| output.len() as u64).sum();
        if kept + bytes > self.bounds.job_bytes {
            return Err(SubmitError::Bytes { kept, bytes, limit: self.bounds.job_bytes }.into());
        }
        self.drop_parts(id);
        for (ix, output) in outputs.iter().enumerate() {
            self.write_parts(id, OUTPUT, ix as u32, output);
        }
        self.set_job_counter(next, kept + bytes);
        if let Some(index) = &mut self.job_index {
            index.remove(id, &job);
        }
        (job.phase, job.outcome, job.instructions, job.data_bytes) = (phase, outcome, instructions, bytes);
        job.finished_at = now;
        job.expires_at = now.saturating_add(job.retain_seconds.saturating_mul(NANOS));
        self.jobs.insert(&id.to_be_bytes(), job.encode());
        if let Some(index) = &mut self.job_index {
            index.add(id, &job);
        }
        Ok(())
    }

    /// Bytes of an output that a finished job has kept.
    pub fn job_output(&self, job: u64, output: u32, offset: u64, length: u64) -> Result<Vec<u8>, JobError> {
        self.job(job)?;
        let end = offset.saturating_add(length);
        let lacks = JobError::Output { job, output, offset, end };
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| lacks.clone())?.min(4 << 20));
        let mut at = offset;
        while at < end {
            let part = self.jobs_part(job, OUTPUT, output, (at / PART_BYTES as u64) as u32);
            let from = (at % PART_BYTES as u64) as usize;
            let some = part.as_ref().and_then(|part| part.get(from..)).filter(|some| !some.is_empty());
            let some = some.ok_or(lacks.clone())?;
            let wanted = some.len().min((end - at) as usize);
            bytes.extend_from_slice(&some[..wanted]);
            at += wanted as u64;
        }
        Ok(bytes)
    }

    /// Forgets a finished job.
    pub fn discard_job(&mut self, id: u64) -> Result<(), JobError> {
        let job = self.job(id)?;
        if !job.phase.is_finished() {
            return Err(JobError::Phase { job: id, phase: job.phase });
        }
        self.forget_job(id, &job)?;
        Ok(())
    }

    /// Forgets the finished jobs whose time is over, at most so many; how many those were. Reads none of the others.
    pub fn expire_jobs(&mut self, now: u64, at_most: usize) -> Result<usize, RecordError> {
        let expired = self.job_index()?.over(now, at_most);
        for id in &expired {
            let bytes = self.jobs.get(&id.to_be_bytes()).ok_or(RecordError::absent(Job::TABLE))?;
            self.forget_job(*id, &Job::decode(&bytes)?)?;
        }
        Ok(expired.len())
    }

    /// Bytes of its memory that `job_data` takes at most, with so many more. What is free of the memory, which does not shrink, is used
    /// again before it grows.
    ///
    /// The B-tree has chunks of 1,024 bytes, 11 of which are a chunk's own where a node takes several: less than a 64th. An entry has its
    /// key, its place in a node and what is left empty of a chunk, and a node that is split is there twice for a moment.
    pub fn job_data_bytes(&self, more: u64) -> Result<u64, RecordError> {
        let (_, kept) = self.job_counter()?;
        let (bytes, part) = (kept + more, PART_BYTES as u64);
        let entries = self.job_data.len() + more.div_ceil(part) + 1;
        Ok(bytes + bytes / 64 + entries * 2_048 + NODE_ENTRIES * part)
    }

    /// The jobs after that id, oldest first.
    pub fn jobs_from(&self, after: u64) -> impl Iterator<Item = Result<(u64, Job), RecordError>> + '_ {
        self.jobs.range(Bound::Excluded(after.to_be_bytes().to_vec()), Bound::Unbounded).map(
            |(key, value)| {
                let id = key.first_chunk().map(|id| u64::from_be_bytes(*id));
                Ok((id.ok_or(RecordError::absent(Job::TABLE))?, Job::decode(&value)?))
            },
        )
    }

    fn unfinished(&self, id: u64) -> Result<Job, JobError> {
        let job = self.job(id)?;
        match job.phase.is_finished() {
            true => Err(JobError::Phase { job: id, phase: job.phase }),
            false => Ok(job),
        }
    }

    fn forget_job(&mut self, id: u64, job: &Job) -> Result<(), RecordError> {
        let (next, kept) = self.job_counter()?;
        self.drop_parts(id);
        self.jobs.remove(&id.to_be_bytes());
        self.set_job_counter(next, kept.saturating_sub(job.data_bytes));
        if let Some(index) = &mut self.job_index {
            index.remove(id, job);
        }
        Ok(())
    }

    /// The next job's id, and bytes that all of them keep.
    fn job_counter(&self) -> Result<(u64, u64), RecordError> {
        let Some(bytes) = self.jobs.get(&COUNTER.to_be_bytes()) else { return Ok((1, 0)) };
        let mut r = RecordReader::new(Job::TABLE, Job::LAYOUT, &bytes)?;
        let (next, kept) = (r.u64()?, r.u64()?);
        if !(1..u64::MAX).contains(&next) {
            return Err(r.field("next_job"));
        }
        r.end()?;
        Ok((next, kept))
    }

    fn set_job_counter(&mut self, next: u64, kept: u64) {
        let record = RecordWriter::new(Job::LAYOUT).u64(next).u64(kept).finish();
        self.jobs.insert(&COUNTER.to_be_bytes(), record);
    }

    fn write_parts(&mut self, job: u64, kind: u8, output: u32, bytes: &[u8]) {
        for (ix, part) in bytes.chunks(PART_BYTES).enumerate() {
            self.job_data.insert(&data_key(job, kind, output, ix as u32), part.to_vec());
        }
    }

    fn jobs_part(&self, job: u64, kind: u8, output: u32, part: u32) -> Option<Vec<u8>> {
        self.job_data.get(&data_key(job, kind, output, part))
    }

    fn parts(&self, job: u64, kind: u8, output: u32) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let key = |part| data_key(job, kind, output, part);
        self.job_data.range(Bound::Included(key(0)), Bound::Included(key(u32::MAX)))
    }

    fn drop_parts(&mut self, job: u64) {
        let first = Bound::Included(data_key(job, ASKED, 0, 0));
        let last = Bound::Included(data_key(job, OUTPUT, u32::MAX, u32::MAX));
        let keys: Vec<_> = self.job_data.keys(first, last).collect();
        keys.iter().for_each(|key| self.job_data.remove(key));
    }
}

/// Why what came of a job is not kept.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum FinishError {
    /// It is not there, or finished.
    #[error(transparent)]
    Job(#[from] JobError),
    /// There is no room for it.
    #[error(transparent)]
    Room(#[from] SubmitError),
}

const NANOS: u64 = 1_000_000_000;

fn data_key(job: u64, kind: u8, output: u32, part: u32) -> Vec<u8> {
    let mut key = job.to_be_bytes().to_vec();
    key.push(kind);
    key.extend(output.to_be_bytes());
    key.extend(part.to_be_bytes());
    key
}

#[cfg(test)]
mod tests;
