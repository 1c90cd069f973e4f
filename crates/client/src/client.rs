//! One method per method of the service, named and typed as `candid/ic_nn.did` has them, a file for each family; and on top
//! of them what takes several calls: whole tensors in parts, and what a deletion means.

use candid::CandidType;
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use ic_nn_types::Error;

use crate::{CallError, ClientError, Transport};

mod access;
mod contexts;
mod graphs;
mod inference;
mod jobs;
mod registry;
mod server;
mod uploads;
mod whole;

pub use registry::Deletion;
pub use whole::fits_a_call;

/// A caller of the service.
pub struct Client<T> {
    transport: T,
}

impl<T: Transport> Client<T> {
    /// A client that calls over `transport`.
    pub fn new(transport: T) -> Self {
        Client { transport }
    }

    /// What the calls go over.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// An update that answers `variant { Ok; Err : error }`.
    fn update<R>(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<R, ClientError>
    where
        R: CandidType + for<'a> serde::Deserialize<'a>,
    {
        fallible(method, self.transport.update(method, &encode(method, args)?))
    }

    /// A query that answers `variant { Ok; Err : error }`.
    fn query<R>(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<R, ClientError>
    where
        R: CandidType + for<'a> serde::Deserialize<'a>,
    {
        fallible(method, self.transport.query(method, &encode(method, args)?))
    }

    /// A query that cannot fail.
    fn told<R>(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<R, ClientError>
    where
        R: CandidType + for<'a> serde::Deserialize<'a>,
    {
        let (answer,): (R,) = decode(method, self.transport.query(method, &encode(method, args)?))?;
        Ok(answer)
    }

    /// An update that answers nothing, and rejects where it fails.
    fn silent(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<(), ClientError> {
        decode(method, self.transport.update(method, &encode(method, args)?))
    }
}

fn encode(method: &'static str, args: impl ArgumentEncoder) -> Result<Vec<u8>, ClientError> {
    candid::encode_args(args).map_err(|e| ClientError::Decode { method, message: e.to_string() })
}

fn decode<R>(method: &'static str, reply: Result<Vec<u8>, CallError>) -> Result<R, ClientError>
where
    R: for<'a> ArgumentDecoder<'a>,
{
    let reply = reply.map_err(|error| ClientError::Call { method, error })?;
    candid::decode_args(&reply).map_err(|e| ClientError::Decode { method, message: e.to_string() })
}

/// A reply of type `variant { Ok; Err : error }`.
fn fallible<R>(method: &'static str, reply: Result<Vec<u8>, CallError>) -> Result<R, ClientError>
where
    R: CandidType + for<'a> serde::Deserialize<'a>,
{
    let (result,): (Result<R, Error>,) = decode(method, reply)?;
    result.map_err(|error| ClientError::Service { method, error })
}

#[cfg(test)]
mod tests;
