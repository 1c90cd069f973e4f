//! Who holds the heap: what graphs and runs were seen to take, by the allocator's count around what makes them.
//!
//! The weight cache has its own count and is left out of these. What nobody is seen to hold is told as the rest.

use std::cell::Cell;

use crate::{runtime, streams};

thread_local! {
    /// Of runs that wait for their next message.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

/// The heap at some time.
#[derive(Clone, Copy)]
pub(crate) struct Gauge(u64);

impl Gauge {
    /// Now, so many bytes that will be gone left out.
    pub(crate) fn start(without: u64) -> Gauge {
        Gauge(now().saturating_sub(without))
    }

    /// By how much it has grown, or shrunk.
    pub(crate) fn grown(self) -> i64 {
        now() as i64 - self.0 as i64
    }
}

fn now() -> u64 {
    runtime::heap_bytes().saturating_sub(streams::cached_bytes())
}

/// Heap that a run holds while it waits.
#[derive(Default)]
pub(crate) struct Waiting(u64);

impl Waiting {
    /// Of so many bytes.
    pub(crate) fn holding(bytes: i64) -> Waiting {
        let bytes = bytes.max(0) as u64;
        RUNS.set(RUNS.get() + bytes);
        Waiting(bytes)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        RUNS.set(RUNS.get().saturating_sub(self.0));
    }
}

/// What runs hold that wait.
pub(crate) fn waiting() -> u64 {
    RUNS.get()
}
