//! What the tables hold at most that grow by what callers do. The numbers and their arithmetic stand with what they bound; a test
//! may open a store with smaller ones, so that it meets them.

use crate::audit::MAX_AUDIT_LINES;
use crate::callers::MAX_CALLERS;
use crate::closed::MAX_DELETED_GRAPHS;
use crate::contexts::{MAX_CONTEXTS_PER_OWNER, MAX_DELETED_CONTEXTS};
use crate::jobs::{MAX_JOB_BYTES, MAX_JOBS, MAX_JOBS_PER_OWNER};
use crate::roles::MAX_ROLES;

/// The bounds in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Principals with a role.
    pub(crate) roles: u64,
    /// Callers that are remembered.
    pub(crate) callers: u64,
    /// Audit lines kept.
    pub(crate) audit_lines: u64,
    /// Contexts that a principal who is neither admin nor controller may have open.
    pub(crate) contexts_per_owner: usize,
    /// Contexts that are remembered to have been closed with their model.
    pub(crate) deleted_contexts: u64,
    /// Graph handles that are remembered to have been closed with their model.
    pub(crate) deleted_graphs: u64,
    /// Jobs.
    pub(crate) jobs: u64,
    /// Of one owner who is neither admin nor controller.
    pub(crate) jobs_per_owner: usize,
    /// Bytes that they keep.
    pub(crate) job_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            roles: MAX_ROLES,
            callers: MAX_CALLERS,
            audit_lines: MAX_AUDIT_LINES,
            contexts_per_owner: MAX_CONTEXTS_PER_OWNER,
            deleted_contexts: MAX_DELETED_CONTEXTS,
            deleted_graphs: MAX_DELETED_GRAPHS,
            jobs: MAX_JOBS,
            jobs_per_owner: MAX_JOBS_PER_OWNER,
            job_bytes: MAX_JOB_BYTES,
        }
    }
}
