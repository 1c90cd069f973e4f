//! The Candid types of ic-nn, the same on both sides of the wire.
//!
//! Labels are wasi-nn's (`wasi:nn@0.2.0-rc-2024-10-28`), kebab-case written in snake_case as Candid
//! bindings do. The interface itself is `candid/ic_nn.did`; a test holds the two equal. This crate knows
//! neither ic-cdk nor tract and does no work: no I/O, no algorithm beyond element counting.

mod error;
mod graph;
mod registry;
mod server;
mod tensor;
mod upload;

pub use error::{Error, ErrorCode};
pub use graph::{
    ExecutionTarget, Graph, GraphDescription, GraphEncoding, InferRequest, InferResponse, OperatorCount,
    TensorDescription,
};
pub use registry::{ListPage, ListRequest, ModelState, ModelSummary};
pub use server::{InitArgs, Limits, ServerMetadata};
pub use tensor::{NamedTensor, Tensor, TensorType};
pub use upload::{ChunkRange, ChunkRequest, MAX_CHUNK_BYTES, ModelVersion, UploadSpec, UploadStatus};
