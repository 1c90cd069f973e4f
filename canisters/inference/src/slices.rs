//! Work that goes on over messages: how far a run goes in one of them, and calls to oneself until it is done.
//!
//! A message has [`UPDATE_INSTRUCTIONS`]. A run stops before a step that would not fit what is left of it: the step's estimate, times
//! how far this run's estimates were off so far, and what handing over takes. Should that be wrong, the message traps, which takes
//! back what it did; the run is where it was before, and goes on by one step, then in slices of half the size. What has too few
//! instructions for one step, or for loading, is given up the second time.

use ic_nn_engine::{InferError, Run};
use ic_nn_types::{Error, ErrorCode, NamedTensor};

use crate::api::internal;
use crate::contained::{self, EXCEEDED};
use crate::tickets::Ticket;
use crate::{memory, runtime};

/// Instructions that the Internet Computer grants a message of an update.
pub(crate) const UPDATE_INSTRUCTIONS: u64 = 40_000_000_000;
/// What a message is left after the last step: outputs made bytes, a reply of 2 MiB (57 instructions a byte), records in stable memory.
const HANDED_OVER: u64 = 200_000_000;
/// Steps of fewer instructions say nothing about estimates.
const TELLING: u64 = 1_000_000;
/// Estimates are within so much of what steps take (docs/prices.md), in hundredths, as long as a run has not shown otherwise.
const OFF: u64 = 110;

/// How a run is sliced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slices {
    /// Instructions of a message.
    most: u64,
    /// The most that a step took of what it was to take, in hundredths.
    off: u64,
    /// Whether the next message takes one step, the one before having had too few instructions.
    alone: bool,
}

impl Slices {
    /// Slices of `most` instructions, or of what a message has.
    pub(crate) fn of(most: Option<u64>) -> Slices {
        Slices { most: most.unwrap_or(u64::MAX).min(UPDATE_INSTRUCTIONS), off: OFF, alone: false }
    }

    /// No slices: all of it in this message, which a query has to do.
    pub(crate) fn none() -> Slices {
        Slices { most: u64::MAX, off: OFF, alone: false }
    }

    /// Whether so many more instructions fit this message.
    pub(crate) fn fits(&self, instructions: u64) -> bool {
        let needed = instructions.saturating_mul(self.off) / 100;
        let taken = runtime::message_instructions().saturating_add(HANDED_OVER);
        self.most == u64::MAX
            || (taken.saturating_add(needed) <= self.most && memory::may_touch(instructions))
    }

    /// Has the run go on for what is left of this message, one step at least. `watch` is told each node when it has run.
    pub(crate) fn advance(
        &mut self,
        run: &mut Run,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Option<Vec<NamedTensor>>, InferError> {
        let mut slices = *self;
        let mut last: Option<(u64, u64)> = None;
        let outputs = run.advance(
            &mut |next| {
                if slices.most == u64::MAX {
                    return true;
                }
                let now = runtime::message_instructions();
                if let Some((estimate, before)) = last
                    && estimate >= TELLING
                {
                    slices.off = slices.off.max((now - before).saturating_mul(100) / estimate);
                }
                let goes_on = last.is_none() || (!slices.alone && slices.fits(next));
                last = Some((next, now));
                goes_on
            },
            watch,
        );
        *self = Slices { alone: false, ..slices };
        outputs
    }

    /// Narrows the slices, after a message had too few instructions for one; whether there is sense in that.
    fn narrow(&mut self) -> bool {
        self.most /= 2;
        !std::mem::replace(&mut self.alone, true)
    }
}

/// What a ticket asks that may take several messages.
pub(crate) trait Sliced: 'static {
    /// How it is sliced.
    fn slices(&mut self) -> &mut Slices;

    /// Asks the same by itself, where it was asked together with others; whether it was.
    fn apart(&mut self) -> bool {
        false
    }
}

/// What an error begins with that says that the canister has too few cycles to go on.
pub(crate) const FROZEN: &str = "the canister has too few cycles to go on";

/// Why no message can be called now: what the call and the message's own instructions are charged beforehand would bring the canister
/// below its freezing threshold, where it would answer nobody.
pub(crate) fn frozen() -> Option<Error> {
    // A call is charged its callback's instructions beforehand, and so is the message that it makes.
    let needed = 2 * ic_cdk::api::cost_call(internal::INFER.len() as u64, 64);
    let liquid = ic_cdk::api::canister_liquid_cycle_balance();
    (liquid < needed).then(|| {
        Error::new(
            ErrorCode::RuntimeError,
            format!("{FROZEN}: {liquid} above its freezing threshold, a message takes {needed} beforehand; top it up"),
        )
    })
}

/// Calls `method` with the ticket until its question is answered.
pub(crate) async fn until_done<Q: Sliced>(method: &str, ticket: &Ticket) -> Result<(), Error> {
    while ticket.is_open() {
        if let Some(e) = frozen() {
            return Err(e);
        }
        match contained::call(method, ticket.id()).await {
            Ok(reply) => internal::done(&reply)?,
            // The message was taken back: the question is as it was before.
            Err(e) if e.data.starts_with(EXCEEDED) => {
                let again = ticket.with::<Q, _>(|question| question.slices().narrow() || question.apart());
                if again != Some(true) {
                    return Err(e);
                }
            }
            // What fails in company may be another's fault.
            Err(_) if ticket.with::<Q, _>(Sliced::apart) == Some(true) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
