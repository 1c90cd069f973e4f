//! Graph handles: a number for a loaded version that stays valid over upgrades and is never given twice.
//!
//! Whether the graph behind a handle is in the heap right now is the embedder's to know.

use std::ops::Bound;

use candid::Principal;
use ic_stable_structures::Memory;

use crate::closed::{CLOSED, ClosedRecord};
use crate::error::{GraphError, LookupError};
use crate::layout::{RecordError, RecordProblem};
use crate::name::version_key;
use crate::record::{GraphRecord, VersionRecord};
use crate::store::Store;

/// An open graph handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGraph {
    /// The handle.
    pub graph: u64,
    /// Model name.
    pub name: String,
    /// Version.
    pub version: u64,
    /// Who had it opened; `None` where that is not known, in a store of a release that did not write it down.
    pub opener: Option<Principal>,
}

/// Graph handles.
impl<M: Memory> Store<M> {
    /// The handle open on the version, or a new one, which is then `opener`'s.
    pub fn open_graph(&mut self, name: &str, version: u64, opener: Principal) -> Result<u64, LookupError> {
        let mut record = self.version(name, version)?;
        if let Some(graph) = record.graph {
            return Ok(graph);
        }
        let mut next = self.settings.clone();
        let graph = next.next_graph;
        next.next_graph += 1;
        self.write_settings(next);
        record.graph = Some(graph);
        self.versions.insert(&version_key(name, version), record.encode());
        let record = GraphRecord { version, name: name.to_owned(), opener: Some(opener) };
        self.graphs.insert(&graph.to_be_bytes(), record.encode());
        Ok(graph)
    }

    /// What the handle stands for.
    pub fn graph(&self, graph: u64) -> Result<OpenGraph, GraphError> {
        if let Some(bytes) = self.graphs.get(&graph.to_be_bytes()) {
            return Ok(GraphRecord::decode(&bytes)?.describe(graph));
        }
        match self.closed_graph(graph)? {
            Some(ClosedRecord { version, name }) => Err(GraphError::Deleted { graph, name, version }),
            None if (1..self.settings.next_graph).contains(&graph) => Err(GraphError::Unloaded { graph }),
            None => Err(GraphError::Unknown { graph }),
        }
    }

    /// Closes the handle and tells what it stood for.
    pub fn close_graph(&mut self, graph: u64) -> Result<OpenGraph, GraphError> {
        let open = self.graph(graph)?;
        let key = version_key(&open.name, open.version);
        let bytes = self.versions.get(&key).ok_or(RecordError::absent(VersionRecord::TABLE))?;
        let record = VersionRecord { graph: None, ..VersionRecord::decode(&bytes)? };
        self.versions.insert(&key, record.encode());
        self.graphs.remove(&graph.to_be_bytes());
        Ok(open)
    }

    /// Every open handle, in order.
    pub fn graphs(&self) -> impl Iterator<Item = Result<OpenGraph, RecordError>> + '_ {
        self.graphs.range(Bound::Unbounded, Bound::Excluded(vec![CLOSED])).map(|(key, value)| {
            let problem = RecordProblem::Field { field: "key" };
            let graph = <[u8; 8]>::try_from(key.as_slice())
                .map_err(|_| RecordError { table: GraphRecord::TABLE, problem })?;
            Ok(GraphRecord::decode(&value)?.describe(u64::from_be_bytes(graph)))
        })
    }
}

impl GraphRecord {
    fn describe(self, graph: u64) -> OpenGraph {
        let GraphRecord { version, name, opener } = self;
        OpenGraph { graph, name, version, opener }
    }
}

#[cfg(test)]
mod tests;
