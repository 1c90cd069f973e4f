//! The embedded host: runs Internet Computer canisters without a replica, and meters them to the instruction.
//!
//! ```
//! use candid::Principal;
//! use ic_nn_host::{CanisterSettings, Host, InstallMode, Replica};
//!
//! let host = Host::builder().schedule("2025-10").build()?;
//! let me = Principal::anonymous();
//! let canister = host.create_canister(me, CanisterSettings::default());
//! host.install(canister, me, InstallMode::Install, b"\0asm\x01\0\0\0", b"DIDL\0\0")?;
//! assert!(host.update(canister, me, "nothing", b"DIDL\0\0").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod canister;
mod cost;
mod engine;
mod executor;
mod failure;
mod heap;
mod host;
mod ingress;
mod install;
mod log;
mod management;
mod message;
mod query;
mod random;
mod replica;
mod run;
mod snapshot;
mod stable;
mod subnet;
mod sysapi;
pub mod wasm;
mod world;

pub use cost::CallCost;
pub use host::{Host, HostBuilder, HostError};
pub use replica::{
    CallId, Canister, CanisterSettings, CanisterState, CanisterStatus, InstallMode, LogLine, Reject,
    RejectCode, Replica, UploadedModule,
};
