//! Uploads: what begins, what is refused and with which words, resuming, reuse of freed room, what is left behind.

use ic_nn_types::{ChunkRange, Error, ErrorCode, InitArgs};
use ic_stable_structures::VectorMemory;

use super::*;
use crate::NameError;
use crate::extent::PAGE_BYTES;
use crate::fixture::{
    CHUNK, chunk, deleted, file, memories, principal, published, share, spec, store, uploaded,
};

const NOW: u64 = 11;

#[test]
fn a_spec_is_checked() {
    let mut store = store();
    let good = spec("m", &[1]);
    let begin = |store: &mut Store<_>, change: &dyn Fn(&mut UploadSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        store.begin(&spec, principal(1), NOW, false).unwrap_err()
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
        assert_eq!(error, BeginError::Room(RoomError::ModelTooLarge { bytes, limit: 512 << 20 }));
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
    store.begin(&spec("n", &file(2, CHUNK + 1)), principal(1), NOW, false).unwrap();
    let error = store.begin(&spec("o", &file(3, CHUNK + 1)), principal(1), NOW, false).unwrap_err();
    let (needed, taken) = (2 * PAGE_BYTES, 4 * PAGE_BYTES);
    assert_eq!(error, BeginError::Room(RoomError::TotalTooLarge { needed, taken, limit }));
    assert!(
        error.to_string().contains("max_total_bytes is 327680: delete versions or abort uploads"),
        "{error}"
    );
    store.begin(&spec("o", &file(3, CHUNK)), principal(1), NOW, false).unwrap();
}

#[test]
fn open_uploads_are_bounded() {
    let mut store = store();
    store.apply(&InitArgs { max_open_uploads: Some(2), ..InitArgs::default() }).unwrap();
    let begin = |store: &mut Store<_>, n: u8| store.begin(&spec("m", &[n]), principal(n), NOW, false);
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
    let upload = store.begin(&spec("m", &file), me, NOW, false).unwrap().upload;
    store.put_chunk(&chunk(upload, 1, &file), me, NOW).unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    let resumed = store.begin(&spec("m", &file), me, 99, false).unwrap();
    assert_eq!((resumed.upload, resumed.received), (upload, 1));
    assert_eq!(store.upload(upload).unwrap().active_at, 99);
    assert_eq!(store.begin_grows_by(&spec("m", &file), me, false), Ok(0));
    assert_eq!(store.begin(&spec("m", &file), principal(2), NOW, false).unwrap().upload, 2, "another caller");
    assert_eq!(store.begin(&spec("n", &file), me, NOW, false).unwrap().upload, 3, "another name");
    let other = UploadSpec { chunk_bytes: None, ..spec("m", &file) };
    assert_eq!(store.begin(&other, me, NOW, false).unwrap().upload, 4, "another chunk size");
}

#[test]
fn an_upload_is_its_callers() {
    let mut store = store();
    let (me, other, file) = (principal(1), principal(2), file(1, 9));
    let upload = store.begin(&spec("m", &file), me, NOW, false).unwrap().upload;
    let refused = UploadError::NotOwner { upload };
    assert_eq!(Error::from(refused.clone()).code, ErrorCode::Security);
    assert_eq!(store.status(upload, other), Err(refused.clone()));
    assert_eq!(store.put_chunk(&chunk(upload, 0, &file), other, NOW), Err(refused.clone().into()));
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
    deleted(&mut store, "b");
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
    deleted(&mut store, "a");
    let upload = store.begin(&spec("b", &secret), principal(2), NOW, false).unwrap();
    assert_eq!(upload.received, 0);
    assert!(store.begin_commit(upload.upload, principal(2)).is_err());
}

#[test]
fn missing_ranges_end_at_a_thousand() {
    let mut store = store();
    let (me, bytes) = (principal(1), 2_100 * CHUNK as u64);
    let huge = UploadSpec { bytes, ..spec("m", &[1]) };
    let upload = store.begin(&huge, me, NOW, false).unwrap().upload;
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
    let error = store.begin(&spec("m", &file(1, 3 * CHUNK)), me, NOW, false).unwrap_err();
    assert_eq!(error, BeginError::Room(RoomError::GrowRefused { bytes: 3 * PAGE_BYTES }));
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    assert_eq!(store.begin(&spec("m", &file(1, 2 * CHUNK)), me, NOW, false).unwrap().upload, 1);
}

#[test]
fn the_rest_of_the_spec_tells_uploads_apart() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 9));
    let first = UploadSpec {
        provenance: Some(Provenance { licence: Some("MIT".into()), ..Provenance::default() }),
        ..spec("m", &file)
    };
    let mut begin = |spec: UploadSpec| store.begin(&spec, me, NOW, false).unwrap().upload;
    assert_eq!(begin(first.clone()), 1);
    let onnx = Some(GraphEncoding::Onnx);
    assert_eq!(begin(UploadSpec { encoding: onnx, ..spec("m", &file) }), 2);
    assert_eq!(begin(UploadSpec { builders: Some(vec![4, 5]), ..spec("m", &file) }), 3);
    assert_eq!(begin(UploadSpec { builders: Some(vec![5, 4]), ..spec("m", &file) }), 4);
    assert_eq!(begin(UploadSpec { builders: Some(vec![4, 5]), ..spec("m", &file) }), 3);
    assert_eq!(begin(UploadSpec { encoding: onnx, ..spec("m", &file) }), 2);
    assert_eq!(begin(UploadSpec { encoding: Some(GraphEncoding::Autodetect), ..spec("m", &file) }), 1);
    assert_eq!(begin(UploadSpec { builders: Some(vec![9]), provenance: None, ..first }), 1);
    let kept = store.provenance_record(&upload_key(1)).unwrap().provenance;
    assert_eq!(kept.licence.as_deref(), Some("MIT"), "the provenance of the first stays");
}

#[test]
fn an_uploader_is_bounded_unless_unlimited() {
    let mut store = store();
    let limit = 2 * PAGE_BYTES;
    store.apply(&InitArgs { max_bytes_per_uploader: Some(limit), ..InitArgs::default() }).unwrap();
    let (me, other) = (principal(1), principal(2));
    published(&mut store, "m", &[1]);
    store.begin(&spec("m", &[2]), me, NOW, false).unwrap();
    let third = spec("m", &[3]);
    let (needed, taken) = (PAGE_BYTES, 2 * PAGE_BYTES);
    let refused = BeginError::Room(RoomError::UploaderTooLarge { uploader: me, needed, taken, limit });
    assert_eq!(store.begin_grows_by(&third, me, false), Err(refused.clone()));
    assert_eq!(store.begin(&third, me, NOW, false), Err(refused.clone()));
    assert!(
        refused.to_string().contains("max_bytes_per_uploader is 131072: delete versions or"),
        "{refused}"
    );
    assert_eq!(Error::from(refused).code, ErrorCode::TooLarge);
    assert_eq!(store.begin(&spec("m", &[2]), me, NOW, false).unwrap().upload, 2, "what is open is answered");
    assert!(store.begin(&third, other, NOW, false).is_ok());
    assert_eq!(store.begin_grows_by(&third, me, true), Ok(PAGE_BYTES));
    let upload = store.begin(&third, me, NOW, true).unwrap().upload;
    store.abort(upload, me).unwrap();
    deleted(&mut store, "m");
    assert!(store.begin(&third, me, NOW, false).is_ok());
}

#[test]
fn why_a_commit_failed_is_told_until_something_changes() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let me = principal(1);
    let upload = uploaded(&mut store, "m", &[1], me);
    let failed = |store: &Store<_>| store.status(upload, me).unwrap().failed;
    assert_eq!(failed(&store), None);
    store.fail(upload, "no graph").unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(failed(&store).as_deref(), Some("no graph"));
    let commit = store.begin_commit(upload, me).unwrap();
    assert_eq!(failed(&store), None);
    store.fail(upload, &"é".repeat(1_500)).unwrap();
    store.end_commit(&commit);
    assert_eq!(failed(&store), Some("é".repeat(1_000)));
    store.fail(upload, &format!("x{}", "é".repeat(1_500))).unwrap();
    assert_eq!(failed(&store).map(|reason| reason.len()), Some(1_999));
    store.put_chunk(&chunk(upload, 0, &[1]), me, NOW).unwrap();
    assert_eq!(failed(&store), None);
    assert_eq!(store.fail(9, ""), Err(UploadError::Unknown { upload: 9 }));
    store.begin(&spec("m", &file(1, 2 * CHUNK)), me, NOW, false).unwrap();
    store.fail(2, "why").unwrap();
    assert!(store.begin_commit(2, me).is_err());
    assert_eq!(store.status(2, me).unwrap().failed.as_deref(), Some("why"), "no commit has begun");
}

#[test]
fn what_is_abandoned_is_cleared_away() {
    let mut store = store();
    store.apply(&InitArgs { abandoned_after_seconds: Some(3_600), ..InitArgs::default() }).unwrap();
    let hour = 3_600_000_000_000;
    let me = principal(1);
    let begin =
        |store: &mut Store<_>, n: u8, now| store.begin(&spec("m", &[n]), me, now, false).unwrap().upload;
    for n in 1..=5 {
        assert_eq!(begin(&mut store, n, 10), u64::from(n));
    }
    store.put_chunk(&chunk(2, 0, &[2]), me, 11).unwrap();
    begin(&mut store, 3, 12);
    store.put_chunk(&chunk(4, 0, &[4]), me, 9).unwrap();
    let commit = store.begin_commit(4, me).unwrap();
    assert_eq!(store.collect_abandoned(0), Ok(vec![]));
    assert_eq!(store.collect_abandoned(hour + 8), Ok(vec![]));
    let m = || "m".to_owned();
    assert_eq!(store.collect_abandoned(hour + 10), Ok(vec![(1, me, m()), (5, me, m())]));
    assert_eq!(store.status(1, me), Err(UploadError::Closed { upload: 1 }));
    store.end_commit(&commit);
    assert_eq!(store.collect_abandoned(hour + 11), Ok(vec![(2, me, m()), (4, me, m())]));
    assert_eq!(store.collect_abandoned(u64::MAX), Ok(vec![(3, me, m())]));
    assert_eq!(store.provenance.iter().count(), 0);
}
