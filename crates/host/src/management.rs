//! The management canister `aaaaa-aa`: calls that are addressed to the subnet itself.
//!
//! Owns who may do what to a canister. Installing is [`install`](crate::install)'s business; keys, bitcoin, HTTPS
//! outcalls and snapshots are not here.

pub(crate) mod args;
pub(crate) mod settings;
mod status;

use candid::utils::ArgumentDecoder;
use candid::{CandidType, Encode, Nat, Principal};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::canister::{Answered, Call, Canister, Status};
use crate::failure::reject;
use crate::install::Install;
use crate::replica::{InstallMode, LogLine, Reject};
use crate::subnet::{fees, limits};
use crate::world::World;

/// Cycles of a canister made without an amount: 100 T.
pub(crate) const DEFAULT_CYCLES: u128 = 100_000_000_000_000;

/// What a call to the subnet came to.
enum Done {
    /// Answered; with the cycles that go back.
    Now(Vec<u8>, u128),
    /// Answered in the next round.
    NextRound,
    /// Answered when the canister has stopped.
    WhenStopped(Principal),
}

/// The Candid encoding of no values.
pub(crate) fn nothing() -> Vec<u8> {
    b"DIDL\0\0".to_vec()
}

/// The canister a call to the subnet is about, which pays for it as ingress; `None` where it names none.
pub(crate) fn subject(method: &str, arg: &[u8]) -> Option<Principal> {
    match method {
        "create_canister" | "provisional_create_canister_with_cycles" | "raw_rand" => None,
        "install_chunked_code" => Some(decode::<(args::InstallChunked,)>(arg).ok()?.0.target_canister),
        _ => Some(decode::<(args::CanisterId,)>(arg).ok()?.0.canister_id),
    }
}

fn decode<'a, T: ArgumentDecoder<'a>>(arg: &'a [u8]) -> Result<T, Reject> {
    candid::decode_args(arg).map_err(|error| reject(402, format!("Error decoding candid: {error}")))
}

fn encode<T: CandidType>(value: &T) -> Result<Vec<u8>, Reject> {
    Encode!(value).map_err(|error| reject(502, format!("Error encoding candid: {error}")))
}

pub(crate) fn nat(value: &Nat) -> Result<u128, Reject> {
    u128::try_from(&value.0).map_err(|_| reject(402, format!("{value} does not fit in 128 bits")))
}

impl World {
    /// Executes a call to the subnet and sees to its answer.
    pub fn execute_subnet_call(&mut self, mut call: Call) {
        let (origin, cycles) = (call.origin, call.cycles);
        let answer = match self.manage(&call) {
            Ok(Done::Now(reply, refund)) => Answered { result: Ok(reply), refund },
            Ok(Done::NextRound) => {
                call.method = "raw_rand now".to_owned();
                self.deferred.push_back(call);
                return;
            }
            Ok(Done::WhenStopped(id)) => {
                if let Some(canister) = self.canisters.get_mut(&id) {
                    canister.stop_waiters.push(origin);
                }
                return;
            }
            Err(refusal) => Answered { result: Err(refusal), refund: cycles },
        };
        self.respond(origin, Principal::management_canister(), answer);
    }

    fn manage(&mut self, call: &Call) -> Result<Done, Reject> {
        let (caller, arg, cycles) = (call.caller, &call.payload[..], call.cycles);
        let done = |reply| Ok(Done::Now(reply, cycles));
        match call.method.as_str() {
            "raw_rand" => Ok(Done::NextRound),
            "raw_rand now" => done(encode(&ByteBuf::from(self.random.block()))?),
            "provisional_create_canister_with_cycles" => {
                let (arg,): (args::ProvisionalCreate,) = decode(arg)?;
                let amount = arg.amount.as_ref().map_or(Ok(DEFAULT_CYCLES), nat)?;
                let id = self.create(caller, amount, arg.settings)?;
                done(encode(&args::CanisterId { canister_id: id })?)
            }
            "create_canister" => {
                let (arg,): (args::Create,) = decode(arg)?;
                let Some(amount) = cycles.checked_sub(fees::CREATE_CANISTER) else {
                    let text = format!(
                        "Creating a canister requires a fee of {} that is deducted from the canister's initial balance \
                         but only {cycles} cycles were received with the create_canister request.",
                        fees::CREATE_CANISTER
                    );
                    return Err(reject(404, text));
                };
                let id = self.create(caller, amount, arg.settings)?;
                Ok(Done::Now(encode(&args::CanisterId { canister_id: id })?, 0))
            }
            "provisional_top_up_canister" => {
                let (arg,): (args::TopUp,) = decode(arg)?;
                self.canister(arg.canister_id)?.balance += nat(&arg.amount)?;
                done(nothing())
            }
            "deposit_cycles" => {
                let (arg,): (args::CanisterId,) = decode(arg)?;
                self.canister(arg.canister_id)?.balance += cycles;
                Ok(Done::Now(nothing(), 0))
            }
            "install_code" => {
                let (arg,): (args::InstallCode,) = decode(arg)?;
                self.controlled(arg.canister_id, call)?;
                self.install_bytes(call, arg.canister_id, arg.mode, &arg.wasm_module, &arg.arg)?;
                done(nothing())
            }
            "install_chunked_code" => {
                let (arg,): (args::InstallChunked,) = decode(arg)?;
                self.install_chunks(call, &arg)?;
                done(nothing())
            }
            "upload_chunk" => {
                let (arg,): (args::UploadChunk,) = decode(arg)?;
                done(self.upload_chunk(call, arg)?)
            }
            "stored_chunks" => {
                let chunks = &self.with_controlled(call)?.chunks;
                let hash = |hash: &[u8; 32]| args::ChunkHash { hash: ByteBuf::from(*hash) };
                done(encode(&chunks.keys().map(hash).collect::<Vec<_>>())?)
            }
            "clear_chunk_store" => {
                self.with_controlled(call)?.chunks.clear();
                done(nothing())
            }
            "canister_status" => {
                let own = decode::<(args::CanisterId,)>(arg)?.0.canister_id == caller;
                let canister = if own { self.canister(caller)? } else { self.with_controlled(call)? };
                done(encode(&status::of(canister))?)
            }
            "update_settings" => {
                let (arg,): (args::UpdateSettings,) = decode(arg)?;
                self.controlled(arg.canister_id, call)?.update_settings(&arg.settings)?;
                done(nothing())
            }
            "start_canister" => {
                self.start(call)?;
                done(nothing())
            }
            "stop_canister" => self.stop(call),
            "delete_canister" => {
                self.delete(call)?;
                done(nothing())
            }
            "uninstall_code" => {
                self.uninstall(call)?;
                done(nothing())
            }
            name => Err(reject(536, format!("Management canister has no method '{name}'"))),
        }
    }

    /// A canister's log, for those who may see it.
    pub fn logs(&mut self, id: Principal, caller: Principal) -> Result<Vec<LogLine>, Reject> {
        let canister = self.canister(id)?;
        if !canister.settings.public_logs && !canister.is_controller(caller) {
            return Err(reject(406, format!("Caller {caller} is not allowed to access canister logs")));
        }
        Ok(canister.log.lines())
    }

    /// Answers a query to the subnet itself: `fetch_canister_logs`.
    pub fn query_subnet(&mut self, caller: Principal, method: &str, arg: &[u8]) -> Result<Vec<u8>, Reject> {
        if method != "fetch_canister_logs" {
            return Err(reject(536, format!("Query method {method} not found")));
        }
        let (arg,): (args::CanisterId,) = decode(arg)?;
        let record = |line: LogLine| args::LogRecord {
            idx: line.index,
            timestamp_nanos: line.timestamp_nanos,
            content: line.content.into(),
        };
        let lines = self.logs(arg.canister_id, caller)?;
        encode(&args::Logs { canister_log_records: lines.into_iter().map(record).collect() })
    }

    /// Adds an empty canister.
    pub(crate) fn add(&mut self, id: Principal, settings: crate::canister::Settings, cycles: u128) {
        let mut canister = Canister::new(id, settings, cycles);
        canister.stable_limit = self.stable_limit;
        self.canisters.insert(id, canister);
    }

    fn create(
        &mut self,
        caller: Principal,
        cycles: u128,
        settings: Option<args::Settings>,
    ) -> Result<Principal, Reject> {
        let id = self.fresh_canister_id();
        let mut made = settings::default(vec![caller]);
        if let Some(settings) = &settings {
            made.apply(settings)?;
        }
        self.add(id, made, cycles);
        Ok(id)
    }

    /// The canister, where the caller controls it.
    fn controlled(&mut self, id: Principal, call: &Call) -> Result<&mut Canister, Reject> {
        let canister = self.canister(id)?;
        if !canister.is_controller(call.caller) {
            let method = &call.method;
            let text = format!("Only controllers of canister {id} can call ic00 method {method}");
            return Err(reject(512, text));
        }
        Ok(canister)
    }

    fn with_controlled(&mut self, call: &Call) -> Result<&mut Canister, Reject> {
        let (arg,): (args::CanisterId,) = decode(&call.payload)?;
        self.controlled(arg.canister_id, call)
    }

    fn install_bytes(
        &mut self,
        call: &Call,
        canister: Principal,
        mode: args::Mode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject> {
        let (mode, skip_pre_upgrade) = match mode {
            args::Mode::Install => (InstallMode::Install, false),
            args::Mode::Reinstall => (InstallMode::Reinstall, false),
            args::Mode::Upgrade(flags) => {
                (InstallMode::Upgrade, flags.and_then(|flags| flags.skip_pre_upgrade).unwrap_or(false))
            }
        };
        let before = self.canister(canister)?.balance;
        let install = Install { canister, sender: call.caller, mode, skip_pre_upgrade, wasm, arg };
        let result = self.install(&install);
        let after = self.canister(canister)?.balance;
        if let Some(cost) = call.root.and_then(|root| self.costs.get_mut(&root)) {
            cost.cycles += before.saturating_sub(after);
            cost.messages += 1;
            cost.instructions += *result.as_ref().unwrap_or(&0);
        }
        result.map(|_| ())
    }

    fn install_chunks(&mut self, call: &Call, arg: &args::InstallChunked) -> Result<(), Reject> {
        self.controlled(arg.target_canister, call)?;
        let store = self.canister(arg.store_canister.unwrap_or(arg.target_canister))?;
        let mut wasm = Vec::new();
        for chunk in &arg.chunk_hashes_list {
            let hash = <[u8; 32]>::try_from(chunk.hash.as_slice()).ok();
            let Some(bytes) = hash.and_then(|hash| store.chunks.get(&hash)) else {
                return Err(reject(
                    402,
                    format!(
                        "Error from Wasm chunk store: Chunk hash {} was not found",
                        hex::encode(&chunk.hash)
                    ),
                ));
            };
            wasm.extend_from_slice(bytes);
        }
        if Sha256::digest(&wasm)[..] != arg.wasm_module_hash[..] {
            return Err(reject(402, "Error from Wasm chunk store: Wasm module hash does not match"));
        }
        self.install_bytes(call, arg.target_canister, arg.mode.clone(), &wasm, &arg.arg)
    }

    fn upload_chunk(&mut self, call: &Call, arg: args::UploadChunk) -> Result<Vec<u8>, Reject> {
        let own = arg.canister_id == call.caller;
        let canister =
            if own { self.canister(arg.canister_id)? } else { self.controlled(arg.canister_id, call)? };
        if arg.chunk.len() > limits::CHUNK_BYTES {
            let text = format!(
                "Error from Wasm chunk store: Wasm chunk size {} exceeds the maximum chunk size of {}",
                arg.chunk.len(),
                limits::CHUNK_BYTES
            );
            return Err(reject(402, text));
        }
        if canister.chunks.len() >= limits::CHUNKS {
            return Err(reject(402, "Error from Wasm chunk store: the store is full"));
        }
        let hash: [u8; 32] = Sha256::digest(&arg.chunk).into();
        canister.chunks.insert(hash, arg.chunk.into_vec());
        let stored = fees::execution(limits::UPLOAD_CHUNK + limits::CHUNK_BYTES as u64);
        canister.balance = canister.balance.saturating_sub(stored);
        encode(&args::ChunkHash { hash: ByteBuf::from(hash) })
    }

    fn start(&mut self, call: &Call) -> Result<(), Reject> {
        let canister = self.with_controlled(call)?;
        canister.status = Status::Running;
        canister.version += 1;
        let waiters = std::mem::take(&mut canister.stop_waiters);
        for waiter in waiters {
            let text = "Canister stop request was cancelled";
            self.respond(
                waiter,
                Principal::management_canister(),
                Answered { result: Err(reject(511, text)), refund: 0 },
            );
        }
        Ok(())
    }

    fn stop(&mut self, call: &Call) -> Result<Done, Reject> {
        let canister = self.with_controlled(call)?;
        canister.version += 1;
        if canister.status == Status::Stopped {
            return Ok(Done::Now(nothing(), call.cycles));
        }
        canister.status = Status::Stopping;
        Ok(Done::WhenStopped(canister.id))
    }

    fn delete(&mut self, call: &Call) -> Result<(), Reject> {
        let canister = self.with_controlled(call)?;
        let id = canister.id;
        if canister.status != Status::Stopped {
            return Err(reject(
                510,
                format!(
                    "Canister {id} must be stopped before it is deleted.\nStop the canister before deleting it. See \
                 documentation: https://internetcomputer.org/docs/current/references/execution-errors\
                 #delete-canister-not-stopped"
                ),
            ));
        }
        self.canisters.remove(&id);
        Ok(())
    }

    fn uninstall(&mut self, call: &Call) -> Result<(), Reject> {
        let canister = self.with_controlled(call)?;
        let id = canister.id;
        canister.code = None;
        canister.timer = 0;
        canister.certified_data.clear();
        canister.log.clear();
        canister.chunks.clear();
        canister.version += 1;
        canister.remember(false);
        canister.callbacks.clear();
        let contexts = std::mem::take(&mut canister.contexts);
        for context in contexts.into_values().filter(|context| !context.answered) {
            let gone = reject(537, "Canister has been uninstalled");
            self.respond(context.origin, id, Answered { result: Err(gone), refund: context.available });
        }
        Ok(())
    }
}
