//! What the canister calls on itself, so that a trap becomes an error. Not in the interface: ingress to these is dropped
//! and any other caller is refused.

use ic_cdk::update;
use ic_nn_engine::Graph;
use ic_nn_store::{PAGE_BYTES, Version};
use ic_nn_types::{Error, ErrorCode, NamedTensor};

use crate::authority::Itself;
use crate::facts::{Facts, Proven};
use crate::resident::Resident;
use crate::tickets::{self, Answer, Inputs};
use crate::wire::{self, Arg};
use crate::{memory, runtime, state};

/// Checks, loads and tries an upload that is being committed, and replies its facts.
pub(crate) const PROBE: &str = "ic_nn_internal_probe";
/// Brings an open graph into the heap.
pub(crate) const LOAD: &str = "ic_nn_internal_load";
/// Runs the inference of a ticket.
pub(crate) const INFER: &str = "ic_nn_internal_infer";
/// Grows stable memory.
pub(crate) const ROOM: &str = "ic_nn_internal_room";
/// Does nothing: the message that awaits it goes on with fresh instructions.
pub(crate) const BREATHE: &str = "ic_nn_internal_breathe";

#[update(hidden = true, name = "ic_nn_internal_probe", decode_with = "crate::wire::decode::<u64>")]
fn probe(upload: Arg<u64>) -> Result<serde_bytes::ByteBuf, Error> {
    Itself::check()?;
    let upload = upload?;
    let (size, hash) = state::store(|s| {
        let announced = s.status(upload, s.owner(upload)?)?.sha256;
        let hash = announced.try_into().map_err(|_| {
            Error::new(ErrorCode::RuntimeError, format!("upload {upload} announces no sha256"))
        })?;
        Ok::<_, Error>((s.upload_blob(upload)?.bytes(), hash))
    })?;
    admit(&hash, size)?;
    let bytes = state::store(|s| Ok::<_, Error>(s.upload_blob(upload)?.to_vec()?))?;
    let (mut graph, load_instructions) = load(bytes)?;
    let start = runtime::message_instructions();
    let trial = graph.trial(&state::limits());
    let facts = Facts::new(&graph, load_instructions, (trial, runtime::message_instructions() - start));
    // The commit that called goes on to publish these very bytes; whoever asks next finds the graph here.
    let encoded = facts.encode()?;
    state::residents(|r| r.insert(hash, graph, facts));
    Ok(serde_bytes::ByteBuf::from(encoded))
}

#[update(hidden = true, name = "ic_nn_internal_load", decode_with = "crate::wire::decode::<u64>")]
fn load_open_graph(graph: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    let graph = graph?;
    let version = state::store(|s| {
        let open = s.graph(graph)?;
        Ok::<_, Error>(s.get(&open.name, open.version)?)
    })?;
    make_resident(&version).map(drop)
}

#[update(hidden = true, name = "ic_nn_internal_infer", decode_with = "crate::wire::decode::<u64>")]
fn infer_ticket(ticket: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    let ticket = ticket?;
    let request = tickets::take(ticket)
        .ok_or_else(|| Error::new(ErrorCode::RuntimeError, format!("ticket {ticket} is not open")))?;
    let version = state::store(|s| s.resolve(&request.model))?;
    let answer = make_resident(&version).and_then(|load_instructions| {
        let ran = run(&version, request.inputs)?;
        remember(&version, &ran.proven)?;
        Ok(Answer {
            outputs: ran.outputs,
            load_instructions,
            plan_instructions: ran.proven.plan_instructions,
            contained_instructions: runtime::message_instructions(),
        })
    });
    tickets::leave(ticket, answer);
    Ok(())
}

#[update(hidden = true, name = "ic_nn_internal_room", decode_with = "crate::wire::decode::<u64>")]
fn room(pages: Arg<u64>) -> Result<(), Error> {
    Itself::check()?;
    let pages = pages?;
    if memory::grow(pages) {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "stable memory could not grow by {} bytes: the canister's memory allocation or the subnet's storage is exhausted",
        pages.saturating_mul(PAGE_BYTES)
    )))
}

#[update(hidden = true, name = "ic_nn_internal_breathe", decode_with = "crate::wire::decode::<u64>")]
fn breathe(_: Arg<u64>) -> Result<(), Error> {
    Itself::check().map(drop)
}

/// The facts in a reply of [`PROBE`].
pub(super) fn probed(reply: &[u8]) -> Result<Vec<u8>, Error> {
    wire::decode::<Result<serde_bytes::ByteBuf, Error>>(reply.to_vec())?.map(serde_bytes::ByteBuf::into_vec)
}

/// The outcome in a reply of [`LOAD`], [`INFER`] and [`ROOM`].
pub(crate) fn done(reply: &[u8]) -> Result<(), Error> {
    wire::decode::<Result<(), Error>>(reply.to_vec())?
}

/// Sees to it that the version's graph is in the heap; instructions that took, 0 where it was there.
pub(super) fn make_resident(version: &Version) -> Result<u64, Error> {
    if state::residents(|r| r.has(&version.sha256)) {
        return Ok(0);
    }
    admit(&version.sha256, version.bytes)?;
    let (bytes, facts) = state::store(|s| {
        let bytes = s.blob(&version.name, version.version)?.to_vec()?;
        Ok::<_, Error>((bytes, s.facts(&version.name, version.version)?))
    })?;
    let facts = Facts::decode(&facts)?;
    let (graph, instructions) = load(bytes)?;
    state::residents(|r| r.insert(version.sha256, graph, facts));
    Ok(instructions)
}

/// What a run gave and took.
pub(super) struct Ran {
    pub(super) outputs: Vec<NamedTensor>,
    pub(super) proven: Proven,
}

/// Runs the version's graph, which is in the heap, planning it first for shapes that are new to it.
pub(super) fn run(version: &Version, inputs: Inputs) -> Result<Ran, Error> {
    let limits = state::limits();
    resident(version, |r| {
        let inputs = match inputs {
            Inputs::Named(inputs) => r.graph.arrange(inputs)?,
            Inputs::Arranged(inputs) => inputs,
        };
        let planned = r.graph.planned(&inputs).is_some();
        let start = runtime::message_instructions();
        r.graph.plan(&inputs, &limits)?;
        let middle = runtime::message_instructions();
        let outputs = r.graph.run(&inputs, &limits)?;
        let end = runtime::message_instructions();
        let proven = Proven {
            shapes: inputs.shapes().cloned().collect(),
            plan_instructions: if planned { 0 } else { middle - start },
            run_instructions: end - middle,
            fixed: r.graph.planned(&inputs).is_some_and(|p| p.fixed),
        };
        Ok(Ran { outputs, proven })
    })
}

/// The version's graph, which is in the heap.
pub(super) fn resident<R>(
    version: &Version,
    f: impl FnOnce(&mut Resident) -> Result<R, Error>,
) -> Result<R, Error> {
    state::residents(|r| match r.get(&version.sha256) {
        Some(resident) => f(resident),
        None => Err(Error::new(ErrorCode::RuntimeError, "the graph left the heap; try again")),
    })
}

/// Remembers what shapes took, for the queries to come.
fn remember(version: &Version, run: &Proven) -> Result<(), Error> {
    let news = resident(version, |r| Ok(r.facts.note(run).then(|| r.facts.clone())))?;
    match news {
        Some(facts) => {
            let facts = facts.encode()?;
            Ok(state::store(|s| s.set_facts(&version.name, version.version, &facts))?)
        }
        None => Ok(()),
    }
}

/// Decodes and plans a file.
fn load(bytes: Vec<u8>) -> Result<(Graph, u64), Error> {
    let start = runtime::message_instructions();
    let graph = Graph::load(bytes, &state::limits())?;
    Ok((graph, runtime::message_instructions() - start))
}

/// Sees to it that a file of `bytes` can be read into the heap. Graphs that nobody holds leave it, but for `keep`, until
/// the file can be expected to load as well: it, its tensors and their packed copies.
fn admit(keep: &[u8; 32], bytes: u64) -> Result<(), Error> {
    while state::limits().available_bytes < bytes.saturating_mul(3) && state::residents(|r| r.evict(keep)) {}
    let available = state::limits().available_bytes;
    if bytes <= available {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "the file has {bytes} bytes, the heap has {available} left (max_heap_bytes); unload graphs or raise the limit"
    )))
}
