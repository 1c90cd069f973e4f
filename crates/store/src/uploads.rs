//! Uploads: begin, status, why a commit failed, abort, and what was left behind.
//!
//! An upload owns one extent from its beginning and belongs to the principal that began it. What must never happen here:
//! an upload that ends while it is being committed.

use std::ops::Bound;

use candid::Principal;
use ic_nn_types::{
    DEFAULT_CHUNK_BYTES, Error, GraphEncoding, MAX_CHUNK_BYTES, Provenance, UploadSpec, UploadStatus,
};
use ic_stable_structures::Memory;

use crate::error::{AbortError, BeginError, UploadError};
use crate::extent::{Blob, Extent};
use crate::layout::{RecordError, RecordProblem};
use crate::name::check_name;
use crate::provenance::{check_builders, check_provenance, upload_key};
use crate::received::Received;
use crate::record::{ProvenanceRecord, UploadRecord};
use crate::room::RoomError;
use crate::store::Store;

/// Smallest chunk: a page of stable memory, so that 4 GiB make at most 65,536 chunks and their bits 8 KiB.
const MIN_CHUNK_BYTES: u32 = 65_536;

/// Most ranges that a status names: 1,000 of 8 bytes are a small reply, and a client asks again when it has sent them.
const MAX_MISSING_RANGES: usize = 1_000;

/// Most bytes of the reason why a commit was refused: an error's text has no more.
const MAX_REASON_BYTES: usize = Error::MAX_DATA_BYTES;

/// What beginning an upload comes to.
enum Plan {
    /// It is open already.
    Resume(u64, UploadRecord),
    /// It takes this extent.
    Begin { sha256: [u8; 32], chunk_bytes: u32, chunks: u32, extent: Extent, builders: Vec<u64> },
}

/// Uploads. Whether a caller may upload at all is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// By how many bytes [`Self::begin`] would grow the memory of the model files: an embedder whose memory cannot refuse
    /// to grow makes sure of them before. Costs what `begin` does.
    pub fn begin_grows_by(
        &self,
        spec: &UploadSpec,
        caller: Principal,
        unlimited: bool,
    ) -> Result<u64, BeginError> {
        Ok(match self.plan(spec, caller, unlimited)? {
            Plan::Resume(..) => 0,
            Plan::Begin { extent, .. } => self.grows_by(extent),
        })
    }

    /// Begins an upload for `caller` and reserves the stable memory of its file: the first gap that holds it, else
    /// memory grown at the end. `max_bytes_per_uploader` does not bind a caller that is `unlimited`.
    ///
    /// If `caller` has an upload of the same name, size, sha256, chunk size, encoding and builders open, answers that
    /// one, with the provenance that it began with, so that an interrupted client resumes. Costs one read of every
    /// version's and open upload's record. `now` is nanoseconds since 1970.
    pub fn begin(
        &mut self,
        spec: &UploadSpec,
        caller: Principal,
        now: u64,
        unlimited: bool,
    ) -> Result<UploadStatus, BeginError> {
        let (sha256, chunk_bytes, chunks, extent, builders) = match self.plan(spec, caller, unlimited)? {
            Plan::Resume(id, mut upload) => {
                upload.active_at = now;
                self.uploads.insert(&id.to_be_bytes(), upload.encode());
                return Ok(status(id, &upload));
            }
            Plan::Begin { sha256, chunk_bytes, chunks, extent, builders } => {
                (sha256, chunk_bytes, chunks, extent, builders)
            }
        };
        self.grow_to(extent)?;

        let mut next = self.settings.clone();
        let id = next.next_upload;
        next.next_upload += 1;
        self.write_settings(next);
        let upload = UploadRecord {
            bytes: spec.bytes,
            sha256,
            extent,
            chunk_bytes,
            began_at: now,
            active_at: now,
            encoding: announced(spec),
            owner: caller,
            name: spec.name.clone(),
            failed: String::new(),
            received: Received::none(chunks),
        };
        let provenance = spec.provenance.clone().unwrap_or_default();
        self.write_provenance(&upload_key(id), &ProvenanceRecord { builders, provenance });
        self.uploads.insert(&id.to_be_bytes(), upload.encode());
        Ok(status(id, &upload))
    }

    /// Where the upload stands.
    pub fn status(&self, upload: u64, caller: Principal) -> Result<UploadStatus, UploadError> {
        let record = self.owned_upload(upload, caller)?;
        Ok(status(upload, &record))
    }

    /// Uploads that are open.
    pub fn open_upload_count(&self) -> u64 {
        self.uploads.len()
    }

    /// Closes the upload and frees its extent.
    pub fn abort(&mut self, upload: u64, caller: Principal) -> Result<(), AbortError> {
        self.owned_upload(upload, caller)?;
        if self.commits.has(upload) {
            return Err(AbortError::Committing { upload });
        }
        self.close_upload(upload);
        Ok(())
    }

    /// Notes why a commit of the upload was refused, cut at 2,000 bytes, until a chunk comes or another commit begins.
    pub fn fail(&mut self, upload: u64, reason: &str) -> Result<(), UploadError> {
        let mut record = self.upload(upload)?;
        record.failed = reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].to_owned();
        self.uploads.insert(&upload.to_be_bytes(), record.encode());
        Ok(())
    }

    /// Closes the uploads that nothing has come for in `abandoned_after_seconds`, but those being committed, and tells
    /// id, owner and name of each. Costs one read of every open upload's record. `now` is nanoseconds since 1970.
    pub fn collect_abandoned(&mut self, now: u64) -> Result<Vec<(u64, Principal, String)>, RecordError> {
        let after = self.settings().abandoned_after_seconds.saturating_mul(1_000_000_000);
        let mut closed = Vec::new();
        for upload in self.open_uploads() {
            let (id, record) = upload?;
            if now.saturating_sub(record.active_at) >= after && !self.commits.has(id) {
                closed.push((id, record.owner, record.name));
            }
        }
        for (id, ..) in &closed {
            self.close_upload(*id);
        }
        Ok(closed)
    }

    /// Who began the upload. A controller aborts anyone's with `abort(id, owner(id)?)`.
    pub fn owner(&self, upload: u64) -> Result<Principal, UploadError> {
        Ok(self.upload(upload)?.owner)
    }

    /// What the upload's file is, as it was announced.
    pub fn upload_encoding(&self, upload: u64) -> Result<GraphEncoding, UploadError> {
        Ok(self.upload(upload)?.encoding)
    }

    /// The upload's bytes as far as they have arrived, for the trial of a file before it is published. Chunks that have
    /// not arrived read as whatever that memory last held, so ask only between `begin_commit` and `publish`.
    pub fn upload_blob(&self, upload: u64) -> Result<Blob<'_, M>, UploadError> {
        let record = self.upload(upload)?;
        Ok(self.file(UploadRecord::TABLE, record.extent, record.bytes)?)
    }

    /// The record of an open upload.
    pub(crate) fn upload(&self, upload: u64) -> Result<UploadRecord, UploadError> {
        match self.uploads.get(&upload.to_be_bytes()) {
            Some(bytes) => Ok(UploadRecord::decode(&bytes)?),
            None if (1..self.settings.next_upload).contains(&upload) => Err(UploadError::Closed { upload }),
            None => Err(UploadError::Unknown { upload }),
        }
    }

    /// The record of an open upload of `caller`.
    pub(crate) fn owned_upload(&self, upload: u64, caller: Principal) -> Result<UploadRecord, UploadError> {
        let record = self.upload(upload)?;
        if record.owner != caller {
            return Err(UploadError::NotOwner { upload });
        }
        Ok(record)
    }

    /// Every open upload, oldest first.
    pub(crate) fn open_uploads(
        &self,
    ) -> impl DoubleEndedIterator<Item = Result<(u64, UploadRecord), RecordError>> + '_ {
        self.open_uploads_from(0)
    }

    /// The open uploads from id `first` on.
    pub(crate) fn open_uploads_from(
        &self,
        first: u64,
    ) -> impl DoubleEndedIterator<Item = Result<(u64, UploadRecord), RecordError>> + '_ {
        let from = Bound::Included(first.to_be_bytes().to_vec());
        self.uploads.range(from, Bound::Unbounded).map(|(key, value)| {
            let field = RecordProblem::Field { field: "key" };
            let id = <[u8; 8]>::try_from(key.as_slice())
                .map_err(|_| RecordError { table: UploadRecord::TABLE, problem: field })?;
            Ok((u64::from_be_bytes(id), UploadRecord::decode(&value)?))
        })
    }

    /// Takes an open upload's records away.
    pub(crate) fn close_upload(&mut self, upload: u64) {
        self.provenance.remove(&upload_key(upload));
        self.uploads.remove(&upload.to_be_bytes());
    }

    /// What beginning an upload comes to; nothing changes.
    fn plan(&self, spec: &UploadSpec, caller: Principal, unlimited: bool) -> Result<Plan, BeginError> {
        check_name(&spec.name)?;
        let sha256: [u8; 32] = match spec.sha256.as_slice().try_into() {
            Ok(sha256) => sha256,
            Err(_) => return Err(BeginError::Sha256Length { came: spec.sha256.len() }),
        };
        if spec.bytes == 0 {
            return Err(BeginError::Empty);
        }
        let chunk_bytes = spec.chunk_bytes.unwrap_or(DEFAULT_CHUNK_BYTES);
        if !(MIN_CHUNK_BYTES..=MAX_CHUNK_BYTES).contains(&chunk_bytes) {
            return Err(BeginError::ChunkBytes { came: chunk_bytes });
        }
        let builders = check_builders(spec.builders.as_deref().unwrap_or_default(), spec.bytes)?;
        check_provenance(spec.provenance.as_ref().unwrap_or(&Provenance::default()))?;

        let mut open = self.open_uploads().collect::<Result<Vec<_>, _>>()?;
        for at in 0..open.len() {
            let (id, u) = &open[at];
            let same = u.owner == caller
                && u.name == spec.name
                && u.bytes == spec.bytes
                && u.sha256 == sha256
                && u.chunk_bytes == chunk_bytes
                && u.encoding == announced(spec);
            if same && self.provenance_record(&upload_key(*id))?.builders == builders {
                let (id, upload) = open.swap_remove(at);
                return Ok(Plan::Resume(id, upload));
            }
        }

        self.check_model_bytes(spec.bytes)?;
        let limit = self.settings().max_model_bytes;
        let chunks = UploadRecord::chunks_for(spec.bytes, chunk_bytes)
            .ok_or(RoomError::ModelTooLarge { bytes: spec.bytes, limit })?;
        let limit = self.settings().max_open_uploads;
        if let Some((oldest, upload)) = open.first().filter(|_| open.len() >= limit as usize) {
            return Err(BeginError::TooManyOpen { limit, oldest: *oldest, owner: upload.owner });
        }
        let claims = self.claims(&open, caller)?;
        if !unlimited {
            self.check_uploader_bytes(spec.bytes, &claims, caller)?;
        }
        let extent = self.place(spec.bytes, claims)?;
        Ok(Plan::Begin { sha256, chunk_bytes, chunks, extent, builders })
    }
}

/// What `spec` says its file is.
fn announced(spec: &UploadSpec) -> GraphEncoding {
    spec.encoding.unwrap_or(GraphEncoding::Autodetect)
}

/// The status of upload `id`.
pub(crate) fn status(id: u64, upload: &UploadRecord) -> UploadStatus {
    UploadStatus {
        upload: id,
        name: upload.name.clone(),
        bytes: upload.bytes,
        sha256: upload.sha256.to_vec(),
        chunk_bytes: upload.chunk_bytes,
        chunks: upload.received.chunks(),
        received: upload.received.count(),
        missing: upload.received.missing(MAX_MISSING_RANGES),
        failed: Some(upload.failed.clone()).filter(|reason| !reason.is_empty()),
    }
}

#[cfg(test)]
mod tests;
