//! wasi-nn's `graph` interface, and the description of a graph.

use candid::CandidType;
use serde::{Deserialize, Serialize};

use crate::{Provenance, TensorType};

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
    /// Name of each dynamic axis that has one: axes of one name are equally long in a call.
    pub symbols: Vec<Option<String>>,
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
    /// Constant tensors by element type, which tells how a model is quantised.
    pub weights: Vec<WeightCount>,
    /// Nodes that quantise, dequantise or compute on quantised integers.
    pub quantised_operators: u32,
    /// Multiply-accumulates of one inference, dynamic dimensions set to 1; null where these could not be planned.
    pub macs: Option<u64>,
    /// Bytes of activations alive at its worst moment.
    pub peak_bytes: Option<u64>,
    /// Operator set of the file's default domain.
    pub opset: Option<u64>,
    /// What wrote the file, as it says.
    pub producer: String,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Labels on the version, `latest` among them where it is.
    pub labels: Vec<String>,
    /// The handle if the graph is loaded.
    pub graph: Option<Graph>,
    /// Instructions of loading it, measured at the commit.
    pub load_instructions: u64,
    /// Instructions that the trial run at upload took, dynamic dimensions set to 1: engine only, without the
    /// call's own Candid; null where the trial needed data that zeros are not.
    pub trial_instructions: Option<u64>,
    /// Why the trial was refused, where it was.
    pub trial_refusal: Option<String>,
    /// Input shapes that updates have run, and what they took: what queries may run.
    pub runs: Vec<RunFacts>,
}

/// Constant tensors of one element type.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WeightCount {
    /// ONNX's name of the type, `"FLOAT"`, `"INT8"`.
    pub ty: String,
    /// Elements in all of them.
    pub elements: u64,
}

/// Input shapes that an update has run.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// The dimensions of each input, in the graph's order.
    pub shapes: Vec<Vec<u32>>,
    /// Instructions of planning for them; 0 where the plan came with the load.
    pub plan_instructions: u64,
    /// Instructions of the run.
    pub run_instructions: u64,
    /// Whether other values take the same work, so that a query may run them.
    pub fixed: bool,
}

/// A property of a graph.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value; null where it is not set.
    pub value: Option<String>,
    /// Whether `set_property` takes it.
    pub settable: bool,
    /// What it means and what values it has.
    pub description: String,
}
