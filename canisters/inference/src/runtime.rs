//! The seam to the platform: allocator, constructors, randomness, custom sections, calls and the timer, counters.
//!
//! The only module of the canister with unsafe code, but for a trait's method in `memory.rs`: linker symbols and places in the table
//! have no safe form.
#![allow(unsafe_code, reason = "symbols that the linker asks for")]

use std::alloc::System;

use candid::Principal;
use cap::Cap;
use ic_nn_arena::Arena;

use crate::{calls, timers};

/// Gives what a run takes its places in one block, and counts the bytes that are allocated, so that memory is admitted before it
/// is taken. Freed memory stays in the wasm heap, so the size of the heap would not tell.
#[global_allocator]
static HEAP: Arena<Cap<System>> = Arena::new(Cap::new(System, usize::MAX));

/// The interface, for Candid UI and agents.
#[cfg(target_family = "wasm")]
#[used]
#[unsafe(link_section = "icp:public candid:service")]
static CANDID: [u8; include_bytes!("../../../candid/ic_nn.did").len()] =
    *include_bytes!("../../../candid/ic_nn.did");

/// Bytes of live allocations.
pub(crate) fn heap_bytes() -> u64 {
    HEAP.within().allocated() as u64
}

/// Runs the constructors that the linker collected (registrations of tract's parts). To be called once, first thing in
/// `canister_init` and `canister_post_upgrade`.
///
/// Naming the symbol also keeps the linker from wrapping every export in a call of it, which would run it again with
/// every message.
pub(crate) fn run_constructors() {
    #[cfg(target_family = "wasm")]
    {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }
        // SAFETY: the linker defines the symbol; it takes and gives nothing, and runs once in an instance's life.
        unsafe { __wasm_call_ctors() }
    }
}

/// The backend of `getrandom`: there is no randomness here, and nothing may ask for it. Models that draw random
/// numbers are refused when they are uploaded, so a call is a fault of this canister.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(_dest: *mut u8, _len: usize) -> Result<(), u32> {
    ic_cdk::api::trap("randomness was asked for; ic-nn answers the same on every node and has none")
}

/// The place in the module's table at which [`callback`] is, in every build: before those that the linker gives out (`build.rs`).
/// `ic-nn-wasm-report` puts it there.
pub(crate) const CALLBACK: usize = 1;

/// The number of no call. A callback that gets it does nothing.
pub(crate) const NO_CALL: u32 = u32::MAX;

/// Where the Internet Computer comes back to a call, with the number that it was given.
#[unsafe(export_name = "ic_nn_callback")]
extern "C" fn callback(number: usize) {
    calls::answered(number as u32);
}

/// Makes a call, of which [`calls::answered`] is told one of the two numbers: the first with the answer, and the second where taking it
/// trapped. Whether it goes out. Where `seconds` are given, that is how long the answer is waited for.
pub(crate) fn call(
    canister: Principal,
    method: &str,
    arg: &[u8],
    seconds: Option<u32>,
    (answered, cleans_up): (u32, u32),
) -> bool {
    let (callee, answered) = (canister.as_slice(), answered as usize);
    // SAFETY: `callee` and `method` can be read. At `CALLBACK` is a function that takes a number, [`has_callback`] having seen it when
    // this session began; it may be called with any, and owns nothing.
    unsafe {
        ic0::sys::call_new(
            callee.as_ptr() as usize,
            callee.len(),
            method.as_ptr() as usize,
            method.len(),
            CALLBACK,
            answered,
            CALLBACK,
            answered,
        );
        ic0::sys::call_on_cleanup(CALLBACK, cleans_up as usize);
    }
    ic0::call_data_append(arg);
    if let Some(seconds) = seconds {
        ic0::call_with_best_effort_response(seconds);
    }
    ic0::call_perform() == 0
}

/// Calls the callback at its place, for nothing. To be called once in `canister_init` and `canister_post_upgrade`: a module that did not
/// go through `ic-nn-wasm-report` traps here, and is not installed.
pub(crate) fn has_callback() {
    if cfg!(target_family = "wasm") {
        // SAFETY: what is at that place in the table is [`callback`]; where there is nothing, calling it traps.
        let callback =
            unsafe { std::mem::transmute::<usize, extern "C" fn(usize)>(std::hint::black_box(CALLBACK)) };
        callback(NO_CALL as usize);
    }
}

/// The time has come that the Internet Computer was told.
#[unsafe(export_name = "canister_global_timer")]
extern "C" fn global_timer() {
    ic_cdk_executor::in_tracking_executor_context(timers::fire);
}

/// Instructions of this message so far.
pub(crate) fn message_instructions() -> u64 {
    ic_cdk::api::instruction_counter()
}

/// Instructions of this call so far, all its messages together.
pub(crate) fn call_instructions() -> u64 {
    ic_cdk::api::call_context_instruction_counter()
}
