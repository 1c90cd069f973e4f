//! Inference in one call: as an update, and as a query.

use ic_cdk::{query, update};
use ic_nn_store::Version;
use ic_nn_types::{Error, ErrorCode, InferRequest, InferResponse};

use super::internal;
use crate::facts::Facts;
use crate::tickets::{Answer, Ticket};
use crate::wire::{self, Arg};
use crate::{contained, runtime, state};

/// Instructions that the Internet Computer grants a query.
pub(super) const QUERY_INSTRUCTIONS: u64 = 5_000_000_000;
/// Instructions that it grants an update.
pub(super) const UPDATE_INSTRUCTIONS: u64 = 40_000_000_000;

#[update(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) async fn infer(request: Arg<InferRequest>) -> Result<InferResponse, Error> {
    let request = request?;
    let version = state::store(|s| s.resolve(&request.model))?;
    // A graph that has run on these shapes runs here; whatever is new to the engine runs where its panic is contained.
    let proven = state::residents(|r| r.get(&version.sha256).map(|g| g.has_run(&request.inputs)));
    let answer = match proven {
        Some(true) => Answer { outputs: internal::run(&version, request.inputs)?, load_instructions: 0 },
        Some(false) | None => {
            let ticket = Ticket::new(InferRequest {
                model: format!("{}:{}", version.name, version.version),
                ..request
            });
            let reply = contained::call(internal::INFER, ticket.id()).await?;
            internal::loaded(&reply)?;
            ticket.answer().ok_or_else(|| {
                Error::new(ErrorCode::RuntimeError, "the inference left no answer; try again")
            })??
        }
    };
    respond(&version, answer, wire::MAX_UPDATE_REPLY)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) fn infer_query(request: Arg<InferRequest>) -> Result<InferResponse, Error> {
    let InferRequest { model, inputs } = request?;
    let version = state::store(|s| s.resolve(&model))?;
    refuse_what_cannot_fit(&version)?;
    let load_instructions = internal::make_resident(&version)?;
    let outputs = internal::run(&version, inputs)?;
    // The same method called as an update replies as an update does.
    let limit =
        if ic_cdk::api::in_replicated_execution() { wire::MAX_UPDATE_REPLY } else { wire::MAX_QUERY_REPLY };
    respond(&version, Answer { outputs, load_instructions }, limit)
}

/// A query that runs out of instructions tells its caller nothing; what the upload's trial measured tells it before.
fn refuse_what_cannot_fit(version: &Version) -> Result<(), Error> {
    let (load, trial) = match state::residents(|r| r.trial_instructions(&version.sha256)) {
        Some(trial) => (0, trial),
        None => {
            let facts = state::store(|s| s.facts(&version.name, version.version))?;
            let facts = Facts::decode(&facts)?;
            (facts.load_instructions, facts.trial_instructions)
        }
    };
    // The trial ran on the smallest shapes: whatever comes takes as much or more.
    let run = trial.unwrap_or(0);
    if load + run < QUERY_INSTRUCTIONS {
        return Ok(());
    }
    let (name, number) = (&version.name, version.version);
    Err(Error::too_large(if run >= QUERY_INSTRUCTIONS {
        format!(
            "`{name}:{number}` takes at least {run} instructions, a query has {QUERY_INSTRUCTIONS}; call \
             `infer`, an update with {UPDATE_INSTRUCTIONS}"
        )
    } else {
        format!(
            "`{name}:{number}` is not loaded; loading takes {load} instructions and the inference at least {run}, a query has \
             {QUERY_INSTRUCTIONS}; call load_by_name first"
        )
    }))
}

fn respond(version: &Version, answer: Answer, limit: usize) -> Result<InferResponse, Error> {
    wire::check_reply(&answer.outputs, limit)?;
    Ok(InferResponse {
        outputs: answer.outputs,
        version: version.version,
        instructions: runtime::call_instructions(),
        load_instructions: answer.load_instructions,
    })
}
