//! Versions: what a reference leads to, and what is read of it.
//!
//! A version never changes after it is published, but for the graph handle that may be open on it, whether it is
//! retired, and what is made of it ([`Version::variant`]). Its number is never given again, even after deletion: the name's record keeps the next one.

use std::ops::Bound;

use candid::Principal;
use ic_nn_types::GraphEncoding;
use ic_stable_structures::Memory;

use crate::error::LookupError;
use crate::extent::Blob;
use crate::layout::{RecordError, RecordProblem};
use crate::name::{
    ModelRef, ReferenceError, Selector, check_name, is_reserved, parse_version_key, version_key,
};
use crate::record::{NameRecord, VersionRecord};
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
    /// What its file is, as its uploader told or the trial found.
    pub encoding: GraphEncoding,
    /// Whether it was taken out of service by `retire`.
    pub retired: bool,
    /// What the embedder makes of the file, by its own numbers; 0, as after the upload, is the file as it is.
    pub variant: u8,
}

impl Version {
    /// Whether it is kept without a name, as what wasi-nn's `load` brings.
    pub fn is_anonymous(&self) -> bool {
        is_reserved(&self.name)
    }
}

/// Look-ups.
impl<M: Memory> Store<M> {
    /// A version whose file has this sha256, kept ones too. Costs one read of every version's record up to it.
    pub fn by_content(&self, sha256: &[u8; 32]) -> Result<Option<Version>, RecordError> {
        for (key, value) in self.versions.iter() {
            let record = VersionRecord::decode(&value)?;
            if record.sha256 == *sha256 {
                let (name, version) = parse_key(&key)?;
                return Ok(Some(describe(name, version, record)));
            }
        }
        Ok(None)
    }

    /// Says what is made of a version's file, with the facts that are then true of it.
    pub fn set_variant(
        &mut self,
        name: &str,
        version: u64,
        variant: u8,
        facts: &[u8],
    ) -> Result<(), LookupError> {
        let record = VersionRecord { variant, ..self.version(name, version)? };
        self.set_facts(name, version, facts)?;
        self.versions.insert(&version_key(name, version), record.encode());
        Ok(())
    }

    /// The versions of a name that are served, oldest first. Costs one read of each of its versions' records.
    pub fn served_versions(&self, name: &str) -> Result<Vec<u64>, LookupError> {
        let serving = self.serving(name)?;
        let mut served = Vec::new();
        for (key, value) in self.versions_of(name) {
            let (version, record) = (parse_key(&key)?.1, VersionRecord::decode(&value)?);
            if serving.unserved(version, record.retired).is_none() {
                served.push(version);
            }
        }
        Ok(served)
    }

    /// The sha256 of the file of every version of a name; those that cannot be read are left out.
    pub fn contents_of(&self, name: &str) -> Vec<[u8; 32]> {
        self.versions_of(name)
            .filter_map(|(_, value)| Some(VersionRecord::decode(&value).ok()?.sha256))
            .collect()
    }

    /// The version to use that `"name"` (the newest that is served), `"name:version"` or `"name@label"` names. One that is
    /// not served is an error that says why.
    pub fn resolve(&self, reference: &str) -> Result<Version, LookupError> {
        let ModelRef { name, selector } = ModelRef::parse(reference)?;
        let version = match selector {
            Selector::Newest => return self.get(name, self.latest(name, &self.serving(name)?)?),
            Selector::Version(version) => version,
            Selector::Label(label) => self.labelled(name, label)?,
        };
        let record = self.version(name, version)?;
        self.check_served(name, version, record.retired)?;
        Ok(describe(name, version, record))
    }

    /// The version that a reference names, served or not: `"name"` is its newest. For what is told about versions and done
    /// to them; what uses one calls [`Self::resolve`].
    pub fn resolve_any(&self, reference: &str) -> Result<Version, LookupError> {
        let ModelRef { name, selector } = ModelRef::parse(reference)?;
        match selector {
            Selector::Version(version) => self.get(name, version),
            Selector::Label(label) => self.get(name, self.labelled(name, label)?),
            Selector::Newest => match self.newest(name)? {
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
        Ok(self.file(VersionRecord::TABLE, record.extent, record.bytes)?)
    }

    /// The record of a version.
    pub(crate) fn version(&self, name: &str, version: u64) -> Result<VersionRecord, LookupError> {
        match self.versions.get(&version_key(name, version)) {
            Some(bytes) => Ok(VersionRecord::decode(&bytes)?),
            None => Err(self.absent(name, Some(version))?),
        }
    }

    /// The record of a version of a name that a caller can have.
    pub(crate) fn named_version(&self, name: &str, version: u64) -> Result<VersionRecord, LookupError> {
        check_name(name).map_err(ReferenceError::Name)?;
        self.version(name, version)
    }

    /// Keys and records of a name's versions, oldest first.
    pub(crate) fn versions_of(&self, name: &str) -> impl DoubleEndedIterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let (first, last) = (version_key(name, 0), version_key(name, u64::MAX));
        self.versions.range(Bound::Included(first), Bound::Included(last))
    }

    /// A name's newest version.
    pub(crate) fn newest(&self, name: &str) -> Result<Option<(u64, VersionRecord)>, RecordError> {
        let Some((key, value)) = self.versions_of(name).next_back() else {
            return Ok(None);
        };
        Ok(Some((parse_key(&key)?.1, VersionRecord::decode(&value)?)))
    }

    /// Why `name`, or this version of it, is not there.
    pub(crate) fn absent(&self, name: &str, version: Option<u64>) -> Result<LookupError, RecordError> {
        let owned = name.to_owned();
        if is_reserved(name) {
            return Ok(LookupError::Discarded { name: owned });
        }
        Ok(match (version, self.newest(name)?, self.names.get(name.as_bytes())) {
            (Some(version), Some((newest, _)), _) => LookupError::NoVersion { name: owned, version, newest },
            (_, _, Some(bytes)) => {
                LookupError::AllDeleted { name: owned, last: NameRecord::decode(&bytes)?.next_version - 1 }
            }
            _ => LookupError::NoModel { name: owned },
        })
    }
}

pub(crate) fn describe(name: &str, version: u64, record: VersionRecord) -> Version {
    Version {
        name: name.to_owned(),
        version,
        bytes: record.bytes,
        sha256: record.sha256,
        uploader: record.uploader,
        committed_at: record.committed_at,
        graph: record.graph,
        encoding: record.encoding,
        retired: record.retired,
        variant: record.variant,
    }
}

/// Name and version of a key of the versions table.
pub(crate) fn parse_key(key: &[u8]) -> Result<(&str, u64), RecordError> {
    let problem = RecordProblem::Field { field: "key" };
    parse_version_key(key).ok_or(RecordError { table: VersionRecord::TABLE, problem })
}

#[cfg(test)]
mod tests;
