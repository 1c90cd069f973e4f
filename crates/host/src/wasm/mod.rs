//! From the bytes a canister's owner uploads to the module the host hands to wasmtime.
//!
//! Owns what the Internet Computer checks and changes in a module before it runs: decompression, validation, the
//! metering pass and the table of prices. Runs nothing and knows nothing of canisters' state.
//!
//! The instrumented module differs from the uploaded one in this:
//!
//! | what | where |
//! | --- | --- |
//! | imported `(func)` called when the counter is below zero | [`INJECTED_MODULE`], [`OUT_OF_INSTRUCTIONS`] |
//! | imported `(func (param i32 i32) (result i32))` called after every `memory.grow` | [`INJECTED_MODULE`], [`TRY_GROW_MEMORY`] |
//! | exported `(global (mut i64))`, the instructions left | [`COUNTER_EXPORT`] |
//! | exported mutable globals of the module | [`global_export`] |
//! | exported memory and table, where there are any | [`MEMORY_EXPORT`], [`TABLE_EXPORT`] |
//! | the start function, exported and no longer started | [`START_EXPORT`] |
//!
//! Every other export keeps its name. The injected functions are the first two imports.

mod body;
pub mod cost;
mod custom;
mod exports;
mod gunzip;
mod imports;
mod instrument;
pub mod limits;
mod module;
mod opcode;
mod stable;
mod validate;

pub use cost::{CostSchedule, PageCharges};
pub use custom::{CustomSection, Visibility};
pub use exports::Exports;
pub use validate::InvalidModule;

/// Module name of the functions the metering pass imports.
pub const INJECTED_MODULE: &str = "__";

/// `(func)`: the counter fell below zero. The host function must end the execution.
pub const OUT_OF_INSTRUCTIONS: &str = "out_of_instructions";

/// `(func (param $result_of_grow i32) (param $pages_asked i32) (result i32))`: called after every `memory.grow` with what
/// it answered and what was asked. Answers what the canister shall see, or traps.
pub const TRY_GROW_MEMORY: &str = "try_grow_wasm_memory";

/// Exported `(global (mut i64))`: instructions left. Set it before an execution, read it after.
pub const COUNTER_EXPORT: &str = "canister counter_instructions";

/// The start function of the uploaded module, where it has one.
pub const START_EXPORT: &str = "canister_start";

/// The memory, where the module has one.
pub const MEMORY_EXPORT: &str = "memory";

/// The first table, where the module has one.
pub const TABLE_EXPORT: &str = "table";

/// Name under which the mutable global with this index is exported. Instance state: it is to be saved and rolled back
/// with the memory.
pub fn global_export(index: u32) -> String {
    format!("__persistent_mutable_global_{index}")
}

/// A module that passed validation, instrumented.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The instrumented module.
    pub binary: Vec<u8>,
    /// Operators in the instrumented module as the replica counts them; see [`Prepared::install_charge`].
    pub install_instructions: u64,
    /// Size of the uploaded code section in bytes, without its function count; what the limit counts.
    pub code_section_bytes: u64,
    /// Functions the module defines.
    pub functions: u32,
    /// What the module exports to the Internet Computer.
    pub exports: Exports,
    /// Metadata sections, `icp:public` and `icp:private`.
    pub custom_sections: Vec<CustomSection>,
    /// Declared memory in 64 KiB pages: initial, maximum. Zero without a memory.
    pub memory_pages: (u64, Option<u64>),
    /// Indices of the mutable globals, exported as [`global_export`]; ascending.
    pub mutable_globals: Vec<u32>,
    /// Length of the uncompressed module in bytes.
    pub wasm_bytes: u64,
}

impl Prepared {
    /// Instructions charged for compiling this module at install.
    pub fn install_charge(&self) -> u64 {
        self.install_instructions * cost::COMPILE_PER_INSTRUCTION
    }
}

/// Decompresses (gzip), validates and instruments a module.
///
/// The instrumentation is the same for every [`CostSchedule`]: they price operators alike.
///
/// # Errors
///
/// What the Internet Computer would refuse at install, in its words.
pub fn prepare(wasm: &[u8]) -> Result<Prepared, InvalidModule> {
    let wasm = gunzip::decompress(wasm)?;
    let valid = validate::validate(&wasm)?;
    instrument::instrument(valid, wasm.len() as u64)
}

#[cfg(test)]
mod tests;
