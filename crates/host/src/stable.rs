//! A canister's stable memory: sparse, with an undo log, and what the message under way has touched.
//!
//! Owns the bytes and tells how many 4 KiB pages a message read and wrote; charges nothing. What is not committed can be
//! rolled back, over several messages (an upgrade is one unit of pre_upgrade, start and post_upgrade).

use std::collections::HashMap;

use crate::heap::PAGE;

/// Bytes of a wasm page.
pub(crate) const WASM_PAGE: u64 = 65_536;
/// 500 GiB, in wasm pages.
pub(crate) const MAX_PAGES: u64 = 500 * (1 << 30) / WASM_PAGE;

const ACCESSED: u8 = 1;
const WRITTEN: u8 = 2;
const DIRTY: u8 = 4;

/// An access outside of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfBounds;

/// Pages an access touched for the first time in its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    /// Not touched before.
    pub read: u64,
    /// Not written before.
    pub written: u64,
}

/// Stable memory of one canister.
#[derive(Default)]
pub(crate) struct Stable {
    /// One entry per wasm page up to the last written; `None` reads as zeros.
    chunks: Vec<Option<Box<[u8]>>>,
    pages: u64,
    committed_pages: u64,
    /// What 4 KiB pages held at the last commit, for those written since.
    undo: HashMap<u64, Option<Box<[u8]>>>,
    /// A mark per 4 KiB page, as far as the message reached.
    marks: Vec<u8>,
    marked: Vec<u64>,
    accessed: u64,
    written: u64,
}

/// Changes lifted off a stable memory, to be put back later.
#[derive(Default)]
pub(crate) struct StableOverlay {
    pages: u64,
    content: Vec<(u64, Box<[u8]>)>,
}

impl Stable {
    /// Size in wasm pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Grows by `delta` wasm pages; answers the old size, or `None` over `limit` pages.
    pub fn grow(&mut self, delta: u64, limit: u64) -> Option<u64> {
        let new = self.pages.checked_add(delta)?;
        if new > limit {
            return None;
        }
        Some(std::mem::replace(&mut self.pages, new))
    }

    /// Whether `length` bytes at `offset` lie inside.
    pub fn check(&self, offset: u64, length: u64) -> Result<(), OutOfBounds> {
        match offset.checked_add(length) {
            Some(end) if end <= self.pages * WASM_PAGE => Ok(()),
            _ => Err(OutOfBounds),
        }
    }

    /// Fills `to` from `offset`, which must lie inside.
    pub fn read(&self, offset: u64, to: &mut [u8]) {
        for_each_part(offset, to.len(), WASM_PAGE, |chunk, within, range| {
            match self.chunks.get(chunk as usize).and_then(Option::as_ref) {
                Some(bytes) => {
                    let length = range.len();
                    to[range].copy_from_slice(&bytes[within..within + length]);
                }
                None => to[range].fill(0),
            }
        });
    }

    /// Writes `from` at `offset`, which must lie inside.
    pub fn write(&mut self, offset: u64, from: &[u8]) {
        for_each_part(offset, from.len(), PAGE as u64, |page, within, range| {
            self.remember(page);
            let length = range.len();
            self.page_mut(page)[within..within + length].copy_from_slice(&from[range]);
        });
    }

    fn remember(&mut self, page: u64) {
        if !self.undo.contains_key(&page) {
            let old = self.page(page).map(Box::from);
            self.undo.insert(page, old);
        }
    }

    fn page(&self, page: u64) -> Option<&[u8]> {
        let (chunk, at) = locate(page);
        (self.chunks.get(chunk)?.as_ref()).map(|bytes| &bytes[at..at + PAGE])
    }

    fn page_mut(&mut self, page: u64) -> &mut [u8] {
        let (chunk, at) = locate(page);
        if self.chunks.len() <= chunk {
            self.chunks.resize(chunk + 1, None);
        }
        let bytes = self.chunks[chunk].get_or_insert_with(|| vec![0; WASM_PAGE as usize].into());
        &mut bytes[at..at + PAGE]
    }

    /// Marks the pages of a range as read or written by this message, `unit` pages at a time; answers how many were not
    /// before.
    pub fn mark(&mut self, offset: u64, length: u64, unit: u64, write: bool) -> Marked {
        let mut new = Marked::default();
        if length == 0 {
            return new;
        }
        let (first, last) = (offset / PAGE as u64, (offset + length - 1) / PAGE as u64);
        let (unit_first, unit_last) = (first / unit * unit, (last / unit + 1) * unit - 1);
        if self.marks.len() <= unit_last as usize {
            self.marks.resize(unit_last as usize + 1, 0);
        }
        for page in unit_first..=unit_last {
            let mark = &mut self.marks[page as usize];
            if *mark == 0 {
                self.marked.push(page);
                self.accessed += 1;
                new.read += 1;
            }
            *mark |= ACCESSED;
            if write && *mark & WRITTEN == 0 {
                *mark |= WRITTEN;
                new.written += 1;
            }
            if write && *mark & DIRTY == 0 && (first..=last).contains(&page) {
                *mark |= DIRTY;
                self.written += 1;
            }
        }
        new
    }

    /// 4 KiB pages read or written by this message.
    pub fn accessed(&self) -> u64 {
        self.accessed
    }

    /// 4 KiB pages written by this message.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Forgets what was touched: a new message begins.
    pub fn begin_message(&mut self) {
        for page in self.marked.drain(..) {
            self.marks[page as usize] = 0;
        }
        self.accessed = 0;
        self.written = 0;
    }

    /// Makes the current content the committed one.
    pub fn commit(&mut self) {
        self.undo.clear();
        self.committed_pages = self.pages;
    }

    /// Brings the committed content and size back.
    pub fn rollback(&mut self) {
        for (page, old) in std::mem::take(&mut self.undo) {
            match old {
                Some(old) => self.page_mut(page).copy_from_slice(&old),
                None => self.page_mut(page).fill(0),
            }
        }
        self.pages = self.committed_pages;
        let chunks = self.chunks.len().min(self.pages as usize);
        self.chunks.truncate(chunks);
    }

    /// Lifts the changes off and leaves the committed content.
    pub fn lift(&mut self) -> StableOverlay {
        let content = (self.undo.keys()).filter_map(|page| Some((*page, self.page(*page)?.into()))).collect();
        let overlay = StableOverlay { pages: self.pages, content };
        self.rollback();
        overlay
    }

    /// Puts lifted changes back.
    pub fn lay(&mut self, overlay: &StableOverlay) {
        self.pages = overlay.pages;
        for (page, content) in &overlay.content {
            self.remember(*page);
            self.page_mut(*page).copy_from_slice(content);
        }
    }

    /// All bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.pages * WASM_PAGE) as usize];
        self.read(0, &mut bytes);
        bytes
    }

    /// Wasm pages that hold something, with their index.
    pub fn occupied(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.chunks.iter().enumerate()).filter_map(|(index, bytes)| Some((index as u64, bytes.as_deref()?)))
    }

    /// A committed memory of `pages` wasm pages with this content.
    pub fn restored(pages: u64, content: impl IntoIterator<Item = (u64, Box<[u8]>)>) -> Self {
        let mut stable = Self { pages, committed_pages: pages, ..Self::default() };
        for (index, bytes) in content {
            let index = index as usize;
            if stable.chunks.len() <= index {
                stable.chunks.resize(index + 1, None);
            }
            stable.chunks[index] = Some(bytes);
        }
        stable
    }
}

/// The wasm page of a 4 KiB page and where in it that begins.
fn locate(page: u64) -> (usize, usize) {
    let per_chunk = WASM_PAGE / PAGE as u64;
    ((page / per_chunk) as usize, (page % per_chunk) as usize * PAGE)
}

/// Cuts a range of memory at multiples of `unit`: the unit's index, where in it the part begins, and which bytes of the
/// caller's buffer it is.
fn for_each_part(
    offset: u64,
    length: usize,
    unit: u64,
    mut part: impl FnMut(u64, usize, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let within = at % unit;
        let take = ((unit - within) as usize).min(length - done);
        part(at / unit, within as usize, done..done + take);
        done += take;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_brings_bytes_and_size_back() {
        let mut stable = Stable::default();
        assert_eq!(stable.grow(2, MAX_PAGES), Some(0));
        stable.write(65_530, &[7; 12]);
        stable.commit();
        stable.begin_message();
        assert_eq!(stable.mark(65_530, 12, 1, true), Marked { read: 2, written: 2 });
        assert_eq!(stable.mark(65_535, 1, 1, true), Marked::default());
        assert_eq!(stable.mark(70_000, 1, 16, false), Marked { read: 15, written: 0 });
        assert_eq!((stable.accessed(), stable.written()), (17, 2));
        stable.write(65_534, &[9; 4]);
        assert_eq!(stable.grow(1, MAX_PAGES), Some(2));
        stable.write(2 * WASM_PAGE, &[1]);
        stable.rollback();
        let mut bytes = [0; 14];
        stable.read(65_529, &mut bytes);
        assert_eq!(bytes, [0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
        assert_eq!(stable.pages(), 2);
        assert_eq!(stable.grow(1, MAX_PAGES), Some(2));
        let mut zeros = [1; 1];
        stable.read(2 * WASM_PAGE, &mut zeros);
        assert_eq!(zeros, [0]);
    }

    #[test]
    fn lifted_changes_come_back() {
        let mut stable = Stable::default();
        stable.grow(1, MAX_PAGES);
        stable.commit();
        stable.write(0, &[1]);
        stable.grow(1, MAX_PAGES);
        let overlay = stable.lift();
        assert_eq!((stable.pages(), stable.to_vec()[0]), (1, 0));
        stable.lay(&overlay);
        assert_eq!((stable.pages(), stable.to_vec()[0]), (2, 1));
        stable.rollback();
        assert_eq!((stable.pages(), stable.to_vec()[0]), (1, 0));
    }
}
