//! Receipts: what ties a model's version, inputs and outputs to the engine that computed them.

use candid::CandidType;
use serde::{Deserialize, Serialize};

use crate::NamedTensor;

/// The hashes of one inference, each sha256. Fetched by an update, the subnet has signed it with the reply.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Of all that follows; what one keeps.
    #[serde(with = "serde_bytes")]
    pub hash: Vec<u8>,
    /// Of the model's file.
    #[serde(with = "serde_bytes")]
    pub model: Vec<u8>,
    /// Of the inputs in the graph's order: names, types, dimensions, bytes.
    #[serde(with = "serde_bytes")]
    pub inputs: Vec<u8>,
    /// Of the outputs as they were answered.
    #[serde(with = "serde_bytes")]
    pub outputs: Vec<u8>,
    /// The engine's build.
    pub engine: String,
}

/// What a receipt is held to.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct VerifyRequest {
    /// The receipt.
    pub receipt: Receipt,
    /// The inputs.
    pub inputs: Vec<NamedTensor>,
    /// The outputs, to be hashed; null to compute them again with the model of the receipt, where it is still here.
    pub outputs: Option<Vec<NamedTensor>>,
}

/// How a receipt stands.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Every hash is right.
    pub valid: bool,
    /// What is not; empty where it is valid.
    pub mismatches: Vec<String>,
    /// Whether the outputs were computed again.
    pub recomputed: bool,
}
