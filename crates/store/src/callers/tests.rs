//! Quotas: what is left, what a new day forgives, who is forgotten, and the golden bytes.

use ic_nn_types::{Error, ErrorCode, InitArgs};
use proptest::prelude::*;

use super::*;
use crate::RecordProblem;
use crate::fixture::{dump, memories, principal, seeded, share, store};

/// Noon of the `n`th day.
fn noon(n: u64) -> u64 {
    n * DAY + DAY / 2
}

fn limited<M: Memory>(store: &mut Store<M>, instructions: u64) {
    let instructions_per_caller_and_day = Some(instructions);
    store.apply(&InitArgs { instructions_per_caller_and_day, ..InitArgs::default() }).unwrap();
}

fn told(instructions_per_day: Option<u64>, spent_today: u64) -> Result<CallerQuota, RecordError> {
    Ok(CallerQuota { instructions_per_day, spent_today })
}

#[test]
fn nobody_is_limited_unless_it_is_set() {
    let mut store = store();
    let me = principal(1);
    assert_eq!(store.allowance(me, noon(1)), None);
    store.charge(me, noon(1), 70);
    assert_eq!(store.allowance(me, noon(1)), None);
    assert_eq!(store.caller_quota(me, noon(1)), told(None, 70));
    limited(&mut store, 100);
    assert_eq!(store.allowance(me, noon(1)), Some(30));
    assert_eq!(store.allowance(principal(2), noon(1)), Some(100));
}

#[test]
fn a_day_ends_at_midnight_and_nothing_overflows() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let me = principal(1);
    limited(&mut store, 100);
    store.charge(me, 2 * DAY - 1, 60);
    store.charge(me, 2 * DAY - 1, 60);
    assert_eq!(store.allowance(me, 2 * DAY - 1), Some(0));
    assert_eq!(store.caller_quota(me, 2 * DAY - 1), told(Some(100), 120));
    assert_eq!(store.allowance(me, 2 * DAY), Some(100));
    store.charge(me, 2 * DAY, 1);
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(store.allowance(me, 2 * DAY), Some(99));
    assert_eq!(store.allowance(me, DAY), Some(99), "a clock that has gone back forgives nothing");
    store.charge(me, DAY, u64::MAX);
    assert_eq!(store.caller_quota(me, 2 * DAY), told(Some(100), u64::MAX));
    store.charge(me, u64::MAX, u64::MAX);
    assert_eq!(store.allowance(me, u64::MAX), Some(0));
}

#[test]
fn a_quota_of_ones_own_goes_before_the_settings() {
    let mut store = store();
    let me = principal(1);
    limited(&mut store, 100);
    store.charge(me, noon(1), 10);
    store.set_quota(me, Some(15), noon(1)).unwrap();
    assert_eq!(store.allowance(me, noon(1)), Some(5));
    assert_eq!(store.allowance(me, noon(2)), Some(15));
    store.set_quota(me, None, noon(1)).unwrap();
    assert_eq!(store.allowance(me, noon(1)), None);
    assert_eq!(store.caller_quota(me, noon(1)), told(None, 10));
    store.set_quota(me, Some(0), noon(1)).unwrap();
    assert_eq!(store.allowance(me, noon(2)), Some(0));
    store.clear_quota(me).unwrap();
    assert_eq!(store.allowance(me, noon(1)), Some(90));
    store.clear_quota(principal(2)).unwrap();
    assert_eq!(store.callers_remembered(), 1);
}

#[test]
fn callers_of_earlier_days_make_room_and_no_others() {
    let mut store = store();
    store.bounds.callers = 4;
    limited(&mut store, 100);
    store.set_quota(principal(1), Some(50), noon(1)).unwrap();
    store.charge(principal(2), noon(1), 1);
    store.charge(principal(3), noon(2), 1);
    store.charge(principal(4), noon(2), 1);
    store.charge(principal(5), noon(2), 1);
    assert_eq!(
        store.caller_quota(principal(2), noon(1)),
        told(Some(100), 0),
        "the one of day 1 is forgotten"
    );
    assert_eq!((store.callers_remembered(), store.callers.len()), (4, 8));
    assert_eq!(store.allowance(principal(6), noon(2)), Some(0), "nobody can be forgotten");
    store.charge(principal(6), noon(2), 1);
    assert_eq!(store.caller_quota(principal(6), noon(2)), told(Some(100), 0));
    let full = QuotaError::Full { limit: 4 };
    assert_eq!(store.set_quota(principal(6), None, noon(2)), Err(full.clone()));
    assert_eq!(Error::from(full).code, ErrorCode::TooLarge);
    store.charge(principal(3), noon(2), 1);
    assert_eq!(store.allowance(principal(3), noon(2)), Some(98), "who is remembered goes on");
    limited(&mut store, 0);
    assert_eq!(store.allowance(principal(6), noon(2)), None, "who is not limited needs no row");
    limited(&mut store, 100);
    assert_eq!(store.allowance(principal(6), noon(3)), Some(100));
    for n in 6..9 {
        store.charge(principal(n), noon(3), 7);
    }
    assert_eq!(store.callers_remembered(), 4);
    assert_eq!(store.allowance(principal(1), noon(3)), Some(50), "a quota is never forgotten");
    assert_eq!(store.allowance(principal(9), noon(3)), Some(0));
    store.clear_quota(principal(1)).unwrap();
    assert_eq!(store.allowance(principal(9), noon(3)), Some(100), "a cleared quota of day 1 is");
}

#[test]
fn a_lower_bound_shrinks_the_table() {
    let mut store = store();
    for n in 0..6 {
        store.charge(principal(n), noon(1), 1);
    }
    store.bounds.callers = 3;
    let remembered = [5, 4, 3, 3, 3].into_iter().zip(10..);
    for (left, n) in remembered {
        store.charge(principal(n), noon(2), 1);
        assert_eq!(store.callers_remembered(), left);
    }
    for (n, spent) in [(10, 1), (11, 1), (12, 1), (13, 0)] {
        assert_eq!(store.caller_quota(principal(n), noon(2)), told(None, spent));
    }
}

#[test]
fn golden_caller() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let me = Principal::from_slice(&[7, 8]);
    store.charge(me, noon(0x0102), 3);
    let rows: Vec<_> = store.callers.iter().collect();
    let spent = [vec![1, 0], vec![0; 8], vec![2, 1, 0, 0], vec![3, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(rows, [(vec![0, 7, 8], spent.clone()), (vec![1, 0, 0, 1, 2, 7, 8], vec![])]);
    store.set_quota(me, Some(9), 0).unwrap();
    let rows: Vec<_> = store.callers.iter().collect();
    let quota = [vec![1, 1, 9], vec![0; 7], spent[10..].to_vec()].concat();
    assert_eq!(rows, [(vec![0, 7, 8], quota), (vec![1, 255, 255, 255, 255, 7, 8], vec![])]);
    for bytes in [[vec![1, 0, 1], vec![0; 19]].concat(), [vec![1, 3], vec![0; 20]].concat()] {
        let problem = RecordProblem::Field { field: "quota" };
        assert_eq!(CallerRecord::decode(&bytes).unwrap_err().problem, problem);
    }
}

#[test]
fn a_record_that_cannot_be_read_spends_nothing_and_stays() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let me = principal(1);
    store.charge(me, noon(1), 3);
    store.callers.insert(&row_key(me.as_slice()), vec![2]);
    let before = dump(&memories);
    assert_eq!(store.allowance(me, noon(1)), Some(0));
    store.charge(me, noon(1), 3);
    assert!(matches!(store.set_quota(me, None, noon(1)), Err(QuotaError::Record(_))));
    assert!(store.clear_quota(me).is_err() && store.caller_quota(me, noon(1)).is_err());
    assert_eq!(dump(&memories), before);
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 20..24), kind in 0u8..4) {
        bytes[0] = 1;
        bytes[1] = kind;
        if kind != 1 && bytes[2] < 128 { bytes[2..10].fill(0); }
        if let Ok(record) = CallerRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes); }
    }
}
