//! What holds after every step, and what is read back at an upgrade.

use std::collections::BTreeSet;

use ic_nn_types::{ListRequest, ModelState, ModelSummary};
use ic_stable_structures::Memory;

use super::Model;
use super::plain::DELETED_GRAPHS;
use super::step::{LABELS, NAMES, Which};
use crate::extent::PAGE_BYTES;
use crate::fixture::{CHUNK, principal};
use crate::images::ImageRecord;
use crate::record::{UploadRecord, VersionRecord};
use crate::{Indexed, Residency};

impl Model {
    /// Holds records, look-ups and pages to the model.
    pub(super) fn check(&self) {
        self.check_extents();
        self.check_pages();
        for name in NAMES {
            let labels = (0..LABELS.len()).map(Which::Label);
            for which in labels.chain([Which::Newest, Which::Back(0), Which::Back(2)]) {
                let reference = self.plain.reference(name, which);
                let came = self.store.resolve(&reference).map(|v| v.version);
                assert_eq!(came, self.plain.resolve(name, which), "{reference}");
                let came = self.store.resolve_any(&reference).map(|v| v.version);
                assert_eq!(came, self.plain.resolve_any(name, which), "{reference}");
            }
        }
        let handles: BTreeSet<u64> = self.plain.versions.values().filter_map(|v| v.graph).collect();
        let open = handles.iter().map(|graph| self.plain.graph(*graph).unwrap());
        assert!(self.store.graphs().map(Result::unwrap).eq(open));
        let closed =
            self.plain.closed.iter().rev().take(2 * DELETED_GRAPHS as usize).map(|(graph, _)| *graph);
        for graph in closed.chain([0, self.plain.opened, self.plain.opened + 1]).chain(handles.clone()) {
            assert_eq!(self.store.graph(graph), self.plain.graph(graph));
        }
        let rows = handles.len() + 2 * self.plain.remembered().len();
        assert_eq!(self.store.graphs.len(), rows as u64);
    }

    /// Every file lies where the model put it, no two overlap, and no record is left behind.
    fn check_extents(&self) {
        let versions =
            self.store.versions.iter().map(|(_, value)| VersionRecord::decode(&value).unwrap().extent);
        let uploads =
            self.store.uploads.iter().map(|(_, value)| UploadRecord::decode(&value).unwrap().extent);
        let images = self.store.images.iter().map(|(_, value)| ImageRecord::decode(&value).unwrap().extent);
        let mut extents: Vec<(u64, u64)> =
            versions.chain(uploads).chain(images).map(|e| (e.start, e.pages)).collect();
        let mut want = self.plain.extents();
        extents.sort_unstable();
        want.sort_unstable();
        assert_eq!(extents, want);
        assert!(extents.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{extents:?}");
        assert_eq!(self.store.blobs.size(), self.plain.pages);

        let plain = &self.plain;
        assert_eq!(self.store.facts.iter().count(), plain.versions.len());
        assert_eq!(self.store.labels.iter().count(), plain.labels.len());
        let properties = plain.versions.values().map(|v| v.properties.len()).sum::<usize>();
        assert_eq!(self.store.properties.iter().count(), properties);
        let told = |builders: &[u64], provenance| builders.len() > 1 || provenance != &Default::default();
        let versions = plain.versions.values().filter(|v| told(&v.builders, &v.provenance)).count();
        let uploads = plain.uploads.values().filter(|u| told(&u.builders, &u.provenance)).count();
        assert_eq!(self.store.provenance.iter().count(), versions + uploads);
    }

    /// `list` and `index` tell what there is.
    fn check_pages(&self) {
        let (resident, loading) = (self.plain.opened, self.plain.opened.saturating_sub(1));
        let residency = Residency { is_resident: &|g| g == resident, is_loading: &|g| g == loading };
        let named = self.plain.versions.iter().filter(|(key, _)| !key.0.starts_with('@'));
        let (mut summaries, mut index) = (Vec::new(), Vec::new());
        for ((name, version), v) in named {
            let (state, reason) = self.plain.state(name, *version, resident, loading);
            index.push(Indexed {
                name: name.clone(),
                version: Some(*version),
                state: state.clone(),
                reason: reason.to_owned(),
            });
            summaries.push(ModelSummary {
                name: name.clone(),
                version: *version,
                labels: self.plain.labels_of(name, *version),
                encoding: Some(v.encoding),
                bytes: v.file.0.len() as u64,
                sha256: v.file.1.to_vec(),
                state: Some(state),
                uploader: principal(v.owner),
                committed_at: v.committed_at,
            });
        }
        for open in self.plain.uploads.values() {
            let state = open.failed.clone().map_or(ModelState::Uploading, ModelState::Failed);
            let reason = open.failed.clone().unwrap_or_default();
            index.push(Indexed { name: open.name.clone(), version: None, state, reason });
        }
        let page = self.store.list(&ListRequest::default(), residency).unwrap();
        assert_eq!((page.models, page.next), (summaries, None));
        let page = self.store.index(None, None, residency).unwrap();
        assert_eq!((page.entries, page.next), (index, None));
    }

    /// Everything reads back.
    pub(super) fn check_bytes(&self) {
        for ((name, version), want) in &self.plain.versions {
            let (name, version) = (name.as_str(), *version);
            assert!(
                self.store.blob(name, version).unwrap().to_vec().as_ref() == Ok(&want.file.0),
                "{name}:{version}"
            );
            let told = self.store.get(name, version).unwrap();
            assert_eq!((told.uploader, told.graph), (principal(want.owner), want.graph));
            assert_eq!(
                (told.sha256, told.encoding, told.retired),
                (want.file.1, want.encoding, want.retired)
            );
            assert_eq!(self.store.facts(name, version).as_ref(), Ok(&want.facts));
            let image = self.store.image(name, version).unwrap().map(|image| image.to_vec().unwrap());
            assert_eq!(image, want.image.clone().map(|(_, image)| image));
            assert_eq!(self.store.provenance(name, version).as_ref(), Ok(&want.provenance));
            assert_eq!(self.store.builders(name, version).as_ref(), Ok(&want.builders));
            assert_eq!(
                self.store.properties(name, version),
                Ok(want.properties.clone().into_iter().collect::<Vec<_>>())
            );
        }
        let kept: Vec<String> = self.store.kept().map(|v| v.unwrap().name).collect();
        assert_eq!(kept, self.plain.kept());
        for (&id, want) in &self.plain.uploads {
            let status = self.store.status(id, principal(want.owner)).unwrap();
            let missing: u32 = status.missing.iter().map(|range| range.last - range.first + 1).sum();
            assert_eq!(status.chunks - missing, want.got.len() as u32);
            assert_eq!(status.failed, want.failed);
            assert_eq!(self.store.upload_builders(id).as_ref(), Ok(&want.builders));
            assert_eq!(self.store.upload_encoding(id), Ok(want.encoding));
            let stored = self.store.upload_blob(id).unwrap().to_vec().unwrap();
            for &index in &want.got {
                assert!(
                    stored.chunks(CHUNK).nth(index) == want.file.0.chunks(CHUNK).nth(index),
                    "{id}: {index}"
                );
            }
        }
        for name in NAMES {
            let want = match self.plain.existing(name).is_empty() {
                true => Err(self.plain.absent(name, None)),
                false => Ok(self.plain.policy(name)),
            };
            assert_eq!(self.store.version_policy(name), want);
            for version in self.plain.existing(name) {
                assert_eq!(self.store.labels_of(name, version), Ok(self.plain.labels_of(name, version)));
            }
        }
        assert!(
            self.store.blobs.size() * PAGE_BYTES <= 2 * super::MAX_TOTAL_BYTES,
            "freed memory is taken again"
        );
    }
}
