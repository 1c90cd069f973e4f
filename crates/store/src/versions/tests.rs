//! Versions: look-ups and their words, pages, deletion.

use ic_nn_types::{Error, ErrorCode};

use super::*;
use crate::NameError;
use crate::fixture::{file, principal, published, store};

#[test]
fn references_lead_to_versions_or_say_what_exists() {
    let mut store = store();
    for seed in 1..=3 {
        published(&mut store, "m", &file(seed, 9));
    }
    published(&mut store, "m-2", &file(4, 9));
    assert_eq!(store.resolve("m").unwrap().version, 3);
    assert_eq!(store.resolve("m:2"), store.get("m", 2));
    store.delete("m:3").unwrap();
    assert_eq!(store.resolve("m").unwrap().version, 2);
    for (reference, text) in [
        ("m:7", "model `m` has no version 7; newest is 2"),
        ("m:3", "model `m` has no version 3; newest is 2"),
        ("x", "no model `x`; upload it with upload_begin"),
        ("x:1", "no model `x`; upload it with upload_begin"),
    ] {
        let error = store.resolve(reference).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(store.delete(reference), Err(error.clone()));
        assert_eq!(Error::from(error).code, ErrorCode::NotFound);
    }
    store.delete("m").unwrap();
    for reference in ["m", "m:1"] {
        let error = store.resolve(reference).unwrap_err();
        assert_eq!(error.to_string(), "model `m` has no version left; all up to 3 were deleted");
    }
    let error = store.resolve("").unwrap_err();
    assert_eq!(error, LookupError::Reference(ReferenceError::Name(NameError::Empty)));
    assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
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
fn a_page_goes_on_where_the_last_one_ended() {
    let mut store = store();
    for name in ["b", "a", "a-b", "c"] {
        for seed in 0..3 {
            published(&mut store, name, &file(seed, 3));
        }
    }
    let ask = |after: Option<&str>, limit| ListRequest { after: after.map(str::to_owned), limit };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(&ask(after.as_deref(), Some(5)), &|_| false).unwrap();
        seen.extend(page.models.iter().map(|m| format!("{}:{}", m.name, m.version)));
        let Some(next) = page.next else { break };
        assert_eq!(page.models.len(), 5);
        after = Some(next);
    }
    let want = ["a:1", "a:2", "a:3", "a-b:1", "a-b:2", "a-b:3", "b:1", "b:2", "b:3", "c:1", "c:2", "c:3"];
    assert_eq!(seen, want);
    let all = store.list(&ask(None, None), &|_| false).unwrap();
    assert_eq!((all.models.len(), all.next), (12, None));
    assert_eq!(store.list(&ask(Some("c:3"), None), &|_| false).unwrap().models, []);
    assert_eq!(store.list(&ask(Some("bb:9"), Some(0)), &|_| false).unwrap().models[0].name, "c");
    let error = store.list(&ask(Some("b"), None), &|_| false).unwrap_err();
    assert_eq!(error.to_string(), "after: `b` names no version; write `b:1`");
}

#[test]
fn a_summary_tells_what_is_resident() {
    let mut store = store();
    for name in ["a", "b", "c"] {
        published(&mut store, name, &file(1, 3));
    }
    let resident = store.open_graph("a", 1).unwrap();
    store.open_graph("b", 1).unwrap();
    let page = store.list(&ListRequest::default(), &|graph| graph == resident).unwrap();
    let states: Vec<_> = page.models.iter().map(|m| m.state.clone().unwrap()).collect();
    assert_eq!(states, [ModelState::Loaded, ModelState::Available, ModelState::Available]);
    let first = &page.models[0];
    assert_eq!((first.bytes, first.uploader, first.committed_at), (3, principal(1), 7));
}

#[test]
fn deletion_takes_versions_facts_and_graphs() {
    let mut store = store();
    for _ in 0..3 {
        published(&mut store, "m", &file(1, 3));
    }
    published(&mut store, "m.0", &file(1, 3));
    let graphs = [1, 3].map(|version| store.open_graph("m", version).unwrap());
    assert_eq!(store.delete("m:1"), Ok(Deleted { versions: 1, graphs: vec![graphs[0]] }));
    assert!(store.graph(graphs[0]).is_err());
    assert!(store.graph(graphs[1]).is_ok());
    assert_eq!(store.delete("m"), Ok(Deleted { versions: 2, graphs: vec![graphs[1]] }));
    assert_eq!(
        (store.versions.iter().count(), store.facts.iter().count(), store.graphs().count()),
        (1, 1, 0)
    );
    assert!(store.get("m.0", 1).is_ok());
}
