//! Calls of canisters, this one among them, whose answers an upgrade cannot lead astray.
//!
//! The Internet Computer brings an answer to a function of the module by its place in the table, with a number that the call chose. It
//! does so after an upgrade too: to the new module, whose heap knows nothing of the call. So both mean the same in every build: the
//! place is [`runtime::CALLBACK`], and the number is that of a call in [`CALLS`] with its session's, never an address. An answer of
//! another session changes nothing; who waits for what it was asked for is told that there was an upgrade.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use candid::Principal;
use ic_cdk_executor::{MethodHandle, TaskHandle};

use crate::{runtime, session};

/// Calls that can be out at a time: far more than the queues of the Internet Computer take, 500 to each canister.
const MOST: u16 = 1 << 14;

/// What callers are told whose call was under way when the canister was upgraded.
pub(crate) const UPGRADED: &str = "the canister was upgraded while this call was under way; call again";

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// As long as the called canister takes, which may be many messages.
    Long,
    /// 300 seconds, for what is answered at once: a canister that does not answer shall not keep this one from being stopped.
    Short,
}

impl Wait {
    /// What the Internet Computer is told.
    fn seconds(self) -> Option<u32> {
        (self == Wait::Short).then_some(300)
    }
}

/// Who waits for what a call is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Who called the method that makes it.
    Caller,
    /// Nobody: it is made by the timer, or when the method has answered.
    Nobody,
}

/// Why a call gave no reply.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It was not made: it sets `required` cycles aside, and there are so many.
    Cycles { available: u128, required: u128 },
    /// It was not made: too many are under way.
    Full,
    /// It was rejected, with this code and text.
    Rejected(u32, String),
}

type Answer = Result<Vec<u8>, Failed>;

/// The number that goes out with a call and comes back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    /// The low bits of the session's number.
    session: u16,
    /// Which of the session's calls, below [`MOST`].
    call: u16,
    /// Whether it comes since the message trapped that the answer began.
    cleans_up: bool,
    /// Who waits.
    whose: For,
}

impl Number {
    fn sent(self) -> u32 {
        let flags = u32::from(self.cleans_up) << 14 | u32::from(self.whose == For::Caller) << 15;
        u32::from(self.session) << 16 | flags | u32::from(self.call)
    }

    fn received(number: u32) -> Number {
        Number {
            session: (number >> 16) as u16,
            call: number as u16 & (MOST - 1),
            cleans_up: number & 1 << 14 != 0,
            whose: if number & 1 << 15 != 0 { For::Caller } else { For::Nobody },
        }
    }
}

/// A call that is out.
enum Out {
    /// Its answer is waited for, by a task of a method that stays alive for it.
    Awaited { waker: Waker, method: MethodHandle, task: Option<TaskHandle> },
    /// Its answer is here, and not read yet.
    Answered(Answer),
    /// Who awaited it has gone. Its method stays alive, unless it trapped.
    Left(Option<MethodHandle>),
}

#[derive(Default)]
struct Calls {
    last: Option<u16>,
    out: BTreeMap<u16, Out>,
}

thread_local! {
    static CALLS: RefCell<Calls> = RefCell::default();
}

impl Calls {
    /// A number that no call has which is out.
    fn free(&mut self) -> Option<u16> {
        let last = *self.last.get_or_insert_with(first);
        // The last number is none: with all bits set it is [`runtime::NO_CALL`].
        let after = |call: u16| (call + 1) % (MOST - 1);
        let mut call = after(last);
        while self.out.contains_key(&call) {
            if call == last {
                return None;
            }
            call = after(call);
        }
        self.last = Some(call);
        Some(call)
    }
}

/// Where a session's numbers begin. Sessions that agree in the low bits, one in 65,536, begin at other places, so that for an answer to
/// find another session's call both would have to agree.
fn first() -> u16 {
    (session::number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as u16 % (MOST - 1)
}

/// A call, which is made when it is first awaited.
pub(crate) struct Call<'a> {
    canister: Principal,
    method: &'a str,
    arg: &'a [u8],
    wait: Wait,
    whose: For,
    state: State,
}

enum State {
    Ready,
    Out(u16),
    Over,
}

/// A call of `canister` with encoded arguments. Gives the encoded reply.
pub(crate) fn call<'a>(
    canister: Principal,
    method: &'a str,
    arg: &'a [u8],
    wait: Wait,
    whose: For,
) -> Call<'a> {
    Call { canister, method, arg, wait, whose, state: State::Ready }
}

impl Call<'_> {
    fn make(&self, waker: &Waker) -> Result<u16, Failed> {
        let required = ic_cdk::api::cost_call(self.method.len() as u64, self.arg.len() as u64);
        let available = ic_cdk::api::canister_liquid_cycle_balance();
        if available < required {
            return Err(Failed::Cycles { available, required });
        }
        let call = CALLS.with_borrow_mut(Calls::free).ok_or(Failed::Full)?;
        let number = Number { session: session::number() as u16, call, cleans_up: false, whose: self.whose };
        let cleaning = Number { cleans_up: true, ..number };
        let numbers = (number.sent(), cleaning.sent());
        if !runtime::call(self.canister, self.method, self.arg, self.wait.seconds(), numbers) {
            return Err(Failed::Full);
        }
        let awaited = Out::Awaited {
            waker: waker.clone(),
            method: ic_cdk_executor::extend_current_method_context(),
            task: TaskHandle::current(),
        };
        CALLS.with_borrow_mut(|c| c.out.insert(call, awaited));
        Ok(call)
    }
}

impl Future for Call<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = match self.state {
            State::Ready => match self.make(context.waker()) {
                Ok(call) => {
                    self.state = State::Out(call);
                    return Poll::Pending;
                }
                Err(e) => Err(e),
            },
            State::Out(call) => {
                let answer = CALLS.with_borrow_mut(|c| match c.out.remove(&call) {
                    Some(Out::Answered(answer)) => Some(answer),
                    Some(Out::Awaited { method, task, .. }) => {
                        let waker = context.waker().clone();
                        c.out.insert(call, Out::Awaited { waker, method, task });
                        None
                    }
                    _ => None,
                });
                let Some(answer) = answer else { return Poll::Pending };
                answer
            }
            State::Over => return Poll::Pending,
        };
        self.state = State::Over;
        Poll::Ready(answer)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let State::Out(call) = self.state else { return };
        let trapped = ic_cdk_executor::is_recovering_from_trap();
        // Handles go outside: they ask the executor.
        let gone = CALLS.with_borrow_mut(|c| match c.out.remove(&call) {
            Some(Out::Awaited { waker, method, task }) => {
                let (kept, gone) = if trapped { (None, Some(method)) } else { (Some(method), None) };
                c.out.insert(call, Out::Left(kept));
                Some((waker, task, gone))
            }
            _ => None,
        });
        drop(gone);
    }
}

/// Takes an answer, or that taking one trapped. The only way in which the Internet Computer comes back to a call.
pub(crate) fn answered(number: u32) {
    if number == runtime::NO_CALL {
        return;
    }
    let number = Number::received(number);
    let out = if number.session == session::number() as u16 {
        CALLS.with_borrow_mut(|c| c.out.remove(&number.call))
    } else {
        None
    };
    match (out, number.cleans_up) {
        (Some(Out::Awaited { waker, method, .. }), false) => {
            let answer = match ic_cdk::api::msg_reject_code() {
                0 => Ok(ic_cdk::api::msg_arg_data()),
                code => Err(Failed::Rejected(code, ic_cdk::api::msg_reject_msg())),
            };
            CALLS.with_borrow_mut(|c| c.out.insert(number.call, Out::Answered(answer)));
            ic_cdk_executor::in_callback_executor_context_for(method, || waker.wake());
        }
        (Some(Out::Awaited { method, task, .. }), true) => cancel(method, task),
        (Some(Out::Left(Some(method))), true) => cancel(method, None),
        (Some(Out::Left(Some(method))), false) => {
            ic_cdk_executor::in_callback_executor_context_for(method, || {});
        }
        // A trap answers the caller where this was the last call of a method that trapped before.
        (Some(Out::Left(None)), false) => ic_cdk::api::trap("an earlier message of this call trapped"),
        // Of a method that had several calls out the first tells it; the others trap, which changes nothing.
        (None, false) if number.whose == For::Caller => ic_cdk::api::msg_reject(UPGRADED),
        _ => {}
    }
}

/// Ends what a method was doing whose message trapped.
fn cancel(method: MethodHandle, task: Option<TaskHandle>) {
    ic_cdk_executor::in_trap_recovery_context_for(method, || {
        ic_cdk_executor::cancel_all_tasks_attached_to_current_method();
        if let Some(task) = task {
            ic_cdk_executor::cancel_task(&task);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_and_none_is_no_calls() {
        for session in [0, 1, 0x7fff, u16::MAX] {
            for call in [0, 1, MOST - 2] {
                for (cleans_up, whose) in
                    [(false, For::Caller), (true, For::Caller), (false, For::Nobody), (true, For::Nobody)]
                {
                    let number = Number { session, call, cleans_up, whose };
                    assert_eq!(Number::received(number.sent()), number);
                    assert_ne!(number.sent(), runtime::NO_CALL);
                }
            }
        }
    }

    #[test]
    fn numbers_of_calls_that_are_out_are_not_given_again() {
        let mut calls = Calls::default();
        for call in 0..MOST - 1 {
            if call != 700 {
                calls.out.insert(call, Out::Left(None));
            }
        }
        assert_eq!(calls.free(), Some(700));
        calls.out.insert(700, Out::Left(None));
        assert_eq!(calls.free(), None, "all are out");
        calls.out.remove(&3);
        calls.out.remove(&900);
        assert_eq!(calls.free(), Some(900), "the next after 700");
        assert_eq!(calls.free(), Some(3), "the next after 900, round the end");
    }
}
