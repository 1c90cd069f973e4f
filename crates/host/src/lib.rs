//! The embedded host: runs Internet Computer canisters without a replica, and meters them to the instruction.

mod replica;
pub mod wasm;

pub use replica::{
    CallId, Canister, CanisterSettings, CanisterState, CanisterStatus, InstallMode, LogLine, Reject,
    RejectCode, Replica,
};
