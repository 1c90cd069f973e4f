//! wasi-nn's `inference` interface, and its one-call form.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{Graph, NamedTensor, Receipt, TensorType};

/// wasi-nn's `graph-execution-context`, by handle. Never reused.
pub type Context = u64;

/// wasi-nn's `graph-builder`: the bytes of one of the files that make a model.
pub type GraphBuilder = ByteBuf;

/// What `load` may be told besides wasi-nn's arguments.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Run on the cpu where the target is not offered, instead of refusing.
    pub fallback: Option<bool>,
}

/// What `init_execution_context` may be told besides wasi-nn's argument.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextOptions {
    /// Seconds without a call on it after which the context is closed: a day unless set, 1 to 604,800.
    pub idle_seconds: Option<u64>,
    /// For callers that may forget what they opened: opening a context closes those that the caller opened in other sessions. Null or 0
    /// for none.
    pub session: Option<u64>,
}

/// What `compute` may be told besides wasi-nn's arguments.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ComputeOptions {
    /// The outputs to put into the reply, by name or decimal index; null for all, none where they are fetched by
    /// `get_output`. The context keeps all of them.
    pub outputs: Option<Vec<String>>,
    /// As in [`InferParameters::slice_instructions`].
    pub slice_instructions: Option<u64>,
}

/// Which bytes of an output are wanted.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputRange {
    /// First byte; null for the whole tensor, which then has to fit `limit` and the reply.
    pub offset: Option<u64>,
    /// Most bytes to answer; null for what a reply holds.
    pub limit: Option<u64>,
}

/// An output, or a part of its bytes.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OutputPart {
    /// Length of each axis of the whole tensor.
    pub dimensions: Vec<u32>,
    /// Element type.
    pub ty: TensorType,
    /// Bytes of the whole tensor.
    pub total_bytes: u64,
    /// Where `data` lies in them.
    pub offset: u64,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// What the computation took that it is of, contained calls included.
    pub instructions: Option<u64>,
}

/// One call, one inference: the model by name, the inputs by name.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InferRequest {
    /// `"name"` for the version that `latest` means, `"name:version"` or `"name@label"`.
    pub model: String,
    /// Every input of the graph, once each, in any order.
    pub inputs: Vec<NamedTensor>,
    /// The outputs wanted, by name or decimal index; null for all.
    pub outputs: Option<Vec<String>>,
    /// What else is asked for.
    pub parameters: Option<InferParameters>,
}

/// What an inference may be told besides its inputs.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferParameters {
    /// Answer a receipt.
    pub receipt: Option<bool>,
    /// `false` to compute even where the model's response cache has the answer.
    pub cache: Option<bool>,
    /// Refuse (`too_large`) what is known to take more instructions than this.
    pub max_instructions: Option<u64>,
    /// Instructions that each message of it takes at most, in place of what the Internet Computer grants; others are answered
    /// between them. A step of the model that takes more by itself is taken all the same.
    pub slice_instructions: Option<u64>,
}

/// The outputs, and what they cost.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct InferResponse {
    /// Outputs in the graph's order, or in that of the request's selection.
    pub outputs: Vec<NamedTensor>,
    /// The version that answered.
    pub version: u64,
    /// What the call had been metered when the reply was ready to be encoded, the calls to itself included.
    pub instructions: u64,
    /// Of these, instructions spent on loading the graph; 0 where it was resident.
    pub load_instructions: u64,
    /// Of these, instructions spent on planning for shapes that were new to the graph; 0 where it had a plan.
    pub plan_instructions: u64,
    /// Whether the answer came from the model's response cache.
    pub cached: bool,
    /// What ties model, inputs and outputs together, where it was asked for.
    pub receipt: Option<Receipt>,
}

/// How far an output of quantised weights is from that of the file's own.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct OutputError {
    /// The output's name.
    pub name: String,
    /// Cosine of the angle between both, all elements as one vector; 1 where both are zeros.
    pub cosine: f64,
    /// The largest difference of an element.
    pub max_error: f64,
    /// The largest magnitude of an element, of the file's own weights.
    pub max_value: f64,
}

/// What quantising a model's weights does to its answers on some inputs, and to what they cost.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct QuantizationReport {
    /// The version that ran.
    pub version: u64,
    /// How weights were quantised: the value of the property `quantize`, or that which it would have.
    pub quantize: String,
    /// Each output, in the graph's order.
    pub outputs: Vec<OutputError>,
    /// Instructions of the inference with quantised weights, loading and planning apart.
    pub instructions: u64,
    /// Instructions of it with the file's own.
    pub unquantized_instructions: u64,
}

/// What a node of a graph took in one inference.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct NodeProfile {
    /// Its name in the file, or one made from it.
    pub name: String,
    /// The operator that ran.
    pub operator: String,
    /// The shape of its first output; null where a length depends on values.
    pub dimensions: Vec<Option<u32>>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of its operands and of its first output.
    pub bytes: u64,
    /// Instructions, about 200 of which are the counting.
    pub instructions: u64,
    /// What it was estimated to take, from its shapes.
    pub estimate: Option<u64>,
}

/// An input's dimensions, by its name.
pub type NamedShape = (String, Vec<u32>);

/// What is to be estimated: a model by name, or a graph by its handle.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct EstimateRequest {
    /// The model, as in [`InferRequest::model`]; null where `graph` says it.
    pub model: Option<String>,
    /// A loaded graph; null where `model` says it.
    pub graph: Option<Graph>,
    /// Dimensions of inputs; those that are not named have their smallest, 1 for what is dynamic.
    pub shapes: Vec<NamedShape>,
}

/// What an inference would take.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EstimateResponse {
    /// The version that would run.
    pub version: u64,
    /// The dimensions of each input, in the graph's order.
    pub shapes: Vec<Vec<u32>>,
    /// Instructions of an `infer` whose graph is loaded and planned: the run and the message around it.
    pub instructions: u64,
    /// Of these, the run by itself.
    pub run_instructions: u64,
    /// What a run on these shapes took, where an update has run them.
    pub measured_instructions: Option<u64>,
    /// Instructions of loading the graph, on top; 0 where it is resident.
    pub load_instructions: u64,
    /// Instructions of planning for these shapes, on top; 0 where they are planned.
    pub plan_instructions: u64,
    /// Lengths depend on values: instructions, multiply-accumulates and bytes are at least so many.
    pub at_least: bool,
    /// Nodes of kinds that no formula is fitted to, priced by a general rate.
    pub general_nodes: u32,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes that nodes read and write.
    pub bytes: u64,
    /// Bytes of activations alive at the worst moment.
    pub peak_bytes: u64,
    /// Whether a query has as many instructions, loading and planning included where they are to come.
    pub fits_query: bool,
    /// Whether one message of an update has; `infer` goes on over more.
    pub fits_update: bool,
    /// Cycles of it as an update from a user on 13 nodes, once the graph is loaded and planned.
    pub cycles: u64,
}

/// Where the instructions of an inference went.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProfileResponse {
    /// The version that ran.
    pub version: u64,
    /// The nodes in the order in which they ran; the 5,000 dearest where there are more.
    pub nodes: Vec<NodeProfile>,
    /// How many nodes ran.
    pub count: u32,
    /// Instructions of all of them.
    pub instructions: u64,
    /// Bytes of the block that what a run allocates lies in; null where lengths depend on values, and before a second run.
    pub arena_bytes: Option<u64>,
    /// Of these, the bytes that are alive at the worst moment.
    pub alive_bytes: Option<u64>,
}
