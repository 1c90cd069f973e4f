//! Commit: an upload becomes the next version of its name.
//!
//! ```text
//! begin_commit ─► verify (as often as it takes) ─► the embedder tries the file ─► publish
//!       └──────────────── on any failure: end_commit, the upload stays open ───────────┘
//! ```
//!
//! While a commit is under way the upload cannot change: chunks, abort and another commit are refused. That state is
//! kept in the heap, not in stable memory: an upgrade or a trap that rolls the heap back ends the commit and the upload
//! is open again, so nothing can wedge it. An embedder that awaits between these calls holds a guard whose drop calls
//! [`Store::end_commit`], which also runs when a callback traps. What must never happen here: a version whose bytes are
//! not the bytes that were hashed.

use candid::Principal;
use ic_nn_types::{GraphEncoding, ModelVersion};
use ic_stable_structures::Memory;
use sha2::{Digest, Sha256};

use crate::error::CommitError;
use crate::name::version_key;
use crate::provenance::upload_key;
use crate::record::{NameRecord, UploadRecord, VersionRecord};
use crate::store::Store;

/// What [`Store::verify`] may hash in one update message: 256 MiB.
///
/// The sha2 crate takes 76 wasm instructions a byte built with opt-level 3 and 112 built for size; reading stable memory
/// takes 1, and 1.2 for pages at 5,000 per 4 KiB. At 115 a byte, 256 MiB are 31 B of the 40 B that an update has.
pub const VERIFY_BYTES_PER_MESSAGE: u64 = 256 << 20;

/// Bytes read from stable memory at a time: large beside the 20 instructions of a read, small beside the heap.
const BUFFER_BYTES: u64 = 1 << 20;

/// Ranges of missing chunks that an error names.
const MISSING_NAMED: usize = 8;

/// The commits under way: upload and token. Tokens are never reused while the heap lives.
#[derive(Default)]
pub(crate) struct Commits {
    under_way: Vec<(u64, u64)>,
    last_token: u64,
}

impl Commits {
    /// Whether the upload is being committed.
    pub(crate) fn has(&self, upload: u64) -> bool {
        self.under_way.iter().any(|&(id, _)| id == upload)
    }

    fn begin(&mut self, upload: u64) -> u64 {
        self.last_token += 1;
        self.under_way.push((upload, self.last_token));
        self.last_token
    }

    /// The error if this commit is not under way any more.
    fn check(&self, upload: u64, token: u64) -> Result<(), CommitError> {
        match self.under_way.contains(&(upload, token)) {
            true => Ok(()),
            false => Err(CommitError::Ended { upload }),
        }
    }

    fn end(&mut self, upload: u64, token: u64) {
        self.under_way.retain(|&commit| commit != (upload, token));
    }
}

/// A commit under way.
#[derive(Clone)]
pub struct Commit {
    upload: u64,
    token: u64,
    hasher: Sha256,
    hashed: u64,
}

impl Commit {
    /// The upload that is being committed.
    pub fn upload(&self) -> u64 {
        self.upload
    }
}

/// Proof that the upload's bytes have the announced sha256. Holds for as long as its commit is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    upload: u64,
    token: u64,
    sha256: [u8; 32],
    bytes: u64,
    found: Option<GraphEncoding>,
}

impl Verified {
    /// The same with the encoding that the trial found the file to have, which the version gets instead of the one that
    /// was announced.
    pub fn found(self, encoding: GraphEncoding) -> Self {
        Verified { found: Some(encoding), ..self }
    }

    /// The upload.
    pub fn upload(&self) -> u64 {
        self.upload
    }

    /// sha256 of its bytes, computed here.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Commits.
impl<M: Memory> Store<M> {
    /// Starts to commit an upload whose chunks have all arrived. From here to `publish` or `end_commit` it cannot change.
    /// Forgets why the last commit was refused.
    pub fn begin_commit(&mut self, upload: u64, caller: Principal) -> Result<Commit, CommitError> {
        let mut record = self.owned_upload(upload, caller)?;
        if self.commits.has(upload) {
            return Err(CommitError::Committing { upload });
        }
        let (chunks, count) = (record.received.chunks(), record.received.count());
        if count != chunks {
            let first = record.received.missing(MISSING_NAMED);
            return Err(CommitError::Missing { upload, count: chunks - count, chunks, first });
        }
        if !record.failed.is_empty() {
            record.failed.clear();
            self.uploads.insert(&upload.to_be_bytes(), record.encode());
        }
        Ok(Commit { upload, token: self.commits.begin(upload), hasher: Sha256::new(), hashed: 0 })
    }

    /// Hashes up to `at_most` further bytes of the file, in whole buffers of 1 MiB; `None` where bytes are left for the
    /// next message, and the proof when the sha256 is the announced one. See [`VERIFY_BYTES_PER_MESSAGE`] for the cost.
    pub fn verify(&self, commit: &mut Commit, at_most: u64) -> Result<Option<Verified>, CommitError> {
        let &mut Commit { upload, token, .. } = commit;
        self.commits.check(upload, token)?;
        let record = self.upload(upload)?;
        let file = self.file(UploadRecord::TABLE, record.extent, record.bytes)?;
        let end = record.bytes.min(commit.hashed.saturating_add(at_most.max(1)));
        let mut buffer = vec![0; record.bytes.min(BUFFER_BYTES) as usize];
        while commit.hashed < end {
            let part = &mut buffer[..(record.bytes - commit.hashed).min(BUFFER_BYTES) as usize];
            file.read(commit.hashed, part)?;
            commit.hasher.update(&*part);
            commit.hashed += part.len() as u64;
        }
        if commit.hashed < record.bytes {
            return Ok(None);
        }
        let computed: [u8; 32] = commit.hasher.clone().finalize().into();
        match computed == record.sha256 {
            true => Ok(Some(Verified { upload, token, sha256: computed, bytes: record.bytes, found: None })),
            false => Err(CommitError::Sha256 { upload, computed, announced: record.sha256 }),
        }
    }

    /// Makes the upload the next version of its name, with what the embedder knows about it, and closes the upload. The
    /// extent moves, nothing is copied. Publishing the same bytes again makes a further version.
    ///
    /// `now` is nanoseconds since 1970. The commit ends here.
    pub fn publish(
        &mut self,
        verified: Verified,
        facts: &[u8],
        now: u64,
    ) -> Result<ModelVersion, CommitError> {
        let Verified { upload, token, sha256, found, .. } = verified;
        self.commits.check(upload, token)?;
        let record = self.upload(upload)?;
        let name = record.name;
        let mut of_name = match self.names.get(name.as_bytes()) {
            Some(bytes) => NameRecord::decode(&bytes)?,
            None => NameRecord::first(),
        };
        let version = of_name.next_version;
        of_name.next_version += 1;
        let provenance = self.provenance_record(&upload_key(upload))?;
        // INVARIANT: the extent passes from the upload's record to the version's within this call, so it is never
        // claimed twice or by none when a message ends.
        let key = version_key(&name, version);
        self.names.insert(name.as_bytes(), of_name.encode());
        self.facts.insert(&key, facts.to_vec());
        let published = VersionRecord {
            bytes: record.bytes,
            sha256,
            extent: record.extent,
            committed_at: now,
            graph: None,
            encoding: found.unwrap_or(record.encoding),
            retired: false,
            uploader: record.owner,
            variant: 0,
        };
        self.versions.insert(&key, published.encode());
        self.write_provenance(&key, &provenance);
        self.close_upload(upload);
        self.commits.end(upload, token);
        Ok(ModelVersion { name, version, sha256: sha256.to_vec() })
    }

    /// Ends a commit without publishing, and leaves the upload open. Ending it again, or after `publish`, does nothing.
    pub fn end_commit(&mut self, commit: &Commit) {
        self.commits.end(commit.upload, commit.token);
    }
}

#[cfg(test)]
mod tests;
