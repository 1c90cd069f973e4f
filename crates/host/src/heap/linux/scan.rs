//! The page map as the kernel scans it: `PAGEMAP_SCAN`, of Linux 6.7, documented in its `admin-guide/mm/pagemap.rst`.
//!
//! Owns the call and its layouts, which are those of `linux/fs.h`. Decides nothing about what the pages mean.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use super::super::PAGE;
use super::super::space::Space;

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong =
    3 << 30 | (size_of::<Arguments>() as libc::c_ulong) << 16 | 0x66 << 8 | 16;

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;

/// Regions that one call answers at most.
const REGIONS: usize = 512;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Whether this kernel scans, found out once.
pub(super) fn supported() -> bool {
    static SCANS: OnceLock<bool> = OnceLock::new();
    *SCANS.get_or_init(|| {
        let scanned = || {
            let space = Space::reserve(PAGE, None)?;
            space.open(PAGE)?;
            walk(&File::open("/proc/self/pagemap")?, &space, false, |_, _| {})
        };
        scanned().is_ok()
    })
}

/// Calls `visit` with each page of `space` that is present or swapped, in order, and whether it was copied on write; with
/// those alone that were where nobody asks for `others`.
///
/// # Errors
/// What the kernel refuses: one that does not know the call says so.
pub(super) fn walk(
    page_map: &File,
    space: &Space,
    others: bool,
    mut visit: impl FnMut(u32, bool),
) -> io::Result<()> {
    // Required not to be there.
    let required = if others { 0 } else { IS_FILE };
    let mut regions = [Region::default(); REGIONS];
    let base = space.start() as u64;
    let end = base + space.size() as u64;
    let mut from = base;
    while from < end {
        let mut arguments = Arguments {
            size: size_of::<Arguments>() as u64,
            start: from,
            end,
            vec: regions.as_mut_ptr() as u64,
            vec_len: REGIONS as u64,
            category_inverted: required,
            category_mask: required,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_FILE | IS_PRESENT | IS_SWAPPED,
            ..Arguments::default()
        };
        // SAFETY: the arguments are laid out as the call wants them and name a buffer that outlives it.
        let found = unsafe { libc::ioctl(page_map.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arguments) };
        if found < 0 {
            return Err(io::Error::last_os_error());
        }
        for region in &regions[..found as usize] {
            let page = |address: u64| ((address - base) / PAGE as u64) as u32;
            for page in page(region.start)..page(region.end) {
                visit(page, region.categories & IS_FILE == 0);
            }
        }
        // A full buffer ends the walk early.
        from = arguments.walk_end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::{ADDRESSABLE, Committed, UNIT};
    use super::super::MemoryFile;
    use super::*;

    #[test]
    fn a_scan_tells_what_the_page_map_says() {
        if !supported() {
            let _ =
                io::Write::write_all(&mut io::stderr(), b"skipped: this kernel does not scan page maps\n");
            return;
        }
        let mut image = MemoryFile::new().unwrap();
        let space = image.space(ADDRESSABLE).unwrap();
        space.open(1 << 30).unwrap();
        // More regions than one call answers, some far apart; and pages that are read alone.
        for page in (0..3 * REGIONS).map(|n| 2 * n).chain([200_000, 250_000]) {
            space.bytes_mut()[page * PAGE] = 1;
        }
        let read: u8 = (300..340).map(|unit| space.bytes()[unit * UNIT]).sum();
        let told = |image: &MemoryFile, others: bool| {
            let (mut scanned, mut said) = (vec![], vec![]);
            walk(&image.page_map, &space, others, |page, written| scanned.push((page, written))).unwrap();
            let mut visit = |page, written| said.extend((others || written).then_some((page, written)));
            image.read(&space, &mut visit).unwrap();
            assert_eq!(scanned, said, "with others: {others}");
            scanned.len()
        };
        assert_eq!((told(&image, false), read), (3 * REGIONS + 2, 0));
        assert!(told(&image, true) >= 3 * REGIONS + 2 + 40);
        let changed = image.changed(&space).unwrap();
        image.commit(&space, &changed, false).unwrap();
        assert_eq!(told(&image, false), changed.len(), "what was written stays at hand, and is the image's");
        assert_eq!(image.changed(&space).unwrap(), [0; 0]);
        image.rollback(&space, false).unwrap();
        assert_eq!((told(&image, false), space.bytes()[250_000 * PAGE]), (0, 1));
    }
}
