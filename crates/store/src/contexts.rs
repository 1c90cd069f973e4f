//! Execution contexts: a number for a caller's inputs and outputs on a graph, that stays valid over upgrades and is
//! never given twice.
//!
//! ```text
//! contexts        key: 0x00, the context's id as 8 bytes big-endian
//!   layout = 1   ↕ 1      graph      ↕ 8   the handle that it was opened on
//!   version      ↕ 8      opened_at  ↕ 8   nanoseconds since 1970
//!   owner        ↕ short  name       ↕ short
//!
//!                 key: 0x01, the id as 8 bytes big-endian: a context that was closed with its model
//!   layout = 1   ↕ 1      version    ↕ 8
//!   name         ↕ short
//!
//! context_index   key: 0x00, the owner as short, the id as 8 bytes big-endian
//!                 key: 0x01, the key of its version, the id as 8 bytes big-endian
//!   nothing
//! ```
//!
//! INVARIANT: every open context has exactly one entry of either kind in the index, so half the index' length is the
//! number of contexts. A context outlives its graph handle: after `unload` it drains. It does not outlive its version:
//! where that is gone the context is told to have been deleted, whether it was cleared away yet or not. What tensors it
//! holds is the embedder's to know.

use std::ops::Bound;

use candid::Principal;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::error::GraphError;
use crate::graphs::OpenGraph;
use crate::layout::{RecordError, RecordProblem, RecordReader, RecordWriter};
use crate::name::version_key;
use crate::store::Store;

/// Contexts that one principal may have open, who is neither admin nor controller: a sixteenth of the default of all.
/// Opening one reads this many entries of the index at most.
pub const MAX_CONTEXTS_PER_OWNER: usize = 64;

/// Contexts remembered to have been closed with their model, the newest ids: at most 100 bytes each, 1 MB. Of older ones
/// it is told that they were finalized.
pub const MAX_DELETED_CONTEXTS: u64 = 10_000;

const OPEN: u8 = 0;
const DELETED: u8 = 1;
const BY_OWNER: u8 = 0;
const BY_VERSION: u8 = 1;

/// Why a context is not opened. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum OpenContextError {
    /// The graph handle leads nowhere.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Too many contexts are open.
    #[error("{limit} execution contexts are open, as many as max_contexts allows; close some")]
    TooMany {
        /// `max_contexts`.
        limit: u32,
    },
    /// The owner has too many open.
    #[error("{owner} has {limit} execution contexts open, as many as one may have; close some")]
    TooManyOfOwner {
        /// Who.
        owner: Principal,
        /// [`MAX_CONTEXTS_PER_OWNER`].
        limit: usize,
    },
}

/// Why a context leads nowhere.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum ContextError {
    /// No context has had this id.
    #[error("no execution context {context}; open one with init_execution_context")]
    Unknown {
        /// The id.
        context: u64,
    },
    /// It was closed.
    #[error("execution context {context} was finalized; open another with init_execution_context")]
    Finalized {
        /// The id.
        context: u64,
    },
    /// Its version was deleted.
    #[error("execution context {context} was closed when its model {name}:{version} was deleted")]
    Deleted {
        /// The id.
        context: u64,
        /// Model name.
        name: String,
        /// Version.
        version: u64,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// An open execution context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenContext {
    /// Its id.
    pub context: u64,
    /// The graph handle that it was opened on, which may have been closed since.
    pub graph: u64,
    /// Model name.
    pub name: String,
    /// Version.
    pub version: u64,
    /// Who opened it.
    pub owner: Principal,
    /// When, nanoseconds since 1970.
    pub opened_at: u64,
}

/// An open context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContextRecord {
    pub(crate) graph: u64,
    pub(crate) version: u64,
    pub(crate) opened_at: u64,
    pub(crate) owner: Principal,
    pub(crate) name: String,
}

impl ContextRecord {
    pub(crate) const TABLE: &'static str = "contexts";
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        w.u64(self.graph).u64(self.version).u64(self.opened_at);
        w.short(self.owner.as_slice()).short(self.name.as_bytes()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let (graph, version, opened_at) = (r.u64()?, r.u64()?, r.u64()?);
        let owner = r.principal("owner")?;
        let name = r.text("name")?;
        r.end()?;
        Ok(ContextRecord { graph, version, opened_at, owner, name })
    }

    fn describe(self, context: u64) -> OpenContext {
        let ContextRecord { graph, version, opened_at, owner, name } = self;
        OpenContext { context, graph, name, version, owner, opened_at }
    }
}

/// What is remembered of a context that was closed with its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletedRecord {
    pub(crate) version: u64,
    pub(crate) name: String,
}

impl DeletedRecord {
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        RecordWriter::new(Self::LAYOUT).u64(self.version).short(self.name.as_bytes()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(ContextRecord::TABLE, Self::LAYOUT, bytes)?;
        let version = r.u64()?;
        let name = r.text("name")?;
        r.end()?;
        Ok(DeletedRecord { version, name })
    }
}

/// Execution contexts. Whose they are is told; whether a caller may use or close one is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Opens a context for `owner` on an open graph handle.
    ///
    /// `max_contexts` binds everyone, [`MAX_CONTEXTS_PER_OWNER`] whoever is neither controller nor admin.
    pub fn open_context(
        &mut self,
        graph: u64,
        owner: Principal,
        is_controller: bool,
        now: u64,
    ) -> Result<OpenContext, OpenContextError> {
        let OpenGraph { name, version, .. } = self.graph(graph)?;
        let limit = self.settings.policy.max_contexts();
        if self.open_contexts() >= u64::from(limit) {
            return Err(OpenContextError::TooMany { limit });
        }
        let limit = self.bounds.contexts_per_owner;
        if self.contexts_of(owner).take(limit).count() == limit && !is_controller && !self.is_admin(owner) {
            return Err(OpenContextError::TooManyOfOwner { owner, limit });
        }
        let mut next = self.settings.clone();
        let context = next.next_context;
        next.next_context += 1;
        self.write_settings(next);
        let record = ContextRecord { graph, version, opened_at: now, owner, name };
        for key in index_keys(context, &record) {
            self.context_index.insert(&key, Vec::new());
        }
        self.contexts.insert(&context_key(OPEN, context), record.encode());
        Ok(record.describe(context))
    }

    /// What the id stands for.
    pub fn context(&self, context: u64) -> Result<OpenContext, ContextError> {
        if let Some(bytes) = self.contexts.get(&context_key(OPEN, context)) {
            let record = ContextRecord::decode(&bytes)?;
            let ContextRecord { name, version, .. } = &record;
            return match self.versions.contains(&version_key(name, *version)) {
                true => Ok(record.describe(context)),
                false => Err(ContextError::Deleted { context, name: record.name, version: record.version }),
            };
        }
        if let Some(bytes) = self.contexts.get(&context_key(DELETED, context)) {
            let DeletedRecord { version, name } = DeletedRecord::decode(&bytes)?;
            return Err(ContextError::Deleted { context, name, version });
        }
        match (1..self.settings.next_context).contains(&context) {
            true => Err(ContextError::Finalized { context }),
            false => Err(ContextError::Unknown { context }),
        }
    }

    /// Closes the context and tells what it stood for.
    pub fn close_context(&mut self, context: u64) -> Result<OpenContext, ContextError> {
        let open = self.context(context)?;
        let bytes = self.contexts.get(&context_key(OPEN, context)).unwrap_or_default();
        self.remove_context(context, &ContextRecord::decode(&bytes)?);
        Ok(open)
    }

    /// Whether an open context needs the version: until none does, a graph that was unloaded drains.
    pub fn contexts_of_version(&self, name: &str, version: u64) -> bool {
        self.ids_of_version(name, version).next().is_some()
    }

    /// Closes the contexts of a version that is being deleted, at most `at_most` of them, oldest first, and tells which.
    /// They are told from finalized ones afterwards.
    ///
    /// Each takes four changes to tables at some 100,000 instructions each, so 10,000 fit an update with room to spare.
    /// Where more are left, call again in another message: once the version is gone nothing can use them, or open more.
    pub fn close_contexts_of(
        &mut self,
        name: &str,
        version: u64,
        at_most: usize,
    ) -> Result<Vec<u64>, RecordError> {
        let doomed = self.ids_of_version(name, version).take(at_most);
        let doomed = doomed
            .map(|id| {
                let id = id?;
                let bytes = self.contexts.get(&context_key(OPEN, id));
                let bytes = bytes.ok_or(RecordError::absent(ContextRecord::TABLE))?;
                Ok((id, ContextRecord::decode(&bytes)?))
            })
            .collect::<Result<Vec<_>, RecordError>>()?;
        for (id, record) in &doomed {
            self.remove_context(*id, record);
            let deleted = DeletedRecord { version, name: name.to_owned() };
            self.contexts.insert(&context_key(DELETED, *id), deleted.encode());
            self.forget_deleted_context();
        }
        Ok(doomed.into_iter().map(|(id, _)| id).collect())
    }

    /// Every open context, oldest first. One whose version is gone is among them until it is cleared away.
    pub fn contexts(&self) -> impl Iterator<Item = Result<OpenContext, RecordError>> + '_ {
        let (first, last) = (context_key(OPEN, 0), context_key(OPEN, u64::MAX));
        self.contexts
            .range(Bound::Included(first), Bound::Included(last))
            .map(|(key, value)| Ok(ContextRecord::decode(&value)?.describe(id_of(&key)?)))
    }

    /// The open contexts of `owner`, oldest first, by id.
    pub fn contexts_of(&self, owner: Principal) -> impl Iterator<Item = Result<u64, RecordError>> + '_ {
        self.ids(owner_prefix(owner))
    }

    /// How many contexts are open.
    pub fn open_contexts(&self) -> u64 {
        self.context_index.len() / 2
    }

    fn ids_of_version(
        &self,
        name: &str,
        version: u64,
    ) -> impl Iterator<Item = Result<u64, RecordError>> + '_ {
        self.ids(version_prefix(name, version))
    }

    /// The ids behind a prefix of the index.
    fn ids(&self, prefix: Vec<u8>) -> impl Iterator<Item = Result<u64, RecordError>> + '_ {
        let bound = |id: u64| Bound::Included([prefix.as_slice(), id.to_be_bytes().as_slice()].concat());
        self.context_index.range(bound(0), bound(u64::MAX)).map(|(key, _)| id_of(&key))
    }

    /// Takes an open context out of every table.
    fn remove_context(&mut self, context: u64, record: &ContextRecord) {
        for key in index_keys(context, record) {
            self.context_index.remove(&key);
        }
        self.contexts.remove(&context_key(OPEN, context));
    }

    /// Forgets the oldest of the deleted contexts where they are too many.
    fn forget_deleted_context(&mut self) {
        if self.contexts.len().saturating_sub(self.open_contexts()) > self.bounds.deleted_contexts {
            let oldest = self.contexts.range(Bound::Included(vec![DELETED]), Bound::Unbounded).next();
            if let Some((key, _)) = oldest {
                self.contexts.remove(&key);
            }
        }
    }
}

fn context_key(kind: u8, context: u64) -> Vec<u8> {
    [&[kind], context.to_be_bytes().as_slice()].concat()
}

/// The id that a key of either table ends with.
fn id_of(key: &[u8]) -> Result<u64, RecordError> {
    let problem = RecordProblem::Field { field: "key" };
    let (_, id) = key.split_last_chunk::<8>().ok_or(RecordError { table: ContextRecord::TABLE, problem })?;
    Ok(u64::from_be_bytes(*id))
}

fn owner_prefix(owner: Principal) -> Vec<u8> {
    let owner = owner.as_slice();
    [&[BY_OWNER, owner.len() as u8], owner].concat()
}

fn version_prefix(name: &str, version: u64) -> Vec<u8> {
    [vec![BY_VERSION], version_key(name, version)].concat()
}

/// The keys of a context in the index.
fn index_keys(context: u64, record: &ContextRecord) -> [Vec<u8>; 2] {
    let prefixes = [owner_prefix(record.owner), version_prefix(&record.name, record.version)];
    prefixes.map(|prefix| [prefix.as_slice(), context.to_be_bytes().as_slice()].concat())
}

#[cfg(test)]
mod tests;
