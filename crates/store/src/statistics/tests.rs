//! Statistics: what is counted and of what, and the golden bytes.

use proptest::prelude::*;

use super::*;
use crate::RecordProblem;
use crate::fixture::{dump, file, memories, published, seeded, share, store};

#[test]
fn what_a_version_does_is_counted() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    published(&mut store, "m", &file(1, 9));
    store.record_fail("m", 1);
    let failed = ModelStatistics { name: "m".into(), version: 1, fail: 1, ..ModelStatistics::default() };
    assert_eq!(store.statistics("m", 1), Ok(failed), "a failure is no use");
    store.record_success("m", 1, 5, 10);
    store.record_success("m", 1, 6, 3);
    store.record_success("m", 1, 7, 4);
    store.record_hit("m", 1, 8);
    let store = Store::open(share(&memories)).unwrap();
    let want = ModelStatistics {
        name: "m".into(),
        version: 1,
        success: 4,
        fail: 1,
        cache_hits: 1,
        min_instructions: 3,
        mean_instructions: 5,
        max_instructions: 10,
        last_used: Some(8),
    };
    assert_eq!(store.statistics("m", 1), Ok(want));
}

#[test]
fn an_answer_from_the_cache_computes_nothing() {
    let mut store = store();
    published(&mut store, "m", &file(1, 9));
    store.record_hit("m", 1, 8);
    let told = store.statistics("m", 1).unwrap();
    assert_eq!((told.success, told.cache_hits, told.last_used), (1, 1, Some(8)));
    assert_eq!((told.min_instructions, told.mean_instructions, told.max_instructions), (0, 0, 0));
    store.record_success("m", 1, 9, 6);
    assert_eq!(store.statistics("m", 1).unwrap().min_instructions, 6);
}

#[test]
fn nothing_is_counted_of_what_is_not_there() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let before = dump(&memories);
    store.record_success("m", 1, 1, 1);
    store.record_fail("m", 1);
    store.record_hit("m", 1, 1);
    store.forget_statistics("m", 1);
    assert_eq!(dump(&memories), before);
    let nothing = ModelStatistics { name: "m".into(), version: 1, ..ModelStatistics::default() };
    assert_eq!(store.statistics("m", 1), Ok(nothing));
}

#[test]
fn what_is_forgotten_begins_anew() {
    let mut store = store();
    published(&mut store, "m", &file(1, 9));
    published(&mut store, "m", &file(1, 9));
    store.record_fail("m", 1);
    store.record_fail("m", 2);
    store.forget_statistics("m", 1);
    assert_eq!((store.statistics("m", 1).unwrap().fail, store.statistics("m", 2).unwrap().fail), (0, 1));
}

#[test]
fn pages_go_over_all_that_did_something() {
    let mut store = store();
    for name in ["a", "a-b", "b"] {
        for _ in 0..2 {
            published(&mut store, name, &file(1, 9));
        }
    }
    for (name, version) in [("b", 1), ("a-b", 2), ("a", 2), ("a", 1)] {
        store.record_fail(name, version);
    }
    let told = |page: &StatisticsPage| -> Vec<(String, u64)> {
        page.models.iter().map(|m| (m.name.clone(), m.version)).collect()
    };
    let all = [("a", 1), ("a", 2), ("a-b", 2), ("b", 1)].map(|(name, version)| (name.to_owned(), version));
    let page = store.all_statistics(None, None).unwrap();
    assert_eq!((told(&page), page.next), (all.to_vec(), None));
    let page = store.all_statistics(None, Some(2)).unwrap();
    assert_eq!((told(&page), page.next), (all[..2].to_vec(), Some(("a".into(), 2))));
    let page = store.all_statistics(Some(("a", 2)), Some(2)).unwrap();
    assert_eq!((told(&page), page.next), (all[2..].to_vec(), None));
}

#[test]
fn counters_stay_at_their_greatest() {
    let mut store = store();
    published(&mut store, "m", &file(1, 9));
    let full = StatisticsRecord {
        computed: u64::MAX,
        cache_hits: u64::MAX,
        fail: u64::MAX,
        sum_instructions: u128::MAX,
        min_instructions: 1,
        max_instructions: 1,
        last_used: 1,
    };
    store.statistics.insert(&version_key("m", 1), full.encode());
    store.record_success("m", 1, 2, u64::MAX);
    store.record_fail("m", 1);
    store.record_hit("m", 1, 3);
    let told = store.statistics("m", 1).unwrap();
    assert_eq!((told.success, told.fail, told.cache_hits), (u64::MAX, u64::MAX, u64::MAX));
    assert_eq!(
        (told.max_instructions, told.mean_instructions, told.last_used),
        (u64::MAX, u64::MAX, Some(3))
    );
}

#[test]
fn golden_statistics() {
    let record = StatisticsRecord {
        computed: 1,
        cache_hits: 2,
        fail: 3,
        sum_instructions: 4 << 120,
        min_instructions: 5,
        max_instructions: 6,
        last_used: 7 << 56,
    };
    let eight = |n: u8| [&[n], [0; 7].as_slice()].concat();
    let golden = [
        vec![1],
        eight(1),
        eight(2),
        eight(3),
        vec![0; 15],
        vec![4],
        eight(5),
        eight(6),
        vec![0; 7],
        vec![7],
    ]
    .concat();
    assert_eq!(record.encode(), golden);
    assert_eq!(StatisticsRecord::decode(&golden), Ok(record));
    for len in 0..golden.len() {
        assert_eq!(StatisticsRecord::decode(&golden[..len]).unwrap_err().problem, RecordProblem::Short);
    }
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_stays() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    published(&mut store, "m", &file(1, 9));
    store.statistics.insert(&version_key("m", 1), vec![2]);
    let before = dump(&memories);
    store.record_success("m", 1, 1, 1);
    assert!(store.statistics("m", 1).is_err() && store.all_statistics(None, None).is_err());
    assert_eq!(dump(&memories), before);
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 64..68)) {
        bytes[0] = 1;
        if let Ok(record) = StatisticsRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
    }
}
