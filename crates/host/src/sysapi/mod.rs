//! The System API: what canisters import from `ic0`, and what the metering pass imports.
//!
//! Owns the rules of each call: who may make it, what it costs, what it moves between the heap and the [`Message`]. Must
//! never touch a canister's committed state: effects are collected, whoever runs the message applies them.

mod calls;
mod canister;
mod cycles;
mod logging;
mod message;
mod mode;
mod stable;

use wasmtime::{Caller, Global, Linker, Memory, Val};

use crate::failure::Failure;
use crate::heap::Heap;
use crate::message::Message;
use crate::stable::{Stable, WASM_PAGE};
use crate::wasm::{self, CostSchedule};

pub(crate) use mode::Mode;

/// What the host's functions work on: the memories of the canister and the message it executes.
pub(crate) struct Ctx {
    pub memory: Option<Memory>,
    pub counter: Option<Global>,
    pub heap: Option<Heap>,
    pub stable: Stable,
    pub schedule: CostSchedule,
    pub message: Message,
    /// Instructions charged for heap pages touched so far, in schedules that charge them during the message.
    pub touched_charge: u64,
}

type Call<'a> = Caller<'a, Ctx>;
type Answer<T> = Result<T, wasmtime::Error>;

/// Defines everything a module may import.
pub(crate) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let injected = wasm::INJECTED_MODULE;
    linker.func_wrap(injected, wasm::OUT_OF_INSTRUCTIONS, |call: Call<'_>| -> Answer<()> {
        Err(fail(Failure::InstructionLimit(call.data().message.limit)))
    })?;
    linker.func_wrap(injected, wasm::TRY_GROW_MEMORY, after_grow)?;
    message::link(linker)?;
    canister::link(linker)?;
    cycles::link(linker)?;
    calls::link(linker)?;
    stable::link(linker)?;
    logging::link(linker)
}

/// Wraps a failure so that it comes out of wasmtime as it went in.
fn fail(failure: Failure) -> wasmtime::Error {
    wasmtime::Error::new(failure)
}

/// A growing heap ends a message where the canister's limit forbids it; queries may go on.
fn after_grow(call: Call<'_>, result: i32, _pages: i32) -> Answer<i32> {
    let message = &call.data().message;
    let limit = match message.canister.wasm_memory_limit {
        Some(limit) if result >= 0 && !message.mode.changes_nothing() => limit,
        _ => return Ok(result),
    };
    let bytes = call.data().heap.as_ref().map_or(0, |heap| heap.size() as u64);
    if bytes > limit && message.mode != Mode::Cleanup {
        return Err(fail(Failure::WasmMemoryLimit { limit, peak: bytes }));
    }
    Ok(result)
}

/// Instructions left.
fn left(call: &mut Call<'_>) -> i64 {
    match call.data().counter {
        Some(counter) => counter.get(call).i64().unwrap_or(0),
        None => 0,
    }
}

/// Takes instructions off the counter.
fn charge(call: &mut Call<'_>, instructions: u64) -> Answer<()> {
    let left = left(call).saturating_sub_unsigned(instructions);
    if let Some(counter) = call.data().counter {
        counter.set(&mut *call, Val::I64(left))?;
    }
    if left < 0 {
        return Err(fail(Failure::InstructionLimit(call.data().message.limit)));
    }
    Ok(())
}

/// What every call begins with: its charge and whether it may be made here.
fn enter(call: &mut Call<'_>, api: &'static str, allowed: mode::Modes, instructions: u64) -> Answer<()> {
    charge(call, instructions)?;
    let mode = call.data().message.mode;
    if allowed.contains(mode) {
        return Ok(());
    }
    Err(fail(Failure::WrongMode { api, mode: mode.name() }))
}

/// The heap and the rest, apart.
fn split<'c>(call: &'c mut Call<'_>) -> (&'c mut [u8], &'c mut Ctx) {
    match call.data().memory {
        Some(memory) => memory.data_and_store_mut(call),
        None => (&mut [], call.data_mut()),
    }
}

/// A range of something, or the refusal that names it.
fn range(what: &str, at: u32, length: u32, size: usize) -> Result<std::ops::Range<usize>, Failure> {
    let end = u64::from(at) + u64::from(length);
    if end > size as u64 {
        return Err(Failure::Contract(format!(
            "{what}: src={at} + length={length} exceeds the slice size={size}"
        )));
    }
    Ok(at as usize..end as usize)
}

/// Copies part of something of the message into the heap. `what` names the source in refusals.
fn copy_out(
    call: &mut Call<'_>,
    api: &'static str,
    what: &str,
    part: (i32, i32, i32),
    from: impl FnOnce(&Message) -> &[u8],
) -> Answer<()> {
    let (heap, ctx) = split(call);
    put(heap, api, what, part, from(&ctx.message))
}

/// Copies part of `from` into the heap: where to, from which offset, how many bytes.
fn put(
    heap: &mut [u8],
    api: &'static str,
    what: &str,
    (to, offset, length): (i32, i32, i32),
    from: &[u8],
) -> Answer<()> {
    let (to, offset, length) = (to as u32, offset as u32, length as u32);
    let target = range(&format!("ic0.{api} heap"), to, length, heap.len()).map_err(fail)?;
    let source = range(&format!("ic0.{api} {what}"), offset, length, from.len()).map_err(fail)?;
    heap[target].copy_from_slice(&from[source]);
    Ok(())
}

/// A copy of part of the heap.
fn copy_in(call: &mut Call<'_>, what: &str, from: i32, length: i32) -> Answer<Vec<u8>> {
    let (heap, _) = split(call);
    let source = range(what, from as u32, length as u32, heap.len()).map_err(fail)?;
    Ok(heap[source].to_vec())
}

/// Writes 16 bytes, little-endian.
fn put_u128(call: &mut Call<'_>, api: &str, to: i32, value: u128) -> Answer<()> {
    let (heap, _) = split(call);
    let target = range(&format!("ic0.{api} heap"), to as u32, 16, heap.len()).map_err(fail)?;
    heap[target].copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// A principal's bytes from the heap.
fn principal(call: &mut Call<'_>, what: &str, from: i32, length: i32) -> Answer<candid::Principal> {
    let bytes = copy_in(call, what, from, length)?;
    candid::Principal::try_from_slice(&bytes).map_err(|_| fail(Failure::InvalidPrincipal))
}

impl Ctx {
    /// Bytes the canister holds now.
    pub fn bytes_held(&self) -> u64 {
        let heap = self.heap.as_ref().map_or(0, |heap| heap.size() as u64);
        heap + self.stable.pages() * WASM_PAGE + self.message.canister.other_bytes
    }

    /// Instructions to charge for heap pages touched since the last time, in schedules that charge during the message.
    pub fn charge_for_touch(&mut self) -> u64 {
        let prices = self.schedule.heap;
        if prices.read == 0 && prices.write == 0 {
            return 0;
        }
        let touched = (self.heap.as_ref()).and_then(|heap| heap.touched().ok()).unwrap_or_default();
        let total = (touched.accessed * prices.read + touched.written * prices.write) * prices.unit;
        let new = total.saturating_sub(self.touched_charge);
        self.touched_charge += new;
        new
    }
}
