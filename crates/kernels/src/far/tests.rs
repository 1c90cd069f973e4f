//! What comes from a stream gives the bits that it gives from the heap, and the cache keeps what it says.

use proptest::prelude::*;

use super::*;
use crate::image::{Array, Arrays, Broken, Imaged, Reader, Writer};
use crate::product::{After, Matrix};
use crate::random::{many, numbers};
use crate::{Packing, Panels, Precision};

fn inside(f: &mut dyn FnMut()) {
    f();
}

/// Bytes in memory, as a stream reads them.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Reads for Bytes {
    fn read(&self, at: u64, to: &mut [MaybeUninit<u8>]) {
        to.write_copy_of_slice(&self.0[at as usize..][..to.len()]);
    }
}

/// Arrays that stay where they are, whatever they are long.
struct Left<'a> {
    stream: &'a Arc<Stream>,
    at: u64,
    end: u64,
}

impl Arrays for Left<'_> {
    fn left(&self) -> u64 {
        self.end - self.at
    }

    fn fill(&mut self, to: &mut [MaybeUninit<u8>]) {
        self.stream.read(self.at, to);
        self.at += to.len() as u64;
    }

    fn leave(&mut self, bytes: u64) -> Option<Far> {
        self.at += bytes;
        Some(Far::packed(self.stream, self.at - bytes))
    }
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

/// The same with its numbers in a stream.
fn left<T: Imaged>(of: &T, cache: &Arc<Cache>) -> Result<T, Broken> {
    let mut writer = Writer::default();
    of.write(&mut writer);
    let (head, arrays) = writer.finish();
    let all = |array: &Array<'_>| match array {
        Array::Here(bytes) => bytes.to_vec(),
        Array::Far(far, _) => {
            let (pieces, mut all) = (far.pieces().expect("it is rough"), vec![]);
            while pieces.at(all.len() as u64, &mut |_| ()) > 0 {
                pieces.at(all.len() as u64, &mut |bytes| all.extend_from_slice(bytes));
            }
            assert_eq!(all.len() as u64, pieces.bytes());
            all
        }
    };
    let arrays: Vec<u8> = arrays.iter().flat_map(all).collect();
    let end = arrays.len() as u64;
    let stream = Stream::new(Box::new(Bytes(arrays)), cache);
    T::read(&mut Reader::new(&head, &mut Left { stream: &stream, at: 0, end }))
}

/// What a product of panels gives in parts.
fn product(panels: &Panels, rows: bool, x: &[f32], others: usize, cut: usize) -> Vec<f32> {
    let (m, k) = (panels.outputs(), panels.k());
    let mut out = vec![9.0; m * others];
    let cut = cut.min(panels.parts());
    for parts in [0..cut, cut..panels.parts()].into_iter().filter(|parts| !parts.is_empty()) {
        if rows {
            let (from, to) = (Matrix::dense(k, others), Matrix::dense(m, others));
            panels.times_of(x, from, &mut out, to, After::default(), parts);
        } else {
            let (from, to) = (Matrix::dense(others, k), Matrix::dense(others, m));
            panels.under_of(x, from, &mut out, to, After::default(), parts);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_far_gives_the_same_bits(
        outputs in 1usize..90, k in 1usize..70, others in 1usize..12, cut in 0usize..4, rows: bool, k_inner: bool, whole: bool,
        most in prop_oneof![Just(0u64), 0u64..20_000, Just(1 << 20)], seed: u64,
    ) {
        let mut next = numbers(seed);
        let (w, x) = (many(outputs * k, &mut next), many(k * others, &mut next));
        let apart = if k_inner { [k, 1] } else { [1, outputs] };
        let mut packing = Packing { precision: if whole { Precision::Int8 } else { Precision::F32 }, spare: 0, wide: 0 };
        let here = if rows {
            Panels::rows_of(&mut packing, others, [outputs, k], &w, apart)
        } else {
            Panels::columns_of(&mut packing, others, [k, outputs], &w, [apart[1], apart[0]])
        };
        let expected = product(&here, rows, &x, others, 0);
        let cache = Cache::new(most, inside);
        let packed = left(&here, &cache).unwrap();
        prop_assert!(!packed.are_here());
        prop_assert!(packed.instructions(others, Default::default()) > here.instructions(others, Default::default()));
        for _ in 0..2 {
            prop_assert_eq!(&product(&packed, rows, &x, others, cut), &expected);
        }
        prop_assert!(cache.usage().bytes <= most.max(16 + packed_bytes(&here)), "{:?}", cache);
        if !whole {
            // As a file has it, and then packed by pieces.
            let stream = Stream::new(Box::new(Bytes([vec![7; 12], bytes(&w)].concat())), &cache);
            let rough = Panels::far((&stream, 12), rows, [outputs, k], apart).unwrap();
            prop_assert_eq!(&product(&rough, rows, &x, others, cut), &expected);
            let again = left(&rough, &cache).unwrap();
            prop_assert_eq!(&product(&again, rows, &x, others, cut), &expected);
        }
    }
}

fn packed_bytes(panels: &Panels) -> u64 {
    4 * (panels.outputs().next_multiple_of(4) * panels.k().next_multiple_of(2)) as u64
}

/// Columns of so many panels of 4,096 bytes each.
fn striped(panels: usize, cache: &Arc<Cache>) -> Panels {
    let w = many(32 * 32 * panels, &mut numbers(panels as u64));
    let here = Panels::columns_of(&mut Packing::plain(), 1, [32, 32 * panels], &w, [32 * panels, 1]);
    left(&here, cache).unwrap()
}

fn go_round(panels: &Panels) {
    product(panels, false, &[1.0; 32], 1, 0);
}

#[test]
fn a_plan_larger_than_the_cache_finds_as_much_as_the_cache_holds() {
    let cache = Cache::new(5 * 4096, inside);
    let panels = striped(10, &cache);
    go_round(&panels);
    let first = cache.usage();
    assert_eq!((first.hits, first.misses, first.read, first.bytes), (0, 10, 40_960, 5 * 4096));
    for _ in 0..10 {
        go_round(&panels);
    }
    // Four panels and the slot that the others are read into.
    let then = cache.usage();
    assert_eq!((then.hits, then.misses, then.bytes), (40, 10 + 60, 5 * 4096));
    drop(panels);
    assert_eq!(cache.usage().bytes, 0, "what came from a stream leaves with it");
}

#[test]
fn two_that_take_turns_have_equal_parts_and_an_idle_one_none() {
    let cache = Cache::new(9 * 4096, inside);
    let (first, second) = (striped(20, &cache), striped(30, &cache));
    go_round(&first);
    let before = cache.usage();
    for _ in 0..3 {
        go_round(&second);
        go_round(&first);
    }
    assert_eq!(cache.usage().bytes, 9 * 4096);
    assert_eq!(before.hits, 0);
    let count = |panels: &Panels| {
        let before = cache.usage().hits;
        go_round(panels);
        cache.usage().hits - before
    };
    assert_eq!((count(&second), count(&first)), (4, 4));
    for _ in 0..6 {
        go_round(&second);
    }
    assert_eq!((count(&second), count(&first)), (8, 0), "the other one has not asked for long");
}

#[test]
fn another_size_is_held_at_once() {
    let cache = Cache::new(1 << 20, inside);
    let panels = striped(10, &cache);
    go_round(&panels);
    assert_eq!(cache.usage().bytes, 10 * 4096);
    cache.resize(3 * 4096);
    assert_eq!(cache.usage().bytes, 0);
    go_round(&panels);
    assert_eq!(cache.usage().bytes, 3 * 4096);
    cache.clear();
    assert_eq!((cache.usage().bytes, cache.usage().most), (0, 3 * 4096));
}
