//! Operators the replica injects that this host does not.
//!
//! The replica keeps stable memory as a second wasm memory and replaces the imported `stable*` functions by wasm it
//! injects. Here they are host functions, so nothing is injected; but installing is charged by the operators of the
//! instrumented module, so the injected ones must be counted. Owns these counts, as recorded from the replica.

use super::module::Sections;

/// Operators (`end` included) of the injected function that counts clean pages in a range.
const COUNT_CLEAN_PAGES: u64 = 46;

/// Counters of dirty and of accessed pages, two operators each: a constant and `end`.
const PAGE_COUNTERS: u64 = 2 * 2;

/// Operators of the function that replaces an import.
const REPLACEMENTS: [(&str, u64); 8] = [
    ("stable_size", 10),
    ("stable64_size", 2),
    ("stable_grow", 24),
    ("stable64_grow", 21),
    ("stable_read", 106),
    ("stable64_read", 119),
    ("stable_write", 91),
    ("stable64_write", 107),
];

/// Operators the replica would add to `module` for stable memory.
pub(super) fn injected_operators(module: &Sections<'_>) -> u64 {
    let replaced = REPLACEMENTS
        .iter()
        .filter(|(name, _)| module.imports.iter().any(|import| import.name == *name))
        .map(|(_, operators)| operators)
        .sum::<u64>();
    COUNT_CLEAN_PAGES + PAGE_COUNTERS + replaced
}
