//! Where every byte is.

use ic_cdk::query;
use ic_nn_types::{Error, MemoryGraph, MemoryModel, MemoryStatus, WeightCache};

use super::contexts;
use crate::authority::Reader;
use crate::variant::Content;
use crate::{cache, ledger, memory, runtime, state, streams};

#[query(hidden = true)]
pub(super) fn memory_status() -> Result<MemoryStatus, Error> {
    Reader::check()?;
    let kept = state::store(|s| s.extents())?;
    let mut graphs = vec![];
    let (mut graph_bytes, mut layouts) = (0u64, 0u64);
    state::residents(|r| {
        for resident in r.iter() {
            let of = |kept: &&ic_nn_store::Kept| Content { sha256: kept.sha256, variant: kept.variant };
            let models = kept.versions.iter().filter(|kept| of(kept) == resident.content());
            let streamed_bytes = resident.graph.streamed_bytes();
            graph_bytes = graph_bytes.saturating_add(resident.bytes());
            layouts = layouts.saturating_add(resident.graph.layout_bytes());
            graphs.push(MemoryGraph {
                models: models.map(|kept| kept.model.clone()).collect(),
                bytes: resident.bytes(),
                streamed_bytes,
                cached_bytes: resident.graph.cached_bytes(),
                pinned: resident.is_pinned(),
                last_used: resident.used(),
            });
        }
    });
    let usage = streams::cache().usage();
    let heap_bytes = runtime::heap_bytes();
    let heap = shared(
        heap_bytes,
        &[
            ("graphs", graph_bytes),
            ("weight cache", usage.bytes),
            ("contexts", contexts::held_bytes()),
            ("runs under way", ledger::waiting()),
            ("arena layouts", layouts),
            ("answers", cache::bytes()),
        ],
    );
    let stable_bytes = ic_cdk::api::stable_size() * ic_nn_store::PAGE_BYTES;
    let models = kept.versions.iter().map(|kept| MemoryModel {
        model: kept.model.clone(),
        file_bytes: kept.file_bytes,
        image_bytes: kept.image_bytes,
    });
    let models: Vec<MemoryModel> = models.collect();
    let files: u64 = models.iter().map(|model| model.file_bytes).sum();
    let images: u64 = models.iter().map(|model| model.image_bytes).sum();
    let (tables, blobs) = memory::sizes();
    let free = blobs.saturating_sub(files + images + kept.upload_bytes);
    let stable = shared(
        stable_bytes,
        &[
            ("files", files),
            ("images", images),
            ("open uploads", kept.upload_bytes),
            ("free for files", free),
            ("tables", tables),
        ],
    );
    Ok(MemoryStatus {
        heap_bytes,
        max_heap_bytes: state::store(|s| s.settings().max_heap_bytes),
        heap,
        graphs,
        stable_bytes,
        stable,
        models,
        weight_cache: WeightCache {
            max_bytes: usage.most,
            bytes: usage.bytes,
            hits: usage.hits,
            misses: usage.misses,
            read_bytes: usage.read,
        },
    })
}

/// The parts with their names, and the rest of the whole. Parts that overlap the whole are cut, the last first.
fn shared(whole: u64, parts: &[(&str, u64)]) -> Vec<(String, u64)> {
    let mut left = whole;
    let mut shared: Vec<(String, u64)> = vec![];
    for (name, bytes) in parts {
        let bytes = left.min(*bytes);
        left -= bytes;
        shared.push(((*name).to_owned(), bytes));
    }
    shared.push(("rest".to_owned(), left));
    shared
}
