//! Provenance and builders: their limits, and where they stay.

use ic_nn_types::{Error, ErrorCode, GraphEncoding, UploadSpec};

use super::*;
use crate::BeginError;
use crate::fixture::{chunk, file, memories, principal, share, spec, store};

fn provenance() -> Provenance {
    Provenance {
        licence: Some("MIT OR Apache-2.0".into()),
        source: Some("https://example.org/m".into()),
        metadata: vec![("b".into(), "2".into()), ("a".into(), String::new())],
    }
}

#[test]
fn provenance_and_builders_move_from_the_upload_to_the_version() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let (me, file) = (principal(1), file(1, 9));
    let told = UploadSpec {
        encoding: Some(GraphEncoding::Onnx),
        builders: Some(vec![4, 5]),
        provenance: Some(provenance()),
        ..spec("m", &file)
    };
    let upload = store.begin(&told, me, 0, false).unwrap().upload;
    assert_eq!(store.upload_builders(upload), Ok(vec![4, 5]));
    assert_eq!(store.upload_encoding(upload), Ok(GraphEncoding::Onnx));
    let mut store = Store::open(share(&memories)).unwrap();
    store.put_chunk(&chunk(upload, 0, &file), me, 0).unwrap();
    let mut commit = store.begin_commit(upload, me).unwrap();
    let verified = store.verify(&mut commit, u64::MAX).unwrap().unwrap();
    store.publish(verified, b"", 0).unwrap();
    assert_eq!(store.provenance("m", 1), Ok(provenance()));
    assert_eq!(store.builders("m", 1), Ok(vec![4, 5]));
    assert_eq!(store.get("m", 1).unwrap().encoding, GraphEncoding::Onnx);
    assert_eq!(store.upload_builders(upload), Err(UploadError::Closed { upload }));
    assert_eq!(store.provenance.iter().count(), 1);
    assert!(store.provenance("m", 2).is_err());
    assert!(store.builders("m", 2).is_err());
}

#[test]
fn what_is_told_nothing_of_takes_no_record() {
    let mut store = store();
    let (me, file) = (principal(1), file(1, 9));
    let told =
        UploadSpec { builders: Some(vec![9]), provenance: Some(Provenance::default()), ..spec("m", &file) };
    let upload = store.begin(&told, me, 0, false).unwrap().upload;
    assert_eq!(store.upload_builders(upload), Ok(vec![9]));
    assert_eq!(store.upload_encoding(upload), Ok(GraphEncoding::Autodetect));
    assert_eq!(store.provenance.iter().count(), 0);
    store.put_chunk(&chunk(upload, 0, &file), me, 0).unwrap();
    let mut commit = store.begin_commit(upload, me).unwrap();
    let verified = store.verify(&mut commit, u64::MAX).unwrap().unwrap();
    store.publish(verified.found(GraphEncoding::Onnx), b"", 0).unwrap();
    assert_eq!(store.provenance("m", 1), Ok(Provenance::default()));
    assert_eq!(store.builders("m", 1), Ok(vec![9]));
    assert_eq!(store.get("m", 1).unwrap().encoding, GraphEncoding::Onnx, "as the trial found it");
}

#[test]
fn a_provenance_is_checked() {
    let pair = |key: &str| (key.to_owned(), String::new());
    let with = |metadata| Provenance { metadata, ..Provenance::default() };
    let long =
        |bytes| Provenance { licence: Some("x".repeat(bytes)), ..with(vec![("key".into(), "v".into())]) };
    assert_eq!(check_provenance(&long(MAX_PROVENANCE_BYTES - 4)), Ok(()));
    assert_eq!(
        check_provenance(&long(MAX_PROVENANCE_BYTES - 3)),
        Err(ProvenanceError::TooLong { bytes: MAX_PROVENANCE_BYTES + 1 })
    );
    let many = |n: usize| with((0..n).map(|n| pair(&n.to_string())).collect());
    assert_eq!(check_provenance(&many(64)), Ok(()));
    assert_eq!(check_provenance(&many(65)), Err(ProvenanceError::Pairs { came: 65 }));
    assert_eq!(check_provenance(&with(vec![pair("a"), pair("")])), Err(ProvenanceError::EmptyKey { at: 1 }));
    assert_eq!(
        check_provenance(&with(vec![pair("a"), pair("b"), pair("a")])),
        Err(ProvenanceError::RepeatedKey { at: 2, key: "a".into() })
    );
    let mut store = store();
    let told = UploadSpec { provenance: Some(many(65)), ..spec("m", &[1]) };
    let error = store.begin(&told, principal(1), 0, false).unwrap_err();
    assert_eq!(error, BeginError::Provenance(ProvenanceError::Pairs { came: 65 }));
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
}

#[test]
fn the_largest_provenance_is_read_back() {
    let half = "é".repeat(MAX_PROVENANCE_BYTES / 4);
    let mut metadata: Vec<_> = (0..63).map(|n| (format!("{n:02}"), String::new())).collect();
    metadata.push(("k".into(), "v".repeat(MAX_PROVENANCE_BYTES / 2 - 127)));
    let provenance = Provenance { licence: Some(half), source: None, metadata };
    assert_eq!(check_provenance(&provenance), Ok(()));
    let record = ProvenanceRecord { builders: vec![1; MAX_BUILDERS], provenance };
    assert_eq!(ProvenanceRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn builders_make_up_the_file() {
    assert_eq!(check_builders(&[], 7), Ok(vec![]));
    assert_eq!(check_builders(&[7], 7), Ok(vec![]));
    assert_eq!(check_builders(&[3, 4], 7), Ok(vec![3, 4]));
    assert_eq!(check_builders(&[1; 64], 64), Ok(vec![1; 64]));
    assert_eq!(check_builders(&[1; 65], 65), Err(BuildersError::Count { came: 65 }));
    assert_eq!(check_builders(&[7, 0], 7), Err(BuildersError::Empty { at: 1 }));
    assert_eq!(check_builders(&[6], 7), Err(BuildersError::Sum { sum: 6, bytes: 7 }));
    let far = u128::from(u64::MAX) + 8;
    assert_eq!(check_builders(&[u64::MAX, 8], 7), Err(BuildersError::Sum { sum: far, bytes: 7 }));
    let mut store = store();
    let told = UploadSpec { builders: Some(vec![2, 2]), ..spec("m", &[1, 2, 3]) };
    let error = store.begin(&told, principal(1), 0, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model's builders have 4 bytes together; bytes is 3, and both must be the same"
    );
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
}

#[test]
fn stored_builders_that_are_not_the_whole_are_told() {
    let mut store = store();
    crate::fixture::published(&mut store, "m", &[1, 2, 3]);
    for builders in [vec![1, 1], vec![0, 3], vec![4], vec![u64::MAX, 4]] {
        let record = ProvenanceRecord { builders, provenance: Provenance::default() };
        store.provenance.insert(&version_key("m", 1), record.encode());
        assert!(matches!(store.builders("m", 1), Err(LookupError::Record(_))));
    }
}
