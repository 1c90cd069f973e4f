//! Steps of the registry: versions, labels, policies, handles, what is kept without a name, settings.

use ic_nn_types::{GraphEncoding, InitArgs, VersionPolicy};

use super::Model;
use super::plain::{File, MAX_MODEL_BYTES, Published, pages};
use super::step::{KEYS, LABELS, SIZES, Which};
use crate::extent::PAGE_BYTES;
use crate::fixture::{file, principal};
use crate::{
    BuildersError, DeleteError, Deleted, KeepError, LabelError, LookupError, PropertyError, RetireError,
    RoomError, SetImageError, SetLabelError, VersionPolicyError,
};

impl Model {
    fn published(&mut self, name: &str, version: u64) -> Option<&mut Published> {
        self.plain.versions.get_mut(&(name.to_owned(), version))
    }

    pub(super) fn delete(&mut self, name: &'static str, which: Which, confirmed: bool) {
        let reference = self.plain.reference(name, which);
        let version = match self.plain.resolve_any(name, which) {
            Ok(version) => version,
            Err(error) => {
                assert_eq!(self.store.uploader_of(&reference), Err(error.clone()));
                assert_eq!(self.store.delete(&reference, &[0; 32]), Err(DeleteError::Lookup(error)));
                return;
            }
        };
        let (whole, expected) =
            (matches!(which, Which::Newest), self.plain.versions[&(name.to_owned(), version)].file.1);
        let versions = if whole { self.plain.existing(name) } else { vec![version] };
        let mut owners: Vec<u8> =
            versions.iter().map(|v| self.plain.versions[&(name.to_owned(), *v)].owner).collect();
        owners.dedup();
        let owner = Some(principal(owners[0])).filter(|_| owners.len() == 1);
        assert_eq!(self.store.uploader_of(&reference), Ok(owner));
        if !confirmed {
            let what = if whole { "every version" } else { "a version" };
            let (name, came) = (name.to_owned(), vec![7; 32]);
            let want = DeleteError::Confirmation { name, what, version, expected, came };
            assert_eq!(self.store.delete(&reference, &[7; 32]), Err(want));
            return;
        }
        let graphs = self.plain.remove(name, &versions);
        let want = Deleted { name: name.to_owned(), versions, graphs };
        assert_eq!(self.store.delete(&reference, &expected), Ok(want));
    }

    pub(super) fn open(&mut self, name: &'static str, which: Which) {
        self.open_version(name, self.plain.number(name, which));
    }

    pub(super) fn open_kept(&mut self, pick: usize) {
        if let Some(name) = self.plain.kept().get(pick) {
            self.open_version(name, 1);
        }
    }

    fn open_version(&mut self, name: &str, version: u64) {
        let opener = (self.plain.now % 5) as u8;
        let came = self.store.open_graph(name, version, principal(opener));
        let (next, absent) = (self.plain.opened + 1, self.plain.there(name, version).err());
        let Some(published) = self.published(name, version) else {
            return assert_eq!(came.err(), absent);
        };
        if published.graph.is_none() {
            published.opener = opener;
        }
        let graph = *published.graph.get_or_insert(next);
        assert_eq!(came, Ok(graph));
        self.plain.opened = self.plain.opened.max(graph);
    }

    /// Closes the handle that was given so many before the last one, which is near enough to be open.
    pub(super) fn close(&mut self, pick: u64) {
        let graph = (self.plain.opened + 1).saturating_sub(pick);
        assert_eq!(self.store.close_graph(graph), self.plain.graph(graph));
        if let Some(published) = self.plain.versions.values_mut().find(|v| v.graph == Some(graph)) {
            published.graph = None;
        }
    }

    pub(super) fn keep(&mut self, sizes: &[usize], seed: u8, owner: u8) {
        let files: Vec<File> =
            sizes.iter().map(|size| self.files[*size][usize::from(seed)].clone()).collect();
        let parts: Vec<&[u8]> = files.iter().map(|file| file.0.as_slice()).collect();
        let whole = parts.concat();
        let (bytes, now) = (whole.len() as u64, self.plain.now);
        let sha256 = [seed; 32];
        let room = match bytes {
            0 => Err(KeepError::Empty),
            _ if bytes > MAX_MODEL_BYTES => {
                Err(KeepError::Room(RoomError::ModelTooLarge { bytes, limit: MAX_MODEL_BYTES }))
            }
            _ => self.plain.place(whole.len()).map_err(KeepError::Room),
        };
        let grows = self.store.keep_grows_by(bytes);
        let came = self.store.keep(&parts, sha256, GraphEncoding::Onnx, principal(owner), b"kept", now);
        let start = match room {
            Ok(start) => start,
            Err(error) => {
                assert_eq!(grows, Err(error.clone()));
                return assert_eq!(came, Err(error));
            }
        };
        let end = start + pages(whole.len());
        assert_eq!(grows, Ok(end.saturating_sub(self.plain.pages) * PAGE_BYTES));
        self.plain.pages = self.plain.pages.max(end);
        self.plain.kept += 1;
        let name = format!("@{}", self.plain.kept);
        let version = came.unwrap();
        assert_eq!((&version.name, version.version, version.bytes), (&name, 1, bytes));
        let published = Published {
            file: File::new((whole, sha256)),
            start,
            owner,
            committed_at: now,
            graph: None,
            opener: 0,
            encoding: GraphEncoding::Onnx,
            retired: false,
            builders: parts.iter().map(|part| part.len() as u64).collect(),
            provenance: Default::default(),
            facts: b"kept".to_vec(),
            image: None,
            properties: Default::default(),
        };
        self.plain.versions.insert((name, 1), published);
        let none = Err(KeepError::Builders(BuildersError::Empty { at: 1 }));
        assert_eq!(
            self.store.keep(&[&[1], &[]], sha256, GraphEncoding::Onnx, principal(owner), b"", now),
            none
        );
    }

    pub(super) fn discard(&mut self, pick: usize) {
        match self.plain.kept().get(pick) {
            Some(name) => {
                let graphs = self.plain.remove(name, &[1]);
                let want = Deleted { name: name.clone(), versions: vec![1], graphs };
                assert_eq!(self.store.discard(name), Ok(want));
            }
            None => {
                let name = format!("@{}", self.plain.kept + 1);
                assert_eq!(self.store.discard(&name), Err(LookupError::Discarded { name }));
            }
        }
    }

    pub(super) fn label(&mut self, name: &'static str, which: Which, label: usize) {
        let (version, label) = (self.plain.number(name, which), LABELS[label]);
        let came = self.store.set_label(name, version, label);
        if label == "latest" {
            return assert_eq!(came, Err(SetLabelError::Label(LabelError::Latest)));
        }
        match self.plain.usable(name, version) {
            Ok(version) => {
                let before = self.plain.labels.insert((name.to_owned(), label.to_owned()), version);
                assert_eq!(came, Ok(before));
            }
            Err(error) => assert_eq!(came, Err(SetLabelError::Lookup(error))),
        }
    }

    pub(super) fn unlabel(&mut self, name: &'static str, label: usize) {
        let label = LABELS[label];
        let want = match self.plain.labelled(name, label) {
            _ if label == "latest" => Err(SetLabelError::Label(LabelError::Latest)),
            Ok(version) => Ok(version),
            Err(error) => Err(SetLabelError::Lookup(error)),
        };
        assert_eq!(self.store.remove_label(name, label), want);
        self.plain.labels.remove(&(name.to_owned(), label.to_owned()));
    }

    pub(super) fn policy(&mut self, name: &'static str, policy: &VersionPolicy) {
        let mut policy = policy.clone();
        if let VersionPolicy::Specific(versions) = &mut policy {
            // Mostly versions that there are.
            for version in versions.iter_mut().filter(|version| **version > 0) {
                *version = self.plain.number(name, Which::Back(*version as usize - 1));
            }
        }
        let came = self.store.set_version_policy(name, &policy);
        if self.plain.existing(name).is_empty() {
            return assert_eq!(came, Err(self.plain.absent(name, None).into()));
        }
        let want = match &mut policy {
            VersionPolicy::All => Ok(()),
            VersionPolicy::Latest(0) => Err(VersionPolicyError::Latest { came: 0 }),
            VersionPolicy::Latest(_) => Ok(()),
            VersionPolicy::Specific(versions) if versions.is_empty() => {
                Err(VersionPolicyError::Specific { came: 0 })
            }
            VersionPolicy::Specific(versions) => {
                versions.sort_unstable();
                versions.dedup();
                let missing = versions.iter().find_map(|version| self.plain.there(name, *version).err());
                missing.map_or(Ok(()), |error| Err(error.into()))
            }
        };
        assert_eq!(came, want);
        if want.is_ok() {
            self.plain.names.get_mut(name).unwrap().policy = policy;
        }
    }

    pub(super) fn retire(&mut self, name: &'static str, which: Which, retired: bool) {
        let version = self.plain.number(name, which);
        let there = self.plain.there(name, version);
        let mut labels = self.plain.labels_of(name, version);
        labels.retain(|label| label != "latest");
        let (came, want) = match retired {
            false => (self.store.restore(name, version).map_err(RetireError::Lookup), there.map(drop)),
            true => (self.store.retire(name, version), there.map(drop)),
        };
        let want = match want {
            Err(error) => Err(RetireError::Lookup(error)),
            Ok(()) if retired && !labels.is_empty() => {
                Err(RetireError::Labelled { name: name.to_owned(), version, labels })
            }
            Ok(()) => Ok(()),
        };
        assert_eq!(came, want);
        if want.is_ok() {
            self.published(name, version).unwrap().retired = retired;
        }
    }

    pub(super) fn property(&mut self, name: &'static str, which: Which, key: usize, set: bool) {
        let (version, key) = (self.plain.number(name, which), KEYS[key]);
        let value = format!("{}", self.plain.now);
        let came = self.store.set_property(name, version, key, set.then_some(&value));
        let absent = self.plain.there(name, version).err();
        let Some(published) = self.published(name, version) else {
            return assert_eq!(came.err(), absent.map(PropertyError::Lookup));
        };
        match set {
            true => published.properties.insert(key.to_owned(), value),
            false => published.properties.remove(key),
        };
        assert_eq!(came, Ok(()));
    }

    pub(super) fn facts(&mut self, name: &'static str, which: Which, facts: u8) {
        let version = self.plain.number(name, which);
        let came = self.store.set_facts(name, version, &[facts]);
        assert_eq!(came, self.plain.there(name, version).map(drop));
        if let Some(published) = self.published(name, version) {
            published.facts = vec![facts];
        }
    }

    /// Makes an image of a version, or takes it away where it has no size.
    pub(super) fn image(&mut self, name: &'static str, which: Which, size: usize, seed: u8) {
        let version = self.plain.number(name, which);
        let (bytes, image) = (SIZES[size], file(seed, SIZES[size]));
        let there = self.plain.there(name, version).map(drop);
        if seed == 0 {
            assert_eq!(self.store.drop_image(name, version), there);
            if let Some(published) = self.published(name, version) {
                published.image = None;
            }
            return;
        }
        let grows = self.store.image_grows_by(name, version, bytes as u64);
        let (first, second) = image.split_at(bytes / 3);
        let came = self.store.set_image(name, version, bytes as u64, [first, second].into_iter());
        if let Err(absent) = there {
            return assert_eq!(came, Err(SetImageError::Lookup(absent)));
        }
        let replaced =
            self.published(name, version).and_then(|v| v.image.as_ref().map(|(_, i)| pages(i.len())));
        let room = match bytes {
            0 => Err(KeepError::Empty),
            _ => self.plain.place_image(bytes, replaced.unwrap_or(0) * PAGE_BYTES).map_err(KeepError::Room),
        };
        match room {
            Ok(start) => {
                let end = start + pages(bytes);
                assert_eq!(grows, Ok(end.saturating_sub(self.plain.pages) * PAGE_BYTES));
                assert_eq!(came, Ok(()));
                self.plain.pages = self.plain.pages.max(end);
                self.published(name, version).unwrap().image = Some((start, image));
            }
            Err(error) => {
                assert_eq!((grows, came), (Err(error.clone()), Err(SetImageError::Keep(error))));
            }
        }
    }

    pub(super) fn limits(&mut self, uploader_pages: u64, open: u32) {
        self.plain.max_uploader_bytes = uploader_pages * PAGE_BYTES;
        self.plain.max_open = open;
        let limits = InitArgs {
            max_bytes_per_uploader: Some(self.plain.max_uploader_bytes),
            max_open_uploads: Some(open),
            ..InitArgs::default()
        };
        self.store.apply(&limits).unwrap();
    }
}
