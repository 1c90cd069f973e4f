//! The server itself: alive, ready, what it is, what it can, what its models have done.

use ic_cdk::query;
use ic_nn_engine::encoding;
use ic_nn_store::Version;
use ic_nn_types::{
    Capabilities, CostSchedule, Error, ExecutionTarget, Limits, MAX_CHUNK_BYTES, ModelMetadata,
    ModelStatistics, ServerMetadata, TargetSupport,
};

use super::inference::QUERY_INSTRUCTIONS;
use super::{graphs, http};
use crate::authority::Reader;
use crate::facts::Facts;
use crate::slices::UPDATE_INSTRUCTIONS;
use crate::wire::{self, Arg};
use crate::{pipeline, receipts, runtime, state};

/// The wasi-nn specification that is mirrored.
const SPECIFICATION: &str = "wasi:nn@0.2.0-rc-2024-10-28";

#[query(hidden = true)]
pub(super) fn server_live() -> bool {
    true
}

/// Every graph with a handle is in the heap and warm.
#[query(hidden = true)]
pub(super) fn server_ready() -> bool {
    is_ready()
}

pub(super) fn is_ready() -> bool {
    let open: Vec<(u64, Version)> = state::store(|s| {
        s.graphs().flatten().filter_map(|g| s.get(&g.name, g.version).ok().map(|v| (g.graph, v))).collect()
    });
    open.iter().all(|(graph, version)| !graphs::is_loading(*graph) && pipeline::is_here(version))
}

#[query(hidden = true)]
pub(super) fn server_metadata() -> ServerMetadata {
    ServerMetadata {
        name: "ic-nn".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: ["model_repository", "statistics", "wasi_nn"].map(String::from).to_vec(),
        engine: ic_nn_engine::ENGINE.into(),
        specification: SPECIFICATION.into(),
        encodings: encoding::support()
            .into_iter()
            .filter(|e| e.supported)
            .map(|e| format!("{} ({})", encoding::label(e.encoding), e.detail))
            .collect(),
        tensor_types: ic_nn_engine::tensor_types().iter().map(|t| t.label().into()).collect(),
        limits: limits(),
        heap_bytes: runtime::heap_bytes(),
        stable_bytes: ic_cdk::api::stable_size() * 65_536,
        loaded_graphs: state::residents(|r| r.len()) as u32,
    }
}

pub(super) fn limits() -> Limits {
    let settings = state::store(|s| s.settings());
    Limits {
        max_chunk_bytes: MAX_CHUNK_BYTES,
        max_model_bytes: settings.max_model_bytes,
        max_total_bytes: settings.max_total_bytes,
        max_heap_bytes: settings.max_heap_bytes,
        max_weight_cache_bytes: Some(settings.max_weight_cache_bytes),
        max_open_uploads: settings.max_open_uploads,
        max_bytes_per_uploader: settings.max_bytes_per_uploader,
        abandoned_after_seconds: settings.abandoned_after_seconds,
        max_contexts: settings.max_contexts,
        instructions_per_caller_and_day: settings.instructions_per_caller_and_day,
        max_tensor_bytes: (wire::MAX_UPDATE_REPLY - wire::REPLY_OVERHEAD) as u64,
        update_instructions: UPDATE_INSTRUCTIONS,
        query_instructions: QUERY_INSTRUCTIONS,
    }
}

/// A served version whose graph is in the heap and warm, or that has no handle and loads when it is asked.
#[query(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn model_ready(model: Arg<String>) -> bool {
    let Ok(Ok(version)) = model.map(|model| state::store(|s| s.resolve(&model))) else { return false };
    version.graph.is_none_or(|graph| !graphs::is_loading(graph) && pipeline::is_here(&version))
}

#[query(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn model_metadata(model: Arg<String>) -> Result<ModelMetadata, Error> {
    Reader::check()?;
    let model = model?;
    let version = state::store(|s| s.resolve(&model))?;
    let platform = if pipeline::is(&version) { "pipeline" } else { "onnx_tract" };
    state::store(|s| {
        let facts = Facts::decode(&s.facts(&version.name, version.version)?)?;
        Ok(ModelMetadata {
            versions: s.served_versions(&version.name)?.iter().map(u64::to_string).collect(),
            name: version.name,
            platform: platform.into(),
            inputs: facts.inputs,
            outputs: facts.outputs,
        })
    })
}

#[query(hidden = true, decode_with = "crate::wire::decode::<String>")]
pub(super) fn model_statistics(model: Arg<String>) -> Result<ModelStatistics, Error> {
    Reader::check()?;
    let model = model?;
    state::store(|s| {
        let version = s.resolve_any(&model)?;
        Ok(s.statistics(&version.name, version.version)?)
    })
}

#[query(hidden = true)]
pub(super) fn capabilities() -> Capabilities {
    let target = |target, supported, detail: &str| TargetSupport { target, supported, detail: detail.into() };
    Capabilities {
        specification: SPECIFICATION.into(),
        engine: ic_nn_engine::ENGINE.into(),
        build: receipts::BUILD.into(),
        encodings: encoding::support(),
        tensor_types: ic_nn_engine::tensor_types(),
        targets: vec![
            target(ExecutionTarget::Cpu, true, "wasm SIMD in this canister"),
            target(ExecutionTarget::Gpu, false, "load for `cpu`, or set `fallback`"),
            target(ExecutionTarget::Tpu, false, "load for `cpu`, or set `fallback`"),
        ],
        operators: ic_nn_engine::supported_operators().into_iter().collect(),
        limits: limits(),
        policy: state::store(|s| s.policy()),
        price: state::store(|s| s.price()),
        costs: CostSchedule::of_2025_10(),
    }
}

#[query(hidden = true, decode_with = "crate::wire::decode::<ic_nn_types::HttpRequest>")]
pub(super) fn http_request(request: Arg<ic_nn_types::HttpRequest>) -> ic_nn_types::HttpResponse {
    match request {
        Ok(request) => http::answer(&request),
        Err(e) => http::plain(400, &e.to_string()),
    }
}
