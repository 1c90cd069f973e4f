//! What the registry tells of its models, and what it is told about them.

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};

use crate::GraphEncoding;

/// Where a version, or an upload that is to become one, stands.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// Its upload is open.
    #[serde(rename = "uploading")]
    Uploading,
    /// Stored and proven; loaded on the next use.
    #[serde(rename = "available")]
    Available,
    /// A handle is open and its graph is on its way into the heap.
    #[serde(rename = "loading")]
    Loading,
    /// Its graph is resident in the heap.
    #[serde(rename = "loaded")]
    Loaded,
    /// Its commit was refused, and why; the upload is open still.
    #[serde(rename = "failed")]
    Failed(String),
    /// Taken out of service, by `retire` or by the version policy.
    #[serde(rename = "retired")]
    Retired,
}

/// Which versions of a name are served; `latest` is the newest of them.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionPolicy {
    /// Every one.
    #[default]
    #[serde(rename = "all")]
    All,
    /// The newest so many, 1 to 100.
    #[serde(rename = "latest")]
    Latest(u32),
    /// These, at most 100.
    #[serde(rename = "specific")]
    Specific(Vec<u64>),
}

/// Where a model comes from, told by who uploads it. All of it together has at most 16 KiB.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Its licence, an SPDX expression or the text.
    pub licence: Option<String>,
    /// Where it was got: an address, a commit, a paper.
    pub source: Option<String>,
    /// Whatever else; keys are not repeated.
    pub metadata: Vec<(String, String)>,
}

/// One version of a model.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// Model name.
    pub name: String,
    /// Version, counted from 1, never reused for that name.
    pub version: u64,
    /// Labels on it, `latest` among them where it is.
    pub labels: Vec<String>,
    /// What the file is; null where a client is older than the encoding.
    pub encoding: Option<GraphEncoding>,
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

/// A line of the Open Inference Protocol's repository index. Its words are texts there.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Model name.
    pub name: String,
    /// Version; empty where an upload has none yet.
    pub version: String,
    /// `READY`, `UNAVAILABLE`, `LOADING`, or what of [`ModelState`] the protocol has no word for, in capitals.
    pub state: String,
    /// Why it is unavailable; empty where it is not.
    pub reason: String,
}

/// What is deleted, and proof that it is known what that is.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// `"name:version"`, or `"name"` for every version.
    pub model: String,
    /// sha256 of the version's file; with a bare name, of its newest version's.
    #[serde(with = "serde_bytes")]
    pub sha256: Vec<u8>,
}
