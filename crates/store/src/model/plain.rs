//! The plain model: what a store should hold and answer, by the simplest means.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ic_nn_types::{GraphEncoding, ModelState, Provenance, VersionPolicy};

use super::step::{LABELS, Which};
use crate::extent::PAGE_BYTES;
use crate::fixture::{CHUNK, principal};
use crate::{BeginError, GraphError, LookupError, OpenGraph, RoomError, UploadError};

/// Limits of the store that is tested.
pub(super) const MAX_MODEL_BYTES: u64 = 3 * PAGE_BYTES;
pub(super) const MAX_TOTAL_BYTES: u64 = 48 * PAGE_BYTES;
/// Closed handles that it remembers.
pub(super) const DELETED_GRAPHS: u64 = 5;
pub(super) const DAY: u64 = 86_400_000_000_000;
pub(super) const ABANDONED_AFTER: u64 = 7 * DAY;

/// A file and its sha256.
pub(super) type File = Rc<(Vec<u8>, [u8; 32])>;

#[derive(Clone)]
pub(super) struct Upload {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) start: u64,
    pub(super) owner: u8,
    pub(super) encoding: GraphEncoding,
    pub(super) builders: Vec<u64>,
    pub(super) provenance: Provenance,
    pub(super) got: BTreeSet<usize>,
    pub(super) failed: Option<String>,
    pub(super) active_at: u64,
}

impl Upload {
    pub(super) fn chunks(&self) -> usize {
        self.file.0.len().div_ceil(CHUNK)
    }

    /// Chunk `index` of the file, or what cannot be one.
    pub(super) fn chunk(&self, index: usize) -> Vec<u8> {
        self.file.0.chunks(CHUNK).nth(index).unwrap_or_default().to_vec()
    }
}

#[derive(Clone)]
pub(super) struct Published {
    pub(super) file: File,
    pub(super) start: u64,
    pub(super) owner: u8,
    pub(super) committed_at: u64,
    pub(super) graph: Option<u64>,
    /// Who opened the handle that was open last.
    pub(super) opener: u8,
    pub(super) encoding: GraphEncoding,
    pub(super) retired: bool,
    pub(super) builders: Vec<u64>,
    pub(super) provenance: Provenance,
    pub(super) facts: Vec<u8>,
    /// First page and bytes.
    pub(super) image: Option<(u64, Vec<u8>)>,
    pub(super) properties: BTreeMap<String, String>,
}

#[derive(Clone)]
pub(super) struct Name {
    pub(super) next: u64,
    pub(super) policy: VersionPolicy,
}

/// What a store should hold.
#[derive(Clone, Default)]
pub(super) struct Plain {
    pub(super) now: u64,
    pub(super) uploads: BTreeMap<u64, Upload>,
    /// Those that are kept without a name included.
    pub(super) versions: BTreeMap<(String, u64), Published>,
    pub(super) names: BTreeMap<String, Name>,
    pub(super) labels: BTreeMap<(String, String), u64>,
    /// Handles that were closed with their version, in the order of closing; also those that are forgotten.
    pub(super) closed: Vec<(u64, (String, u64))>,
    /// How many there were.
    pub(super) begun: u64,
    pub(super) opened: u64,
    pub(super) kept: u64,
    /// Most pages that were taken at one time.
    pub(super) pages: u64,
    pub(super) max_open: u32,
    /// 0 for no limit.
    pub(super) max_uploader_bytes: u64,
}

pub(super) fn pages(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(PAGE_BYTES)
}

impl Plain {
    /// The versions that there are of a name, oldest first.
    pub(super) fn existing(&self, name: &str) -> Vec<u64> {
        self.versions.keys().filter(|key| key.0 == name).map(|key| key.1).collect()
    }

    /// Those of them that are served.
    pub(super) fn served(&self, name: &str) -> Vec<u64> {
        let mut left = self.existing(name);
        left.retain(|version| !self.versions[&(name.to_owned(), *version)].retired);
        match self.policy(name) {
            VersionPolicy::All => {}
            VersionPolicy::Latest(count) => drop(left.drain(..left.len().saturating_sub(count as usize))),
            VersionPolicy::Specific(versions) => left.retain(|version| versions.contains(version)),
        }
        left
    }

    pub(super) fn policy(&self, name: &str) -> VersionPolicy {
        self.names.get(name).map(|name| name.policy.clone()).unwrap_or_default()
    }

    /// The labels on a version, `latest` last.
    pub(super) fn labels_of(&self, name: &str, version: u64) -> Vec<String> {
        let on = self.labels.iter().filter(|((of, _), on)| of == name && **on == version);
        let latest = self.served(name).last() == Some(&version);
        on.map(|((_, label), _)| label.clone()).chain(latest.then(|| "latest".into())).collect()
    }

    /// Why a name or a version of it is not there.
    pub(super) fn absent(&self, name: &str, version: Option<u64>) -> LookupError {
        let name = name.to_owned();
        match (self.existing(&name).last(), version, self.names.get(&name)) {
            (Some(&newest), Some(version), _) => LookupError::NoVersion { name, version, newest },
            (_, _, Some(known)) => LookupError::AllDeleted { name, last: known.next - 1 },
            _ => LookupError::NoModel { name },
        }
    }

    /// The version that is meant, as a number that need not exist.
    pub(super) fn number(&self, name: &str, which: Which) -> u64 {
        match which {
            Which::Back(back) => {
                self.existing(name).iter().rev().nth(back).copied().unwrap_or(back as u64 + 1)
            }
            Which::Newest => self.existing(name).last().copied().unwrap_or(1),
            Which::Label(label) => {
                self.labels.get(&(name.to_owned(), LABELS[label].to_owned())).copied().unwrap_or(2)
            }
        }
    }

    pub(super) fn reference(&self, name: &str, which: Which) -> String {
        match which {
            Which::Newest => name.to_owned(),
            Which::Back(_) => format!("{name}:{}", self.number(name, which)),
            Which::Label(label) => format!("{name}@{}", LABELS[label]),
        }
    }

    /// A version if it is there.
    pub(super) fn there(&self, name: &str, version: u64) -> Result<u64, LookupError> {
        match self.versions.contains_key(&(name.to_owned(), version)) {
            true => Ok(version),
            false => Err(self.absent(name, Some(version))),
        }
    }

    /// A version if it is served.
    pub(super) fn usable(&self, name: &str, version: u64) -> Result<u64, LookupError> {
        self.there(name, version)?;
        let owned = name.to_owned();
        match self.versions[&(owned.clone(), version)].retired {
            true => Err(LookupError::Retired { name: owned, version }),
            false if self.served(name).contains(&version) => Ok(version),
            false => Err(LookupError::NotServed { name: owned, version, policy: self.policy(name) }),
        }
    }

    /// The newest version that is served.
    fn latest(&self, name: &str) -> Result<u64, LookupError> {
        match (self.served(name).last(), self.existing(name).last()) {
            (Some(version), _) => Ok(*version),
            (None, None) => Err(self.absent(name, None)),
            (None, Some(&newest)) => {
                Err(LookupError::NothingServed { name: name.to_owned(), newest, policy: self.policy(name) })
            }
        }
    }

    /// The version that a label is on.
    pub(super) fn labelled(&self, name: &str, label: &str) -> Result<u64, LookupError> {
        let owned = name.to_owned();
        match self.labels.get(&(owned.clone(), label.to_owned())) {
            _ if label == "latest" => self.latest(name),
            Some(version) => Ok(*version),
            None if self.existing(name).is_empty() => Err(self.absent(name, None)),
            None => {
                let labels =
                    self.labels.keys().filter(|key| key.0 == name).map(|key| key.1.clone()).collect();
                Err(LookupError::NoLabel { name: owned, label: label.to_owned(), labels })
            }
        }
    }

    pub(super) fn resolve(&self, name: &str, which: Which) -> Result<u64, LookupError> {
        match which {
            Which::Newest => self.latest(name),
            Which::Back(_) => self.usable(name, self.number(name, which)),
            Which::Label(label) => self.usable(name, self.labelled(name, LABELS[label])?),
        }
    }

    pub(super) fn resolve_any(&self, name: &str, which: Which) -> Result<u64, LookupError> {
        match which {
            Which::Newest => self.existing(name).last().copied().ok_or_else(|| self.absent(name, None)),
            Which::Back(_) => self.there(name, self.number(name, which)),
            Which::Label(label) => self.labelled(name, LABELS[label]),
        }
    }

    /// Where a version stands, if `resident` is the handle of the only graph in the heap and `loading` of the only one on
    /// its way there.
    pub(super) fn state(&self, name: &str, version: u64, resident: u64, loading: u64) -> (ModelState, &str) {
        let published = &self.versions[&(name.to_owned(), version)];
        match published.graph {
            _ if published.retired => (ModelState::Retired, "by retire"),
            _ if !self.served(name).contains(&version) => (ModelState::Retired, "by the version policy"),
            Some(graph) if graph == resident => (ModelState::Loaded, ""),
            Some(graph) if graph == loading => (ModelState::Loading, ""),
            _ => (ModelState::Available, ""),
        }
    }

    /// The `pick`th open upload; beyond them, ids that were closed or never begun.
    pub(super) fn upload(&self, pick: usize) -> u64 {
        let beyond = (pick as u64 * 7) % (self.begun + 3);
        self.uploads.keys().nth(pick).copied().unwrap_or(beyond)
    }

    /// Why an upload cannot be used by a caller, if it cannot.
    pub(super) fn refusal(&self, upload: u64, caller: u8) -> Option<UploadError> {
        match self.uploads.get(&upload) {
            Some(open) if open.owner == caller => None,
            Some(_) => Some(UploadError::NotOwner { upload }),
            None if (1..=self.begun).contains(&upload) => Some(UploadError::Closed { upload }),
            None => Some(UploadError::Unknown { upload }),
        }
    }

    /// First page and number of pages of everything that is stored.
    pub(super) fn extents(&self) -> Vec<(u64, u64)> {
        self.files().into_iter().chain(self.images()).collect()
    }

    pub(super) fn images(&self) -> Vec<(u64, u64)> {
        let images = self.versions.values().filter_map(|v| v.image.as_ref());
        images.map(|(start, image)| (*start, pages(image.len()))).collect()
    }

    fn files(&self) -> Vec<(u64, u64)> {
        let versions = self.versions.values().map(|v| (v.start, pages(v.file.0.len())));
        let uploads = self.uploads.values().map(|u| (u.start, pages(u.file.0.len())));
        versions.chain(uploads).collect()
    }

    /// The first page of the first run of so many that are free, or why it must not be taken.
    pub(super) fn place(&self, bytes: usize) -> Result<u64, RoomError> {
        let taken = self.files().iter().map(|(_, pages)| pages * PAGE_BYTES).sum();
        self.place_beside(bytes, taken)
    }

    /// As [`Self::place`], of an image in the place of one.
    pub(super) fn place_image(&self, bytes: usize, replaced: u64) -> Result<u64, RoomError> {
        let taken = self.extents().iter().map(|(_, pages)| pages * PAGE_BYTES).sum::<u64>() - replaced;
        self.place_beside(bytes, taken)
    }

    fn place_beside(&self, bytes: usize, taken: u64) -> Result<u64, RoomError> {
        let (extents, pages) = (self.extents(), pages(bytes));
        let needed = pages * PAGE_BYTES;
        if taken + needed > MAX_TOTAL_BYTES {
            return Err(RoomError::TotalTooLarge { needed, taken, limit: MAX_TOTAL_BYTES });
        }
        let free = |page: u64| !extents.iter().any(|(start, pages)| (*start..start + pages).contains(&page));
        Ok((0..).find(|start| (*start..start + pages).all(free)).expect("there are pages without end"))
    }

    /// Where a new upload's file goes.
    pub(super) fn begin(&self, file: &File, owner: u8, unlimited: bool) -> Result<u64, BeginError> {
        let bytes = file.0.len();
        if bytes as u64 > MAX_MODEL_BYTES {
            let limit = MAX_MODEL_BYTES;
            return Err(BeginError::Room(RoomError::ModelTooLarge { bytes: bytes as u64, limit }));
        }
        if self.uploads.len() >= self.max_open as usize {
            let (&oldest, upload) = self.uploads.iter().next().expect("some are open");
            let (limit, owner) = (self.max_open, principal(upload.owner));
            return Err(BeginError::TooManyOpen { limit, oldest, owner });
        }
        let versions = self.versions.iter().filter(|(key, v)| v.owner == owner && !key.0.starts_with('@'));
        let uploads = self.uploads.values().filter(|u| u.owner == owner);
        let sizes = versions.map(|(_, v)| &v.file).chain(uploads.map(|u| &u.file));
        let taken = sizes.map(|file| pages(file.0.len()) * PAGE_BYTES).sum();
        let (needed, limit) = (pages(bytes) * PAGE_BYTES, self.max_uploader_bytes);
        if !unlimited && limit > 0 && taken + needed > limit {
            let uploader = principal(owner);
            return Err(BeginError::Room(RoomError::UploaderTooLarge { uploader, needed, taken, limit }));
        }
        Ok(self.place(bytes)?)
    }

    /// Takes versions away, and answers the handles that were open on them.
    pub(super) fn remove(&mut self, name: &str, versions: &[u64]) -> Vec<u64> {
        let mut graphs = Vec::new();
        for key in versions.iter().map(|version| (name.to_owned(), *version)) {
            if let Some(graph) = self.versions.remove(&key).and_then(|gone| gone.graph) {
                graphs.push(graph);
                self.closed.push((graph, key));
            }
        }
        self.labels.retain(|(of, _), on| of != name || !versions.contains(on));
        let left = self.existing(name).len();
        if let Some(known) = self.names.get_mut(name) {
            match &mut known.policy {
                policy if left == 0 => *policy = VersionPolicy::All,
                VersionPolicy::Specific(list) => list.retain(|version| !versions.contains(version)),
                _ => {}
            }
        }
        graphs
    }

    /// Those of the closed handles that are remembered.
    pub(super) fn remembered(&self) -> &[(u64, (String, u64))] {
        &self.closed[self.closed.len().saturating_sub(DELETED_GRAPHS as usize)..]
    }

    /// What a handle stands for.
    pub(super) fn graph(&self, graph: u64) -> Result<OpenGraph, GraphError> {
        let open = self.versions.iter().find(|(_, v)| v.graph == Some(graph));
        if let Some(((name, version), v)) = open {
            let opener = Some(principal(v.opener));
            return Ok(OpenGraph { graph, name: name.clone(), version: *version, opener });
        }
        match self.remembered().iter().find(|(closed, _)| *closed == graph) {
            Some((_, (name, version))) => {
                Err(GraphError::Deleted { graph, name: name.clone(), version: *version })
            }
            None if (1..=self.opened).contains(&graph) => Err(GraphError::Unloaded { graph }),
            None => Err(GraphError::Unknown { graph }),
        }
    }

    /// The names that are kept, in the store's order.
    pub(super) fn kept(&self) -> Vec<String> {
        self.versions.keys().filter(|key| key.0.starts_with('@')).map(|key| key.0.clone()).collect()
    }
}
