//! Execution contexts: a number for a caller's inputs and outputs on a graph, that stays valid over upgrades and is
//! never given twice.
//!
//! ```text
//! contexts        key: 0x00, the context's id as 8 bytes big-endian
//!   layout = 2   ↕ 1      graph      ↕ 8   the handle that it was opened on
//!   version      ↕ 8      opened_at  ↕ 8   nanoseconds since 1970
//!   owner        ↕ short  name       ↕ short
//!   idle_seconds ↕ 4      session    ↕ 8   the lease; 0 for no session
//!   layout = 1            without a lease, which is the default then
//!
//!                 key: 0x01, the id as 8 bytes big-endian: a context that its owner did not close
//!   layout = 1   ↕ 1      version    ↕ 8   closed with its model
//!   name         ↕ short
//!   layout = 2   ↕ 1      idle       ↕ 4   closed after so many seconds without a call
//!
//! context_index   key: 0x00, the owner as short, the id as 8 bytes big-endian
//!                 key: 0x01, the key of its version, the id as 8 bytes big-endian
//!   nothing
//! ```
//!
//! INVARIANT: every open context has exactly one entry of either kind in the index, so half the index' length is the
//! number of contexts. A context outlives its graph handle: after `unload` it drains. It does not outlive its version:
//! where that is gone the context is told to have been deleted, whether it was cleared away yet or not. What tensors it
//! holds, and when it was last used, is the embedder's to know.

use std::ops::Bound;

use candid::Principal;
use ic_nn_types::ContextOptions;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::error::GraphError;
use crate::graphs::OpenGraph;
use crate::layout::{RecordError, RecordProblem};
use crate::name::version_key;
use crate::store::Store;

mod record;

pub(crate) use record::ContextRecord;
use record::GoneRecord;

/// Contexts that one principal may have open, who is neither admin nor controller: a sixteenth of the default of all.
/// Opening one reads this many entries of the index at most.
pub const MAX_CONTEXTS_PER_OWNER: usize = 64;

/// Contexts remembered to have been closed with their model, or for want of calls, the newest ids: at most 100 bytes each, 1 MB.
/// Of older ones it is told that they were finalized.
pub const MAX_DELETED_CONTEXTS: u64 = 10_000;

/// Seconds without a call after which a context is closed, unless its owner said otherwise: a day.
pub const CONTEXT_IDLE_SECONDS: u32 = 86_400;

/// The most seconds that an owner may say: a week.
pub const MAX_CONTEXT_IDLE_SECONDS: u64 = 604_800;

/// Contexts of other sessions that one opening closes: at four changes to tables each, some 100,000 instructions apiece, 0.4 B.
const SUPERSEDED_AT_ONCE: usize = 1_000;

const OPEN: u8 = 0;
const GONE: u8 = 1;
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
    /// A lease that is not given.
    #[error("idle_seconds is 1 to {MAX_CONTEXT_IDLE_SECONDS}, {came} came")]
    Idle {
        /// Seconds that came.
        came: u64,
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
    /// Nothing was called on it for longer than its lease.
    #[error(
        "execution context {context} was closed after {idle_seconds} seconds without a call on it; open another with \
         init_execution_context, whose idle_seconds says how long it stays"
    )]
    Lapsed {
        /// The id.
        context: u64,
        /// Its lease's.
        idle_seconds: u32,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// How long a context stays open, and which others give way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Seconds without a call after which it is closed.
    pub idle_seconds: u32,
    /// The owner's session, 0 for none: a context of one closes those of others.
    pub session: u64,
}

impl Default for Lease {
    fn default() -> Self {
        Lease { idle_seconds: CONTEXT_IDLE_SECONDS, session: 0 }
    }
}

impl Lease {
    /// The lease that a caller asks for.
    pub fn asked(options: &ContextOptions) -> Result<Lease, OpenContextError> {
        let came = options.idle_seconds.unwrap_or(u64::from(CONTEXT_IDLE_SECONDS));
        match u32::try_from(came) {
            Ok(idle_seconds) if (1..=MAX_CONTEXT_IDLE_SECONDS).contains(&came) => {
                Ok(Lease { idle_seconds, session: options.session.unwrap_or_default() })
            }
            _ => Err(OpenContextError::Idle { came }),
        }
    }
}

/// What opening a context did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The context.
    pub open: OpenContext,
    /// Those of the owner's other sessions, which are closed.
    pub superseded: Vec<OpenContext>,
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
    /// How long it stays open.
    pub lease: Lease,
}

/// Execution contexts. Whose they are is told; whether a caller may use or close one is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Opens a context for `owner` on an open graph handle. One of a session closes what the owner has open in other sessions,
    /// oldest first, 1,000 at most.
    ///
    /// `max_contexts` binds everyone, [`MAX_CONTEXTS_PER_OWNER`] whoever is neither controller nor admin.
    pub fn open_context(
        &mut self,
        graph: u64,
        owner: Principal,
        is_controller: bool,
        lease: Lease,
        now: u64,
    ) -> Result<Opened, OpenContextError> {
        let OpenGraph { name, version, .. } = self.graph(graph)?;
        let doomed = self.of_other_sessions(owner, lease.session);
        let limit = self.settings.policy.max_contexts();
        if self.open_contexts() - doomed.len() as u64 >= u64::from(limit) {
            return Err(OpenContextError::TooMany { limit });
        }
        let limit = self.bounds.contexts_per_owner;
        let counted = doomed.len() + limit;
        if self.contexts_of(owner).take(counted).count() == counted && !is_controller && !self.is_admin(owner)
        {
            return Err(OpenContextError::TooManyOfOwner { owner, limit });
        }
        let superseded = doomed.into_iter().map(|(context, record)| {
            self.remove_context(context, &record);
            record.describe(context)
        });
        let superseded = superseded.collect();
        let mut next = self.settings.clone();
        let context = next.next_context;
        next.next_context += 1;
        self.write_settings(next);
        let record = ContextRecord { graph, version, opened_at: now, owner, name, lease };
        for key in index_keys(context, &record) {
            self.context_index.insert(&key, Vec::new());
        }
        self.contexts.insert(&context_key(OPEN, context), record.encode());
        Ok(Opened { open: record.describe(context), superseded })
    }

    /// What the owner has open in other sessions than this; nothing for none. One that cannot be read is left.
    fn of_other_sessions(&self, owner: Principal, session: u64) -> Vec<(u64, ContextRecord)> {
        let ids = (session != 0).then(|| self.contexts_of(owner)).into_iter().flatten().flatten();
        let records = ids.filter_map(|id| {
            let bytes = self.contexts.get(&context_key(OPEN, id))?;
            Some((id, ContextRecord::decode(&bytes).ok()?))
        });
        let others = records.filter(|(_, record)| ![0, session].contains(&record.lease.session));
        others.take(SUPERSEDED_AT_ONCE).collect()
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
        if let Some(bytes) = self.contexts.get(&context_key(GONE, context)) {
            return Err(GoneRecord::decode(&bytes)?.told(context));
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

    /// Closes a context that nothing was called on for as long as its lease says, and tells what it stood for. It is told from a
    /// finalized one afterwards; where its version is gone it is told to have been deleted, as before.
    pub fn lapse_context(&mut self, context: u64) -> Result<OpenContext, ContextError> {
        let Some(bytes) = self.contexts.get(&context_key(OPEN, context)) else {
            return self.context(context);
        };
        let record = ContextRecord::decode(&bytes)?;
        let gone = match self.versions.contains(&version_key(&record.name, record.version)) {
            true => GoneRecord::Lapsed { idle_seconds: record.lease.idle_seconds },
            false => GoneRecord::Deleted { version: record.version, name: record.name.clone() },
        };
        self.bury_context(context, &record, &gone);
        Ok(record.describe(context))
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
            self.bury_context(*id, record, &GoneRecord::Deleted { version, name: name.to_owned() });
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

    /// Closes a context without its owner, and forgets the oldest of those that were where they are too many.
    fn bury_context(&mut self, context: u64, record: &ContextRecord, gone: &GoneRecord) {
        self.remove_context(context, record);
        self.contexts.insert(&context_key(GONE, context), gone.encode());
        if self.contexts.len().saturating_sub(self.open_contexts()) > self.bounds.deleted_contexts {
            let oldest = self.contexts.range(Bound::Included(vec![GONE]), Bound::Unbounded).next();
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
