//! Deletion: what leads away from a version goes with it, and its extent is free again.
//!
//! Who deletes proves to know what: by the sha256 of the file. What must never happen here: a record left behind that
//! points to a version that is gone, or a number given again; the name's record keeps the next one.

use candid::Principal;
use ic_nn_types::VersionPolicy;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::closed::ClosedRecord;
use crate::error::{Hex, LookupError};
use crate::layout::RecordError;
use crate::name::{ModelRef, Selector, label_key, version_key};
use crate::record::{NameRecord, VersionRecord};
use crate::store::Store;
use crate::versions::parse_key;

/// What a deletion took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The name.
    pub name: String,
    /// Versions deleted, at least one, oldest first.
    pub versions: Vec<u64>,
    /// Graph handles that were closed with them.
    pub graphs: Vec<u64>,
}

/// Why nothing is deleted.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum DeleteError {
    /// The confirmation is not the sha256 of what would be deleted.
    #[error(
        "to delete {what} of model `{name}`, confirm with the sha256 of version {version}, {}; {} came",
        Hex(.expected), Came(.came)
    )]
    Confirmation {
        /// The name.
        name: String,
        /// How much of it would be deleted.
        what: &'static str,
        /// The version whose sha256 is expected.
        version: u64,
        /// Its sha256.
        expected: [u8; 32],
        /// What came.
        came: Vec<u8>,
    },
    /// There is no such model or version.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// What a reference names for deletion: versions of one name, oldest first, at least one.
type Doomed = Vec<(u64, VersionRecord)>;

/// Deletion. Whether a caller may delete is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Deletes the version that `"name:version"` or `"name@label"` names, or every version of `"name"`, served or not,
    /// with the labels, handles and properties on them, and frees their extents. The numbers are not given again, and the
    /// handles closed last are told from unloaded ones afterwards.
    ///
    /// `confirmation` is the sha256 of the version, or with a bare name that of its newest.
    pub fn delete(&mut self, reference: &str, confirmation: &[u8]) -> Result<Deleted, DeleteError> {
        let (name, doomed) = self.doomed(reference)?;
        let whole = matches!(ModelRef::parse(reference), Ok(ModelRef { selector: Selector::Newest, .. }));
        let what = if whole { "every version" } else { "a version" };
        if let Some((version, record)) = doomed.last().filter(|(_, record)| record.sha256 != confirmation) {
            let (name, came) = (name.to_owned(), confirmation.to_vec());
            return Err(DeleteError::Confirmation {
                name,
                what,
                version: *version,
                expected: record.sha256,
                came,
            });
        }
        Ok(self.remove(name, doomed)?)
    }

    /// Who uploaded what the reference names for deletion; `None` where its versions have different uploaders.
    pub fn uploader_of(&self, reference: &str) -> Result<Option<Principal>, LookupError> {
        let (_, doomed) = self.doomed(reference)?;
        let mut uploaders = doomed.iter().map(|(_, record)| record.uploader);
        let first = uploaders.next();
        Ok(first.filter(|first| uploaders.all(|uploader| uploader == *first)))
    }

    /// Takes versions of `name` away with all that leads to them.
    pub(crate) fn remove(&mut self, name: &str, doomed: Doomed) -> Result<Deleted, LookupError> {
        // Whatever can fail does so before the first write.
        let gone = |version: u64| doomed.iter().any(|(doomed, _)| *doomed == version);
        let mut labels = self.label_rows(name)?;
        labels.retain(|(_, on)| gone(*on));
        let mut record = match self.names.get(name.as_bytes()) {
            Some(bytes) => Some(NameRecord::decode(&bytes)?),
            None => None,
        };
        let mut deleted = Deleted { name: name.to_owned(), versions: Vec::new(), graphs: Vec::new() };
        if let Some(record) = &mut record {
            if self.versions_of(name).count() == doomed.len() {
                record.policy = VersionPolicy::All;
            } else if let VersionPolicy::Specific(versions) = &mut record.policy {
                versions.retain(|version| !gone(*version));
            }
            self.names.insert(name.as_bytes(), record.encode());
        }
        for (label, _) in labels {
            self.labels.remove(&label_key(name, &label));
        }
        for (version, record) in doomed {
            let key = version_key(name, version);
            if let Some(graph) = record.graph {
                self.graphs.remove(&graph.to_be_bytes());
                self.remember_closed(graph, &ClosedRecord { version, name: name.to_owned() });
                deleted.graphs.push(graph);
            }
            let properties: Vec<_> = self.properties.starting(&key).map(|(row, _)| row).collect();
            properties.iter().for_each(|row| self.properties.remove(row));
            self.provenance.remove(&key);
            self.facts.remove(&key);
            self.images.remove(&key);
            self.versions.remove(&key);
            self.forget_statistics(name, version);
            deleted.versions.push(version);
        }
        Ok(deleted)
    }

    /// What a reference names for deletion.
    fn doomed<'a>(&self, reference: &'a str) -> Result<(&'a str, Doomed), LookupError> {
        let ModelRef { name, selector } = ModelRef::parse(reference)?;
        let version = match selector {
            Selector::Version(version) => version,
            Selector::Label(label) => self.labelled(name, label)?,
            Selector::Newest => {
                let all = self
                    .versions_of(name)
                    .map(|(key, value)| Ok((parse_key(&key)?.1, VersionRecord::decode(&value)?)));
                let doomed = all.collect::<Result<Doomed, RecordError>>()?;
                return match doomed.is_empty() {
                    true => Err(self.absent(name, None)?),
                    false => Ok((name, doomed)),
                };
            }
        };
        Ok((name, vec![(version, self.version(name, version)?)]))
    }
}

/// A confirmation that came, in hexadecimal if it can be a sha256.
struct Came<'a>(&'a [u8]);

impl std::fmt::Display for Came<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.len() {
            32 => write!(f, "{}", Hex(self.0)),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests;
