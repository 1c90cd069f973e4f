//! The Internet Computer's HTTP interface over the embedded host, so that agents can be tried against the canister's real
//! wasm without a replica.
//!
//! Certificates, query signatures and request ids are real, so agents verify as they do against the Internet Computer; what
//! is not real is who signs. The subnet is the root subnet and has one node, and both keys come from seeds in this file's
//! neighbours: whoever has the source can sign. Only tests may trust a gateway, and it listens on this machine alone.
//!
//! What is left out: delegated identities, canister signatures, subnet-wide calls, metrics, pruned certificates.

mod authority;
mod call;
mod deployment;
mod endpoint;
mod envelope;
pub mod fences;
mod gateway;
mod state;

pub use deployment::{Deployment, repository};
pub use envelope::EnvelopeError;
pub use gateway::{Calls, Gateway};
