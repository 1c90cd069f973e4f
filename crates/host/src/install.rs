//! Installing, reinstalling and upgrading code: one unit that is kept whole or leaves no trace.
//!
//! Owns the order of the hooks and which memories survive. Who may install, and where the bytes come from, is the
//! management canister's business.

use std::sync::Arc;

use candid::Principal;

use crate::canister::{Canister, Installed};
use crate::engine::Code;
use crate::executor::{Entry, Executor, Ran};
use crate::failure::{Failure, reject};
use crate::message::{Effects, Message};
use crate::replica::{InstallMode, Reject};
use crate::run::apply;
use crate::stable::Stable;
use crate::subnet::{fees, limits};
use crate::sysapi::Mode;
use crate::wasm;
use crate::world::World;

/// What is to be installed.
pub(crate) struct Install<'a> {
    pub canister: Principal,
    pub sender: Principal,
    pub mode: InstallMode,
    pub skip_pre_upgrade: bool,
    pub wasm: &'a [u8],
    pub arg: &'a [u8],
}

/// Instructions charged for each byte of a module that is refused.
const INVALID_BYTE: u64 = 6_000;

/// An install under way.
struct Attempt<'a> {
    install: &'a Install<'a>,
    time: u64,
    /// Instructions taken so far.
    instructions: u64,
    log: Vec<Vec<u8>>,
    effects: Vec<Effects>,
    balance: u128,
}

impl World {
    /// Installs code; the canister pays for the attempt whatever comes of it.
    ///
    /// # Errors
    ///
    /// An invalid module, a hook that traps, a canister that is not empty (install) or empty (upgrade).
    pub fn install(&mut self, install: &Install<'_>) -> Result<u64, Reject> {
        let id = install.canister;
        let occupied = self.canister(id)?.code.is_some();
        let refusal = match install.mode {
            InstallMode::Install if occupied => Some(reject(
                514,
                format!(
                    "Canister {id} cannot be installed because the canister is not empty. Try installing with \
                     mode='reinstall' instead.\nCheck that you want to overwrite the canister and, if so, use \
                     mode='reinstall'. See documentation: https://internetcomputer.org/docs/current/references/\
                     execution-errors#canister-not-empty"
                ),
            )),
            InstallMode::Upgrade if !occupied => Some(Failure::NoModule.reject(id)),
            _ => None,
        };
        if let Some(refusal) = refusal {
            let canister = self.canister(id)?;
            canister.balance = canister.balance.saturating_sub(fees::EXECUTION);
            return Err(refusal);
        }
        let time = self.time;
        let Some(canister) = self.canisters.get_mut(&id) else { return Ok(0) };
        let mut attempt = Attempt {
            install,
            time,
            instructions: 0,
            log: Vec::new(),
            effects: Vec::new(),
            balance: canister.balance,
        };
        let compile = || {
            let code = self.compiler.compile(install.wasm);
            let charge = match &code {
                Ok(code) if self.compiled.insert(code.facts().hash) => code.facts().compile_charge,
                Ok(code) => code.facts().compile_charge / 100,
                Err(_) => install.wasm.len() as u64 * INVALID_BYTE,
            };
            (code, charge)
        };
        let installed = attempt.run(canister, compile, self.schedule);
        let instructions = attempt.instructions;
        let cost = fees::execution(instructions);
        canister.balance = match &installed {
            Ok(_) => attempt.balance.saturating_sub(cost),
            Err(_) => canister.balance.saturating_sub(cost),
        };
        if installed.is_ok() && install.mode == InstallMode::Reinstall {
            canister.log.clear();
        }
        for line in attempt.log {
            canister.log.push(time, line);
        }
        match installed {
            Ok(executor) => {
                canister.code = Some(Installed { executor, wasm: install.wasm.into() });
                canister.version += 1;
                canister.timer = 0;
                if install.mode != InstallMode::Upgrade {
                    canister.certified_data.clear();
                }
                canister.remember(false);
                for mut effects in attempt.effects {
                    apply(canister, &mut effects);
                }
                Ok(instructions)
            }
            Err(failure) => Err(failure.reject(id)),
        }
    }
}

fn check_limit(canister: &Canister, code: &Code) -> Result<(), Failure> {
    let peak = code.facts().initial_pages << 16;
    match canister.settings.wasm_memory_limit {
        Some(limit) if peak > limit => Err(Failure::WasmMemoryLimit { limit, peak }),
        _ => Ok(()),
    }
}

impl Attempt<'_> {
    /// Runs the hooks. After a failure the canister has its old code and memories.
    fn run(
        &mut self,
        canister: &mut Canister,
        compile: impl FnOnce() -> (Result<Arc<Code>, Failure>, u64),
        schedule: wasm::CostSchedule,
    ) -> Result<Executor, Failure> {
        let upgrade = self.install.mode == InstallMode::Upgrade;
        let mut stable = Stable::default();
        if upgrade {
            let result = self.before(canister);
            let old = canister.code.as_mut().ok_or(Failure::NoModule)?;
            if let Err(failure) = result {
                old.executor.rollback()?;
                return Err(failure);
            }
            stable = old.executor.take_stable();
        }
        let (code, charge) = compile();
        self.instructions += charge;
        let code = code.and_then(|code| check_limit(canister, &code).and(Ok(code)));
        let idle = Message::idle(canister.facts(self.time, self.balance));
        let mut stable = Some(stable);
        let made = code.and_then(|code| Executor::new(&code, schedule, &mut stable, idle));
        let result = match made {
            Ok(mut executor) => match self.after(canister, &mut executor) {
                Ok(dirty) => {
                    executor.commit(&dirty)?;
                    return Ok(executor);
                }
                Err(failure) => {
                    stable = Some(executor.take_stable());
                    Err(failure)
                }
            },
            Err(failure) => Err(failure),
        };
        if let (true, Some(stable), Some(old)) = (upgrade, stable, &mut canister.code) {
            old.executor.set_stable(stable);
            old.executor.rollback()?;
        }
        result
    }

    /// `canister_pre_upgrade` of the old code.
    fn before(&mut self, canister: &mut Canister) -> Result<(), Failure> {
        let facts = canister.facts(self.time, self.balance);
        let Some(old) = &mut canister.code else { return Err(Failure::NoModule) };
        if old.executor.code().facts().exports.pre_upgrade && !self.install.skip_pre_upgrade {
            let message = self.message(Mode::PreUpgrade, facts);
            let ran = old.executor.execute(Entry::Export("canister_pre_upgrade"), message)?;
            self.book(ran)?;
        }
        Ok(())
    }

    /// Start function and `canister_init` or `canister_post_upgrade` of the new code; answers the pages to commit.
    fn after(&mut self, canister: &Canister, executor: &mut Executor) -> Result<Vec<u32>, Failure> {
        let exports = executor.code().facts().exports.clone();
        let (hook, exported) = match self.install.mode {
            InstallMode::Upgrade => ("canister_post_upgrade", exports.post_upgrade),
            _ => ("canister_init", exports.init),
        };
        let steps = [(wasm::START_EXPORT, exports.start, Mode::Start), (hook, exported, Mode::Init)];
        let mut dirty = Vec::new();
        for (export, _, mode) in steps.into_iter().filter(|step| step.1) {
            executor.commit_heap(&dirty)?;
            let message = self.message(mode, canister.facts(self.time, self.balance));
            let ran = executor.execute(Entry::Export(export), message)?;
            dirty = self.book(ran)?;
        }
        Ok(dirty)
    }

    fn message(&self, mode: Mode, mut facts: crate::message::Facts) -> Message {
        facts.balance = facts.balance.saturating_sub(fees::prepaid(limits::INSTALL));
        let mut message = Message::new(mode, limits::INSTALL.saturating_sub(self.instructions), facts);
        message.caller = self.install.sender;
        if mode == Mode::Init {
            message.payload = self.install.arg.to_vec();
        }
        message
    }

    fn book(&mut self, ran: Ran) -> Result<Vec<u32>, Failure> {
        self.instructions += ran.instructions + ran.page_instructions;
        let mut effects = ran.message.effects;
        self.log.append(&mut effects.log);
        if let Err(failure) = ran.result {
            self.log.extend(failure.log_line());
            return Err(failure);
        }
        self.balance -= effects.burned;
        self.effects.push(effects);
        Ok(ran.dirty)
    }
}
