//! How many requests are in pipelines at a time, and who is next.

use std::cell::RefCell;
use std::collections::VecDeque;

use ic_nn_types::Error;

use crate::api::internal;
use crate::contained;

/// Requests in pipelines at a time: enough that every stage of a deep one works, few enough that what they hold fits, and that the
/// cycles fit which the system sets aside for each call under way.
const MOST: usize = 32;
/// Requests that wait. Each calls the canister itself for it, round after round.
const MOST_WAITING: usize = 64;

#[derive(Default)]
struct Turns {
    running: usize,
    last: u64,
    waiting: VecDeque<u64>,
}

thread_local! {
    static TURNS: RefCell<Turns> = RefCell::default();
}

/// A request in a pipeline, until this goes, also when the message that holds it traps.
pub(super) struct Turn(());

impl Turn {
    /// Waits until there is room, in the order in which requests came.
    ///
    /// # Errors
    /// `too_large` where too many wait already.
    pub(super) async fn wait() -> Result<Turn, Error> {
        let free = TURNS.with_borrow_mut(|t| {
            let free = t.waiting.is_empty() && t.running < MOST;
            t.running += usize::from(free);
            free
        });
        if free {
            return Ok(Turn(()));
        }
        let place = Place::take()?;
        loop {
            contained::call(internal::BREATHE, 0).await?;
            let next = TURNS.with_borrow_mut(|t| {
                let next = t.running < MOST && t.waiting.front() == Some(&place.0);
                t.running += usize::from(next);
                next
            });
            if next {
                return Ok(Turn(()));
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.with_borrow_mut(|t| t.running = t.running.saturating_sub(1));
    }
}

/// A place in the queue.
struct Place(u64);

impl Place {
    fn take() -> Result<Place, Error> {
        TURNS.with_borrow_mut(|t| {
            if t.waiting.len() >= MOST_WAITING {
                return Err(Error::too_large(format!(
                    "{} requests are in pipelines here and {} wait; try again later",
                    t.running,
                    t.waiting.len()
                )));
            }
            t.last += 1;
            t.waiting.push_back(t.last);
            Ok(Place(t.last))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TURNS.with_borrow_mut(|t| t.waiting.retain(|place| *place != self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_left_when_they_go() {
        let first = Place::take().expect("there is room");
        let second = Place::take().expect("there is room");
        TURNS.with_borrow(|t| assert_eq!(t.waiting, [first.0, second.0]));
        drop(first);
        TURNS.with_borrow(|t| assert_eq!(t.waiting, [second.0]));
        let rest: Vec<Place> = (1..MOST_WAITING).map(|_| Place::take().expect("there is room")).collect();
        assert!(Place::take().is_err_and(|e| e.data.contains("64 wait")));
        drop((second, rest));
        TURNS.with_borrow(|t| assert!(t.waiting.is_empty()));
    }
}
