//! Arguments off the wire and replies' sizes: a caller that sends no Candid, or too much, gets an error and no trap.

use candid::utils::ArgumentDecoder;
use candid::{CandidType, DecoderConfig};
use ic_nn_types::{Error, NamedTensor, OutputRange};
use serde::de::DeserializeOwned;

/// An endpoint's argument as it came: the value, or why it is none.
pub(crate) type Arg<T> = Result<T, Error>;

/// Work that decoding an argument may take, in Candid's units (about a byte read each; a message holds 2 MiB, 10 MiB
/// between canisters of a subnet). Bounds arguments that are small on the wire and vast in the heap.
const DECODING_QUOTA: usize = 100_000_000;
/// Work that skipping what is not asked for may take.
const SKIPPING_QUOTA: usize = 10_000;

/// Bytes of a reply that are not tensors: Candid's type table, the other fields, and room for clients that are older.
pub(crate) const REPLY_OVERHEAD: usize = 4_096;

/// Largest reply of an update, and of a query.
pub(crate) const MAX_UPDATE_REPLY: usize = 2_097_152;
/// Largest reply of a query.
pub(crate) const MAX_QUERY_REPLY: usize = 3_145_728;

/// Decodes an endpoint's one argument.
pub(crate) fn decode<T: CandidType + DeserializeOwned>(bytes: Vec<u8>) -> Arg<T> {
    decode_all::<(T,)>(bytes).map(|(argument,)| argument)
}

/// Decodes an endpoint's arguments; optional ones at the end may be absent.
pub(crate) fn decode_all<T: for<'a> ArgumentDecoder<'a>>(bytes: Vec<u8>) -> Arg<T> {
    let mut config = DecoderConfig::new();
    config
        .set_decoding_quota(DECODING_QUOTA)
        .set_skipping_quota(SKIPPING_QUOTA)
        .set_full_error_message(false);
    candid::utils::decode_args_with_config(&bytes, &config).map_err(|e| {
        Error::invalid_argument(format!("the argument does not decode: {e}; see candid:service metadata"))
    })
}

/// Which bytes of a tensor of `total` a reply to this query has: first one and count.
pub(crate) fn part(name: &str, total: u64, range: Option<OutputRange>) -> Result<(u64, u64), Error> {
    let range = range.unwrap_or_default();
    let reply = if ic_cdk::api::in_replicated_execution() { MAX_UPDATE_REPLY } else { MAX_QUERY_REPLY };
    let holds = (reply - REPLY_OVERHEAD) as u64;
    let limit = range.limit.unwrap_or(holds).min(holds);
    match range.offset {
        None if total > limit => Err(Error::too_large(format!(
            "output `{name}` has {total} bytes, the limit is {limit}; give an offset to fetch it in parts"
        ))),
        None => Ok((0, total)),
        Some(offset) if offset > total => Err(Error::invalid_argument(format!(
            "offset {offset} is behind the end of output `{name}`, which has {total} bytes"
        ))),
        Some(offset) => Ok((offset, limit.min(total - offset))),
    }
}

/// Refuses outputs that no reply of `limit` bytes can carry.
pub(crate) fn check_reply(outputs: &[NamedTensor], limit: usize) -> Result<(), Error> {
    let bytes = outputs
        .iter()
        .map(|(name, t)| name.len() + t.data.len() + 5 * t.dimensions.len() + 32)
        .sum::<usize>();
    if bytes + REPLY_OVERHEAD <= limit {
        return Ok(());
    }
    let shapes: Vec<_> =
        outputs.iter().map(|(name, t)| format!("`{name}` {} {:?}", t.ty, t.dimensions)).collect();
    Err(Error::too_large(format!(
        "the outputs take {bytes} bytes ({}), a reply here holds {limit}; a query's reply holds {MAX_QUERY_REPLY}, an update's \
         {MAX_UPDATE_REPLY}",
        shapes.join(", ")
    )))
}
