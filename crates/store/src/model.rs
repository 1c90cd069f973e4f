//! The store against a plain model: random sequences of its operations, with upgrades between them.
//!
//! After every step the extents are disjoint and within the memory, and what the store answers is what the model says;
//! at every upgrade and at the end all bytes read back, and opening has written nothing.

use std::collections::{BTreeMap, BTreeSet};

use ic_nn_types::ListRequest;
use ic_stable_structures::{Memory, VectorMemory};
use proptest::prelude::*;

use crate::extent::Extent;
use crate::fixture::{CHUNK, chunk, dump, file, memories, principal, seeded, share, spec};
use crate::record::{UploadRecord, VersionRecord};
use crate::{AbortError, ChunkError, CommitError, GraphError, LookupError, Memories, Store, UploadError};

const NAMES: [&str; 3] = ["a", "a-b", "b"];
const SIZES: [usize; 5] = [1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 7];
const NOW: u64 = 3;

/// One step. A `pick` selects among what there is, or an id that leads nowhere.
#[derive(Debug, Clone)]
enum Step {
    Begin { name: usize, size: usize, seed: u8, caller: u8 },
    Put { pick: usize, index: usize, caller: u8 },
    PutAll { pick: usize },
    Abort { pick: usize, caller: u8 },
    Commit { pick: usize, publish: bool },
    Delete { name: usize, version: Option<u64> },
    Open { name: usize, version: u64 },
    Close { graph: u64 },
    Upgrade,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, pick, caller) = (0..NAMES.len(), 0usize..6, 1u8..3);
    prop_oneof![
        4 => (name.clone(), 0..SIZES.len(), 0u8..3, caller.clone())
            .prop_map(|(name, size, seed, caller)| Step::Begin { name, size, seed, caller }),
        3 => (pick.clone(), 0usize..3, caller.clone())
            .prop_map(|(pick, index, caller)| Step::Put { pick, index, caller }),
        4 => pick.clone().prop_map(|pick| Step::PutAll { pick }),
        2 => (pick.clone(), caller).prop_map(|(pick, caller)| Step::Abort { pick, caller }),
        5 => (pick, prop::bool::weighted(0.8)).prop_map(|(pick, publish)| Step::Commit { pick, publish }),
        2 => (name.clone(), prop::option::weighted(0.7, 1u64..5))
            .prop_map(|(name, version)| Step::Delete { name, version }),
        2 => (name, 1u64..5).prop_map(|(name, version)| Step::Open { name, version }),
        1 => (0u64..6).prop_map(|graph| Step::Close { graph }),
        1 => Just(Step::Upgrade),
    ]
}

struct Upload {
    name: &'static str,
    file: Vec<u8>,
    owner: u8,
    got: BTreeSet<usize>,
}

struct Published {
    file: Vec<u8>,
    owner: u8,
    graph: Option<u64>,
}

/// The store, and what it should hold.
struct Model {
    memories: Memories<VectorMemory>,
    store: Store<VectorMemory>,
    uploads: BTreeMap<u64, Upload>,
    versions: BTreeMap<(&'static str, u64), Published>,
    next_version: BTreeMap<&'static str, u64>,
    next_upload: u64,
    next_graph: u64,
}

impl Model {
    fn new() -> Self {
        let memories = memories();
        Model {
            store: Store::open(share(&memories)).unwrap(),
            memories,
            uploads: BTreeMap::new(),
            versions: BTreeMap::new(),
            next_version: BTreeMap::new(),
            next_upload: 1,
            next_graph: 1,
        }
    }

    /// The `pick`th open upload; beyond them, ids that were closed or never begun.
    fn pick(&self, pick: usize) -> u64 {
        let beyond = (pick as u64 * 7) % (self.next_upload + 2);
        self.uploads.keys().nth(pick).copied().unwrap_or(beyond)
    }

    /// Why upload `id` cannot be used by `caller`, if it cannot.
    fn refusal(&self, upload: u64, caller: u8) -> Option<UploadError> {
        match self.uploads.get(&upload) {
            Some(open) if open.owner == caller => None,
            Some(_) => Some(UploadError::NotOwner { upload }),
            None if upload > 0 && upload < self.next_upload => Some(UploadError::Closed { upload }),
            None => Some(UploadError::Unknown { upload }),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Begin { name, size, seed, caller } => {
                self.begin(NAMES[name], file(seed, SIZES[size]), caller)
            }
            Step::Put { pick, index, caller } => self.put(self.pick(pick), index, caller),
            Step::PutAll { pick } => {
                let id = self.pick(pick);
                if let Some(Upload { owner, file, .. }) = self.uploads.get(&id) {
                    let (owner, chunks) = (*owner, file.chunks(CHUNK).len());
                    (0..chunks).for_each(|index| self.put(id, index, owner));
                }
            }
            Step::Abort { pick, caller } => {
                let id = self.pick(pick);
                let want = self.refusal(id, caller).map_or(Ok(()), |error| Err(AbortError::Upload(error)));
                assert_eq!(self.store.abort(id, principal(caller)), want);
                if want.is_ok() {
                    self.uploads.remove(&id);
                }
            }
            Step::Commit { pick, publish } => self.commit(self.pick(pick), publish),
            Step::Delete { name, version } => self.delete(NAMES[name], version),
            Step::Open { name, version } => self.open(NAMES[name], version),
            Step::Close { graph } => self.close(graph),
            Step::Upgrade => self.upgrade(),
        }
    }

    fn begin(&mut self, name: &'static str, file: Vec<u8>, owner: u8) {
        let same = self.uploads.iter().find(|(_, u)| u.name == name && u.file == file && u.owner == owner);
        let (want, got) = same.map_or((self.next_upload, 0), |(id, u)| (*id, u.got.len() as u32));
        let status = self.store.begin(&spec(name, &file), principal(owner), NOW);
        if want == self.next_upload && self.uploads.len() == 16 {
            assert!(status.is_err());
            return;
        }
        let status = status.unwrap();
        assert_eq!((status.upload, status.received), (want, got));
        if want == self.next_upload {
            self.next_upload += 1;
            self.uploads.insert(want, Upload { name, file, owner, got: BTreeSet::new() });
        }
    }

    fn put(&mut self, id: u64, index: usize, caller: u8) {
        let refusal = self.refusal(id, caller);
        let chunks = self.uploads.get(&id).map_or(1, |u| u.file.chunks(CHUNK).len());
        let nothing = vec![0; 3 * CHUNK];
        let request =
            chunk(id, index, self.uploads.get(&id).filter(|_| index < chunks).map_or(&nothing, |u| &u.file));
        match (self.store.put_chunk(&request, principal(caller)), refusal) {
            (Err(ChunkError::Upload(error)), Some(want)) => assert_eq!(error, want),
            (Err(ChunkError::Index { .. }), None) => assert!(index >= chunks),
            (Ok(status), None) => {
                let upload = self.uploads.get_mut(&id).unwrap();
                upload.got.insert(index);
                assert_eq!(status.received as usize, upload.got.len());
            }
            (result, want) => panic!("{result:?} where {want:?} was expected"),
        }
    }

    fn commit(&mut self, id: u64, publish: bool) {
        let owner = self.uploads.get(&id).map_or(1, |u| u.owner);
        let mut commit = match (self.store.begin_commit(id, principal(owner)), self.uploads.get(&id)) {
            (Ok(commit), Some(upload)) if upload.got.len() == upload.file.chunks(CHUNK).len() => commit,
            (Err(CommitError::Missing { count, chunks, .. }), Some(upload)) => {
                assert_eq!((chunks - count) as usize, upload.got.len());
                return;
            }
            (Err(CommitError::Upload(error)), None) => {
                return assert_eq!(Some(error), self.refusal(id, owner));
            }
            (result, _) => panic!("{:?}", result.err()),
        };
        let verified = self.store.verify(&mut commit, u64::MAX).unwrap().unwrap();
        if !publish {
            return self.store.end_commit(&commit);
        }
        let model = self.store.publish(verified, &id.to_le_bytes(), NOW).unwrap();
        let Upload { name, file, owner, .. } = self.uploads.remove(&id).unwrap();
        let next = self.next_version.entry(name).or_insert(1);
        assert_eq!((model.name.as_str(), model.version), (name, *next));
        assert_eq!(self.store.facts(name, *next), Ok(id.to_le_bytes().to_vec()));
        self.versions.insert((name, *next), Published { file, owner, graph: None });
        *next += 1;
    }

    fn delete(&mut self, name: &'static str, version: Option<u64>) {
        let doomed = |key: &(&str, u64)| key.0 == name && version.is_none_or(|v| v == key.1);
        let graphs =
            self.versions.iter().filter(|(key, _)| doomed(key)).filter_map(|(_, v)| v.graph).collect();
        let before = self.versions.len();
        self.versions.retain(|key, _| !doomed(key));
        let gone = (before - self.versions.len()) as u32;
        let reference = version.map_or(name.to_owned(), |version| format!("{name}:{version}"));
        match self.store.delete(&reference) {
            Ok(deleted) => assert_eq!(deleted, crate::Deleted { versions: gone, graphs }),
            Err(error) => {
                assert_eq!(gone, 0);
                assert_eq!(error, self.absent(name, version));
            }
        }
    }

    fn absent(&self, name: &str, version: Option<u64>) -> LookupError {
        let newest = self.versions.keys().filter(|key| key.0 == name).map(|key| key.1).next_back();
        let owned = name.to_owned();
        match (newest, version, self.next_version.get(name)) {
            (Some(newest), Some(version), _) => LookupError::NoVersion { name: owned, version, newest },
            (_, _, Some(next)) => LookupError::AllDeleted { name: owned, last: next - 1 },
            _ => LookupError::NoModel { name: owned },
        }
    }

    fn open(&mut self, name: &'static str, version: u64) {
        let result = self.store.open_graph(name, version);
        let absent = self.absent(name, Some(version));
        let Some(published) = self.versions.get_mut(&(name, version)) else {
            return assert_eq!(result, Err(absent));
        };
        if published.graph.is_none() {
            published.graph = Some(self.next_graph);
            self.next_graph += 1;
        }
        assert_eq!(result.ok(), published.graph);
    }

    fn close(&mut self, graph: u64) {
        let found = self.versions.iter_mut().find(|(_, v)| v.graph == Some(graph));
        match (self.store.close_graph(graph), found) {
            (Ok(open), Some((key, published))) => {
                assert_eq!((open.graph, open.name.as_str(), open.version), (graph, key.0, key.1));
                published.graph = None;
            }
            (Err(GraphError::Unloaded { .. }), None) => assert!(graph > 0 && graph < self.next_graph),
            (Err(GraphError::Unknown { .. }), None) => assert!(graph == 0 || graph >= self.next_graph),
            (result, _) => panic!("{result:?}"),
        }
    }

    fn upgrade(&mut self) {
        let before = dump(&self.memories);
        self.store = Store::open(share(&self.memories)).unwrap();
        assert!(dump(&self.memories) == before, "opening has written");
        self.check_bytes();
    }

    fn check_records(&self) {
        let mut extents: Vec<Extent> = Vec::new();
        for (_, value) in self.store.versions.iter() {
            extents.push(VersionRecord::decode(&value).unwrap().extent);
        }
        for (_, value) in self.store.uploads.iter() {
            extents.push(UploadRecord::decode(&value).unwrap().extent);
        }
        extents.sort_unstable();
        assert_eq!(extents.len(), self.versions.len() + self.uploads.len());
        assert!(extents.windows(2).all(|pair| pair[0].end() <= pair[1].start), "{extents:?}");
        assert!(extents.last().is_none_or(|last| last.end() <= self.store.blobs.size()), "{extents:?}");

        let page = self.store.list(&ListRequest::default(), &|_| false).unwrap();
        assert!(page.models.iter().map(|m| (m.name.as_str(), m.version)).eq(self.versions.keys().copied()));
        assert_eq!(self.store.facts.iter().count(), self.versions.len());
        for name in NAMES {
            let newest = self.versions.keys().filter(|key| key.0 == name).map(|key| key.1).next_back();
            let found = self.store.resolve(name).map(|v| v.version);
            assert_eq!(found, newest.ok_or_else(|| self.absent(name, None)));
        }
        let graphs = self.store.graphs().map(|g| g.unwrap()).map(|g| (g.graph, g.name, g.version));
        let mut open: Vec<_> =
            self.versions.iter().filter_map(|(key, v)| Some((v.graph?, key.0.to_owned(), key.1))).collect();
        open.sort_unstable();
        assert!(graphs.eq(open));
    }

    fn check_bytes(&self) {
        for (&(name, version), published) in &self.versions {
            assert!(
                self.store.blob(name, version).unwrap().to_vec().unwrap() == published.file,
                "{name}:{version}"
            );
            let told = self.store.get(name, version).unwrap();
            assert_eq!((told.uploader, told.graph), (principal(published.owner), published.graph));
        }
        for (&id, upload) in &self.uploads {
            let status = self.store.status(id, principal(upload.owner)).unwrap();
            let missing: u32 = status.missing.iter().map(|range| range.last - range.first + 1).sum();
            assert_eq!(status.chunks - missing, upload.got.len() as u32);
            let stored = self.store.upload_blob(id).unwrap().to_vec().unwrap();
            for &index in &upload.got {
                assert!(
                    stored.chunks(CHUNK).nth(index) == upload.file.chunks(CHUNK).nth(index),
                    "{id}: {index}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(seeded(512))]
    #[test]
    fn the_store_is_its_model(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
            model.check_records();
        }
        model.upgrade();
    }
}
