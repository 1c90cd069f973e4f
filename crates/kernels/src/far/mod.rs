//! Packed operands that are not in the heap: read panel by panel, as products need them, through one bounded cache.
//!
//! A [`Stream`] is where the numbers of one graph lie, and the [`Cache`] that they come through, which many streams share. What is
//! streamed is either packed already, as an image has it, or lies as the model's file has it and is packed whenever it is read.
//! Whatever way a panel comes, its bits are those that packing in the heap gives.

mod cache;
mod numbers;

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::product::{By, Weights};
use crate::{Conv, HwcConv, Lines, Panels, Strided, Winograd};

pub use cache::{Cache, Usage};
pub(crate) use numbers::Numbers;
pub use numbers::Pieces;

/// Bytes somewhere else than in the heap, which never change.
pub trait Reads: fmt::Debug + Send + Sync {
    /// Fills `to` with the bytes from `at` on. Every byte of `to` must be written. About an instruction a byte, and [`READ`] for
    /// the call.
    fn read(&self, at: u64, to: &mut [MaybeUninit<u8>]);
}

/// What a read takes beside its bytes: the call, and finding where the bytes lie.
pub const READ: u64 = 600;

/// What a panel takes that is looked up in the cache.
pub(crate) const LOOKUP: u64 = 1_200;

/// Where a graph's numbers lie that are not in the heap. What came from it leaves the cache with it.
#[derive(Debug)]
pub struct Stream {
    pub(crate) reads: Box<dyn Reads>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) id: u64,
    /// Arrays so far, to tell their panels apart.
    arrays: AtomicU64,
}

impl Stream {
    /// Of what `reads` gives, through `cache`.
    pub fn new(reads: Box<dyn Reads>, cache: &Arc<Cache>) -> Arc<Stream> {
        let id = cache.admit();
        Arc::new(Stream { reads, cache: Arc::clone(cache), id, arrays: AtomicU64::new(0) })
    }

    /// What the cache has of it, in bytes.
    pub fn cached_bytes(&self) -> u64 {
        self.cache.kept_of(self)
    }

    /// Fills `to` with the bytes from `at` on, past the cache.
    pub fn read(&self, at: u64, to: &mut [MaybeUninit<u8>]) {
        self.reads.read(at, to);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cache.forget(self.id);
    }
}

/// An array in a stream.
#[derive(Clone, Debug)]
pub struct Far {
    pub(crate) stream: Arc<Stream>,
    /// Its number among those of the stream.
    pub(crate) array: u64,
    /// Its first byte.
    pub(crate) at: u64,
    pub(crate) lies: Lies,
}

/// How an array lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// Panel after panel.
    Packed,
    /// As f32 in rows: packed when it is read.
    Rough(Rough),
}

/// A matrix of f32 as a file has it, one operand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rough {
    pub(crate) by: By,
    pub(crate) outputs: usize,
    pub(crate) k: usize,
    /// Numbers from one output to the next.
    pub(crate) along_output: usize,
    /// Numbers from one step of the sums to the next.
    pub(crate) along_k: usize,
}

impl Far {
    /// An array that is packed, from that byte of the stream on.
    pub fn packed(stream: &Arc<Stream>, at: u64) -> Far {
        Far::of(stream, at, Lies::Packed)
    }

    pub(crate) fn of(stream: &Arc<Stream>, at: u64, lies: Lies) -> Far {
        let array = stream.arrays.fetch_add(1, Ordering::Relaxed);
        Far { stream: Arc::clone(stream), array, at, lies }
    }
}

impl PartialEq for Far {
    fn eq(&self, other: &Far) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream) && self.array == other.array
    }
}

/// What a kernel has in streams.
pub trait Streams {
    /// Bytes of weights that are read when it runs, and not in the heap.
    fn far_bytes(&self) -> u64;

    /// Puts the streams that they are in among `all`, each once.
    fn streams(&self, all: &mut Vec<Arc<Stream>>);
}

impl<T> Streams for Numbers<T> {
    fn far_bytes(&self) -> u64 {
        if self.are_here() { 0 } else { (self.len() * size_of::<T>()) as u64 }
    }

    fn streams(&self, all: &mut Vec<Arc<Stream>>) {
        if let Numbers::Far(far, _) = self
            && !all.iter().any(|stream| Arc::ptr_eq(stream, &far.stream))
        {
            all.push(Arc::clone(&far.stream));
        }
    }
}

impl Streams for Weights {
    fn far_bytes(&self) -> u64 {
        self.packed.far_bytes()
    }

    fn streams(&self, all: &mut Vec<Arc<Stream>>) {
        self.packed.streams(all);
    }
}

impl Streams for Panels {
    fn far_bytes(&self) -> u64 {
        match self {
            Panels::F32(weights) => weights.far_bytes(),
            Panels::Strassen(weights) => weights.parts.far_bytes(),
            Panels::Whole(weights) => weights.packed.far_bytes(),
        }
    }

    fn streams(&self, all: &mut Vec<Arc<Stream>>) {
        match self {
            Panels::F32(weights) => weights.streams(all),
            Panels::Strassen(weights) => weights.parts.streams(all),
            Panels::Whole(weights) => weights.packed.streams(all),
        }
    }
}

impl<T: Streams> Streams for Vec<T> {
    fn far_bytes(&self) -> u64 {
        self.iter().map(Streams::far_bytes).sum()
    }

    fn streams(&self, all: &mut Vec<Arc<Stream>>) {
        self.iter().for_each(|one| one.streams(all));
    }
}

/// Kernels with one field of weights.
macro_rules! streams {
    ($($kernel:ident $weights:ident),*) => {
        $(impl Streams for $kernel {
            fn far_bytes(&self) -> u64 {
                self.$weights.far_bytes()
            }

            fn streams(&self, all: &mut Vec<Arc<Stream>>) {
                self.$weights.streams(all);
            }
        })*
    };
}

streams!(Conv groups, HwcConv weights, Winograd weights, Strided weights, Lines weights);

#[cfg(test)]
mod tests;
