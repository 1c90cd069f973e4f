//! The management canister's records, as far as [`Pocket`](super::Pocket) sends and reads them.
//!
//! What is sent has the fields that the embedded host sends, because a canister pays for each byte. What is read names
//! only what is needed, so that servers of several versions are understood.

use candid::{CandidType, Nat, Principal};
use ic_nn_host::{CanisterSettings, CanisterState, CanisterStatus, InstallMode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[derive(CandidType)]
pub struct CanisterId {
    pub canister_id: Principal,
}

#[derive(Deserialize, CandidType)]
pub struct Created {
    pub canister_id: Principal,
}

#[derive(CandidType)]
pub struct Create {
    pub amount: Option<Nat>,
    pub settings: Option<Settings>,
}

#[derive(CandidType)]
pub struct UpdateSettings {
    pub canister_id: Principal,
    pub settings: Settings,
    pub sender_canister_version: Option<u64>,
}

#[derive(CandidType)]
pub struct Settings {
    controllers: Option<Vec<Principal>>,
    compute_allocation: Option<Nat>,
    memory_allocation: Option<Nat>,
    freezing_threshold: Option<Nat>,
    log_visibility: Option<LogVisibility>,
    wasm_memory_limit: Option<Nat>,
    wasm_memory_threshold: Option<Nat>,
    environment_variables: Option<Vec<Variable>>,
}

#[derive(CandidType, Serialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(CandidType, Serialize)]
#[allow(dead_code, reason = "the type is sent whole")]
enum LogVisibility {
    #[serde(rename = "controllers")]
    Controllers,
    #[serde(rename = "public")]
    Public,
    #[serde(rename = "allowed_viewers")]
    AllowedViewers(Vec<Principal>),
}

impl From<CanisterSettings> for Settings {
    fn from(settings: CanisterSettings) -> Self {
        Self {
            controllers: settings.controllers,
            compute_allocation: None,
            memory_allocation: None,
            freezing_threshold: settings.freezing_threshold.map(Nat::from),
            log_visibility: settings.public_logs.map(|public| match public {
                true => LogVisibility::Public,
                false => LogVisibility::Controllers,
            }),
            wasm_memory_limit: settings.wasm_memory_limit.map(Nat::from),
            wasm_memory_threshold: None,
            environment_variables: None,
        }
    }
}

#[derive(CandidType)]
pub struct InstallCode {
    pub mode: Mode,
    pub canister_id: Principal,
    pub wasm_module: ByteBuf,
    pub arg: ByteBuf,
}

#[derive(CandidType, Serialize)]
pub enum Mode {
    #[serde(rename = "install")]
    Install,
    #[serde(rename = "reinstall")]
    Reinstall,
    #[serde(rename = "upgrade")]
    Upgrade,
}

impl From<InstallMode> for Mode {
    fn from(mode: InstallMode) -> Self {
        match mode {
            InstallMode::Install => Self::Install,
            InstallMode::Reinstall => Self::Reinstall,
            InstallMode::Upgrade => Self::Upgrade,
        }
    }
}

#[derive(CandidType)]
pub struct InstallChunked {
    pub mode: ChunkedMode,
    pub target_canister: Principal,
    pub store_canister: Option<Principal>,
    pub chunk_hashes_list: Vec<ChunkHash>,
    pub wasm_module_hash: ByteBuf,
    pub arg: ByteBuf,
    pub sender_canister_version: Option<u64>,
}

#[derive(CandidType, Serialize)]
pub enum ChunkedMode {
    #[serde(rename = "install")]
    Install,
    #[serde(rename = "reinstall")]
    Reinstall,
    #[serde(rename = "upgrade")]
    Upgrade(Option<UpgradeFlags>),
}

impl From<InstallMode> for ChunkedMode {
    fn from(mode: InstallMode) -> Self {
        match mode {
            InstallMode::Install => Self::Install,
            InstallMode::Reinstall => Self::Reinstall,
            InstallMode::Upgrade => Self::Upgrade(None),
        }
    }
}

#[derive(CandidType, Serialize)]
pub struct UpgradeFlags {
    skip_pre_upgrade: Option<bool>,
    wasm_memory_persistence: Option<Persistence>,
}

#[derive(CandidType, Serialize)]
#[allow(dead_code, reason = "the type is sent whole")]
enum Persistence {
    #[serde(rename = "keep")]
    Keep,
    #[serde(rename = "replace")]
    Replace,
}

#[derive(CandidType)]
pub struct UploadChunk {
    pub canister_id: Principal,
    pub chunk: ByteBuf,
}

#[derive(CandidType, Deserialize)]
pub struct ChunkHash {
    pub hash: ByteBuf,
}

#[derive(CandidType, Deserialize)]
pub struct Status {
    status: State,
    settings: Controllers,
    module_hash: Option<ByteBuf>,
    memory_metrics: Memory,
    cycles: Nat,
}

#[derive(CandidType, Deserialize)]
enum State {
    #[serde(rename = "running")]
    Running,
    #[serde(rename = "stopping")]
    Stopping,
    #[serde(rename = "stopped")]
    Stopped,
}

#[derive(CandidType, Deserialize)]
struct Controllers {
    controllers: Vec<Principal>,
}

#[derive(CandidType, Deserialize)]
struct Memory {
    wasm_memory_size: Nat,
    stable_memory_size: Nat,
}

impl From<Status> for CanisterStatus {
    fn from(status: Status) -> Self {
        let bytes = |size: Nat| u64::try_from(&size.0).expect("sizes fit in 64 bits");
        Self {
            state: match status.status {
                State::Running => CanisterState::Running,
                State::Stopping => CanisterState::Stopping,
                State::Stopped => CanisterState::Stopped,
            },
            module_hash: status.module_hash.map(ByteBuf::into_vec),
            controllers: status.settings.controllers,
            cycles: u128::try_from(&status.cycles.0).expect("balances fit in 128 bits"),
            heap_bytes: bytes(status.memory_metrics.wasm_memory_size),
            stable_bytes: bytes(status.memory_metrics.stable_memory_size),
        }
    }
}
