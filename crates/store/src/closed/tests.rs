//! What is remembered of handles that were closed with their model: golden bytes, the bound, what it leaves alone.

use ic_nn_types::{Error, ErrorCode};
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

use super::*;
use crate::error::GraphError;
use crate::fixture::{deleted, dump, file, memories, principal, published, seeded, share, store};
use crate::layout::RecordProblem;

/// A store with so many versions of `m`, each with a handle: version and handle have the same number.
fn loaded(versions: u64) -> Store<VectorMemory> {
    let mut store = store();
    for version in 1..=versions {
        published(&mut store, "m", &file(1, 3));
        assert_eq!(store.open_graph("m", version, principal(1)), Ok(version));
    }
    store
}

fn gone(graph: u64) -> GraphError {
    GraphError::Deleted { graph, name: "m".into(), version: graph }
}

#[test]
fn a_handle_that_went_with_its_model_says_so_after_an_upgrade_too() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    for _ in 0..2 {
        published(&mut store, "m", &file(1, 3));
    }
    let (one, two) =
        (store.open_graph("m", 1, principal(1)).unwrap(), store.open_graph("m", 2, principal(1)).unwrap());
    store.close_graph(two).unwrap();
    deleted(&mut store, "m");
    let mut store = Store::open(share(&memories)).unwrap();
    for error in [store.graph(one).unwrap_err(), store.close_graph(one).unwrap_err()] {
        let want = Error::new(ErrorCode::NotFound, "graph 1 was closed when its model m:1 was deleted");
        assert_eq!(Error::from(error), want);
    }
    assert_eq!(store.graph(two), Err(GraphError::Unloaded { graph: two }), "it was unloaded before");
    assert_eq!(store.graph(3), Err(GraphError::Unknown { graph: 3 }));
    assert_eq!(store.graphs().count(), 0);
    published(&mut store, "m", &file(1, 3));
    assert_eq!(store.open_graph("m", 3, principal(1)), Ok(3), "numbers go on");
}

#[test]
fn those_closed_longest_ago_are_forgotten_first() {
    let mut store = loaded(6);
    store.bounds.deleted_graphs = 3;
    // The oldest handle goes last, and is the last to be forgotten.
    for version in [4, 2, 3, 1] {
        deleted(&mut store, &format!("m:{version}"));
    }
    assert_eq!(store.graph(4), Err(GraphError::Unloaded { graph: 4 }));
    for graph in 1..=3 {
        assert_eq!(store.graph(graph), Err(gone(graph)));
    }
    assert_eq!(store.graphs.len(), 2 + 2 * 3);
    // A lower bound, as a release might have it, is met with the next one.
    store.bounds.deleted_graphs = 1;
    deleted(&mut store, "m:6");
    assert_eq!(store.graph(1), Err(GraphError::Unloaded { graph: 1 }));
    assert_eq!(store.graph(6), Err(gone(6)));
    assert_eq!(store.graphs.len(), 1 + 2);
    assert_eq!(store.graphs().map(|open| open.unwrap().graph).collect::<Vec<_>>(), [5]);
}

#[test]
fn as_many_as_are_remembered_fit_the_memory_of_an_empty_table() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let closed = ClosedRecord { version: 1, name: "n".repeat(crate::MAX_NAME_BYTES) };
    for graph in 1..=MAX_DELETED_GRAPHS + 100 {
        store.remember_closed(graph, &closed);
    }
    assert_eq!(store.graphs.len(), 2 * MAX_DELETED_GRAPHS);
    assert_eq!(store.closed_graph(100), Ok(None));
    assert_eq!(store.closed_graph(101), Ok(Some(closed)));
    let pages = memories.graphs.size();
    assert!(pages < 32, "{pages} of the 32 pages of a bucket");
}

#[test]
fn golden_closed() {
    let mut store = loaded(3);
    deleted(&mut store, "m:3");
    deleted(&mut store, "m:1");
    let eight = |n: u8| [[0; 7].as_slice(), &[n]].concat();
    let little = |n: u8| [&[n], [0; 7].as_slice()].concat();
    let record = |n: u8| [vec![1], little(n), vec![1, b'm']].concat();
    let rows: Vec<_> = store.graphs.iter().skip(1).collect();
    let want = [
        ([vec![1], eight(1)].concat(), record(1)),
        ([vec![1], eight(3)].concat(), record(3)),
        ([vec![2], eight(0)].concat(), [vec![1], little(3)].concat()),
        ([vec![2], eight(1)].concat(), [vec![1], little(1)].concat()),
    ];
    assert_eq!(rows, want);
    for len in 0..record(1).len() {
        assert_eq!(ClosedRecord::decode(&record(1)[..len]).unwrap_err().problem, RecordProblem::Short);
    }
    assert_eq!(OrderRecord::decode(&want[2].1), Ok(OrderRecord { graph: 3 }));
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_goes_in_its_turn() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store.bounds.deleted_graphs = 1;
    for version in 1..=2 {
        published(&mut store, "m", &file(1, 3));
        store.open_graph("m", version, principal(1)).unwrap();
    }
    deleted(&mut store, "m:1");
    store.graphs.insert(&key(CLOSED, 1), vec![2]);
    store.graphs.insert(&key(ORDER, 0), vec![2]);
    let before = dump(&memories);
    assert!(matches!(store.graph(1), Err(GraphError::Record(_))));
    assert!(matches!(store.close_graph(1), Err(GraphError::Record(_))));
    assert_eq!(dump(&memories), before);
    deleted(&mut store, "m:2");
    assert_eq!(store.graph(2), Err(GraphError::Deleted { graph: 2, name: "m".into(), version: 2 }));
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 1..40)) {
        bytes[0] = 1;
        if let Ok(record) = ClosedRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        if let Ok(record) = OrderRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
    }
}
