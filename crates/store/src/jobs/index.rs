//! What every submission asks of all jobs: how many their owner has, and which finished ones are over.
//!
//! Derived from the records at its first use and kept beside them from then on. None of it is in stable memory, so what an upgrade or a
//! trap leaves is derived again, or taken back with the rest of the heap.

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;
use ic_stable_structures::Memory;

use super::Job;
use crate::layout::RecordError;
use crate::store::Store;

/// Counts and times of the jobs that there are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct JobIndex {
    of_owner: BTreeMap<Principal, usize>,
    /// When finished ones are over, and their ids.
    expiries: BTreeSet<(u64, u64)>,
}

impl JobIndex {
    pub(super) fn add(&mut self, id: u64, job: &Job) {
        *self.of_owner.entry(job.owner).or_default() += 1;
        if job.phase.is_finished() {
            self.expiries.insert((job.expires_at, id));
        }
    }

    pub(super) fn remove(&mut self, id: u64, job: &Job) {
        if let Some(count) = self.of_owner.get_mut(&job.owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_owner.remove(&job.owner);
            }
        }
        self.expiries.remove(&(job.expires_at, id));
    }

    /// How many jobs are the owner's.
    pub(super) fn of_owner(&self, owner: Principal) -> usize {
        self.of_owner.get(&owner).copied().unwrap_or_default()
    }

    /// Those that are over, at most so many, first those that are it for longest.
    pub(super) fn over(&self, now: u64, at_most: usize) -> Vec<u64> {
        self.expiries.range(..=(now, u64::MAX)).map(|(_, id)| *id).take(at_most).collect()
    }
}

impl<M: Memory> Store<M> {
    /// The index, derived where that was not done yet. Costs a read of every job then.
    pub(super) fn job_index(&mut self) -> Result<&mut JobIndex, RecordError> {
        let index = match self.job_index.take() {
            Some(index) => index,
            None => self.derived_job_index()?,
        };
        Ok(self.job_index.insert(index))
    }

    /// What the index has to be.
    pub(super) fn derived_job_index(&self) -> Result<JobIndex, RecordError> {
        let mut index = JobIndex::default();
        for job in self.jobs_from(0) {
            let (id, job) = job?;
            index.add(id, &job);
        }
        Ok(index)
    }
}
