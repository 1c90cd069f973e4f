//! The model registry of ic-nn in stable memory: names, immutable versions and labels on them, chunked uploads, graph
//! handles, settings; and who may use it: roles, the policy, quotas, execution contexts, statistics, the audit log.
//!
//! A [`Store`] is generic over [`ic_stable_structures::Memory`] and knows neither ic-cdk nor an engine: time, caller and
//! the facts about a model are handed in. Every change is in stable memory when the call that makes it returns, nothing
//! is serialised before an upgrade, and opening a store on memory that has one writes nothing.
//!
//! ```
//! use candid::Principal;
//! use ic_nn_store::{Memories, Store};
//! use ic_nn_types::{ChunkRequest, UploadSpec};
//! use ic_stable_structures::VectorMemory;
//! use sha2::{Digest, Sha256};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut store = Store::open(Memories::each(|_| VectorMemory::default()))?;
//!
//! let (me, now, file) = (Principal::management_canister(), 0, b"a model".to_vec());
//! let sha256 = Sha256::digest(&file).to_vec();
//! let spec = UploadSpec { name: "digits".into(), bytes: 7, sha256, ..UploadSpec::default() };
//! let upload = store.begin(&spec, me, now, false)?.upload;
//! store.put_chunk(&ChunkRequest { upload, index: 0, data: file.clone() }, me, now)?;
//!
//! let mut commit = store.begin_commit(upload, me)?;
//! let verified = store.verify(&mut commit, u64::MAX)?.expect("all bytes are hashed at once");
//! let published = store.publish(verified, b"facts", now)?;
//! assert_eq!(published.version, 1);
//! assert_eq!(store.blob("digits", 1)?.to_vec()?, file);
//! store.set_label("digits", 1, "stable")?;
//! assert_eq!(store.resolve("digits@stable")?.version, 1);
//! # Ok(())
//! # }
//! ```
//!
//! **Invariants.** Extents of versions and open uploads never overlap. Version numbers, upload ids, graph handles and
//! context ids are never reused. A version never changes after it is published. Labels lead to versions that there are and
//! that are not retired. Model-based property tests hold all of them.

#[cfg(test)]
mod access_model;
mod audit;
mod bounds;
mod callers;
mod candid_error;
mod chunks;
mod closed;
mod commit;
mod contexts;
mod deletion;
mod error;
mod extent;
#[cfg(test)]
mod fixture;
mod graphs;
mod images;
mod index;
mod jobs;
mod kept;
mod labels;
mod layout;
#[cfg(test)]
mod model;
mod name;
mod policy;
mod properties;
mod provenance;
mod received;
mod record;
mod roles;
mod room;
mod serving;
mod settings;
mod statistics;
mod store;
mod table;
mod uploads;
mod versions;

pub use audit::MAX_AUDIT_LINES;
pub use callers::{MAX_CALLERS, QuotaError};
pub use closed::MAX_DELETED_GRAPHS;
pub use commit::{Commit, VERIFY_BYTES_PER_MESSAGE, Verified};
pub use contexts::{
    CONTEXT_IDLE_SECONDS, ContextError, Lease, MAX_CONTEXT_IDLE_SECONDS, MAX_CONTEXTS_PER_OWNER,
    MAX_DELETED_CONTEXTS, OpenContext, OpenContextError, Opened,
};
pub use deletion::{DeleteError, Deleted};
pub use error::{
    AbortError, AppendError, BeginError, ChunkError, CommitError, GraphError, ListError, LookupError,
    SettingsError, UploadError,
};
pub use extent::{Blob, PAGE_BYTES, ReadError};
pub use graphs::OpenGraph;
pub use images::{Draft, SetImageError};
pub use index::{IndexPage, Indexed, Residency};
pub use jobs::{
    FinishError, Job, JobError, JobPhase, MAX_JOB_BYTES, MAX_JOBS, MAX_JOBS_PER_OWNER, MAX_RETAIN_SECONDS,
    NewJob, RETAIN_SECONDS, SubmitError,
};
pub use kept::KeepError;
pub use labels::{MAX_LABELS, SetLabelError};
pub use layout::{RecordError, RecordProblem};
pub use name::{
    LATEST, LabelError, MAX_LABEL_BYTES, MAX_NAME_BYTES, ModelRef, NameError, ReferenceError, Selector,
};
pub use properties::{MAX_PROPERTIES, MAX_PROPERTY_KEY_BYTES, MAX_PROPERTY_VALUE_BYTES, PropertyError};
pub use provenance::{
    BuildersError, MAX_BUILDERS, MAX_METADATA_PAIRS, MAX_PROVENANCE_BYTES, ProvenanceError,
};
pub use roles::{MAX_ROLES, RoleError, RolePage};
pub use room::{Extents, Kept, RoomError};
pub use serving::{MAX_POLICY_VERSIONS, RetireError, VersionPolicyError};
pub use settings::Settings;
pub use statistics::StatisticsPage;
pub use store::{Held, Store};
pub use table::{Memories, OpenError};
pub use versions::Version;
