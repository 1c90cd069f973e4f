//! Calls of the canister to itself, whose traps become errors.
//!
//! A trap takes back everything the called message did and reaches the calling one as a reject. So whatever the engine
//! meets for the first time (a file, a shape) is met in such a call: the caller of the canister gets an error with the
//! panic's text, and no state has changed.

use ic_nn_types::{Error, ErrorCode};

use crate::api::internal;
use crate::calls::{self, Failed, For, Wait};
use crate::{memory, state};

/// Calls this canister's `method` with one number and gives its reply.
///
/// Costs about 15 M cycles on 13 nodes for the call and its callback, whatever it does.
pub(crate) async fn call(method: &str, arg: u64) -> Result<Vec<u8>, Error> {
    let arg = candid::encode_one(arg).unwrap_or_default();
    let itself = ic_cdk::api::canister_self();
    calls::call(itself, method, &arg, Wait::Long, For::Caller).await.map_err(|failed| match failed {
        Failed::Rejected(_, message) => translate(&message),
        Failed::Cycles { available, required } => Error::new(
            ErrorCode::RuntimeError,
            format!("the canister holds {available} cycles and this needs {required} to begin; top it up"),
        ),
        Failed::Full => Error::new(
            ErrorCode::RuntimeError,
            "the canister could not call itself: too many of its calls are under way; try again",
        ),
    })
}

/// Sees to it that stable memory can take a file of `bytes` and what the tables write beside it in a message. To be
/// called before anything is written: where the subnet refuses pages, the tables could only trap.
pub(crate) async fn room(bytes: u64) -> Result<(), Error> {
    room_of(|| bytes).await
}

/// The same for what a job is asked, or answers: what jobs before it have freed is used first, and the subnet asked for the rest.
pub(crate) async fn room_for_job(bytes: u64) -> Result<(), Error> {
    room_of(|| {
        let taken = state::store(|s| s.job_data_bytes(bytes)).unwrap_or(u64::MAX);
        taken.saturating_sub(memory::job_data_bytes()).min(bytes + bytes / 4)
    })
    .await
}

async fn room_of(bytes: impl Fn() -> u64) -> Result<(), Error> {
    // Another message may take what this one asked for; it does not do so for ever.
    for _ in 0..4 {
        let lacking = memory::lacking_pages(bytes());
        if lacking == 0 {
            return Ok(());
        }
        let reply = call(internal::ROOM, lacking).await?;
        internal::done(&reply)?;
    }
    Err(Error::new(ErrorCode::RuntimeError, "stable memory is taken as fast as it grows; try again"))
}

/// What an error begins with that says that a message had too few instructions.
pub(crate) const EXCEEDED: &str = "the work does not fit the instructions of one message";

/// What a reject means. The Internet Computer tells the cause in words only, so they are looked for; a text that is not
/// known stays a `runtime_error` with all of it.
fn translate(message: &str) -> Error {
    let cause = message.split("\nCanister Backtrace").next().unwrap_or(message);
    let cause = cause.split("\nConsider ").next().unwrap_or(cause).trim();
    if cause.contains("exceeded the limit of") && cause.contains("instructions") {
        return Error::too_large(format!("{EXCEEDED}: {cause}"));
    }
    if cause.contains("when trying to grow memory by") || cause.contains("freezing threshold") {
        return Error::too_large(format!(
            "the canister holds too few cycles for more stable memory: {cause}"
        ));
    }
    if cause.contains("memory allocation of")
        || cause.contains("exceeded its current Wasm memory limit")
        || cause.contains("out of memory")
    {
        return Error::too_large(format!(
            "the work does not fit the heap (max_heap_bytes, wasm_memory_limit): {cause}"
        ));
    }
    Error::new(
        ErrorCode::RuntimeError,
        format!("the engine panicked, and everything was taken back: {cause}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_get_their_codes() {
        let trap = "Canister called `ic0.trap` with message: 'Panicked at 'index out of bounds''\nConsider gracefully…";
        assert_eq!(translate(trap).code, ErrorCode::RuntimeError);
        assert!(translate(trap).data.ends_with("out of bounds''"), "{}", translate(trap).data);
        let limit = "Canister exceeded the limit of 40000000000 instructions for single message execution.";
        assert_eq!(translate(limit).code, ErrorCode::TooLarge);
        let memory = "'Panicked at 'memory allocation of 99 bytes failed''";
        assert_eq!(translate(memory).code, ErrorCode::TooLarge);
    }
}
