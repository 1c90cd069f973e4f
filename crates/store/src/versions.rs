//! Versions: look up, list, read, delete.
//!
//! A version never changes after it is published, but for the graph handle that may be open on it. Its number is never
//! given again, even after deletion: the name's record keeps the next one.

use candid::Principal;
use ic_nn_types::{ListPage, ListRequest};
use ic_stable_structures::Memory;

use crate::error::{ListError, LookupError};
use crate::extent::Blob;
use crate::store::Store;

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Model name.
    pub name: String,
    /// Version, from 1.
    pub version: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// sha256 of the file.
    pub sha256: [u8; 32],
    /// Who uploaded it.
    pub uploader: Principal,
    /// When it was published, nanoseconds since 1970.
    pub committed_at: u64,
    /// The graph handle that is open on it.
    pub graph: Option<u64>,
}

/// What a deletion took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Versions deleted, at least 1.
    pub versions: u32,
    /// Graph handles that were closed with them.
    pub graphs: Vec<u64>,
}

/// The registry. Whether a caller may delete is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// The version that `"name"` (its newest) or `"name:version"` names.
    pub fn resolve(&self, reference: &str) -> Result<Version, LookupError> {
        todo!()
    }

    /// Version `version` of `name`.
    pub fn get(&self, name: &str, version: u64) -> Result<Version, LookupError> {
        todo!()
    }

    /// What was handed to `publish` with the version.
    pub fn facts(&self, name: &str, version: u64) -> Result<Vec<u8>, LookupError> {
        todo!()
    }

    /// The version's file.
    pub fn blob(&self, name: &str, version: u64) -> Result<Blob<'_, M>, LookupError> {
        todo!()
    }

    /// A page of versions by name and number. `is_resident` tells whether an open graph handle is in the heap.
    ///
    /// `limit` is brought into 1 to 500; null is 100. Costs one record a version of the page.
    pub fn list(
        &self,
        request: &ListRequest,
        is_resident: &dyn Fn(u64) -> bool,
    ) -> Result<ListPage, ListError> {
        todo!()
    }

    /// Deletes `"name:version"`, or every version of `"name"`, with the graph handles open on them, and frees their
    /// extents. The numbers are not given again.
    pub fn delete(&mut self, reference: &str) -> Result<Deleted, LookupError> {
        todo!()
    }
}
