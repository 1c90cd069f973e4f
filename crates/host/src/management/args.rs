//! The management canister's records, as far as this host reads and writes them.
#![allow(missing_docs, reason = "the interface specification's words")]

use candid::{CandidType, Nat, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct CanisterId {
    pub canister_id: Principal,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct ProvisionalCreate {
    pub amount: Option<Nat>,
    pub settings: Option<Settings>,
    pub specified_id: Option<Principal>,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct Create {
    pub settings: Option<Settings>,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct TopUp {
    pub canister_id: Principal,
    pub amount: Nat,
}

#[derive(CandidType, Deserialize, Clone, Debug, Default)]
pub(crate) struct Settings {
    pub controllers: Option<Vec<Principal>>,
    pub compute_allocation: Option<Nat>,
    pub memory_allocation: Option<Nat>,
    pub freezing_threshold: Option<Nat>,
    pub log_visibility: Option<LogVisibility>,
    pub wasm_memory_limit: Option<Nat>,
    pub wasm_memory_threshold: Option<Nat>,
    pub environment_variables: Option<Vec<Variable>>,
}

#[derive(CandidType, Deserialize, Serialize, Clone, Debug)]
pub(crate) struct Variable {
    pub name: String,
    pub value: String,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) enum LogVisibility {
    #[serde(rename = "controllers")]
    Controllers,
    #[serde(rename = "public")]
    Public,
    #[serde(rename = "allowed_viewers")]
    AllowedViewers(Vec<Principal>),
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct UpdateSettings {
    pub canister_id: Principal,
    pub settings: Settings,
    pub sender_canister_version: Option<u64>,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) enum Mode {
    #[serde(rename = "install")]
    Install,
    #[serde(rename = "reinstall")]
    Reinstall,
    #[serde(rename = "upgrade")]
    Upgrade(Option<UpgradeFlags>),
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct UpgradeFlags {
    pub skip_pre_upgrade: Option<bool>,
    pub wasm_memory_persistence: Option<Persistence>,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) enum Persistence {
    #[serde(rename = "keep")]
    Keep,
    #[serde(rename = "replace")]
    Replace,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct InstallCode {
    pub mode: Mode,
    pub canister_id: Principal,
    pub wasm_module: ByteBuf,
    pub arg: ByteBuf,
    pub sender_canister_version: Option<u64>,
}

/// [`InstallCode`] as users send it: what is not said is left out, which the fee by the byte shows.
#[derive(CandidType, Clone, Debug)]
pub(crate) struct UserInstall {
    pub mode: UserMode,
    pub canister_id: Principal,
    pub wasm_module: ByteBuf,
    pub arg: ByteBuf,
}

#[derive(CandidType, Serialize, Clone, Copy, Debug)]
pub(crate) enum UserMode {
    #[serde(rename = "install")]
    Install,
    #[serde(rename = "reinstall")]
    Reinstall,
    #[serde(rename = "upgrade")]
    Upgrade,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct InstallChunked {
    pub mode: Mode,
    pub target_canister: Principal,
    pub store_canister: Option<Principal>,
    pub chunk_hashes_list: Vec<ChunkHash>,
    pub wasm_module_hash: ByteBuf,
    pub arg: ByteBuf,
    pub sender_canister_version: Option<u64>,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct ChunkHash {
    pub hash: ByteBuf,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) struct UploadChunk {
    pub canister_id: Principal,
    pub chunk: ByteBuf,
}

#[derive(CandidType, Deserialize, Clone, Debug)]
pub(crate) enum Status {
    #[serde(rename = "running")]
    Running,
    #[serde(rename = "stopping")]
    Stopping,
    #[serde(rename = "stopped")]
    Stopped,
}

#[derive(CandidType, Clone, Debug)]
pub(crate) struct StatusReply {
    pub status: Status,
    pub ready_for_migration: bool,
    pub version: u64,
    pub settings: DefiniteSettings,
    pub module_hash: Option<ByteBuf>,
    pub memory_size: Nat,
    pub memory_metrics: MemoryMetrics,
    pub cycles: Nat,
    pub reserved_cycles: Nat,
    pub idle_cycles_burned_per_day: Nat,
    pub query_stats: QueryStats,
}

#[derive(CandidType, Clone, Debug)]
pub(crate) struct DefiniteSettings {
    pub controllers: Vec<Principal>,
    pub compute_allocation: Nat,
    pub memory_allocation: Nat,
    pub freezing_threshold: Nat,
    pub reserved_cycles_limit: Nat,
    pub log_visibility: LogVisibility,
    pub wasm_memory_limit: Nat,
    pub wasm_memory_threshold: Nat,
    pub environment_variables: Vec<Variable>,
}

#[derive(CandidType, Clone, Debug, Default)]
pub(crate) struct MemoryMetrics {
    pub wasm_memory_size: Nat,
    pub stable_memory_size: Nat,
    pub global_memory_size: Nat,
    pub wasm_binary_size: Nat,
    pub custom_sections_size: Nat,
    pub canister_history_size: Nat,
    pub wasm_chunk_store_size: Nat,
    pub snapshots_size: Nat,
}

#[derive(CandidType, Clone, Debug)]
pub(crate) struct Logs {
    pub canister_log_records: Vec<LogRecord>,
}

#[derive(CandidType, Clone, Debug)]
pub(crate) struct LogRecord {
    pub idx: u64,
    pub timestamp_nanos: u64,
    pub content: ByteBuf,
}

#[derive(CandidType, Clone, Debug, Default)]
pub(crate) struct QueryStats {
    pub num_calls_total: Nat,
    pub num_instructions_total: Nat,
    pub request_payload_bytes_total: Nat,
    pub response_payload_bytes_total: Nat,
}
