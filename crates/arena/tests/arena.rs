//! Rooms under an allocator that is an arena around one that checks what it is given.
#![allow(unsafe_code, reason = "an allocator to count with")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;

use ic_nn_arena::{Arena, LEAST, Room};
use proptest::prelude::*;

/// Counts what is alive of this thread's.
struct Counted;

thread_local!(static ALIVE: Cell<usize> = const { Cell::new(0) });

fn count(more: usize) {
    ALIVE.with(|alive| alive.set(alive.get().wrapping_add(more)));
}

// SAFETY: all of it is the system's.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        count(layout.size().wrapping_neg());
        // SAFETY: the caller's.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static HEAP: Arena<Counted> = Arena::new(Counted);

/// One thread at a time is within, and bytes are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a run does.
#[derive(Clone, Debug)]
enum Step {
    /// Asks for bytes, zeroed or not.
    Ask(usize, bool),
    /// Gives back one of those alive.
    Give(usize),
    /// Makes one of those alive longer or shorter.
    Resize(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![1usize..LEAST, LEAST..20_000];
    let step = prop_oneof![
        3 => (size.clone(), any::<bool>()).prop_map(|(bytes, zeroed)| Step::Ask(bytes, zeroed)),
        2 => any::<usize>().prop_map(Step::Give),
        1 => (any::<usize>(), size).prop_map(|(which, bytes)| Step::Resize(which, bytes)),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Runs `steps`, each block full of a number of its own, and checks that it still is when it goes. What is left is returned.
fn run(steps: &[Step]) -> Vec<(u8, Vec<u8>)> {
    let mut alive: Vec<(u8, Vec<u8>)> = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let number = number as u8;
        match *step {
            Step::Ask(bytes, zeroed) => {
                let mut block = if zeroed { vec![0; bytes] } else { Vec::with_capacity(bytes) };
                assert!(block.iter().all(|b| *b == 0), "zeroed");
                block.resize(bytes, 0);
                block.fill(number);
                alive.push((number, block));
            }
            Step::Give(which) if !alive.is_empty() => {
                let (number, block) = alive.swap_remove(which % alive.len());
                assert!(block.iter().all(|b| *b == number), "it was overwritten");
            }
            Step::Resize(which, bytes) if !alive.is_empty() => {
                let at = which % alive.len();
                let (number, block) = &mut alive[at];
                block.resize(bytes, *number);
                block.shrink_to_fit();
                assert!(block.iter().all(|b| b == number), "it was overwritten");
            }
            _ => {}
        }
    }
    alive
}

fn recorded(steps: &[Step]) -> std::sync::Arc<ic_nn_arena::Layout> {
    let mut room = Room::recording();
    room.within(|| drop(run(steps)));
    room.into_layout().expect("it was recorded")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_run_finds_its_places(steps in steps()) {
        let _alone = alone();
        let layout = recorded(&steps);
        let mut room = Room::placed(&layout);
        let before = ALIVE.get();
        let mut most = 0;
        room.within(|| {
            let left = run(&steps);
            most = ALIVE.get().saturating_sub(before);
            drop(left);
        });
        prop_assert_eq!(room.missed(), 0);
        // What is left outside is small, or the list of blocks itself.
        prop_assert!(most <= steps.len() * (LEAST + 64) + 4096, "{} bytes were taken outside of {:?}", most, room);
    }

    #[test]
    fn another_run_is_as_safe(first in steps(), second in steps(), more in steps()) {
        let _alone = alone();
        let layout = recorded(&first);
        let before = ALIVE.get();
        {
            let mut room = Room::placed(&layout);
            let left = room.within(|| run(&second));
            // It is left and entered again, and what is alive in it outlives it.
            let further = room.within(|| run(&more));
            drop(room);
            for (number, block) in left.into_iter().chain(further) {
                assert!(block.iter().all(|b| *b == number), "it was overwritten");
            }
        }
        prop_assert_eq!(ALIVE.get(), before);
    }
}

#[test]
fn what_outlives_a_run_gets_no_place() {
    let _alone = alone();
    let mut room = Room::recording();
    let kept = room.within(|| vec![1u8; 5000]);
    let layout = room.into_layout().expect("it was recorded");
    assert_eq!((layout.bytes(), layout.alive()), (0, 0));
    assert_eq!(Room::placed(&layout).bytes(), 0);
    drop(kept);
}

#[test]
fn a_room_within_a_room_is_the_allocators() {
    let _alone = alone();
    let layout = recorded(&[Step::Ask(5000, false)]);
    let mut outer = Room::placed(&layout);
    outer.within(|| {
        let mut inner = Room::placed(&layout);
        inner.within(|| drop(run(&[Step::Ask(5000, false)])));
        assert_eq!(inner.missed(), 0);
    });
    let other = std::thread::spawn(|| drop(run(&[Step::Ask(5000, false), Step::Ask(9000, true)])));
    outer.within(|| other.join().expect("it ran"));
}

#[test]
fn blocks_that_other_threads_free_are_freed() {
    let _alone = alone();
    let layout = recorded(&[Step::Ask(5000, false)]);
    let before = ALIVE.get();
    let mut room = Room::placed(&layout);
    let block = room.within(|| {
        let mut block = Vec::with_capacity(5000);
        block.resize(5000, 7u8);
        block
    });
    drop(room);
    assert!(ALIVE.get() >= before + 5000);
    let sum = std::thread::spawn(move || block.iter().map(|b| u64::from(*b)).sum::<u64>());
    assert_eq!(sum.join().expect("it sums"), 35_000);
}

#[test]
fn a_panic_leaves_the_room() {
    let _alone = alone();
    let mut room = Room::recording();
    let panicked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| room.within(|| panic!("it ends"))));
    assert!(panicked.is_err());
    let layout = recorded(&[Step::Ask(5000, false)]);
    assert_eq!(layout.bytes(), 5000);
}
