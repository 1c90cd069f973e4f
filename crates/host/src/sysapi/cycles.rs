//! Cycles: balances, what came with a call, burning, and what things would cost.

use wasmtime::Linker;

use super::{Answer, Call, Ctx, copy_in, enter, mode, put_u128};
use crate::subnet::fees;
use crate::wasm::cost::api::DEFAULT;

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    balances(linker)?;
    brought(linker)?;
    linker.func_wrap("ic0", "cycles_burn128", |mut call: Call<'_>, high: i64, low: i64, to: i32| {
        enter(&mut call, "cycles_burn128", mode::REPLICATED, DEFAULT.base)?;
        let wanted = u128::from(high as u64) << 64 | u128::from(low as u64);
        let burned = wanted.min(liquid(&call));
        let message = &mut call.data_mut().message;
        message.canister.balance -= burned;
        message.effects.burned += burned;
        put_u128(&mut call, "cycles_burn128", to, burned)
    })?;
    linker.func_wrap(
        "ic0",
        "mint_cycles128",
        |mut call: Call<'_>, _: i64, _: i64, _: i32| -> Answer<()> {
            enter(&mut call, "mint_cycles128", mode::NOWHERE, DEFAULT.base)
        },
    )?;
    costs(linker)?;
    key_costs(linker)
}

fn balances(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "canister_cycle_balance128", |mut call: Call<'_>, to: i32| {
        enter(&mut call, "canister_cycle_balance128", mode::AFTER_START, DEFAULT.base)?;
        let balance = call.data().message.canister.balance;
        put_u128(&mut call, "canister_cycle_balance128", to, balance)
    })?;
    linker.func_wrap("ic0", "canister_cycle_balance", |mut call: Call<'_>| -> Answer<i64> {
        enter(&mut call, "canister_cycle_balance", mode::AFTER_START, DEFAULT.base)?;
        narrow(call.data().message.canister.balance)
    })?;
    linker.func_wrap("ic0", "canister_liquid_cycle_balance128", |mut call: Call<'_>, to: i32| {
        enter(&mut call, "canister_liquid_cycle_balance128", mode::AFTER_START, DEFAULT.base)?;
        let liquid = liquid(&call);
        put_u128(&mut call, "canister_liquid_cycle_balance128", to, liquid)
    })?;
    Ok(())
}

/// What could be spent without freezing the canister.
fn liquid(call: &Call<'_>) -> u128 {
    let canister = &call.data().message.canister;
    let frozen = fees::freezing_threshold(call.data().bytes_held(), canister.freezing_seconds);
    canister.balance.saturating_sub(frozen)
}

/// For the calls with 64 bits, which trap on more.
fn narrow(cycles: u128) -> Answer<i64> {
    match u64::try_from(cycles) {
        Ok(cycles) => Ok(cycles as i64),
        Err(_) => {
            let text = format!("ic0_cycles: the amount {cycles} does not fit in 64 bits");
            Err(super::fail(crate::failure::Failure::Contract(text)))
        }
    }
}

fn brought(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "msg_cycles_available128", |mut call: Call<'_>, to: i32| {
        enter(&mut call, "msg_cycles_available128", mode::CYCLES, DEFAULT.base)?;
        let available = call.data().message.available;
        put_u128(&mut call, "msg_cycles_available128", to, available)
    })?;
    linker.func_wrap("ic0", "msg_cycles_available", |mut call: Call<'_>| -> Answer<i64> {
        enter(&mut call, "msg_cycles_available", mode::CYCLES, DEFAULT.base)?;
        narrow(call.data().message.available)
    })?;
    linker.func_wrap("ic0", "msg_cycles_refunded128", |mut call: Call<'_>, to: i32| {
        enter(&mut call, "msg_cycles_refunded128", mode::REFUND, DEFAULT.base)?;
        let refunded = call.data().message.refunded;
        put_u128(&mut call, "msg_cycles_refunded128", to, refunded)
    })?;
    linker.func_wrap("ic0", "msg_cycles_refunded", |mut call: Call<'_>| -> Answer<i64> {
        enter(&mut call, "msg_cycles_refunded", mode::REFUND, DEFAULT.base)?;
        narrow(call.data().message.refunded)
    })?;
    linker.func_wrap("ic0", "msg_cycles_accept128", |mut call: Call<'_>, high: i64, low: i64, to: i32| {
        enter(&mut call, "msg_cycles_accept128", mode::CYCLES, DEFAULT.base)?;
        let most = u128::from(high as u64) << 64 | u128::from(low as u64);
        let accepted = accept(&mut call, most);
        put_u128(&mut call, "msg_cycles_accept128", to, accepted)
    })?;
    linker.func_wrap("ic0", "msg_cycles_accept", |mut call: Call<'_>, most: i64| -> Answer<i64> {
        enter(&mut call, "msg_cycles_accept", mode::CYCLES, DEFAULT.base)?;
        narrow(accept(&mut call, u128::from(most as u64)))
    })?;
    Ok(())
}

fn accept(call: &mut Call<'_>, most: u128) -> u128 {
    let message = &mut call.data_mut().message;
    let accepted = most.min(message.available);
    message.available -= accepted;
    message.effects.accepted += accepted;
    message.canister.balance += accepted;
    accepted
}

fn costs(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "cost_call", |mut call: Call<'_>, name: i64, payload: i64, to: i32| {
        enter(&mut call, "cost_call", mode::EVERYWHERE, DEFAULT.base)?;
        put_u128(&mut call, "cost_call", to, fees::call(name as usize, payload as usize))
    })?;
    linker.func_wrap("ic0", "cost_create_canister", |mut call: Call<'_>, to: i32| {
        enter(&mut call, "cost_create_canister", mode::EVERYWHERE, DEFAULT.base)?;
        put_u128(&mut call, "cost_create_canister", to, fees::CREATE_CANISTER)
    })?;
    linker.func_wrap(
        "ic0",
        "cost_http_request",
        |mut call: Call<'_>, request: i64, response: i64, to: i32| {
            enter(&mut call, "cost_http_request", mode::EVERYWHERE, DEFAULT.base)?;
            put_u128(&mut call, "cost_http_request", to, fees::http_request(request as u64, response as u64))
        },
    )?;
    Ok(())
}

/// 0 for a key this subnet's registry knows, 1 for an unknown curve or algorithm, 2 for an unknown key.
fn key_costs(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let keys: [(&'static str, i32); 3] =
        [("cost_sign_with_ecdsa", 0), ("cost_sign_with_schnorr", 1), ("cost_vetkd_derive_key", 0)];
    for (api, kinds) in keys {
        linker.func_wrap(
            "ic0",
            api,
            move |mut call: Call<'_>, from: i32, size: i32, kind: i32, _to: i32| -> Answer<i32> {
                enter(&mut call, api, mode::EVERYWHERE, DEFAULT.of(u64::from(size as u32)))?;
                copy_in(&mut call, &format!("ic0.{api} heap"), from, size)?;
                Ok(if kind as u32 > kinds as u32 { 1 } else { 2 })
            },
        )?;
    }
    Ok(())
}
