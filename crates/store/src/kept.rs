//! Bytes that are kept without a name: what wasi-nn's `load` is given, for as long as something needs its graph.
//!
//! They are versions like others under a name of the store's own, `@` and a number that is never given again, and
//! version 1. No reference of a caller reaches such a name, and no page of the registry shows it; handles, facts,
//! properties and files are found by it as by any other.

use candid::Principal;
use ic_nn_types::GraphEncoding;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::deletion::Deleted;
use crate::error::LookupError;
use crate::extent::Extent;
use crate::layout::RecordError;
use crate::name::{RESERVED, is_reserved, version_key};
use crate::provenance::{BuildersError, check_builders};
use crate::record::{ProvenanceRecord, VersionRecord};
use crate::room::RoomError;
use crate::store::Store;
use crate::versions::{Version, describe, parse_key};

/// The version of all that is kept.
const VERSION: u64 = 1;

/// Why bytes are not kept. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum KeepError {
    /// No file, or none with a byte.
    #[error("no bytes came; a model has one file at least, and each file one byte")]
    Empty,
    /// The files are empty or too many.
    #[error(transparent)]
    Builders(#[from] BuildersError),
    /// There is no room for them.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Bytes without a name.
impl<M: Memory> Store<M> {
    /// By how many bytes [`Self::keep`] of so many would grow the memory of the model files.
    pub fn keep_grows_by(&self, bytes: u64) -> Result<u64, KeepError> {
        Ok(self.grows_by(self.room_to_keep(bytes)?))
    }

    /// Writes the concatenation of `files` and keeps it under a name of its own, with what the embedder knows about it.
    ///
    /// `sha256` is that of the concatenation, and taken on trust. The bytes count for `max_total_bytes` and
    /// `max_model_bytes`, and not for their owner. Costs 1 instruction a byte and one read of every version's and open
    /// upload's record. `now` is nanoseconds since 1970.
    pub fn keep(
        &mut self,
        files: &[&[u8]],
        sha256: [u8; 32],
        encoding: GraphEncoding,
        owner: Principal,
        facts: &[u8],
        now: u64,
    ) -> Result<Version, KeepError> {
        let sizes: Vec<u64> = files.iter().map(|file| file.len() as u64).collect();
        let bytes = sizes.iter().copied().fold(0, u64::saturating_add);
        let builders = check_builders(&sizes, bytes)?;
        let extent = self.room_to_keep(bytes)?;
        self.grow_to(extent)?;

        let mut next = self.settings.clone();
        let name = format!("{RESERVED}{}", next.next_kept);
        next.next_kept += 1;
        self.write_settings(next);
        let mut offset = extent.offset();
        for file in files {
            self.blobs.write(offset, file);
            offset += file.len() as u64;
        }
        let key = version_key(&name, VERSION);
        let record = VersionRecord {
            bytes,
            sha256,
            extent,
            committed_at: now,
            graph: None,
            encoding,
            retired: false,
            uploader: owner,
            variant: 0,
        };
        self.facts.insert(&key, facts.to_vec());
        self.write_provenance(&key, &ProvenanceRecord { builders, ..Default::default() });
        self.versions.insert(&key, record.encode());
        Ok(describe(&name, VERSION, record))
    }

    /// Takes kept bytes away, with a handle that is open on them. When nothing needs them is the embedder's to decide.
    pub fn discard(&mut self, name: &str) -> Result<Deleted, LookupError> {
        if !is_reserved(name) {
            return Err(LookupError::NotKept { name: name.to_owned() });
        }
        let record = self.version(name, VERSION)?;
        self.remove(name, vec![(VERSION, record)])
    }

    /// Everything that is kept without a name.
    pub fn kept(&self) -> impl Iterator<Item = Result<Version, RecordError>> + '_ {
        self.versions.starting(b"@").map(|(key, value)| {
            let (name, version) = parse_key(&key)?;
            Ok(describe(name, version, VersionRecord::decode(&value)?))
        })
    }

    /// Where a file of `bytes` would be kept.
    fn room_to_keep(&self, bytes: u64) -> Result<Extent, KeepError> {
        if bytes == 0 {
            return Err(KeepError::Empty);
        }
        self.check_model_bytes(bytes)?;
        let open = self.open_uploads().collect::<Result<Vec<_>, _>>()?;
        Ok(self.place(bytes, self.claims(&open, Principal::anonymous())?)?)
    }
}

#[cfg(test)]
mod tests;
