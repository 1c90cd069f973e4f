//! Extents: where model files lie in the blob memory, and how one is read.
//!
//! ```text
//! blob memory, in pages of 64 KiB
//! | version 1 | gap | open upload | version 2        | gap ... end of memory
//! ```
//!
//! A file takes whole pages, contiguously. Which pages are taken is derived from the records of versions and open
//! uploads each time an upload begins, never stored, so that it cannot disagree with them. Nothing here writes.

use std::mem::MaybeUninit;

use ic_stable_structures::Memory;
use thiserror::Error;

/// Bytes of a page of stable memory.
pub const PAGE_BYTES: u64 = 65_536;

/// A run of pages in the blob memory.
///
/// INVARIANT: the extents of all versions and open uploads are disjoint and lie within the blob memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    /// First page.
    pub(crate) start: u64,
    /// Pages, at least 1.
    pub(crate) pages: u64,
}

impl Extent {
    /// Pages that `bytes` take.
    pub(crate) fn pages_for(bytes: u64) -> u64 {
        bytes.div_ceil(PAGE_BYTES)
    }

    /// Byte offset of its start in the blob memory.
    pub(crate) fn offset(self) -> u64 {
        self.start * PAGE_BYTES
    }

    /// Bytes of its pages.
    pub(crate) fn bytes(self) -> u64 {
        self.pages * PAGE_BYTES
    }

    /// First page behind it.
    pub(crate) fn end(self) -> u64 {
        self.start + self.pages
    }
}

/// The first gap between `taken` extents that holds `pages`, or the pages behind the last of them. Sorts `taken`.
pub(crate) fn first_fit(taken: &mut [Extent], pages: u64) -> Extent {
    taken.sort_unstable();
    let mut start = 0;
    for extent in taken.iter() {
        if extent.start.saturating_sub(start) >= pages {
            break;
        }
        start = start.max(extent.end());
    }
    Extent { start, pages }
}

/// Why bytes of a file cannot be read.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The range reaches past the file.
    #[error("bytes {offset} to {} are asked for, the file has {bytes}", offset.saturating_add(*asked))]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        asked: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// The heap cannot hold the file.
    #[error("the heap has no room for a file of {bytes} bytes")]
    HeapExhausted {
        /// Bytes of the file.
        bytes: u64,
    },
}

/// A model file in stable memory. Borrows the store, so it cannot outlive the record that it was looked up from.
pub struct Blob<'a, M> {
    memory: &'a M,
    offset: u64,
    bytes: u64,
}

impl<'a, M: Memory> Blob<'a, M> {
    pub(crate) fn new(memory: &'a M, extent: Extent, bytes: u64) -> Self {
        Blob { memory, offset: extent.offset(), bytes }
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it begins in the memory of the model files, whose bytes they are.
    pub fn begins_at(&self) -> u64 {
        self.offset
    }

    /// Fills `dst` from the file's bytes at `offset`. Costs 20 instructions and 1 a byte, and stable page access.
    pub fn read(&self, offset: u64, dst: &mut [u8]) -> Result<(), ReadError> {
        let asked = dst.len() as u64;
        if offset.checked_add(asked).is_none_or(|end| end > self.bytes) {
            return Err(ReadError::OutOfRange { offset, asked, bytes: self.bytes });
        }
        self.memory.read(self.offset + offset, dst);
        Ok(())
    }

    /// [`Self::read`] into bytes that need not be there before.
    #[allow(unsafe_code, reason = "zeros would cost an instruction a byte")]
    pub fn fill(&self, offset: u64, dst: &mut [MaybeUninit<u8>]) -> Result<(), ReadError> {
        let asked = dst.len() as u64;
        if offset.checked_add(asked).is_none_or(|end| end > self.bytes) {
            return Err(ReadError::OutOfRange { offset, asked, bytes: self.bytes });
        }
        // SAFETY: there is room for so many bytes, which are only written.
        unsafe { self.memory.read_unsafe(self.offset + offset, dst.as_mut_ptr().cast(), dst.len()) };
        Ok(())
    }

    /// The whole file in the heap. Costs 2 instructions a byte (zeroing, reading); admit its bytes first.
    pub fn to_vec(&self) -> Result<Vec<u8>, ReadError> {
        let exhausted = ReadError::HeapExhausted { bytes: self.bytes };
        let len = usize::try_from(self.bytes).map_err(|_| exhausted.clone())?;
        let mut file = Vec::new();
        file.try_reserve_exact(len).map_err(|_| exhausted)?;
        file.resize(len, 0);
        self.read(0, &mut file)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, pages: u64) -> Extent {
        Extent { start, pages }
    }

    #[test]
    fn first_fit_takes_the_first_gap_that_holds() {
        assert_eq!(first_fit(&mut [], 5), extent(0, 5));
        let mut taken = [extent(7, 3), extent(0, 2), extent(4, 1)];
        assert_eq!(first_fit(&mut taken, 1), extent(2, 1));
        assert_eq!(first_fit(&mut taken, 2), extent(2, 2));
        assert_eq!(first_fit(&mut taken, 3), extent(10, 3));
        assert_eq!(first_fit(&mut [extent(4, 1)], 4), extent(0, 4));
    }

    #[test]
    fn a_file_takes_whole_pages() {
        for (bytes, pages) in [(1, 1), (65_536, 1), (65_537, 2), (u64::MAX, 1 << 48)] {
            assert_eq!(Extent::pages_for(bytes), pages);
        }
    }

    #[test]
    fn reads_stay_within_the_file() {
        let memory = ic_stable_structures::VectorMemory::default();
        memory.grow(2);
        memory.write(65_536, b"abc");
        let blob = Blob::new(&memory, extent(1, 1), 3);
        assert_eq!(blob.to_vec(), Ok(b"abc".to_vec()));
        let mut two = [0; 2];
        assert_eq!(blob.read(1, &mut two), Ok(()));
        assert_eq!(&two, b"bc");
        for offset in [2, u64::MAX] {
            assert_eq!(
                blob.read(offset, &mut two),
                Err(ReadError::OutOfRange { offset, asked: 2, bytes: 3 })
            );
        }
    }
}
