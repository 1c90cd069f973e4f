//! `inspect_message`: ingress that would be refused is dropped before the canister pays for it.
//!
//! This is economy, not protection: it runs on one node, and calls between canisters do not pass it. Every endpoint
//! checks for itself.

use crate::authority::{Admin, Uploader, may_spend};

#[ic_cdk::inspect_message]
fn inspect_message() {
    let allowed = match ic_cdk::api::msg_method_name().as_str() {
        "upload_begin"
        | "upload_chunk"
        | "upload_commit"
        | "upload_abort"
        | "append_chunk"
        | "append_parallel_chunk"
        | "delete"
        | "set_label"
        | "remove_label"
        | "retire"
        | "restore"
        | "load"
        | "load_by_name"
        | "unload"
        | "set_property" => Uploader::check().is_ok(),
        "grant_role" | "revoke_role" | "set_version_policy" | "set_access_policy" | "set_price"
        | "set_caller_quota" => Admin::check().is_ok(),
        "infer"
        | "profile"
        | "quantization_error"
        | "verify_receipt"
        | "init_execution_context"
        | "set_input"
        | "compute"
        | "finalize_execution_context"
        | "job_submit"
        | "job_cancel" => may_spend(),
        // What the canister calls on itself.
        method => !method.starts_with("ic_nn_internal_"),
    };
    if allowed {
        ic_cdk::api::accept_message();
    }
}
