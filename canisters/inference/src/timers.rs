//! What is to be done later: tasks and their times, in the heap. An upgrade forgets them, and begins those that it needs anew.
//!
//! The Internet Computer keeps one time for a canister. When it has come, each task that is due runs in a message of its own, so that
//! one that traps takes back its own changes alone. One whose message could not be made, or did not arrive, is tried again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::internal;
use crate::calls::{self, Failed, For, Wait};
use crate::session;

/// How long after one that failed a task is tried again: seldom enough that a canister that is short of cycles does not spend them on that.
const AGAIN: Duration = Duration::from_secs(10);
/// The time between one sweep and the next.
pub(crate) const SWEEP: Duration = Duration::from_secs(3_600);

/// What can be done later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Runs a job.
    Work(u64),
    /// Looks after the jobs.
    Watch,
    /// Looks for leases that are over.
    Look,
    /// Loads the graphs that are open, after an upgrade.
    Reload,
    /// Clears away what was abandoned or is over. Comes again, every [`SWEEP`].
    Sweep,
}

/// A task that is to be done: its time, in nanoseconds since 1970, and its number.
pub(crate) type Timer = (u64, u64);

#[derive(Default)]
struct Timers {
    last: u64,
    waiting: BTreeMap<Timer, Task>,
    /// Those whose message was made and has not taken them yet.
    called: BTreeMap<u64, Task>,
    /// The time that the Internet Computer was told.
    told: Option<u64>,
}

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::default();
}

impl Timers {
    fn add(&mut self, time: u64, task: Task) -> Timer {
        self.last = self.last.max(session::first_number()) + 1;
        self.waiting.insert((time, self.last), task);
        (time, self.last)
    }

    /// The time that the Internet Computer is to be told, unless it was.
    fn tell(&mut self, now: u64) -> Option<u64> {
        let first = self.waiting.keys().next()?.0;
        // One that has passed was missed: a canister without cycles gets no message.
        let stands = self.told.is_some_and(|told| told <= first && told > now);
        (!stands).then(|| *self.told.insert(first))
    }

    /// The tasks that are due, which are called from here on.
    fn due(&mut self, now: u64) -> Vec<u64> {
        let later = self.waiting.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut self.waiting, later);
        let numbers = due.keys().map(|(_, number)| *number).collect();
        for ((_, number), task) in due {
            if task == Task::Sweep {
                self.add(now.saturating_add(SWEEP.as_nanos() as u64), task);
            }
            self.called.insert(number, task);
        }
        numbers
    }
}

/// Has a task done after `delay`.
pub(crate) fn after(delay: Duration, task: Task) -> Timer {
    let now = ic_cdk::api::time();
    let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    let timer = TIMERS.with_borrow_mut(|t| t.add(now.saturating_add(delay), task));
    tell(now);
    timer
}

/// Has it not done, if it is not under way.
pub(crate) fn clear(timer: Timer) {
    TIMERS.with_borrow_mut(|t| t.waiting.remove(&timer));
}

/// Calls what is due. To be called when the time has come that the Internet Computer was told.
pub(crate) fn fire() {
    let now = ic_cdk::api::time();
    let due = TIMERS.with_borrow_mut(|t| {
        t.told = None;
        t.due(now)
    });
    for number in due {
        ic_cdk::futures::spawn_weak(begin(number));
    }
    tell(now);
}

/// Takes a task, in its message. None where it was taken before, or in another session.
pub(crate) fn take(number: u64) -> Option<Task> {
    TIMERS.with_borrow_mut(|t| t.called.remove(&number))
}

fn tell(now: u64) {
    if let Some(time) = TIMERS.with_borrow_mut(|t| t.tell(now)) {
        ic_cdk::api::global_timer_set(time);
    }
}

async fn begin(number: u64) {
    let arg = candid::encode_one(number).unwrap_or_default();
    let itself = ic_cdk::api::canister_self();
    let answer = calls::call(itself, internal::TIMER, &arg, Wait::Short, For::Nobody).await;
    // What has begun is not there any more; what trapped is there again.
    let Some(task) = take(number) else { return };
    match answer {
        Err(Failed::Cycles { .. } | Failed::Full | Failed::Rejected(2 | 6, _)) => {
            after(AGAIN, task);
        }
        Err(Failed::Rejected(code, text)) => {
            ic_cdk::api::debug_print(format!("{task:?} failed, with code {code}: {text}"));
        }
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_goes_in_order_and_a_sweep_comes_again() {
        let mut timers = Timers::default();
        let late = timers.add(30, Task::Watch);
        let sweep = timers.add(20, Task::Sweep);
        let work = timers.add(20, Task::Work(7));
        let first = timers.add(10, Task::Look);
        assert!(timers.due(9).is_empty());
        assert_eq!(timers.due(20), [first.1, sweep.1, work.1]);
        let called: Vec<Task> = timers.called.values().copied().collect();
        assert_eq!(called, [Task::Sweep, Task::Work(7), Task::Look]);
        let waiting: Vec<_> = timers.waiting.iter().map(|(timer, task)| (timer.0, *task)).collect();
        assert_eq!(waiting, [(late.0, Task::Watch), (20 + 3_600_000_000_000, Task::Sweep)]);
    }

    #[test]
    fn the_first_time_is_told_once_and_again_when_it_was_missed() {
        let mut timers = Timers::default();
        assert_eq!(timers.tell(0), None);
        timers.add(20, Task::Look);
        assert_eq!(timers.tell(0), Some(20));
        timers.add(30, Task::Watch);
        assert_eq!(timers.tell(1), None);
        timers.add(10, Task::Reload);
        assert_eq!(timers.tell(2), Some(10));
        assert_eq!(timers.tell(9), None);
        assert_eq!(timers.tell(10), Some(10), "it has passed, and nothing came");
    }
}
