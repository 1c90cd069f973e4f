//! Uploads: begin, chunks in any order and as often as one likes, status, abort.
//!
//! An upload owns one extent from its beginning, so a chunk is written where it will stay. It belongs to the principal
//! that began it. What must never happen here: a chunk written outside its upload's extent, or into an upload that is
//! being committed.

use candid::Principal;
use ic_nn_types::{ChunkRequest, UploadSpec, UploadStatus};
use ic_stable_structures::Memory;

use crate::error::{AbortError, BeginError, ChunkError, UploadError};
use crate::extent::Blob;
use crate::store::Store;

/// Uploads. Whether a caller may upload at all is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Begins an upload for `caller` and reserves the stable memory of its file: the first gap that holds it, else
    /// memory grown at the end.
    ///
    /// If `caller` has an upload of the same name, size, sha256 and chunk size open, answers that one, so that an
    /// interrupted client resumes. Costs one read of every version's and open upload's record. `now` is nanoseconds
    /// since 1970.
    pub fn begin(
        &mut self,
        spec: &UploadSpec,
        caller: Principal,
        now: u64,
    ) -> Result<UploadStatus, BeginError> {
        todo!()
    }

    /// Writes one chunk and notes that it has arrived; a repeated one overwrites.
    ///
    /// Costs 1 instruction a byte, the upload's record and stable page access.
    pub fn put_chunk(
        &mut self,
        request: &ChunkRequest,
        caller: Principal,
    ) -> Result<UploadStatus, ChunkError> {
        todo!()
    }

    /// Where the upload stands.
    pub fn status(&self, upload: u64, caller: Principal) -> Result<UploadStatus, UploadError> {
        todo!()
    }

    /// Closes the upload and frees its extent.
    pub fn abort(&mut self, upload: u64, caller: Principal) -> Result<(), AbortError> {
        todo!()
    }

    /// Who began the upload. A controller aborts anyone's with `abort(id, owner(id)?)`.
    pub fn owner(&self, upload: u64) -> Result<Principal, UploadError> {
        todo!()
    }

    /// The upload's bytes as far as they have arrived, for the trial of a file before it is published. Chunks that have
    /// not arrived read as whatever that memory last held, so ask only between `begin_commit` and `publish`.
    pub fn upload_blob(&self, upload: u64) -> Result<Blob<'_, M>, UploadError> {
        todo!()
    }
}
