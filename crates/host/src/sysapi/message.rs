//! Argument, caller, answer: the calls named `msg_*` but those about cycles, and `accept_message`.

use wasmtime::Linker;

use super::{Answer, Call, Ctx, Mode, copy_in, copy_out, enter, fail, mode, split};
use crate::failure::Failure;
use crate::message;
use crate::wasm::cost::api::{DEFAULT, PAYLOAD};

/// Longest reply of an update, in bytes: 2 MiB.
const REPLY_BYTES: u64 = 2 << 20;
/// Longest reply of a query: 3 MiB.
const QUERY_REPLY_BYTES: u64 = 3 << 20;

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.func_wrap("ic0", "msg_arg_data_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "msg_arg_data_size", mode::PAYLOAD, DEFAULT.base)?;
        Ok(call.data().message.payload.len() as i32)
    })?;
    linker.func_wrap("ic0", "msg_arg_data_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "msg_arg_data_copy";
        enter(&mut call, api, mode::PAYLOAD, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "payload", (to, at, size), |message| &message.payload)
    })?;
    linker.func_wrap("ic0", "msg_caller_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "msg_caller_size", mode::AFTER_START, DEFAULT.base)?;
        Ok(call.data().message.caller.as_slice().len() as i32)
    })?;
    linker.func_wrap("ic0", "msg_caller_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "msg_caller_copy";
        enter(&mut call, api, mode::AFTER_START, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "id", (to, at, size), |message| message.caller.as_slice())
    })?;
    linker.func_wrap("ic0", "msg_reject_code", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "msg_reject_code", mode::CALLBACK, DEFAULT.base)?;
        Ok(call.data().message.rejected.as_ref().map_or(0, |(code, _)| *code as i32))
    })?;
    linker.func_wrap("ic0", "msg_reject_msg_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "msg_reject_msg_size", mode::REJECTED, DEFAULT.base)?;
        Ok(reject_text(&call.data().message).len() as i32)
    })?;
    linker.func_wrap("ic0", "msg_reject_msg_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "msg_reject_msg_copy";
        enter(&mut call, api, mode::REJECTED, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "msg", (to, at, size), reject_text)
    })?;
    linker.func_wrap("ic0", "msg_deadline", |mut call: Call<'_>| -> Answer<i64> {
        enter(&mut call, "msg_deadline", mode::ANSWER, DEFAULT.base)?;
        Ok(call.data().message.deadline.unwrap_or(0) as i64)
    })?;
    linker.func_wrap("ic0", "msg_reply_data_append", append)?;
    linker.func_wrap("ic0", "msg_reply", reply)?;
    linker.func_wrap("ic0", "msg_reject", reject)?;
    linker.func_wrap("ic0", "msg_method_name_size", |mut call: Call<'_>| -> Answer<i32> {
        enter(&mut call, "msg_method_name_size", mode::INSPECT, DEFAULT.base)?;
        Ok(call.data().message.method.len() as i32)
    })?;
    linker.func_wrap("ic0", "msg_method_name_copy", |mut call: Call<'_>, to: i32, at: i32, size: i32| {
        let api = "msg_method_name_copy";
        enter(&mut call, api, mode::INSPECT, DEFAULT.of(u64::from(size as u32)))?;
        copy_out(&mut call, api, "payload", (to, at, size), |message| message.method.as_bytes())
    })?;
    linker.func_wrap("ic0", "accept_message", |mut call: Call<'_>| -> Answer<()> {
        enter(&mut call, "accept_message", mode::INSPECT, DEFAULT.base)?;
        if std::mem::replace(&mut call.data_mut().message.effects.let_in, true) {
            let text = "ic0.accept_message: the function was already called.";
            return Err(fail(Failure::Contract(text.into())));
        }
        Ok(())
    })?;
    Ok(())
}

fn reject_text(message: &message::Message) -> &[u8] {
    message.rejected.as_ref().map_or(&[], |(_, text)| text.as_bytes())
}

/// Refuses a second answer.
fn open(call: &Call<'_>, api: &str, end: &str) -> Answer<()> {
    let message = &call.data().message;
    if message.answered || message.effects.answer.is_some() {
        let text = format!("ic0.{api}: the call is already replied{end}");
        return Err(fail(Failure::Contract(text)));
    }
    Ok(())
}

fn limit(mode: Mode) -> u64 {
    if mode.is_replicated() { REPLY_BYTES } else { QUERY_REPLY_BYTES }
}

fn append(mut call: Call<'_>, from: i32, size: i32) -> Answer<()> {
    let api = "msg_reply_data_append";
    let size = u64::from(size as u32);
    enter(&mut call, api, mode::ANSWER, PAYLOAD.of(size))?;
    open(&call, api, ".")?;
    let message = &call.data().message;
    let total = message.effects.reply_data.len() as u64 + size;
    let limit = limit(message.mode);
    if total > limit {
        return Err(fail(Failure::ReplyTooLong { api, size: total, limit }));
    }
    let (heap, ctx) = split(&mut call);
    let source = super::range("msg.reply", from as u32, size as u32, heap.len()).map_err(fail)?;
    ctx.message.effects.reply_data.extend_from_slice(&heap[source]);
    Ok(())
}

fn reply(mut call: Call<'_>) -> Answer<()> {
    enter(&mut call, "msg_reply", mode::ANSWER, DEFAULT.base)?;
    open(&call, "msg_reply", "")?;
    let effects = &mut call.data_mut().message.effects;
    effects.answer = Some(message::Answer::Reply(std::mem::take(&mut effects.reply_data)));
    Ok(())
}

fn reject(mut call: Call<'_>, from: i32, size: i32) -> Answer<()> {
    let api = "msg_reject";
    let bytes = u64::from(size as u32);
    enter(&mut call, api, mode::ANSWER, PAYLOAD.of(bytes))?;
    open(&call, api, "")?;
    let limit = limit(call.data().message.mode);
    if bytes > limit {
        return Err(fail(Failure::ReplyTooLong { api, size: bytes, limit }));
    }
    let text = copy_in(&mut call, "ic0.msg_reject", from, size)?;
    let text = String::from_utf8(text)
        .map_err(|_| fail(Failure::Contract("ic0.msg_reject: invalid UTF-8 string provided".into())))?;
    call.data_mut().message.effects.answer = Some(message::Answer::Reject(text));
    Ok(())
}
