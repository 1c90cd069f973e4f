//! What an inference would take, told before anything runs.
//!
//! A plan knows what it takes by the shapes of its nodes. Where the graph is not loaded, or not planned for the shapes,
//! this query does that, if what is known of it says that a query can; its state is thrown away. A panic of the engine's at
//! shapes that are new to it ends such a query as a reject, which takes nothing along: nothing has run, and nothing is kept.
//! Called as an update, where the canister would pay, it tells only of what is there.

use ic_cdk::query;
use ic_nn_store::Version;
use ic_nn_types::{Error, ErrorCode, EstimateRequest, EstimateResponse, Tensor};

use super::inference::{QUERY_INSTRUCTIONS, QUERY_OVERHEAD};
use super::properties::version_of;
use crate::authority::Reader;
use crate::facts::Facts;
use crate::slices::UPDATE_INSTRUCTIONS;
use crate::variant::Content;
use crate::wire::Arg;
use crate::{images, models, pipeline, price, runtime, state};

#[query(hidden = true, decode_with = "crate::wire::decode::<EstimateRequest>")]
pub(super) fn estimate(request: Arg<EstimateRequest>) -> Result<EstimateResponse, Error> {
    Reader::check()?;
    let EstimateRequest { model, graph, shapes } = request?;
    let version = match (model, graph) {
        (Some(model), None) => state::store(|s| s.resolve(&model))?,
        (None, Some(graph)) => version_of(graph)?,
        _ => return Err(Error::invalid_argument("an estimate is of a `model` or of a `graph`, one of both")),
    };
    pipeline::refuse(&version, "ask its stages what they take, where they are")?;
    let stored = Facts::decode(&state::store(|s| s.facts(&version.name, version.version))?)?;
    if !state::residents(|r| r.has(Content::of(&version))) {
        let start = images::start_instructions(&version).unwrap_or(u64::MAX).min(stored.load_instructions);
        must_fit(&version, "it is not loaded, which", start, "load_by_name")?;
    }
    let load_instructions = models::make_resident(&version)?;
    let heap = state::limits();
    let (shapes, lacks) = models::resident(&version, |r| {
        let shapes = r.graph.shapes(shapes, &heap)?;
        let lacks = r.graph.lacks_model(shapes.iter());
        Ok((shapes, lacks))
    })?;
    let mut plan_instructions = 0;
    if lacks {
        must_fit(&version, "these shapes are not planned, which", stored.load_instructions, "infer")?;
        let start = runtime::message_instructions();
        models::bring(&version)?;
        plan_instructions = runtime::message_instructions() - start;
    }
    models::resident(&version, |r| {
        let known = r.facts.runs.iter().flatten().find(|run| run.shapes == shapes).cloned();
        if r.graph.estimate(&shapes).is_none() {
            // A plan takes about what it took before, or what loading does, of which it is the most.
            let expected = known.as_ref().map_or(0, |run| run.plan_instructions);
            let expected = if expected == 0 { stored.load_instructions } else { expected };
            must_fit(&version, "these shapes are not planned, which", expected, "infer")?;
            let start = runtime::message_instructions();
            r.graph.plan_shapes(&shapes, &heap)?;
            plan_instructions += runtime::message_instructions() - start;
        }
        let estimate = r
            .graph
            .estimate(&shapes)
            .ok_or_else(|| Error::new(ErrorCode::RuntimeError, "the plan is gone; try again"))?;
        let bytes = |ty, dimensions: Vec<u32>| {
            Tensor { dimensions, ty, data: vec![] }.expected_bytes().unwrap_or(u64::MAX)
        };
        let described = r.graph.description();
        let inputs: u64 =
            described.inputs.iter().zip(&shapes).map(|(i, shape)| bytes(i.ty, shape.clone())).sum();
        let outputs: u64 = r.graph.outputs(&shapes).into_iter().map(|(ty, shape)| bytes(ty, shape)).sum();
        let instructions =
            estimate.instructions.saturating_add(price::message(inputs, outputs, estimate.peak_bytes));
        let whole = instructions.saturating_add(load_instructions + plan_instructions);
        Ok(EstimateResponse {
            version: version.version,
            instructions,
            run_instructions: estimate.instructions,
            measured_instructions: known.map(|run| run.run_instructions),
            load_instructions,
            plan_instructions,
            at_least: estimate.at_least,
            general_nodes: estimate.general_nodes,
            macs: estimate.macs,
            bytes: estimate.bytes,
            peak_bytes: estimate.peak_bytes,
            fits_query: whole <= QUERY_INSTRUCTIONS,
            fits_update: whole <= UPDATE_INSTRUCTIONS,
            cycles: price::cycles(instructions, inputs),
            shapes,
        })
    })
}

/// Refuses work of about so many instructions that this query has no room for.
fn must_fit(version: &Version, what: &str, expected: u64, method: &str) -> Result<(), Error> {
    let model = format!("`{}:{}`", version.name, version.version);
    if ic_cdk::api::in_replicated_execution() {
        return Err(Error::new(
            ErrorCode::UnsupportedOperation,
            format!(
                "{model} cannot be estimated in an update: {what} a query does; ask by a query, or call {method} first"
            ),
        ));
    }
    let needed = runtime::message_instructions() + expected + expected / 8 + QUERY_OVERHEAD;
    if needed <= QUERY_INSTRUCTIONS {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "{model} cannot be estimated in a query: {what} takes about {expected} instructions, a query has {QUERY_INSTRUCTIONS}; \
         call {method} first, an update, over as many messages of {UPDATE_INSTRUCTIONS} as it takes"
    )))
}
