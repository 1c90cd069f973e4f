//! Versions: look up, list, read, delete.
//!
//! A version never changes after it is published, but for the graph handle that may be open on it. Its number is never
//! given again, even after deletion: the name's record keeps the next one.

use std::ops::Bound;

use candid::Principal;
use ic_nn_types::{ListPage, ListRequest, ModelState, ModelSummary};
use ic_stable_structures::Memory;

use crate::error::{ListError, LookupError};
use crate::extent::Blob;
use crate::layout::{RecordError, RecordProblem};
use crate::name::{ModelRef, ReferenceError, parse_version_key, version_key};
use crate::record::{NameRecord, VersionRecord};
use crate::store::Store;

/// Versions of a page where the request names no limit.
const DEFAULT_PAGE: u32 = 100;

/// Most versions of a page: a summary takes about 200 bytes, so 500 are 100 KB of a reply's 2 MiB.
const MAX_PAGE: u32 = 500;

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
        let ModelRef { name, version } = ModelRef::parse(reference).map_err(LookupError::Reference)?;
        match version {
            Some(version) => self.get(name, version),
            None => match self.newest(name)? {
                Some((version, record)) => Ok(describe(name, version, record)),
                None => Err(self.absent(name, None)?),
            },
        }
    }

    /// Version `version` of `name`.
    pub fn get(&self, name: &str, version: u64) -> Result<Version, LookupError> {
        Ok(describe(name, version, self.version(name, version)?))
    }

    /// What was handed to `publish` with the version.
    pub fn facts(&self, name: &str, version: u64) -> Result<Vec<u8>, LookupError> {
        match self.facts.get(&version_key(name, version)) {
            Some(facts) => Ok(facts),
            None => {
                self.version(name, version)?;
                Err(RecordError::absent("facts").into())
            }
        }
    }

    /// Replaces what the embedder knows about a version; the version itself never changes.
    pub fn set_facts(&mut self, name: &str, version: u64, facts: &[u8]) -> Result<(), LookupError> {
        self.version(name, version)?;
        self.facts.insert(&version_key(name, version), facts.to_vec());
        Ok(())
    }

    /// The version's file.
    pub fn blob(&self, name: &str, version: u64) -> Result<Blob<'_, M>, LookupError> {
        let record = self.version(name, version)?;
        Ok(Blob::new(&self.blobs, record.extent, record.bytes))
    }

    /// A page of versions by name and number. `is_resident` tells whether an open graph handle is in the heap.
    ///
    /// `limit` is brought into 1 to 500; null is 100. Costs one record a version of the page.
    pub fn list(
        &self,
        request: &ListRequest,
        is_resident: &dyn Fn(u64) -> bool,
    ) -> Result<ListPage, ListError> {
        let from = match &request.after {
            None => Bound::Unbounded,
            Some(after) => {
                let ModelRef { name, version } = ModelRef::parse(after).map_err(ListError::After)?;
                let missing = || ListError::After(ReferenceError::VersionMissing { name: name.to_owned() });
                Bound::Excluded(version_key(name, version.ok_or_else(missing)?))
            }
        };
        let limit = request.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
        let mut models: Vec<ModelSummary> = Vec::new();
        let mut next = None;
        for (key, value) in self.versions.range(from, Bound::Unbounded) {
            if let Some(last) = models.last().filter(|_| models.len() == limit) {
                next = Some(format!("{}:{}", last.name, last.version));
                break;
            }
            let (name, version) = parse_key(&key)?;
            let record = VersionRecord::decode(&value)?;
            let state = match record.graph.is_some_and(is_resident) {
                true => ModelState::Loaded,
                false => ModelState::Available,
            };
            models.push(ModelSummary {
                name: name.to_owned(),
                version,
                labels: Vec::new(),
                encoding: None,
                bytes: record.bytes,
                sha256: record.sha256.to_vec(),
                state: Some(state),
                uploader: record.uploader,
                committed_at: record.committed_at,
            });
        }
        Ok(ListPage { models, next })
    }

    /// Deletes `"name:version"`, or every version of `"name"`, with the graph handles open on them, and frees their
    /// extents. The numbers are not given again.
    pub fn delete(&mut self, reference: &str) -> Result<Deleted, LookupError> {
        let ModelRef { name, version } = ModelRef::parse(reference).map_err(LookupError::Reference)?;
        let doomed = match version {
            Some(version) => vec![(version_key(name, version), self.version(name, version)?)],
            None => {
                let all =
                    self.versions_of(name).map(|(key, value)| Ok((key, VersionRecord::decode(&value)?)));
                all.collect::<Result<Vec<_>, RecordError>>()?
            }
        };
        if doomed.is_empty() {
            return Err(self.absent(name, None)?);
        }
        let mut graphs = Vec::new();
        for (key, record) in &doomed {
            if let Some(graph) = record.graph {
                self.graphs.remove(&graph.to_be_bytes());
                graphs.push(graph);
            }
            self.versions.remove(key);
            self.facts.remove(key);
        }
        Ok(Deleted { versions: u32::try_from(doomed.len()).unwrap_or(u32::MAX), graphs })
    }

    /// The record of a version.
    pub(crate) fn version(&self, name: &str, version: u64) -> Result<VersionRecord, LookupError> {
        match self.versions.get(&version_key(name, version)) {
            Some(bytes) => Ok(VersionRecord::decode(&bytes)?),
            None => Err(self.absent(name, Some(version))?),
        }
    }

    /// Keys and records of a name's versions, oldest first.
    fn versions_of(&self, name: &str) -> impl DoubleEndedIterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let (first, last) = (version_key(name, 0), version_key(name, u64::MAX));
        self.versions.range(Bound::Included(first), Bound::Included(last))
    }

    /// A name's newest version.
    fn newest(&self, name: &str) -> Result<Option<(u64, VersionRecord)>, RecordError> {
        let Some((key, value)) = self.versions_of(name).next_back() else {
            return Ok(None);
        };
        Ok(Some((parse_key(&key)?.1, VersionRecord::decode(&value)?)))
    }

    /// Why `name`, or this version of it, is not there.
    fn absent(&self, name: &str, version: Option<u64>) -> Result<LookupError, RecordError> {
        let owned = name.to_owned();
        Ok(match (version, self.newest(name)?, self.names.get(name.as_bytes())) {
            (Some(version), Some((newest, _)), _) => LookupError::NoVersion { name: owned, version, newest },
            (_, _, Some(bytes)) => {
                LookupError::AllDeleted { name: owned, last: NameRecord::decode(&bytes)?.next_version - 1 }
            }
            _ => LookupError::NoModel { name: owned },
        })
    }
}

fn describe(name: &str, version: u64, record: VersionRecord) -> Version {
    Version {
        name: name.to_owned(),
        version,
        bytes: record.bytes,
        sha256: record.sha256,
        uploader: record.uploader,
        committed_at: record.committed_at,
        graph: record.graph,
    }
}

fn parse_key(key: &[u8]) -> Result<(&str, u64), RecordError> {
    let problem = RecordProblem::Field { field: "key" };
    parse_version_key(key).ok_or(RecordError { table: VersionRecord::TABLE, problem })
}

#[cfg(test)]
mod tests;
