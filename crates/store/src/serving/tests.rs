//! Version policies and retired versions: what is served, what is refused and with which words.

use ic_nn_types::{Error, ErrorCode};
use ic_stable_structures::VectorMemory;

use super::*;
use crate::fixture::{dump, file, memories, published, share, store};

fn of(versions: u8) -> Store<VectorMemory> {
    let mut store = store();
    for seed in 0..versions {
        published(&mut store, "m", &file(seed, 9));
    }
    store
}

/// The versions of `m` that resolve, of the first `all`.
fn served(store: &Store<VectorMemory>, all: u64) -> Vec<u64> {
    (1..=all).filter(|version| store.resolve(&format!("m:{version}")).is_ok()).collect()
}

#[test]
fn a_policy_says_what_is_served() {
    let mut store = of(5);
    assert_eq!(store.version_policy("m"), Ok(VersionPolicy::All));
    for (policy, want, latest) in [
        (VersionPolicy::Latest(1), &[5][..], 5),
        (VersionPolicy::Latest(3), &[3, 4, 5], 5),
        (VersionPolicy::Latest(100), &[1, 2, 3, 4, 5], 5),
        (VersionPolicy::Specific(vec![2, 4]), &[2, 4], 4),
        (VersionPolicy::All, &[1, 2, 3, 4, 5], 5),
    ] {
        store.set_version_policy("m", &policy).unwrap();
        assert_eq!(store.version_policy("m"), Ok(policy.clone()));
        assert_eq!(served(&store, 5), want, "{policy:?}");
        assert_eq!(store.resolve("m").unwrap().version, latest, "{policy:?}");
        assert_eq!(store.resolve("m@latest").unwrap().version, latest, "{policy:?}");
    }
}

#[test]
fn a_policy_holds_for_versions_to_come() {
    let mut store = of(2);
    store.set_version_policy("m", &VersionPolicy::Latest(2)).unwrap();
    published(&mut store, "m", &file(9, 9));
    assert_eq!(served(&store, 3), [2, 3]);
    store.set_version_policy("m", &VersionPolicy::Specific(vec![3])).unwrap();
    published(&mut store, "m", &file(9, 9));
    assert_eq!(served(&store, 4), [3]);
    assert_eq!(store.resolve("m").unwrap().version, 3);
}

#[test]
fn a_policy_is_checked() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    for _ in 0..2 {
        published(&mut store, "m", &[1]);
    }
    let before = dump(&memories);
    for (policy, text) in [
        (VersionPolicy::Latest(0), "the policy is the newest 0 versions; 1 to 100 are allowed"),
        (VersionPolicy::Latest(101), "the policy is the newest 101 versions; 1 to 100 are allowed"),
        (VersionPolicy::Specific(vec![]), "the policy names 0 versions; 1 to 100 are allowed"),
        (VersionPolicy::Specific(vec![1; 101]), "the policy names 101 versions; 1 to 100 are allowed"),
        (VersionPolicy::Specific(vec![1, 3]), "model `m` has no version 3; newest is 2"),
        (VersionPolicy::Specific(vec![0]), "model `m` has no version 0; newest is 2"),
    ] {
        let error = store.set_version_policy("m", &policy).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    for name in ["@1", ""] {
        let error = store.set_version_policy(name, &VersionPolicy::All).unwrap_err();
        assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    }
    let error = store.set_version_policy("n", &VersionPolicy::All).unwrap_err();
    assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    assert_eq!(dump(&memories), before);
    store.set_version_policy("m", &VersionPolicy::Specific(vec![2, 1, 2])).unwrap();
    assert_eq!(store.version_policy("m"), Ok(VersionPolicy::Specific(vec![1, 2])));
}

#[test]
fn a_retired_version_is_not_served_until_it_is_restored() {
    let mut store = of(3);
    store.retire("m", 3).unwrap();
    store.retire("m", 3).unwrap();
    assert!(store.get("m", 3).unwrap().retired);
    assert_eq!(served(&store, 3), [1, 2]);
    assert_eq!(store.resolve("m").unwrap().version, 2);
    let error = store.resolve("m:3").unwrap_err();
    assert_eq!(
        error.to_string(),
        "version 3 of model `m` is retired; use another, or take it back into service with restore"
    );
    assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    store.restore("m", 3).unwrap();
    store.restore("m", 3).unwrap();
    assert_eq!(served(&store, 3), [1, 2, 3]);
    for result in [store.restore("m", 4).map_err(RetireError::Lookup), store.retire("m", 4)] {
        assert_eq!(Error::from(result.unwrap_err()).code, ErrorCode::NotFound);
    }
    for result in [store.restore("@1", 1).map_err(RetireError::Lookup), store.retire("@1", 1)] {
        assert_eq!(Error::from(result.unwrap_err()).code, ErrorCode::InvalidArgument);
    }
}

#[test]
fn the_newest_so_many_are_counted_without_the_retired() {
    let mut store = of(4);
    store.set_version_policy("m", &VersionPolicy::Latest(2)).unwrap();
    store.retire("m", 4).unwrap();
    assert_eq!(served(&store, 4), [2, 3]);
    store.retire("m", 2).unwrap();
    assert_eq!(served(&store, 4), [1, 3]);
    let error = store.set_version_policy("m", &VersionPolicy::Latest(1)).map(|()| store.resolve("m:1"));
    assert_eq!(
        error.unwrap().unwrap_err().to_string(),
        "version 1 of model `m` is not served: its version policy serves the newest version that is not retired; use \
         one of those, or set another with set_version_policy"
    );
}

#[test]
fn where_nothing_is_served_the_error_says_so() {
    let mut store = of(2);
    store.set_version_policy("m", &VersionPolicy::Specific(vec![1])).unwrap();
    store.retire("m", 1).unwrap();
    for reference in ["m", "m@latest"] {
        let error = store.resolve(reference).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model `m` serves no version: its versions, the newest 2, are retired or left out by its version policy, \
             which serves 1; use restore or set_version_policy"
        );
        assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    }
    store.restore("m", 1).unwrap();
    assert_eq!(store.resolve("m").unwrap().version, 1);
}

#[test]
fn a_labelled_version_is_not_retired() {
    let mut store = of(2);
    store.set_label("m", 2, "stable").unwrap();
    store.set_label("m", 2, "best").unwrap();
    let error = store.retire("m", 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "version 2 of model `m` has the labels `best`, `stable`; move them to another version with set_label or remove \
         them, then retire it"
    );
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    store.set_label("m", 1, "stable").unwrap();
    store.remove_label("m", "best").unwrap();
    store.retire("m", 2).unwrap();
}

#[test]
fn a_policy_is_told_in_few_words() {
    let many = VersionPolicy::Specific((1..=100).collect());
    for (policy, text) in [
        (VersionPolicy::All, "every version"),
        (VersionPolicy::Latest(7), "the newest 7 that are not retired"),
        (VersionPolicy::Specific(vec![3, 5]), "3, 5"),
        (many, "1, 2, 3, 4, 5, 6, 7, 8 and 92 more"),
    ] {
        assert_eq!(PolicyText(&policy).to_string(), text);
    }
}
