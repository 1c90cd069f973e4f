//! The map of stable memory. Every `MemoryId` of the canister is named here and nowhere else; an id is never given
//! another meaning.

use ic_nn_store::Memories;
use ic_stable_structures::DefaultMemoryImpl;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};

/// What the store's tables live in.
pub(crate) type Memory = VirtualMemory<DefaultMemoryImpl>;

const SETTINGS: MemoryId = MemoryId::new(0);
const NAMES: MemoryId = MemoryId::new(1);
const VERSIONS: MemoryId = MemoryId::new(2);
const FACTS: MemoryId = MemoryId::new(3);
const UPLOADS: MemoryId = MemoryId::new(4);
const GRAPHS: MemoryId = MemoryId::new(5);
/// The model files. The highest id, so that new tables find theirs below.
const BLOBS: MemoryId = MemoryId::new(100);

/// Pages of a bucket: 2 MiB. The manager addresses 32,768 buckets, so this gives the 64 GiB that models may take by
/// default, and an empty canister takes 14 MiB.
const BUCKET_PAGES: u16 = 32;

/// The store's memories in the canister's stable memory.
pub(crate) fn memories() -> Memories<Memory> {
    let manager = MemoryManager::init_with_bucket_size(DefaultMemoryImpl::default(), BUCKET_PAGES);
    Memories {
        settings: manager.get(SETTINGS),
        names: manager.get(NAMES),
        versions: manager.get(VERSIONS),
        facts: manager.get(FACTS),
        uploads: manager.get(UPLOADS),
        graphs: manager.get(GRAPHS),
        blobs: manager.get(BLOBS),
    }
}
