//! Chunks: in any order and as often as one likes, by index or one after the other.
//!
//! A chunk is written where it will stay. What must never happen here: a chunk written outside its upload's extent, or
//! into an upload that is being committed.

use candid::Principal;
use ic_nn_types::{ChunkRequest, UploadStatus};
use ic_stable_structures::Memory;

use crate::error::{AppendError, ChunkError, UploadError};
use crate::record::UploadRecord;
use crate::store::Store;
use crate::uploads::status;

/// Chunks. `now` is nanoseconds since 1970; it is when the upload was active last.
impl<M: Memory> Store<M> {
    /// Writes one chunk and notes that it has arrived; a repeated one overwrites. Forgets why a commit was refused.
    ///
    /// Costs 1 instruction a byte, the upload's record and stable page access.
    pub fn put_chunk(
        &mut self,
        request: &ChunkRequest,
        caller: Principal,
        now: u64,
    ) -> Result<UploadStatus, ChunkError> {
        let &ChunkRequest { upload, index, ref data } = request;
        let record = self.owned_upload(upload, caller)?;
        self.write_chunk((upload, record), index, data, now)
    }

    /// Puts `data` as the first missing chunk of the newest open upload of `caller`: chunks in order, from a client that
    /// knows neither id nor index.
    pub fn append(&mut self, data: &[u8], caller: Principal, now: u64) -> Result<UploadStatus, AppendError> {
        let (upload, record) = self.newest_upload(caller)?;
        match record.received.missing(1).first() {
            Some(range) => Ok(self.write_chunk((upload, record), range.first, data, now)?),
            None => Err(AppendError::Complete { upload, chunks: record.received.chunks() }),
        }
    }

    /// Puts `data` as chunk `index`, from 0, of the newest open upload of `caller`.
    pub fn append_at(
        &mut self,
        index: u32,
        data: &[u8],
        caller: Principal,
        now: u64,
    ) -> Result<UploadStatus, AppendError> {
        let upload = self.newest_upload(caller)?;
        Ok(self.write_chunk(upload, index, data, now)?)
    }

    /// The newest open upload of `caller`. Costs one record of every newer one of others.
    fn newest_upload(&self, caller: Principal) -> Result<(u64, UploadRecord), AppendError> {
        for upload in self.open_uploads().rev() {
            let (id, record) = upload.map_err(|error| ChunkError::Upload(UploadError::Record(error)))?;
            if record.owner == caller {
                return Ok((id, record));
            }
        }
        Err(AppendError::NoUpload { caller })
    }

    fn write_chunk(
        &mut self,
        (upload, mut record): (u64, UploadRecord),
        index: u32,
        data: &[u8],
        now: u64,
    ) -> Result<UploadStatus, ChunkError> {
        if self.commits.has(upload) {
            return Err(ChunkError::Committing { upload });
        }
        let chunks = record.received.chunks();
        if index >= chunks {
            return Err(ChunkError::Index { upload, index, last: chunks.saturating_sub(1) });
        }
        let offset = u64::from(index) * u64::from(record.chunk_bytes);
        let expected = u64::from(record.chunk_bytes).min(record.bytes - offset);
        if data.len() as u64 != expected {
            return Err(ChunkError::Length { upload, index, came: data.len(), expected });
        }
        self.file(UploadRecord::TABLE, record.extent, record.bytes).map_err(UploadError::Record)?;
        self.blobs.write(record.extent.offset() + offset, data);
        record.received.insert(index);
        record.active_at = now;
        record.failed.clear();
        self.uploads.insert(&upload.to_be_bytes(), record.encode());
        Ok(status(upload, &record))
    }
}

#[cfg(test)]
mod tests;
