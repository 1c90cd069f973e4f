//! The committed image as a memory file, mapped privately where wasm runs and shared where it is read and written.
//!
//! Owns the file and reads the kernel's page map: a page of the private mapping that is present and no file page was
//! written since. Kernels from 6.7 on scan it for us and pass over what was never touched; from others it is read entry by
//! entry. Must never be written through the private mapping.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use super::space::Space;
use super::{ADDRESSABLE, Committed, PAGE, Touched, UNIT};

mod scan;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_OR_SHARED: u64 = 1 << 61;
/// Pages between two that are dropped from which on they are dropped apart: as many as the kernel maps at once.
const APART: u32 = 16;
/// Pages of the image that stay mapped from message to message at most: 16 MiB. The kernel looks at each when it is asked for
/// those that were written.
const READ_AT_HAND: usize = 4096;
/// Page map entries read at once.
const BATCH: usize = 1 << 15;

/// A memory file of 4 GiB, sparse.
pub(crate) struct MemoryFile {
    file: File,
    shared: *mut u8,
    page_map: File,
}

// SAFETY: the pointer names a mapping this value owns alone.
unsafe impl Send for MemoryFile {}

impl MemoryFile {
    /// Calls `visit` with each page that is present or swapped and whether it was copied on write; with those alone that
    /// were where nobody asks for `others`.
    fn walk(&self, space: &Space, others: bool, mut visit: impl FnMut(u32, bool)) -> io::Result<()> {
        if scan::supported() {
            return scan::walk(&self.page_map, space, others, visit);
        }
        self.read(space, &mut |page, written| {
            if others || written {
                visit(page, written);
            }
        })
    }

    /// [`MemoryFile::walk`] by every entry of the page map.
    fn read(&self, space: &Space, visit: &mut impl FnMut(u32, bool)) -> io::Result<()> {
        let pages = space.size() / PAGE;
        let first = space.start() as usize / PAGE;
        let mut entries = vec![0u8; BATCH.min(pages) * 8];
        let mut page = 0;
        while page < pages {
            let count = BATCH.min(pages - page);
            let bytes = &mut entries[..count * 8];
            self.page_map.read_exact_at(bytes, ((first + page) * 8) as u64)?;
            for (index, entry) in bytes.chunks_exact(8).enumerate() {
                let entry = u64::from_ne_bytes(entry.try_into().unwrap_or_default());
                if entry & (PRESENT | SWAPPED) != 0 {
                    visit((page + index) as u32, entry & FILE_OR_SHARED == 0);
                }
            }
            page += count;
        }
        Ok(())
    }

    fn page_of_image(&self, page: u32) -> &[u8] {
        // SAFETY: the shared mapping covers 4 GiB and lives as long as `self`; nobody writes it while it is read.
        unsafe { std::slice::from_raw_parts(self.shared.add(page as usize * PAGE), PAGE) }
    }

    /// Drops what the private mapping holds; where what was `read` need not be told of the next message, and is not too much
    /// to look through after it, only the pages that were written, but for the `kept`, which are as in the image.
    fn forget(&self, space: &Space, kept: &[u32], reads: bool) -> io::Result<()> {
        let (mut all, mut written_ones, mut read) = (Runs::default(), Runs::default(), 0);
        let mut kept = kept.iter().copied().peekable();
        self.walk(space, true, |page, written| {
            all.push(page);
            while kept.next_if(|kept| *kept < page).is_some() {}
            if !written {
                read += 1;
            } else if kept.peek() != Some(&page) {
                written_ones.push(page);
            }
        })?;
        let runs = if reads || read > READ_AT_HAND { all } else { written_ones };
        for (start, end) in runs.0 {
            let at = space.start().wrapping_add(start as usize * PAGE);
            let length = (end - start) as usize * PAGE;
            // SAFETY: the range lies in the open part of the space; private copies are meant to be dropped.
            if unsafe { libc::madvise(at.cast(), length, libc::MADV_DONTNEED) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// Pages that are dropped together, from the first to behind the last of each run.
#[derive(Default)]
struct Runs(Vec<(u32, u32)>);

impl Runs {
    /// Adds a page behind all others.
    fn push(&mut self, page: u32) {
        match self.0.last_mut() {
            Some((_, end)) if page - *end < APART => *end = page + 1,
            _ => self.0.push((page, page + 1)),
        }
    }
}

/// Whether this kernel's page map tells written pages from others; some sandboxes have none or an empty one.
pub(super) fn probe() -> io::Result<bool> {
    let image = MemoryFile::new()?;
    let space = image.space(ADDRESSABLE)?;
    space.open(4 * PAGE)?;
    let read = space.bytes()[PAGE];
    space.bytes_mut()[0] = 1;
    Ok(read == 0 && image.changed(&space)? == [0] && image.touched(&space)?.written == 1)
}

impl Committed for MemoryFile {
    fn new() -> io::Result<Self> {
        // SAFETY: the name is a terminated string; the descriptor answered is owned by nobody else.
        let file = unsafe {
            let descriptor = libc::memfd_create(c"heap".as_ptr(), libc::MFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(descriptor)
        };
        file.set_len(ADDRESSABLE as u64)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let shared = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ADDRESSABLE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if shared == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { file, shared: shared.cast(), page_map: File::open("/proc/self/pagemap")? })
    }

    fn space(&self, reserve: usize) -> io::Result<Space> {
        Space::reserve(reserve, Some(self.file.as_raw_fd()))
    }

    fn changed(&self, space: &Space) -> io::Result<Vec<u32>> {
        let live = space.bytes();
        let mut changed = Vec::new();
        self.walk(space, false, |page, written| {
            let at = page as usize * PAGE;
            if written && live[at..at + PAGE] != *self.page_of_image(page) {
                changed.push(page);
            }
        })?;
        Ok(changed)
    }

    fn touched(&self, space: &Space) -> io::Result<Touched> {
        let mut touched = Touched::default();
        let (mut accessed_unit, mut written_unit) = (None, None);
        self.walk(space, true, |page, written| {
            let unit = Some(page / (UNIT / PAGE) as u32);
            if accessed_unit != unit {
                accessed_unit = unit;
                touched.accessed += 1;
            }
            if written && written_unit != unit {
                written_unit = unit;
                touched.written += 1;
            }
        })?;
        Ok(touched)
    }

    fn commit(&mut self, space: &Space, changed: &[u32], reads: bool) -> io::Result<()> {
        let live = space.bytes();
        for page in changed {
            let at = *page as usize * PAGE;
            // SAFETY: the shared mapping covers 4 GiB and is written by nobody else.
            let image = unsafe { std::slice::from_raw_parts_mut(self.shared.add(at), PAGE) };
            image.copy_from_slice(&live[at..at + PAGE]);
        }
        // What one message wrote the next writes again, most of it: it needs no copy then.
        self.forget(space, changed, reads)
    }

    fn rollback(&mut self, space: &Space, reads: bool) -> io::Result<()> {
        self.forget(space, &[], reads)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing refers to it any more.
        unsafe {
            libc::munmap(self.shared.cast(), ADDRESSABLE);
        }
    }
}
