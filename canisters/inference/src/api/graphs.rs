//! Graphs: load, describe, unload, and the pins that keep loaded ones in the heap.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ic_cdk::{query, update};
use ic_nn_engine::encoding;
use ic_nn_store::Version;
use ic_nn_types::{
    Error, ErrorCode, ExecutionTarget, Graph, GraphBuilder, GraphDescription, GraphEncoding, LoadOptions,
    NamedTensor, Tensor,
};
use sha2::{Digest, Sha256};

use super::internal::{self, Candidate, Probe, Probed};
use super::properties::{Properties, version_of};
use crate::authority::{Reader, Uploader};
use crate::facts::Facts;
use crate::run::{self, Limits};
use crate::slices::{self, Slices};
use crate::tickets::Ticket;
use crate::variant::Content;
use crate::wire::Arg;
use crate::{audit, contained, images, pipeline, state};

thread_local! {
    /// Handles whose graphs are on their way into the heap, or warm up.
    static LOADING: RefCell<BTreeSet<Graph>> = const { RefCell::new(BTreeSet::new()) };
}

/// Whether the handle's graph is on its way into the heap, or warms up.
pub(crate) fn is_loading(graph: Graph) -> bool {
    LOADING.with_borrow(|l| l.contains(&graph))
}

/// A handle that is loading until this goes, also when the message that holds it traps after an await.
struct Loading(Graph);

impl Loading {
    fn begin(graph: Graph) -> Self {
        LOADING.with_borrow_mut(|l| l.insert(graph));
        Loading(graph)
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        LOADING.with_borrow_mut(|l| l.remove(&self.0));
    }
}

type LoadArguments = (Vec<GraphBuilder>, GraphEncoding, ExecutionTarget, Option<LoadOptions>);

#[update(hidden = true, decode_with = "crate::wire::decode_all::<LoadArguments>")]
pub(super) async fn load(arguments: Arg<LoadArguments>) -> Result<Graph, Error> {
    let uploader = Uploader::check()?;
    let (builders, encoding, target, options) = arguments?;
    offered(target, options.unwrap_or_default().fallback == Some(true))?;
    let files: Vec<Vec<u8>> = builders.into_iter().map(GraphBuilder::into_vec).collect();
    let Some(first) = files.first() else {
        return Err(Error::invalid_argument(
            "load takes at least one builder, none came; the first is the model's file",
        ));
    };
    let manifest = ic_nn_types::Pipeline::is(first);
    let encoding = if manifest { encoding } else { encoding::check(encoding, first)? };
    let bytes: u64 = files.iter().map(|f| f.len() as u64).sum();
    let mut hash = Sha256::new();
    files.iter().for_each(|f| hash.update(f));
    let sha256: [u8; 32] = hash.finalize().into();
    state::store(|s| s.keep_grows_by(bytes))?;
    let probed = if manifest {
        let slices: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        pipeline::tried(encoding, &slices).await.map(|facts| (facts, files))
    } else {
        probe(Candidate::Files { files, sha256, encoding }).await
    };
    let loaded = match probed {
        Ok((facts, files)) => keep(&uploader, &files, sha256, encoding, &facts).await,
        Err(e) => Err(e),
    };
    let graph = audit::of(uploader.caller(), "load", &format!("{bytes} bytes"), loaded)?;
    refresh_pins();
    if let Ok(version) = version_of(graph) {
        images::keep(&version).await;
    }
    Ok(graph)
}

/// Keeps the files of a model that has passed its trial, and opens a handle on it.
async fn keep(
    uploader: &Uploader,
    files: &[Vec<u8>],
    sha256: [u8; 32],
    encoding: GraphEncoding,
    facts: &[u8],
) -> Result<Graph, Error> {
    // Asked for here, with nothing awaited between it and the writing: another message could take it.
    let grows = state::store(|s| s.keep_grows_by(files.iter().map(|f| f.len() as u64).sum()))?;
    contained::room(grows).await?;
    state::store(|s| {
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let version = s.keep(&files, sha256, encoding, uploader.caller(), facts, ic_cdk::api::time())?;
        Ok(s.open_graph(&version.name, version.version, uploader.caller())?)
    })
}

/// Refuses a target that is not there, unless the caller takes the cpu instead.
fn offered(target: ExecutionTarget, fallback: bool) -> Result<(), Error> {
    if target == ExecutionTarget::Cpu || fallback {
        return Ok(());
    }
    let name = if target == ExecutionTarget::Gpu { "gpu" } else { "tpu" };
    Err(Error::new(
        ErrorCode::UnsupportedOperation,
        format!("the target `{name}` is not offered here (capabilities); load for `cpu`, or set `fallback`"),
    ))
}

/// Has files checked, loaded and tried in a contained call.
pub(super) async fn probe(candidate: Candidate) -> Result<Probed, Error> {
    let ticket = Ticket::new(Probe::Asked(candidate, Slices::of(None)));
    slices::until_done::<Probe>(internal::PROBE, &ticket).await?;
    ticket
        .answer::<Probed>()
        .ok_or_else(|| Error::new(ErrorCode::RuntimeError, "the trial left no answer; try again"))
}

#[update(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) async fn load_by_name(model: Arg<String>) -> Result<Graph, Error> {
    let uploader = Uploader::check()?;
    let model = model?;
    contained::room(0).await?;
    let (version, graph) = state::store(|s| {
        let version = s.resolve(&model)?;
        let graph = s.open_graph(&version.name, version.version, uploader.caller())?;
        Ok::<_, Error>((version, graph))
    })?;
    let loaded = bring(&version, graph).await;
    if loaded.is_err() && version.graph.is_none() {
        // The handle was nobody's before this call.
        let _ = state::store(|s| s.close_graph(graph));
    }
    refresh_pins();
    let subject = format!("{}:{}", version.name, version.version);
    audit::of(uploader.caller(), "load_by_name", &subject, loaded.map(|()| graph))
}

/// Brings an open graph into the heap and warms it up.
pub(crate) async fn bring(version: &Version, graph: Graph) -> Result<(), Error> {
    let _loading = Loading::begin(graph);
    if pipeline::is(version) {
        pipeline::bring(version).await?;
    } else {
        // Again where it was only to be written as an image that is then read where it lies.
        for _ in 0..2 {
            if !state::residents(|r| r.has(Content::of(version))) {
                let reply = contained::call(internal::LOAD, graph).await?;
                internal::done(&reply)?;
                images::keep(version).await;
            }
        }
    }
    refresh_pins();
    let shapes = Properties::of(version)?.warmup;
    if shapes.is_empty() {
        return Ok(());
    }
    let facts = Facts::decode(&state::store(|s| s.facts(&version.name, version.version))?)?;
    for set in shapes {
        let zeros = zeros(&facts, &set)?;
        run::infer(version, zeros, Limits::default())
            .await
            .map_err(|e| Error::new(e.code, format!("the warm-up on {set:?} failed: {}", e.data)))?;
    }
    Ok(())
}

/// Zeros of these shapes for a model's inputs.
fn zeros(facts: &Facts, shapes: &[Vec<u32>]) -> Result<Vec<NamedTensor>, Error> {
    if shapes.len() != facts.inputs.len() {
        return Err(Error::invalid_argument(format!(
            "the property `warmup` has {} shapes in a set, the model {} inputs",
            shapes.len(),
            facts.inputs.len()
        )));
    }
    let available = state::limits().available_bytes;
    facts
        .inputs
        .iter()
        .zip(shapes)
        .map(|(input, shape)| {
            let mut tensor = Tensor { dimensions: shape.clone(), ty: input.ty, data: vec![] };
            let bytes = tensor.expected_bytes().filter(|b| *b <= available).ok_or_else(|| {
                Error::too_large(format!("the warm-up shape {shape:?} does not fit the heap"))
            })?;
            tensor.data = vec![0; bytes as usize];
            Ok((input.name.clone(), tensor))
        })
        .collect()
}

#[query(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn describe_graph(graph: Arg<Graph>) -> Result<GraphDescription, Error> {
    Reader::check()?;
    super::registry::described(version_of(graph?)?)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<u64>")]
pub(super) fn unload(graph: Arg<Graph>) -> Result<(), Error> {
    let uploader = Uploader::check()?;
    let graph = graph?;
    let version = version_of(graph).ok();
    if let Some(version) = &version {
        let opener = state::store(|s| s.graph(graph))?.opener;
        uploader.must_own_or_have_opened(version.uploader, opener)?;
    }
    let closed = state::store(|s| Ok::<_, Error>(s.close_graph(graph)?));
    audit::of(uploader.caller(), "unload", &format!("graph {graph}"), closed)?;
    refresh_pins();
    if let Some(version) = version {
        release(&version);
    }
    Ok(())
}

/// Lets go of a version that no handle is open on any more: execution contexts may still need it.
pub(super) fn release(version: &Version) {
    let needed = state::store(|s| {
        s.contexts_of_version(&version.name, version.version)
            || s.get(&version.name, version.version).is_ok_and(|v| v.graph.is_some())
    });
    if needed {
        return;
    }
    state::residents(|r| r.drop_unpinned(Content::of(version)));
    pipeline::forget(version.sha256);
    if version.is_anonymous() {
        let _ = state::store(|s| s.discard(&version.name));
    }
}

/// Pins what has an open handle and may not be evicted, and nothing else.
pub(crate) fn refresh_pins() {
    let open: Vec<Version> =
        state::store(|s| s.graphs().flatten().filter_map(|g| s.get(&g.name, g.version).ok()).collect());
    let contents =
        open.iter().filter(|v| !Properties::of(v).is_ok_and(|p| p.evictable)).map(Content::of).collect();
    state::residents(|r| r.pin(&contents));
}
