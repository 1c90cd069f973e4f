//! The memories of the store, and the one map type that all its tables share.
//!
//! Keys and values are bytes, so that the B-tree is compiled once for all tables; [`crate::record`] gives the bytes
//! their meaning. Opening a table never writes over what it does not recognise, and never rewrites what it does.

use std::ops::Bound;

use ic_stable_structures::{BTreeMap, Memory, StableCell};
use thiserror::Error;

/// The memories that a store needs, each used by it alone. The embedder maps them to its `MemoryId`s, which must
/// stay the same for as long as the data shall be found.
///
/// A `MemoryManager` gives memory in buckets and addresses at most 32,768 of them: an empty store takes one for each
/// memory but the blobs'. With buckets of 16 pages (1 MiB) all of it can grow to 32 GiB; 64 GiB of models need buckets of
/// 32 pages or more.
pub struct Memories<M> {
    /// The settings, the policy and id counters: one cell.
    pub settings: M,
    /// Every name ever published and its next version number.
    pub names: M,
    /// The versions.
    pub versions: M,
    /// What the embedder keeps about each version.
    pub facts: M,
    /// What each version has done.
    pub statistics: M,
    /// The open uploads.
    pub uploads: M,
    /// The open graph handles.
    pub graphs: M,
    /// The execution contexts.
    pub contexts: M,
    /// The open ones by owner and by version.
    pub context_index: M,
    /// Principals and their roles.
    pub roles: M,
    /// What callers may spend and have spent.
    pub callers: M,
    /// The newest lines of the audit log.
    pub audit: M,
    /// The labels on versions.
    pub labels: M,
    /// Where versions and open uploads come from, and of how many files they are.
    pub provenance: M,
    /// The properties that were set of versions.
    pub properties: M,
    /// What was made of versions' files, where it lies.
    pub images: M,
    /// The jobs.
    pub jobs: M,
    /// What they were asked and answered.
    pub job_data: M,
    /// The model files and images, in extents of 64 KiB pages.
    pub blobs: M,
}

impl<M> Memories<M> {
    /// The memory that `memory` gives for each field, which it is told by name.
    pub fn each(mut memory: impl FnMut(&'static str) -> M) -> Self {
        Memories {
            settings: memory("settings"),
            names: memory("names"),
            versions: memory("versions"),
            facts: memory("facts"),
            statistics: memory("statistics"),
            uploads: memory("uploads"),
            graphs: memory("graphs"),
            labels: memory("labels"),
            provenance: memory("provenance"),
            properties: memory("properties"),
            images: memory("images"),
            contexts: memory("contexts"),
            context_index: memory("context_index"),
            roles: memory("roles"),
            callers: memory("callers"),
            audit: memory("audit"),
            jobs: memory("jobs"),
            job_data: memory("job_data"),
            blobs: memory("blobs"),
        }
    }
}

/// Why a store cannot be opened. Nothing was written.
#[derive(Error, Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// A memory is in use by something else, or by a newer format of ic-stable-structures.
    #[error("stable memory `{memory}` holds something else: it begins with the bytes {found:02x?}")]
    Foreign {
        /// The memory, as the field in [`Memories`] is named.
        memory: &'static str,
        /// Its first four bytes.
        found: [u8; 4],
    },
    /// The settings' record cannot be read.
    #[error(transparent)]
    Record(#[from] crate::RecordError),
}

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// A sorted map of byte strings in a memory of its own.
pub(crate) struct Table<M: Memory>(BTreeMap<Vec<u8>, Vec<u8>, M>);

impl<M: Memory> Table<M> {
    /// Opens the table in `memory`, which is made if the memory is empty.
    pub(crate) fn open(name: &'static str, memory: M) -> Result<Self, OpenError> {
        // The B-tree's magic and its layout; layout 1 bounds keys and values and was never written by a store.
        match first_bytes(&memory) {
            None => Ok(Table(BTreeMap::new(memory))),
            Some([b'B', b'T', b'R', 2]) => Ok(Table(BTreeMap::load(memory))),
            Some(found) => Err(OpenError::Foreign { memory: name, found }),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&key.to_vec())
    }

    pub(crate) fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.0.remove(&key.to_vec());
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.0.contains_key(&key.to_vec())
    }

    /// How many entries there are, told by the header.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The least key.
    pub(crate) fn first_key(&self) -> Option<Vec<u8>> {
        self.0.first_key_value().map(|(key, _)| key)
    }

    /// The greatest key.
    pub(crate) fn last_key(&self) -> Option<Vec<u8>> {
        self.0.last_key_value().map(|(key, _)| key)
    }

    /// Up to `limit` entries from the bound on, in order, and whether there are more.
    pub(crate) fn page(&self, from: Bound<Vec<u8>>, limit: usize) -> (Vec<Entry>, bool) {
        let mut entries = self.range(from, Bound::Unbounded);
        let page: Vec<_> = entries.by_ref().take(limit).collect();
        let more = page.len() == limit && entries.next().is_some();
        (page, more)
    }

    /// Entries whose keys lie within the bounds, in order.
    pub(crate) fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        self.0.range((from, to)).map(|entry| entry.into_pair())
    }

    /// Keys that lie within the bounds, in order; values are not read.
    pub(crate) fn keys(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.0.keys_range((from, to))
    }

    /// Entries whose keys begin with `prefix`, in order.
    pub(crate) fn starting<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
        self.range(Bound::Included(prefix.to_vec()), Bound::Unbounded)
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Every entry, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        self.range(Bound::Unbounded, Bound::Unbounded)
    }
}

/// Opens the cell in `memory`, which is made with what `first` gives if the memory is empty.
pub(crate) fn open_cell<M: Memory>(
    name: &'static str,
    memory: M,
    first: impl FnOnce() -> Vec<u8>,
) -> Result<StableCell<Vec<u8>, M>, OpenError> {
    match first_bytes(&memory) {
        None => Ok(StableCell::new(memory, first())),
        Some([b'S', b'C', b'L', 1]) => Ok(StableCell::init(memory, Vec::new())),
        Some(found) => Err(OpenError::Foreign { memory: name, found }),
    }
}

/// The first four bytes of a memory; `None` if it has no page.
fn first_bytes<M: Memory>(memory: &M) -> Option<[u8; 4]> {
    (memory.size() > 0).then(|| {
        let mut bytes = [0; 4];
        memory.read(0, &mut bytes);
        bytes
    })
}
