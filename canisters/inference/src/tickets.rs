//! What a contained call is about, and what came of it: handed over in the heap, since both ends are this canister, so
//! that tensors are not copied through a message.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ic_nn_engine::Arranged;
use ic_nn_types::{Error, NamedTensor};

/// What an inference gave.
pub(crate) struct Answer {
    pub(crate) outputs: Vec<NamedTensor>,
    /// Instructions of loading the graph; 0 where it was in the heap.
    pub(crate) load_instructions: u64,
    /// Instructions of planning for shapes that were new to it.
    pub(crate) plan_instructions: u64,
    /// Instructions of the contained message that gave it, whose counters the caller's do not include; 0 where there was
    /// none.
    pub(crate) contained_instructions: u64,
}

/// What an inference is asked for.
pub(crate) struct Asked {
    /// `"name:version"`.
    pub(crate) model: String,
    pub(crate) inputs: Inputs,
}

/// Tensors as they came, or held to the graph's description already.
pub(crate) enum Inputs {
    Named(Vec<NamedTensor>),
    Arranged(Arranged),
}

enum Slot {
    Asked(Asked),
    Taken,
    Answered(Result<Answer, Error>),
}

#[derive(Default)]
struct Slots {
    next: u64,
    open: BTreeMap<u64, Slot>,
}

thread_local! {
    static SLOTS: RefCell<Slots> = RefCell::default();
}

/// A request that waits for its contained call. Its slot is gone when this is, also when the message that holds it
/// traps after its await.
pub(crate) struct Ticket(u64);

impl Ticket {
    /// Lays `request` down for the call.
    pub(crate) fn new(request: Asked) -> Ticket {
        SLOTS.with_borrow_mut(|s| {
            s.next += 1;
            s.open.insert(s.next, Slot::Asked(request));
            Ticket(s.next)
        })
    }

    /// What the call is told.
    pub(crate) fn id(&self) -> u64 {
        self.0
    }

    /// What the call left, if it came to an end.
    pub(crate) fn answer(self) -> Option<Result<Answer, Error>> {
        match SLOTS.with_borrow_mut(|s| s.open.remove(&self.0)) {
            Some(Slot::Answered(answer)) => Some(answer),
            _ => None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        SLOTS.with_borrow_mut(|s| s.open.remove(&self.0));
    }
}

/// Takes the request of a ticket, in the contained call.
pub(crate) fn take(id: u64) -> Option<Asked> {
    SLOTS.with_borrow_mut(|s| {
        let slot = s.open.get_mut(&id)?;
        match std::mem::replace(slot, Slot::Taken) {
            Slot::Asked(request) => Some(request),
            other => {
                *slot = other;
                None
            }
        }
    })
}

/// Leaves the answer for a ticket, in the contained call. A ticket that is gone takes none.
pub(crate) fn leave(id: u64, answer: Result<Answer, Error>) {
    SLOTS.with_borrow_mut(|s| {
        if let Some(slot) = s.open.get_mut(&id) {
            *slot = Slot::Answered(answer);
        }
    });
}
