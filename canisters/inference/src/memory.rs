//! The map of stable memory. Every `MemoryId` of the canister is named here and nowhere else; an id is never given
//! another meaning.

use std::cell::Cell;
use std::mem::MaybeUninit;

use ic_nn_store::{Memories, PAGE_BYTES};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{DefaultMemoryImpl, Memory as StableMemory};

/// What the store's tables live in: a virtual memory that refuses to grow where the manager would panic, at the last
/// of its buckets.
pub(crate) struct Memory(VirtualMemory<DefaultMemoryImpl>);

impl StableMemory for Memory {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        match self.size().checked_add(pages) {
            Some(size) if size <= MOST_PAGES => self.0.grow(pages),
            _ => -1,
        }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        touch(dst.len());
        self.0.read(offset, dst);
    }

    #[allow(unsafe_code, reason = "the trait's own way writes zeros first, an instruction a byte")]
    unsafe fn read_unsafe(&self, offset: u64, dst: *mut u8, count: usize) {
        touch(count);
        // SAFETY: the caller's.
        unsafe { self.0.read_unsafe(offset, dst, count) }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        touch(src.len());
        self.0.write(offset, src);
    }
}

/// Of each of the store's memories. The model files have the highest id, so that new tables find theirs below.
const IDS: [(&str, MemoryId); 19] = [
    ("settings", MemoryId::new(0)),
    ("names", MemoryId::new(1)),
    ("versions", MemoryId::new(2)),
    ("facts", MemoryId::new(3)),
    ("uploads", MemoryId::new(4)),
    ("graphs", MemoryId::new(5)),
    ("labels", MemoryId::new(6)),
    ("provenance", MemoryId::new(7)),
    ("properties", MemoryId::new(8)),
    ("statistics", MemoryId::new(9)),
    ("contexts", MemoryId::new(10)),
    ("context_index", MemoryId::new(11)),
    ("roles", MemoryId::new(12)),
    ("callers", MemoryId::new(13)),
    ("audit", MemoryId::new(14)),
    ("images", MemoryId::new(15)),
    ("jobs", MemoryId::new(16)),
    ("job_data", MemoryId::new(17)),
    ("blobs", BLOBS_ID),
];

const BLOBS_ID: MemoryId = MemoryId::new(100);

/// Pages of a bucket: 2 MiB. The manager addresses 32,768 buckets, 64 GiB; an empty canister takes one for each table.
const BUCKET_PAGES: u16 = 32;

/// Pages that one memory may have: 32,768 buckets less 256 (512 MiB) for all the other tables.
const MOST_PAGES: u64 = (32_768 - 256) * BUCKET_PAGES as u64;

/// Buckets that the tables may take in one message without asking: one for each of those that publishing a version, or an
/// inference, may write to.
const SPARE_BUCKETS: u64 = 8;

/// Bytes that a message touches at most before it leaves the rest to the next: the Internet Computer lets an update touch 2 GiB. What
/// is left is for whole pages of which some bytes are read, as a matrix is that is packed on the way.
const MOST_TOUCHED: u64 = 3 << 29;

/// What does not count.
const LITTLE: u64 = 1 << 28;

thread_local! {
    /// Bytes of stable memory that this message has read and written.
    static TOUCHED: Cell<u64> = const { Cell::new(0) };
    static MANAGER: MemoryManager<DefaultMemoryImpl> =
        MemoryManager::init_with_bucket_size(DefaultMemoryImpl::default(), BUCKET_PAGES);
    /// The memory of the model files.
    static BLOBS: VirtualMemory<DefaultMemoryImpl> = MANAGER.with(|m| m.get(BLOBS_ID));
}

fn touch(bytes: usize) {
    TOUCHED.set(TOUCHED.get().saturating_add(bytes as u64));
}

/// Counts from nothing: a message begins that may touch much.
pub(crate) fn begin_message() {
    TOUCHED.set(0);
}

/// Whether this message may go on with a step of so many instructions, which reads no more bytes than that: always, where it has read
/// little so far. What reads much is cut into steps of 1 B.
pub(crate) fn may_touch(instructions: u64) -> bool {
    let touched = TOUCHED.get();
    touched < LITTLE || touched.saturating_add(instructions) <= MOST_TOUCHED
}

/// Fills `to` from the memory of the model files.
///
/// # Panics
/// Where it is not that long: whoever asks holds what it reads.
#[allow(unsafe_code, reason = "zeros would cost an instruction a byte")]
pub(crate) fn fill(offset: u64, to: &mut [MaybeUninit<u8>]) {
    touch(to.len());
    // SAFETY: there is room for so many bytes, which are only written.
    BLOBS.with(|blobs| unsafe { blobs.read_unsafe(offset, to.as_mut_ptr().cast(), to.len()) });
}

/// The store's memories in the canister's stable memory.
pub(crate) fn memories() -> Memories<Memory> {
    Memories::each(|name| match IDS.iter().find(|(known, _)| *known == name) {
        Some((_, id)) => Memory(MANAGER.with(|m| m.get(*id))),
        None => {
            ic_cdk::api::trap(format!("the table `{name}` has no memory; it is to be named in memory.rs"))
        }
    })
}

/// Pages that stable memory lacks for a message that writes a file of `bytes` to it, and to the tables. The manager
/// panics where the subnet refuses it a page, so pages are asked for before it needs them.
pub(crate) fn lacking_pages(bytes: u64) -> u64 {
    let bucket = u64::from(BUCKET_PAGES);
    let buckets: u64 = IDS.map(|(_, id)| MANAGER.with(|m| m.get(id)).size().div_ceil(bucket)).iter().sum();
    let wanted = bytes.div_ceil(PAGE_BYTES * bucket) + SPARE_BUCKETS;
    // One page in front of the buckets is the manager's own.
    (1 + (buckets + wanted) * bucket).saturating_sub(DefaultMemoryImpl::default().size())
}

/// Bytes of the memory that the jobs' data lie in.
pub(crate) fn job_data_bytes() -> u64 {
    let of_jobs = IDS.iter().filter(|(name, _)| *name == "job_data");
    of_jobs.map(|(_, id)| MANAGER.with(|m| m.get(*id)).size() * PAGE_BYTES).sum()
}

/// Bytes of all the tables, and of the memory of the model files.
pub(crate) fn sizes() -> (u64, u64) {
    let of = |id| MANAGER.with(|m| m.get(id)).size() * PAGE_BYTES;
    let all: u64 = IDS.map(|(_, id)| of(id)).iter().sum();
    let blobs = of(BLOBS_ID);
    (all - blobs, blobs)
}

/// Grows stable memory; whether the subnet granted it.
pub(crate) fn grow(pages: u64) -> bool {
    DefaultMemoryImpl::default().grow(pages) >= 0
}
