//! A whole upload: hash, begin or resume, send what is missing, commit.
//!
//! Every step may be repeated: the service answers the same open upload to the same spec, a chunk sent twice is
//! stored once, and a commit whose reply was lost is found in the registry by its sha256. So a step that fails for
//! a transient reason is tried again, [`ATTEMPTS`] times in all, and an upload that broke off is resumed by simply
//! uploading again.

use std::time::Duration;

use ic_nn_types::{ChunkRequest, ErrorCode, ModelVersion, Provenance, UploadSpec, UploadStatus};
use sha2::{Digest, Sha256};

use crate::{Client, ClientError, Transport};

/// How often one step is tried.
const ATTEMPTS: u32 = 5;
/// Pause before the second try; doubled for each one after it, so five tries span 7.5 seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What an upload tells while it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadEvent {
    /// The service knows of the upload and holds `held` of its bytes already.
    Begun {
        /// The upload's id.
        upload: u64,
        /// Bytes that an earlier attempt left there.
        held: u64,
    },
    /// `sent` of the file's bytes are there now.
    Sent {
        /// Bytes held by the service.
        sent: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// A step failed for a transient reason and is tried again.
    Retrying {
        /// Which try comes next, from 2.
        attempt: u32,
        /// What the last one failed with.
        error: ClientError,
    },
    /// All bytes are there; the service verifies and tries the model.
    Committing,
}

impl<T: Transport> Client<T> {
    /// Uploads `bytes` as the next version of `name` and answers that version.
    ///
    /// `progress` is told every step. A failed upload stays open in the service, and the same call resumes it; one whose
    /// bytes are refused for what they are is closed.
    pub fn upload(
        &self,
        name: &str,
        bytes: &[u8],
        progress: &mut dyn FnMut(UploadEvent),
    ) -> Result<ModelVersion, ClientError> {
        self.upload_files(name, &[bytes], None, progress)
    }

    /// Uploads a model that is several files: the model's own first, then those of its external data in the order in which
    /// it first names them. Otherwise as [`Client::upload`].
    pub fn upload_files(
        &self,
        name: &str,
        files: &[&[u8]],
        provenance: Option<&Provenance>,
        progress: &mut dyn FnMut(UploadEvent),
    ) -> Result<ModelVersion, ClientError> {
        let mut hash = Sha256::new();
        files.iter().for_each(|file| hash.update(file));
        let sizes: Vec<u64> = files.iter().map(|file| file.len() as u64).collect();
        let spec = UploadSpec {
            name: name.to_owned(),
            bytes: sizes.iter().sum(),
            sha256: hash.finalize().to_vec(),
            builders: (sizes.len() > 1).then_some(sizes),
            provenance: provenance.cloned(),
            ..Default::default()
        };
        let mut status = self.repeated(progress, || self.upload_begin(&spec))?;
        Layout::of(&status, &spec)?;
        progress(UploadEvent::Begun { upload: status.upload, held: held(&status) });
        while let Some(&first) = status.missing.first() {
            let before = status.received;
            for range in status.missing.clone() {
                status = self.send(range.first, range.last, &status, &spec, files, progress)?;
            }
            if status.received <= before {
                return Err(contradiction(
                    &spec,
                    format!("chunk {} stays missing after it was sent", first.first),
                ));
            }
        }
        progress(UploadEvent::Committing);
        let committed = self.commit(status.upload, &spec, progress);
        if let Err(ClientError::Service { error, .. }) = &committed
            && matches!(error.code, ErrorCode::InvalidEncoding | ErrorCode::UnsupportedOperation)
        {
            // These bytes will never be a version; what is told is why, whether or not the upload closes.
            let _ = self.upload_abort(status.upload);
        }
        committed
    }

    /// Sends chunks `first` to `last` and answers the status after the last of them.
    fn send(
        &self,
        first: u32,
        last: u32,
        status: &UploadStatus,
        spec: &UploadSpec,
        files: &[&[u8]],
        progress: &mut dyn FnMut(UploadEvent),
    ) -> Result<UploadStatus, ClientError> {
        let layout = Layout::of(status, spec)?;
        let mut status = status.clone();
        for index in first..=last {
            let data = layout.chunk(index, files).ok_or_else(|| {
                contradiction(spec, format!("the service misses chunk {index}, which there is not"))
            })?;
            let request = ChunkRequest { upload: status.upload, index, data };
            status = self.repeated(progress, || self.upload_chunk(&request))?;
            Layout::of(&status, spec)?;
            progress(UploadEvent::Sent { sent: held(&status), total: spec.bytes });
        }
        Ok(status)
    }

    fn commit(
        &self,
        upload: u64,
        spec: &UploadSpec,
        progress: &mut dyn FnMut(UploadEvent),
    ) -> Result<ModelVersion, ClientError> {
        let mut tried = false;
        self.repeated(progress, || {
            let again = std::mem::replace(&mut tried, true);
            match self.upload_commit(upload) {
                // The first try was executed and only its reply was lost.
                Err(ClientError::Service { error, method }) if again && error.code == ErrorCode::NotFound => {
                    let found = self.describe(&spec.name)?;
                    if found.sha256 == spec.sha256 {
                        Ok(ModelVersion { name: found.name, version: found.version, sha256: found.sha256 })
                    } else {
                        Err(ClientError::Service { error, method })
                    }
                }
                other => other,
            }
        })
    }

    /// Makes a call until it succeeds, fails for good, or has been tried [`ATTEMPTS`] times.
    fn repeated<R>(
        &self,
        progress: &mut dyn FnMut(UploadEvent),
        mut call: impl FnMut() -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 2..=ATTEMPTS {
            match call() {
                Err(error) if error.is_transient() => progress(UploadEvent::Retrying { attempt, error }),
                done => return done,
            }
            self.transport().pause(pause);
            pause *= 2;
        }
        call()
    }
}

/// How the file is cut, as the service said it and as far as it makes sense.
struct Layout {
    chunk_bytes: usize,
    chunks: u32,
}

impl Layout {
    /// INVARIANT: `chunks` chunks of `chunk_bytes` are the file, the last one perhaps shorter and never empty.
    fn of(status: &UploadStatus, spec: &UploadSpec) -> Result<Self, ClientError> {
        if status.bytes != spec.bytes || status.sha256 != spec.sha256 {
            return Err(contradiction(spec, "the service answers for another file".to_owned()));
        }
        let expected = match status.chunk_bytes {
            0 => None,
            chunk => Some(spec.bytes.div_ceil(u64::from(chunk))),
        };
        if expected != Some(u64::from(status.chunks)) {
            return Err(contradiction(
                spec,
                format!(
                    "the service wants {} chunks of {} bytes for {} bytes",
                    status.chunks, status.chunk_bytes, spec.bytes
                ),
            ));
        }
        Ok(Layout { chunk_bytes: status.chunk_bytes as usize, chunks: status.chunks })
    }

    /// The bytes of a chunk, of files that lie one behind the other.
    fn chunk(&self, index: u32, files: &[&[u8]]) -> Option<Vec<u8>> {
        if index >= self.chunks {
            return None;
        }
        let mut skip = (index as usize).checked_mul(self.chunk_bytes)?;
        let mut chunk = Vec::with_capacity(self.chunk_bytes.min(files.iter().map(|f| f.len()).sum()));
        for file in files {
            let rest = file.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(file.len());
            chunk.extend_from_slice(&rest[..rest.len().min(self.chunk_bytes - chunk.len())]);
        }
        Some(chunk)
    }
}

/// Bytes that the service holds, as far as its ranges tell; the last chunk counts whole until all are there.
fn held(status: &UploadStatus) -> u64 {
    if status.missing.is_empty() {
        return status.bytes;
    }
    (u64::from(status.received) * u64::from(status.chunk_bytes)).min(status.bytes)
}

fn contradiction(spec: &UploadSpec, message: String) -> ClientError {
    ClientError::Upload { name: spec.name.clone(), message }
}

#[cfg(test)]
mod tests;
