//! Places for what a run asks for, in its order.

use std::sync::Arc;

use crate::place::{Block, alive, by_size, place};

/// What is asked for, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How large it is.
    pub(crate) bytes: usize,
    /// What its address is a multiple of.
    pub(crate) align: usize,
    /// From the start of the block; none where it outlives the run, or was one request too many.
    pub(crate) at: Option<usize>,
}

/// Places in one block for all that a run asks for, in the order of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(crate) places: Vec<Place>,
    /// What the block's address is a multiple of.
    pub(crate) align: usize,
    /// Most that lie in it at once.
    pub(crate) most: usize,
    bytes: usize,
    alive: usize,
}

/// Requests that get a place, the largest of them: placing takes time quadratic in their number.
const MOST_PLACED: usize = 4096;

impl Layout {
    /// Heap that this takes.
    pub fn heap_bytes(&self) -> u64 {
        (size_of::<Self>() + self.places.capacity() * size_of::<Place>()) as u64
    }

    /// For requests in their order; `until` is none of what outlives the run.
    pub(crate) fn new(requests: &[(Block, bool)]) -> Arc<Layout> {
        let mut placed: Vec<usize> = (0..requests.len()).filter(|ix| requests[*ix].1).collect();
        if placed.len() > MOST_PLACED {
            let largest = by_size(placed.iter().map(|ix| requests[*ix].0.bytes)).take(MOST_PLACED);
            placed = largest.map(|at| placed[at]).collect();
        }
        let blocks: Vec<Block> = placed.iter().map(|ix| requests[*ix].0).collect();
        let (offsets, bytes) = place(&blocks);
        let (alive, most) = alive(&blocks);
        let places = requests.iter().map(|(b, _)| Place { bytes: b.bytes, align: b.align, at: None });
        let mut places: Vec<Place> = places.collect();
        for (ix, offset) in placed.iter().zip(offsets) {
            places[*ix].at = Some(offset);
        }
        let align = blocks.iter().map(|b| b.align).max().unwrap_or(1);
        Arc::new(Layout { places, align, most, bytes, alive })
    }

    /// Bytes of the block.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of what is alive in it at the worst moment: no layout takes fewer.
    pub fn alive(&self) -> usize {
        self.alive
    }
}
