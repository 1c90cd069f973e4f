//! What the canister keeps about a version beside its bytes: the description, and what the trial at upload measured.

use candid::CandidType;
use ic_nn_engine::{Graph, Trial};
use ic_nn_types::{Error, ErrorCode, OperatorCount, RunFacts, TensorDescription, WeightCount};
use serde::Deserialize;

/// Shapes remembered for a version: a text model's lengths, an image model's batches.
const MAX_RUNS: usize = 64;

/// Facts about a version, as Candid in the store; fields are added as options only.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) inputs: Vec<TensorDescription>,
    pub(crate) outputs: Vec<TensorDescription>,
    pub(crate) operators: Vec<OperatorCount>,
    pub(crate) parameters: u64,
    pub(crate) weights: Vec<WeightCount>,
    pub(crate) quantised_operators: u32,
    /// Of an inference with dynamic dimensions set to 1; null where that could not be planned.
    pub(crate) macs: Option<u64>,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) opset: Option<u64>,
    pub(crate) producer: String,
    /// Instructions of checking, decoding and planning the file.
    pub(crate) load_instructions: u64,
    /// Instructions of an inference on zeros, dynamic dimensions set to 1; null where the model refused them.
    pub(crate) trial_instructions: Option<u64>,
    /// Why it refused them.
    pub(crate) trial_refusal: Option<String>,
    /// Shapes it has run on, the trial's among them, newest last.
    pub(crate) runs: Option<Vec<RunFacts>>,
}

impl Facts {
    pub(crate) fn new(graph: &Graph, load_instructions: u64, trial: (Trial, u64)) -> Self {
        let description = graph.description();
        let (trial_instructions, trial_refusal, proven) = match trial {
            (Trial::Ran { shapes, fixed }, instructions) => {
                let proven = RunFacts { shapes, plan_instructions: 0, run_instructions: instructions, fixed };
                (Some(instructions), None, vec![proven])
            }
            (Trial::Refused(reason), _) => (None, Some(reason), vec![]),
        };
        Facts {
            inputs: description.wire_inputs(),
            outputs: description.outputs.clone(),
            operators: description.operators.clone(),
            parameters: description.parameters,
            weights: description.weights.clone(),
            quantised_operators: description.quantised_operators,
            macs: graph.load_cost().map(|c| c.macs),
            peak_bytes: graph.load_cost().map(|c| c.peak_bytes),
            opset: u64::try_from(description.opset).ok().filter(|o| *o > 0),
            producer: description.producer.clone(),
            load_instructions,
            trial_instructions,
            trial_refusal,
            runs: Some(proven),
        }
    }

    /// Remembers a run; whether that was news.
    pub(crate) fn note(&mut self, run: &RunFacts) -> bool {
        let proven = self.runs.get_or_insert_default();
        match proven.iter_mut().find(|p| p.shapes == run.shapes) {
            // What was packed on the way from its file is read from its image since.
            Some(known) if run.run_instructions < known.run_instructions / 4 * 3 => {
                known.run_instructions = run.run_instructions;
                known.plan_instructions = known.plan_instructions.max(run.plan_instructions);
            }
            Some(known) if known.plan_instructions >= run.plan_instructions => return false,
            Some(known) => known.plan_instructions = run.plan_instructions,
            None => {
                if proven.len() == MAX_RUNS {
                    proven.remove(0);
                }
                proven.push(run.clone());
            }
        }
        true
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
