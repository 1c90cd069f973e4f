//! Stable memory, addressed by 32 or 64 bits.
//!
//! Owns its charges and the limits on how much a message may touch.

use wasmtime::Linker;

use super::{Answer, Call, Ctx, Mode, charge, fail, split};
use crate::failure::Failure;
use crate::heap::PAGE;
use crate::wasm::cost::api::{STABLE_ACCESS, STABLE_GROW};

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "stable64_size", |call: Call<'_>| call.data().stable.pages() as i64)?;
    linker.func_wrap("ic0", "stable_size", |call: Call<'_>| -> Answer<i32> {
        narrow(&call)?;
        Ok(call.data().stable.pages() as i32)
    })?;
    linker.func_wrap("ic0", "stable64_grow", |mut call: Call<'_>, pages: i64| -> Answer<i64> {
        grow(&mut call, pages as u64)
    })?;
    linker.func_wrap("ic0", "stable_grow", |mut call: Call<'_>, pages: i32| -> Answer<i32> {
        narrow(&call)?;
        let pages = u64::from(pages as u32);
        if call.data().stable.pages() + pages > NARROW_PAGES {
            charge(&mut call, STABLE_GROW.base)?;
            return Ok(-1);
        }
        Ok(grow(&mut call, pages)? as i32)
    })?;
    linker.func_wrap("ic0", "stable64_read", |mut call: Call<'_>, to: i64, from: i64, size: i64| {
        read(&mut call, to as u64, from as u64, size as u64)
    })?;
    linker.func_wrap("ic0", "stable_read", |mut call: Call<'_>, to: i32, from: i32, size: i32| {
        narrow(&call)?;
        read(&mut call, u64::from(to as u32), u64::from(from as u32), u64::from(size as u32))
    })?;
    linker.func_wrap("ic0", "stable64_write", |mut call: Call<'_>, to: i64, from: i64, size: i64| {
        write(&mut call, to as u64, from as u64, size as u64)
    })?;
    linker.func_wrap("ic0", "stable_write", |mut call: Call<'_>, to: i32, from: i32, size: i32| {
        narrow(&call)?;
        write(&mut call, u64::from(to as u32), u64::from(from as u32), u64::from(size as u32))
    })?;
    Ok(())
}

/// Pages the 32-bit calls can address: 4 GiB.
const NARROW_PAGES: u64 = 1 << 16;

const OUT_OF_BOUNDS: &str = "stable memory out of bounds";

/// The 32-bit calls trap once the memory is larger than they can address.
fn narrow(call: &Call<'_>) -> Answer<()> {
    if call.data().stable.pages() > NARROW_PAGES {
        return Err(fail(Failure::Trap("32 bit stable memory api used on a memory larger than 4GB")));
    }
    Ok(())
}

fn grow(call: &mut Call<'_>, pages: u64) -> Answer<i64> {
    charge(call, STABLE_GROW.base)?;
    let state = call.data_mut();
    let limit = state.message.canister.stable_limit;
    Ok(state.stable.grow(pages, limit).map_or(-1, |old| old as i64))
}

/// The most stable memory a message may touch, in pages.
fn access_limit(mode: Mode) -> u64 {
    let bytes: u64 = match mode {
        Mode::Start | Mode::Init | Mode::PreUpgrade => 8 << 30,
        _ if mode.is_replicated() => 2 << 30,
        _ => 1 << 30,
    };
    bytes / PAGE as u64
}

/// Marks and charges pages, and holds the message to its limit.
fn touch(call: &mut Call<'_>, at: u64, size: u64, write: bool) -> Answer<()> {
    let ctx = call.data_mut();
    let prices = ctx.schedule.stable;
    let new = ctx.stable.mark(at, size, prices.unit, write);
    let instructions = new.read * prices.read + new.written * prices.write;
    let limit = access_limit(ctx.message.mode);
    let over = |pages: u64, kind: &'static str| {
        (pages > limit)
            .then(|| fail(Failure::MemoryAccessLimit { kind, limit_kib: limit * PAGE as u64 / 1024 }))
    };
    let (accessed, written) = (ctx.stable.accessed(), ctx.stable.written());
    if let Some(over) = over(written, "modified").or_else(|| over(accessed, "accessed")) {
        return Err(over);
    }
    charge(call, instructions)
}

/// The charge of an access. It wraps as the replica's does: a hopeless length costs little and traps.
fn access(size: u64) -> u64 {
    STABLE_ACCESS.base.wrapping_add(size)
}

fn heap_range(at: u64, size: u64, length: usize) -> Answer<std::ops::Range<usize>> {
    match at.checked_add(size) {
        Some(end) if end <= length as u64 => Ok(at as usize..end as usize),
        _ => Err(fail(Failure::Trap("heap out of bounds"))),
    }
}

fn read(call: &mut Call<'_>, to: u64, from: u64, size: u64) -> Answer<()> {
    charge(call, access(size))?;
    if size == 0 {
        return Ok(());
    }
    (call.data().stable.check(from, size)).map_err(|_| fail(Failure::Trap(OUT_OF_BOUNDS)))?;
    touch(call, from, size, false)?;
    let (heap, ctx) = split(call);
    let target = heap_range(to, size, heap.len())?;
    ctx.stable.read(from, &mut heap[target]);
    Ok(())
}

fn write(call: &mut Call<'_>, to: u64, from: u64, size: u64) -> Answer<()> {
    charge(call, access(size))?;
    if size == 0 {
        return Ok(());
    }
    (call.data().stable.check(to, size)).map_err(|_| fail(Failure::Trap(OUT_OF_BOUNDS)))?;
    touch(call, to, size, true)?;
    let (heap, ctx) = split(call);
    let source = heap_range(from, size, heap.len())?;
    ctx.stable.write(to, &heap[source]);
    Ok(())
}
