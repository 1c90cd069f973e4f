//! Steps of uploads and commits.

use std::collections::BTreeSet;

use ic_nn_types::{ChunkRequest, GraphEncoding, UploadSpec};

use super::Model;
use super::plain::{ABANDONED_AFTER, DAY, File, Name, Published, Upload, pages};
use super::step::{Ending, flavours};
use crate::commit::{Commit, Verified};
use crate::extent::PAGE_BYTES;
use crate::fixture::{CHUNK, principal};
use crate::{AbortError, AppendError, ChunkError, CommitError, UploadError};

impl Model {
    pub(super) fn begin(
        &mut self,
        name: &'static str,
        file: File,
        owner: u8,
        flavour: usize,
        unlimited: bool,
    ) {
        let (encoding, two, provenance) = flavours(flavour);
        let bytes = file.0.len() as u64;
        let builders = if two && bytes > 1 { vec![1, bytes - 1] } else { vec![bytes] };
        let spec = UploadSpec {
            name: name.into(),
            bytes,
            sha256: file.1.to_vec(),
            chunk_bytes: Some(CHUNK as u32),
            encoding,
            builders: Some(builders.clone()),
            provenance: provenance.clone(),
        };
        let encoding = encoding.unwrap_or(GraphEncoding::Autodetect);
        let same = self.plain.uploads.iter_mut().find(|(_, u)| {
            (u.name.as_str(), u.owner, u.encoding, &u.builders, &u.file)
                == (name, owner, encoding, &builders, &file)
        });
        let now = self.plain.now;
        if let Some((&id, upload)) = same {
            upload.active_at = now;
            assert_eq!(self.store.begin_grows_by(&spec, principal(owner), unlimited), Ok(0));
            let status = self.store.begin(&spec, principal(owner), now, unlimited).unwrap();
            assert_eq!((status.upload, status.received as usize), (id, upload.got.len()));
            return;
        }
        let want = self.plain.begin(&file, owner, unlimited);
        let grows = self.store.begin_grows_by(&spec, principal(owner), unlimited);
        let came = self.store.begin(&spec, principal(owner), now, unlimited);
        let start = match want {
            Err(error) => {
                assert_eq!((grows, came), (Err(error.clone()), Err(error)));
                return;
            }
            Ok(start) => start,
        };
        let end = start + pages(file.0.len());
        assert_eq!(grows, Ok(end.saturating_sub(self.plain.pages) * PAGE_BYTES));
        self.plain.pages = self.plain.pages.max(end);
        self.plain.begun += 1;
        let status = came.unwrap();
        assert_eq!((status.upload, status.received, status.failed), (self.plain.begun, 0, None));
        let upload = Upload {
            name: name.into(),
            file,
            start,
            owner,
            encoding,
            builders,
            provenance: provenance.unwrap_or_default(),
            got: BTreeSet::new(),
            failed: None,
            active_at: now,
        };
        self.plain.uploads.insert(self.plain.begun, upload);
    }

    fn committing(&self, upload: u64) -> bool {
        self.under_way.iter().any(|(commit, _)| commit.upload() == upload)
    }

    /// What putting `data` as chunk `index` comes to: an error, or the number of chunks then.
    fn expect_chunk(
        &mut self,
        upload: u64,
        index: usize,
        data: &[u8],
        caller: u8,
    ) -> Result<u32, ChunkError> {
        if let Some(refusal) = self.plain.refusal(upload, caller) {
            return Err(refusal.into());
        }
        if self.committing(upload) {
            return Err(ChunkError::Committing { upload });
        }
        let now = self.plain.now;
        let open = self.plain.uploads.get_mut(&upload).unwrap();
        let (chunks, expected, came) = (open.chunks(), open.chunk(index).len() as u64, data.len());
        if index >= chunks {
            return Err(ChunkError::Index { upload, index: index as u32, last: chunks as u32 - 1 });
        }
        if came as u64 != expected {
            return Err(ChunkError::Length { upload, index: index as u32, came, expected });
        }
        open.got.insert(index);
        open.failed = None;
        open.active_at = now;
        Ok(open.got.len() as u32)
    }

    pub(super) fn put(&mut self, upload: u64, index: usize, caller: u8) {
        let data = self.plain.uploads.get(&upload).map_or(vec![1], |open| open.chunk(index));
        let want = self.expect_chunk(upload, index, &data, caller);
        let request = ChunkRequest { upload, index: index as u32, data };
        let came = self.store.put_chunk(&request, principal(caller), self.plain.now);
        assert_eq!(came.map(|status| status.received), want);
    }

    pub(super) fn put_all(&mut self, upload: u64) {
        if let Some((owner, chunks)) = self.plain.uploads.get(&upload).map(|open| (open.owner, open.chunks()))
        {
            (0..chunks).for_each(|index| self.put(upload, index, owner));
        }
    }

    pub(super) fn append(&mut self, caller: u8, at: Option<usize>, wrong: bool) {
        let newest = self.plain.uploads.iter().rev().find(|(_, open)| open.owner == caller);
        let Some((&upload, open)) = newest else {
            let want = Err(AppendError::NoUpload { caller: principal(caller) });
            assert_eq!(self.store.append(&[1], principal(caller), self.plain.now), want);
            assert_eq!(self.store.append_at(0, &[1], principal(caller), self.plain.now), want);
            return;
        };
        let chunks = open.chunks() as u32;
        let missing = (0..open.chunks()).find(|index| !open.got.contains(index));
        let index = at.or(missing);
        let data = index.map_or(vec![1], |index| if wrong { vec![1; CHUNK + 2] } else { open.chunk(index) });
        let want = match index {
            Some(index) => self.expect_chunk(upload, index, &data, caller).map_err(AppendError::Chunk),
            None => Err(AppendError::Complete { upload, chunks }),
        };
        let came = match at {
            Some(at) => self.store.append_at(at as u32, &data, principal(caller), self.plain.now),
            None => self.store.append(&data, principal(caller), self.plain.now),
        };
        assert_eq!(came.map(|status| status.received), want);
    }

    pub(super) fn abort(&mut self, upload: u64, caller: u8) {
        let want = match self.plain.refusal(upload, caller) {
            Some(refusal) => Err(AbortError::Upload(refusal)),
            None if self.committing(upload) => Err(AbortError::Committing { upload }),
            None => Ok(()),
        };
        assert_eq!(self.store.abort(upload, principal(caller)), want);
        if want.is_ok() {
            self.plain.uploads.remove(&upload);
        }
    }

    pub(super) fn fail(&mut self, upload: u64) {
        let owner = self.plain.uploads.get(&upload).map_or(1, |open| open.owner);
        let want = self.plain.refusal(upload, owner).map_or(Ok(()), Err);
        let reason = format!("at {}", self.plain.now);
        assert_eq!(self.store.fail(upload, &reason), want);
        if let Some(open) = self.plain.uploads.get_mut(&upload) {
            open.failed = Some(reason);
        }
    }

    pub(super) fn commit(&mut self, upload: u64, ending: Ending) {
        let owner = self.plain.uploads.get(&upload).map_or(1, |open| open.owner);
        let mut commit =
            match (self.store.begin_commit(upload, principal(owner)), self.plain.uploads.get(&upload)) {
                (Err(CommitError::Committing { .. }), Some(_)) => return assert!(self.committing(upload)),
                (Err(CommitError::Missing { count, chunks, .. }), Some(open)) => {
                    assert!(!self.committing(upload) && count > 0);
                    return assert_eq!((chunks - count) as usize, open.got.len());
                }
                (Err(CommitError::Upload(error)), None) => {
                    return assert_eq!(Some(error), self.plain.refusal(upload, owner));
                }
                (Ok(commit), Some(open)) if open.got.len() == open.chunks() => commit,
                (result, _) => panic!("{:?}", result.err()),
            };
        assert!(!self.committing(upload));
        self.plain.uploads.get_mut(&upload).unwrap().failed = None;
        let verified = self.store.verify(&mut commit, u64::MAX).unwrap().unwrap();
        match ending {
            Ending::Publish => self.publish(verified),
            Ending::Fail => self.store.end_commit(&commit),
            Ending::Leave => self.under_way.push((commit, verified)),
        }
    }

    /// Ends a commit that was left under way.
    pub(super) fn end(&mut self, pick: usize, publish: bool) {
        if pick >= self.under_way.len() {
            return;
        }
        let (commit, verified): (Commit, Verified) = self.under_way.swap_remove(pick);
        match publish {
            true => self.publish(verified),
            false => self.store.end_commit(&commit),
        }
        let ended = CommitError::Ended { upload: commit.upload() };
        assert_eq!(self.store.publish(verified, b"", 0), Err(ended));
    }

    fn publish(&mut self, verified: Verified) {
        let upload = verified.upload();
        let now = self.plain.now;
        // Every other file is found to be what it is.
        let found = upload.is_multiple_of(2).then_some(GraphEncoding::Onnx);
        let verified = found.map_or(verified, |found| verified.found(found));
        let facts = upload.to_le_bytes().to_vec();
        let model = self.store.publish(verified, &facts, now).unwrap();
        let open = self.plain.uploads.remove(&upload).unwrap();
        let first = Name { next: 1, policy: Default::default() };
        let name = self.plain.names.entry(open.name.clone()).or_insert(first);
        assert_eq!((&model.name, model.version, model.sha256), (&open.name, name.next, open.file.1.to_vec()));
        let published = Published {
            file: open.file,
            start: open.start,
            owner: open.owner,
            committed_at: now,
            graph: None,
            opener: 0,
            encoding: found.unwrap_or(open.encoding),
            retired: false,
            builders: open.builders,
            provenance: open.provenance,
            facts,
            image: None,
            properties: Default::default(),
        };
        self.plain.versions.insert((open.name, name.next), published);
        name.next += 1;
        assert_eq!(self.store.owner(upload), Err(UploadError::Closed { upload }));
    }

    pub(super) fn collect(&mut self, days: u64) {
        self.plain.now += days * DAY;
        let now = self.plain.now;
        let mut want = Vec::new();
        for (&id, open) in &self.plain.uploads {
            if now - open.active_at >= ABANDONED_AFTER && !self.committing(id) {
                want.push((id, principal(open.owner), open.name.clone()));
            }
        }
        assert_eq!(self.store.collect_abandoned(now), Ok(want.clone()));
        self.plain.uploads.retain(|id, _| !want.iter().any(|(gone, ..)| gone == id));
    }
}
