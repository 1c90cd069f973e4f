//! What a canister may ask about itself and its surroundings: id, status, time, timer, certified data, variables,
//! performance counters.

use wasmtime::Linker;

use super::{Answer, Call, Ctx, charge, copy_in, copy_out, enter, fail, left, mode, principal, put, split};
use crate::failure::Failure;
use crate::subnet;
use crate::wasm::cost::api::{DEFAULT, IS_CONTROLLER, PERFORMANCE_COUNTER};

/// Longest name of an environment variable.
const VARIABLE_NAME_BYTES: u64 = 128;

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "canister_self_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "canister_self_size", mode::AFTER_START, DEFAULT.base)?;
        Ok(call.data().message.canister.id.as_slice().len() as i32)
    })?;
    linker.func_wrap("ic0", "canister_self_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "canister_self_copy";
        enter(&mut call, api, mode::AFTER_START, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "id", (to, at, size), |message| message.canister.id.as_slice())
    })?;
    linker.func_wrap("ic0", "canister_status", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "canister_status", mode::AFTER_START, DEFAULT.base)?;
        Ok(call.data().message.canister.status)
    })?;
    linker.func_wrap("ic0", "canister_version", |mut call: Call<'_>| -> Answer<i64> {
        enter(&mut call, "canister_version", mode::AFTER_START, DEFAULT.base)?;
        Ok(call.data().message.canister.version as i64)
    })?;
    linker.func_wrap("ic0", "time", |mut call: Call<'_>| -> Answer<i64> {
        enter(&mut call, "time", mode::AFTER_START, DEFAULT.base)?;
        Ok(call.data().message.canister.time as i64)
    })?;
    linker.func_wrap("ic0", "global_timer_set", |mut call: Call<'_>, at: i64| -> Answer<i64> {
        enter(&mut call, "global_timer_set", mode::TIMER, DEFAULT.base)?;
        let message = &mut call.data_mut().message;
        let old = message.effects.timer.replace(at as u64).unwrap_or(message.canister.timer);
        Ok(old as i64)
    })?;
    linker.func_wrap("ic0", "performance_counter", performance_counter)?;
    linker.func_wrap("ic0", "is_controller", |mut call: Call<'_>, from: i32, size: i32| -> Answer<i32> {
        enter(&mut call, "is_controller", mode::EVERYWHERE, IS_CONTROLLER.of(u64::from(size as u32)))?;
        let who = principal(&mut call, "ic0.is_controller heap", from, size)?;
        Ok(i32::from(call.data().message.canister.controllers.contains(&who)))
    })?;
    linker.func_wrap("ic0", "in_replicated_execution", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "in_replicated_execution", mode::EVERYWHERE, DEFAULT.base)?;
        Ok(i32::from(call.data().message.mode.is_replicated()))
    })?;
    certification(linker)?;
    surroundings(linker)?;
    variables(linker)
}

fn performance_counter(mut call: Call<'_>, which: i32) -> Answer<i64> {
    charge(&mut call, PERFORMANCE_COUNTER.base)?;
    let pages = call.data_mut().charge_for_touch();
    charge(&mut call, pages)?;
    let used = call.data().message.limit.saturating_add_signed(-left(&mut call));
    match which {
        0 => Ok(used as i64),
        1 => Ok((used + call.data().message.context_instructions) as i64),
        _ => {
            let text = format!("Error getting performance counter type {}", which as u32);
            Err(fail(Failure::Refused(format!("Canister violated contract: {text}"))))
        }
    }
}

fn certification(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "certified_data_set", |mut call: Call<'_>, from: i32, size: i32| {
        let bytes = u64::from(size as u32);
        enter(&mut call, "certified_data_set", mode::CERTIFY, DEFAULT.of(bytes))?;
        if bytes > 32 {
            return Err(fail(Failure::CertifiedDataTooLong(bytes)));
        }
        let data = copy_in(&mut call, "ic0.certified_data_set heap", from, size)?;
        call.data_mut().message.effects.certified_data = Some(data);
        Ok(())
    })?;
    linker.func_wrap("ic0", "data_certificate_present", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "data_certificate_present", mode::AFTER_START, DEFAULT.base)?;
        Ok(i32::from(call.data().message.canister.certificate.is_some()))
    })?;
    linker.func_wrap("ic0", "data_certificate_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "data_certificate_size", mode::CERTIFICATE, DEFAULT.base)?;
        Ok(certificate(&call.data().message)?.len() as i32)
    })?;
    linker.func_wrap("ic0", "data_certificate_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "data_certificate_copy";
        enter(&mut call, api, mode::CERTIFICATE, DEFAULT.of(u64::from(size as u32)))?;
        certificate(&call.data().message)?;
        copy_out(&mut call, api, "certificate", (to, at, size), |message| {
            message.canister.certificate.as_deref().unwrap_or_default()
        })
    })?;
    Ok(())
}

fn certificate(message: &crate::message::Message) -> Answer<&[u8]> {
    (message.canister.certificate.as_deref())
        .ok_or_else(|| fail(Failure::Contract("no data certificate is present".into())))
}

fn surroundings(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "root_key_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "root_key_size", mode::REPLICATED, DEFAULT.base)?;
        Ok(subnet::ROOT_KEY.len() as i32)
    })?;
    linker.func_wrap("ic0", "root_key_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "root_key_copy";
        enter(&mut call, api, mode::REPLICATED, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "key", (to, at, size), |_| &subnet::ROOT_KEY)
    })?;
    linker.func_wrap("ic0", "subnet_self_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "subnet_self_size", mode::AFTER_START, DEFAULT.base)?;
        Ok(subnet::ID.len() as i32)
    })?;
    linker.func_wrap("ic0", "subnet_self_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "subnet_self_copy";
        enter(&mut call, api, mode::AFTER_START, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "id", (to, at, size), |_| &subnet::ID)
    })?;
    Ok(())
}

/// The variable with this index, in the order of names.
fn variable(call: &Call<'_>, index: i32) -> Answer<String> {
    let variables = &call.data().message.canister.variables;
    variables.keys().nth(index as u32 as usize).cloned().ok_or_else(|| {
        fail(Failure::Refused(format!(
            "Environment variable index {} is out of bounds. The number of environment variables is {}.",
            index as u32,
            variables.len()
        )))
    })
}

/// A variable's name from the heap.
fn variable_name(call: &mut Call<'_>, api: &str, from: i32, size: i32) -> Answer<String> {
    if u64::from(size as u32) > VARIABLE_NAME_BYTES {
        let text = format!("ic0.{api}: Variable name is too large");
        return Err(fail(Failure::Refused(format!("Canister violated contract: {text}"))));
    }
    let name = copy_in(call, &format!("ic0.{api} heap"), from, size)?;
    String::from_utf8(name)
        .map_err(|_| fail(Failure::Contract(format!("ic0.{api}: Variable name is not valid UTF-8"))))
}

fn variable_value(call: &Call<'_>, name: &str) -> Answer<String> {
    (call.data().message.canister.variables.get(name).cloned())
        .ok_or_else(|| fail(Failure::Refused(format!("Environment variable {name} not found."))))
}

fn variables(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "env_var_count", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "env_var_count", mode::AFTER_START, DEFAULT.base)?;
        Ok(call.data().message.canister.variables.len() as i32)
    })?;
    linker.func_wrap("ic0", "env_var_name_size", |mut call: Call<'_>, index: i32| -> Answer<i32> {
        enter(&mut call, "env_var_name_size", mode::AFTER_START, DEFAULT.base)?;
        Ok(variable(&call, index)?.len() as i32)
    })?;
    linker.func_wrap(
        "ic0",
        "env_var_name_copy",
        |mut call: Call<'_>, index: i32, to: i32, at: i32, size: i32| -> Answer<()> {
            let api = "env_var_name_copy";
            enter(&mut call, api, mode::AFTER_START, DEFAULT.of(u64::from(size as u32)))?;
            let name = variable(&call, index)?;
            put(split(&mut call).0, api, "name", (to, at, size), name.as_bytes())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_name_exists",
        |mut call: Call<'_>, from: i32, size: i32| -> Answer<i32> {
            let api = "env_var_name_exists";
            enter(&mut call, api, mode::AFTER_START, DEFAULT.base)?;
            let name = variable_name(&mut call, api, from, size)?;
            Ok(i32::from(call.data().message.canister.variables.contains_key(&name)))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_value_size",
        |mut call: Call<'_>, from: i32, size: i32| -> Answer<i32> {
            let api = "env_var_value_size";
            enter(&mut call, api, mode::AFTER_START, DEFAULT.base)?;
            let name = variable_name(&mut call, api, from, size)?;
            Ok(variable_value(&call, &name)?.len() as i32)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_value_copy",
        |mut call: Call<'_>, from: i32, name_size: i32, to: i32, at: i32, size: i32| -> Answer<()> {
            let api = "env_var_value_copy";
            enter(&mut call, api, mode::AFTER_START, DEFAULT.of(u64::from(size as u32)))?;
            let name = variable_name(&mut call, api, from, name_size)?;
            let value = variable_value(&call, &name)?;
            put(split(&mut call).0, api, "value", (to, at, size), value.as_bytes())
        },
    )?;
    Ok(())
}
