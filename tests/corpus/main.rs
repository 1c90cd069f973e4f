//! What a real replica was recorded to answer and charge, walked on every runtime that charges by the same schedule.
//!
//! Owns the replay and the comparison: replies byte for byte, rejects by code and cause, cycles to the last unit. The walk
//! knows a runtime only as a [`Recorded`] replica.

mod compare;
mod module;
mod skips;
mod step;
mod walk;

use std::path::Path;

use candid::Principal;
use ic_nn_host::{Canister, CanisterSettings, Host, Reject, Replica};
use ic_nn_tests::Pocket;

use step::Step;

/// The schedule of the server that the corpus was recorded from.
const SCHEDULE: &str = "2025-10";

/// What a replay needs beyond a [`Replica`].
trait Recorded: Replica {
    /// A new canister with exactly these cycles, less what setting it up costs.
    fn create_with_cycles(&self, sender: Principal, settings: CanisterSettings, cycles: u128) -> Canister;

    /// Removes the canister's code.
    fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject>;
}

impl Recorded for Host {
    fn create_with_cycles(&self, sender: Principal, settings: CanisterSettings, cycles: u128) -> Canister {
        Host::create_with_cycles(self, sender, settings, cycles)
    }

    fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        Host::uninstall(self, canister, sender)
    }
}

impl Recorded for Pocket {
    fn create_with_cycles(&self, sender: Principal, settings: CanisterSettings, cycles: u128) -> Canister {
        Pocket::create_with_cycles(self, sender, settings, cycles)
    }

    fn uninstall(&self, canister: Canister, sender: Principal) -> Result<(), Reject> {
        Pocket::uninstall(self, canister, sender)
    }
}

/// Replays a suite on the embedded host, and on PocketIC where a server is there whose schedule is the corpus's.
fn replay(suite: &str) {
    replay_on(suite, "embedded host", &|| {
        Box::new(Host::builder().schedule(SCHEDULE).build().expect("a host"))
    });
    if let Some(server) = Pocket::available() {
        if std::env::var("IC_NN_COST_SCHEDULE").is_ok_and(|schedule| schedule == SCHEDULE) {
            replay_on(suite, "PocketIC", &|| Box::new(Pocket::new(&server)));
        } else {
            println!(
                "{suite}: not walked on PocketIC: IC_NN_COST_SCHEDULE does not say that it charges by {SCHEDULE}"
            );
        }
    }
}

fn replay_on(suite: &str, runtime: &str, fresh: &dyn Fn() -> Box<dyn Recorded>) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/replica");
    let report = walk::walk(&fixtures, suite, fresh);
    println!(
        "{suite} on {runtime}: {} parts compared, {} differences excused",
        report.compared, report.excused
    );
    assert!(
        report.mismatches.is_empty(),
        "{suite} on {runtime}: {} of {} parts differ\n{}",
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

macro_rules! suites {
    ($($suite:ident)*) => {
        $(
            #[test]
            fn $suite() {
                replay(stringify!($suite));
            }
        )*
    };
}

suites! {
    calls
    lifecycle
    limits
    limits_modules
    meter
    meter_install
    meter_ops
    meter_trap
    nan
    sysapi
    sysapi_ctx_raw
    sysapi_imports
}
