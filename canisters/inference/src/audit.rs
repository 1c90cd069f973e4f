//! The audit log's pen: every change that a permitted caller made or tried. Refusals for want of permission are not
//! written, so that a stranger cannot turn the log over.

use candid::Principal;
use ic_nn_types::Error;

use crate::state;

/// Writes down what came of a method, and passes it on.
pub(crate) fn of<T>(
    caller: Principal,
    method: &str,
    subject: &str,
    result: Result<T, Error>,
) -> Result<T, Error> {
    let error = result.as_ref().err().map(|e| e.to_string());
    state::store(|s| s.record(ic_cdk::api::time(), caller, method, subject, error.as_deref()));
    result
}
