//! Where every byte is.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// Heap and stable memory by purpose, and of what is in them.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemoryStatus {
    /// Heap in use by the whole canister, bytes.
    pub heap_bytes: u64,
    /// What it may be, bytes.
    pub max_heap_bytes: u64,
    /// The heap by purpose: what it is for, and bytes. They sum up to `heap_bytes`.
    pub heap: Vec<(String, u64)>,
    /// Graphs in the heap, the least recently used first: the order in which those leave that are not pinned.
    pub graphs: Vec<MemoryGraph>,
    /// Stable memory taken by the whole canister, bytes.
    pub stable_bytes: u64,
    /// Stable memory by purpose. They sum up to `stable_bytes`.
    pub stable: Vec<(String, u64)>,
    /// Every version's part of it.
    pub models: Vec<MemoryModel>,
    /// The cache of streamed weights.
    pub weight_cache: WeightCache,
}

/// A graph in the heap.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemoryGraph {
    /// `name:version` of those that it serves: versions of equal bytes share one.
    pub models: Vec<String>,
    /// Heap that it takes, bytes, without what is cached of its streamed weights.
    pub bytes: u64,
    /// Weights that it reads from stable memory when it runs, bytes.
    pub streamed_bytes: u64,
    /// What the cache has of those.
    pub cached_bytes: u64,
    /// Whether it stays when memory is short.
    pub pinned: bool,
    /// When it was last used, in nanoseconds since 1970.
    pub last_used: u64,
}

/// A version in stable memory.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemoryModel {
    /// `name:version`.
    pub model: String,
    /// Of its files, in whole pages.
    pub file_bytes: u64,
    /// Of its image, in whole pages; 0 where it has none.
    pub image_bytes: u64,
}

/// The cache that streamed weights come through, since the canister was installed or upgraded.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightCache {
    /// Bytes that it may take.
    pub max_bytes: u64,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Panels of weights that were there when a run asked for them.
    pub hits: u64,
    /// Those that were read from stable memory.
    pub misses: u64,
    /// Bytes of those.
    pub read_bytes: u64,
}
