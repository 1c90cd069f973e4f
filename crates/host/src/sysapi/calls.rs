//! Outgoing calls: one is constructed at a time, then performed or dropped.
//!
//! Owns the rules of construction and what a call must find in the canister's purse. Sends nothing: performed calls are
//! effects.

use std::collections::BTreeMap;

use candid::Principal;
use wasmtime::Linker;

use super::{Answer, Call, Ctx, copy_in, enter, fail, mode, split};
use crate::failure::Failure;
use crate::message::{Closure, Draft};
use crate::subnet::fees;
use crate::wasm::cost::api::{CALL_NEW, CALL_PERFORM, DEFAULT, PAYLOAD};

/// Largest request between canisters of one subnet, name and payload: 10 MiB.
const REQUEST_BYTES: u64 = 10 << 20;
/// Calls to one callee that may be unanswered at a time.
const OUTSTANDING: usize = 500;
/// Longest wait for a best-effort response, in seconds.
const MAX_TIMEOUT: u32 = 300;

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "call_new", call_new)?;
    linker.func_wrap("ic0", "call_on_cleanup", |mut call: Call<'_>, function: i32, environment: i32| {
        enter(&mut call, "call_on_cleanup", mode::CALL, DEFAULT.base)?;
        let draft = draft(&mut call, "ic0.call_on_cleanup")?;
        if draft.on_cleanup.is_some() {
            let text = "ic0.call_on_cleanup can be called at most once between `ic0.call_new` and \
                        `ic0.call_perform`";
            return Err(fail(Failure::Contract(text.into())));
        }
        draft.on_cleanup = Some(closure(function, environment));
        Ok(())
    })?;
    linker.func_wrap(
        "ic0",
        "call_data_append",
        |mut call: Call<'_>, from: i32, size: i32| -> Answer<()> {
            enter(&mut call, "call_data_append", mode::CALL, PAYLOAD.of(u64::from(size as u32)))?;
            draft(&mut call, "ic0.call_data_append")?;
            let (heap, ctx) = split(&mut call);
            let what = "ic0.call_data_append";
            let source = super::range(what, from as u32, size as u32, heap.len()).map_err(fail)?;
            if let Some(draft) = &mut ctx.message.effects.draft {
                if (draft.method.len() + draft.payload.len() + source.len()) as u64 > REQUEST_BYTES {
                    return Err(fail(too_long(draft, source.len())));
                }
                draft.payload.extend_from_slice(&heap[source]);
            }
            Ok(())
        },
    )?;
    linker.func_wrap("ic0", "call_cycles_add128", |mut call: Call<'_>, high: i64, low: i64| {
        enter(&mut call, "call_cycles_add128", mode::CALL_CYCLES, DEFAULT.base)?;
        let cycles = u128::from(high as u64) << 64 | u128::from(low as u64);
        attach(&mut call, "ic0_call_cycles_add128", cycles)
    })?;
    linker.func_wrap("ic0", "call_cycles_add", |mut call: Call<'_>, cycles: i64| {
        enter(&mut call, "call_cycles_add", mode::CALL_CYCLES, DEFAULT.base)?;
        attach(&mut call, "ic0_call_cycles_add", u128::from(cycles as u64))
    })?;
    linker.func_wrap("ic0", "call_with_best_effort_response", |mut call: Call<'_>, seconds: i32| {
        enter(&mut call, "call_with_best_effort_response", mode::CALL, DEFAULT.base)?;
        let draft = draft(&mut call, "ic0.call_with_best_effort_response")?;
        if draft.timeout.is_some() {
            let text = "ic0_call_with_best_effort_response failed because a timeout is already set.";
            return Err(fail(Failure::Contract(text.into())));
        }
        draft.timeout = Some((seconds as u32).min(MAX_TIMEOUT));
        Ok(())
    })?;
    linker.func_wrap("ic0", "call_perform", perform)?;
    Ok(())
}

fn closure(function: i32, environment: i32) -> Closure {
    Closure { function: function as u32, environment: environment as u32 }
}

fn draft<'c>(call: &'c mut Call<'_>, api: &str) -> Answer<&'c mut Draft> {
    (call.data_mut().message.effects.draft.as_mut())
        .ok_or_else(|| fail(Failure::Contract(format!("{api} called when no call is under construction."))))
}

fn too_long(draft: &Draft, more: usize) -> Failure {
    Failure::RequestTooLong {
        callee: draft.callee,
        method: draft.method.clone(),
        size: (draft.method.len() + draft.payload.len() + more) as u64,
        limit: REQUEST_BYTES,
    }
}

#[allow(clippy::too_many_arguments, reason = "the interface specification's signature")]
fn call_new(
    mut call: Call<'_>,
    callee: i32,
    callee_size: i32,
    name: i32,
    name_size: i32,
    reply_function: i32,
    reply_environment: i32,
    reject_function: i32,
    reject_environment: i32,
) -> Answer<()> {
    let bytes = u64::from(callee_size as u32) + u64::from(name_size as u32);
    enter(&mut call, "call_new", mode::CALL, CALL_NEW.of(bytes))?;
    drop_draft(&mut call);
    if callee_size as u32 > Principal::MAX_LENGTH_IN_BYTES as u32 {
        return Err(fail(Failure::InvalidPrincipal));
    }
    let callee = super::principal(&mut call, "ic0.call_new callee_src", callee, callee_size)?;
    let name = copy_in(&mut call, "ic0.call_new name_src", name, name_size)?;
    let method = String::from_utf8_lossy(&name).into_owned();
    call.data_mut().message.effects.draft = Some(Draft {
        callee,
        method,
        payload: Vec::new(),
        cycles: 0,
        on_reply: closure(reply_function, reply_environment),
        on_reject: closure(reject_function, reject_environment),
        on_cleanup: None,
        timeout: None,
    });
    Ok(())
}

/// Forgets the call under construction; its cycles come back.
fn drop_draft(call: &mut Call<'_>) {
    let message = &mut call.data_mut().message;
    if let Some(draft) = message.effects.draft.take() {
        message.canister.balance += draft.cycles;
    }
}

fn attach(call: &mut Call<'_>, api: &str, cycles: u128) -> Answer<()> {
    draft(call, api)?;
    let held = call.data().bytes_held();
    let message = &mut call.data_mut().message;
    let frozen = fees::freezing_threshold(held, message.canister.freezing_seconds);
    if message.canister.balance < frozen.saturating_add(cycles) {
        let text = format!("Canister {} is out of cycles", message.canister.id);
        return Err(fail(Failure::Refused(text)));
    }
    message.canister.balance -= cycles;
    if let Some(draft) = &mut message.effects.draft {
        draft.cycles += cycles;
    }
    Ok(())
}

fn perform(mut call: Call<'_>) -> Answer<i32> {
    enter(&mut call, "call_perform", mode::CALL, CALL_PERFORM.base)?;
    draft(&mut call, "ic0.call_perform")?;
    let held = call.data().bytes_held();
    let message = &mut call.data_mut().message;
    let Some(draft) = message.effects.draft.take() else { return Ok(0) };
    if (draft.method.len() + draft.payload.len()) as u64 > REQUEST_BYTES {
        return Err(fail(too_long(&draft, 0)));
    }
    let under_way = waiting(&message.canister.outstanding, &message.effects.calls, draft.callee);
    let free = !message.mode.is_replicated();
    let cost = if free { 0 } else { fees::call(draft.method.len(), draft.payload.len()) };
    let frozen = if free { 0 } else { fees::freezing_threshold(held, message.canister.freezing_seconds) };
    if under_way >= OUTSTANDING || message.canister.balance < frozen.saturating_add(cost) {
        message.canister.balance += draft.cycles;
        return Ok(2);
    }
    message.canister.balance -= cost;
    message.effects.calls.push(draft);
    Ok(0)
}

fn waiting(before: &BTreeMap<Principal, usize>, now: &[Draft], callee: Principal) -> usize {
    before.get(&callee).copied().unwrap_or(0) + now.iter().filter(|call| call.callee == callee).count()
}
