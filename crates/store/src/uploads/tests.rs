//! Uploads: what begins, what is refused and with which words, resuming, reuse of freed room.

use ic_nn_types::{ChunkRange, Error, ErrorCode, InitArgs};
use ic_stable_structures::VectorMemory;

use super::*;
use crate::NameError;
use crate::fixture::{
    CHUNK, chunk, dump, file, memories, principal, published, share, spec, store, uploaded,
};

const NOW: u64 = 11;

#[test]
fn chunks_come_in_any_order_and_again() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 2 * CHUNK + 5));
    let begun = store.begin(&spec("m", &file), me, NOW).unwrap();
    assert_eq!((begun.upload, begun.chunks, begun.received), (1, 3, 0));
    assert_eq!(begun.missing, [ChunkRange { first: 0, last: 2 }]);
    let mut wrong = chunk(1, 2, &file);
    wrong.data.fill(0);
    assert_eq!(store.put_chunk(&wrong, me).unwrap().received, 1);
    assert_eq!(store.put_chunk(&chunk(1, 0, &file), me).unwrap().missing, [ChunkRange { first: 1, last: 1 }]);
    assert_eq!(store.put_chunk(&chunk(1, 2, &file), me).unwrap().received, 2);
    let status = store.put_chunk(&chunk(1, 1, &file), me).unwrap();
    assert_eq!((status.received, status.missing.len()), (3, 0));
    assert_eq!(store.status(1, me), Ok(status));
    assert_eq!(store.upload_blob(1).unwrap().to_vec(), Ok(file));
}

#[test]
fn a_spec_is_checked() {
    let mut store = store();
    let good = spec("m", &[1]);
    let begin = |store: &mut Store<_>, change: &dyn Fn(&mut UploadSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        store.begin(&spec, principal(1), NOW).unwrap_err()
    };
    let error = begin(&mut store, &|s| s.name = "a b".into());
    assert_eq!(error, BeginError::Name(NameError::Character { found: ' ', at: 1 }));
    assert_eq!(begin(&mut store, &|s| s.sha256.truncate(31)), BeginError::Sha256Length { came: 31 });
    assert_eq!(begin(&mut store, &|s| s.bytes = 0), BeginError::Empty);
    for came in [0, 65_535, MAX_CHUNK_BYTES + 1, u32::MAX] {
        assert_eq!(begin(&mut store, &|s| s.chunk_bytes = Some(came)), BeginError::ChunkBytes { came });
    }
    for bytes in [(512 << 20) + 1, u64::MAX] {
        let error = begin(&mut store, &|s| s.bytes = bytes);
        assert_eq!(error, BeginError::ModelTooLarge { bytes, limit: 512 << 20 });
        assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    }
    assert_eq!(store.uploads.iter().count(), 0);
    assert_eq!(store.blobs.size(), 0);
}

#[test]
fn the_total_counts_whole_pages_of_versions_and_uploads() {
    let mut store = store();
    let limit = 5 * PAGE_BYTES;
    store.apply(&InitArgs { max_total_bytes: Some(limit), ..InitArgs::default() }).unwrap();
    published(&mut store, "m", &file(1, CHUNK + 1));
    store.begin(&spec("n", &file(2, CHUNK + 1)), principal(1), NOW).unwrap();
    let error = store.begin(&spec("o", &file(3, CHUNK + 1)), principal(1), NOW).unwrap_err();
    assert_eq!(error, BeginError::TotalTooLarge { needed: 2 * PAGE_BYTES, taken: 4 * PAGE_BYTES, limit });
    assert!(
        error.to_string().contains("max_total_bytes is 327680: delete versions or abort uploads"),
        "{error}"
    );
    store.begin(&spec("o", &file(3, CHUNK)), principal(1), NOW).unwrap();
}

#[test]
fn open_uploads_are_bounded() {
    let mut store = store();
    store.apply(&InitArgs { max_open_uploads: Some(2), ..InitArgs::default() }).unwrap();
    let begin = |store: &mut Store<_>, n: u8| store.begin(&spec("m", &[n]), principal(n), NOW);
    begin(&mut store, 1).unwrap();
    begin(&mut store, 2).unwrap();
    let error = begin(&mut store, 3).unwrap_err();
    assert_eq!(error, BeginError::TooManyOpen { limit: 2, oldest: 1, owner: principal(1) });
    assert_eq!(begin(&mut store, 2).unwrap().upload, 2, "what is open is answered over the limit");
    store.abort(1, principal(1)).unwrap();
    assert_eq!(begin(&mut store, 3).unwrap().upload, 3);
}

#[test]
fn the_same_spec_of_the_same_caller_resumes() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, file) = (principal(1), file(1, 2 * CHUNK));
    let upload = store.begin(&spec("m", &file), me, NOW).unwrap().upload;
    store.put_chunk(&chunk(upload, 1, &file), me).unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    let before = dump(&memories);
    let resumed = store.begin(&spec("m", &file), me, 99).unwrap();
    assert_eq!((resumed.upload, resumed.received), (upload, 1));
    assert_eq!(dump(&memories), before);
    assert_eq!(store.begin(&spec("m", &file), principal(2), NOW).unwrap().upload, 2, "another caller");
    assert_eq!(store.begin(&spec("n", &file), me, NOW).unwrap().upload, 3, "another name");
    let other = UploadSpec { chunk_bytes: None, ..spec("m", &file) };
    assert_eq!(store.begin(&other, me, NOW).unwrap().upload, 4, "another chunk size");
}

#[test]
fn a_wrong_chunk_changes_nothing() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, file) = (principal(1), file(1, CHUNK + 5));
    let upload = store.begin(&spec("m", &file), me, NOW).unwrap().upload;
    let before = dump(&memories);
    let put = |index, bytes| ChunkRequest { upload, index, data: vec![1; bytes] };
    for index in [2, u32::MAX] {
        assert_eq!(store.put_chunk(&put(index, 5), me), Err(ChunkError::Index { upload, index, last: 1 }));
    }
    for (index, came, expected) in
        [(0, 0, CHUNK), (0, CHUNK - 1, CHUNK), (0, CHUNK + 1, CHUNK), (1, CHUNK, 5), (1, 4, 5)]
    {
        let error = store.put_chunk(&put(index, came), me).unwrap_err();
        assert_eq!(error, ChunkError::Length { upload, index, came, expected: expected as u64 });
        assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    }
    assert_eq!(dump(&memories), before);
}

#[test]
fn an_upload_is_its_callers() {
    let mut store = store();
    let (me, other, file) = (principal(1), principal(2), file(1, 9));
    let upload = store.begin(&spec("m", &file), me, NOW).unwrap().upload;
    let refused = UploadError::NotOwner { upload };
    assert_eq!(Error::from(refused.clone()).code, ErrorCode::Security);
    assert_eq!(store.status(upload, other), Err(refused.clone()));
    assert_eq!(store.put_chunk(&chunk(upload, 0, &file), other), Err(refused.clone().into()));
    assert_eq!(store.abort(upload, other), Err(refused.into()));
    assert_eq!(store.abort(upload, store.owner(upload).unwrap()), Ok(()));
    assert_eq!(store.status(upload, me), Err(UploadError::Closed { upload }));
    for upload in [0, 2, u64::MAX] {
        let error = store.status(upload, me).unwrap_err();
        assert_eq!(error, UploadError::Unknown { upload });
        assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    }
}

#[test]
fn freed_room_is_taken_again() {
    let mut store = store();
    let me = principal(1);
    let first = uploaded(&mut store, "a", &file(1, 2 * CHUNK), me);
    published(&mut store, "b", &file(2, CHUNK));
    let size = store.blobs.size();
    store.abort(first, me).unwrap();
    let (small, rest) = (file(3, CHUNK), file(4, 3));
    published(&mut store, "c", &small);
    published(&mut store, "d", &rest);
    assert_eq!(store.blobs.size(), size);
    store.delete("b").unwrap();
    published(&mut store, "e", &file(5, CHUNK));
    assert_eq!(store.blobs.size(), size);
    assert_eq!(store.blob("c", 1).unwrap().to_vec(), Ok(small));
    assert_eq!(store.blob("d", 1).unwrap().to_vec(), Ok(rest));
}

#[test]
fn an_old_file_does_not_stand_in_for_a_chunk() {
    let mut store = store();
    let secret = file(1, 2 * CHUNK);
    published(&mut store, "a", &secret);
    store.delete("a").unwrap();
    let upload = store.begin(&spec("b", &secret), principal(2), NOW).unwrap();
    assert_eq!(upload.received, 0);
    assert!(store.begin_commit(upload.upload, principal(2)).is_err());
}

#[test]
fn missing_ranges_end_at_a_thousand() {
    let mut store = store();
    let (me, bytes) = (principal(1), 2_100 * CHUNK as u64);
    let huge = UploadSpec { bytes, ..spec("m", &[1]) };
    let upload = store.begin(&huge, me, NOW).unwrap().upload;
    let mut record = store.upload(upload).unwrap();
    (0..2_100).step_by(2).for_each(|index| _ = record.received.insert(index));
    store.uploads.insert(&upload.to_be_bytes(), record.encode());
    let status = store.status(upload, me).unwrap();
    assert_eq!((status.received, status.missing.len()), (1_050, 1_000));
    assert_eq!(status.missing[999], ChunkRange { first: 1_999, last: 1_999 });
}

/// A memory that cannot grow beyond `most` pages.
#[derive(Clone)]
struct Full {
    memory: VectorMemory,
    most: u64,
}

impl Memory for Full {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        if self.size() + pages > self.most { -1 } else { self.memory.grow(pages) }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.memory.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.memory.write(offset, src);
    }
}

#[test]
fn a_refused_grow_is_an_error() {
    let full = |most| Full { memory: VectorMemory::default(), most };
    let memories = crate::Memories::each(|name| full(if name == "blobs" { 2 } else { 9 }));
    let mut store = Store::open(memories).unwrap();
    let me = principal(1);
    let error = store.begin(&spec("m", &file(1, 3 * CHUNK)), me, NOW).unwrap_err();
    assert_eq!(error, BeginError::GrowRefused { bytes: 3 * PAGE_BYTES });
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    assert_eq!(store.begin(&spec("m", &file(1, 2 * CHUNK)), me, NOW).unwrap().upload, 1);
}
