//! What a contained call is about, and what came of it: handed over in the heap, since both ends are this canister, so
//! that tensors and files are not copied through a message.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::session;

enum Slot {
    Asked(Box<dyn Any>),
    Taken,
    /// Another's call answers it.
    Joined,
    Answered(Box<dyn Any>),
}

#[derive(Default)]
struct Slots {
    last: u64,
    open: BTreeMap<u64, Slot>,
}

thread_local! {
    static SLOTS: RefCell<Slots> = RefCell::default();
}

/// A question that waits for its contained call. Its slot is gone when this is, also when the message that holds it
/// traps after its await.
pub(crate) struct Ticket(u64);

impl Ticket {
    /// Lays `question` down for the call.
    pub(crate) fn new(question: impl Any) -> Ticket {
        SLOTS.with_borrow_mut(|s| {
            // A call of an earlier session that arrives late finds none of this one's.
            s.last = s.last.max(session::first_number()) + 1;
            s.open.insert(s.last, Slot::Asked(Box::new(question)));
            Ticket(s.last)
        })
    }

    /// What the call is told.
    pub(crate) fn id(&self) -> u64 {
        self.0
    }

    /// Whether its question waits for a call, for the first one or for one more, or for that of another.
    pub(crate) fn is_open(&self) -> bool {
        SLOTS.with_borrow(|s| matches!(s.open.get(&self.0), Some(Slot::Asked(_) | Slot::Joined)))
    }

    /// What `f` makes of the question while it waits.
    pub(crate) fn with<Q: Any, R>(&self, f: impl FnOnce(&mut Q) -> R) -> Option<R> {
        SLOTS.with_borrow_mut(|s| match s.open.get_mut(&self.0) {
            Some(Slot::Asked(question)) => question.downcast_mut().map(f),
            _ => None,
        })
    }

    /// What the call left, if it came to an end.
    pub(crate) fn answer<A: Any>(self) -> Option<A> {
        match SLOTS.with_borrow_mut(|s| s.open.remove(&self.0)) {
            Some(Slot::Answered(answer)) => answer.downcast().ok().map(|a| *a),
            _ => None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        SLOTS.with_borrow_mut(|s| s.open.remove(&self.0));
    }
}

/// Whether a ticket's question waits for a call.
pub(crate) fn is_asked(id: u64) -> bool {
    SLOTS.with_borrow(|s| matches!(s.open.get(&id), Some(Slot::Asked(_))))
}

/// Whether another's call answers a ticket, or has.
pub(crate) fn is_served(id: u64) -> bool {
    SLOTS.with_borrow(|s| matches!(s.open.get(&id), Some(Slot::Joined | Slot::Answered(_))))
}

/// Takes the question of a ticket, in the contained call.
pub(crate) fn take<Q: Any>(id: u64) -> Option<Q> {
    replaced(id, Slot::Taken)
}

/// Takes the question of a ticket whose call another's answers.
pub(crate) fn join<Q: Any>(id: u64) -> Option<Q> {
    replaced(id, Slot::Joined)
}

fn replaced<Q: Any>(id: u64, by: Slot) -> Option<Q> {
    SLOTS.with_borrow_mut(|s| {
        let slot = s.open.get_mut(&id)?;
        match std::mem::replace(slot, by) {
            Slot::Asked(question) if question.is::<Q>() => question.downcast().ok().map(|q| *q),
            other => {
                *slot = other;
                None
            }
        }
    })
}

/// Lays a question down again for one more call, in the contained call. A ticket that is gone takes none.
pub(crate) fn ask_again(id: u64, question: impl Any) {
    SLOTS.with_borrow_mut(|s| {
        if let Some(slot) = s.open.get_mut(&id) {
            *slot = Slot::Asked(Box::new(question));
        }
    });
}

/// Leaves the answer for a ticket, in the contained call. A ticket that is gone takes none.
pub(crate) fn leave(id: u64, answer: impl Any) {
    SLOTS.with_borrow_mut(|s| {
        if let Some(slot) = s.open.get_mut(&id) {
            *slot = Slot::Answered(Box::new(answer));
        }
    });
}
