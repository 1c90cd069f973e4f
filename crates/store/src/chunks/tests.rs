//! Chunks: any order and again, one after the other, and what is refused.

use ic_nn_types::{ChunkRange, Error, ErrorCode, MAX_CHUNK_BYTES, UploadSpec};

use super::*;
use crate::fixture::{CHUNK, chunk, dump, file, memories, principal, share, spec, store, uploaded};

const NOW: u64 = 11;

#[test]
fn chunks_come_in_any_order_and_again() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 2 * CHUNK + 5));
    let begun = store.begin(&spec("m", &file), me, NOW, false).unwrap();
    assert_eq!((begun.upload, begun.chunks, begun.received), (1, 3, 0));
    assert_eq!(begun.missing, [ChunkRange { first: 0, last: 2 }]);
    let mut wrong = chunk(1, 2, &file);
    wrong.data.fill(0);
    assert_eq!(store.put_chunk(&wrong, me, NOW).unwrap().received, 1);
    assert_eq!(
        store.put_chunk(&chunk(1, 0, &file), me, NOW).unwrap().missing,
        [ChunkRange { first: 1, last: 1 }]
    );
    assert_eq!(store.put_chunk(&chunk(1, 2, &file), me, NOW).unwrap().received, 2);
    let status = store.put_chunk(&chunk(1, 1, &file), me, NOW).unwrap();
    assert_eq!((status.received, status.missing.len()), (3, 0));
    assert_eq!(store.status(1, me), Ok(status));
    assert_eq!(store.upload_blob(1).unwrap().to_vec(), Ok(file));
}

#[test]
fn a_wrong_chunk_changes_nothing() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, file) = (principal(1), file(1, CHUNK + 5));
    let upload = store.begin(&spec("m", &file), me, NOW, false).unwrap().upload;
    let before = dump(&memories);
    let put = |index, bytes| ChunkRequest { upload, index, data: vec![1; bytes] };
    for index in [2, u32::MAX] {
        assert_eq!(
            store.put_chunk(&put(index, 5), me, NOW),
            Err(ChunkError::Index { upload, index, last: 1 })
        );
    }
    for (index, came, expected) in
        [(0, 0, CHUNK), (0, CHUNK - 1, CHUNK), (0, CHUNK + 1, CHUNK), (1, CHUNK, 5), (1, 4, 5)]
    {
        let error = store.put_chunk(&put(index, came), me, NOW).unwrap_err();
        assert_eq!(error, ChunkError::Length { upload, index, came, expected: expected as u64 });
        assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    }
    assert_eq!(dump(&memories), before);
}

#[test]
fn chunks_of_any_allowed_size_are_put() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 2 * MAX_CHUNK_BYTES as usize + 1));
    let told = UploadSpec { chunk_bytes: Some(MAX_CHUNK_BYTES), ..spec("m", &file) };
    let upload = store.begin(&told, me, NOW, false).unwrap().upload;
    for (index, data) in file.chunks(MAX_CHUNK_BYTES as usize).enumerate().rev() {
        let request = ChunkRequest { upload, index: index as u32, data: data.to_vec() };
        store.put_chunk(&request, me, NOW).unwrap();
    }
    assert_eq!(store.upload_blob(upload).unwrap().to_vec(), Ok(file));
    let default = UploadSpec { chunk_bytes: None, ..spec("m", &[1]) };
    assert_eq!(store.begin(&default, me, NOW, false).unwrap().chunk_bytes, ic_nn_types::DEFAULT_CHUNK_BYTES);
}

#[test]
fn chunks_are_appended_to_the_newest_upload_of_the_caller() {
    let mut store = store();
    let (me, other, file) = (principal(1), principal(2), file(1, 2 * CHUNK + 5));
    let error = store.append(&[1], me, NOW).unwrap_err();
    assert_eq!(error, AppendError::NoUpload { caller: me });
    assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    let old = store.begin(&spec("m", &[1]), me, NOW, false).unwrap().upload;
    let new = store.begin(&spec("m", &file), me, NOW, false).unwrap().upload;
    store.begin(&spec("m", &file), other, NOW, false).unwrap();
    let parts: Vec<&[u8]> = file.chunks(CHUNK).collect();
    assert_eq!(store.append_at(1, parts[1], me, NOW).unwrap().upload, new);
    assert_eq!(store.append(parts[0], me, NOW).unwrap().received, 2);
    let refused = ChunkError::Length { upload: new, index: 2, came: CHUNK, expected: 5 };
    assert_eq!(store.append(parts[0], me, NOW), Err(AppendError::Chunk(refused)));
    let refused = ChunkError::Index { upload: new, index: 3, last: 2 };
    assert_eq!(store.append_at(3, parts[0], me, NOW), Err(AppendError::Chunk(refused)));
    assert_eq!(store.append(parts[2], me, NOW).unwrap().missing, []);
    let error = store.append(parts[2], me, NOW).unwrap_err();
    assert_eq!(error.to_string(), "all 3 chunks of upload 2 have arrived; commit it with upload_commit");
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    assert_eq!(store.append_at(2, parts[2], me, NOW).unwrap().received, 3, "a repeated one overwrites");
    assert_eq!(store.upload_blob(new).unwrap().to_vec(), Ok(file));
    store.abort(new, me).unwrap();
    assert_eq!(store.append(&[1], me, NOW).unwrap().upload, old);
}

#[test]
fn nothing_is_appended_to_what_is_being_committed() {
    let mut store = store();
    let me = principal(1);
    let upload = uploaded(&mut store, "m", &[1], me);
    store.begin_commit(upload, me).unwrap();
    let refused = AppendError::Chunk(ChunkError::Committing { upload });
    assert_eq!(store.append_at(0, &[1], me, NOW), Err(refused));
}

#[test]
fn a_bad_record_is_told_to_who_appends() {
    let mut store = store();
    store.uploads.insert(&1u64.to_be_bytes(), vec![9]);
    let error = store.append(&[1], principal(1), NOW).unwrap_err();
    assert_eq!(Error::from(error).code, ErrorCode::RuntimeError);
}
