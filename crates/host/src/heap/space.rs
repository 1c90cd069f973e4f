//! A reserved stretch of addresses whose beginning is open to reads and writes.
//!
//! Owns the mapping and gives it back when dropped. Decides nothing about what it shows.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Address space for one linear memory with its guard.
pub(super) struct Space {
    base: *mut u8,
    reserved: usize,
    start: *mut u8,
    size: AtomicUsize,
}

// SAFETY: the pointers name memory this value owns alone; whoever reads or writes through them holds the instance.
unsafe impl Send for Space {}
// SAFETY: as above; shared access only reads the pointer and the atomic size.
unsafe impl Sync for Space {}

/// Alignment of the start, so that the kernel's fault-around windows are the tracked units.
const ALIGN: usize = 1 << 21;

impl Space {
    /// Reserves `bytes` without access rights; with `file`, privately mapped from it.
    pub fn reserve(bytes: usize, file: Option<libc::c_int>) -> io::Result<Self> {
        let reserved = bytes + ALIGN;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), reserved, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = base.cast::<u8>();
        let start = base.wrapping_add(base.align_offset(ALIGN));
        let space = Self { base, reserved, start, size: AtomicUsize::new(0) };
        if let Some(file) = file {
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
            // SAFETY: replaces part of the reservation made above, which nothing else uses.
            let mapped =
                unsafe { libc::mmap(start.cast(), super::ADDRESSABLE, libc::PROT_NONE, flags, file, 0) };
            if mapped == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(space)
    }

    /// Opens the first `size` bytes.
    pub fn open(&self, size: usize) -> io::Result<()> {
        if size > 0 {
            // SAFETY: the range lies in the reservation this value owns.
            let result =
                unsafe { libc::mprotect(self.start.cast(), size, libc::PROT_READ | libc::PROT_WRITE) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    /// First address.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// Bytes that are open.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Acquire)
    }

    /// The open bytes. No wasm may run on them meanwhile.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped readable, and no wasm runs while the heap's owner looks at it.
        unsafe { std::slice::from_raw_parts(self.start, self.size()) }
    }

    /// The open bytes, to write. No wasm may run on them and no other slice of them may live meanwhile.
    #[allow(clippy::mut_from_ref, reason = "the heap that holds the space is borrowed mutably")]
    pub fn bytes_mut(&self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the caller holds the heap mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.size()) }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing refers to it any more.
        unsafe {
            libc::munmap(self.base.cast(), self.reserved);
        }
    }
}
