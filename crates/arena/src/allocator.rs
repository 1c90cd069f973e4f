//! The allocator around another one.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout};

use crate::LEAST;
use crate::state::{self, Answer, Given};

/// A global allocator that records and places what is asked for within a [`Room`](crate::Room), and leaves the rest to `A`. Around it
/// an instruction or five a request where nobody is within.
#[derive(Debug)]
pub struct Arena<A>(A);

impl<A> Arena<A> {
    /// Around `within`.
    pub const fn new(within: A) -> Arena<A> {
        Arena(within)
    }

    /// The allocator within.
    pub const fn within(&self) -> &A {
        &self.0
    }
}

/// Where a request lies; none where the inner allocator is to answer it, and whether that is to be written down.
fn placed(layout: Layout) -> (Option<*mut u8>, bool) {
    if layout.size() < LEAST || !state::is_active() {
        return (None, false);
    }
    match state::ask(layout.size(), layout.align()) {
        Answer::Passed => (None, false),
        Answer::Recorded => (None, true),
        Answer::Placed(address) => (Some(address), false),
    }
}

// SAFETY: memory is from the inner allocator, or from a block of it in which nothing that is alive overlaps (`state::Block::take`),
// which is kept until all of that is given back; layouts are passed on as they came.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Arena<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (address, recorded) = placed(layout);
        if let Some(address) = address {
            return address;
        }
        // SAFETY: the caller's.
        let address = unsafe { self.0.alloc(layout) };
        if recorded && !address.is_null() {
            state::came(address, layout.size(), layout.align());
        }
        address
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (address, recorded) = placed(layout);
        if let Some(address) = address {
            // SAFETY: the place has as many bytes, and nobody else's.
            unsafe { address.write_bytes(0, layout.size()) };
            return address;
        }
        // SAFETY: the caller's.
        let address = unsafe { self.0.alloc_zeroed(layout) };
        if recorded && !address.is_null() {
            state::came(address, layout.size(), layout.align());
        }
        address
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if state::is_active() {
            match state::give(address, layout.size()) {
                Given::Passed => {}
                Given::Taken => return,
                Given::Last(block) => {
                    // SAFETY: it is out of the list, and nothing lies in it.
                    unsafe { crate::room::free(block) };
                    return;
                }
            }
        }
        // SAFETY: it lay in no block, so the inner allocator gave it.
        unsafe { self.0.dealloc(address, layout) };
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !state::is_active() || !state::concerns(address) {
            // SAFETY: it lies in no block, so the inner allocator gave it; the rest is the caller's.
            return unsafe { self.0.realloc(address, layout, size) };
        }
        // SAFETY: the caller's: `size` is not 0 and does not overflow.
        let grown = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the new memory is another, and both have that many bytes.
        unsafe {
            let to = self.alloc(grown);
            if !to.is_null() {
                to.copy_from_nonoverlapping(address, layout.size().min(size));
                self.dealloc(address, layout);
            }
            to
        }
    }
}
