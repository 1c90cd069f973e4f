//! Executes the steps of a suite in their order.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ic_nn_host::{CallId, Canister, CanisterSettings, InstallMode, Reject};

use super::compare::{self, Outcome};
use super::skips::{Part, Skips};
use super::step::{Settings, Step, controller};
use super::{Recorded, module, steps};

/// Cycles of a canister created without a word about them.
const CYCLES: u128 = 10_000_000_000_000_000;

/// What a walk found.
#[derive(Default)]
pub struct Report {
    pub compared: usize,
    pub excused: usize,
    pub mismatches: Vec<String>,
}

struct Walk<'a> {
    fixtures: &'a Path,
    replica: Box<dyn Recorded>,
    canisters: BTreeMap<String, Canister>,
    calls: BTreeMap<String, CallId>,
}

/// Replays a suite.
pub fn walk(fixtures: &Path, suite: &str, fresh: &dyn Fn() -> Box<dyn Recorded>) -> Report {
    let skips = Skips::load();
    let mut report = Report::default();
    let mut walk = Walk::new(fixtures, fresh());
    for step in steps(fixtures, suite) {
        if step.op == "new_instance" {
            walk = Walk::new(fixtures, fresh());
            continue;
        }
        let before = walk.balances();
        let outcome = walk.execute(&step);
        let after = walk.balances();
        let spent = |name: &str| {
            let balance = |of: &BTreeMap<String, u128>| of.get(name).copied().unwrap_or_default() as i128;
            balance(&before) - balance(&after)
        };
        let parts = [
            (Part::Outcome, compare::outcome(&step, &outcome)),
            (Part::Text, compare::message(&step, &outcome)),
            (Part::Cycles, cycles(&step, spent)),
        ];
        for (part, difference) in parts {
            report.compared += 1;
            if let Some(difference) = difference {
                if skips.excuses(suite, &step, part) {
                    report.excused += 1;
                    continue;
                }
                let Step { step, op, canister, method, comment, api, context, .. } = &step;
                report.mismatches.push(format!(
                    "{step} {op} {canister} {method} [{comment}{api} {context}] {part:?}: {difference}"
                ));
            }
        }
    }
    report
}

fn cycles(step: &Step, spent: impl Fn(&str) -> i128) -> Option<String> {
    let own = step.cycles_spent.map(|cycles| (&step.canister, cycles));
    let others = step.cycles_spent_others.iter().map(|(name, cycles)| (name, *cycles));
    let differences: Vec<String> = own
        .into_iter()
        .chain(others)
        .map(|(name, expected)| (name, spent(name), expected))
        .filter(|(_, got, expected)| got != expected)
        .map(|(name, got, expected)| format!("{name} spent {got}, expected {expected}: {:+}", got - expected))
        .collect();
    (!differences.is_empty()).then(|| differences.join("; "))
}

impl<'a> Walk<'a> {
    fn new(fixtures: &'a Path, replica: Box<dyn Recorded>) -> Self {
        Self { fixtures, replica, canisters: BTreeMap::new(), calls: BTreeMap::new() }
    }

    fn balances(&self) -> BTreeMap<String, u128> {
        self.canisters.iter().map(|(name, canister)| (name.clone(), self.replica.cycles(*canister))).collect()
    }

    fn execute(&mut self, step: &Step) -> Outcome {
        let replica = &*self.replica;
        let sender = step.sender();
        match step.op.as_str() {
            "create" => return self.create(step),
            "tick" => {
                for _ in 0..step.n {
                    replica.tick();
                }
                return Outcome::Done;
            }
            "advance_time_tick" => {
                replica.advance_time(Duration::from_nanos(step.nanos));
                replica.tick();
                return Outcome::Done;
            }
            _ => {}
        }
        let canister = self.canisters[&step.canister];
        match step.op.as_str() {
            "update" => reply(replica.update(canister, sender, &step.method, &step.arg())),
            "query" | "composite_query" => reply(replica.query(canister, sender, &step.method, &step.arg())),
            "install" => self.install(step, canister, InstallMode::Install),
            "reinstall" => self.install(step, canister, InstallMode::Reinstall),
            "upgrade" => self.install(step, canister, InstallMode::Upgrade),
            "uninstall" => done(replica.uninstall(canister, sender)),
            "stop" => done(replica.stop(canister, sender)),
            "start" => done(replica.start(canister, sender)),
            "delete" => {
                let deleted = replica.delete(canister, sender);
                if deleted.is_ok() {
                    self.canisters.remove(&step.canister);
                }
                done(deleted)
            }
            "settings" => done(replica.update_settings(canister, sender, settings(&step.settings))),
            "logs" => replica.logs(canister, sender).map_or_else(Outcome::Reject, Outcome::Logs),
            "status" => (replica.status(canister, sender))
                .map_or_else(Outcome::Reject, |status| Outcome::State(format!("{:?}", status.state))),
            "submit" => match replica.submit(canister, sender, &step.method, &step.arg()) {
                Ok(call) => {
                    self.calls.insert(step.tag.clone(), call);
                    Outcome::Done
                }
                Err(reject) => Outcome::Reject(reject),
            },
            "await" => reply(replica.await_call(self.calls[&step.tag])),
            op => panic!("step {}: unknown operation {op}", step.step),
        }
    }

    fn create(&mut self, step: &Step) -> Outcome {
        let cycles = step.cycles.unwrap_or(CYCLES);
        let canister = self.replica.create_with_cycles(controller(), settings(&step.settings), cycles);
        assert_eq!(
            Some(canister),
            step.id,
            "step {}: canister ids are part of arguments that follow",
            step.step
        );
        self.canisters.insert(step.canister.clone(), canister);
        Outcome::Done
    }

    fn install(&self, step: &Step, canister: Canister, mode: InstallMode) -> Outcome {
        let wasm = module::module(self.fixtures, step);
        done(self.replica.install(canister, step.sender(), mode, &wasm, &step.arg()))
    }
}

fn settings(recorded: &Settings) -> CanisterSettings {
    CanisterSettings {
        public_logs: recorded.log_visibility.as_ref().map(|visibility| visibility == "public"),
        wasm_memory_limit: recorded.wasm_memory_limit,
        freezing_threshold: recorded.freezing_threshold,
        ..CanisterSettings::default()
    }
}

fn reply(answer: Result<Vec<u8>, Reject>) -> Outcome {
    answer.map_or_else(Outcome::Reject, Outcome::Reply)
}

fn done(answer: Result<(), Reject>) -> Outcome {
    answer.map_or_else(Outcome::Reject, |()| Outcome::Done)
}
