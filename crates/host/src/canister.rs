//! A canister: its settings, purse, code, open calls and inputs.
//!
//! Owns no behaviour beyond its own bookkeeping: running messages and routing calls are the scheduler's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use candid::Principal;
use sha2::{Digest, Sha256};

use crate::executor::Executor;
use crate::log::Log;
use crate::message::{Closure, Facts};
use crate::replica::{CallId, Reject};
use crate::stable::{self, WASM_PAGE};
use crate::subnet::limits;

/// Bytes a canister's history takes for an event, and for each controller an event names.
const HISTORY_EVENT: u64 = 160;
const HISTORY_CONTROLLER: u64 = 30;
/// Events a history keeps.
const HISTORY_EVENTS: usize = 20;
/// Bytes counted for a mutable global; the instruction counter is one.
const GLOBAL_BYTES: u64 = 32;

/// Whether a canister takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running = 1,
    Stopping = 2,
    Stopped = 3,
}

/// What the settings say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub controllers: Vec<Principal>,
    pub wasm_memory_limit: Option<u64>,
    pub freezing_seconds: u64,
    pub public_logs: bool,
    pub memory_allocation: u64,
    pub variables: BTreeMap<String, String>,
}

/// A canister.
pub(crate) struct Canister {
    pub id: Principal,
    pub settings: Settings,
    pub balance: u128,
    pub version: u64,
    pub status: Status,
    pub code: Option<Installed>,
    pub log: Log,
    /// When the global timer is due; 0 for never.
    pub timer: u64,
    pub certified_data: Vec<u8>,
    /// Bytes of each event of the canister's history.
    pub history: VecDeque<u64>,
    /// Until when its storage is paid for.
    pub paid_until: u64,
    pub chunks: BTreeMap<[u8; 32], Vec<u8>>,
    pub next_turn: Turn,
    pub inputs: Inputs,
    pub contexts: BTreeMap<u64, CallContext>,
    pub callbacks: BTreeMap<u64, Callback>,
    /// Who asked for the canister to stop and waits.
    pub stop_waiters: Vec<Origin>,
    /// Wasm pages of stable memory that the subnet grants it.
    pub stable_limit: u64,
    next_id: u64,
}

/// Code at work.
pub(crate) struct Installed {
    pub executor: Executor,
    /// The module as it was uploaded.
    pub wasm: Arc<[u8]>,
}

/// Who gets the next turn in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    #[default]
    Timer,
    Heartbeat,
    Message,
}

impl Turn {
    pub fn next(self) -> Self {
        match self {
            Self::Timer => Self::Heartbeat,
            Self::Heartbeat => Self::Message,
            Self::Message => Self::Timer,
        }
    }
}

/// Where a call came from, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Ingress(CallId),
    Canister {
        id: Principal,
        callback: u64,
    },
    /// A timer or heartbeat: nobody waits.
    Task,
}

/// What waits in front of a canister.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Call(Call),
    Answer { callback: u64, answer: Answered },
}

/// Inputs by sender. The senders take turns; what one sent stays in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    turns: VecDeque<Principal>,
    waiting: BTreeMap<Principal, VecDeque<Input>>,
}

impl Inputs {
    /// Adds what `from` sent; users are the management canister here.
    pub fn push(&mut self, from: Principal, input: Input) {
        let queue = self.waiting.entry(from).or_default();
        if queue.is_empty() {
            self.turns.push_back(from);
        }
        queue.push_back(input);
    }

    /// Takes the next.
    pub fn pop(&mut self) -> Option<Input> {
        let from = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&from)?;
        let input = queue.pop_front();
        if !queue.is_empty() {
            self.turns.push_back(from);
        }
        input
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

/// A call to a method.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub origin: Origin,
    pub caller: Principal,
    pub method: String,
    pub payload: Vec<u8>,
    pub cycles: u128,
    pub deadline: Option<u64>,
    /// The ingress call all this is done for.
    pub root: Option<CallId>,
}

/// An answer on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub result: Result<Vec<u8>, Reject>,
    pub refund: u128,
}

/// A method's execution that is not over: its calls are under way.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    pub origin: Origin,
    pub caller: Principal,
    pub root: Option<CallId>,
    pub deadline: Option<u64>,
    /// Cycles that came with the call and were not accepted.
    pub available: u128,
    /// Instructions of its messages so far, page charges included.
    pub instructions: u64,
    pub answered: bool,
    /// Calls without answer.
    pub pending: usize,
}

/// What to do with an answer.
#[derive(Clone, Debug)]
pub(crate) struct Callback {
    pub context: u64,
    pub callee: Principal,
    pub on_reply: Closure,
    pub on_reject: Closure,
    pub on_cleanup: Option<Closure>,
}

impl Canister {
    /// An empty, running canister.
    pub fn new(id: Principal, settings: Settings, balance: u128) -> Self {
        let mut canister = Self {
            id,
            settings,
            balance,
            version: 0,
            status: Status::Running,
            code: None,
            log: Log::default(),
            timer: 0,
            certified_data: Vec::new(),
            history: VecDeque::new(),
            paid_until: 0,
            chunks: BTreeMap::new(),
            next_turn: Turn::default(),
            inputs: Inputs::default(),
            contexts: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            stop_waiters: Vec::new(),
            stable_limit: stable::MAX_PAGES,
            next_id: 0,
        };
        canister.remember(true);
        canister
    }

    /// Adds an event to the history; one that names the controllers is larger.
    pub fn remember(&mut self, names_controllers: bool) {
        let named = if names_controllers { self.settings.controllers.len() as u64 } else { 0 };
        self.history.push_back(HISTORY_EVENT + named * HISTORY_CONTROLLER);
        if self.history.len() > HISTORY_EVENTS {
            self.history.pop_front();
        }
    }

    /// A number no context or callback of this canister has.
    pub fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The last number [`Canister::fresh_id`] gave.
    pub fn last_id(&self) -> u64 {
        self.next_id
    }

    /// Goes on with the numbers after this one.
    pub fn skip_ids(&mut self, last: u64) {
        self.next_id = last;
    }

    /// Fills the chunk store.
    pub fn set_chunks(&mut self, chunks: Vec<Vec<u8>>) {
        self.chunks = chunks.into_iter().map(|chunk| (Sha256::digest(&chunk).into(), chunk)).collect();
    }

    /// Whether `who` controls it.
    pub fn is_controller(&self, who: Principal) -> bool {
        self.settings.controllers.contains(&who)
    }

    /// Bytes held besides heap and stable memory.
    pub fn other_bytes(&self) -> u64 {
        let history: u64 = self.history.iter().sum();
        let chunks = self.chunks.len() * limits::CHUNK_BYTES;
        let code = self.code.as_ref().map_or(0, |installed| {
            let facts = installed.executor.code().facts();
            let sections: usize =
                facts.custom_sections.iter().map(|section| section.name.len() + section.bytes.len()).sum();
            let globals = (facts.mutable_globals.len() as u64 + 1) * GLOBAL_BYTES;
            facts.wasm_bytes + sections as u64 + globals
        });
        history + chunks as u64 + code
    }

    /// Bytes it is charged for.
    pub fn bytes(&self) -> u64 {
        let memories = self.code.as_ref().map_or(0, |installed| {
            installed.executor.heap_bytes() + installed.executor.stable().pages() * WASM_PAGE
        });
        (memories + self.other_bytes()).max(self.settings.memory_allocation)
    }

    /// What its messages may know of it, at `time` and with `balance` in the purse.
    pub fn facts(&self, time: u64, balance: u128) -> Facts {
        let mut outstanding = BTreeMap::new();
        for callback in self.callbacks.values() {
            *outstanding.entry(callback.callee).or_insert(0) += 1;
        }
        Facts {
            id: self.id,
            controllers: self.settings.controllers.clone(),
            version: self.version,
            status: self.status as i32,
            time,
            balance,
            other_bytes: self.other_bytes(),
            freezing_seconds: self.settings.freezing_seconds,
            stable_limit: self.stable_limit,
            wasm_memory_limit: self.settings.wasm_memory_limit,
            outstanding,
            timer: self.timer,
            certificate: None,
            variables: self.settings.variables.clone(),
        }
    }
}
