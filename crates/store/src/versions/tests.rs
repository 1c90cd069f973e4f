//! Versions: look-ups and their words, what belongs to a version.

use ic_nn_types::{Error, ErrorCode, VersionPolicy};

use super::*;
use crate::NameError;
use crate::extent::Extent;
use crate::fixture::{chunk, deleted, file, principal, published, store, uploaded};
use crate::record::UploadRecord;

#[test]
fn references_lead_to_versions_or_say_what_exists() {
    let mut store = store();
    for seed in 1..=3 {
        published(&mut store, "m", &file(seed, 9));
    }
    published(&mut store, "m-2", &file(4, 9));
    assert_eq!(store.resolve("m").unwrap().version, 3);
    assert_eq!(store.resolve("m:2"), store.get("m", 2));
    deleted(&mut store, "m:3");
    assert_eq!(store.resolve("m").unwrap().version, 2);
    for (reference, text) in [
        ("m:7", "model `m` has no version 7; newest is 2"),
        ("m:3", "model `m` has no version 3; newest is 2"),
        ("x", "no model `x`; upload it with upload_begin"),
        ("x:1", "no model `x`; upload it with upload_begin"),
        ("x@stable", "no model `x`; upload it with upload_begin"),
        ("m@stable", "model `m` has no label `stable`; it has none"),
    ] {
        let error = store.resolve(reference).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(store.resolve_any(reference), Err(error.clone()));
        assert_eq!(store.uploader_of(reference), Err(error.clone()));
        assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    }
    deleted(&mut store, "m");
    for reference in ["m", "m:1", "m@latest"] {
        let error = store.resolve(reference).unwrap_err();
        assert_eq!(error.to_string(), "model `m` has no version left; all up to 3 were deleted");
    }
    let error = store.resolve("").unwrap_err();
    assert_eq!(error, LookupError::Reference(ReferenceError::Name(NameError::Empty)));
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
}

#[test]
fn what_is_not_served_is_found_all_the_same_where_it_is_told_or_deleted() {
    let mut store = store();
    for seed in 1..=3 {
        published(&mut store, "m", &file(seed, 9));
    }
    store.set_label("m", 1, "old").unwrap();
    store.set_version_policy("m", &VersionPolicy::Specific(vec![2])).unwrap();
    store.retire("m", 3).unwrap();
    let any = |reference| store.resolve_any(reference).map(|v| (v.version, v.retired));
    assert_eq!(any("m"), Ok((3, true)));
    assert_eq!(any("m:1"), Ok((1, false)));
    assert_eq!(any("m@old"), Ok((1, false)));
    assert_eq!(any("m@latest"), Ok((2, false)));
    assert_eq!(store.resolve("m").unwrap().version, 2);
    for reference in ["m:1", "m@old", "m:3"] {
        assert_eq!(Error::from(store.resolve(reference).unwrap_err()).code, ErrorCode::NotFound);
    }
}

#[test]
fn bytes_and_facts_are_the_versions_own() {
    let mut store = store();
    let (one, two) = (file(1, 70_000), file(2, 5));
    published(&mut store, "m", &one);
    published(&mut store, "m", &two);
    assert_eq!(store.blob("m", 1).unwrap().to_vec(), Ok(one.clone()));
    assert_eq!(store.blob("m", 2).unwrap().to_vec(), Ok(two));
    let mut part = [0; 100];
    store.blob("m", 1).unwrap().read(65_500, &mut part).unwrap();
    assert_eq!(part, one[65_500..65_600]);
    assert_eq!(store.facts("m", 2), Ok(b"facts of m".to_vec()));
    assert!(store.blob("m", 3).is_err());
    assert_eq!(store.facts("m", 3).unwrap_err().to_string(), "model `m` has no version 3; newest is 2");
}

#[test]
fn what_is_made_of_a_file_is_kept_with_its_facts() {
    let mut store = store();
    published(&mut store, "m", &[1]);
    assert_eq!(store.get("m", 1).unwrap().variant, 0);
    store.set_variant("m", 1, 2, b"other facts").unwrap();
    let version = store.get("m", 1).unwrap();
    assert_eq!((version.variant, store.facts("m", 1)), (2, Ok(b"other facts".to_vec())));
    store.retire("m", 1).unwrap();
    assert_eq!(store.get("m", 1).unwrap(), Version { retired: true, ..version });
    assert!(store.set_variant("m", 2, 1, b"").is_err());
}

#[test]
fn a_file_that_is_not_within_the_memory_is_told() {
    let mut store = store();
    let me = principal(1);
    published(&mut store, "m", &[1]);
    let upload = uploaded(&mut store, "m", &[2], me);
    let mut commit = store.begin_commit(upload, me).unwrap();
    let extent = Extent { start: 2, pages: 1 };
    let version = VersionRecord { extent, ..store.version("m", 1).unwrap() };
    store.versions.insert(&version_key("m", 1), version.encode());
    let record = UploadRecord { extent, ..store.upload(upload).unwrap() };
    store.uploads.insert(&upload.to_be_bytes(), record.encode());
    let field = |table| RecordError { table, problem: RecordProblem::Field { field: "extent" } };
    assert_eq!(store.blob("m", 1).err(), Some(field("versions").into()));
    assert_eq!(store.upload_blob(upload).err(), Some(field("uploads").into()));
    assert_eq!(store.verify(&mut commit, 1).err(), Some(field("uploads").into()));
    store.end_commit(&commit);
    let put = store.put_chunk(&chunk(upload, 0, &[2]), me, 0).unwrap_err();
    assert_eq!(Error::from(put).code, ErrorCode::RuntimeError);
}
