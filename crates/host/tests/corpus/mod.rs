//! Walks the recorded corpus of a real replica on something that runs canisters.
//!
//! Owns the replay and the comparison: replies byte for byte, rejects by code and cause, cycles to the last unit. Knows the
//! runtime only as a [`Recorded`] replica, so that the same walk runs on the embedded host and on PocketIC.

mod compare;
mod module;
mod skips;
mod step;
mod walk;

use std::path::Path;

use candid::Principal;
use ic_nn_host::{Canister, CanisterSettings, Reject, Replica};

use step::Step;

/// What a replay needs beyond a [`Replica`].
pub trait Recorded: Replica {
    /// A new canister with exactly these cycles.
    fn create_with_cycles(&self, sender: Principal, settings: CanisterSettings, cycles: u128) -> Canister;

    /// Removes the canister's code.
    fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject>;
}

/// Replays a suite on fresh instances and compares everything recorded.
///
/// # Panics
///
/// When something differs; the message lists everything that does.
pub fn replay(fixtures: &Path, suite: &str, fresh: &dyn Fn() -> Box<dyn Recorded>) {
    let report = walk::walk(fixtures, suite, fresh);
    println!("{suite}: {} parts compared, {} differences excused", report.compared, report.excused);
    assert!(
        report.mismatches.is_empty(),
        "{suite}: {} of {} parts differ\n{}",
        report.mismatches.len(),
        report.compared,
        report.mismatches.join("\n")
    );
}

/// The steps of a suite.
fn steps(fixtures: &Path, suite: &str) -> Vec<Step> {
    let path = fixtures.join(suite).with_extension("jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{suite}: {e}: {line:.200}")))
        .collect()
}
