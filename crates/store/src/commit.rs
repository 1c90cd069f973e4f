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
use ic_nn_types::ModelVersion;
use ic_stable_structures::Memory;
use sha2::Sha256;

use crate::error::CommitError;
use crate::store::Store;

/// The commits under way: upload and token. Tokens are never reused while the heap lives.
#[derive(Default)]
pub(crate) struct Commits {
    under_way: Vec<(u64, u64)>,
    last_token: u64,
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
}

impl Verified {
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
    pub fn begin_commit(&mut self, upload: u64, caller: Principal) -> Result<Commit, CommitError> {
        todo!()
    }

    /// Hashes up to `at_most` further bytes of the file, in whole buffers of 1 MiB; `None` where bytes are left for the
    /// next message, and the proof when the sha256 is the announced one.
    pub fn verify(&self, commit: &mut Commit, at_most: u64) -> Result<Option<Verified>, CommitError> {
        todo!()
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
        todo!()
    }

    /// Ends a commit without publishing, and leaves the upload open. Ending it again, or after `publish`, does nothing.
    pub fn end_commit(&mut self, commit: &Commit) {
        todo!()
    }
}
