//! Uploads: begin, chunks in any order and as often as one likes, status, abort.
//!
//! An upload owns one extent from its beginning, so a chunk is written where it will stay. It belongs to the principal
//! that began it. What must never happen here: a chunk written outside its upload's extent, or into an upload that is
//! being committed.

use candid::Principal;
use ic_nn_types::{ChunkRequest, MAX_CHUNK_BYTES, UploadSpec, UploadStatus};
use ic_stable_structures::Memory;

use crate::error::{AbortError, BeginError, ChunkError, UploadError};
use crate::extent::{Blob, Extent, PAGE_BYTES, first_fit};
use crate::layout::{RecordError, RecordProblem};
use crate::name::check_name;
use crate::received::Received;
use crate::record::{UploadRecord, VersionRecord};
use crate::store::Store;

/// Smallest chunk: a page of stable memory, so that 4 GiB make at most 65,536 chunks and their bits 8 KiB.
const MIN_CHUNK_BYTES: u32 = 65_536;

/// Most ranges that a status names: 1,000 of 8 bytes are a small reply, and a client asks again when it has sent them.
const MAX_MISSING_RANGES: usize = 1_000;

/// What beginning an upload comes to.
enum Plan {
    /// It is open already.
    Resume(UploadStatus),
    /// It takes this extent.
    Begin { sha256: [u8; 32], chunk_bytes: u32, chunks: u32, extent: Extent },
}

/// Uploads. Whether a caller may upload at all is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// By how many bytes [`Self::begin`] would grow the memory of the model files: an embedder whose memory cannot refuse
    /// to grow makes sure of them before. Costs what `begin` does.
    pub fn begin_grows_by(&self, spec: &UploadSpec, caller: Principal) -> Result<u64, BeginError> {
        Ok(match self.plan(spec, caller)? {
            Plan::Resume(_) => 0,
            Plan::Begin { extent, .. } => {
                extent.end().saturating_sub(self.blobs.size()).saturating_mul(PAGE_BYTES)
            }
        })
    }

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
        let (sha256, chunk_bytes, chunks, extent) = match self.plan(spec, caller)? {
            Plan::Resume(status) => return Ok(status),
            Plan::Begin { sha256, chunk_bytes, chunks, extent } => (sha256, chunk_bytes, chunks, extent),
        };
        let more = extent.end().saturating_sub(self.blobs.size());
        if more > 0 && self.blobs.grow(more) < 0 {
            return Err(BeginError::GrowRefused { bytes: more.saturating_mul(PAGE_BYTES) });
        }

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
            owner: caller,
            name: spec.name.clone(),
            received: Received::none(chunks),
        };
        self.uploads.insert(&id.to_be_bytes(), upload.encode());
        Ok(status(id, &upload))
    }

    /// Writes one chunk and notes that it has arrived; a repeated one overwrites.
    ///
    /// Costs 1 instruction a byte, the upload's record and stable page access.
    pub fn put_chunk(
        &mut self,
        request: &ChunkRequest,
        caller: Principal,
    ) -> Result<UploadStatus, ChunkError> {
        let &ChunkRequest { upload: id, index, ref data } = request;
        let mut upload = self.owned_upload(id, caller)?;
        if self.commits.has(id) {
            return Err(ChunkError::Committing { upload: id });
        }
        let chunks = upload.received.chunks();
        if index >= chunks {
            return Err(ChunkError::Index { upload: id, index, last: chunks.saturating_sub(1) });
        }
        let offset = u64::from(index) * u64::from(upload.chunk_bytes);
        let expected = u64::from(upload.chunk_bytes).min(upload.bytes - offset);
        if data.len() as u64 != expected {
            return Err(ChunkError::Length { upload: id, index, came: data.len(), expected });
        }
        self.blobs.write(upload.extent.offset() + offset, data);
        if upload.received.insert(index) {
            self.uploads.insert(&id.to_be_bytes(), upload.encode());
        }
        Ok(status(id, &upload))
    }

    /// Where the upload stands.
    pub fn status(&self, upload: u64, caller: Principal) -> Result<UploadStatus, UploadError> {
        let record = self.owned_upload(upload, caller)?;
        Ok(status(upload, &record))
    }

    /// Closes the upload and frees its extent.
    pub fn abort(&mut self, upload: u64, caller: Principal) -> Result<(), AbortError> {
        self.owned_upload(upload, caller)?;
        if self.commits.has(upload) {
            return Err(AbortError::Committing { upload });
        }
        self.uploads.remove(&upload.to_be_bytes());
        Ok(())
    }

    /// Who began the upload. A controller aborts anyone's with `abort(id, owner(id)?)`.
    pub fn owner(&self, upload: u64) -> Result<Principal, UploadError> {
        Ok(self.upload(upload)?.owner)
    }

    /// The upload's bytes as far as they have arrived, for the trial of a file before it is published. Chunks that have
    /// not arrived read as whatever that memory last held, so ask only between `begin_commit` and `publish`.
    pub fn upload_blob(&self, upload: u64) -> Result<Blob<'_, M>, UploadError> {
        let record = self.upload(upload)?;
        Ok(Blob::new(&self.blobs, record.extent, record.bytes))
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
    fn open_uploads(&self) -> impl Iterator<Item = Result<(u64, UploadRecord), RecordError>> + '_ {
        self.uploads.iter().map(|(key, value)| {
            let field = RecordProblem::Field { field: "key" };
            let id = <[u8; 8]>::try_from(key.as_slice())
                .map_err(|_| RecordError { table: UploadRecord::TABLE, problem: field })?;
            Ok((u64::from_be_bytes(id), UploadRecord::decode(&value)?))
        })
    }

    /// What beginning an upload comes to; nothing changes.
    fn plan(&self, spec: &UploadSpec, caller: Principal) -> Result<Plan, BeginError> {
        check_name(&spec.name)?;
        let sha256: [u8; 32] = match spec.sha256.as_slice().try_into() {
            Ok(sha256) => sha256,
            Err(_) => return Err(BeginError::Sha256Length { came: spec.sha256.len() }),
        };
        if spec.bytes == 0 {
            return Err(BeginError::Empty);
        }
        let chunk_bytes = spec.chunk_bytes.unwrap_or(MAX_CHUNK_BYTES);
        if !(MIN_CHUNK_BYTES..=MAX_CHUNK_BYTES).contains(&chunk_bytes) {
            return Err(BeginError::ChunkBytes { came: chunk_bytes });
        }

        let open = self.open_uploads().collect::<Result<Vec<_>, _>>()?;
        let same = open.iter().find(|(_, u)| {
            u.owner == caller
                && u.name == spec.name
                && u.bytes == spec.bytes
                && u.sha256 == sha256
                && u.chunk_bytes == chunk_bytes
        });
        if let Some((id, upload)) = same {
            return Ok(Plan::Resume(status(*id, upload)));
        }

        let settings = self.settings();
        if spec.bytes > settings.max_model_bytes {
            return Err(BeginError::ModelTooLarge { bytes: spec.bytes, limit: settings.max_model_bytes });
        }
        let chunks = UploadRecord::chunks_for(spec.bytes, chunk_bytes)
            .ok_or(BeginError::ModelTooLarge { bytes: spec.bytes, limit: settings.max_model_bytes })?;
        if let Some((oldest, upload)) =
            open.first().filter(|_| open.len() >= settings.max_open_uploads as usize)
        {
            let (limit, owner) = (settings.max_open_uploads, upload.owner);
            return Err(BeginError::TooManyOpen { limit, oldest: *oldest, owner });
        }
        let extent = self.place(spec.bytes, open.iter().map(|(_, u)| u.extent), settings.max_total_bytes)?;
        Ok(Plan::Begin { sha256, chunk_bytes, chunks, extent })
    }

    /// Finds room for `bytes` beside the extents of the open uploads and all versions; it may end behind the memory's
    /// end. Room that no record claims later is free again by itself.
    fn place(
        &self,
        bytes: u64,
        uploads: impl Iterator<Item = Extent>,
        max_total_bytes: u64,
    ) -> Result<Extent, BeginError> {
        let mut taken: Vec<Extent> = uploads.collect();
        for (_, value) in self.versions.iter() {
            taken.push(VersionRecord::decode(&value)?.extent);
        }
        let pages = Extent::pages_for(bytes);
        let needed = pages.saturating_mul(PAGE_BYTES);
        let taken_bytes = taken.iter().map(|extent| extent.bytes()).fold(0, u64::saturating_add);
        if taken_bytes.saturating_add(needed) > max_total_bytes {
            return Err(BeginError::TotalTooLarge { needed, taken: taken_bytes, limit: max_total_bytes });
        }
        Ok(first_fit(&mut taken, pages))
    }
}

/// The status of upload `id`.
fn status(id: u64, upload: &UploadRecord) -> UploadStatus {
    UploadStatus {
        upload: id,
        name: upload.name.clone(),
        bytes: upload.bytes,
        sha256: upload.sha256.to_vec(),
        chunk_bytes: upload.chunk_bytes,
        chunks: upload.received.chunks(),
        received: upload.received.count(),
        missing: upload.received.missing(MAX_MISSING_RANGES),
        failed: None,
    }
}

#[cfg(test)]
mod tests;
