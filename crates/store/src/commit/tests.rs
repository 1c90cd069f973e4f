//! Commits: what is refused and with which words, what a commit holds still, what ends it.

use ic_nn_types::{ChunkRange, Error, ErrorCode};

use super::*;
use crate::fixture::{
    CHUNK, chunk, deleted, dump, file, memories, principal, published, share, spec, store, uploaded,
};
use crate::{AbortError, ChunkError, UploadError};

const ALL: u64 = u64::MAX;

#[test]
fn a_commit_publishes_the_bytes_and_the_facts() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 3 * CHUNK + 1));
    let upload = uploaded(&mut store, "m", &file, me);
    let mut commit = store.begin_commit(upload, me).unwrap();
    assert_eq!(commit.upload(), upload);
    let verified = store.verify(&mut commit, ALL).unwrap().unwrap();
    assert_eq!((verified.upload(), verified.bytes()), (upload, file.len() as u64));
    assert_eq!(store.upload_blob(upload).unwrap().to_vec(), Ok(file.clone()), "the trial reads the upload");
    let model = store.publish(verified, b"facts", 42).unwrap();
    assert_eq!((model.name.as_str(), model.version, model.sha256), ("m", 1, Sha256::digest(&file).to_vec()));
    store.end_commit(&commit);
    let version = store.get("m", 1).unwrap();
    assert_eq!((version.uploader, version.committed_at, version.sha256), (me, 42, verified.sha256()));
    assert_eq!(store.blob("m", 1).unwrap().to_vec(), Ok(file));
    assert_eq!(store.facts("m", 1), Ok(b"facts".to_vec()));
    assert_eq!(store.status(upload, me), Err(UploadError::Closed { upload }));
}

#[test]
fn a_file_is_hashed_in_parts() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, (2 << 20) + 3));
    let upload = uploaded(&mut store, "m", &file, me);
    let mut commit = store.begin_commit(upload, me).unwrap();
    assert_eq!(store.verify(&mut commit, 0), Ok(None));
    assert_eq!(store.verify(&mut commit, 1 << 20), Ok(None));
    let verified = store.verify(&mut commit, 1).unwrap().unwrap();
    assert_eq!(verified.sha256().as_slice(), Sha256::digest(&file).as_slice());
}

#[test]
fn missing_chunks_are_named() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 6 * CHUNK));
    let upload = store.begin(&spec("m", &file), me, 0, false).unwrap().upload;
    for index in [1, 2] {
        store.put_chunk(&chunk(upload, index, &file), me, 6).unwrap();
    }
    let error = store.begin_commit(upload, me).err().unwrap();
    let first = vec![ChunkRange { first: 0, last: 0 }, ChunkRange { first: 3, last: 5 }];
    assert_eq!(error, CommitError::Missing { upload, count: 4, chunks: 6, first });
    assert_eq!(error.to_string(), "upload 1 misses 4 of 6 chunks, the first are 0, 3-5");
    assert!(store.put_chunk(&chunk(upload, 0, &file), me, 6).is_ok(), "a refused commit is not under way");
}

#[test]
fn a_wrong_sha256_is_told_in_hex_and_can_be_mended() {
    let mut store = store();
    let (me, right) = (principal(1), file(1, 9));
    let upload = store.begin(&spec("m", &right), me, 0, false).unwrap().upload;
    store.put_chunk(&chunk(upload, 0, &[0; 9]), me, 6).unwrap();
    let mut commit = store.begin_commit(upload, me).unwrap();
    let error = store.verify(&mut commit, ALL).unwrap_err();
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        error.to_string(),
        format!(
            "upload 1 has sha256 {}; {} was announced: put the right chunks or abort",
            hex(&[0; 9]),
            hex(&right)
        )
    );
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    store.end_commit(&commit);
    store.put_chunk(&chunk(upload, 0, &right), me, 6).unwrap();
    let mut commit = store.begin_commit(upload, me).unwrap();
    assert!(store.verify(&mut commit, ALL).unwrap().is_some());
}

#[test]
fn nothing_changes_while_a_commit_is_under_way() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 9));
    let upload = uploaded(&mut store, "m", &file, me);
    let commit = store.begin_commit(upload, me).unwrap();
    assert_eq!(store.put_chunk(&chunk(upload, 0, &file), me, 6), Err(ChunkError::Committing { upload }));
    assert_eq!(store.abort(upload, me), Err(AbortError::Committing { upload }));
    assert_eq!(store.begin_commit(upload, me).err(), Some(CommitError::Committing { upload }));
    assert!(store.status(upload, me).is_ok());
    store.end_commit(&commit);
    assert_eq!(store.abort(upload, me), Ok(()));
}

#[test]
fn only_the_owner_commits() {
    let mut store = store();
    let upload = uploaded(&mut store, "m", &[1], principal(1));
    let error = store.begin_commit(upload, principal(2)).err().unwrap();
    assert_eq!(Error::from(error).code, ErrorCode::Security);
}

#[test]
fn an_ended_commit_publishes_nothing() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, file) = (principal(1), file(1, 9));
    let upload = uploaded(&mut store, "m", &file, me);
    let mut old = store.begin_commit(upload, me).unwrap();
    let stale = store.verify(&mut old, ALL).unwrap().unwrap();
    store.end_commit(&old);
    let new = store.begin_commit(upload, me).unwrap();
    store.end_commit(&old);
    let before = dump(&memories);
    assert_eq!(store.verify(&mut old, ALL), Err(CommitError::Ended { upload }));
    assert_eq!(store.publish(stale, b"", 0), Err(CommitError::Ended { upload }));
    assert_eq!(dump(&memories), before);
    assert!(store.begin_commit(upload, me).is_err(), "ending the old commit again leaves the new one");
    store.end_commit(&new);
}

#[test]
fn an_upgrade_ends_a_commit_and_keeps_the_upload() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, file) = (principal(1), file(1, 9));
    let upload = uploaded(&mut store, "m", &file, me);
    store.begin_commit(upload, me).unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    store.put_chunk(&chunk(upload, 0, &file), me, 6).unwrap();
    let mut commit = store.begin_commit(upload, me).unwrap();
    let verified = store.verify(&mut commit, ALL).unwrap().unwrap();
    assert_eq!(store.publish(verified, b"", 0).unwrap().version, 1);
}

#[test]
fn the_same_bytes_make_a_further_version() {
    let mut store = store();
    let file = file(1, 9);
    assert_eq!([1, 2].map(|_| published(&mut store, "m", &file)), [1, 2]);
    deleted(&mut store, "m:2");
    assert_eq!(published(&mut store, "m", &file), 3);
    deleted(&mut store, "m");
    assert_eq!(published(&mut store, "m", &file), 4);
    assert_eq!(published(&mut store, "n", &file), 1);
}
