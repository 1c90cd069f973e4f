//! What the registry tells of its models.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};

/// Where a version stands.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// Stored and proven; loaded on the next use.
    #[serde(rename = "available")]
    Available,
    /// Its graph is resident in the heap.
    #[serde(rename = "loaded")]
    Loaded,
}

/// One version of a model.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// Model name.
    pub name: String,
    /// Version, counted from 1, never reused for that name.
    pub version: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// sha256 of the file, computed in the canister.
    #[serde(with = "serde_bytes")]
    pub sha256: Vec<u8>,
    /// Where it stands; null where a client is older than the state.
    pub state: Option<ModelState>,
    /// Who uploaded it.
    pub uploader: Principal,
    /// When it was committed, nanoseconds since 1970.
    pub committed_at: u64,
}

/// A page of the registry is asked for.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Start after this `"name:version"`; null for the beginning.
    pub after: Option<String>,
    /// At most this many, and never more than 500 (a reply holds 2 MiB); null for 100.
    pub limit: Option<u32>,
}

/// A page of the registry, by name and version.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The versions of this page.
    pub models: Vec<ModelSummary>,
    /// What to pass as `after` for the next page; null at the end.
    pub next: Option<String>,
}
