//! What a contained call is about, and what came of it: handed over in the heap, since both ends are this canister, so
//! that tensors are not copied through a message.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ic_nn_types::{Error, InferRequest, NamedTensor};

/// What an inference gave.
pub(crate) struct Answer {
    pub(crate) outputs: Vec<NamedTensor>,
    pub(crate) load_instructions: u64,
}

enum Slot {
    Asked(InferRequest),
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
    pub(crate) fn new(request: InferRequest) -> Ticket {
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
pub(crate) fn take(id: u64) -> Option<InferRequest> {
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
