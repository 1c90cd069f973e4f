//! The seam to the platform: allocator, constructors, randomness, custom sections, counters.
//!
//! The only module of the canister with unsafe code: linker symbols have no safe form.
#![allow(unsafe_code, reason = "symbols that the linker asks for")]

use std::alloc::System;

use cap::Cap;
use ic_nn_arena::Arena;

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

/// Instructions of this message so far.
pub(crate) fn message_instructions() -> u64 {
    ic_cdk::api::instruction_counter()
}

/// Instructions of this call so far, all its messages together.
pub(crate) fn call_instructions() -> u64 {
    ic_cdk::api::call_context_instruction_counter()
}
