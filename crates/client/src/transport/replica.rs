//! Calls a canister of a replica in this process.

use std::ops::Deref;
use std::time::Duration;

use candid::Principal;
use ic_nn_host::{Canister, Reject, Replica};

use crate::{CallError, RejectCode, Transport};

/// A [`Transport`] over something that holds a [`Replica`]: `&dyn Replica`, `&Host`, `Arc<Host>`.
pub struct ReplicaTransport<R> {
    replica: R,
    canister: Canister,
    sender: Principal,
}

impl<R> ReplicaTransport<R>
where
    R: Deref,
    R::Target: Replica,
{
    /// Calls `canister` on `replica` as `sender`.
    pub fn new(replica: R, canister: Canister, sender: Principal) -> Self {
        ReplicaTransport { replica, canister, sender }
    }
}

impl<R> Transport for ReplicaTransport<R>
where
    R: Deref,
    R::Target: Replica,
{
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.replica.update(self.canister, self.sender, method, arg).map_err(CallError::from)
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.replica.query(self.canister, self.sender, method, arg).map_err(CallError::from)
    }

    /// Time in a replica of this process is its own: it is moved forward, nobody waits.
    fn pause(&self, duration: Duration) {
        self.replica.advance_time(duration);
        self.replica.tick();
    }
}

impl From<Reject> for CallError {
    fn from(reject: Reject) -> Self {
        CallError::Rejected {
            code: match reject.code {
                ic_nn_host::RejectCode::SysFatal => RejectCode::SysFatal,
                ic_nn_host::RejectCode::SysTransient => RejectCode::SysTransient,
                ic_nn_host::RejectCode::DestinationInvalid => RejectCode::DestinationInvalid,
                ic_nn_host::RejectCode::CanisterReject => RejectCode::CanisterReject,
                ic_nn_host::RejectCode::CanisterError => RejectCode::CanisterError,
                ic_nn_host::RejectCode::SysUnknown => RejectCode::SysUnknown,
            },
            error_code: reject.error_code,
            message: reject.message,
        }
    }
}
