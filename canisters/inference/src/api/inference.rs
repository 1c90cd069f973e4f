//! Inference in one call: as an update, and as a query.
//!
//! An update meets what is new to the engine in a call to itself, whose trap becomes an error. A query has no such call,
//! so it runs only what an update has run before: shapes that are known to go through, at a cost that is known to fit.

use ic_cdk::{query, update};
use ic_nn_store::Version;
use ic_nn_types::{
    Error, ErrorCode, InferParameters, InferRequest, InferResponse, NamedTensor, NodeProfile,
    ProfileResponse, Receipt, RunFacts, Verdict, VerifyRequest,
};

use super::properties::Properties;
use crate::authority::{Querier, Spender};
use crate::facts::Facts;
use crate::resident::Resident;
use crate::run::{self, Answer, Inputs, Limits};
use crate::slices::UPDATE_INSTRUCTIONS;
use crate::variant::{self, Content};
use crate::wire::{self, Arg};
use crate::{images, jobs, models, pipeline, receipts, runtime, state};

/// Instructions that the Internet Computer grants a query.
pub(super) const QUERY_INSTRUCTIONS: u64 = 5_000_000_000;
/// What a query needs beside the inference: reading the argument and writing the reply, 3 MiB at the most.
pub(super) const QUERY_OVERHEAD: u64 = 50_000_000;

#[update(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) async fn infer(request: Arg<InferRequest>) -> Result<InferResponse, Error> {
    let spender = Spender::check()?;
    let InferRequest { model, inputs, outputs, parameters } = request?;
    let version = state::store(|s| s.resolve(&model))?;
    let parameters = parameters.unwrap_or_default();
    let limits = limits(&version, &parameters)?;
    spender.pay();
    jobs::wake();
    let result = run::infer(&version, inputs, limits).await;
    account(&spender, &version, &result);
    let wanted = outputs.as_ref();
    respond(&version, result?, wanted, &parameters, wire::MAX_UPDATE_REPLY)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) fn infer_query(request: Arg<InferRequest>) -> Result<InferResponse, Error> {
    Querier::check()?;
    let InferRequest { model, inputs, outputs, parameters } = request?;
    let version = state::store(|s| s.resolve(&model))?;
    let parameters = parameters.unwrap_or_default();
    let limits = limits(&version, &parameters)?;
    pipeline::refuse(&version, "a query cannot call them; call `infer`, an update")?;
    refuse_what_cannot_load(&version)?;
    let load_instructions = models::make_resident(&version)?;
    let heap = state::limits();
    let inputs = models::resident(&version, |r| {
        let inputs = r.graph.arrange(inputs, &heap)?;
        refuse_what_is_not_known(&version, r, &inputs, load_instructions)?;
        Ok(inputs)
    })?;
    let ran = run::run(&version, Inputs::Arranged(inputs), limits)?;
    // The same method called as an update replies as an update does.
    let limit =
        if ic_cdk::api::in_replicated_execution() { wire::MAX_UPDATE_REPLY } else { wire::MAX_QUERY_REPLY };
    let answer = Answer { load_instructions, ..ran.into() };
    respond(&version, answer, outputs.as_ref(), &parameters, limit)
}

/// Bytes of stable memory that a query may read for a graph: the Internet Computer lets it touch 1 GiB.
const QUERY_BYTES: u64 = 7 << 27;

/// Nodes that a reply has room for: each is a name of 200 bytes at most and some numbers.
const MAX_NODES: usize = 5_000;

#[update(hidden = true, decode_with = "crate::wire::decode::<InferRequest>")]
pub(super) async fn profile(request: Arg<InferRequest>) -> Result<ProfileResponse, Error> {
    let spender = Spender::check()?;
    let InferRequest { model, inputs, parameters, .. } = request?;
    let version = state::store(|s| s.resolve(&model))?;
    let limits = limits(&version, &parameters.unwrap_or_default())?;
    spender.pay();
    let limits = Limits { profile: true, cache_entries: 0, hash: false, ..limits };
    let result = run::infer(&version, inputs, limits).await;
    account(&spender, &version, &result);
    let Answer { mut nodes, arena, .. } = result?;
    let instructions = nodes.iter().map(|node| node.instructions).sum();
    let count = nodes.len() as u32;
    // The dearest, in the order in which they ran.
    if nodes.len() > MAX_NODES {
        let mut dearest: Vec<u64> = nodes.iter().map(|node| node.instructions).collect();
        dearest.sort_unstable_by(|a, b| b.cmp(a));
        nodes.retain(|node| node.instructions >= dearest[MAX_NODES - 1]);
        nodes.truncate(MAX_NODES);
    }
    let nodes = nodes
        .into_iter()
        .map(|node| NodeProfile {
            name: node.name.chars().take(200).collect(),
            operator: node.operator,
            dimensions: node.dimensions,
            macs: node.macs,
            bytes: node.bytes,
            instructions: node.instructions,
            estimate: Some(node.estimate),
        })
        .collect();
    let (arena_bytes, alive_bytes) = arena.unzip();
    Ok(ProfileResponse { version: version.version, nodes, count, instructions, arena_bytes, alive_bytes })
}

#[update(hidden = true, decode_with = "crate::wire::decode::<VerifyRequest>")]
pub(super) async fn verify_receipt(request: Arg<VerifyRequest>) -> Result<Verdict, Error> {
    let spender = Spender::check()?;
    let VerifyRequest { receipt, inputs, outputs } = request?;
    let Ok(model) = <[u8; 32]>::try_from(receipt.model.as_slice()) else {
        return Err(Error::invalid_argument(format!(
            "the receipt's model has {} bytes, a sha256 has 32",
            receipt.model.len()
        )));
    };
    spender.pay();
    let mut mismatches = vec![];
    let mut differs = |what: &str, expected: &[u8], came: &[u8; 32]| {
        if expected != came {
            mismatches.push(format!("{what}: the receipt says {}, it is {}", hex(expected), hex(came)));
        }
    };
    differs("hash", &receipt.hash, &receipts::sealed(&receipt));
    let recomputed = outputs.is_none();
    let (inputs_hash, outputs) = match outputs {
        Some(outputs) => {
            let hash = receipts::tensors(inputs.iter().map(|(name, t)| (name.as_str(), t)));
            (hash, outputs)
        }
        None => {
            let version = state::store(|s| s.by_content(&model))?.ok_or_else(|| {
                Error::not_found(format!(
                    "no version has the sha256 {} any more; pass the outputs to have them hashed",
                    hex(&model)
                ))
            })?;
            let version = Version { variant: variant::of_engine(&receipt.engine), ..version };
            let limits = Limits { hash: true, ..Default::default() };
            let result = run::infer(&version, inputs, limits).await;
            account(&spender, &version, &result);
            let answer = result?;
            (answer.inputs_hash.unwrap_or_default(), answer.outputs)
        }
    };
    differs("inputs", &receipt.inputs, &inputs_hash);
    let outputs_hash = receipts::tensors(outputs.iter().map(|(name, t)| (name.as_str(), t)));
    differs("outputs", &receipt.outputs, &outputs_hash);
    let engine = variant::engine(variant::of_engine(&receipt.engine));
    if receipt.engine != engine {
        mismatches.push(format!("engine: the receipt says {}, this is {engine}", receipt.engine));
    }
    Ok(Verdict { valid: mismatches.is_empty(), mismatches, recomputed })
}

/// What the caller and the model ask of the run.
pub(crate) fn limits(version: &Version, parameters: &InferParameters) -> Result<Limits, Error> {
    let properties = Properties::of(version)?;
    let most = [parameters.max_instructions, properties.max_instructions].into_iter().flatten().min();
    Ok(Limits {
        max_instructions: most,
        hash: parameters.receipt == Some(true),
        cache_entries: if parameters.cache == Some(false) { 0 } else { properties.cache },
        profile: false,
        slice_instructions: parameters.slice_instructions,
        job: None,
        max_batch: properties.max_batch,
    })
}

/// Counts what an inference in an update took, for the model and against the caller's day: its instructions.
pub(crate) fn account(spender: &Spender, version: &Version, result: &Result<Answer, Error>) -> u64 {
    let (now, own) = (ic_cdk::api::time(), runtime::call_instructions());
    let (name, number) = (&version.name, version.version);
    let taken = match result {
        Ok(answer) if answer.cached => {
            state::store(|s| s.record_hit(name, number, now));
            own + answer.contained_instructions
        }
        Ok(answer) => {
            let taken = own + answer.contained_instructions;
            state::store(|s| s.record_success(name, number, now, taken));
            taken
        }
        Err(_) => {
            state::store(|s| s.record_fail(name, number));
            own
        }
    };
    spender.spent(taken);
    taken
}

/// Refuses to load in a query what would leave no instructions for any inference, by what the upload measured.
fn refuse_what_cannot_load(version: &Version) -> Result<(), Error> {
    if state::residents(|r| r.has(Content::of(version))) {
        return Ok(());
    }
    let facts = state::store(|s| s.facts(&version.name, version.version))?;
    let facts = Facts::decode(&facts)?;
    let load = images::start_instructions(version).unwrap_or(u64::MAX).min(facts.load_instructions);
    let run = facts.runs.iter().flatten().map(|p| p.run_instructions).min().unwrap_or(0);
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
    let Some(&RunFacts { run_instructions: run, plan_instructions, fixed, .. }) = resident.known(inputs)
    else {
        let dimensions: Vec<Vec<u32>> = inputs.shapes().cloned().collect();
        let shapes: Vec<_> = dimensions.iter().map(|s| format!("{s:?}")).collect();
        // Planned, as what was loaded is, but never run: what it will take is known all the same.
        let estimate = resident.graph.estimate(&dimensions).map(|e| e.instructions);
        if let Some(estimate) = estimate
            && runtime::message_instructions().saturating_add(estimate) + QUERY_OVERHEAD > QUERY_INSTRUCTIONS
        {
            return Err(Error::too_large(format!(
                "{model} would take about {estimate} instructions on these inputs, a query has {QUERY_INSTRUCTIONS}; call \
                 `infer`, an update, over as many messages of {UPDATE_INSTRUCTIONS} as it takes"
            )));
        }
        let takes = match estimate {
            Some(estimate) => format!(", about {estimate} instructions"),
            None => "; `estimate` says what it would take".to_owned(),
        };
        return unsupported(format!(
            "{model} has not run on inputs of {} before, and a query cannot be the first to; call `infer` with them once, \
             an update: queries take them from then on{takes}",
            shapes.join(", ")
        ));
    };
    let run = match resident.graph.streamed_bytes() {
        0 => run,
        bytes if bytes > QUERY_BYTES => {
            return Err(Error::too_large(format!(
                "{model} reads {bytes} bytes of weights from stable memory, a query may touch {QUERY_BYTES}; call `infer`, an update"
            )));
        }
        // It may have been measured with the weights in the heap.
        _ => {
            let shapes: Vec<Vec<u32>> = inputs.shapes().cloned().collect();
            resident.graph.estimate(&shapes).map_or(run, |estimate| run.max(estimate.instructions))
        }
    };
    // With just these values a graph whose shapes depend on them may have run here.
    let same = resident.graph.planned(inputs).is_some_and(|p| p.has_run && p.fixed);
    if !fixed && !same {
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
    // A graph that was read from its image has its model to read and decode first.
    let decoding =
        if resident.graph.lacks_model(inputs.shapes()) { resident.facts.load_instructions } else { 0 };
    let plan = plan.saturating_add(decoding);
    // Other values take up to 2 % more (measured), by the order of what the allocator and hash maps hold.
    let needed = runtime::message_instructions() + plan + run + run / 32 + QUERY_OVERHEAD;
    if needed <= QUERY_INSTRUCTIONS {
        return Ok(());
    }
    let advice = if load + plan == 0 {
        format!("call `infer`, an update, over as many messages of {UPDATE_INSTRUCTIONS} as it takes")
    } else {
        format!(
            "loading it took {load} of them and planning for these shapes takes {plan}; call load_by_name first and `infer` \
             once, or only `infer`, an update, over as many messages of {UPDATE_INSTRUCTIONS} as it takes"
        )
    };
    Err(Error::too_large(format!(
        "{model} takes {run} instructions on these inputs, a query has {QUERY_INSTRUCTIONS}; {advice}"
    )))
}

/// The receipt of these outputs, where it was asked for.
pub(crate) fn receipt(
    version: &Version,
    inputs: &Option<[u8; 32]>,
    outputs: &[NamedTensor],
    parameters: &InferParameters,
) -> Option<Receipt> {
    let inputs = inputs.filter(|_| parameters.receipt == Some(true))?;
    let outputs = receipts::tensors(outputs.iter().map(|(name, t)| (name.as_str(), t)));
    Some(receipts::receipt(Content::of(version), inputs, outputs))
}

fn respond(
    version: &Version,
    answer: Answer,
    wanted: Option<&Vec<String>>,
    parameters: &InferParameters,
    limit: usize,
) -> Result<InferResponse, Error> {
    let outputs = match wanted {
        Some(_) => run::select(&answer.outputs, wanted)?,
        None => answer.outputs,
    };
    wire::check_reply(&outputs, limit)?;
    let receipt = receipt(version, &answer.inputs_hash, &outputs, parameters);
    Ok(InferResponse {
        outputs,
        version: version.version,
        instructions: runtime::call_instructions() + answer.contained_instructions,
        load_instructions: answer.load_instructions,
        plan_instructions: answer.plan_instructions,
        cached: answer.cached,
        receipt,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
