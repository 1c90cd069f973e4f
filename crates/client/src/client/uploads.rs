//! Uploads, chunk by chunk. A whole upload as one call is [`Client::upload`](crate::Client::upload).

use ic_nn_types::{ChunkRequest, ModelVersion, UploadSpec, UploadStatus};
use serde_bytes::Bytes;

use crate::{Client, ClientError, Transport};

impl<T: Transport> Client<T> {
    /// Opens an upload, or finds the one that is open with the same spec.
    pub fn upload_begin(&self, spec: &UploadSpec) -> Result<UploadStatus, ClientError> {
        self.update("upload_begin", (spec,))
    }

    /// Sends one chunk; repeating it is harmless.
    pub fn upload_chunk(&self, chunk: &ChunkRequest) -> Result<UploadStatus, ClientError> {
        self.update("upload_chunk", (chunk,))
    }

    /// Asks where an upload stands.
    pub fn upload_status(&self, upload: u64) -> Result<UploadStatus, ClientError> {
        self.query("upload_status", (upload,))
    }

    /// Verifies, tries and publishes a complete upload.
    pub fn upload_commit(&self, upload: u64) -> Result<ModelVersion, ClientError> {
        self.update("upload_commit", (upload,))
    }

    /// Throws an open upload away.
    pub fn upload_abort(&self, upload: u64) -> Result<(), ClientError> {
        self.update("upload_abort", (upload,))
    }

    /// Sends the next chunk of the caller's newest open upload, as `ic-file-uploader` does. Not repeatable: each call is
    /// another chunk. What is wrong comes back as a [`CallError::Rejected`](crate::CallError).
    pub fn append_chunk(&self, data: &[u8]) -> Result<(), ClientError> {
        self.silent("append_chunk", (Bytes::new(data),))
    }

    /// Sends chunk `index` of the caller's newest open upload, as `ic-file-uploader --parallel` does. Repeating it is
    /// harmless. What is wrong comes back as a [`CallError::Rejected`](crate::CallError).
    pub fn append_parallel_chunk(&self, index: u32, data: &[u8]) -> Result<(), ClientError> {
        self.silent("append_parallel_chunk", (index, Bytes::new(data)))
    }
}
