//! The registry: list, describe, delete, labels, version policies, retirement.

use ic_cdk::{query, update};
use ic_nn_store::{Indexed, ModelRef, Residency, Selector, Version};
use ic_nn_types::{
    DeleteRequest, Error, GraphDescription, IndexEntry, ListPage, ListRequest, ModelState, VersionPolicy,
};

use super::{contexts, graphs, internal};
use crate::authority::{Admin, Reader, Uploader};
use crate::facts::Facts;
use crate::variant::Content;
use crate::wire::Arg;
use crate::{audit, cache, contained, pipeline, state};

/// Contexts that a deletion closes in a message: each is a few writes to stable memory.
const CONTEXTS_PER_MESSAGE: usize = 1_000;

#[query(hidden = true, decode_with = "crate::wire::decode::<ListRequest>")]
pub(super) fn list(request: Arg<ListRequest>) -> Result<ListPage, Error> {
    Reader::check()?;
    page(&request?)
}

/// A page of the registry.
pub(super) fn page(request: &ListRequest) -> Result<ListPage, Error> {
    let resident = resident_handles();
    state::store(|s| {
        let is_resident = &|graph| resident.contains(&graph);
        Ok(s.list(request, Residency { is_resident, is_loading: &graphs::is_loading })?)
    })
}

#[query(hidden = true, decode_with = "crate::wire::decode::<ListRequest>")]
pub(super) fn repository_index(request: Arg<ListRequest>) -> Result<Vec<IndexEntry>, Error> {
    Reader::check()?;
    let request = request?;
    let resident = resident_handles();
    let page = state::store(|s| {
        let residency =
            Residency { is_resident: &|graph| resident.contains(&graph), is_loading: &graphs::is_loading };
        Ok::<_, Error>(s.index(request.after.as_deref(), request.limit, residency)?)
    })?;
    Ok(page.entries.into_iter().map(entry).collect())
}

/// A line in the Open Inference Protocol's words.
fn entry(of: Indexed) -> IndexEntry {
    let state = match of.state {
        ModelState::Available | ModelState::Loaded => "READY",
        ModelState::Loading => "LOADING",
        ModelState::Uploading => "UPLOADING",
        ModelState::Failed(_) => "FAILED",
        ModelState::Retired => "UNAVAILABLE",
    };
    let version = of.version.map_or(String::new(), |v| v.to_string());
    IndexEntry { name: of.name, version, state: state.into(), reason: of.reason }
}

/// Handles whose graphs are in the heap.
fn resident_handles() -> Vec<u64> {
    state::store(|s| {
        s.graphs()
            .flatten()
            .filter(|g| s.get(&g.name, g.version).is_ok_and(|v| pipeline::is_here(&v)))
            .map(|g| g.graph)
            .collect()
    })
}

#[query(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn describe(model: Arg<String>) -> Result<GraphDescription, Error> {
    Reader::check()?;
    let model = model?;
    described(state::store(|s| s.resolve_any(&model))?)
}

/// All that is known of a version.
pub(super) fn described(version: Version) -> Result<GraphDescription, Error> {
    // A pipeline is of no encoding.
    let encoding = Some(version.encoding).filter(|_| !pipeline::is(&version));
    state::store(|s| {
        let facts = Facts::decode(&s.facts(&version.name, version.version)?)?;
        Ok(GraphDescription {
            provenance: s.provenance(&version.name, version.version)?,
            labels: s.labels_of(&version.name, version.version)?,
            name: version.name,
            version: version.version,
            encoding,
            sha256: version.sha256.to_vec(),
            bytes: version.bytes,
            inputs: facts.inputs,
            outputs: facts.outputs,
            operators: facts.operators,
            parameters: facts.parameters,
            weights: facts.weights,
            quantised_operators: facts.quantised_operators,
            macs: facts.macs,
            peak_bytes: facts.peak_bytes,
            opset: facts.opset,
            producer: facts.producer,
            graph: version.graph,
            load_instructions: facts.load_instructions,
            trial_instructions: facts.trial_instructions,
            trial_refusal: facts.trial_refusal,
            runs: facts.runs.unwrap_or_default(),
        })
    })
}

#[update(hidden = true, decode_with = "crate::wire::decode::<DeleteRequest>")]
pub(super) async fn delete(request: Arg<DeleteRequest>) -> Result<u32, Error> {
    let uploader = Uploader::check()?;
    let DeleteRequest { model, sha256 } = request?;
    // Where memory cannot grow a deletion is tried all the same: it takes less than it gives back.
    let _ = contained::room(0).await;
    // A bare name takes every version with it, whoever uploaded them.
    match state::store(|s| s.uploader_of(&model))? {
        Some(owner) => uploader.must_own(owner)?,
        None => uploader.must_be_admin("versions of several uploaders")?,
    }
    let version = state::store(|s| s.resolve_any(&model))?;
    let files: Vec<_> = state::store(|s| s.contents_of(&version.name));
    let deleted = state::store(|s| Ok(s.delete(&model, &sha256)?));
    let deleted = audit::of(uploader.caller(), "delete", &model, deleted)?;
    contexts::sweep();
    graphs::refresh_pins();
    for content in files.into_iter().flat_map(Content::all) {
        state::residents(|r| r.drop_unpinned(content));
        pipeline::forget(content.sha256);
        cache::forget(content);
    }
    // Contexts on what is gone answer so already; here they stop counting as open, some in each message.
    for version in &deleted.versions {
        while state::store(|s| s.close_contexts_of(&deleted.name, *version, CONTEXTS_PER_MESSAGE))
            .is_ok_and(|closed| closed.len() == CONTEXTS_PER_MESSAGE)
        {
            contained::call(internal::BREATHE, 0).await?;
        }
    }
    Ok(deleted.versions.len() as u32)
}

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(String, String)>")]
pub(super) async fn set_label(arguments: Arg<(String, String)>) -> Result<(), Error> {
    let uploader = Uploader::check()?;
    let (model, label) = arguments?;
    contained::room(0).await?;
    let version = owned(&uploader, &model)?;
    let set = state::store(|s| Ok(s.set_label(&version.name, version.version, &label).map(drop)?));
    audit::of(uploader.caller(), "set_label", &format!("{}:{}@{label}", version.name, version.version), set)
}

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(String, String)>")]
pub(super) fn remove_label(arguments: Arg<(String, String)>) -> Result<(), Error> {
    let uploader = Uploader::check()?;
    let (name, label) = arguments?;
    let version = owned(&uploader, &format!("{name}@{label}"))?;
    let removed = state::store(|s| Ok(s.remove_label(&version.name, &label).map(drop)?));
    audit::of(uploader.caller(), "remove_label", &format!("{name}@{label}"), removed)
}

/// The version that a reference means, which has to be the caller's, or the caller an admin.
fn owned(uploader: &Uploader, model: &str) -> Result<Version, Error> {
    let version = state::store(|s| s.resolve_any(model))?;
    uploader.must_own(version.uploader)?;
    Ok(version)
}

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(String, VersionPolicy)>")]
pub(super) async fn set_version_policy(arguments: Arg<(String, VersionPolicy)>) -> Result<(), Error> {
    let admin = Admin::check()?;
    let (name, policy) = arguments?;
    contained::room(0).await?;
    let subject = format!("{name} {policy:?}");
    let set = state::store(|s| Ok(s.set_version_policy(&name, &policy)?));
    audit::of(admin.caller(), "set_version_policy", &subject, set)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn version_policy(name: Arg<String>) -> Result<VersionPolicy, Error> {
    Reader::check()?;
    let name = name?;
    Ok(state::store(|s| s.version_policy(&name))?)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn retire(model: Arg<String>) -> Result<(), Error> {
    set_retired(model, "retire", true)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn restore(model: Arg<String>) -> Result<(), Error> {
    set_retired(model, "restore", false)
}

fn set_retired(model: Arg<String>, method: &str, retired: bool) -> Result<(), Error> {
    let uploader = Uploader::check()?;
    let model = model?;
    // A bare name could mean another version by the time the call arrives.
    if ModelRef::parse(&model).is_ok_and(|r| r.selector == Selector::Newest) {
        return Err(Error::invalid_argument(format!("`{model}` names no version; say which: `{model}:1`")));
    }
    let version = owned(&uploader, &model)?;
    let done = state::store(|s| {
        match retired {
            true => s.retire(&version.name, version.version)?,
            false => s.restore(&version.name, version.version)?,
        }
        Ok(())
    });
    audit::of(uploader.caller(), method, &format!("{}:{}", version.name, version.version), done)
}
