//! Settings: defaults, what is refused, what is kept, and the golden bytes of the cell.

use candid::Principal;
use ic_nn_types::{Access, AccessPolicy, Price};
use proptest::prelude::*;

use super::*;
use crate::fixture::{dump, memories, principal, seeded, share, store};
use crate::{OpenError, RecordProblem};

#[test]
fn defaults_hold_until_set_and_null_keeps_what_was_set() {
    let mut store = store();
    let defaults = Settings {
        max_model_bytes: 536_870_912,
        max_total_bytes: 64_424_509_440,
        max_heap_bytes: 2_684_354_560,
        max_open_uploads: 16,
        max_contexts: 1_000,
        instructions_per_caller_and_day: 0,
        max_bytes_per_uploader: 0,
        abandoned_after_seconds: 604_800,
        max_weight_cache_bytes: 671_088_640,
    };
    assert_eq!(store.settings(), defaults);
    store.apply(&InitArgs { max_model_bytes: Some(10), ..InitArgs::default() }).unwrap();
    store
        .apply(&InitArgs {
            max_open_uploads: Some(2),
            admins: Some(vec![principal(1)]),
            ..InitArgs::default()
        })
        .unwrap();
    store.apply(&InitArgs::default()).unwrap();
    store.apply(&InitArgs { max_bytes_per_uploader: Some(9), ..InitArgs::default() }).unwrap();
    assert_eq!(store.settings().max_bytes_per_uploader, 9);
    store.apply(&InitArgs { max_bytes_per_uploader: Some(0), ..InitArgs::default() }).unwrap();
    assert_eq!(store.settings(), Settings { max_model_bytes: 10, max_open_uploads: 2, ..defaults });
    assert!(store.is_admin(principal(1)) && !store.is_admin(principal(2)));
    store.apply(&InitArgs { admins: Some(vec![]), ..InitArgs::default() }).unwrap();
    assert_eq!(store.admins(), []);
}

#[test]
fn what_is_out_of_range_changes_nothing() {
    let mut store = store();
    store.add_admin(principal(1)).unwrap();
    store.bounds.roles = 2;
    let before = (store.settings.clone(), store.admins());
    let cases = [
        (
            InitArgs { max_model_bytes: Some(0), ..InitArgs::default() },
            "max_model_bytes is 0; 1 to 64424509440 are allowed",
        ),
        (
            InitArgs { max_total_bytes: Some(u64::MAX), ..InitArgs::default() },
            "max_total_bytes is 18446744073709551615; 1 to 64424509440 are allowed",
        ),
        (
            InitArgs { max_heap_bytes: Some((4 << 30) + 1), ..InitArgs::default() },
            "max_heap_bytes is 4294967297; 1 to 4294967296 are allowed",
        ),
        (
            InitArgs { max_bytes_per_uploader: Some((60 << 30) + 1), ..InitArgs::default() },
            "max_bytes_per_uploader is 64424509441; 0 to 64424509440 are allowed",
        ),
        (
            InitArgs { abandoned_after_seconds: Some(3_599), ..InitArgs::default() },
            "abandoned_after_seconds is 3599; 3600 to 31536000 are allowed",
        ),
        (
            InitArgs { max_model_bytes: Some(5), max_open_uploads: Some(1_001), ..InitArgs::default() },
            "max_open_uploads is 1001; 1 to 1000 are allowed",
        ),
        (
            InitArgs {
                max_model_bytes: Some(5),
                admins: Some(vec![Principal::anonymous()]),
                ..InitArgs::default()
            },
            "the anonymous principal cannot be an admin: that would be anyone; set the policy for that",
        ),
        (
            InitArgs {
                max_model_bytes: Some(5),
                admins: Some((2..5).map(principal).collect()),
                ..InitArgs::default()
            },
            "3 principals would have a role; at most 2 may: revoke some",
        ),
        (
            InitArgs { max_contexts: Some(100_001), admins: Some(vec![principal(2)]), ..InitArgs::default() },
            "max_contexts is 100001; 1 to 100000 are allowed",
        ),
        (
            InitArgs {
                price: Some(Price { cycles_per_call: Some(0u8.into()) }),
                admins: Some(vec![principal(2)]),
                ..InitArgs::default()
            },
            "cycles_per_call is a number of 0 bits; it has 1 to 128, null where nobody can pay",
        ),
    ];
    for (args, text) in cases {
        assert_eq!(store.apply(&args).unwrap_err().to_string(), text);
        assert_eq!((store.settings.clone(), store.admins()), before);
    }
}

#[test]
fn golden_cell() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store
        .apply(&InitArgs {
            max_open_uploads: Some(3),
            max_bytes_per_uploader: Some(4),
            abandoned_after_seconds: Some(86_400),
            max_contexts: Some(5),
            instructions_per_caller_and_day: Some(6),
            policy: Some(AccessPolicy {
                read: Access::Listed,
                query: Access::Authenticated,
                infer: Access::Anyone,
            }),
            price: Some(Price { cycles_per_call: Some((7u128 << 120).into()) }),
            ..InitArgs::default()
        })
        .unwrap();
    let golden: &[&[u8]] = &[
        b"SCL\x01",
        &108u32.to_le_bytes(),
        &[1],
        &[0; 24],
        &[3, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[4, 0, 0, 0, 0, 0, 0, 0],
        &[0x80, 0x51, 1, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[3, 2, 1],
        &[0; 15],
        &[7],
        &[6, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 0, 0],
    ];
    let golden = golden.concat();
    assert_eq!(&dump(&memories)[0][..golden.len()], golden);
    assert_eq!(SettingsRecord::decode(&golden[8..]), Ok(store.settings.clone()));
    for (at, field) in [(28, "next_upload"), (36, "next_graph"), (44, "next_kept")] {
        for id in [0, u64::MAX] {
            let mut bytes = golden[8..].to_vec();
            bytes[at + 1..at + 9].copy_from_slice(&id.to_le_bytes());
            let problem = RecordProblem::Field { field };
            assert_eq!(SettingsRecord::decode(&bytes).unwrap_err().problem, problem);
        }
    }
    for len in 0..108 {
        assert_eq!(SettingsRecord::decode(&golden[8..8 + len]).unwrap_err().problem, RecordProblem::Short);
    }
    // The cache of streamed weights follows where it was set, 0 included.
    for (set, most) in [(None, 671_088_640), (Some(0), 0), (Some(1 << 20), 1 << 20)] {
        store.apply(&InitArgs { max_weight_cache_bytes: set, ..InitArgs::default() }).unwrap();
        let bytes = store.settings.encode();
        assert_eq!(bytes.len(), if set.is_some() { 116 } else { 108 });
        assert_eq!(SettingsRecord::decode(&bytes), Ok(store.settings.clone()));
        assert_eq!(store.settings().max_weight_cache_bytes, most);
    }
}

#[test]
fn settings_survive_and_opening_writes_nothing() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let args =
        InitArgs { max_model_bytes: Some(77), admins: Some(vec![principal(3)]), ..InitArgs::default() };
    store.apply(&args).unwrap();
    let before = dump(&memories);
    store.apply(&args).unwrap();
    store.apply(&InitArgs::default()).unwrap();
    assert_eq!(dump(&memories), before, "what is in force already is not written");
    let again = Store::open(share(&memories)).unwrap();
    assert_eq!(again.settings, store.settings);
    assert_eq!(dump(&memories), before);
}

#[test]
fn foreign_or_newer_memory_is_refused_and_left_alone() {
    let memories = memories();
    Store::open(share(&memories)).unwrap();
    memories.settings.borrow_mut()[8] = 2;
    let newer = RecordError { table: "settings", problem: RecordProblem::Layout { found: 2, newest: 1 } };
    assert_eq!(Store::open(share(&memories)).err(), Some(OpenError::Record(newer)));
    memories.settings.borrow_mut()[8] = 1;
    memories.graphs.borrow_mut()[..4].copy_from_slice(b"MGR\x01");
    let before = dump(&memories);
    let error = Store::open(share(&memories)).err().unwrap();
    assert_eq!(error, OpenError::Foreign { memory: "graphs", found: *b"MGR\x01" });
    assert_eq!(
        error.to_string(),
        "stable memory `graphs` holds something else: it begins with the bytes [4d, 47, 52, 01]"
    );
    assert_eq!(dump(&memories), before);
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 82..87)) {
        bytes[0] = 1;
        if let Ok(record) = SettingsRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
    }
}
