//! Packed numbers, in the heap or not.

use std::mem::MaybeUninit;

use super::cache::Lent;
use super::{Far, LOOKUP, Lies, READ, Rough, Stream};
use crate::price::instructions_of_turning;
use crate::product::{By, cuts};
use crate::turn::turn_to;

/// Packed numbers, panel after panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers<T> {
    /// In the heap.
    Here(Vec<T>),
    /// In a stream, and how many.
    Far(Far, usize),
}

impl<T> From<Vec<T>> for Numbers<T> {
    fn from(numbers: Vec<T>) -> Self {
        Numbers::Here(numbers)
    }
}

/// A panel's numbers, for as long as this is held.
pub(crate) enum Panel<'a, T> {
    /// In the heap.
    Here(&'a [T]),
    /// Read.
    Lent(Lent),
}

impl<T> Panel<'_, T> {
    /// Where they begin.
    pub(crate) fn address(&self) -> *const u8 {
        match self {
            Panel::Here(numbers) => numbers.as_ptr().cast(),
            Panel::Lent(lent) => lent.address(),
        }
    }
}

impl<T> Numbers<T> {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        match self {
            Numbers::Here(numbers) => numbers.len(),
            Numbers::Far(_, length) => *length,
        }
    }

    /// Whether they are in the heap.
    pub(crate) fn are_here(&self) -> bool {
        matches!(self, Numbers::Here(_))
    }

    /// Those in the heap; none otherwise.
    #[cfg(test)]
    pub(crate) fn here(&self) -> &[T] {
        match self {
            Numbers::Here(numbers) => numbers,
            Numbers::Far(..) => &[],
        }
    }

    /// The panel of `lanes` outputs from the `first` on, of which each has `per` numbers.
    ///
    /// # Panics
    /// Where there is no such panel.
    pub(crate) fn panel(&self, first: usize, lanes: usize, per: usize) -> Panel<'_, T> {
        match self {
            Numbers::Here(numbers) => Panel::Here(&numbers[first * per..(first + lanes) * per]),
            Numbers::Far(far, length) => {
                assert!((first + lanes) * per <= *length, "a panel that is not there");
                Panel::Lent(far.panel(first, lanes, per * size_of::<T>()))
            }
        }
    }

    /// What reading all of it takes, in panels of so many outputs of `per` numbers each; nothing where it is here.
    pub(crate) fn instructions(&self, panels: impl Iterator<Item = usize>, per: usize) -> u64 {
        let Numbers::Far(far, _) = self else { return 0 };
        panels.map(|lanes| far.instructions(lanes, per * size_of::<T>())).sum()
    }
}

impl Far {
    /// A panel: `lanes` outputs of `per` bytes each.
    fn panel(&self, first: usize, lanes: usize, per: usize) -> Lent {
        let Stream { reads, cache, id, .. } = &*self.stream;
        let key = self.array << 32 | first as u64;
        let bytes = lanes * per;
        match self.lies {
            Lies::Packed => cache.lend(*id, key, bytes, &mut |room, _| {
                reads.read(self.at + (first * per) as u64, room);
            }),
            Lies::Rough(rough) => cache.lend(*id, key, bytes, &mut |room, numbers| {
                rough.pack(self, [first, lanes], room, numbers);
            }),
        }
    }

    /// What reading a panel takes that is not in the cache.
    fn instructions(&self, lanes: usize, per: usize) -> u64 {
        let bytes = (lanes * per) as u64;
        LOOKUP
            + match self.lies {
                Lies::Packed => READ + bytes,
                Lies::Rough(rough) if rough.along_output == 1 => {
                    rough.k as u64 * (READ + 40 + 4 * lanes as u64)
                }
                Lies::Rough(rough) => {
                    let reads = if rough.along_output == rough.k { 1 } else { lanes as u64 };
                    reads * READ + bytes + instructions_of_turning(lanes, rough.k)
                }
            }
    }

    /// Its panels one after the other, to be written down as they are packed; none where it is packed already.
    pub fn pieces(&self) -> Option<Pieces<'_>> {
        match self.lies {
            Lies::Packed => None,
            Lies::Rough(rough) => Some(Pieces { far: self, rough }),
        }
    }
}

/// A rough array's panels.
pub struct Pieces<'a> {
    far: &'a Far,
    rough: Rough,
}

impl Pieces<'_> {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        4 * (self.rough.covered() * self.rough.k) as u64
    }

    /// The panel that begins at that byte, and has `f` see its bytes; how many those are. Nothing where there is none.
    #[allow(unsafe_code, reason = "a panel as the bytes that it is")]
    pub fn at(&self, byte: u64, f: &mut dyn FnMut(&[u8])) -> u64 {
        let per = 4 * self.rough.k;
        let first = (byte / per.max(1) as u64) as usize;
        let Some((first, lanes)) = self.rough.panels().find(|(begin, _)| *begin == first) else { return 0 };
        let lent = self.far.panel(first, lanes, per);
        // SAFETY: so many bytes were written, and stay while `lent` is held.
        f(unsafe { std::slice::from_raw_parts(lent.address(), lanes * per) });
        (lanes * per) as u64
    }
}

impl Rough {
    /// Whether it can be read: numbers lie side by side along one of its axes.
    pub(crate) fn is_read(&self) -> bool {
        self.along_output == 1 || self.along_k == 1
    }

    /// Outputs that panels have room for.
    pub(crate) fn covered(&self) -> usize {
        if self.by == By::Columns { self.outputs.next_multiple_of(4) } else { self.outputs }
    }

    /// First output and lanes of each panel.
    pub(crate) fn panels(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let width = if self.by == By::Columns { 4 } else { 1 };
        cuts(self.outputs.div_ceil(width)).map(move |(first, count)| (width * first, width * count))
    }

    /// Packs the panel of `lanes` outputs from the `first` on.
    #[allow(unsafe_code, reason = "panels are written step by step, without zeros first")]
    fn pack(
        &self,
        far: &Far,
        [first, lanes]: [usize; 2],
        room: &mut [MaybeUninit<u8>],
        numbers: &mut Vec<f32>,
    ) {
        let Rough { outputs, k, along_output, along_k, .. } = *self;
        let there = lanes.min(outputs - first);
        let at = far.at + 4 * (first * along_output) as u64;
        let reads = &far.stream.reads;
        if along_output == 1 {
            for (step, room) in room.chunks_exact_mut(4 * lanes).enumerate() {
                let (read, zeros) = room.split_at_mut(4 * there);
                reads.read(at + 4 * (step as u64 * along_k as u64), read);
                zeros.fill(MaybeUninit::new(0));
            }
            return;
        }
        numbers.clear();
        numbers.reserve_exact(there * k);
        {
            let rough = numbers.spare_capacity_mut().as_mut_ptr().cast::<MaybeUninit<u8>>();
            // SAFETY: there is room for so many floats of four bytes.
            let rough = unsafe { std::slice::from_raw_parts_mut(rough, 4 * there * k) };
            if along_output == k {
                reads.read(at, rough);
            } else {
                for (lane, rough) in rough.chunks_exact_mut(4 * k).enumerate() {
                    reads.read(at + 4 * (lane as u64 * along_output as u64), rough);
                }
            }
        }
        // SAFETY: all of them were written (`Reads::read`), and any bits are a float.
        unsafe { numbers.set_len(there * k) };
        assert!(room.len() >= 4 * lanes * k, "no room for a panel");
        if there == lanes {
            // SAFETY: there is room (asserted), at the address of a vector.
            unsafe { turn_to(numbers, lanes, k, k, room.as_mut_ptr().cast()) };
            return;
        }
        for (step, room) in room.chunks_exact_mut(4 * lanes).enumerate() {
            for (lane, room) in room.chunks_exact_mut(4).enumerate() {
                let number = if lane < there { numbers[lane * k + step] } else { 0.0 };
                room.write_copy_of_slice(&number.to_ne_bytes());
            }
        }
    }
}
