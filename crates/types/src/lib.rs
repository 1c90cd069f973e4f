//! The Candid types of ic-nn, the same on both sides of the wire.
//!
//! Labels are wasi-nn's (`wasi:nn@0.2.0-rc-2024-10-28`), kebab-case written in snake_case as Candid
//! bindings do. The interface itself is `candid/ic_nn.did`; a test holds the two equal. This crate knows
//! neither ic-cdk nor tract and does no work: no I/O, no algorithm beyond element counting and the bytes of a
//! pipeline's manifest.

mod access;
mod error;
mod graph;
mod inference;
mod job;
mod memory;
mod pipeline;
mod receipt;
mod registry;
mod server;
mod tensor;
mod upload;

pub use access::{
    Access, AccessPolicy, AuditEntry, AuditPage, AuditRequest, CallerQuota, Price, Role, RoleEntry,
};
pub use error::{Error, ErrorCode};
pub use graph::{
    ExecutionTarget, Graph, GraphDescription, GraphEncoding, OperatorCount, Property, RunFacts,
    TensorDescription, WeightCount,
};
pub use inference::{
    ComputeOptions, Context, ContextOptions, EstimateRequest, EstimateResponse, GraphBuilder,
    InferParameters, InferRequest, InferResponse, LoadOptions, NamedShape, NodeProfile, OutputError,
    OutputPart, OutputRange, ProfileResponse, QuantizationReport,
};
pub use job::{Job, JobListRequest, JobOutput, JobPage, JobRequest, JobState, JobStatus};
pub use memory::{MemoryGraph, MemoryModel, MemoryStatus, WeightCache};
pub use pipeline::{MAX_PIPELINE_BYTES, MAX_PIPELINE_STAGES, PIPELINE_MAGIC, Pipeline, PipelineStage};
pub use receipt::{Receipt, Verdict, VerifyRequest};
pub use registry::{
    DeleteRequest, IndexEntry, ListPage, ListRequest, ModelState, ModelSummary, Provenance, VersionPolicy,
};
pub use server::{
    Capabilities, CostSchedule, EncodingSupport, HttpRequest, HttpResponse, InitArgs, Limits, ModelMetadata,
    ModelStatistics, ServerMetadata, TargetSupport,
};
pub use tensor::{NamedTensor, Tensor, TensorType};
pub use upload::{
    ChunkRange, ChunkRequest, DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES, ModelVersion, UploadSpec, UploadStatus,
};
