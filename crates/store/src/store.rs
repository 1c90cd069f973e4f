//! The store: its tables, opened.
//!
//! It owns the memories and the list of commits under way. Each family of operations is a module of its own beside this
//! one. Nothing may be cached here that a record also says, but for the settings, whose cell is read at opening, and the
//! jobs' index, which their records are read for once.

use ic_stable_structures::{Memory, StableCell};

use crate::audit::AuditRecord;
use crate::bounds::Bounds;
use crate::callers::CallerRecord;
use crate::contexts::ContextRecord;
use crate::images::ImageRecord;
use crate::jobs::{Job, JobIndex};
use crate::record::{
    GraphRecord, LabelRecord, NameRecord, PropertyRecord, ProvenanceRecord, UploadRecord, VersionRecord,
};
use crate::roles::RoleRecord;
use crate::settings::SettingsRecord;
use crate::statistics::StatisticsRecord;
use crate::table::{Memories, OpenError, Table, open_cell};

/// Models, uploads, graph handles and settings in stable memory.
pub struct Store<M: Memory> {
    pub(crate) cell: StableCell<Vec<u8>, M>,
    /// What the cell holds, decoded.
    pub(crate) settings: SettingsRecord,
    pub(crate) names: Table<M>,
    pub(crate) versions: Table<M>,
    pub(crate) facts: Table<M>,
    pub(crate) uploads: Table<M>,
    pub(crate) graphs: Table<M>,
    pub(crate) statistics: Table<M>,
    pub(crate) contexts: Table<M>,
    pub(crate) context_index: Table<M>,
    pub(crate) roles: Table<M>,
    pub(crate) callers: Table<M>,
    pub(crate) audit: Table<M>,
    pub(crate) labels: Table<M>,
    pub(crate) provenance: Table<M>,
    pub(crate) properties: Table<M>,
    pub(crate) images: Table<M>,
    pub(crate) jobs: Table<M>,
    pub(crate) job_data: Table<M>,
    /// None until it is first used.
    pub(crate) job_index: Option<JobIndex>,
    pub(crate) blobs: M,
    pub(crate) commits: crate::commit::Commits,
    /// What the tables hold at most.
    pub(crate) bounds: Bounds,
    /// Pages that the embedder still reads, though no record may claim them.
    pub(crate) held: fn() -> Vec<Held>,
}

/// Pages in the memory of the model files: the first, and how many.
pub type Held = (u64, u64);

impl<M: Memory> Store<M> {
    /// Has no file or image be placed over the pages that `held` names when one is: somebody still reads them.
    pub fn hold(&mut self, held: fn() -> Vec<Held>) {
        self.held = held;
    }

    /// Opens the store in `memories`: makes an empty one where they are empty, and writes nothing where they are not.
    ///
    /// Costs one read of the settings' cell and of each table's header, whatever the store holds.
    pub fn open(memories: Memories<M>) -> Result<Self, OpenError> {
        let cell = open_cell("settings", memories.settings, || SettingsRecord::first().encode())?;
        Ok(Store {
            settings: SettingsRecord::decode(cell.get())?,
            cell,
            names: Table::open(NameRecord::TABLE, memories.names)?,
            versions: Table::open(VersionRecord::TABLE, memories.versions)?,
            facts: Table::open("facts", memories.facts)?,
            uploads: Table::open(UploadRecord::TABLE, memories.uploads)?,
            graphs: Table::open(GraphRecord::TABLE, memories.graphs)?,
            statistics: Table::open(StatisticsRecord::TABLE, memories.statistics)?,
            contexts: Table::open(ContextRecord::TABLE, memories.contexts)?,
            context_index: Table::open("context_index", memories.context_index)?,
            roles: Table::open(RoleRecord::TABLE, memories.roles)?,
            callers: Table::open(CallerRecord::TABLE, memories.callers)?,
            audit: Table::open(AuditRecord::TABLE, memories.audit)?,
            labels: Table::open(LabelRecord::TABLE, memories.labels)?,
            provenance: Table::open(ProvenanceRecord::TABLE, memories.provenance)?,
            properties: Table::open(PropertyRecord::TABLE, memories.properties)?,
            images: Table::open(ImageRecord::TABLE, memories.images)?,
            jobs: Table::open(Job::TABLE, memories.jobs)?,
            job_data: Table::open("job_data", memories.job_data)?,
            job_index: None,
            blobs: memories.blobs,
            commits: Default::default(),
            bounds: Bounds::default(),
            held: Vec::new,
        })
    }
}
