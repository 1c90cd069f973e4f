//! Labels: setting, moving, removing, what is refused and with which words.

use ic_nn_types::{Error, ErrorCode, VersionPolicy};
use ic_stable_structures::VectorMemory;

use super::*;
use crate::fixture::{dump, file, memories, published, share, store};

fn three(name: &str) -> Store<VectorMemory> {
    let mut store = store();
    for seed in 1..=3 {
        published(&mut store, name, &file(seed, 9));
    }
    store
}

#[test]
fn a_label_moves_and_goes() {
    let mut store = three("m");
    published(&mut store, "m.x", &[1]);
    assert_eq!(store.set_label("m", 1, "stable"), Ok(None));
    assert_eq!(store.set_label("m.x", 1, "stable"), Ok(None));
    assert_eq!(store.resolve("m@stable").unwrap().version, 1);
    assert_eq!(store.set_label("m", 2, "stable"), Ok(Some(1)));
    assert_eq!(store.set_label("m", 2, "stable"), Ok(Some(2)));
    assert_eq!(store.set_label("m", 2, "Best-1.0"), Ok(None));
    assert_eq!(store.labels_of("m", 1), Ok(vec![]));
    assert_eq!(store.labels_of("m", 2), Ok(vec!["Best-1.0".into(), "stable".into()]));
    assert_eq!(store.labels_of("m", 3), Ok(vec!["latest".into()]));
    assert_eq!(store.remove_label("m", "stable"), Ok(2));
    assert_eq!(store.labels_of("m.x", 1), Ok(vec!["stable".into(), "latest".into()]));
    let error = store.resolve("m@stable").unwrap_err();
    assert_eq!(error.to_string(), "model `m` has no label `stable`; it has `Best-1.0`");
    assert_eq!(store.remove_label("m", "stable"), Err(SetLabelError::Lookup(error)));
}

#[test]
fn what_is_no_label_is_refused() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    published(&mut store, "m", &[1]);
    let before = dump(&memories);
    for (label, start) in [
        ("", "the label is empty"),
        ("latest", "the label `latest` cannot be set or removed"),
        ("17", "the label `17` is a number and would read as a version"),
        ("-a", "the label has '-' at byte 0"),
        ("a b", "the label has ' ' at byte 1"),
        (&"x".repeat(65), "the label has 65 bytes; at most 64 are allowed"),
    ] {
        let set = store.set_label("m", 1, label).unwrap_err();
        assert!(set.to_string().starts_with(start), "{set}");
        assert_eq!(store.remove_label("m", label), Err(set.clone()));
        assert_eq!(Error::from(set).code, ErrorCode::InvalidArgument);
    }
    for name in ["", "@1", "a b"] {
        let error = store.set_label(name, 1, "x").unwrap_err();
        assert_eq!(Error::from(error.clone()).code, ErrorCode::InvalidArgument, "{name}");
        assert_eq!(store.remove_label(name, "x"), Err(error));
    }
    assert_eq!(dump(&memories), before);
    for (name, version) in [("m", 2), ("n", 1)] {
        let error = store.set_label(name, version, "x").unwrap_err();
        assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    }
}

#[test]
fn a_label_is_for_a_version_that_is_served() {
    let mut store = three("m");
    store.retire("m", 1).unwrap();
    assert!(matches!(
        store.set_label("m", 1, "x"),
        Err(SetLabelError::Lookup(LookupError::Retired { version: 1, .. }))
    ));
    store.set_label("m", 2, "x").unwrap();
    store.set_version_policy("m", &VersionPolicy::Latest(1)).unwrap();
    for label in ["x", "y"] {
        assert!(matches!(
            store.set_label("m", 2, label),
            Err(SetLabelError::Lookup(LookupError::NotServed { version: 2, .. }))
        ));
    }
    assert!(matches!(store.resolve("m@x"), Err(LookupError::NotServed { version: 2, .. })));
    assert_eq!(store.labels_of("m", 2), Ok(vec!["x".into()]), "a policy leaves labels where they are");
    assert_eq!(store.set_label("m", 3, "x"), Ok(Some(2)));
}

#[test]
fn labels_of_a_name_are_bounded() {
    let mut store = three("m");
    for n in 0..MAX_LABELS {
        store.set_label("m", 1 + n as u64 % 3, &format!("l{n}")).unwrap();
    }
    let error = store.set_label("m", 1, "more").unwrap_err();
    assert_eq!(error, SetLabelError::TooMany { name: "m".into() });
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    assert_eq!(store.set_label("m", 1, "l1"), Ok(Some(2)), "moving one is no more");
    store.remove_label("m", "l1").unwrap();
    assert_eq!(store.set_label("m", 1, "more"), Ok(None));
}

#[test]
fn labels_survive_and_bad_rows_are_told() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    published(&mut store, "m", &[1]);
    store.set_label("m", 1, "x").unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(store.resolve("m@x").unwrap().version, 1);
    store.labels.insert(b"m\0\xFF", vec![1]);
    assert!(matches!(store.labels_of("m", 1), Err(LookupError::Record(_))));
    store.labels.remove(b"m\0\xFF");
    store.labels.insert(b"m\0x", vec![9]);
    assert!(matches!(store.resolve("m@x"), Err(LookupError::Record(_))));
}
