//! Why an execution ended without its end, in the replica's words and codes.
//!
//! Owns the wording: a caller pays for every byte of a reject message, so texts are part of the price. Decides nothing.

use candid::Principal;
use thiserror::Error;

use crate::replica::{Reject, RejectCode};
use crate::wasm::InvalidModule;

/// How an execution failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A trap of the wasm machine.
    #[error("Canister trapped: {0}")]
    Trap(&'static str),
    /// `ic0.trap`.
    #[error("Canister called `ic0.trap` with message: '{0}'")]
    CalledTrap(String),
    /// A System API call broke a rule.
    #[error("Canister violated contract: {0}")]
    Contract(String),
    /// A System API call that is not allowed here.
    #[error("Canister violated contract: \"ic0_{api}\" cannot be executed in {mode} mode")]
    WrongMode { api: &'static str, mode: &'static str },
    /// A reply that is too long.
    #[error(
        "Canister violated contract: ic0.{api}: application payload size ({size}) cannot be larger than {limit}."
    )]
    ReplyTooLong { api: &'static str, size: u64, limit: u64 },
    /// A request that is too long.
    #[error(
        "Canister violated contract: Request to {callee}:{method} has a payload size of {size}, which exceeds the \
         allowed limit of {limit}."
    )]
    RequestTooLong { callee: Principal, method: String, size: u64, limit: u64 },
    /// Certified data that is too long.
    #[error(
        "Canister violated contract: ic0_certified_data_set failed because the passed data must be no larger than 32 \
         bytes. Found {0} bytes"
    )]
    CertifiedDataTooLong(u64),
    /// Bytes that are no principal.
    #[error("Canister provided invalid principal id")]
    InvalidPrincipal,
    /// Other refusals, said in full.
    #[error("{0}")]
    Refused(String),
    /// The instruction limit.
    #[error("Canister exceeded the limit of {0} instructions for single message execution.")]
    InstructionLimit(u64),
    /// The limit of stable memory touched.
    #[error(
        "Canister exceeded memory access limits: Exceeded the limit for the number of {kind} pages in the stable memory \
         in a single message execution: limit {limit_kib} KB"
    )]
    MemoryAccessLimit { kind: &'static str, limit_kib: u64 },
    /// The limit of the wasm heap.
    #[error(
        "Canister exceeded its current Wasm memory limit of {limit} bytes. The peak Wasm memory usage was {peak} bytes. \
         If the canister reaches 4GiB, then it may stop functioning and may become unrecoverable. Please reach out to \
         the canister owner to investigate the reason for the increased memory usage. It might be necessary to move \
         data from the Wasm memory to the stable memory. If such high Wasm memory usage is expected and safe, then the \
         developer can increase the Wasm memory limit in the canister settings."
    )]
    WasmMemoryLimit { limit: u64, peak: u64 },
    /// A callback that is not in the table.
    #[error("Canister requested to invoke a non-existent Wasm function {0} from table 0")]
    NoSuchFunction(u32),
    /// A method that is not exported.
    #[error("Canister has no {kind} method '{name}'.")]
    NoSuchMethod { kind: &'static str, name: String },
    /// A canister without code.
    #[error("Attempted to execute a message, but the canister contains no Wasm module.")]
    NoModule,
    /// A module that is refused.
    #[error("Canister's Wasm module is not valid: {0}")]
    InvalidModule(InvalidModule),
    /// A module the engine does not take.
    #[error("Canister encountered a Wasm engine error: {0}")]
    Engine(String),
}

const DOCUMENTATION: &str = "https://internetcomputer.org/docs/current/references/execution-errors";
const TOOLCHAIN: &str = "If you are running this canister in a test environment (e.g., dfx), make sure the test \
                         environment is up to date. Otherwise, this is likely an error with the compiler/CDK toolchain \
                         being used to build the canister. Please report the error to IC devs on the forum: \
                         https://forum.dfinity.org and include which language/CDK was used to create the canister.";
const HANDLE: &str =
    "Consider gracefully handling failures from this canister or altering the canister to handle exceptions.";

impl Failure {
    /// The replica's number for it.
    fn number(&self) -> u16 {
        match self {
            Self::Trap(_) => 502,
            Self::CalledTrap(_) => 503,
            Self::Contract(_)
            | Self::WrongMode { .. }
            | Self::ReplyTooLong { .. }
            | Self::RequestTooLong { .. }
            | Self::CertifiedDataTooLong(_)
            | Self::InvalidPrincipal
            | Self::Refused(_) => 504,
            Self::InvalidModule(_) => 505,
            Self::NoSuchFunction(_) => 513,
            Self::Engine(_) => 521,
            Self::InstructionLimit(_) => 522,
            Self::MemoryAccessLimit { .. } => 524,
            Self::NoSuchMethod { .. } => 536,
            Self::NoModule => 537,
            Self::WasmMemoryLimit { .. } => 539,
        }
    }

    /// What to do about it, and the chapter that says more.
    fn advice(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some(match self {
            Self::Trap(_) => (HANDLE, Some("trapped")),
            Self::CalledTrap(_) => (HANDLE, Some("trapped-explicitly")),
            Self::WrongMode { .. } => (
                "Check the ICP documentation to make sure APIs are being called in the correct message types.",
                Some("calling-a-system-api-from-the-wrong-mode"),
            ),
            Self::ReplyTooLong { .. } => (
                "Consider checking the response size and returning an error if it is too long.",
                Some("msg_reply_data_append-payload-too-large"),
            ),
            Self::RequestTooLong { .. } => (
                "Check the canister for errors or redesign the target API to allow shorter messages",
                Some("canister-made-a-call-with-too-large-payload"),
            ),
            Self::CertifiedDataTooLong(_) => (
                "Try certifying just the hash of your data instead of the full contents.",
                Some("certified_data_set-payload-too-large"),
            ),
            Self::Contract(_) | Self::InvalidPrincipal | Self::NoSuchFunction(_) | Self::InvalidModule(_) => {
                (TOOLCHAIN, None)
            }
            Self::InstructionLimit(_) => (
                "Try optimizing this method to consume fewer instructions or split the work across multiple messages.",
                Some("instruction-limit-exceeded"),
            ),
            Self::MemoryAccessLimit { .. } => (
                "Try optimizing this method to use less memory or split the work across multiple messages.",
                Some("memory-access-limit-exceeded"),
            ),
            Self::NoSuchMethod { .. } => (
                "Check that the method being called is exported by the target canister.",
                Some("method-not-found"),
            ),
            Self::NoModule => {
                ("Please install code to this canister before calling it.", Some("wasm-module-not-found"))
            }
            Self::WasmMemoryLimit { .. } => (
                "Try checking the canister for a possible memory leak or modifying it to use more stable memory instead \
                 of Wasm memory.",
                Some("wasm-memory-limit-exceeded"),
            ),
            Self::Refused(_) | Self::Engine(_) => return None,
        })
    }

    /// What a caller of `canister` is told.
    pub fn reject(&self, canister: Principal) -> Reject {
        let advice = match self.advice() {
            Some((advice, Some(chapter))) => {
                format!(".\n{advice} See documentation: {DOCUMENTATION}#{chapter}")
            }
            Some((advice, None)) => format!(".\n{advice}"),
            None => String::new(),
        };
        reject(self.number(), format!("Error from Canister {canister}: {self}{advice}"))
    }

    /// The failure of a callback whose cleanup failed too.
    pub fn with_cleanup(&self, cleanup: &Self, canister: Principal) -> Reject {
        let text =
            format!("Error from Canister {canister}: {self}\n\ncall_on_cleanup also failed:\n\n{cleanup}");
        reject(self.number(), text)
    }

    /// The line a trap leaves in the canister's log, `None` where it leaves none.
    pub fn log_line(&self) -> Option<Vec<u8>> {
        let text = match self {
            Self::Trap(text) => text,
            Self::CalledTrap(text) if text.is_empty() => "(no message)",
            Self::CalledTrap(text) => text.as_str(),
            _ => return None,
        };
        Some(format!("[TRAP]: {text}").into_bytes())
    }
}

/// A reject with the replica's error number; the reject code follows from it.
pub(crate) fn reject(number: u16, message: impl Into<String>) -> Reject {
    let code = match number / 100 {
        1 => RejectCode::SysFatal,
        2 => RejectCode::SysTransient,
        3 => RejectCode::DestinationInvalid,
        4 => RejectCode::CanisterReject,
        6 => RejectCode::SysUnknown,
        _ => RejectCode::CanisterError,
    };
    Reject { code, error_code: format!("IC{number:04}"), message: message.into() }
}

impl Reject {
    /// The message as another canister sees it: with the error code, unless it is the callee's own words.
    pub(crate) fn for_canister(&self) -> String {
        match self.error_code.as_str() {
            "IC0506" => "No response".to_owned(),
            "IC0406" | "IC0508" | "IC0509" | "IC0301" => self.message.clone(),
            code => format!("{code}: {}", self.message),
        }
    }
}
