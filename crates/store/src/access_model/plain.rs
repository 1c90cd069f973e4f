//! What the store should hold, in plain maps, and what it should answer.

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;
use ic_nn_types::{Access, AccessPolicy, AuditEntry, ModelStatistics, Role};

use super::{BOUNDS, HOUR, NAMES};
use crate::{ContextError, GraphError, OpenContext};

#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    /// Its own quota, which may be no limit.
    pub(super) own: Option<Option<u64>>,
    pub(super) day: u64,
    pub(super) spent: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) computed: Vec<u64>,
    pub(super) hits: u64,
    pub(super) fail: u64,
    pub(super) last_used: Option<u64>,
}

pub(super) type Version = (&'static str, u64);

/// An index below `len`, or, one time of 8, behind the last.
pub(super) fn among(pick: usize, len: usize) -> usize {
    if pick.is_multiple_of(8) { len } else { pick % len.max(1) }
}

/// What the store should hold.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    pub(super) now: u64,
    pub(super) roles: BTreeMap<Vec<u8>, Role>,
    pub(super) policy: AccessPolicy,
    pub(super) price: Option<u8>,
    pub(super) per_day: u64,
    pub(super) max_contexts: u32,
    pub(super) callers: BTreeMap<Vec<u8>, Caller>,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) versions: BTreeSet<Version>,
    pub(super) next_version: BTreeMap<&'static str, u64>,
    pub(super) graphs: BTreeMap<u64, Version>,
    /// Handles that were closed with their version, oldest first, those that are remembered.
    pub(super) closed: Vec<(u64, Version)>,
    pub(super) next_graph: u64,
    pub(super) counts: BTreeMap<Version, Counts>,
    pub(super) contexts: BTreeMap<u64, OpenContext>,
    /// What is told of contexts that their owners did not close, those that are remembered.
    pub(super) gone: BTreeMap<u64, ContextError>,
    pub(super) next_context: u64,
}

impl Plain {
    pub(super) fn new() -> Self {
        Plain {
            now: 400 * 24 * HOUR,
            roles: BTreeMap::new(),
            policy: AccessPolicy { read: Access::Anyone, query: Access::Anyone, infer: Access::Listed },
            price: None,
            per_day: 0,
            max_contexts: 1_000,
            callers: BTreeMap::new(),
            audit: Vec::new(),
            versions: BTreeSet::new(),
            next_version: BTreeMap::new(),
            graphs: BTreeMap::new(),
            closed: Vec::new(),
            next_graph: 1,
            counts: BTreeMap::new(),
            contexts: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_context: 1,
        }
    }

    /// A version, or one that is not there; also one that left contexts behind when it was deleted.
    pub(super) fn version(&self, pick: usize) -> Version {
        let left = self.contexts.values().find(|open| self.context(open.context).is_err());
        let left = left.and_then(|open| Some((*NAMES.iter().find(|n| **n == open.name)?, open.version)));
        self.versions
            .iter()
            .nth(among(pick, self.versions.len()))
            .copied()
            .or(left)
            .unwrap_or((NAMES[0], pick as u64))
    }

    /// An open graph handle, or one that is not.
    pub(super) fn graph(&self, pick: usize) -> u64 {
        let beyond = pick as u64 % (self.next_graph + 2);
        self.graphs.keys().nth(among(pick, self.graphs.len())).copied().unwrap_or(beyond)
    }

    /// An open context, or one that is not.
    pub(super) fn pick_context(&self, pick: usize) -> u64 {
        let beyond = pick as u64 % (self.next_context + 2);
        self.contexts.keys().nth(among(pick, self.contexts.len())).copied().unwrap_or(beyond)
    }

    pub(super) fn today(&self) -> u64 {
        self.now / (24 * HOUR)
    }

    pub(super) fn role(&self, p: Principal) -> Option<Role> {
        self.roles.get(p.as_slice()).copied()
    }

    pub(super) fn admins(&self) -> BTreeSet<Vec<u8>> {
        self.roles.iter().filter(|(_, role)| **role == Role::Admin).map(|(p, _)| p.clone()).collect()
    }

    /// Who is forgotten for a new caller.
    pub(super) fn stale(&self) -> Option<Vec<u8>> {
        let forgettable = self.callers.iter().filter(|(_, c)| c.own.is_none() && c.day < self.today());
        forgettable.min_by_key(|(p, c)| (c.day, (*p).clone())).map(|(p, _)| p.clone())
    }

    pub(super) fn has_room(&self) -> bool {
        (self.callers.len() as u64) < BOUNDS.callers || self.stale().is_some()
    }

    /// The caller's row, made if there is room.
    pub(super) fn caller(&mut self, p: Principal) -> Option<&mut Caller> {
        if !self.callers.contains_key(p.as_slice()) {
            if !self.has_room() {
                return None;
            }
            if self.callers.len() as u64 == BOUNDS.callers {
                let stale = self.stale().unwrap();
                self.callers.remove(&stale);
            }
            self.callers.insert(p.as_slice().to_vec(), Caller { day: self.today(), ..Caller::default() });
        }
        self.callers.get_mut(p.as_slice())
    }

    pub(super) fn quota(&self, p: Principal) -> (Option<u64>, u64) {
        let caller = self.callers.get(p.as_slice()).cloned().unwrap_or_default();
        let default = Some(self.per_day).filter(|&n| n > 0);
        (caller.own.unwrap_or(default), if caller.day == self.today() { caller.spent } else { 0 })
    }

    pub(super) fn context(&self, context: u64) -> Result<OpenContext, ContextError> {
        match (self.contexts.get(&context), self.gone.get(&context)) {
            (Some(open), _) => match self.versions.iter().find(|v| v.0 == open.name && v.1 == open.version) {
                Some(_) => Ok(open.clone()),
                None => {
                    Err(ContextError::Deleted { context, name: open.name.clone(), version: open.version })
                }
            },
            (None, Some(why)) => Err(why.clone()),
            _ if context > 0 && context < self.next_context => Err(ContextError::Finalized { context }),
            _ => Err(ContextError::Unknown { context }),
        }
    }

    /// Closes the handles on a version that goes.
    pub(super) fn close_graphs_of(&mut self, version: Version) {
        let gone = self.graphs.extract_if(.., |_, on| *on == version);
        self.closed.extend(gone);
        let forgotten = self.closed.len().saturating_sub(BOUNDS.deleted_graphs as usize);
        self.closed.drain(..forgotten);
    }

    /// Why a handle leads nowhere.
    pub(super) fn graph_refusal(&self, graph: u64) -> GraphError {
        match self.closed.iter().find(|(closed, _)| *closed == graph) {
            Some((_, (name, version))) => {
                GraphError::Deleted { graph, name: (*name).to_owned(), version: *version }
            }
            None if graph > 0 && graph < self.next_graph => GraphError::Unloaded { graph },
            None => GraphError::Unknown { graph },
        }
    }

    pub(super) fn contexts_of(&self, (name, version): Version) -> Vec<u64> {
        let of = self.contexts.values().filter(|open| open.name == name && open.version == version);
        of.map(|open| open.context).collect()
    }

    pub(super) fn close_of(&mut self, version: Version, at_most: usize) -> Vec<u64> {
        let mut doomed = self.contexts_of(version);
        doomed.truncate(at_most);
        for id in &doomed {
            let (name, version) = (version.0.to_owned(), version.1);
            self.bury(*id, ContextError::Deleted { context: *id, name, version });
        }
        doomed
    }

    fn bury(&mut self, context: u64, why: ContextError) {
        self.contexts.remove(&context);
        self.gone.insert(context, why);
        if self.gone.len() as u64 > BOUNDS.deleted_contexts {
            self.gone.pop_first();
        }
    }

    /// Closes a context that was idle.
    pub(super) fn lapse(&mut self, context: u64) -> Result<OpenContext, ContextError> {
        let told = self.context(context);
        let Some(open) = self.contexts.get(&context).cloned() else { return told };
        let idle_seconds = open.lease.idle_seconds;
        self.bury(context, told.err().unwrap_or(ContextError::Lapsed { context, idle_seconds }));
        Ok(open)
    }
}

pub(super) fn told((name, version): Version, counts: &Counts) -> ModelStatistics {
    let Counts { computed, hits, fail, last_used } = counts;
    let sum: u128 = computed.iter().map(|&n| u128::from(n)).sum();
    ModelStatistics {
        name: name.to_owned(),
        version,
        success: computed.len() as u64 + hits,
        fail: *fail,
        cache_hits: *hits,
        min_instructions: computed.iter().copied().min().unwrap_or(0),
        mean_instructions: (sum / computed.len().max(1) as u128) as u64,
        max_instructions: computed.iter().copied().max().unwrap_or(0),
        last_used: *last_used,
    }
}
