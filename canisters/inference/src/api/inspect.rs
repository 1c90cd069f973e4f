//! `inspect_message`: ingress that would be refused is dropped before the canister pays for it.
//!
//! This is economy, not protection: it runs on one node, and calls between canisters do not pass it. Every endpoint
//! checks for itself.

use crate::authority::{Admin, Controller};

#[ic_cdk::inspect_message]
fn inspect_message() {
    let allowed = match ic_cdk::api::msg_method_name().as_str() {
        "upload_begin" | "upload_chunk" | "upload_commit" | "upload_abort" | "delete" | "load_by_name"
        | "unload" => Admin::check().is_ok(),
        "add_admin" | "remove_admin" => Controller::check().is_ok(),
        // What the canister, or its CDK's timers, call on the canister itself.
        method => !method.starts_with("ic_nn_internal_") && !method.starts_with("<ic-cdk internal>"),
    };
    if allowed {
        ic_cdk::api::accept_message();
    }
}
