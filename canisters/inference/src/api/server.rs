//! The server itself: what it is, its limits, its admins.

use candid::Principal;
use ic_cdk::{query, update};
use ic_nn_types::{Error, Limits, MAX_CHUNK_BYTES, ServerMetadata, TensorType};

use super::inference::{QUERY_INSTRUCTIONS, UPDATE_INSTRUCTIONS};
use crate::authority::Controller;
use crate::wire::Arg;
use crate::{runtime, state};

#[query(hidden = true)]
pub(super) fn server_metadata() -> ServerMetadata {
    let settings = state::store(|s| s.settings());
    ServerMetadata {
        name: "ic-nn".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: vec!["model_repository".into()],
        engine: ic_nn_engine::ENGINE.into(),
        specification: "wasi:nn@0.2.0-rc-2024-10-28".into(),
        encodings: vec![format!("onnx (opset {} to {})", ic_nn_engine::MIN_OPSET, ic_nn_engine::MAX_OPSET)],
        tensor_types: TensorType::ALL.iter().map(|t| t.label().into()).collect(),
        limits: Limits {
            max_chunk_bytes: MAX_CHUNK_BYTES,
            max_model_bytes: settings.max_model_bytes,
            max_total_bytes: settings.max_total_bytes,
            max_heap_bytes: settings.max_heap_bytes,
            max_open_uploads: settings.max_open_uploads,
            update_instructions: UPDATE_INSTRUCTIONS,
            query_instructions: QUERY_INSTRUCTIONS,
        },
        heap_bytes: runtime::heap_bytes(),
        stable_bytes: ic_cdk::api::stable_size() * 65_536,
        loaded_graphs: state::residents(|r| r.len()) as u32,
    }
}

#[update(hidden = true, decode_with = "crate::wire::decode::<Principal>")]
pub(super) fn add_admin(admin: Arg<Principal>) -> Result<(), Error> {
    Controller::check()?;
    let admin = admin?;
    if admin == Principal::anonymous() {
        return Err(Error::invalid_argument("the anonymous principal is everyone; name a principal"));
    }
    Ok(state::store(|s| s.add_admin(admin))?)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<Principal>")]
pub(super) fn remove_admin(admin: Arg<Principal>) -> Result<(), Error> {
    Controller::check()?;
    let admin = admin?;
    Ok(state::store(|s| s.remove_admin(admin))?)
}

#[query(hidden = true)]
pub(super) fn list_admins() -> Vec<Principal> {
    state::store(|s| s.admins())
}
