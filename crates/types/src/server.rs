//! What the server is and what it was told at install.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};

/// Install and upgrade argument; every field may be absent. On upgrade, a null leaves what was set.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InitArgs {
    /// Largest model file that an upload may announce, in bytes.
    pub max_model_bytes: Option<u64>,
    /// Stable memory for all model files together, in bytes.
    pub max_total_bytes: Option<u64>,
    /// Heap that loaded graphs and running inferences may take, in bytes.
    pub max_heap_bytes: Option<u64>,
    /// Uploads open at one time.
    pub max_open_uploads: Option<u32>,
    /// Principals that may change the registry besides the controllers.
    pub admins: Option<Vec<Principal>>,
}

/// Limits in force, all in bytes but for the counts.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest chunk of an upload.
    pub max_chunk_bytes: u32,
    /// Largest model file.
    pub max_model_bytes: u64,
    /// Stable memory for all model files together.
    pub max_total_bytes: u64,
    /// Heap for graphs and inferences.
    pub max_heap_bytes: u64,
    /// Uploads open at one time.
    pub max_open_uploads: u32,
    /// Instructions that the Internet Computer grants an update.
    pub update_instructions: u64,
    /// Instructions that the Internet Computer grants a query.
    pub query_instructions: u64,
}

/// The Open Inference Protocol's `server_metadata`, and what a caller here wants to know besides.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ServerMetadata {
    /// `"ic-nn"`.
    pub name: String,
    /// Version of the canister.
    pub version: String,
    /// Protocol extensions offered, by name.
    pub extensions: Vec<String>,
    /// The engine and its version, `"tract 0.23.9"`.
    pub engine: String,
    /// The wasi-nn specification that is mirrored.
    pub specification: String,
    /// Encodings that can be loaded.
    pub encodings: Vec<String>,
    /// Element types that go in and out.
    pub tensor_types: Vec<String>,
    /// Limits in force.
    pub limits: Limits,
    /// Heap in use by the whole canister, bytes.
    pub heap_bytes: u64,
    /// Stable memory taken by the whole canister, bytes.
    pub stable_bytes: u64,
    /// Graphs resident in the heap.
    pub loaded_graphs: u32,
}
