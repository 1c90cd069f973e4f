//! A canister on this machine: the embedded host with one canister in it, for one command or kept in a folder.
//!
//! The only file that knows the host itself. It meters: every call goes through [`Local`] as a transport, so what
//! calls were charged is counted here and nowhere estimated.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use candid::Principal;
use ic_nn_client::{CallError, Transport};
use ic_nn_host::{CanisterSettings, Host, HostBuilder, HostError, InstallMode, Replica};
use ic_nn_types::InitArgs;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::wasm::{self, CanisterWasm};

/// The file in a kept folder that names the canister; the host's own files are beside it in [`HOST`].
const CANISTER: &str = "canister.txt";
const HOST: &str = "host";
/// Names those that stages of models are on.
const FURTHER: &str = "stages.txt";
/// Held while a command uses the folder.
const LOCK: &str = "lock";

/// What a measured update may take: a hundred times what the Internet Computer grants, some minutes of this machine.
const MEASURED_INSTRUCTIONS: u64 = 4_000_000_000_000;

/// What calls were charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Instructions of all their messages.
    pub instructions: u64,
    /// Cycles that left the canister's balance.
    pub cycles: u128,
}

/// The host and its canister.
pub struct Local {
    host: Host,
    canister: Principal,
    sender: Principal,
    /// Instructions of the calls since [`Local::charged`] began.
    instructions: Cell<u64>,
    installed: Charge,
    kept: Option<Kept>,
}

struct Kept {
    folder: PathBuf,
    /// Unlocks when it is dropped.
    _lock: std::fs::File,
}

impl Local {
    /// A new canister that lives as long as this value, on a host that grants what the Internet Computer does.
    pub fn ephemeral(wasm: &CanisterWasm, progress: Progress) -> Result<Self, Failure> {
        Self::on(Host::builder(), wasm, progress)
    }

    /// A new canister whose updates may take as many instructions as they like, to measure what does not fit.
    pub fn unlimited(wasm: &CanisterWasm, schedule: &str, progress: Progress) -> Result<Self, Failure> {
        let host = Host::builder().schedule(schedule).update_limit(MEASURED_INSTRUCTIONS);
        Self::on(host, wasm, progress)
    }

    fn on(host: HostBuilder, wasm: &CanisterWasm, progress: Progress) -> Result<Self, Failure> {
        let host = host.build().map_err(host_failure)?;
        let sender = developer();
        let canister = host.create_canister(sender, CanisterSettings::default());
        let local = Local {
            host,
            canister,
            sender,
            instructions: Cell::new(0),
            installed: Charge::default(),
            kept: None,
        };
        let (installed, charge) = local.charged(|| {
            progress.during("installing the canister (compiling it the first time)", || {
                local.install(InstallMode::Install, wasm)
            })
        });
        installed?;
        Ok(Local { installed: charge, ..local })
    }

    /// The canister kept in `folder`, made there on first use, upgraded where the wasm is another by now.
    pub fn open(folder: &Path, named: Option<&Path>, progress: Progress) -> Result<Self, Failure> {
        let io = |error: std::io::Error| {
            Failure::unprepared(format!("cannot keep a canister in {}: {error}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(io)?;
        let lock = std::fs::File::create(folder.join(LOCK)).map_err(io)?;
        lock.lock().map_err(io)?;
        let kept = Some(Kept { folder: folder.to_owned(), _lock: lock });
        let Ok(id) = std::fs::read_to_string(folder.join(CANISTER)) else {
            let local = Local { kept, ..Self::ephemeral(&wasm::find(named)?, progress)? };
            local.save()?;
            std::fs::write(folder.join(CANISTER), local.canister.to_text()).map_err(io)?;
            progress.note(&format!("a new canister is kept in {}", folder.display()));
            return Ok(local);
        };
        let canister = Principal::from_text(id.trim()).map_err(|_| {
            Failure::unprepared(format!("{} names no canister", folder.join(CANISTER).display()))
                .hint("remove the folder to begin anew")
        })?;
        let host = progress
            .briefly("opening the canister", || Host::open(folder.join(HOST)))
            .map_err(host_failure)?;
        let (sender, instructions) = (developer(), Cell::new(0));
        let local = Local { host, canister, sender, instructions, installed: Charge::default(), kept };
        local.renew(named, progress)?;
        Ok(local)
    }

    /// Upgrades to the wasm that is named or found, if it is not the one that runs.
    fn renew(&self, named: Option<&Path>, progress: Progress) -> Result<(), Failure> {
        let wasm = match wasm::find(named) {
            Ok(wasm) => wasm,
            // Without a newer one the canister goes on as it is; a wasm that was named must be there.
            Err(_) if named.is_none() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let status =
            self.host.status(self.canister, self.sender).map_err(|e| Failure::failed(e.to_string()))?;
        if status.module_hash.as_deref() == Some(Sha256::digest(&wasm.bytes).as_slice()) {
            return Ok(());
        }
        progress
            .during("upgrading the canister to another wasm", || self.install(InstallMode::Upgrade, &wasm))?;
        self.save()
    }

    /// Upgrades the canister to the wasm it runs: heap lost, stable memory kept.
    pub fn upgrade(&self, wasm: &CanisterWasm) -> Result<(), Failure> {
        self.install(InstallMode::Upgrade, wasm)
    }

    /// The canister's id.
    pub fn id(&self) -> Principal {
        self.canister
    }

    /// So many further canisters on the same host, kept in the folder in their order: those that there are, upgraded where the wasm
    /// is another by now, and new ones.
    pub fn further(
        &self,
        count: usize,
        named: Option<&Path>,
        progress: Progress,
    ) -> Result<Vec<Principal>, Failure> {
        let path = self.kept.as_ref().map(|kept| kept.folder.join(FURTHER));
        let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let mut ids: Vec<Principal> =
            text.lines().filter_map(|id| Principal::from_text(id.trim()).ok()).collect();
        let wasm = wasm::find(named)?;
        let hash = Sha256::digest(&wasm.bytes);
        for ix in 0..count {
            let what = format!("installing the canister of stage {}", ix + 1);
            match ids.get(ix) {
                Some(id) => {
                    let status =
                        self.host.status(*id, self.sender).map_err(|e| Failure::failed(e.to_string()))?;
                    if status.module_hash.as_deref() != Some(hash.as_slice()) {
                        progress.briefly(&what, || self.install_on(*id, InstallMode::Upgrade, &wasm))?;
                    }
                }
                None => {
                    let id = self.host.create_canister(self.sender, CanisterSettings::default());
                    progress.briefly(&what, || self.install_on(id, InstallMode::Install, &wasm))?;
                    ids.push(id);
                }
            }
        }
        if let Some(path) = path {
            self.save()?;
            let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
            std::fs::write(&path, text)
                .map_err(|e| Failure::unprepared(format!("cannot write {}: {e}", path.display())))?;
        }
        ids.truncate(count);
        Ok(ids)
    }

    /// Cycles that a canister of this host holds.
    pub fn balance(&self, canister: Principal) -> u128 {
        self.host.cycles(canister)
    }

    /// What calls of a canister of this host go over.
    pub fn at(&self, canister: Principal) -> At<'_> {
        At { local: self, canister }
    }

    fn install(&self, mode: InstallMode, wasm: &CanisterWasm) -> Result<(), Failure> {
        self.install_on(self.canister, mode, wasm)
    }

    fn install_on(&self, canister: Principal, mode: InstallMode, wasm: &CanisterWasm) -> Result<(), Failure> {
        let arg = candid::encode_one(None::<InitArgs>).map_err(|e| Failure::failed(e.to_string()))?;
        let installed = self.host.install(canister, self.sender, mode, &wasm.bytes, &arg);
        self.count(self.host.last_cost().instructions);
        installed.map_err(|reject| {
            Failure::unprepared(format!("{} cannot be installed: {reject}", wasm.path.display()))
                .hint("`./scripts/build-canister` builds the canister anew")
        })
    }

    /// Does `work` and answers what its calls were charged.
    pub fn charged<R>(&self, work: impl FnOnce() -> R) -> (R, Charge) {
        self.instructions.set(0);
        let before = self.host.cycles(self.canister);
        let result = work();
        let cycles = before.saturating_sub(self.host.cycles(self.canister));
        (result, Charge { instructions: self.instructions.get(), cycles })
    }

    /// Bytes of wasm heap and of stable memory that the canister holds, and pays for.
    pub fn memory(&self) -> (u64, u64) {
        (self.host.heap_bytes(self.canister), self.host.stable_bytes(self.canister))
    }

    /// What installing was charged; nothing where the canister was installed by an earlier command.
    pub fn installed(&self) -> Charge {
        self.installed
    }

    /// Writes the canister to its folder, if it has one.
    pub fn save(&self) -> Result<(), Failure> {
        match &self.kept {
            Some(kept) => self.host.save(kept.folder.join(HOST)).map_err(host_failure),
            None => Ok(()),
        }
    }

    fn count(&self, instructions: u64) {
        self.instructions.set(self.instructions.get() + instructions);
    }
}

/// One of a host's canisters.
pub struct At<'a> {
    local: &'a Local,
    canister: Principal,
}

impl Transport for At<'_> {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        let Local { host, sender, .. } = self.local;
        let call = host.submit(self.canister, *sender, method, arg)?;
        let reply = host.await_call(call);
        self.local.count(host.cost(call).unwrap_or_default().instructions);
        Ok(reply?)
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        let Local { host, sender, .. } = self.local;
        let reply = host.query(self.canister, *sender, method, arg);
        self.local.count(host.last_cost().instructions);
        Ok(reply?)
    }

    /// Time here is the host's: it is moved forward, nobody waits.
    fn pause(&self, duration: std::time::Duration) {
        self.local.host.advance_time(duration);
        self.local.host.tick();
    }
}

impl Transport for Local {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.at(self.canister).update(method, arg)
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.at(self.canister).query(method, arg)
    }

    fn pause(&self, duration: std::time::Duration) {
        self.at(self.canister).pause(duration);
    }
}

/// Who calls: the controller of the canister, the same on every machine.
fn developer() -> Principal {
    Principal::self_authenticating(b"the developer on this machine")
}

fn host_failure(error: HostError) -> Failure {
    Failure::unprepared(error.to_string())
}
