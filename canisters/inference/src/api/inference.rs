//! Inference in one call: as an update, and as a query.
//!
//! An update meets what is new to the engine in a call to itself, whose trap becomes an error. A query has no such call,
//! so it runs only what an update has run before: shapes that are known to go through, at a cost that is known to fit.

use ic_cdk::{query, update};
use ic_nn_store::Version;
use ic_nn_types::{Error, ErrorCode, InferRequest, InferResponse};

use super::internal;
use crate::facts::{Facts, Proven};
use crate::resident::Resident;
use crate::tickets::{Answer, Asked, Inputs, Ticket};
use crate::wire::{self, Arg};
use crate::{contained, runtime, state};

/// Instructions that the Internet Computer grants a query.
pub(super) const QUERY_INSTRUCTIONS: u64 = 5_000_000_000;
/// Instructions that it grants an update.
pub(super) const UPDATE_INSTRUCTIONS: u64 = 40_000_000_000;

/// What a query needs beside the inference: reading the argument and writing the reply, 3 MiB at the most.
const QUERY_OVERHEAD: u64 = 50_000_000;

#[update(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) async fn infer(request: Arg<InferRequest>) -> Result<InferResponse, Error> {
    let request = request?;
    let version = state::store(|s| s.resolve(&request.model))?;
    let mut inputs = Inputs::Named(request.inputs);
    let mut safe = false;
    if state::residents(|r| r.has(&version.sha256)) {
        internal::resident(&version, |r| {
            let Inputs::Named(named) = std::mem::replace(&mut inputs, Inputs::Named(vec![])) else {
                return Ok(());
            };
            let arranged = r.graph.arrange(named)?;
            safe = r.graph.planned(&arranged).is_some_and(|p| p.has_run && p.fixed);
            inputs = Inputs::Arranged(arranged);
            Ok(())
        })?;
    }
    let answer = if safe {
        let ran = internal::run(&version, inputs)?;
        Answer { outputs: ran.outputs, load_instructions: 0, plan_instructions: 0, contained_instructions: 0 }
    } else {
        // What the run is remembered by is written in the contained call, which could only trap for want of memory.
        contained::room(0).await?;
        let model = format!("{}:{}", version.name, version.version);
        let ticket = Ticket::new(Asked { model, inputs });
        let reply = contained::call(internal::INFER, ticket.id()).await?;
        internal::done(&reply)?;
        ticket
            .answer()
            .ok_or_else(|| Error::new(ErrorCode::RuntimeError, "the inference left no answer; try again"))??
    };
    respond(&version, answer, wire::MAX_UPDATE_REPLY)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) fn infer_query(request: Arg<InferRequest>) -> Result<InferResponse, Error> {
    let InferRequest { model, inputs } = request?;
    let version = state::store(|s| s.resolve(&model))?;
    refuse_what_cannot_load(&version)?;
    let load_instructions = internal::make_resident(&version)?;
    let inputs = internal::resident(&version, |r| {
        let inputs = r.graph.arrange(inputs)?;
        refuse_what_is_not_known(&version, r, &inputs, load_instructions)?;
        Ok(inputs)
    })?;
    let ran = internal::run(&version, Inputs::Arranged(inputs))?;
    // The same method called as an update replies as an update does.
    let limit =
        if ic_cdk::api::in_replicated_execution() { wire::MAX_UPDATE_REPLY } else { wire::MAX_QUERY_REPLY };
    let plan_instructions = ran.proven.plan_instructions;
    let answer =
        Answer { outputs: ran.outputs, load_instructions, plan_instructions, contained_instructions: 0 };
    respond(&version, answer, limit)
}

/// Refuses to load in a query what would leave no instructions for any inference, by what the upload measured.
fn refuse_what_cannot_load(version: &Version) -> Result<(), Error> {
    if state::residents(|r| r.has(&version.sha256)) {
        return Ok(());
    }
    let facts = state::store(|s| s.facts(&version.name, version.version))?;
    let facts = Facts::decode(&facts)?;
    let load = facts.load_instructions;
    let run = facts.proven.iter().flatten().map(|p| p.run_instructions).min().unwrap_or(0);
    if run < QUERY_INSTRUCTIONS && load + run + QUERY_OVERHEAD > QUERY_INSTRUCTIONS {
        return Err(Error::too_large(format!(
            "`{}:{}` is not loaded; loading takes {load} instructions and the inference {run}, a query has \
             {QUERY_INSTRUCTIONS}; call load_by_name first",
            version.name, version.version
        )));
    }
    Ok(())
}

/// Refuses shapes that no update has run, and those that are known to take more than a query has.
fn refuse_what_is_not_known(
    version: &Version,
    resident: &Resident,
    inputs: &ic_nn_engine::Arranged,
    load: u64,
) -> Result<(), Error> {
    let model = format!("`{}:{}`", version.name, version.version);
    let unsupported = |why: String| Err(Error::new(ErrorCode::UnsupportedOperation, why));
    let Some(&Proven { run_instructions: run, plan_instructions, fixed, .. }) = resident.proven(inputs)
    else {
        let shapes: Vec<_> = inputs.shapes().map(|s| format!("{s:?}")).collect();
        return unsupported(format!(
            "{model} has not run on inputs of {} before, and a query cannot be the first to; call `infer` with them once, \
             an update: queries take them from then on",
            shapes.join(", ")
        ));
    };
    if !fixed {
        return unsupported(format!(
            "in {model} shapes depend on values, so what a query would take is not known before; call `infer`, an update"
        ));
    }
    let plan = match resident.graph.planned(inputs) {
        Some(_) => 0,
        // A plan that came with the load once took a part of that.
        None if plan_instructions == 0 => resident.facts.load_instructions,
        None => plan_instructions,
    };
    // Other values take up to 2 % more (measured), by the order of what the allocator and hash maps hold.
    let needed = runtime::message_instructions() + plan + run + run / 32 + QUERY_OVERHEAD;
    if needed <= QUERY_INSTRUCTIONS {
        return Ok(());
    }
    let advice = if load + plan == 0 {
        format!("call `infer`, an update with {UPDATE_INSTRUCTIONS}")
    } else {
        format!(
            "loading it took {load} of them and planning for these shapes takes {plan}; call load_by_name first and `infer` \
             once, or only `infer`, an update with {UPDATE_INSTRUCTIONS}"
        )
    };
    Err(Error::too_large(format!(
        "{model} takes {run} instructions on these inputs, a query has {QUERY_INSTRUCTIONS}; {advice}"
    )))
}

fn respond(version: &Version, answer: Answer, limit: usize) -> Result<InferResponse, Error> {
    wire::check_reply(&answer.outputs, limit)?;
    Ok(InferResponse {
        outputs: answer.outputs,
        version: version.version,
        instructions: runtime::call_instructions() + answer.contained_instructions,
        load_instructions: answer.load_instructions,
        plan_instructions: answer.plan_instructions,
    })
}
