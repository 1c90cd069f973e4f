//! Chunked uploads: begin, chunks in any order and as often as one likes, status, commit.

use candid::CandidType;
use serde::{Deserialize, Serialize};

use crate::{GraphEncoding, Provenance};

/// Chunks of an upload that names no size: 1.9 MiB, rounded down to 64 KiB pages of stable memory.
pub const DEFAULT_CHUNK_BYTES: u32 = 30 * 65_536;

/// Largest chunk: chunk, method name, envelope and Candid header stay within the 2 MiB (2,097,152 bytes) that an ingress
/// message may have. It is what `ic-file-uploader` sends.
pub const MAX_CHUNK_BYTES: u32 = 2_000_000;

/// What is going to be uploaded.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadSpec {
    /// Model name: 1 to 64 of `a-z A-Z 0-9 . _ -`, first a letter or digit.
    pub name: String,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// sha256 of the whole file, 32 bytes.
    #[serde(with = "serde_bytes")]
    pub sha256: Vec<u8>,
    /// Bytes of every chunk but the last: 65,536 to [`MAX_CHUNK_BYTES`]; null for [`DEFAULT_CHUNK_BYTES`].
    pub chunk_bytes: Option<u32>,
    /// What the file is: `onnx` or `autodetect`; null for `autodetect`.
    pub encoding: Option<GraphEncoding>,
    /// Where a model is several files (ONNX with external data), the bytes of each: the upload is their concatenation, the
    /// model first, then the data files in the order in which the model first names them. Null or empty for one file.
    pub builders: Option<Vec<u64>>,
    /// Where it comes from.
    pub provenance: Option<Provenance>,
}

/// One chunk of an upload.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ChunkRequest {
    /// The upload's id.
    pub upload: u64,
    /// Which chunk, from 0.
    pub index: u32,
    /// Its bytes: `chunk_bytes`, or what is left for the last one.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Chunks `first` to `last`, both included.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// First chunk index.
    pub first: u32,
    /// Last chunk index.
    pub last: u32,
}

/// Where an upload stands.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The upload's id.
    pub upload: u64,
    /// Model name.
    pub name: String,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// sha256 announced for it.
    #[serde(with = "serde_bytes")]
    pub sha256: Vec<u8>,
    /// Bytes of every chunk but the last.
    pub chunk_bytes: u32,
    /// Number of chunks.
    pub chunks: u32,
    /// Chunks received so far.
    pub received: u32,
    /// The chunks still missing, as ranges; at most the first 1,000 ranges.
    pub missing: Vec<ChunkRange>,
    /// Why the last commit was refused, until a chunk comes or another commit begins.
    pub failed: Option<String>,
}

/// A version that was committed.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    /// Model name.
    pub name: String,
    /// Version, counted from 1.
    pub version: u64,
    /// sha256 of the file as the canister computed it.
    #[serde(with = "serde_bytes")]
    pub sha256: Vec<u8>,
}
