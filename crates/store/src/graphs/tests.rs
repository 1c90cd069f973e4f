//! Graph handles: stable, never reused, and told apart when they lead nowhere.

use ic_nn_types::{Error, ErrorCode};

use super::*;
use crate::fixture::{file, memories, principal, published, share};

#[test]
fn a_handle_stays_and_is_never_given_again() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    for _ in 0..2 {
        published(&mut store, "m", &file(1, 3));
    }
    assert_eq!(store.open_graph("m", 2, principal(1)), Ok(1));
    assert_eq!(store.open_graph("m", 1, principal(1)), Ok(2));
    assert_eq!(
        store.open_graph("m", 2, principal(2)),
        Ok(1),
        "the open handle is answered, and stays its opener's"
    );
    let mut store = Store::open(share(&memories)).unwrap();
    let open = OpenGraph { graph: 1, name: "m".into(), version: 2, opener: Some(principal(1)) };
    assert_eq!(store.graph(1), Ok(open.clone()));
    assert_eq!(store.get("m", 2).unwrap().graph, Some(1));
    assert_eq!(store.graphs().map(|g| g.unwrap().graph).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(store.close_graph(1), Ok(open));
    assert_eq!(store.get("m", 2).unwrap().graph, None);
    assert_eq!(store.open_graph("m", 2, principal(1)), Ok(3));
}

#[test]
fn a_handle_that_leads_nowhere_says_why() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    published(&mut store, "m", &file(1, 3));
    let graph = store.open_graph("m", 1, principal(1)).unwrap();
    store.close_graph(graph).unwrap();
    let mut store = Store::open(share(&memories)).unwrap();
    for result in [store.graph(graph), store.close_graph(graph)] {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "graph 1 was unloaded; load its model again, which gives a new handle");
        assert_eq!(Error::from(error).code, ErrorCode::InvalidArgument);
    }
    for graph in [0, 2, u64::MAX] {
        assert_eq!(store.graph(graph), Err(GraphError::Unknown { graph }));
    }
    assert!(store.open_graph("m", 2, principal(1)).is_err());
    assert!(store.open_graph("n", 1, principal(1)).is_err());
}

#[test]
fn a_handle_of_a_release_that_wrote_no_opener_is_nobody_s() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    published(&mut store, "m", &file(1, 3));
    let graph = store.open_graph("m", 1, principal(1)).unwrap();
    // Layout 1: a version and a name.
    store.graphs.insert(&graph.to_be_bytes(), [&[1][..], &1u64.to_le_bytes(), &[1, b'm']].concat());
    let open = OpenGraph { graph, name: "m".into(), version: 1, opener: None };
    assert_eq!(store.graph(graph), Ok(open.clone()));
    assert_eq!(store.graphs().collect::<Vec<_>>(), [Ok(open.clone())]);
    assert_eq!(store.close_graph(graph), Ok(open));
}
