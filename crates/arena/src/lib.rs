//! An arena for the tensors of a run.
//!
//! A run of a graph of fixed shapes asks for the same bytes in the same order each time. The first is *recorded*: what it
//! asks for, how large, from when to when. From that a [`Layout`] is made, in which what is never alive at the same time may lie
//! in the same place, and later runs are *placed*: one block is taken, and each request gets the place that is planned for it.
//! That covers whatever a run allocates, tensors of operators and buffers of kernels, without any of them knowing of it.
//!
//! [`Arena`] is the program's global allocator around another one. Where it is not installed nothing is recorded and nothing placed,
//! and everything runs as it would.
//!
//! ```
//! use std::alloc::System;
//! use ic_nn_arena::{Arena, Room};
//!
//! #[global_allocator]
//! static HEAP: Arena<System> = Arena::new(System);
//!
//! fn run() -> usize {
//!     let first = vec![1u8; 10_000];
//!     let second = first.clone();
//!     drop(first);
//!     vec![2u8; 10_000].len() + second.len()
//! }
//!
//! let mut room = Room::recording();
//! room.within(run);
//! let layout = room.into_layout().expect("it was recorded");
//! assert_eq!(layout.bytes(), 20_000);
//! assert_eq!(Room::placed(&layout).within(run), 20_000);
//! ```
//!
//! Whatever a run does, no two blocks that are alive overlap: a place is given only where nothing alive lies in it, and the
//! block is kept until all that lies in it is freed. What asks otherwise than planned gets memory from the allocator within.

mod allocator;
mod layout;
mod place;
mod recording;
mod room;
mod state;

pub use allocator::Arena;
pub use layout::Layout;
pub use room::{Room, outside};

/// Requests of fewer bytes are left to the allocator within, in bytes: they are names and shapes, not tensors.
pub const LEAST: usize = 1024;
