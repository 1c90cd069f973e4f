//! Execution contexts: stable, never reused, told apart when they lead nowhere, bounded, and the golden bytes.

use ic_nn_types::{Error, ErrorCode, InitArgs};
use proptest::prelude::*;

use super::*;
use crate::RecordProblem;
use crate::fixture::{dump, file, memories, principal, published, seeded, share, store};

/// A store with `versions` of `m`, each with a handle: version and handle have the same number.
fn loaded<M: Memory>(store: &mut Store<M>, versions: u64) {
    for version in 1..=versions {
        published(store, "m", &file(1, 3));
        assert_eq!(store.open_graph("m", version, principal(1)), Ok(version));
    }
}

fn open<M: Memory>(store: &mut Store<M>, graph: u64, owner: u8) -> u64 {
    store.open_context(graph, principal(owner), false, Lease::default(), 7).unwrap().open.context
}

fn ids<M: Memory>(store: &Store<M>) -> Vec<u64> {
    store.contexts().map(|open| open.unwrap().context).collect()
}

#[test]
fn a_context_stays_and_is_never_given_again() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    loaded(&mut store, 1);
    let lease = Lease { idle_seconds: 60, session: 5 };
    let opened = store.open_context(1, principal(2), false, lease, 9).unwrap();
    let (owner, name) = (principal(2), "m".to_owned());
    let want = OpenContext { context: 1, graph: 1, name, version: 1, owner, opened_at: 9, lease };
    assert_eq!(opened, Opened { open: want.clone(), superseded: vec![] });
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(store.context(1), Ok(want.clone()));
    assert_eq!(store.close_context(1), Ok(want));
    assert_eq!(open(&mut store, 1, 2), 2);
    let mut store = Store::open(share(&memories)).unwrap();
    store.close_context(2).unwrap();
    assert_eq!((store.contexts.len(), store.context_index.len()), (0, 0));
    assert_eq!(open(&mut store, 1, 2), 3);
}

#[test]
fn a_context_that_leads_nowhere_says_why() {
    let mut store = store();
    loaded(&mut store, 2);
    let (finalized, deleted) = (open(&mut store, 1, 1), open(&mut store, 2, 1));
    store.close_context(finalized).unwrap();
    crate::fixture::deleted(&mut store, "m:2");
    let gone = ContextError::Deleted { context: deleted, name: "m".into(), version: 2 };
    assert_eq!(store.context(deleted), Err(gone.clone()), "before it is cleared away");
    assert_eq!(store.close_context(deleted), Err(gone.clone()));
    assert_eq!(store.close_contexts_of("m", 2, 10), Ok(vec![deleted]));
    assert_eq!(store.context(deleted), Err(gone.clone()), "and after");
    assert_eq!(store.close_context(deleted), Err(gone.clone()));
    let cases = [
        (0, "no execution context 0; open one with init_execution_context", ErrorCode::InvalidArgument),
        (3, "no execution context 3; open one with init_execution_context", ErrorCode::InvalidArgument),
        (
            1,
            "execution context 1 was finalized; open another with init_execution_context",
            ErrorCode::InvalidArgument,
        ),
        (2, "execution context 2 was closed when its model m:2 was deleted", ErrorCode::NotFound),
    ];
    for (context, text, code) in cases {
        for error in [store.context(context).unwrap_err(), store.close_context(context).unwrap_err()] {
            assert_eq!(Error::from(error), Error::new(code, text));
        }
    }
}

#[test]
fn a_context_opens_on_an_open_handle_and_outlives_it() {
    let mut store = store();
    loaded(&mut store, 1);
    let context = open(&mut store, 1, 1);
    assert!(store.contexts_of_version("m", 1));
    assert!(!store.contexts_of_version("m", 2) && !store.contexts_of_version("n", 1));
    store.close_graph(1).unwrap();
    assert_eq!(store.context(context).unwrap().graph, 1);
    assert!(store.contexts_of_version("m", 1), "it drains");
    for (graph, text) in [
        (1, "graph 1 was unloaded; load its model again, which gives a new handle"),
        (2, "no graph 2; load one with load_by_name"),
    ] {
        let error = store.open_context(graph, principal(1), false, Lease::default(), 0).unwrap_err();
        assert_eq!(Error::from(error), Error::invalid_argument(text));
    }
    store.close_context(context).unwrap();
    assert!(!store.contexts_of_version("m", 1));
}

#[test]
fn the_limits_hold_and_change_nothing() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    loaded(&mut store, 1);
    store.add_admin(principal(9)).unwrap();
    for _ in 0..64 {
        open(&mut store, 1, 1);
    }
    let before = dump(&memories);
    let error = store.open_context(1, principal(1), false, Lease::default(), 0).unwrap_err();
    assert_eq!(error, OpenContextError::TooManyOfOwner { owner: principal(1), limit: 64 });
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    assert_eq!(dump(&memories), before);
    store.open_context(1, principal(1), true, Lease::default(), 0).unwrap();
    for _ in 0..65 {
        open(&mut store, 1, 9);
    }
    assert_eq!(store.contexts_of(principal(1)).count(), 65);
    store.apply(&InitArgs { max_contexts: Some(130), ..InitArgs::default() }).unwrap();
    let error = store.open_context(1, principal(9), true, Lease::default(), 0).unwrap_err();
    assert_eq!(error, OpenContextError::TooMany { limit: 130 });
    assert_eq!(Error::from(error).code, ErrorCode::TooLarge);
    store.close_context(3).unwrap();
    store.close_context(4).unwrap();
    assert_eq!(store.open_contexts(), 128);
    assert_eq!(open(&mut store, 1, 1), 131, "63 are its own");
}

#[test]
fn contexts_of_a_version_close_oldest_first_in_parts() {
    let mut store = store();
    loaded(&mut store, 2);
    let graphs = [1, 2, 1, 1, 2];
    for graph in graphs {
        open(&mut store, graph, 1);
    }
    assert_eq!(store.close_contexts_of("m", 1, 2), Ok(vec![1, 3]));
    assert_eq!(ids(&store), [2, 4, 5]);
    assert!(store.contexts_of_version("m", 1));
    assert_eq!(store.close_contexts_of("m", 1, 2), Ok(vec![4]));
    assert_eq!(store.close_contexts_of("m", 1, 2), Ok(vec![]));
    assert_eq!((store.open_contexts(), store.contexts.len()), (2, 5));
    assert_eq!(store.contexts_of(principal(1)).map(Result::unwrap).collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn the_oldest_of_the_deleted_are_told_as_finalized() {
    let mut store = store();
    store.bounds.deleted_contexts = 2;
    loaded(&mut store, 1);
    for _ in 0..4 {
        open(&mut store, 1, 1);
    }
    store.close_contexts_of("m", 1, 3).unwrap();
    assert_eq!(store.context(1), Err(ContextError::Finalized { context: 1 }));
    for context in [2, 3] {
        let deleted = ContextError::Deleted { context, name: "m".into(), version: 1 };
        assert_eq!(store.context(context), Err(deleted));
    }
    assert!(store.context(4).is_ok());
}

#[test]
fn a_context_that_lapsed_says_so_and_makes_room() {
    let mut store = store();
    loaded(&mut store, 2);
    let lease = Lease { idle_seconds: 60, session: 0 };
    store.open_context(1, principal(1), false, lease, 0).unwrap();
    open(&mut store, 2, 1);
    assert_eq!(store.lapse_context(1).unwrap().lease, lease);
    let text = "execution context 1 was closed after 60 seconds without a call on it; open another with \
                init_execution_context, whose idle_seconds says how long it stays";
    for error in [store.context(1), store.close_context(1), store.lapse_context(1)] {
        assert_eq!(Error::from(error.unwrap_err()), Error::not_found(text));
    }
    assert!(!store.contexts_of_version("m", 1));
    assert_eq!((store.open_contexts(), store.contexts_of(principal(1)).count()), (1, 1));
    // One whose model was deleted says that, and is cleared away all the same.
    crate::fixture::deleted(&mut store, "m:2");
    let gone = store.context(2).unwrap_err();
    assert_eq!(store.lapse_context(2).map(|open| open.context), Ok(2));
    assert_eq!((store.context(2), store.open_contexts()), (Err(gone), 0));
}

#[test]
fn a_session_closes_what_its_owner_opened_in_others() {
    let mut store = store();
    loaded(&mut store, 1);
    let mut begin = |owner: u8, session| {
        let lease = Lease { session, ..Lease::default() };
        let opened = store.open_context(1, principal(owner), false, lease, 0);
        opened.map(|o| (o.open.context, o.superseded.iter().map(|open| open.context).collect::<Vec<_>>()))
    };
    assert_eq!(begin(2, 7), Ok((1, vec![])), "another owner's");
    assert_eq!(begin(1, 0), Ok((2, vec![])), "of no session");
    for context in 3..=65 {
        assert_eq!(begin(1, 7), Ok((context, vec![])));
    }
    assert!(matches!(begin(1, 7), Err(OpenContextError::TooManyOfOwner { .. })));
    assert_eq!(begin(1, 8), Ok((66, (3..=65).collect())), "63 make room for one");
    assert_eq!(begin(1, 7), Ok((67, vec![66])), "an older one too");
    assert_eq!(begin(1, 0), Ok((68, vec![])));
    assert_eq!(ids(&store), [1, 2, 67, 68]);
    assert_eq!(store.context(66), Err(ContextError::Finalized { context: 66 }));
}

#[test]
fn leases_are_bounded() {
    let asked = |idle_seconds| Lease::asked(&ContextOptions { idle_seconds, session: None });
    assert_eq!(asked(None), Ok(Lease::default()));
    assert_eq!(asked(Some(604_800)), Ok(Lease { idle_seconds: 604_800, session: 0 }));
    for came in [0, 604_801, 1 << 32, u64::MAX] {
        let error = Error::from(asked(Some(came)).unwrap_err());
        let text = format!("idle_seconds is 1 to 604800, {came} came");
        assert_eq!(error, Error::invalid_argument(text));
    }
}

#[test]
fn owners_do_not_run_into_each_other() {
    let mut store = store();
    loaded(&mut store, 1);
    let owners = [&[][..], &[0], &[0, 0], &[0; 29], &[1], &[4]].map(Principal::from_slice);
    for owner in owners {
        store.open_context(1, owner, false, Lease::default(), 0).unwrap();
    }
    for (owner, id) in owners.into_iter().zip(1..) {
        assert_eq!(store.contexts_of(owner).collect::<Result<Vec<_>, _>>(), Ok(vec![id]));
    }
}

#[test]
fn golden_context() {
    let mut store = store();
    loaded(&mut store, 3);
    let owner = Principal::from_slice(&[7, 8]);
    let lease = Lease { idle_seconds: 0x0304, session: 9 };
    store.open_context(3, owner, false, lease, 0x0102).unwrap();
    let eight = |n: u8| [[0; 7].as_slice(), &[n]].concat();
    let little = |n: u8| [&[n], [0; 7].as_slice()].concat();
    let fields = [little(3), little(3), vec![2, 1, 0, 0, 0, 0, 0, 0], vec![2, 7, 8, 1, b'm']].concat();
    let record = [vec![2], fields.clone(), vec![4, 3, 0, 0], little(9)].concat();
    let rows: Vec<_> = store.contexts.iter().collect();
    assert_eq!(rows, [([vec![0], eight(1)].concat(), record.clone())]);
    let index: Vec<_> = store.context_index.iter().collect();
    let by_owner = [vec![0, 2, 7, 8], eight(1)].concat();
    let by_version = [vec![1, b'm', 0], eight(3), eight(1)].concat();
    assert_eq!(index, [(by_owner, vec![]), (by_version, vec![])]);
    for len in 0..record.len() {
        assert_eq!(ContextRecord::decode(&record[..len]).unwrap_err().problem, RecordProblem::Short);
    }
    // As releases wrote it that knew of no leases.
    let before = [vec![1], fields].concat();
    store.contexts.insert(&context_key(OPEN, 1), before);
    assert_eq!(store.context(1).unwrap().lease, Lease { idle_seconds: 86_400, session: 0 });
    store.open_context(3, owner, false, lease, 0x0102).unwrap();
    store.close_contexts_of("m", 3, 1).unwrap();
    store.lapse_context(2).unwrap();
    let rows: Vec<_> = store.contexts.iter().collect();
    let deleted = [vec![1], little(3), vec![1, b'm']].concat();
    let gone = [([vec![1], eight(1)].concat(), deleted), ([vec![1], eight(2)].concat(), vec![2, 4, 3, 0, 0])];
    assert_eq!(rows, gone);
    assert_eq!(store.context_index.len(), 0);
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_stays() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    loaded(&mut store, 1);
    open(&mut store, 1, 1);
    open(&mut store, 1, 1);
    store.contexts.insert(&context_key(OPEN, 2), vec![3]);
    let before = dump(&memories);
    assert!(matches!(store.context(2), Err(ContextError::Record(_))));
    assert!(matches!(store.lapse_context(2), Err(ContextError::Record(_))));
    assert!(matches!(store.close_context(2), Err(ContextError::Record(_))));
    assert!(store.close_contexts_of("m", 1, 10).is_err());
    assert_eq!(store.contexts().filter(Result::is_err).count(), 1);
    assert_eq!(dump(&memories), before, "not the first of them was closed");
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 1..50)) {
        for layout in [1, 2] {
            bytes[0] = layout;
            // What is read of the old layout is written in the new one.
            if let Ok(record) = ContextRecord::decode(&bytes) { prop_assert_eq!(record.encode() == bytes, layout == 2); }
            if let Ok(record) = GoneRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
        }
    }
}
