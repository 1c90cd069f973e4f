//! The wasm heap of one canister: what the last commit point left, and what the message under way has changed.
//!
//! Owns the address space wasmtime runs in and the committed image beside it, and tells the two apart page by page.
//! Rolling back costs what the message touched, not what the canister holds. Knows nothing of canisters or messages,
//! and must never be read while wasm is running on it.
//!
//! On Linux the live mapping is a private mapping of the committed image (a memory file): the kernel copies a page when
//! it is first written and its page map tells which ones it copied. Where there is no page map to read the image is a
//! plain copy and the whole heap is compared.
#![allow(
    unsafe_code,
    reason = "wasmtime's memory traits hand out raw pointers, and copy-on-write mappings need mmap"
)]

#[cfg(target_os = "linux")]
mod linux;
mod portable;
mod space;

use std::cell::RefCell;
use std::sync::Arc;

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use space::Space;

/// Bytes of a page as the replica tracks and charges them.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a unit in which newer schedules track access.
const UNIT: usize = 65_536;
/// Bytes of wasm memory a 32-bit module can address.
pub(crate) const ADDRESSABLE: usize = 4 << 30;

/// Where a heap's committed pages are kept. One implementation per way the operating system can help.
trait Committed: Sized + Send {
    /// An empty image.
    fn new() -> std::io::Result<Self>;

    /// The address space a module runs in, showing the image.
    fn space(&self, reserve: usize) -> std::io::Result<Space>;

    /// Pages whose content differs from the image.
    fn changed(&self, space: &Space) -> std::io::Result<Vec<u32>>;

    /// Units of 64 KiB read and written since the last commit or rollback.
    fn touched(&self, space: &Space) -> std::io::Result<Touched>;

    /// Takes these pages into the image. With `reads` nothing counts as read any more; else what was read may go on counting.
    fn commit(&mut self, space: &Space, changed: &[u32], reads: bool) -> std::io::Result<()>;

    /// Makes the space show the image again; `reads` as for a commit.
    fn rollback(&mut self, space: &Space, reads: bool) -> std::io::Result<()>;
}

/// The image this system can have, found out once.
enum Image {
    #[cfg(target_os = "linux")]
    File(linux::MemoryFile),
    Copy(portable::Copy),
}

impl Image {
    #[cfg(target_os = "linux")]
    fn new() -> std::io::Result<Self> {
        static PAGE_MAP_TELLS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        if *PAGE_MAP_TELLS.get_or_init(|| linux::probe().unwrap_or(false)) {
            linux::MemoryFile::new().map(Self::File)
        } else {
            portable::Copy::new().map(Self::Copy)
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> std::io::Result<Self> {
        portable::Copy::new().map(Self::Copy)
    }

    fn space(&self, reserve: usize) -> std::io::Result<Space> {
        match self {
            #[cfg(target_os = "linux")]
            Self::File(file) => file.space(reserve),
            Self::Copy(copy) => copy.space(reserve),
        }
    }

    fn changed(&self, space: &Space) -> std::io::Result<Vec<u32>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::File(file) => file.changed(space),
            Self::Copy(copy) => copy.changed(space),
        }
    }

    fn touched(&self, space: &Space) -> std::io::Result<Touched> {
        match self {
            #[cfg(target_os = "linux")]
            Self::File(file) => file.touched(space),
            Self::Copy(copy) => copy.touched(space),
        }
    }

    fn commit(&mut self, space: &Space, changed: &[u32], reads: bool) -> std::io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::File(file) => file.commit(space, changed, reads),
            Self::Copy(copy) => copy.commit(space, changed, reads),
        }
    }

    fn rollback(&mut self, space: &Space, reads: bool) -> std::io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::File(file) => file.rollback(space, reads),
            Self::Copy(copy) => copy.rollback(space, reads),
        }
    }
}

/// How much memory a message has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Units read or written.
    pub accessed: u64,
    /// Units written.
    pub written: u64,
}

/// A canister's heap.
pub(crate) struct Heap {
    image: Image,
    space: Arc<Space>,
    /// Bytes that were addressable at the last commit.
    committed: usize,
    /// Whether what a message reads is asked for: pages are then forgotten after each that otherwise stay at hand.
    reads: bool,
}

/// Changes lifted off a heap, to be put back later.
pub(crate) struct Overlay {
    /// Bytes addressable when it was lifted.
    pub size: usize,
    pages: Vec<(u32, Box<[u8]>)>,
}

impl Heap {
    /// Bytes addressable now.
    pub fn size(&self) -> usize {
        self.space.size()
    }

    /// Bytes addressable at the last commit.
    pub fn committed_size(&self) -> usize {
        self.committed
    }

    /// Pages that differ from the last commit.
    pub fn changed(&self) -> std::io::Result<Vec<u32>> {
        self.image.changed(&self.space)
    }

    /// Has reads be told apart by message, for [`Heap::touched`].
    pub fn watch_reads(&mut self, reads: bool) {
        self.reads = reads;
    }

    /// Memory touched since the last commit or rollback, in 64 KiB units; where [reads are watched](Heap::watch_reads).
    pub fn touched(&self) -> std::io::Result<Touched> {
        self.image.touched(&self.space)
    }

    /// Makes the current content and size the committed one. `changed` is what [`Heap::changed`] answered.
    pub fn commit(&mut self, changed: &[u32]) -> std::io::Result<()> {
        self.image.commit(&self.space, changed, self.reads)?;
        self.committed = self.space.size();
        Ok(())
    }

    /// Brings the committed content back. The size stays: where it grew the instance has to be made anew.
    pub fn rollback(&mut self) -> std::io::Result<()> {
        self.image.rollback(&self.space, self.reads)
    }

    /// Lifts the changes off the heap and leaves the committed content.
    pub fn lift(&mut self) -> std::io::Result<Overlay> {
        let live = self.space.bytes();
        let pages = self
            .changed()?
            .into_iter()
            .map(|page| {
                let at = page as usize * PAGE;
                (page, live[at..at + PAGE].into())
            })
            .collect();
        let overlay = Overlay { size: self.size(), pages };
        self.rollback()?;
        Ok(overlay)
    }

    /// Writes lifted changes back. The heap must be at least as large as it was.
    pub fn lay(&mut self, overlay: &Overlay) {
        let live = self.space.bytes_mut();
        for (page, content) in &overlay.pages {
            let at = *page as usize * PAGE;
            live[at..at + PAGE].copy_from_slice(content);
        }
    }

    /// How many of these pages are as they were when `overlay` was lifted.
    pub fn unchanged_since(&self, overlay: &Overlay, pages: &[u32]) -> u64 {
        let live = self.space.bytes();
        let same = |(page, content): &&(u32, Box<[u8]>)| {
            let at = *page as usize * PAGE;
            pages.binary_search(page).is_ok() && live[at..at + PAGE] == **content
        };
        overlay.pages.iter().filter(same).count() as u64
    }

    /// The committed content. Only right after a commit or a rollback.
    pub fn bytes(&self) -> &[u8] {
        &self.space.bytes()[..self.committed]
    }

    /// Fills the heap with `content` and commits it.
    pub fn restore(&mut self, content: &[u8]) -> std::io::Result<()> {
        self.rollback()?;
        self.space.bytes_mut()[..content.len()].copy_from_slice(content);
        let changed = self.changed()?;
        self.commit(&changed)
    }
}

thread_local! {
    /// How [`Creator`] gets a committed image in and a heap out: wasmtime's interface has no room for either.
    static HANDOVER: RefCell<Handover> = const { RefCell::new(Handover { adopt: None, made: None }) };
}

struct Handover {
    adopt: Option<Image>,
    made: Option<(Image, Arc<Space>)>,
}

/// Runs `instantiate` so that a memory made in it shows the committed content of `old`, and answers the heap beside its
/// result; `None` where the module has no memory.
pub(crate) fn capture<T>(old: Option<Heap>, instantiate: impl FnOnce() -> T) -> (T, Option<Heap>) {
    let committed = old.as_ref().map_or(0, |heap| heap.committed);
    HANDOVER.with_borrow_mut(|handover| {
        handover.adopt = old.map(|heap| heap.image);
        handover.made = None;
    });
    let result = instantiate();
    let made = HANDOVER.with_borrow_mut(|handover| {
        handover.adopt = None;
        handover.made.take()
    });
    let heap = made.map(|(image, space)| Heap { image, space, committed, reads: true });
    (result, heap)
}

/// Makes the memories of every module the engine instantiates.
pub(crate) struct Creator;

// SAFETY: the space reserves `reserved_size_in_bytes` and the guard after it without access rights, never moves, and lives
// as long as the `LinearMemory`, which shares its ownership.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let reserve = reserved_size_in_bytes.unwrap_or(ADDRESSABLE).max(minimum);
        let make = |adopt: Option<Image>| -> std::io::Result<(Image, Space)> {
            let image = match adopt {
                Some(image) => image,
                None => Image::new()?,
            };
            let space = image.space(reserve + guard_size_in_bytes)?;
            space.open(minimum)?;
            Ok((image, space))
        };
        HANDOVER.with_borrow_mut(|handover| {
            let (image, space) = make(handover.adopt.take()).map_err(|error| error.to_string())?;
            let space = Arc::new(space);
            handover.made = Some((image, Arc::clone(&space)));
            Ok(Box::new(Live(space)) as Box<dyn LinearMemory>)
        })
    }
}

struct Live(Arc<Space>);

// SAFETY: the pointer is the start of the space, whose first `byte_size` bytes are readable and writable and which never
// moves while this value lives.
unsafe impl LinearMemory for Live {
    fn byte_size(&self) -> usize {
        self.0.size()
    }

    fn byte_capacity(&self) -> usize {
        ADDRESSABLE
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.0.open(new_size)?;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.start()
    }
}

#[cfg(test)]
mod tests;
