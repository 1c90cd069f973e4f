//! How bytes reach the canister: one method for updates, one for queries.
//!
//! A transport neither encodes nor decodes Candid and does not retry: the client decides what may be repeated.

use std::time::Duration;

use crate::CallError;

#[cfg(feature = "agent")]
mod agent;
#[cfg(feature = "host")]
mod replica;

#[cfg(feature = "agent")]
pub use agent::{AgentTransport, ConnectError, is_local};
#[cfg(feature = "host")]
pub use replica::ReplicaTransport;

/// A way to one canister for one caller. Calls block until they are answered.
pub trait Transport {
    /// An update call: ordered, certified, may change state.
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError>;

    /// A query call: answered by one node, changes nothing.
    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError>;

    /// Lets time pass before a call is repeated.
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

impl<T: Transport + ?Sized> Transport for &T {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        (**self).update(method, arg)
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        (**self).query(method, arg)
    }

    fn pause(&self, duration: Duration) {
        (**self).pause(duration);
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        (**self).update(method, arg)
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        (**self).query(method, arg)
    }

    fn pause(&self, duration: Duration) {
        (**self).pause(duration);
    }
}
