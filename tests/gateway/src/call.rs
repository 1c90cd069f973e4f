//! Calls that were let in, by request id: who made them and what came of them.
//!
//! A request id is executed once, however often it is sent, and what came of it is told to its sender alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candid::Principal;
use ic_nn_host::Reject;
use ic_transport_types::RequestId;

/// What became of a call.
#[derive(Clone)]
pub enum CallStatus {
    /// It is under way.
    Processing,
    /// It was answered.
    Answered(Result<Vec<u8>, Reject>),
}

/// The calls of a gateway's life.
#[derive(Default)]
pub struct CallRecords(Mutex<HashMap<RequestId, (Principal, CallStatus)>>);

impl CallRecords {
    /// What is known of a call, and whose it is.
    pub fn get(&self, id: &RequestId) -> Option<(Principal, CallStatus)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Writes down a call or what became of it.
    pub fn set(&self, id: RequestId, sender: Principal, status: CallStatus) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (sender, status));
    }
}
