//! The host as its users see it: [`Host`], its builder, and [`Replica`] for it.
//!
//! Owns the lock around the world and the thread wasm runs on. No rule of the Internet Computer lives here.

mod builder;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candid::{CandidType, Encode, Nat, Principal};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::canister::Status;
use crate::cost::CallCost;
use crate::engine::on_large_stack;
use crate::failure::reject;
use crate::management::{args, settings};
use crate::replica::{
    CallId, Canister, CanisterSettings, CanisterState, CanisterStatus, InstallMode, LogLine, Reject, Replica,
    UploadedModule,
};
use crate::stable::WASM_PAGE;
use crate::subnet::{fees, limits};
use crate::world::World;

pub use builder::{HostBuilder, HostError};

/// An embedded host: one application subnet of 13 nodes in this process.
///
/// Calls may come from any thread; they are executed one after the other.
pub struct Host {
    world: Mutex<World>,
    last: Mutex<CallCost>,
}

impl Host {
    /// A host to be made.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// A host of the default schedule and cache.
    ///
    /// # Errors
    ///
    /// As [`HostBuilder::build`].
    pub fn new() -> Result<Self, HostError> {
        Self::builder().build()
    }

    pub(crate) fn with(world: World) -> Self {
        Self { world: Mutex::new(world), last: Mutex::default() }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_world<T: Send>(&self, work: impl FnOnce(&mut World) -> T + Send) -> T {
        let world: &mut World = &mut self.world();
        on_large_stack(|| work(world))
    }

    /// What the ingress call cost so far; `None` for an unknown call.
    pub fn cost(&self, call: CallId) -> Option<CallCost> {
        self.world().costs.get(&call).copied()
    }

    /// What the last finished call cost: an update with all it led to, an install, or a query.
    pub fn last_cost(&self) -> CallCost {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of a canister's wasm heap.
    pub fn heap_bytes(&self, canister: Canister) -> u64 {
        let world = self.world();
        let code = world.canisters.get(&canister).and_then(|canister| canister.code.as_ref());
        code.map_or(0, |installed| installed.executor.heap_bytes())
    }

    /// Bytes of a canister's stable memory.
    pub fn stable_bytes(&self, canister: Canister) -> u64 {
        let world = self.world();
        let code = world.canisters.get(&canister).and_then(|canister| canister.code.as_ref());
        code.map_or(0, |installed| installed.executor.stable().pages() * WASM_PAGE)
    }

    /// A public metadata section of a canister, `"candid:service"`; private ones for controllers.
    pub fn metadata(&self, canister: Canister, sender: Principal, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        let canister = world.canisters.get(&canister)?;
        let facts = canister.code.as_ref()?.executor.code().facts();
        let section = facts.custom_sections.iter().find(|section| section.name == name)?;
        let visible = section.visibility == crate::wasm::Visibility::Public || canister.is_controller(sender);
        visible.then(|| section.bytes.clone())
    }

    /// A new canister with exactly these cycles. Settings that are named are set by `update_settings`, for its fee.
    pub fn create_with_cycles(
        &self,
        sender: Principal,
        settings: CanisterSettings,
        cycles: u128,
    ) -> Canister {
        let id = self.create(sender, &CanisterSettings::default(), cycles);
        if settings != CanisterSettings::default() {
            // The sender controls the canister, which has what it costs.
            let _ = self.update_settings(id, sender, settings);
        }
        id
    }

    fn create(&self, sender: Principal, settings: &CanisterSettings, cycles: u128) -> Canister {
        let mut world = self.world();
        let id = world.fresh_canister_id();
        let mut made = settings::default(vec![sender]);
        // Settings of this type are never out of range.
        let _ = made.apply(&settings_args(settings.clone()));
        world.add(id, made, cycles);
        drop(world);
        self.tick();
        id
    }

    /// Writes the whole state into a folder, in place of what was saved there.
    ///
    /// # Errors
    ///
    /// Calls under way, or a folder that cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), HostError> {
        self.world().save(folder.as_ref())
    }

    /// A host as it was saved in this folder; a new one where nothing was.
    ///
    /// # Errors
    ///
    /// As [`HostBuilder::open`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, HostError> {
        Self::builder().open(folder)
    }

    /// Takes a canister's code and memories away.
    ///
    /// # Errors
    ///
    /// What `uninstall_code` rejects.
    pub fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "uninstall_code")
    }

    /// Calls the management canister as a user.
    ///
    /// # Errors
    ///
    /// What it rejects.
    pub fn manage(&self, sender: Principal, method: &str, arg: &[u8]) -> Result<Vec<u8>, Reject> {
        let call = self.submit(Principal::management_canister(), sender, method, arg)?;
        self.await_call(call)
    }

    fn manage_with<T: CandidType>(
        &self,
        sender: Principal,
        method: &str,
        arg: &T,
    ) -> Result<Vec<u8>, Reject> {
        let arg = Encode!(arg).map_err(|error| reject(402, error.to_string()))?;
        self.manage(sender, method, &arg)
    }

    fn about(&self, canister: Canister, sender: Principal, method: &str) -> Result<(), Reject> {
        self.manage_with(sender, method, &args::CanisterId { canister_id: canister }).map(|_| ())
    }

    fn install_chunks(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject> {
        let (module, uploads) = self.upload_chunks(canister, sender, wasm)?;
        let installed = self.install_uploaded(canister, sender, mode, &module, arg);
        let mut cost = self.last_cost();
        self.about(canister, sender, "clear_chunk_store")?;
        cost.cycles += uploads + self.last_cost().cycles;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = cost;
        installed
    }

    /// The module as it lies in the canister's store, and the cycles that this took.
    fn upload_chunks(
        &self,
        canister: Canister,
        sender: Principal,
        wasm: &[u8],
    ) -> Result<(UploadedModule, u128), Reject> {
        let (mut chunks, mut cycles) = (Vec::new(), 0);
        for chunk in wasm.chunks(limits::CHUNK_BYTES) {
            let upload = args::UploadChunk { canister_id: canister, chunk: chunk.to_vec().into() };
            self.manage_with(sender, "upload_chunk", &upload)?;
            cycles += self.last_cost().cycles;
            chunks.push(Sha256::digest(chunk).into());
        }
        Ok((UploadedModule { chunks, sha256: Sha256::digest(wasm).into() }, cycles))
    }
}

fn settings_args(settings: CanisterSettings) -> args::Settings {
    args::Settings {
        controllers: settings.controllers,
        wasm_memory_limit: settings.wasm_memory_limit.map(Nat::from),
        freezing_threshold: settings.freezing_threshold.map(Nat::from),
        log_visibility: settings.public_logs.map(|public| match public {
            true => args::LogVisibility::Public,
            false => args::LogVisibility::Controllers,
        }),
        ..args::Settings::default()
    }
}

impl Replica for Host {
    fn name(&self) -> &'static str {
        "embedded host"
    }

    fn cost_schedule(&self) -> Option<String> {
        Some(self.world().schedule.name.to_owned())
    }

    fn create_canister(&self, sender: Principal, settings: CanisterSettings) -> Canister {
        self.create(sender, &settings, crate::management::DEFAULT_CYCLES)
    }

    fn install(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject> {
        let install = args::UserInstall {
            mode: match mode {
                InstallMode::Install => args::UserMode::Install,
                InstallMode::Reinstall => args::UserMode::Reinstall,
                InstallMode::Upgrade => args::UserMode::Upgrade,
            },
            canister_id: canister,
            wasm_module: ByteBuf::from(wasm),
            arg: ByteBuf::from(arg),
        };
        let encoded = Encode!(&install).map_err(|error| reject(402, error.to_string()))?;
        if fees::envelope(sender, "install_code", &encoded) + 32 > limits::INGRESS_BYTES {
            return self.install_chunks(canister, sender, mode, wasm, arg);
        }
        self.manage(sender, "install_code", &encoded).map(|_| ())
    }

    fn upload_module(
        &self,
        canister: Canister,
        sender: Principal,
        wasm: &[u8],
    ) -> Result<UploadedModule, Reject> {
        self.upload_chunks(canister, sender, wasm).map(|(module, _)| module)
    }

    fn install_uploaded(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        module: &UploadedModule,
        arg: &[u8],
    ) -> Result<(), Reject> {
        let hashes = module.chunks.iter().map(|hash| args::ChunkHash { hash: hash.to_vec().into() });
        let chunked = args::InstallChunked {
            mode: match mode {
                InstallMode::Install => args::Mode::Install,
                InstallMode::Reinstall => args::Mode::Reinstall,
                InstallMode::Upgrade => args::Mode::Upgrade(None),
            },
            target_canister: canister,
            store_canister: Some(canister),
            chunk_hashes_list: hashes.collect(),
            wasm_module_hash: module.sha256.to_vec().into(),
            arg: ByteBuf::from(arg),
            sender_canister_version: None,
        };
        self.manage_with(sender, "install_chunked_code", &chunked).map(|_| ())
    }

    fn query(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<Vec<u8>, Reject> {
        let (result, instructions) = self.on_world(|world| world.query(canister, sender, method, arg));
        let cost = CallCost { instructions, messages: 1, ..CallCost::default() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = cost;
        result
    }

    fn submit(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<CallId, Reject> {
        self.on_world(|world| world.submit(canister, sender, method, arg))
    }

    fn await_call(&self, call: CallId) -> Result<Vec<u8>, Reject> {
        self.on_world(|world| {
            if !world.open_calls.contains(&call) {
                return Err(reject(301, format!("call {} does not wait for an answer", call.0)));
            }
            loop {
                if let Some(answer) = world.answers.remove(&call) {
                    world.open_calls.remove(&call);
                    let cost = world.costs.get(&call).copied().unwrap_or_default();
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = cost;
                    return answer;
                }
                if world.is_idle() {
                    world.open_calls.remove(&call);
                    return Err(reject(301, format!("call {} was lost with its canister", call.0)));
                }
                world.round();
            }
        })
    }

    fn tick(&self) {
        self.on_world(World::round);
    }

    fn time_nanos(&self) -> u64 {
        self.world().time
    }

    fn advance_time(&self, by: Duration) {
        let mut world = self.world();
        world.time += u64::try_from(by.as_nanos()).unwrap_or(u64::MAX / 2);
        world.time_moved = true;
    }

    fn cycles(&self, canister: Canister) -> u128 {
        self.world().canisters.get(&canister).map_or(0, |canister| canister.balance)
    }

    fn add_cycles(&self, canister: Canister, amount: u128) -> u128 {
        let mut world = self.world();
        world.canisters.get_mut(&canister).map_or(0, |canister| {
            canister.balance += amount;
            canister.balance
        })
    }

    fn status(&self, canister: Canister, sender: Principal) -> Result<CanisterStatus, Reject> {
        self.about(canister, sender, "canister_status")?;
        let mut world = self.world();
        let canister = world.canister(canister)?;
        let executor = canister.code.as_ref().map(|installed| &installed.executor);
        Ok(CanisterStatus {
            state: match canister.status {
                Status::Running => CanisterState::Running,
                Status::Stopping => CanisterState::Stopping,
                Status::Stopped => CanisterState::Stopped,
            },
            module_hash: executor.map(|executor| executor.code().facts().hash.to_vec()),
            controllers: canister.settings.controllers.clone(),
            cycles: canister.balance,
            heap_bytes: executor.map_or(0, |executor| executor.heap_bytes()),
            stable_bytes: executor.map_or(0, |executor| executor.stable().pages() * WASM_PAGE),
        })
    }

    fn update_settings(
        &self,
        canister: Canister,
        sender: Principal,
        settings: CanisterSettings,
    ) -> Result<(), Reject> {
        let change = args::UpdateSettings {
            canister_id: canister,
            settings: settings_args(settings),
            sender_canister_version: None,
        };
        self.manage_with(sender, "update_settings", &change).map(|_| ())
    }

    fn stop(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "stop_canister")
    }

    fn start(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "start_canister")
    }

    fn delete(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "delete_canister")
    }

    fn logs(&self, canister: Canister, sender: Principal) -> Result<Vec<LogLine>, Reject> {
        self.world().logs(canister, sender)
    }

    fn stable_memory(&self, canister: Canister) -> Vec<u8> {
        let world = self.world();
        let code = world.canisters.get(&canister).and_then(|canister| canister.code.as_ref());
        code.map_or_else(Vec::new, |installed| installed.executor.stable().to_vec())
    }
}
