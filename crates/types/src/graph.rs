//! wasi-nn's `graph` interface, the description of a graph, and the one-call form of inference.

use candid::CandidType;
use serde::{Deserialize, Serialize};

use crate::{NamedTensor, TensorType};

/// A loaded graph's handle. Never reused; it survives upgrades until `unload` or the model's deletion.
pub type Graph = u64;

/// wasi-nn's `graph-encoding`, label for label.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each label is its own documentation")]
pub enum GraphEncoding {
    #[serde(rename = "openvino")]
    OpenVino,
    #[serde(rename = "onnx")]
    Onnx,
    #[serde(rename = "tensorflow")]
    TensorFlow,
    #[serde(rename = "pytorch")]
    PyTorch,
    #[serde(rename = "tensorflowlite")]
    TensorFlowLite,
    #[serde(rename = "ggml")]
    Ggml,
    #[serde(rename = "autodetect")]
    Autodetect,
}

/// wasi-nn's `execution-target`, label for label.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each label is its own documentation")]
pub enum ExecutionTarget {
    #[serde(rename = "cpu")]
    Cpu,
    #[serde(rename = "gpu")]
    Gpu,
    #[serde(rename = "tpu")]
    Tpu,
}

/// What a graph's input or output accepts or gives.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TensorDescription {
    /// The tensor's name in the graph.
    pub name: String,
    /// Element type.
    pub ty: TensorType,
    /// Length of each axis, outermost first; null where it is dynamic.
    pub dimensions: Vec<Option<u32>>,
}

/// An operator of the graph and how often it occurs.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OperatorCount {
    /// ONNX operator name, with its domain and a dot in front where it is not the default domain.
    pub operator: String,
    /// Nodes of that operator, those in subgraphs included.
    pub count: u32,
}

/// What a model is, told without running it.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GraphDescription {
    /// Model name in the registry.
    pub name: String,
    /// Version in the registry, counted from 1.
    pub version: u64,
    /// Encoding of the stored bytes; null where a client is older than the encoding.
    pub encoding: Option<GraphEncoding>,
    /// sha256 of the stored bytes, computed in the canister.
    #[serde(with = "serde_bytes")]
    pub sha256: Vec<u8>,
    /// Bytes of the stored file.
    pub bytes: u64,
    /// Inputs in the graph's order.
    pub inputs: Vec<TensorDescription>,
    /// Outputs in the graph's order.
    pub outputs: Vec<TensorDescription>,
    /// Operators by descending count, then name.
    pub operators: Vec<OperatorCount>,
    /// Elements in the model's constant tensors.
    pub parameters: u64,
    /// The handle if the graph is loaded.
    pub graph: Option<Graph>,
    /// Instructions that the trial run at upload took, dynamic dimensions set to 1: engine only, without the
    /// call's own Candid; null where the trial needed data that zeros are not.
    pub trial_instructions: Option<u64>,
}

/// One call, one inference: the model by name, the inputs by name.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct InferRequest {
    /// `"name"` for the newest version or `"name:version"`.
    pub model: String,
    /// Every input of the graph, once each, in any order.
    pub inputs: Vec<NamedTensor>,
}

/// The outputs, and what they cost.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct InferResponse {
    /// Outputs in the graph's order.
    pub outputs: Vec<NamedTensor>,
    /// The version that answered.
    pub version: u64,
    /// What the call had been metered when the reply was ready to be encoded, the calls to itself included.
    pub instructions: u64,
    /// Of these, instructions spent on loading the graph; 0 where it was resident.
    pub load_instructions: u64,
    /// Of these, instructions spent on planning for shapes that were new to the graph; 0 where it had a plan.
    pub plan_instructions: u64,
}
