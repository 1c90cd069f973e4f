//! This session of the canister: from one start of its code to the next, with one heap.
//!
//! What was numbered in a session may come back in a later one, an upgrade not waiting for calls. So numbers that leave the heap are
//! of their session.

use std::cell::Cell;

thread_local! {
    static SESSION: Cell<u64> = const { Cell::new(0) };
}

/// The canister's version when it was first asked for here, which no earlier code or state of it has had.
pub(crate) fn number() -> u64 {
    if SESSION.get() == 0 {
        SESSION.set(version());
    }
    SESSION.get()
}

/// Where numbers of this session begin that count up. The next session's begin above them: the version counts every message, and no
/// message takes as many as there are numbers to a version.
pub(crate) fn first_number() -> u64 {
    number() << 20
}

fn version() -> u64 {
    if cfg!(target_family = "wasm") { ic_cdk::api::canister_version() } else { 1 }
}
