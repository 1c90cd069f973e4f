//! All canisters of the host and the rounds they live in.
//!
//! Owns time, the queues between canisters and the answers that wait to be fetched. A round takes in ingress messages,
//! executes what is addressed to the subnet itself, then timers, heartbeats and messages until nothing is left or the
//! round is full. How one message runs is [`run`](crate::run)'s business.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use candid::Principal;

use crate::canister::{Answered, Call, Canister, Input, Origin, Status, Turn};
use crate::cost::CallCost;
use crate::engine::Compiler;
use crate::failure::reject;
use crate::random::Random;
use crate::replica::{CallId, Reject};
use crate::stable;
use crate::subnet::{self, fees, limits};
use crate::wasm::CostSchedule;

/// Instructions after which a round takes no further message.
const ROUND_INSTRUCTIONS: u64 = limits::SLICE;
/// Counted against a round for every message, and for every canister each time its messages have had their turn.
const MESSAGE_OVERHEAD: u64 = 2_000_000;
const CANISTER_OVERHEAD: u64 = 8_000_000;

/// The host's state.
pub(crate) struct World {
    pub compiler: Compiler,
    pub schedule: CostSchedule,
    /// Instructions that a message may take; what it prepays does not follow.
    pub update_limit: u64,
    /// Wasm pages of stable memory that canisters to come are granted.
    pub stable_limit: u64,
    pub canisters: BTreeMap<Principal, Canister>,
    pub time: u64,
    /// Time was moved since the last round, which then takes it as it is.
    pub time_moved: bool,
    pub next_call: u64,
    pub next_canister: u64,
    /// Modules compiled before: installing them again is cheap.
    pub compiled: HashSet<[u8; 32]>,
    pub random: Random,
    pub ingress: VecDeque<Ingress>,
    pub subnet_calls: VecDeque<Call>,
    /// Calls to the subnet that are answered in the next round.
    pub deferred: VecDeque<Call>,
    /// What was sent in this turn: to whom, from whom.
    pub outbox: Vec<(Principal, Principal, Input)>,
    pub answers: HashMap<CallId, Result<Vec<u8>, Reject>>,
    /// Ingress calls whose answer was not fetched yet.
    pub open_calls: BTreeSet<CallId>,
    pub costs: BTreeMap<CallId, CallCost>,
    /// Instructions executed in this round.
    pub round_instructions: u64,
}

/// An ingress message that was let in and not yet taken into a round.
pub(crate) struct Ingress {
    pub target: Principal,
    /// Who pays for it.
    pub payer: Principal,
    pub bytes: u64,
    pub call: Call,
}

impl World {
    /// An empty subnet.
    pub fn new(compiler: Compiler, schedule: CostSchedule, seed: u64) -> Self {
        Self {
            compiler,
            schedule,
            update_limit: limits::UPDATE,
            stable_limit: stable::MAX_PAGES,
            canisters: BTreeMap::new(),
            time: subnet::GENESIS,
            time_moved: false,
            next_call: 0,
            next_canister: 0,
            compiled: HashSet::new(),
            random: Random::new(seed),
            ingress: VecDeque::new(),
            subnet_calls: VecDeque::new(),
            deferred: VecDeque::new(),
            outbox: Vec::new(),
            answers: HashMap::new(),
            open_calls: BTreeSet::new(),
            costs: BTreeMap::new(),
            round_instructions: 0,
        }
    }

    /// A canister, or the reject that says there is none.
    pub fn canister(&mut self, id: Principal) -> Result<&mut Canister, Reject> {
        (self.canisters.get_mut(&id)).ok_or_else(|| reject(301, format!("Canister {id} not found")))
    }

    /// The id the next ingress call gets.
    pub fn fresh_call(&mut self) -> CallId {
        self.next_call += 1;
        let call = CallId(self.next_call);
        self.costs.insert(call, CallCost::default());
        self.open_calls.insert(call);
        call
    }

    /// The next id of the subnet's range.
    pub fn fresh_canister_id(&mut self) -> Principal {
        let id = canister_id(self.next_canister);
        self.next_canister += 1;
        id
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.ingress.is_empty()
            && self.subnet_calls.is_empty()
            && self.deferred.is_empty()
            && self.outbox.is_empty()
            && self
                .canisters
                .values()
                .all(|canister| canister.inputs.is_empty() && canister.contexts.is_empty())
    }

    /// Executes one round.
    pub fn round(&mut self) {
        if !std::mem::take(&mut self.time_moved) {
            self.time += 1;
        }
        self.round_instructions = 0;
        self.take_in();
        self.subnet_calls.extend(std::mem::take(&mut self.deferred));
        self.execute_subnet_calls();
        self.start_tasks();
        while self.round_instructions <= ROUND_INSTRUCTIONS {
            let waiting = self.ids(|canister| !canister.inputs.is_empty());
            if waiting.is_empty() && self.subnet_calls.is_empty() && self.outbox.is_empty() {
                break;
            }
            for id in waiting {
                while self.round_instructions <= ROUND_INSTRUCTIONS && self.execute_next(id) {
                    self.round_instructions += MESSAGE_OVERHEAD;
                }
                self.round_instructions += CANISTER_OVERHEAD;
            }
            self.deliver();
            self.execute_subnet_calls();
        }
        self.deliver();
        self.finish_stopping();
        self.charge_storage();
    }

    /// Canisters pay for what they hold, every ten seconds.
    fn charge_storage(&mut self) {
        for canister in self.canisters.values_mut() {
            let unpaid = self.time.saturating_sub(canister.paid_until);
            if canister.paid_until == 0 {
                canister.paid_until = self.time;
            } else if unpaid >= fees::STORAGE_INTERVAL {
                let fee = fees::storage(canister.bytes(), unpaid);
                canister.balance = canister.balance.saturating_sub(fee);
                canister.paid_until = self.time;
            }
        }
    }

    fn ids(&self, wanted: impl Fn(&Canister) -> bool) -> Vec<Principal> {
        (self.canisters.values()).filter(|canister| wanted(canister)).map(|canister| canister.id).collect()
    }

    /// Ingress messages are paid for and queued.
    fn take_in(&mut self) {
        for ingress in std::mem::take(&mut self.ingress) {
            let fee = fees::ingress(ingress.bytes);
            if let Some(payer) = self.canisters.get_mut(&ingress.payer) {
                payer.balance = payer.balance.saturating_sub(fee);
            }
            self.spend(ingress.call.root, fee);
            if ingress.target == Principal::management_canister() {
                self.subnet_calls.push_back(ingress.call);
            } else if let Some(canister) = self.canisters.get_mut(&ingress.target) {
                canister.inputs.push(Principal::management_canister(), Input::Call(ingress.call));
            } else {
                let gone = reject(301, format!("Canister {} not found", ingress.target));
                self.respond(ingress.call.origin, ingress.target, Answered { result: Err(gone), refund: 0 });
            }
        }
    }

    fn execute_subnet_calls(&mut self) {
        while let Some(call) = self.subnet_calls.pop_front() {
            self.execute_subnet_call(call);
        }
    }

    /// Timers that are due and heartbeats run before messages, but leave every third turn to them.
    fn start_tasks(&mut self) {
        let time = self.time;
        for id in self.ids(|canister| canister.code.is_some() && canister.status == Status::Running) {
            let Some(canister) = self.canisters.get_mut(&id) else { continue };
            let Some(installed) = &canister.code else { continue };
            let exports = &installed.executor.code().facts().exports;
            let timer = exports.global_timer && canister.timer != 0 && canister.timer <= time;
            let heartbeat = exports.heartbeat;
            let mut tasks = [None, None];
            for _ in 0..3 {
                let turn = canister.next_turn;
                canister.next_turn = turn.next();
                let chosen = match turn {
                    Turn::Timer => timer,
                    Turn::Heartbeat => heartbeat,
                    Turn::Message => !canister.inputs.is_empty(),
                };
                if chosen {
                    tasks = match turn {
                        Turn::Timer => [Some(turn), heartbeat.then_some(Turn::Heartbeat)],
                        Turn::Heartbeat => [Some(turn), timer.then_some(Turn::Timer)],
                        Turn::Message => [None, None],
                    };
                    break;
                }
            }
            for task in tasks.into_iter().flatten() {
                self.run_task(id, task);
            }
        }
    }

    /// Puts what the last turn sent in front of its receivers.
    fn deliver(&mut self) {
        for (to, from, input) in std::mem::take(&mut self.outbox) {
            match input {
                Input::Call(call) => self.deliver_call(to, from, call),
                answer => {
                    if let Some(canister) = self.canisters.get_mut(&to) {
                        canister.inputs.push(from, answer);
                    }
                }
            }
        }
    }

    fn deliver_call(&mut self, to: Principal, from: Principal, call: Call) {
        let refusal = match self.canisters.get_mut(&to) {
            None => reject(301, format!("No route to canister {to}")),
            Some(canister) if canister.status == Status::Stopped => {
                reject(508, format!("Canister {to} is stopped"))
            }
            Some(canister) if canister.status == Status::Stopping => {
                reject(509, format!("Canister {to} is not running"))
            }
            Some(canister) => return canister.inputs.push(from, Input::Call(call)),
        };
        self.respond(call.origin, to, Answered { result: Err(refusal), refund: call.cycles });
    }

    /// Executes the next input of a canister; false where there is none.
    fn execute_next(&mut self, id: Principal) -> bool {
        let input = self.canisters.get_mut(&id).and_then(|canister| canister.inputs.pop());
        match input {
            Some(Input::Call(call)) => self.run_call(id, call),
            Some(Input::Answer { callback, answer }) => self.run_callback(id, callback, answer),
            None => return false,
        }
        true
    }

    /// Canisters that have nothing under way any more are stopped.
    fn finish_stopping(&mut self) {
        for id in self.ids(|canister| canister.status == Status::Stopping) {
            let Some(canister) = self.canisters.get_mut(&id) else { continue };
            if canister.contexts.is_empty() && canister.callbacks.is_empty() {
                canister.status = Status::Stopped;
                canister.version += 1;
                for waiter in std::mem::take(&mut canister.stop_waiters) {
                    self.respond(
                        waiter,
                        Principal::management_canister(),
                        Answered { result: Ok(crate::management::nothing()), refund: 0 },
                    );
                }
            }
        }
    }

    /// Sends an answer of `from` to whoever waits for it.
    pub fn respond(&mut self, origin: Origin, from: Principal, answer: Answered) {
        match origin {
            Origin::Ingress(call) => {
                self.answers.insert(call, answer.result);
            }
            Origin::Canister { id, callback } => {
                self.outbox.push((id, from, Input::Answer { callback, answer }));
            }
            Origin::Task => {}
        }
    }

    /// Sends a call on its way.
    pub fn send(&mut self, callee: Principal, call: Call) {
        if callee == Principal::management_canister() {
            self.subnet_calls.push_back(call);
        } else {
            self.outbox.push((callee, call.caller, Input::Call(call)));
        }
    }

    /// Books cycles to an ingress call.
    pub fn spend(&mut self, root: Option<CallId>, cycles: u128) {
        if let Some(cost) = root.and_then(|root| self.costs.get_mut(&root)) {
            cost.cycles += cycles;
        }
    }
}

/// The canister id with this number: the range PocketIC gives its first application subnet.
pub(crate) fn canister_id(number: u64) -> Principal {
    const FIRST: u64 = 0xffff_ffff_ffe0_0000;
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&(FIRST + number).to_be_bytes());
    bytes[8..].copy_from_slice(&[1, 1]);
    Principal::from_slice(&bytes)
}
