//! What a subnet of 13 nodes takes, in cycles.
//!
//! Owns the formulas. Each is checked against the recorded corpus to the last unit.

use candid::Principal;

/// For an update message executed, whatever it does.
pub(crate) const EXECUTION: u128 = 5_000_000;
/// For an ingress message taken in.
const INGRESS: u128 = 1_200_000;
/// For each of its bytes.
const INGRESS_BYTE: u128 = 2_000;
/// For a call to another canister.
const CALL: u128 = 260_000;
/// For each byte of a call or a response.
pub(crate) const CALL_BYTE: u128 = 1_000;
/// Longest response a call has to be able to pay for.
const RESPONSE_BYTES: u128 = 2 << 20;
/// For a canister.
pub(crate) const CREATE_CANISTER: u128 = 500_000_000_000;
/// For each byte of memory and second, times 2^30.
const GIB_SECOND: u128 = 127_000;

const SECONDS_PER_DAY: u128 = 24 * 3600;

/// For one message that took this many instructions: 1 cycle each.
pub(crate) fn execution(instructions: u64) -> u128 {
    EXECUTION + u128::from(instructions)
}

/// Set aside for the answer to a call: the longest response.
pub(crate) fn response() -> u128 {
    RESPONSE_BYTES * CALL_BYTE
}

/// Set aside for a message that may take this many instructions.
pub(crate) fn prepaid(limit: u64) -> u128 {
    execution(limit)
}

/// Sending a request, without what is set aside for its answer.
pub(crate) fn request(method: usize, payload: usize) -> u128 {
    CALL + CALL_BYTE * (method as u128 + payload as u128)
}

/// What a call must find: the request, the longest response and a callback of the full length.
pub(crate) fn call(method: usize, payload: usize) -> u128 {
    request(method, payload) + response() + prepaid(super::limits::UPDATE)
}

/// Taking in an ingress message of this many bytes.
pub(crate) fn ingress(bytes: u64) -> u128 {
    INGRESS + INGRESS_BYTE * u128::from(bytes)
}

/// Bytes of the envelope of an ingress message without signature: 121, name and argument as CBOR strings, and what a
/// sender is longer than the anonymous one.
pub(crate) fn envelope(sender: Principal, method: &str, arg: &[u8]) -> u64 {
    let sender_bytes = sender.as_slice().len() as u64;
    let more = if sender_bytes > 1 { cbor(sender_bytes) - cbor(1) } else { 0 };
    121 + cbor(method.len() as u64) + cbor(arg.len() as u64) + more
}

/// Length of a CBOR string of `n` bytes, less the byte that every string has.
fn cbor(n: u64) -> u64 {
    let head = match n {
        0..24 => 0,
        24..256 => 1,
        256..65_536 => 2,
        _ => 4,
    };
    n + head
}

/// Nanoseconds between two charges for storage.
pub(crate) const STORAGE_INTERVAL: u64 = 10_000_000_000;

/// Holding `bytes` for so long.
pub(crate) fn storage(bytes: u64, nanos: u64) -> u128 {
    const NANOS: u128 = 1_000_000_000;
    u128::from(bytes) * GIB_SECOND * u128::from(nanos) / (1 << 30) / NANOS
}

/// Cycles burned in a day for holding `bytes`.
pub(crate) fn idle_per_day(bytes: u64) -> u128 {
    u128::from(bytes) * GIB_SECOND * SECONDS_PER_DAY / (1 << 30)
}

/// Balance below which a canister that holds `bytes` is frozen.
pub(crate) fn freezing_threshold(bytes: u64, seconds: u64) -> u128 {
    idle_per_day(bytes) * u128::from(seconds) / SECONDS_PER_DAY
}

/// An HTTPS outcall, as the subnet would charge it.
pub(crate) fn http_request(request: u64, response: u64) -> u128 {
    (3_000_000 + 60_000 * 13 + 400 * u128::from(request) + 800 * u128::from(response)) * 13
}
