//! What the canister keeps about a version beside its bytes: the description, and what the trial at upload measured.

use candid::CandidType;
use ic_nn_engine::{Graph, Trial};
use ic_nn_types::{Error, ErrorCode, OperatorCount, TensorDescription};
use serde::Deserialize;

/// Facts about a version, as Candid in the store; fields are added as options only.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) inputs: Vec<TensorDescription>,
    pub(crate) outputs: Vec<TensorDescription>,
    pub(crate) operators: Vec<OperatorCount>,
    pub(crate) parameters: u64,
    /// Instructions of checking, decoding and planning the file.
    pub(crate) load_instructions: u64,
    /// Instructions of an inference on zeros, dynamic dimensions set to 1; null where the model refused them.
    pub(crate) trial_instructions: Option<u64>,
    /// Why it refused them.
    pub(crate) trial_refusal: Option<String>,
}

impl Facts {
    pub(crate) fn new(graph: &Graph, load_instructions: u64, trial: (Trial, u64)) -> Self {
        let description = graph.description();
        let (trial_instructions, trial_refusal) = match trial {
            (Trial::Ran, instructions) => (Some(instructions), None),
            (Trial::Refused(reason), _) => (None, Some(reason)),
        };
        Facts {
            inputs: description.wire_inputs(),
            outputs: description.outputs.clone(),
            operators: description.operators.clone(),
            parameters: description.parameters,
            load_instructions,
            trial_instructions,
            trial_refusal,
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        candid::encode_one(self)
            .map_err(|e| Error::new(ErrorCode::RuntimeError, format!("facts do not encode: {e}")))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        candid::decode_one(bytes)
            .map_err(|e| Error::new(ErrorCode::RuntimeError, format!("facts do not decode: {e}")))
    }
}
