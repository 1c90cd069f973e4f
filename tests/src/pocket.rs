//! PocketIC as a [`Replica`].
//!
//! Owns the translation between the trait and the `pocket-ic` crate. Nothing is smoothed over but what the trait leaves to
//! the runtime: rounds to wait for, chunks of a large module, and the server's HTTP errors, which become rejects.

mod args;
mod server;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candid::{CandidType, Decode, Encode, Nat, Principal};
use ic_nn_host::{
    CallId, Canister, CanisterSettings, CanisterStatus, InstallMode, LogLine, Reject, RejectCode, Replica,
    UploadedModule,
};
use pocket_ic::common::rest::{RawEffectivePrincipal, RawMessageId};
use pocket_ic::{PocketIc, RejectResponse};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use server::Instance;
pub use server::PocketServer;

use crate::runtimes::declared_schedule;

/// Cycles of a new canister: 100 T.
const CYCLES: u128 = 100_000_000_000_000;
/// Largest encoded argument of `install_code` in one message: 2 MiB less an envelope of at most 200 bytes.
const INSTALL_BYTES: usize = (2 << 20) - 200;
/// Bytes of one chunk of a module: 1 MiB.
const CHUNK_BYTES: usize = 1 << 20;
/// Most rounds a call may take: an install of 300 B instructions takes 150, a chain of updates of 40 B 20 each.
const ROUNDS: usize = 2_000;
/// The error of a canister that had an expensive install in the rounds before.
const INSTALL_RATE_LIMITED: &str = "IC0209";
/// Rounds between two tries of a rate-limited install, and tries.
const RATE_LIMIT: (usize, usize) = (10, 40);

/// A PocketIC instance of one application subnet.
pub struct Pocket {
    instance: Instance,
    calls: Mutex<Calls>,
}

/// Calls under way, by the number the trait knows them by.
#[derive(Default)]
struct Calls {
    last: u64,
    open: BTreeMap<CallId, RawMessageId>,
}

impl Pocket {
    /// The server that the environment asks for: one that `POCKET_IC_BIN` names, or with `IC_NN_POCKET_IC=download` one
    /// that is fetched when the first instance is made. `None` where neither is set.
    pub fn available() -> Option<PocketServer> {
        PocketServer::from_env()
    }

    /// A fresh instance.
    ///
    /// # Panics
    ///
    /// Where the server does not start or makes no instance.
    pub fn new(server: &PocketServer) -> Self {
        Self { instance: server.instance(), calls: Mutex::default() }
    }

    /// A canister of these cycles that `sender` controls; the settings are set afterwards and paid for, as in the
    /// recordings.
    pub fn create_with_cycles(
        &self,
        sender: Principal,
        settings: CanisterSettings,
        cycles: u128,
    ) -> Canister {
        let canister = self.create(sender, &args::Create { amount: Some(Nat::from(cycles)), settings: None });
        if settings != CanisterSettings::default() {
            self.update_settings(canister, sender, settings).expect("the sender controls the canister");
        }
        canister
    }

    /// Removes the canister's code.
    pub fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "uninstall_code").map(|_| ())
    }

    fn create(&self, sender: Principal, create: &args::Create) -> Canister {
        let reply = self
            .manage(None, sender, "provisional_create_canister_with_cycles", create)
            .unwrap_or_else(|reject| panic!("no canister was created: {reject}"));
        Decode!(&reply, args::Created).expect("a created canister has an id").canister_id
    }

    fn pic(&self) -> &PocketIc {
        &self.instance.pic
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit_about(
        &self,
        about: RawEffectivePrincipal,
        target: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<CallId, Reject> {
        let submit = || {
            let arg = arg.to_vec();
            self.pic().submit_call_with_effective_principal(target, about, sender, method, arg)
        };
        let message = guarded(submit)?.map_err(reject)?;
        let mut calls = self.calls();
        calls.last += 1;
        let id = CallId(calls.last);
        calls.open.insert(id, message);
        Ok(id)
    }

    /// Calls the management canister, about a canister or to make one.
    fn manage<T: CandidType>(
        &self,
        about: Option<Canister>,
        sender: Principal,
        method: &str,
        arg: &T,
    ) -> Result<Vec<u8>, Reject> {
        let arg = Encode!(arg).expect("records encode");
        let about = about.map_or(RawEffectivePrincipal::None, effective);
        let call = self.submit_about(about, Principal::management_canister(), sender, method, &arg)?;
        self.await_call(call)
    }

    fn about(&self, canister: Canister, sender: Principal, method: &str) -> Result<Vec<u8>, Reject> {
        self.manage(Some(canister), sender, method, &args::CanisterId { canister_id: canister })
    }

    /// Installs, again after some rounds where the canister had an expensive install before.
    fn within_rate_limit(&self, install: impl Fn() -> Result<(), Reject>) -> Result<(), Reject> {
        let (rounds, tries) = RATE_LIMIT;
        for _ in 1..tries {
            match install() {
                Err(refusal) if refusal.error_code == INSTALL_RATE_LIMITED => {
                    (0..rounds).for_each(|_| self.tick());
                }
                result => return result,
            }
        }
        install()
    }

    fn install_at_once(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject> {
        let install = args::InstallCode {
            mode: mode.into(),
            canister_id: canister,
            wasm_module: ByteBuf::from(wasm),
            arg: ByteBuf::from(arg),
        };
        let encoded = Encode!(&install).expect("records encode");
        if encoded.len() > INSTALL_BYTES {
            return self.install_chunks(canister, sender, mode, wasm, arg);
        }
        self.manage(Some(canister), sender, "install_code", &install).map(|_| ())
    }

    fn install_chunks(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject> {
        let module = self.upload_module(canister, sender, wasm)?;
        let installed = self.install_from_chunks(canister, sender, mode, &module, arg);
        self.about(canister, sender, "clear_chunk_store")?;
        installed
    }

    fn install_from_chunks(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        module: &UploadedModule,
        arg: &[u8],
    ) -> Result<(), Reject> {
        let hashes = module.chunks.iter().map(|hash| args::ChunkHash { hash: hash.to_vec().into() });
        let install = args::InstallChunked {
            mode: mode.into(),
            target_canister: canister,
            store_canister: Some(canister),
            chunk_hashes_list: hashes.collect(),
            wasm_module_hash: ByteBuf::from(module.sha256.to_vec()),
            arg: ByteBuf::from(arg),
            sender_canister_version: None,
        };
        self.manage(Some(canister), sender, "install_chunked_code", &install).map(|_| ())
    }
}

/// Whom a call is about. From a call to the management canister the server reads it itself.
fn effective(target: Canister) -> RawEffectivePrincipal {
    match target == Principal::management_canister() {
        true => RawEffectivePrincipal::None,
        false => RawEffectivePrincipal::CanisterId(target.as_slice().to_vec()),
    }
}

fn reject(response: RejectResponse) -> Reject {
    Reject {
        code: match response.reject_code {
            pocket_ic::RejectCode::SysFatal => RejectCode::SysFatal,
            pocket_ic::RejectCode::SysTransient => RejectCode::SysTransient,
            pocket_ic::RejectCode::DestinationInvalid => RejectCode::DestinationInvalid,
            pocket_ic::RejectCode::CanisterReject => RejectCode::CanisterReject,
            pocket_ic::RejectCode::CanisterError => RejectCode::CanisterError,
            pocket_ic::RejectCode::SysUnknown => RejectCode::SysUnknown,
        },
        error_code: response.error_code.to_string(),
        message: response.reject_message,
    }
}

/// Runs a request. Where the server answers with an HTTP error the crate panics; here that is a reject.
fn guarded<T>(request: impl FnOnce() -> T) -> Result<T, Reject> {
    catch_unwind(AssertUnwindSafe(request)).map_err(|panic| {
        match panic.downcast_ref::<String>().and_then(|text| http_error(text)) {
            Some(reject) => reject,
            None => resume_unwind(panic),
        }
    })
}

/// The reject for the panic ``called `Result::unwrap()` on an `Err` value: (400, "...")``; `None` for other panics.
fn http_error(panic: &str) -> Option<Reject> {
    let (_, error) = panic.split_once("on an `Err` value: (")?;
    let (status, message) = error.split_once(", ")?;
    let status: u16 = status.parse().ok()?;
    let absent = ["CanisterNotFound", "does not belong to any subnet"];
    Some(match absent.iter().any(|words| message.contains(words)) {
        true => not_found(message),
        false => Reject {
            code: RejectCode::SysTransient,
            error_code: format!("HTTP{status}"),
            message: message.to_owned(),
        },
    })
}

fn not_found(message: impl Into<String>) -> Reject {
    Reject { code: RejectCode::DestinationInvalid, error_code: "IC0301".to_owned(), message: message.into() }
}

impl Replica for Pocket {
    fn name(&self) -> &'static str {
        "PocketIC"
    }

    fn cost_schedule(&self) -> Option<String> {
        declared_schedule()
    }

    fn create_canister(&self, sender: Principal, settings: CanisterSettings) -> Canister {
        self.create(
            sender,
            &args::Create { amount: Some(Nat::from(CYCLES)), settings: Some(settings.into()) },
        )
    }

    fn install(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        wasm: &[u8],
        arg: &[u8],
    ) -> Result<(), Reject> {
        self.within_rate_limit(|| self.install_at_once(canister, sender, mode, wasm, arg))
    }

    fn upload_module(
        &self,
        canister: Canister,
        sender: Principal,
        wasm: &[u8],
    ) -> Result<UploadedModule, Reject> {
        let mut chunks = Vec::new();
        for chunk in wasm.chunks(CHUNK_BYTES) {
            let upload = args::UploadChunk { canister_id: canister, chunk: ByteBuf::from(chunk) };
            self.manage(Some(canister), sender, "upload_chunk", &upload)?;
            chunks.push(Sha256::digest(chunk).into());
        }
        Ok(UploadedModule { chunks, sha256: Sha256::digest(wasm).into() })
    }

    fn install_uploaded(
        &self,
        canister: Canister,
        sender: Principal,
        mode: InstallMode,
        module: &UploadedModule,
        arg: &[u8],
    ) -> Result<(), Reject> {
        self.within_rate_limit(|| self.install_from_chunks(canister, sender, mode, module, arg))
    }

    fn query(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<Vec<u8>, Reject> {
        let query = || {
            let arg = arg.to_vec();
            self.pic().query_call_with_effective_principal(canister, effective(canister), sender, method, arg)
        };
        guarded(query)?.map_err(reject)
    }

    fn submit(
        &self,
        canister: Canister,
        sender: Principal,
        method: &str,
        arg: &[u8],
    ) -> Result<CallId, Reject> {
        self.submit_about(effective(canister), canister, sender, method, arg)
    }

    fn await_call(&self, call: CallId) -> Result<Vec<u8>, Reject> {
        let message = self.calls().open.remove(&call);
        let Some(message) = message else {
            return Err(not_found(format!("call {} does not wait for an answer", call.0)));
        };
        // The server's own waiting ends after 100 rounds, which long calls outlast.
        for _ in 0..ROUNDS {
            if let Some(answer) = self.pic().ingress_status(message.clone()) {
                return answer.map_err(reject);
            }
            self.tick();
        }
        panic!("call {} has no answer after {ROUNDS} rounds", call.0);
    }

    fn tick(&self) {
        self.pic().tick();
    }

    fn time_nanos(&self) -> u64 {
        self.pic().get_time().as_nanos_since_unix_epoch()
    }

    fn advance_time(&self, by: Duration) {
        self.pic().advance_time(by);
    }

    fn cycles(&self, canister: Canister) -> u128 {
        guarded(|| self.pic().cycle_balance(canister)).unwrap_or_default()
    }

    fn add_cycles(&self, canister: Canister, amount: u128) -> u128 {
        guarded(|| self.pic().add_cycles(canister, amount)).unwrap_or_default()
    }

    fn status(&self, canister: Canister, sender: Principal) -> Result<CanisterStatus, Reject> {
        let reply = self.about(canister, sender, "canister_status")?;
        Ok(Decode!(&reply, args::Status).expect("canister_status answers a status").into())
    }

    fn update_settings(
        &self,
        canister: Canister,
        sender: Principal,
        settings: CanisterSettings,
    ) -> Result<(), Reject> {
        let settings = settings.into();
        let change = args::UpdateSettings { canister_id: canister, settings, sender_canister_version: None };
        self.manage(Some(canister), sender, "update_settings", &change).map(|_| ())
    }

    fn stop(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "stop_canister").map(|_| ())
    }

    fn start(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "start_canister").map(|_| ())
    }

    fn delete(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        self.about(canister, sender, "delete_canister").map(|_| ())
    }

    fn logs(&self, canister: Canister, sender: Principal) -> Result<Vec<LogLine>, Reject> {
        let records = guarded(|| self.pic().fetch_canister_logs(canister, sender))?.map_err(reject)?;
        let line = |record: pocket_ic::CanisterLogRecord| LogLine {
            index: record.idx,
            timestamp_nanos: record.timestamp_nanos,
            content: record.content,
        };
        Ok(records.into_iter().map(line).collect())
    }

    fn stable_memory(&self, canister: Canister) -> Vec<u8> {
        guarded(|| self.pic().get_stable_memory(canister)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_error_is_a_reject() {
        let panic =
            "called `Result::unwrap()` on an `Err` value: (400, \"BadIngressMessage(\\\"too large.\\\")\")";
        let reject = guarded(|| std::panic::panic_any(panic.to_owned())).unwrap_err();
        assert_eq!((reject.code, reject.error_code.as_str()), (RejectCode::SysTransient, "HTTP400"));
        let panic = panic.replace("too large.", "Canister aaaaa-aa does not belong to any subnet.");
        assert_eq!(http_error(&panic).map(|reject| reject.error_code), Some("IC0301".to_owned()));
        assert_eq!(http_error("HTTP failure"), None);
    }

    #[test]
    fn an_error_code_has_the_form_of_the_host() {
        let response = RejectResponse {
            reject_code: pocket_ic::RejectCode::CanisterError,
            reject_message: "text".to_owned(),
            error_code: pocket_ic::ErrorCode::CanisterTrapped,
            certified: true,
        };
        let expected = Reject {
            code: RejectCode::CanisterError,
            error_code: "IC0502".to_owned(),
            message: "text".to_owned(),
        };
        assert_eq!(reject(response), expected);
    }
}
