//! What the server is and what it was told at install.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};

use crate::{AccessPolicy, ExecutionTarget, GraphEncoding, Price, TensorDescription, TensorType};

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
    /// Bytes of versions and open uploads that one uploader may hold; admins and controllers are not bound by it. 0 for
    /// no limit.
    pub max_bytes_per_uploader: Option<u64>,
    /// Seconds after which an upload that no chunk came for is cleared away.
    pub abandoned_after_seconds: Option<u64>,
    /// Execution contexts open at one time.
    pub max_contexts: Option<u32>,
    /// Instructions a day that a listed caller may spend in updates that infer; 0 for no limit.
    pub instructions_per_caller_and_day: Option<u64>,
    /// To whom which methods are open.
    pub policy: Option<AccessPolicy>,
    /// What a canister that is not listed pays for an update that infers.
    pub price: Option<Price>,
    /// Heap that weights may take that are streamed from stable memory, in bytes.
    pub max_weight_cache_bytes: Option<u64>,
    /// Principals that are admins from now on, besides the controllers; those who were and are not named no longer are.
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
    /// Heap for weights that are streamed from stable memory; null from canisters of before that.
    pub max_weight_cache_bytes: Option<u64>,
    /// Uploads open at one time.
    pub max_open_uploads: u32,
    /// Bytes that one uploader may hold; 0 for no limit.
    pub max_bytes_per_uploader: u64,
    /// Seconds after which an upload that no chunk came for is cleared away.
    pub abandoned_after_seconds: u64,
    /// Execution contexts open at one time.
    pub max_contexts: u32,
    /// Instructions a day of a listed caller; 0 for no limit.
    pub instructions_per_caller_and_day: u64,
    /// Largest tensor in one message: what a reply holds; larger ones go in parts.
    pub max_tensor_bytes: u64,
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

/// What can be asked before anything is deployed: wasi-nn's wish of 2024-02-05, WebNN's `opSupportLimits`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The wasi-nn specification that is mirrored.
    pub specification: String,
    /// The engine and its version.
    pub engine: String,
    /// Hash of the engine's sources and dependencies, as in receipts.
    pub build: String,
    /// Encodings that load.
    pub encodings: Vec<EncodingSupport>,
    /// Element types that go in and out.
    pub tensor_types: Vec<TensorType>,
    /// Targets, and whether each is offered.
    pub targets: Vec<TargetSupport>,
    /// Operators that are served, by name.
    pub operators: Vec<String>,
    /// Limits in force.
    pub limits: Limits,
    /// To whom which methods are open.
    pub policy: AccessPolicy,
    /// What a canister that is not listed pays for an update that infers.
    pub price: Price,
    /// What the Internet Computer charges the canister for.
    pub costs: CostSchedule,
}

/// The Internet Computer's fees in cycles, on a subnet of `nodes`; on n of them n/`nodes` of it. 1 T cycles is 1 XDR.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CostSchedule {
    /// The month whose fees these are.
    pub name: String,
    /// Nodes of the subnet.
    pub nodes: u32,
    /// For each instruction of an update.
    pub cycles_per_instruction: u64,
    /// For executing an update, on top of its instructions.
    pub cycles_per_update: u64,
    /// For a message from a user.
    pub cycles_per_ingress_message: u64,
    /// For each of its bytes.
    pub cycles_per_ingress_byte: u64,
    /// For a message from a canister.
    pub cycles_per_call: u64,
    /// For each of its bytes.
    pub cycles_per_call_byte: u64,
    /// For each GiB of memory and second.
    pub cycles_per_gib_second: u64,
}

impl CostSchedule {
    /// The fees of October 2025 on 13 nodes (`docs/costs.md`).
    pub fn of_2025_10() -> Self {
        CostSchedule {
            name: "2025-10".into(),
            nodes: 13,
            cycles_per_instruction: 1,
            cycles_per_update: 5_000_000,
            cycles_per_ingress_message: 1_200_000,
            cycles_per_ingress_byte: 2_000,
            cycles_per_call: 260_000,
            cycles_per_call_byte: 1_000,
            cycles_per_gib_second: 127_000,
        }
    }
}

/// An encoding and what of it is served.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EncodingSupport {
    /// The encoding.
    pub encoding: GraphEncoding,
    /// Whether it loads.
    pub supported: bool,
    /// Its versions, or what to do instead.
    pub detail: String,
}

/// A target and what becomes of it.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TargetSupport {
    /// The target.
    pub target: ExecutionTarget,
    /// Whether graphs run on it.
    pub supported: bool,
    /// What runs there, or what to do instead.
    pub detail: String,
}

/// The Open Inference Protocol's `model_metadata`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ModelMetadata {
    /// Model name.
    pub name: String,
    /// Versions that are served, oldest first.
    pub versions: Vec<String>,
    /// `"onnx_tract"`.
    pub platform: String,
    /// Inputs of the version asked for.
    pub inputs: Vec<TensorDescription>,
    /// Its outputs.
    pub outputs: Vec<TensorDescription>,
}

/// What a version has done, counted in updates: a query leaves no trace.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelStatistics {
    /// Model name.
    pub name: String,
    /// Version.
    pub version: u64,
    /// Inferences that gave outputs.
    pub success: u64,
    /// Inferences that were refused or failed.
    pub fail: u64,
    /// Answers from the response cache, which are successes too.
    pub cache_hits: u64,
    /// Least instructions of an inference that was computed; 0 where there was none.
    pub min_instructions: u64,
    /// Mean of them.
    pub mean_instructions: u64,
    /// Most of them.
    pub max_instructions: u64,
    /// When it last answered, nanoseconds since 1970; null where it never did.
    pub last_used: Option<u64>,
}

/// A request of the HTTP gateway.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `HEAD`, ….
    pub method: String,
    /// Path and query.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// A reply to the HTTP gateway.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status.
    pub status_code: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}
