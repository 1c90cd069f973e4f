//! What the allocator knows: whose requests are recorded or placed, and which blocks there are.
//!
//! One record for the whole program behind a spin lock, since an allocator has no other place and cannot wait. Nothing is
//! allocated or freed while it is held.
#![allow(unsafe_code, reason = "shared by all threads, and made of addresses")]

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::layout::Layout;
use crate::recording::Recording;

/// A block in which requests are placed.
pub(crate) struct Block {
    next: *mut Block,
    base: *mut u8,
    layout: Arc<Layout>,
    /// What is alive in it, as offsets; never more than were planned, so that it never grows.
    live: Vec<(usize, usize)>,
    /// Requests so far.
    turn: usize,
    /// Requests that were to have a place and did not get it.
    missed: usize,
    /// Whether its run is over.
    closed: bool,
}

impl Block {
    /// For memory at `base` that `layout` fits in.
    pub(crate) fn new(base: *mut u8, layout: &Arc<Layout>) -> Block {
        Block {
            next: null_mut(),
            base,
            layout: Arc::clone(layout),
            live: Vec::with_capacity(layout.most),
            turn: 0,
            missed: 0,
            closed: false,
        }
    }

    fn holds(&self, address: *mut u8) -> bool {
        (address as usize).wrapping_sub(self.base as usize) < self.layout.bytes()
    }

    /// The place of the next request; none where it is not the one that was planned, or its place is taken.
    fn take(&mut self, bytes: usize, align: usize) -> Option<*mut u8> {
        let place = self.layout.places.get(self.turn).copied();
        self.turn += 1;
        let Some(place) = place else {
            self.missed += 1;
            return None;
        };
        let at = place.at?;
        let free = self.live.iter().all(|(from, to)| at + bytes <= *from || *to <= at);
        if (place.bytes, place.align) != (bytes, align) || !free || self.live.len() == self.live.capacity() {
            self.missed += 1;
            return None;
        }
        self.live.push((at, at + bytes));
        // SAFETY: the layout's places end within its bytes, and the block has as many.
        Some(unsafe { self.base.add(at) })
    }

    /// What lies at `address` is freed.
    fn give(&mut self, address: *mut u8) {
        let at = address as usize - self.base as usize;
        if let Some(ix) = self.live.iter().rposition(|(from, _)| *from == at) {
            self.live.swap_remove(ix);
        }
    }

    /// Its memory, to be freed.
    pub(crate) fn memory(&self) -> (*mut u8, std::alloc::Layout) {
        // SAFETY: it was taken with this very layout.
        let layout =
            unsafe { std::alloc::Layout::from_size_align_unchecked(self.layout.bytes(), self.layout.align) };
        (self.base, layout)
    }
}

/// What requests of one thread come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Current {
    /// Nothing.
    Passed,
    /// Nothing, for a while.
    Out,
    /// They are written down.
    Recorded(*mut Recording),
    /// They get places.
    Placed(*mut Block),
}

struct State {
    current: Current,
    /// The thread that it is about.
    owner: usize,
    /// The blocks, linked.
    blocks: *mut Block,
}

struct Shared(UnsafeCell<State>);

// SAFETY: what is in it is reached under `LOCK` alone (`with`).
unsafe impl Sync for Shared {}

static STATE: Shared =
    Shared(UnsafeCell::new(State { current: Current::Passed, owner: 0, blocks: null_mut() }));
static LOCK: AtomicBool = AtomicBool::new(false);
/// Blocks there are and threads that are within: 0 where an allocator has nothing to ask.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Whether anything is recorded, or may lie in a block.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Acquire) != 0
}

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    while LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        spin_loop();
    }
    // SAFETY: the lock is held; `f` is of this module, allocates nothing and does not panic.
    let result = f(unsafe { &mut *STATE.0.get() });
    LOCK.store(false, Ordering::Release);
    result
}

/// Which thread this is.
fn here() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

/// Has the requests of this thread come to `current`; whether they do: one thread at a time, once.
pub(crate) fn enter(current: Current) -> bool {
    let here = here();
    let entered = with(|state| {
        let free = state.current == Current::Passed;
        if free {
            (state.current, state.owner) = (current, here);
        }
        free
    });
    if entered {
        ACTIVE.fetch_add(1, Ordering::AcqRel);
    }
    entered
}

/// Ends what [`enter`] began.
pub(crate) fn leave() {
    with(|state| state.current = Current::Passed);
    ACTIVE.fetch_sub(1, Ordering::AcqRel);
}

/// Has the requests of this thread be the allocator's until [`step_in`]: what they were; none where it is not within.
pub(crate) fn step_out() -> Option<Current> {
    if !is_active() {
        return None;
    }
    let here = here();
    with(|state| {
        let within = state.current != Current::Passed && state.owner == here;
        // The room stays this thread's, so that no other enters.
        within.then(|| std::mem::replace(&mut state.current, Current::Out))
    })
}

/// Ends what [`step_out`] began.
pub(crate) fn step_in(current: Current) {
    with(|state| state.current = current);
}

/// What came of a request.
pub(crate) enum Answer {
    /// It is the inner allocator's.
    Passed,
    /// So too, and to be told of ([`came`]).
    Recorded,
    /// It lies here.
    Placed(*mut u8),
}

/// A request of this thread.
pub(crate) fn ask(bytes: usize, align: usize) -> Answer {
    let here = here();
    with(|state| match state.current {
        _ if state.owner != here => Answer::Passed,
        Current::Passed | Current::Out => Answer::Passed,
        // SAFETY: this thread is within, and the recording is borrowed for as long (`Room::within`).
        Current::Recorded(recording) if unsafe { (*recording).busy } => Answer::Passed,
        Current::Recorded(_) => Answer::Recorded,
        Current::Placed(block) => {
            // SAFETY: blocks stay until they are closed, which `Room` does after it has left.
            let block = unsafe { &mut *block };
            block.take(bytes, align).map_or(Answer::Passed, Answer::Placed)
        }
    })
}

/// The recording that this thread is within, unless it is being written to.
fn recording() -> Option<*mut Recording> {
    let here = here();
    with(|state| match state.current {
        Current::Recorded(recording) if state.owner == here => Some(recording),
        _ => None,
    })
    // SAFETY: as in `ask`.
    .filter(|recording| !unsafe { (**recording).busy })
}

fn written(f: impl FnOnce(&mut Recording)) {
    if let Some(recording) = recording() {
        // SAFETY: only this thread reaches it while it is within, and `busy` keeps this from being entered again.
        unsafe {
            (*recording).busy = true;
            f(&mut *recording);
            (*recording).busy = false;
        }
    }
}

/// Writes down a request that the inner allocator answered.
pub(crate) fn came(address: *mut u8, bytes: usize, align: usize) {
    written(|recording| recording.came(address as usize, bytes, align));
}

/// What becomes of memory that is given back.
pub(crate) enum Given {
    /// It is the inner allocator's.
    Passed,
    /// It lay in a block, which is still of use.
    Taken,
    /// It was the last that lay in one whose run is over.
    Last(*mut Block),
}

/// Memory of any thread is given back.
pub(crate) fn give(address: *mut u8, bytes: usize) -> Given {
    let given = with(|state| {
        let mut at = state.blocks;
        while !at.is_null() {
            // SAFETY: blocks that are linked are there.
            let block = unsafe { &mut *at };
            if block.holds(address) {
                block.give(address);
                if block.closed && block.live.is_empty() {
                    unlink(state, at);
                    return Given::Last(at);
                }
                return Given::Taken;
            }
            at = block.next;
        }
        Given::Passed
    });
    if let (Given::Passed, true) = (&given, bytes >= crate::LEAST) {
        written(|recording| recording.went(address as usize));
    }
    given
}

/// Whether memory lies in a block, or its thread is within.
pub(crate) fn concerns(address: *mut u8) -> bool {
    let here = here();
    with(|state| {
        let mut at = state.blocks;
        while !at.is_null() {
            // SAFETY: blocks that are linked are there.
            let block = unsafe { &*at };
            if block.holds(address) {
                return true;
            }
            at = block.next;
        }
        state.current != Current::Passed && state.owner == here
    })
}

/// Takes a block in.
pub(crate) fn link(block: Box<Block>) -> *mut Block {
    let block = Box::into_raw(block);
    with(|state| {
        // SAFETY: it is from a box, and nobody else has it yet.
        unsafe { (*block).next = state.blocks };
        state.blocks = block;
    });
    ACTIVE.fetch_add(1, Ordering::AcqRel);
    block
}

fn unlink(state: &mut State, block: *mut Block) {
    let mut at: *mut *mut Block = &raw mut state.blocks;
    // SAFETY: blocks that are linked are there, and the lock is held.
    unsafe {
        while *at != block && !(*at).is_null() {
            at = &raw mut (**at).next;
        }
        if !(*at).is_null() {
            *at = (*block).next;
        }
    }
    ACTIVE.fetch_sub(1, Ordering::AcqRel);
}

/// Ends a block's run; the block where nothing lies in it any more, which is then the caller's to free.
pub(crate) fn close(block: *mut Block) -> Option<*mut Block> {
    with(|state| {
        // SAFETY: it is linked, so it is there.
        let closed = unsafe { &mut *block };
        closed.closed = true;
        closed.live.is_empty().then(|| {
            unlink(state, block);
            block
        })
    })
}

/// Requests of a block's run that were to have a place and got none.
pub(crate) fn missed(block: *mut Block) -> usize {
    // SAFETY: it is linked, so it is there.
    with(|_| unsafe { (*block).missed })
}
