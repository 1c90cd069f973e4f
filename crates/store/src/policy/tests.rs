//! The policy: safe defaults, who is admitted, prices. Its golden bytes stand with the settings'.

use ic_nn_types::Role;

use super::*;
use crate::RecordProblem;
use crate::fixture::{dump, memories, principal, share, store};

const OPEN: AccessPolicy =
    AccessPolicy { read: Access::Listed, query: Access::Authenticated, infer: Access::Anyone };

fn price(cycles: impl Into<Nat>) -> Price {
    Price { cycles_per_call: Some(cycles.into()) }
}

#[test]
fn strangers_read_and_query_and_do_not_infer_unless_it_is_set() {
    let store = store();
    let policy = store.policy();
    let anonymous = Principal::anonymous();
    assert!(store.admits(policy.read, anonymous, false));
    assert!(store.admits(policy.query, anonymous, false));
    assert!(!store.admits(policy.infer, anonymous, false));
    assert!(!store.admits(policy.infer, principal(1), false));
    assert_eq!((store.price(), store.cycles_per_call()), (Price::default(), None));
}

#[test]
fn access_is_by_identity_role_or_control() {
    let mut store = store();
    let (anonymous, known) = (Principal::anonymous(), principal(1));
    for (access, anyone, stranger) in
        [(Access::Anyone, true, true), (Access::Authenticated, false, true), (Access::Listed, false, false)]
    {
        assert_eq!(store.admits(access, anonymous, false), anyone, "{access:?}");
        assert_eq!(store.admits(access, known, false), stranger, "{access:?}");
        assert!(store.admits(access, known, true), "{access:?}");
    }
    for role in [Role::Admin, Role::Uploader, Role::Caller] {
        store.grant(known, role).unwrap();
        assert!(store.admits(Access::Listed, known, false), "{role:?}");
    }
    store.revoke(known).unwrap();
    assert!(!store.admits(Access::Listed, known, false));
}

#[test]
fn what_is_set_survives_and_is_not_written_twice() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store.set_policy(OPEN);
    store.set_price(&price(u128::MAX)).unwrap();
    let before = dump(&memories);
    store.set_policy(OPEN);
    store.set_price(&price(u128::MAX)).unwrap();
    assert_eq!(dump(&memories), before);
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!((store.policy(), store.cycles_per_call()), (OPEN, Some(u128::MAX)));
    assert_eq!(store.price(), price(u128::MAX));
    store.set_price(&Price::default()).unwrap();
    assert_eq!(store.cycles_per_call(), None);
}

#[test]
fn a_price_is_a_number_of_cycles() {
    let mut store = store();
    store.set_price(&price(5u8)).unwrap();
    let above = Nat::from(u128::MAX) + Nat::from(1u8);
    for (came, bits) in [(Nat::from(0u8), 0), (above, 129)] {
        assert_eq!(store.set_price(&price(came)), Err(SettingsError::Price { bits }));
    }
    assert_eq!(store.cycles_per_call(), Some(5));
}

#[test]
fn the_settings_carry_it_and_null_keeps_it() {
    let mut store = store();
    let args = InitArgs {
        policy: Some(OPEN),
        price: Some(price(9u8)),
        max_contexts: Some(7),
        instructions_per_caller_and_day: Some(8),
        ..InitArgs::default()
    };
    store.apply(&args).unwrap();
    store.apply(&InitArgs::default()).unwrap();
    assert_eq!((store.policy(), store.cycles_per_call()), (OPEN, Some(9)));
    let settings = store.settings();
    assert_eq!((settings.max_contexts, settings.instructions_per_caller_and_day), (7, 8));
    let none = InitArgs {
        instructions_per_caller_and_day: Some(0),
        price: Some(Price::default()),
        ..InitArgs::default()
    };
    store.apply(&none).unwrap();
    assert_eq!((store.settings().instructions_per_caller_and_day, store.cycles_per_call()), (0, None));
}

#[test]
fn an_impossible_access_is_told() {
    let mut w = RecordWriter::new(1);
    PolicyRecord::default().write(&mut w);
    let good = w.finish();
    assert_eq!(good.len(), 32);
    for (at, field) in [(1, "read"), (2, "query"), (3, "infer")] {
        let mut bad = good.clone();
        bad[at] = 4;
        let mut r = RecordReader::new("settings", 1, &bad).unwrap();
        let error = PolicyRecord::read(&mut r).unwrap_err();
        assert_eq!(error, RecordError { table: "settings", problem: RecordProblem::Field { field } });
    }
}
