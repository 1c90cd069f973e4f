//! What `canister_status` answers.

use candid::Nat;
use serde_bytes::ByteBuf;

use super::args;
use crate::canister::{Canister, Status};
use crate::stable::WASM_PAGE;
use crate::subnet::fees;

/// The status record of a canister.
pub(super) fn of(canister: &Canister) -> args::StatusReply {
    let settings = &canister.settings;
    let executor = canister.code.as_ref().map(|installed| &installed.executor);
    let facts = executor.map(|executor| executor.code().facts());
    let chunks: usize = canister.chunks.values().map(Vec::len).sum();
    let history: u64 = canister.history.iter().sum();
    let variable =
        |(name, value): (&String, &String)| args::Variable { name: name.clone(), value: value.clone() };
    args::StatusReply {
        status: match canister.status {
            Status::Running => args::Status::Running,
            Status::Stopping => args::Status::Stopping,
            Status::Stopped => args::Status::Stopped,
        },
        ready_for_migration: canister.status == Status::Stopped && canister.callbacks.is_empty(),
        version: canister.version,
        settings: args::DefiniteSettings {
            controllers: settings.controllers.clone(),
            compute_allocation: Nat::from(0u8),
            memory_allocation: Nat::from(settings.memory_allocation),
            freezing_threshold: Nat::from(settings.freezing_seconds),
            reserved_cycles_limit: Nat::from(5_000_000_000_000u64),
            log_visibility: match settings.public_logs {
                true => args::LogVisibility::Public,
                false => args::LogVisibility::Controllers,
            },
            wasm_memory_limit: Nat::from(settings.wasm_memory_limit.unwrap_or(0)),
            wasm_memory_threshold: Nat::from(0u8),
            environment_variables: settings.variables.iter().map(variable).collect(),
        },
        module_hash: facts.map(|facts| ByteBuf::from(facts.hash)),
        memory_size: Nat::from(canister.bytes()),
        memory_metrics: args::MemoryMetrics {
            wasm_memory_size: Nat::from(executor.map_or(0, |executor| executor.heap_bytes())),
            stable_memory_size: Nat::from(
                executor.map_or(0, |executor| executor.stable().pages() * WASM_PAGE),
            ),
            wasm_binary_size: Nat::from(facts.map_or(0, |facts| facts.wasm_bytes)),
            canister_history_size: Nat::from(history),
            wasm_chunk_store_size: Nat::from(chunks),
            ..args::MemoryMetrics::default()
        },
        cycles: Nat::from(canister.balance),
        reserved_cycles: Nat::from(0u8),
        idle_cycles_burned_per_day: Nat::from(fees::idle_per_day(canister.bytes())),
        query_stats: args::QueryStats::default(),
    }
}
