//! What a test or a tool wants from something that runs canisters: this crate's host, or PocketIC.
//!
//! The trait owns no behaviour. Suites are written against it once and must assume nothing that only one
//! implementation does.

use std::time::Duration;

use candid::Principal;

/// A canister's id.
pub type Canister = Principal;

/// How code is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallMode {
    /// Into an empty canister.
    Install,
    /// Over what is there; heap, stable memory and logs are lost.
    Reinstall,
    /// Over what is there; stable memory stays, `pre_upgrade` and `post_upgrade` run.
    Upgrade,
}

/// The Internet Computer's reject codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectCode {
    /// 1: fatal system error.
    SysFatal = 1,
    /// 2: transient system error, retry may help.
    SysTransient = 2,
    /// 3: no such destination.
    DestinationInvalid = 3,
    /// 4: the canister rejected the call itself.
    CanisterReject = 4,
    /// 5: the canister trapped, broke a rule or a limit.
    CanisterError = 5,
    /// 6: unknown outcome of a best-effort call.
    SysUnknown = 6,
}

/// A call that got no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Reject code.
    pub code: RejectCode,
    /// The replica's own error code, `"IC0502"` for a trap.
    pub error_code: String,
    /// The text that came with it.
    pub message: String,
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({}): {}", self.code, self.error_code, self.message)
    }
}

impl std::error::Error for Reject {}

/// Settings at creation or in an update; `None` leaves the default or what was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanisterSettings {
    /// Who controls the canister.
    pub controllers: Option<Vec<Principal>>,
    /// Limit of the wasm heap in bytes; 0 for none.
    pub wasm_memory_limit: Option<u64>,
    /// Freezing threshold in seconds.
    pub freezing_threshold: Option<u64>,
    /// Whether anyone may read the logs.
    pub public_logs: Option<bool>,
}

/// Whether a canister takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the Internet Computer's words")]
pub enum CanisterState {
    Running,
    Stopping,
    Stopped,
}

/// What `canister_status` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanisterStatus {
    /// Whether it takes messages.
    pub state: CanisterState,
    /// sha256 of the installed module as it was uploaded.
    pub module_hash: Option<Vec<u8>>,
    /// Its controllers.
    pub controllers: Vec<Principal>,
    /// Cycles it holds.
    pub cycles: u128,
    /// Bytes of its wasm heap.
    pub heap_bytes: u64,
    /// Bytes of its stable memory.
    pub stable_bytes: u64,
}

/// A line of a canister's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its index since the canister was created.
    pub index: u64,
    /// Nanoseconds since 1970.
    pub timestamp_nanos: u64,
    /// What was printed.
    pub content: Vec<u8>,
}

/// A module in the chunk store of a canister.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedModule {
    /// sha256 of each chunk, in order.
    pub chunks: Vec<[u8; 32]>,
    /// sha256 of the module.
    pub sha256: [u8; 32],
}

/// Something that runs canisters: one application subnet of 13 nodes with the production limits.
///
/// Calls that change a canister are answered when they are executed; `submit` and `await_call` let several be
/// under way at once.
pub trait Replica {
    /// What this is, for summaries: `"embedded host"`, `"PocketIC"`.
    fn name(&self) -> &'static str;

    /// The cost schedule whose counts are comparable with this runtime's, `"2025-10"`; `None` where unknown.
    fn cost_schedule(&self) -> Option<String>;

    /// A new canister with 100 T cycles, controlled by `sender` unless the settings name others.
    fn create_canister(&self, sender: Principal, settings: CanisterSettings) -> Canister;

    /// Installs `wasm` (by chunks where it is larger than a message) with the Candid-encoded `arg`.
    fn install(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject>;

    /// Puts a module into the canister's chunk store, where it stays until [`Replica::install`] clears that.
    fn upload_module(
        &self,
        canister: Canister,
        sender: Principal,
        wasm: &[u8],
    ) -> Result<UploadedModule, Reject>;

    /// Installs what was uploaded, in one message: between the messages that the rounds before have left under way.
    fn install_uploaded(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        module: &UploadedModule,
        arg: &[u8],
    ) -> Result<(), Reject>;

    /// An ingress update call, executed to its end.
    fn update(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<Vec<u8>, Reject> {
        let call = self.submit(canister, sender, method, arg)?;
        self.await_call(call)
    }

    /// A query call (plain or composite).
    fn query(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<Vec<u8>, Reject>;

    /// Inducts an ingress update call without executing it. An error is a refusal before induction
    /// (`inspect_message`, stopped, no such canister).
    fn submit(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<CallId, Reject>;

    /// Executes rounds until the call is answered.
    fn await_call(&self, call: CallId) -> Result<Vec<u8>, Reject>;

    /// Executes one round: due timers, heartbeats, messages under way.
    fn tick(&self);

    /// Certified time.
    fn time_nanos(&self) -> u64;

    /// Moves certified time forward; timers that come due fire in the next rounds.
    fn advance_time(&self, by: Duration);

    /// Cycles the canister holds.
    fn cycles(&self, canister: Canister) -> u128;

    /// Adds cycles and answers the new balance.
    fn add_cycles(&self, canister: Canister, amount: u128) -> u128;

    /// `canister_status`, asked by a controller.
    fn status(&self, canister: Canister, sender: Principal) -> Result<CanisterStatus, Reject>;

    /// `update_settings`.
    fn update_settings(
        &self,
        canister: Canister,
        sender: Principal,
        settings: CanisterSettings,
    ) -> Result<(), Reject>;

    /// Stops the canister; returns when it is stopped.
    fn stop(&self, canister: Canister, sender: Principal) -> Result<(), Reject>;

    /// Starts the canister.
    fn start(&self, canister: Canister, sender: Principal) -> Result<(), Reject>;

    /// Deletes the stopped canister.
    fn delete(&self, canister: Canister, sender: Principal) -> Result<(), Reject>;

    /// The canister's log.
    fn logs(&self, canister: Canister, sender: Principal) -> Result<Vec<LogLine>, Reject>;

    /// All of the canister's stable memory.
    fn stable_memory(&self, canister: Canister) -> Vec<u8>;
}

/// An ingress call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);
