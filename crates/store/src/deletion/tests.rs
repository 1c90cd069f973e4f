//! Deletion: its confirmation, what goes, what stays.

use ic_nn_types::{Error, ErrorCode, Provenance};

use super::*;
use crate::error::GraphError;
use crate::fixture::{
    confirmation, deleted, dump, file, memories, principal, published, share, spec, store, uploaded,
};

#[test]
fn deletion_takes_versions_and_all_that_leads_to_them() {
    let mut store = store();
    for _ in 0..3 {
        published(&mut store, "m", &file(1, 3));
    }
    published(&mut store, "m.0", &file(1, 3));
    let graphs = [1, 3].map(|version| store.open_graph("m", version, principal(1)).unwrap());
    for (label, version) in [("a", 1), ("b", 1), ("c", 2), ("d", 3)] {
        store.set_label("m", version, label).unwrap();
    }
    store.set_property("m", 1, "k", Some("v")).unwrap();
    store.set_property("m", 2, "k", Some("v")).unwrap();
    let want = Deleted { name: "m".into(), versions: vec![1], graphs: vec![graphs[0]] };
    assert_eq!(deleted(&mut store, "m:1"), want);
    assert_eq!(
        store.graph(graphs[0]),
        Err(GraphError::Deleted { graph: graphs[0], name: "m".into(), version: 1 })
    );
    assert!(store.graph(graphs[1]).is_ok());
    let rows = |store: &Store<_>| {
        let tables = [&store.versions, &store.facts, &store.labels, &store.properties];
        (tables.map(|t| t.iter().count()), store.graphs().count())
    };
    assert_eq!(rows(&store), ([3, 3, 2, 1], 1));
    let want = Deleted { name: "m".into(), versions: vec![2, 3], graphs: vec![graphs[1]] };
    assert_eq!(deleted(&mut store, "m"), want);
    assert_eq!(rows(&store), ([1, 1, 0, 0], 0));
    assert!(store.get("m.0", 1).is_ok());
}

#[test]
fn a_deletion_is_confirmed_with_the_sha256_of_the_newest() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    for seed in 1..=3 {
        published(&mut store, "m", &file(seed, 3));
    }
    store.retire("m", 3).unwrap();
    let sha256 = |version| confirmation(&store, &format!("m:{version}"));
    let (one, three) = (sha256(1), sha256(3));
    let hex = |bytes: &[u8]| Hex(bytes).to_string();
    let before = dump(&memories);
    for (reference, came, text) in [
        (
            "m",
            &one,
            format!(
                "every version of model `m`, confirm with the sha256 of version 3, {}; {} came",
                hex(&three),
                hex(&one)
            ),
        ),
        (
            "m:1",
            &three,
            format!(
                "a version of model `m`, confirm with the sha256 of version 1, {}; {} came",
                hex(&one),
                hex(&three)
            ),
        ),
        (
            "m@latest",
            &vec![],
            format!(
                "a version of model `m`, confirm with the sha256 of version 2, {}; 0 bytes came",
                hex(&sha256(2))
            ),
        ),
    ] {
        let error = store.delete(reference, came).unwrap_err();
        assert_eq!(error.to_string(), format!("to delete {text}"));
        assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
        assert_eq!(dump(&memories), before);
    }
    assert_eq!(store.delete("m:1", &one).unwrap().versions, [1]);
    assert_eq!(store.delete("m", &three).unwrap().versions, [2, 3]);
    let error = store.delete("m", &three).unwrap_err();
    assert_eq!(Error::from(error).code, ErrorCode::NotFound);
}

#[test]
fn a_label_deletes_the_version_it_is_on() {
    let mut store = store();
    for seed in 1..=2 {
        published(&mut store, "m", &file(seed, 3));
    }
    store.set_label("m", 1, "old").unwrap();
    assert_eq!(deleted(&mut store, "m@old").versions, [1]);
    assert_eq!(store.labels_of("m", 2), Ok(vec!["latest".to_owned()]));
}

#[test]
fn the_policy_forgets_what_is_deleted_and_ends_with_the_last_version() {
    let mut store = store();
    for _ in 0..3 {
        published(&mut store, "m", &file(1, 3));
    }
    store.set_version_policy("m", &VersionPolicy::Specific(vec![1, 2])).unwrap();
    deleted(&mut store, "m:1");
    assert_eq!(store.version_policy("m"), Ok(VersionPolicy::Specific(vec![2])));
    deleted(&mut store, "m:2");
    assert_eq!(store.version_policy("m"), Ok(VersionPolicy::Specific(vec![])));
    assert_eq!(
        store.resolve("m").unwrap_err().to_string(),
        "model `m` serves no version: its versions, the newest 3, are retired or left out by its version policy, which \
         serves none that is left; use restore or set_version_policy"
    );
    deleted(&mut store, "m:3");
    assert!(store.version_policy("m").is_err());
    assert_eq!(published(&mut store, "m", &file(1, 3)), 4);
    assert_eq!(store.version_policy("m"), Ok(VersionPolicy::All));
}

#[test]
fn the_uploader_is_told_where_there_is_one() {
    let mut store = store();
    let mut publish = |name: &str, caller| {
        let upload = uploaded(&mut store, name, &[caller], principal(caller));
        let mut commit = store.begin_commit(upload, principal(caller)).unwrap();
        let verified = store.verify(&mut commit, u64::MAX).unwrap().unwrap();
        store.publish(verified, b"", 0).unwrap();
    };
    for (name, caller) in [("m", 1), ("m", 2), ("n", 3), ("n", 3)] {
        publish(name, caller);
    }
    assert_eq!(store.uploader_of("m"), Ok(None));
    assert_eq!(store.uploader_of("m:2"), Ok(Some(principal(2))));
    assert_eq!(store.uploader_of("m@latest"), Ok(Some(principal(2))));
    assert_eq!(store.uploader_of("n"), Ok(Some(principal(3))));
    assert!(store.uploader_of("n:3").is_err());
}

#[test]
fn provenance_goes_with_the_version() {
    let mut store = store();
    let provenance = Some(Provenance { licence: Some("MIT".into()), ..Provenance::default() });
    let upload = store
        .begin(&ic_nn_types::UploadSpec { provenance, ..spec("m", &[1]) }, principal(1), 0, false)
        .unwrap()
        .upload;
    assert_eq!(store.provenance.iter().count(), 1);
    published(&mut store, "m", &[2]);
    store.put_chunk(&crate::fixture::chunk(upload, 0, &[1]), principal(1), 0).unwrap();
    let mut commit = store.begin_commit(upload, principal(1)).unwrap();
    let verified = store.verify(&mut commit, u64::MAX).unwrap().unwrap();
    assert_eq!(store.publish(verified, b"", 0).unwrap().version, 2);
    assert_eq!(store.provenance.iter().count(), 1);
    deleted(&mut store, "m:2");
    assert_eq!(store.provenance.iter().count(), 0);
}
