//! What the unit tests share: a store on memories that outlive it, principals, files and their uploads.

use candid::Principal;
use ic_nn_types::{ChunkRequest, UploadSpec};
use ic_stable_structures::{Memory, VectorMemory};
use proptest::test_runner::{Config, RngSeed};
use sha2::{Digest, Sha256};

use crate::{Deleted, Memories, Residency, Store};

/// Size of a chunk in these tests: the smallest allowed.
pub(crate) const CHUNK: usize = 65_536;

/// A property test of `cases` cases that are the same each time.
pub(crate) fn seeded(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(0x1C), failure_persistence: None, ..Config::default() }
}

/// A principal of its own for every `n`.
pub(crate) fn principal(n: u8) -> Principal {
    Principal::from_slice(&[n, 1])
}

/// Memories, empty; clones share their bytes.
pub(crate) fn memories() -> Memories<VectorMemory> {
    Memories::each(|_| VectorMemory::default())
}

/// The same memories again.
pub(crate) fn share(memories: &Memories<VectorMemory>) -> Memories<VectorMemory> {
    map(memories, VectorMemory::clone)
}

/// Every byte of the memories, the settings' first.
pub(crate) fn dump(memories: &Memories<VectorMemory>) -> Vec<Vec<u8>> {
    let mut dump = Vec::new();
    map(memories, |memory| dump.push(memory.borrow().clone()));
    dump
}

/// Puts the bytes of a dump back: what the Internet Computer does with a message that traps.
pub(crate) fn put_back(memories: &Memories<VectorMemory>, dump: &[Vec<u8>]) {
    let mut dump = dump.iter();
    map(memories, |memory| memory.borrow_mut().clone_from(dump.next().expect("as many as there were")));
}

/// What `f` makes of each memory, always in the same order.
fn map<N>(memories: &Memories<VectorMemory>, mut f: impl FnMut(&VectorMemory) -> N) -> Memories<N> {
    Memories {
        settings: f(&memories.settings),
        names: f(&memories.names),
        versions: f(&memories.versions),
        facts: f(&memories.facts),
        statistics: f(&memories.statistics),
        uploads: f(&memories.uploads),
        graphs: f(&memories.graphs),
        labels: f(&memories.labels),
        provenance: f(&memories.provenance),
        properties: f(&memories.properties),
        images: f(&memories.images),
        jobs: f(&memories.jobs),
        job_data: f(&memories.job_data),
        contexts: f(&memories.contexts),
        context_index: f(&memories.context_index),
        roles: f(&memories.roles),
        callers: f(&memories.callers),
        audit: f(&memories.audit),
        blobs: f(&memories.blobs),
    }
}

pub(crate) fn store() -> Store<VectorMemory> {
    Store::open(memories()).expect("empty memories open")
}

/// A file of `bytes` bytes that `seed` decides.
pub(crate) fn file(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) ^ (i >> 8) as u8).collect()
}

/// The upload of `file` as `name` in the smallest chunks.
pub(crate) fn spec(name: &str, file: &[u8]) -> UploadSpec {
    UploadSpec {
        name: name.into(),
        bytes: file.len() as u64,
        sha256: Sha256::digest(file).to_vec(),
        chunk_bytes: Some(CHUNK as u32),
        ..Default::default()
    }
}

/// Chunk `index` of `file`.
pub(crate) fn chunk(upload: u64, index: usize, file: &[u8]) -> ChunkRequest {
    let data = file.chunks(CHUNK).nth(index).expect("the file has that chunk").to_vec();
    ChunkRequest { upload, index: index as u32, data }
}

/// Begins an upload and puts every chunk.
pub(crate) fn uploaded<M: Memory>(store: &mut Store<M>, name: &str, file: &[u8], caller: Principal) -> u64 {
    let upload = store.begin(&spec(name, file), caller, 5, false).expect("the upload begins").upload;
    for index in 0..file.chunks(CHUNK).len() {
        store.put_chunk(&chunk(upload, index, file), caller, 5).expect("the chunk is taken");
    }
    upload
}

/// Publishes `file` as the next version of `name`.
pub(crate) fn published<M: Memory>(store: &mut Store<M>, name: &str, file: &[u8]) -> u64 {
    let caller = principal(1);
    let upload = uploaded(store, name, file, caller);
    let mut commit = store.begin_commit(upload, caller).expect("the commit begins");
    let verified =
        store.verify(&mut commit, u64::MAX).expect("the hash is right").expect("it is hashed at once");
    store.publish(verified, format!("facts of {name}").as_bytes(), 7).expect("it is published").version
}

/// The sha256 of the version, or of the newest one of the name: what confirms its deletion.
pub(crate) fn confirmation<M: Memory>(store: &Store<M>, reference: &str) -> Vec<u8> {
    store.resolve_any(reference).expect("it is there").sha256.to_vec()
}

/// Deletes what `reference` names.
pub(crate) fn deleted<M: Memory>(store: &mut Store<M>, reference: &str) -> Deleted {
    let sha256 = confirmation(store, reference);
    store.delete(reference, &sha256).expect("it is deleted")
}

/// A version with no graph in the heap.
pub(crate) const AWAY: Residency<'_> = Residency { is_resident: &|_| false, is_loading: &|_| false };
