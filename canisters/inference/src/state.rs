//! What the canister holds between messages: the store in stable memory, and in the heap the graphs and what is under
//! way. No borrow is held over an await.

use std::cell::{Cell, RefCell};

use ic_nn_engine::Limits;
use ic_nn_store::Store;

use crate::memory::{self, Memory};
use crate::resident::Residents;
use crate::{runtime, streams};

thread_local! {
    static STORE: RefCell<Option<Store<Memory>>> = const { RefCell::new(None) };
    static PROMISED: Cell<u64> = const { Cell::new(0) };
    static RESIDENTS: RefCell<Residents> = const { RefCell::new(Residents::new()) };
}

/// Opens the store. Traps where stable memory holds something else, so that the install or upgrade is taken back.
pub(crate) fn open() {
    match Store::open(memory::memories()) {
        Ok(mut store) => {
            store.hold(streams::held);
            STORE.with_borrow_mut(|s| *s = Some(store));
        }
        Err(e) => ic_cdk::api::trap(format!("stable memory cannot be opened: {e}")),
    }
}

/// Reads or changes the registry.
pub(crate) fn store<R>(f: impl FnOnce(&mut Store<Memory>) -> R) -> R {
    STORE.with_borrow_mut(|s| f(s.as_mut().expect("init and post_upgrade open the store")))
}

/// Reads or changes the resident graphs.
pub(crate) fn residents<R>(f: impl FnOnce(&mut Residents) -> R) -> R {
    RESIDENTS.with_borrow_mut(f)
}

/// What the heap can still give under the configured limit: what is neither taken nor promised to a run under way.
pub(crate) fn limits() -> Limits {
    let max = store(|s| s.settings().max_heap_bytes);
    Limits { available_bytes: max.saturating_sub(runtime::heap_bytes()).saturating_sub(PROMISED.get()) }
}

/// What a run that waits between messages was admitted with and has not taken yet. Others are admitted beside it.
#[derive(Default)]
pub(crate) struct Promise(u64);

impl Promise {
    /// Promises so many bytes, and what was promised before no longer.
    pub(crate) fn set(&mut self, bytes: u64) {
        PROMISED.set(PROMISED.get().saturating_sub(self.0).saturating_add(bytes));
        self.0 = bytes;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.set(0);
    }
}
