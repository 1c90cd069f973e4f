//! How long contexts stay open: each for as long after the last call on it as it was opened for, so that what a caller leaves who
//! does not come back goes by itself.
//!
//! Owns when a context was last used, which is of the heap: a start of the canister counts as a call on each. A context that computes
//! is not idle. A lease that is over holds from that moment on, whenever the timer comes that clears away what it leaves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use ic_nn_store::{ContextError, OpenContext};
use ic_nn_types::{Context, Error};

use crate::api::contexts;
use crate::timers::{self, Task, Timer};
use crate::{contained, state};

/// Contexts that are closed in one message: at four changes to tables each, some 100,000 instructions apiece, 0.4 B.
const CLOSED_AT_ONCE: usize = 1_000;

/// The shortest time from one look to the next, so that leases which end apart from one another do not cost a message each.
const LEAST_WAIT: u64 = 60 * SECOND;

const SECOND: u64 = 1_000_000_000;

struct Lease {
    idle_seconds: u32,
    /// Nanoseconds since 1970.
    used: u64,
    /// Computations under way.
    computing: u32,
}

impl Lease {
    fn ends(&self) -> u64 {
        self.used.saturating_add(u64::from(self.idle_seconds) * SECOND)
    }

    fn is_over(&self, now: u64) -> bool {
        self.computing == 0 && now >= self.ends()
    }
}

thread_local! {
    /// Of every open context, and of some that are closed by now.
    static LEASES: RefCell<BTreeMap<Context, Lease>> = const { RefCell::new(BTreeMap::new()) };
    /// The next look, and when it is due.
    static LOOK: Cell<Option<(u64, Timer)>> = const { Cell::new(None) };
}

/// Begins the leases of the contexts that are open, once the store is. Costs a read of each.
pub(crate) fn resume() {
    for open in state::store(|s| s.contexts().flatten().collect::<Vec<_>>()) {
        begin(&open);
    }
}

/// Has what is over looked after where the look was lost. To be called now and then.
pub(crate) fn wake() {
    if !over().is_empty() {
        look_at(ic_cdk::api::time());
    }
}

/// Begins the lease of a context.
pub(crate) fn begin(open: &OpenContext) {
    let now = ic_cdk::api::time();
    let lease = Lease { idle_seconds: open.lease.idle_seconds, used: now, computing: 0 };
    let ends = lease.ends();
    LEASES.with_borrow_mut(|leases| leases.insert(open.context, lease));
    look_at(ends);
}

/// Ends it with its context.
pub(crate) fn end(context: Context) {
    LEASES.with_borrow_mut(|leases| leases.remove(&context));
}

/// Refuses a context whose lease is over. For queries too: nothing changes.
pub(crate) fn check(context: Context) -> Result<(), Error> {
    let now = ic_cdk::api::time();
    let over = LEASES.with_borrow(|leases| {
        leases.get(&context).filter(|lease| lease.is_over(now)).map(|lease| lease.idle_seconds)
    });
    match over {
        Some(idle_seconds) => Err(ContextError::Lapsed { context, idle_seconds }.into()),
        None => Ok(()),
    }
}

/// Begins a lease anew: there was a call.
pub(crate) fn renew(context: Context) {
    change(context, |_| {});
}

/// A computation, during which its context is not idle, until this goes, also when the message that holds it traps.
pub(crate) struct Computing(Context);

impl Computing {
    pub(crate) fn begin(context: Context) -> Computing {
        change(context, |lease| lease.computing += 1);
        Computing(context)
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        change(self.0, |lease| lease.computing = lease.computing.saturating_sub(1));
    }
}

fn change(context: Context, change: impl FnOnce(&mut Lease)) {
    LEASES.with_borrow_mut(|leases| {
        if let Some(lease) = leases.get_mut(&context) {
            lease.used = ic_cdk::api::time();
            change(lease);
        }
    });
}

/// Closes contexts whose leases are over, some; whether there were any. To be called where the tables have room.
pub(crate) fn close() -> bool {
    let over = over();
    for context in &over {
        // What was closed otherwise is not there any more; what cannot be read stays as it is.
        if let Ok(open) = state::store(|s| s.lapse_context(*context)) {
            contexts::let_go(&open);
        }
        end(*context);
    }
    !over.is_empty()
}

fn over() -> Vec<Context> {
    let now = ic_cdk::api::time();
    LEASES.with_borrow(|leases| {
        let over = leases.iter().filter(|(_, lease)| lease.is_over(now)).map(|(context, _)| *context);
        over.take(CLOSED_AT_ONCE).collect()
    })
}

/// Looks for leases that are over at that time, unless a look is due before it.
fn look_at(time: u64) {
    let now = ic_cdk::api::time();
    if let Some((due, timer)) = LOOK.get() {
        // One that is long due is lost: a canister that had no cycles loses its timers.
        if due <= time && now < due.saturating_add(LEAST_WAIT) {
            return;
        }
        timers::clear(timer);
    }
    let timer = timers::after(Duration::from_nanos(time.saturating_sub(now)), Task::Look);
    LOOK.set(Some((time, timer)));
}

/// Looks for leases that are over, when it is time.
pub(crate) async fn look() {
    LOOK.set(None);
    // The heap's part goes even where the subnet has no stable memory to give.
    over().into_iter().for_each(contexts::forget);
    if contained::room(0).await.is_ok() {
        close();
    }
    let next = LEASES.with_borrow(|leases| leases.values().map(Lease::ends).min());
    if let Some(next) = next {
        look_at(next.max(ic_cdk::api::time().saturating_add(LEAST_WAIT)));
    }
}
