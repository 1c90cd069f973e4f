//! One execution as the System API sees it: what it is given and what it does.
//!
//! Owns no canister state: effects are collected here and applied by whoever ran the message, or dropped.

use std::collections::BTreeMap;

use candid::Principal;

use crate::replica::RejectCode;
use crate::sysapi::Mode;

/// What an execution is given and what it has done so far.
pub(crate) struct Message {
    pub mode: Mode,
    /// Instructions it may take.
    pub limit: u64,
    pub caller: Principal,
    /// The argument, or the reply a callback gets.
    pub payload: Vec<u8>,
    /// The method; read by `canister_inspect_message`.
    pub method: String,
    /// Code and text, in callbacks of rejected calls.
    pub rejected: Option<(RejectCode, String)>,
    /// When a best-effort caller stops waiting, in nanoseconds.
    pub deadline: Option<u64>,
    /// Cycles that came with the call and were not accepted yet.
    pub available: u128,
    /// Cycles that came back from the callee.
    pub refunded: u128,
    /// Instructions of the earlier messages of the call context, their page charges included.
    pub context_instructions: u64,
    /// Whether the call context was answered before.
    pub answered: bool,
    pub canister: Facts,
    pub effects: Effects,
}

impl Message {
    /// The message between messages: nothing may be done for it.
    pub fn idle(canister: Facts) -> Self {
        Self::new(Mode::Start, 0, canister)
    }

    /// A message without caller, payload or history.
    pub fn new(mode: Mode, limit: u64, canister: Facts) -> Self {
        Self {
            mode,
            limit,
            caller: Principal::management_canister(),
            payload: Vec::new(),
            method: String::new(),
            rejected: None,
            deadline: None,
            available: 0,
            refunded: 0,
            context_instructions: 0,
            answered: false,
            canister,
            effects: Effects::default(),
        }
    }
}

/// What an execution may know of its canister. The balance moves as it accepts, attaches and burns.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub id: Principal,
    pub controllers: Vec<Principal>,
    pub version: u64,
    /// 1 running, 2 stopping, 3 stopped.
    pub status: i32,
    pub time: u64,
    /// Cycles, less what is set aside for this execution.
    pub balance: u128,
    /// Bytes held besides heap and stable memory.
    pub other_bytes: u64,
    pub freezing_seconds: u64,
    /// Wasm pages of stable memory that the subnet grants.
    pub stable_limit: u64,
    /// Bytes; `None` for no limit.
    pub wasm_memory_limit: Option<u64>,
    /// Calls made and not answered yet, by callee.
    pub outstanding: BTreeMap<Principal, usize>,
    /// When the global timer is due; 0 for never.
    pub timer: u64,
    pub certificate: Option<Vec<u8>>,
    pub variables: BTreeMap<String, String>,
}

/// What an execution wants to have happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    pub reply_data: Vec<u8>,
    pub answer: Option<Answer>,
    /// The call under construction.
    pub draft: Option<Draft>,
    pub calls: Vec<Draft>,
    pub log: Vec<Vec<u8>>,
    pub timer: Option<u64>,
    pub certified_data: Option<Vec<u8>>,
    pub accepted: u128,
    pub burned: u128,
    /// `accept_message` was called.
    pub let_in: bool,
}

/// A method's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Reply(Vec<u8>),
    Reject(String),
}

/// A function of the table and what it is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closure {
    pub function: u32,
    pub environment: u32,
}

/// An outgoing call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub callee: Principal,
    pub method: String,
    pub payload: Vec<u8>,
    pub cycles: u128,
    pub on_reply: Closure,
    pub on_reject: Closure,
    pub on_cleanup: Option<Closure>,
    /// Seconds, for calls with a best-effort response.
    pub timeout: Option<u32>,
}
