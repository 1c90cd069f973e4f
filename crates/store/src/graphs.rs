//! Graph handles: a number for a loaded version that stays valid over upgrades and is never given twice.
//!
//! Whether the graph behind a handle is in the heap right now is the embedder's to know.

use ic_stable_structures::Memory;

use crate::error::{GraphError, LookupError};
use crate::layout::RecordError;
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
}

/// Graph handles.
impl<M: Memory> Store<M> {
    /// The handle open on the version, or a new one.
    pub fn open_graph(&mut self, name: &str, version: u64) -> Result<u64, LookupError> {
        todo!()
    }

    /// What the handle stands for.
    pub fn graph(&self, graph: u64) -> Result<OpenGraph, GraphError> {
        todo!()
    }

    /// Closes the handle and tells what it stood for.
    pub fn close_graph(&mut self, graph: u64) -> Result<OpenGraph, GraphError> {
        todo!()
    }

    /// Every open handle, in order.
    pub fn graphs(&self) -> impl Iterator<Item = Result<OpenGraph, RecordError>> + '_ {
        std::iter::empty()
    }
}
