//! Runs a test on every runtime that is there.
//!
//! Owns the choice of runtimes. What a test asserts must hold on each of them.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use ic_nn_host::{Host, Replica};

use crate::pocket::Pocket;

/// The cost schedule of the embedded host where the environment names none.
const SCHEDULE: &str = "2025-10";

/// Runs the test on the embedded host, and on PocketIC where [a server is available](Pocket::available); each starts
/// fresh. Prints which runtimes those are.
///
/// # Panics
///
/// With the panic of the test, after naming the runtime; where a runtime does not start.
pub fn on_every_runtime(name: &str, test: impl Fn(&dyn Replica)) {
    let server = Pocket::available();
    let more = if server.is_some() { ", PocketIC" } else { "" };
    println!("{name}: runtimes: embedded host{more}");
    let schedule = declared_schedule();
    let host = Host::builder().schedule(schedule.as_deref().unwrap_or(SCHEDULE)).build();
    run(name, &test, &host.unwrap_or_else(|error| panic!("{name}: no embedded host: {error}")));
    if let Some(server) = server {
        run(name, &test, &Pocket::new(&server));
    }
}

fn run(name: &str, test: &impl Fn(&dyn Replica), replica: &dyn Replica) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(replica))) {
        eprintln!("{name}: failed on {}", replica.name());
        resume_unwind(panic);
    }
}

/// The schedule that `IC_NN_COST_SCHEDULE` says the PocketIC server charges by.
pub(crate) fn declared_schedule() -> Option<String> {
    env::var("IC_NN_COST_SCHEDULE").ok().filter(|name| !name.is_empty())
}
