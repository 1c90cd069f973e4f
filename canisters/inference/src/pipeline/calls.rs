//! Calls of stages: rejects become errors that name the stage, transient ones are tried again; and several calls at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use candid::CandidType;
use ic_nn_types::{Error, ErrorCode, PipelineStage};
use serde::de::DeserializeOwned;

use crate::api::internal;
pub(super) use crate::calls::Wait;
use crate::calls::{self, Failed, For};
use crate::{contained, wire};

/// How often a call is made that fails for reasons that pass.
const ATTEMPTS: u32 = 4;

/// What an error begins with that says that this canister has too few cycles for one more call.
const LACKING: &str = "too few cycles for the calls of a pipeline";

/// Whether a call failed since cycles are set aside for others under way.
pub(super) fn is_lacking(e: &Error) -> bool {
    e.data.starts_with(LACKING)
}

/// Methods on what a context has, which an upgrade takes: after it they are not called again by themselves.
const ON_CONTEXTS: [&str; 3] = ["set_input", "compute", "get_output"];

/// Whether an error may come of an upgrade of the stage, which took what a context had.
pub(super) fn is_lost(e: &Error) -> bool {
    e.data.contains(calls::UPGRADED) || matches!(e.code, ErrorCode::NotFound | ErrorCode::InvalidArgument)
}

/// Calls a stage with encoded arguments and gives its reply, which is of type `variant { Ok; Err : error }`.
pub(super) async fn call(
    stage: &PipelineStage,
    wait: Wait,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, Error> {
    made(stage, wait, For::Caller, method, arg).await
}

/// The same when the request has its answer.
pub(super) async fn call_after(stage: &PipelineStage, method: &str, arg: &[u8]) -> Result<Vec<u8>, Error> {
    made(stage, Wait::Long, For::Nobody, method, arg).await
}

async fn made(
    stage: &PipelineStage,
    wait: Wait,
    whose: For,
    method: &str,
    arg: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut attempt = 1;
    loop {
        let why = match calls::call(stage.canister, method, arg, wait, whose).await {
            Ok(reply) => return Ok(reply),
            Err(Failed::Cycles { available, required }) => {
                return Err(Error::new(
                    ErrorCode::RuntimeError,
                    format!(
                        "{LACKING}: this canister has {available} free, a call of {stage} sets {required} aside; top it up, or ask less at once"
                    ),
                ));
            }
            Err(Failed::Rejected(code, message)) => {
                let (passes, error) = rejected(stage, code, &message);
                if !passes || (ON_CONTEXTS.contains(&method) && is_lost(&error)) {
                    return Err(error);
                }
                error
            }
            Err(Failed::Full) => unreachable_now(stage, "too many calls of it are under way"),
        };
        if attempt == ATTEMPTS {
            return Err(why);
        }
        attempt += 1;
        contained::call(internal::BREATHE, 0).await?;
    }
}

/// Whether a reject may pass, and what it means.
fn rejected(stage: &PipelineStage, code: u32, message: &str) -> (bool, Error) {
    let cause = message.split("\nConsider ").next().unwrap_or(message).trim();
    let stopped = cause.contains("stopped") || cause.contains("stopping");
    let error = |what: &str| Error::new(ErrorCode::RuntimeError, format!("{stage}: {what} ({cause})"));
    match code {
        // Transient, and outcomes that are not known.
        2 if cause.contains("cycles") || cause.contains("frozen") => {
            (false, error("the canister is out of cycles; top it up"))
        }
        2 | 6 if !stopped => (true, unreachable_now(stage, cause)),
        4 if cause.contains(calls::UPGRADED) => (true, error("the canister was upgraded; ask again")),
        3 => (false, error("there is no such canister; publish a manifest of canisters that there are")),
        _ if stopped => (false, error("the canister is stopped; start it and ask again")),
        _ if cause.contains("no Wasm module") || cause.contains("has no ") => {
            (false, error("the canister does not run ic-nn; install it, and the model"))
        }
        _ => (false, error("the canister did not answer")),
    }
}

fn unreachable_now(stage: &PipelineStage, cause: &str) -> Error {
    let text = format!("{stage}: the call did not get through, {ATTEMPTS} times ({cause}); try again later");
    Error::new(ErrorCode::RuntimeError, text)
}

/// Decodes a reply of a stage; its own error is told with where it came from.
pub(super) fn decoded<R: CandidType + DeserializeOwned>(
    stage: &PipelineStage,
    reply: Vec<u8>,
) -> Result<R, Error> {
    let result: Result<R, Error> = wire::decode(reply).map_err(|e| no_reply(stage, &e))?;
    result.map_err(|e| answered(stage, e))
}

fn no_reply(stage: &PipelineStage, e: &Error) -> Error {
    Error::new(ErrorCode::RuntimeError, format!("{stage}: its reply is none of ic-nn's: {}", e.data))
}

/// A stage's own error.
fn answered(stage: &PipelineStage, e: Error) -> Error {
    let advice = match e.code {
        ErrorCode::Security => "; give this canister the role `caller` there (grant_role)",
        ErrorCode::NotFound => "; upload the model there again, or publish a manifest of what is there",
        _ => "",
    };
    Error::new(e.code, format!("{stage}: {}{advice}", e.data))
}

type Task<T> = Pin<Box<dyn Future<Output = T>>>;

/// Work of one message that goes on side by side.
pub(super) struct Beside<T>(Vec<Task<T>>);

impl<T> Beside<T> {
    pub(super) const fn new() -> Self {
        Beside(vec![])
    }

    pub(super) fn push(&mut self, task: impl Future<Output = T> + 'static) {
        self.0.push(Box::pin(task));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What the next of them to end gives; none where there are no more.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            for ix in 0..self.0.len() {
                if let Poll::Ready(given) = self.0[ix].as_mut().poll(context) {
                    drop(self.0.remove(ix));
                    return Poll::Ready(Some(given));
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_say_what_to_do() {
        let stage = PipelineStage {
            canister: candid::Principal::management_canister(),
            model: "m".into(),
            version: 1,
            sha256: [0; 32],
            takes: vec![],
            gives: vec![],
        };
        for (code, message, passes, word) in [
            (2, "Canister queue is full", true, "4 times"),
            (2, "Canister aaaaa-aa is out of cycles", false, "top it up"),
            (6, "timed out", true, "try again later"),
            (4, calls::UPGRADED, true, "ask again"),
            (3, "Canister not found", false, "no such canister"),
            (5, "Canister aaaaa-aa is stopped", false, "start it"),
            (5, "Canister has no update method 'infer'", false, "does not run ic-nn"),
            (5, "trapped", false, "did not answer (trapped)"),
        ] {
            let (may_pass, error) = rejected(&stage, code, message);
            assert_eq!(may_pass, passes, "{message}");
            assert!(error.data.contains(word) && error.data.starts_with("`m:1` on aaaaa-aa"), "{error}");
        }
    }
}
