//! Install and upgrade. Nothing is saved before an upgrade: all that must last is in stable memory when the call that
//! made it returns. After it, graphs that were loaded come back one by one, each in a message of its own.

use std::time::Duration;

use ic_nn_types::InitArgs;

use crate::timers::{self, Task};
use crate::{api, jobs, leases, memory, runtime, state, streams};

#[ic_cdk::init]
fn init(args: Option<InitArgs>) {
    runtime::run_constructors();
    runtime::has_callback();
    state::open();
    apply(args);
    // What later messages may write without asking. Where it is refused, they ask.
    memory::grow(memory::lacking_pages(0));
    timers::after(timers::SWEEP, Task::Sweep);
}

#[ic_cdk::post_upgrade]
fn post_upgrade(args: Option<InitArgs>) {
    runtime::run_constructors();
    runtime::has_callback();
    state::open();
    apply(args);
    // What later messages may write without asking. Where it is refused, they ask.
    memory::grow(memory::lacking_pages(0));
    timers::after(timers::SWEEP, Task::Sweep);
    timers::after(Duration::ZERO, Task::Reload);
    jobs::resume();
    leases::resume();
}

/// A setting out of range takes the install or upgrade back; there is nobody to answer an error to.
fn apply(args: Option<InitArgs>) {
    if let Some(args) = args
        && let Err(e) = state::store(|s| s.apply(&args))
    {
        ic_cdk::api::trap(e.to_string());
    }
    streams::resize();
}

/// Loads the graphs that have an open handle, and warms them up. One that fails is told in the log and loads at its next
/// use, or fails there with its reason.
pub(crate) async fn reload() {
    let open: Vec<u64> = state::store(|s| s.graphs().filter_map(|g| g.ok().map(|g| g.graph)).collect());
    for graph in open {
        let version = state::store(|s| {
            let open = s.graph(graph).ok()?;
            s.get(&open.name, open.version).ok()
        });
        let Some(version) = version else { continue };
        if let Err(e) = api::graphs::bring(&version, graph).await {
            ic_cdk::api::debug_print(format!("graph {graph} did not come back after the upgrade: {e}"));
        }
    }
    api::graphs::refresh_pins();
}

/// Clears away what was abandoned or is over, once an hour.
pub(crate) fn sweep() {
    for (upload, owner, name) in
        state::store(|s| s.collect_abandoned(ic_cdk::api::time())).unwrap_or_default()
    {
        ic_cdk::api::debug_print(format!(
            "upload {upload} of `{name}` by {owner} was abandoned and is closed"
        ));
    }
    jobs::expire();
    leases::wake();
}
