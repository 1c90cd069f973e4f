//! Where a file comes from, and of how many files it is the concatenation.
//!
//! Both are told when its upload begins and move to the version with its extent. They have a table of their own, in which
//! a file that has nothing to tell has no record. The store judges neither a licence nor what the files hold.

use std::collections::BTreeSet;

use ic_nn_types::Provenance;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::error::{LookupError, UploadError};
use crate::layout::{RecordError, RecordProblem};
use crate::name::version_key;
use crate::record::ProvenanceRecord;
use crate::store::Store;

/// Most bytes of a provenance's texts together: 16 KiB hold the text of any licence in common use, and 65,536 versions
/// of it are 1 GiB of 60.
pub const MAX_PROVENANCE_BYTES: usize = 16 << 10;

/// Most pairs of a provenance's metadata.
pub const MAX_METADATA_PAIRS: usize = 64;

/// Most files that a model is the concatenation of.
pub const MAX_BUILDERS: usize = 64;

/// Why a provenance is refused.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum ProvenanceError {
    /// Its texts are too long.
    #[error(
        "provenance has {bytes} bytes; at most {MAX_PROVENANCE_BYTES} are allowed in all its texts together"
    )]
    TooLong {
        /// Bytes of all its texts.
        bytes: usize,
    },
    /// Too many pairs.
    #[error("provenance has {came} metadata pairs; at most {MAX_METADATA_PAIRS} are allowed")]
    Pairs {
        /// Pairs that came.
        came: usize,
    },
    /// A pair has no key.
    #[error("the key of the metadata pair {at} of provenance is empty; give it one")]
    EmptyKey {
        /// Which pair, from 0.
        at: usize,
    },
    /// A key occurs twice.
    #[error("the metadata pair {at} of provenance repeats the key {key:?}; each key is given once")]
    RepeatedKey {
        /// Which pair, from 0.
        at: usize,
        /// The key.
        key: String,
    },
}

/// Why the sizes of a model's files are refused.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum BuildersError {
    /// Too many files.
    #[error("a model of {came} files came; at most {MAX_BUILDERS} are allowed")]
    Count {
        /// Files that came.
        came: usize,
    },
    /// A file of no bytes.
    #[error("file {at} of the model's builders has 0 bytes; each has at least one")]
    Empty {
        /// Which file, from 0.
        at: usize,
    },
    /// The sizes are not those of the whole.
    #[error("the model's builders have {sum} bytes together; bytes is {bytes}, and both must be the same")]
    Sum {
        /// Their sum.
        sum: u128,
        /// Bytes of the whole file.
        bytes: u64,
    },
}

/// Provenance and builders.
impl<M: Memory> Store<M> {
    /// Where a version comes from, as its uploader told.
    pub fn provenance(&self, name: &str, version: u64) -> Result<Provenance, LookupError> {
        self.version(name, version)?;
        Ok(self.provenance_record(&version_key(name, version))?.provenance)
    }

    /// Bytes of each file that a version is the concatenation of; one where it is a single file.
    pub fn builders(&self, name: &str, version: u64) -> Result<Vec<u64>, LookupError> {
        let bytes = self.version(name, version)?.bytes;
        Ok(whole(self.provenance_record(&version_key(name, version))?.builders, bytes)?)
    }

    /// Bytes of each file that an open upload is the concatenation of; one where it is a single file.
    pub fn upload_builders(&self, upload: u64) -> Result<Vec<u64>, UploadError> {
        let bytes = self.upload(upload)?.bytes;
        Ok(whole(self.provenance_record(&upload_key(upload))?.builders, bytes)?)
    }

    /// The record under `key`, or the one that says nothing.
    pub(crate) fn provenance_record(&self, key: &[u8]) -> Result<ProvenanceRecord, RecordError> {
        self.provenance
            .get(key)
            .map_or_else(|| Ok(Default::default()), |bytes| ProvenanceRecord::decode(&bytes))
    }

    /// Writes `record` under `key` if it says anything.
    pub(crate) fn write_provenance(&mut self, key: &[u8], record: &ProvenanceRecord) {
        if *record != ProvenanceRecord::default() {
            self.provenance.insert(key, record.encode());
        }
    }
}

/// Key of an open upload's record.
pub(crate) fn upload_key(upload: u64) -> Vec<u8> {
    version_key("", upload)
}

/// Holds `provenance` to its limits.
pub(crate) fn check_provenance(provenance: &Provenance) -> Result<(), ProvenanceError> {
    let Provenance { licence, source, metadata } = provenance;
    if metadata.len() > MAX_METADATA_PAIRS {
        return Err(ProvenanceError::Pairs { came: metadata.len() });
    }
    let texts = licence.iter().chain(source).chain(metadata.iter().flat_map(|(key, value)| [key, value]));
    let bytes = texts.map(String::len).sum();
    if bytes > MAX_PROVENANCE_BYTES {
        return Err(ProvenanceError::TooLong { bytes });
    }
    let mut keys = BTreeSet::new();
    for (at, (key, _)) in metadata.iter().enumerate() {
        if key.is_empty() {
            return Err(ProvenanceError::EmptyKey { at });
        }
        if !keys.insert(key) {
            return Err(ProvenanceError::RepeatedKey { at, key: key.clone() });
        }
    }
    Ok(())
}

/// Holds the sizes of a model's files to its `bytes`, and gives them as they are stored: none for one file.
pub(crate) fn check_builders(builders: &[u64], bytes: u64) -> Result<Vec<u64>, BuildersError> {
    if builders.len() > MAX_BUILDERS {
        return Err(BuildersError::Count { came: builders.len() });
    }
    if let Some(at) = builders.iter().position(|&bytes| bytes == 0) {
        return Err(BuildersError::Empty { at });
    }
    let sum = builders.iter().map(|&bytes| u128::from(bytes)).sum();
    match builders.len() {
        1.. if sum != u128::from(bytes) => Err(BuildersError::Sum { sum, bytes }),
        2.. => Ok(builders.to_vec()),
        _ => Ok(Vec::new()),
    }
}

/// Stored builders as they are told: what is stored must make up the whole file, since it is read by them.
fn whole(builders: Vec<u64>, bytes: u64) -> Result<Vec<u64>, RecordError> {
    let problem = RecordProblem::Field { field: "builders" };
    match check_builders(&builders, bytes) {
        Ok(stored) if stored.is_empty() => Ok(vec![bytes]),
        Ok(stored) => Ok(stored),
        Err(_) => Err(RecordError { table: ProvenanceRecord::TABLE, problem }),
    }
}

#[cfg(test)]
mod tests;
