//! A run's memory: recorded the first time, placed from then on.
#![allow(unsafe_code, reason = "it owns a block that the allocator places requests in")]

use std::sync::Arc;

use crate::layout::Layout;
use crate::recording::Recording;
use crate::state::{self, Block, Current};

/// Where a run's requests go. A run may be left and entered again: what it holds stays where it is.
#[derive(Debug)]
pub struct Room(Kind);

#[derive(Debug)]
enum Kind {
    Plain,
    Recorded(Box<Recording>),
    Placed(Placed),
}

/// A block that is open.
#[derive(Debug)]
struct Placed {
    block: *mut Block,
    layout: Arc<Layout>,
}

// SAFETY: the block is reached under the allocator's lock alone, by whichever thread.
unsafe impl Send for Placed {}
// SAFETY: as above.
unsafe impl Sync for Placed {}

impl Room {
    /// Requests are the allocator's.
    pub fn plain() -> Room {
        Room(Kind::Plain)
    }

    /// Requests are written down, about 200 instructions each.
    pub fn recording() -> Room {
        Room(Kind::Recorded(Box::default()))
    }

    /// Requests get the places that are planned for them in one block, which is taken now and given back with the room, or with the
    /// last that lies in it. Where there is no memory for it, or nothing to place, they are the allocator's.
    pub fn placed(layout: &Arc<Layout>) -> Room {
        let (bytes, align) = (layout.bytes(), layout.align);
        let Ok(memory) = std::alloc::Layout::from_size_align(bytes, align) else { return Room::plain() };
        if bytes == 0 {
            return Room::plain();
        }
        // SAFETY: it has a size.
        let base = unsafe { std::alloc::alloc(memory) };
        if base.is_null() {
            return Room::plain();
        }
        let block = state::link(Box::new(Block::new(base, layout)));
        Room(Kind::Placed(Placed { block, layout: Arc::clone(layout) }))
    }

    /// Runs `f`, whose requests of [`LEAST`](crate::LEAST) bytes and more, on this thread, are the room's. They are the allocator's
    /// where it is already within one, here or on another thread.
    pub fn within<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let current = match &mut self.0 {
            Kind::Plain => return f(),
            Kind::Recorded(recording) => Current::Recorded(&raw mut **recording),
            Kind::Placed(placed) => Current::Placed(placed.block),
        };
        let _within = state::enter(current).then(|| Within);
        f()
    }

    /// Bytes of the block; 0 where there is none.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Kind::Placed(placed) => placed.layout.bytes(),
            _ => 0,
        }
    }

    /// Requests so far that were to have a place and got none, since they came otherwise than recorded.
    pub fn missed(&self) -> usize {
        match &self.0 {
            Kind::Placed(placed) => state::missed(placed.block),
            _ => 0,
        }
    }

    /// Places for what was recorded; none where nothing was.
    ///
    /// Takes time quadratic in the number of requests, of which the 4,096 largest get places.
    pub fn into_layout(self) -> Option<Arc<Layout>> {
        match self.0 {
            Kind::Recorded(recording) => Some(Layout::new(recording.requests())),
            _ => None,
        }
    }
}

/// Runs `f`, whose requests are the allocator's and no room's: for what outlives a run and is no part of it.
pub fn outside(f: &mut dyn FnMut()) {
    let Some(current) = state::step_out() else { return f() };
    let _back = Back(current);
    f();
}

/// Goes back, also where `f` panics.
struct Back(Current);

impl Drop for Back {
    fn drop(&mut self) {
        state::step_in(self.0);
    }
}

/// Leaves, also where `f` panics.
struct Within;

impl Drop for Within {
    fn drop(&mut self) {
        state::leave();
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Some(block) = state::close(self.block) {
            // SAFETY: it is out of the list, and nothing lies in it.
            unsafe { free(block) };
        }
    }
}

/// Frees a block.
///
/// # Safety
/// It was taken out of the list and nobody has it any more.
pub(crate) unsafe fn free(block: *mut Block) {
    // SAFETY: it is from a box.
    let block = unsafe { Box::from_raw(block) };
    let (base, layout) = block.memory();
    drop(block);
    // SAFETY: it was allocated so.
    unsafe { std::alloc::dealloc(base, layout) };
}
