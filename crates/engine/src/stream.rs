//! Where weights are that are not in the heap, and the cache that they come through: what [`ic_nn_kernels::far`] has, with its
//! memory no part of a run's.

use std::sync::Arc;

pub use ic_nn_kernels::far::{Cache, Far, Pieces, Reads, Stream, Usage};

/// A cache of panels of at most so many bytes, for all streams.
pub fn cache(most: u64) -> Arc<Cache> {
    Cache::new(most, ic_nn_arena::outside)
}
