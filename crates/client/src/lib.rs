//! What a caller of ic-nn does: a typed call per service method, and as one what takes several: an upload, a tensor in parts, a
//! deletion that knows what it deletes.
//!
//! [`Client`] speaks over any [`Transport`]. Feature `host` brings [`ReplicaTransport`], which calls a canister in
//! this process; feature `agent` brings [`AgentTransport`], which calls one over HTTP. Nothing here prints, asks
//! or keeps files, and nothing here trusts what the other side answers beyond its Candid type.
//!
//! ```
//! use ic_nn_client::{CallError, Client, Transport};
//!
//! struct Silent;
//! impl Transport for Silent {
//!     fn update(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, CallError> {
//!         Err(CallError::unreachable("nowhere", "no answer"))
//!     }
//!     fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
//!         self.update(method, arg)
//!     }
//! }
//! assert!(Client::new(Silent).describe("digits").is_err());
//! ```

mod client;
mod error;
mod transport;
mod upload;

pub use client::{Client, Deletion, fits_a_call};
pub use error::{CallError, ClientError, RejectCode};
#[cfg(feature = "host")]
pub use transport::ReplicaTransport;
pub use transport::Transport;
#[cfg(feature = "agent")]
pub use transport::{AgentTransport, ConnectError, is_local};
pub use upload::UploadEvent;
