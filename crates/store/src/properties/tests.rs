//! Properties: set, unset, bounded.

use ic_nn_types::{Error, ErrorCode, GraphEncoding};

use super::*;
use crate::fixture::{file, memories, principal, published, share, store};

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn properties_are_set_and_unset_and_survive() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    for _ in 0..2 {
        published(&mut store, "m", &file(1, 3));
    }
    store.set_property("m", 1, "b", Some("2")).unwrap();
    store.set_property("m", 1, "a", Some("")).unwrap();
    store.set_property("m", 1, "b", Some("é")).unwrap();
    store.set_property("m", 2, "c", Some("1")).unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(store.properties("m", 1), Ok(pairs(&[("a", ""), ("b", "é")])));
    store.set_property("m", 1, "b", None).unwrap();
    store.set_property("m", 1, "b", None).unwrap();
    assert_eq!(store.properties("m", 1), Ok(pairs(&[("a", "")])));
    assert_eq!(store.properties("m", 2), Ok(pairs(&[("c", "1")])));
    assert!(store.properties("m", 3).is_err());
}

#[test]
fn properties_are_bounded() {
    let mut store = store();
    published(&mut store, "m", &[1]);
    let (key, value) = ("k".repeat(64), "v".repeat(1_024));
    store.set_property("m", 1, &key, Some(&value)).unwrap();
    let mut set = |key: &str, value: Option<&str>| store.set_property("m", 1, key, value);
    assert_eq!(set("", Some("")), Err(PropertyError::Key { bytes: 0 }));
    assert_eq!(set(&"k".repeat(65), None), Err(PropertyError::Key { bytes: 65 }));
    assert_eq!(set("a", Some(&"v".repeat(1_025))), Err(PropertyError::Value { bytes: 1_025 }));
    for n in 1..32 {
        set(&n.to_string(), Some("")).unwrap();
    }
    let error = set("more", Some("")).unwrap_err();
    assert_eq!(error, PropertyError::TooMany { name: "m".into(), version: 1 });
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    assert_eq!(set("more", None), Ok(()));
    assert_eq!(set("1", Some("changed")), Ok(()));
    let error = store.set_property("m", 2, "a", None).unwrap_err();
    assert_eq!(Error::from(error).code, ErrorCode::NotFound);
}

#[test]
fn what_is_kept_without_a_name_has_properties_too() {
    let mut store = store();
    let name = store.keep(&[b"x"], [0; 32], GraphEncoding::Onnx, principal(1), b"", 0).unwrap().name;
    store.set_property(&name, 1, "a", Some("1")).unwrap();
    assert_eq!(store.properties(&name, 1), Ok(pairs(&[("a", "1")])));
    store.discard(&name).unwrap();
    assert_eq!(store.properties.iter().count(), 0);
}
