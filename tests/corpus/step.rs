//! One recorded step, as it lies in the corpus.
//!
//! Owns the names of the recorded fields. `fixtures/replica/README.md` says what they mean.

use std::collections::BTreeMap;

use candid::Principal;
use serde::Deserialize;

/// A line of a suite.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    pub step: u32,
    pub op: String,
    pub canister: String,
    pub method: String,
    pub sender: String,
    pub comment: String,
    pub api: String,
    pub context: String,
    pub tag: String,

    pub arg_hex: String,
    pub arg_len: Option<usize>,
    pub settings: Settings,
    pub cycles: Option<u128>,
    pub n: u32,
    pub nanos: u64,

    pub wat_file: Option<String>,
    pub wat: Option<String>,
    pub wasm_len: usize,
    pub wasm_sha256: String,

    pub id: Option<Principal>,
    pub status: Option<String>,
    pub logs: Option<Vec<Log>>,
    pub reply_hex: Option<String>,
    pub reply_len: Option<usize>,
    pub reply_sha256: Option<String>,
    pub reject_code: Option<u8>,
    pub error_code_num: u32,
    pub message: Option<String>,
    pub message_head: Option<String>,
    pub http_error: Option<String>,
    pub cycles_spent: Option<i128>,
    pub cycles_spent_others: BTreeMap<String, i128>,
}

/// Settings at creation or in an update.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub log_visibility: Option<String>,
    pub wasm_memory_limit: Option<u64>,
    pub freezing_threshold: Option<u64>,
}

/// A line of a canister's log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Log {
    pub idx: u64,
    pub len: Option<usize>,
    pub content: Option<String>,
}

impl Step {
    /// The argument's bytes.
    pub fn arg(&self) -> Vec<u8> {
        match self.arg_len {
            Some(len) => vec![0; len],
            None => hex::decode(&self.arg_hex).expect("recorded hex"),
        }
    }

    /// Who called; where it is not recorded, methods were called anonymously and the rest by the controller.
    pub fn sender(&self) -> Principal {
        let anonymous = match self.sender.as_str() {
            "" => self.op == "update",
            sender => sender == "anonymous",
        };
        if anonymous { Principal::anonymous() } else { controller() }
    }
}

/// The controller of every canister in the corpus.
pub fn controller() -> Principal {
    let mut bytes = [7; 29];
    bytes[28] = 2;
    Principal::from_slice(&bytes)
}
