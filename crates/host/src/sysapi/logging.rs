//! `debug_print` and `trap`: what a canister says to its owner.

use wasmtime::Linker;

use super::{Answer, Call, Ctx, charge, copy_in, fail};
use crate::failure::Failure;
use crate::wasm::cost::api::{DEBUG_PRINT, LOG_BYTES, PER_LOGGED_BYTE, TRAP};

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "debug_print", |mut call: Call<'_>, from: i32, size: i32| -> Answer<()> {
        let bytes = u64::from(size as u32);
        charge(&mut call, DEBUG_PRINT.of(bytes) + logged(bytes))?;
        let text = copy_in(&mut call, "ic0.debug_print", from, size)
            .unwrap_or_else(|_| b"(debug_print message out of memory bounds)".to_vec());
        call.data_mut().message.effects.log.push(text);
        Ok(())
    })?;
    linker.func_wrap("ic0", "trap", |mut call: Call<'_>, from: i32, size: i32| -> Answer<()> {
        let bytes = u64::from(size as u32);
        charge(&mut call, TRAP.of(bytes) + logged(bytes))?;
        let text = copy_in(&mut call, "ic0.trap", from, size)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_else(|_| "(trap message out of memory bounds)".to_owned());
        Err(fail(Failure::CalledTrap(text)))
    })?;
    Ok(())
}

/// What it costs that the first bytes are kept in the log.
fn logged(bytes: u64) -> u64 {
    bytes.min(LOG_BYTES) * PER_LOGGED_BYTE
}
