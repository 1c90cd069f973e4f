//! Roles: who has which, what is refused, how admins are replaced, and the golden bytes.

use ic_nn_types::{Error, ErrorCode, InitArgs};
use proptest::prelude::*;

use super::*;
use crate::fixture::{dump, memories, principal, seeded, share, store};

fn admins(named: &[u8]) -> InitArgs {
    InitArgs { admins: Some(named.iter().map(|&n| principal(n)).collect()), ..InitArgs::default() }
}

#[test]
fn a_principal_has_one_role_or_none() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    let p = principal(1);
    assert_eq!(store.role(p), None);
    assert_eq!(store.grant(p, Role::Caller), Ok(None));
    assert_eq!(store.grant(p, Role::Uploader), Ok(Some(Role::Caller)));
    let before = dump(&memories);
    assert_eq!(store.grant(p, Role::Uploader), Ok(Some(Role::Uploader)));
    assert_eq!(dump(&memories), before, "a role that is there is not written");
    let mut store = Store::open(share(&memories)).unwrap();
    assert_eq!(store.role(p), Some(Role::Uploader));
    assert!(!store.is_admin(p));
    assert_eq!(store.revoke(p), Ok(Role::Uploader));
    assert_eq!((store.role(p), store.roles.len()), (None, 0));
}

#[test]
fn what_is_refused_says_why() {
    let mut store = store();
    let cases = [
        (
            store.grant(Principal::anonymous(), Role::Caller).unwrap_err(),
            "the anonymous principal cannot be a listed caller: that would be anyone; set the policy for that",
            ErrorCode::InvalidArgument,
        ),
        (
            store.add_admin(Principal::anonymous()).unwrap_err(),
            "the anonymous principal cannot be an admin: that would be anyone; set the policy for that",
            ErrorCode::InvalidArgument,
        ),
        (store.revoke(principal(1)).unwrap_err(), "x63lr-hybae has no role", ErrorCode::NotFound),
        (store.remove_admin(principal(1)).unwrap_err(), "x63lr-hybae is no admin", ErrorCode::NotFound),
    ];
    for (error, text, code) in cases {
        let text = text.replace("x63lr-hybae", &principal(1).to_text());
        assert_eq!(Error::from(error), Error::new(code, text));
    }
}

#[test]
fn admins_come_and_go() {
    let mut store = store();
    store.grant(principal(1), Role::Uploader).unwrap();
    store.add_admin(principal(1)).unwrap();
    store.add_admin(principal(1)).unwrap();
    store.grant(principal(2), Role::Caller).unwrap();
    assert_eq!(store.admins(), [principal(1)]);
    assert_eq!(store.remove_admin(principal(2)), Err(RoleError::NotAdmin { principal: principal(2) }));
    store.remove_admin(principal(1)).unwrap();
    assert_eq!(store.role(principal(1)), None, "a former admin has no role");
    assert_eq!(store.role(principal(2)), Some(Role::Caller));
}

#[test]
fn the_settings_replace_the_admins_and_no_other_role() {
    let mut store = store();
    store.apply(&admins(&[1, 2, 2])).unwrap();
    store.grant(principal(3), Role::Uploader).unwrap();
    store.grant(principal(4), Role::Caller).unwrap();
    store.apply(&InitArgs::default()).unwrap();
    assert_eq!(store.admins(), [principal(1), principal(2)]);
    store.apply(&admins(&[2, 3, 5])).unwrap();
    assert_eq!(store.admins(), [2, 3, 5].map(principal));
    assert_eq!((store.role(principal(1)), store.role(principal(4))), (None, Some(Role::Caller)));
    store.apply(&admins(&[])).unwrap();
    assert_eq!((store.admins(), store.roles.len()), (vec![], 1));
}

#[test]
fn the_bound_holds_for_new_principals_only() {
    let mut store = store();
    store.bounds.roles = 3;
    store.apply(&admins(&[1, 2])).unwrap();
    store.grant(principal(3), Role::Caller).unwrap();
    let full = RoleError::Full { came: 4, limit: 3 };
    assert_eq!(store.grant(principal(4), Role::Caller), Err(full.clone()));
    assert_eq!(Error::from(full.clone()).code, ErrorCode::TooLarge);
    assert_eq!(store.grant(principal(3), Role::Uploader), Ok(Some(Role::Caller)));
    assert_eq!(store.apply(&admins(&[1, 2, 4])).unwrap_err().to_string(), full.to_string());
    assert_eq!(store.admins(), [principal(1), principal(2)]);
    store.apply(&admins(&[1, 3])).unwrap();
    store.apply(&admins(&[1, 3, 4])).unwrap();
    assert_eq!(store.admins(), [1, 3, 4].map(principal));
}

#[test]
fn pages_go_over_all_of_them() {
    let mut store = store();
    let long = Principal::from_slice(&[2; 29]);
    for p in [principal(9), long, principal(1)] {
        store.grant(p, Role::Caller).unwrap();
    }
    let page = store.roles(None, Some(2)).unwrap();
    assert_eq!(page.entries.iter().map(|e| e.principal).collect::<Vec<_>>(), [principal(1), long]);
    assert_eq!(page.next, Some(long));
    let rest = store.roles(page.next, Some(0)).unwrap();
    assert_eq!(rest.entries, [RoleEntry { principal: principal(9), role: Role::Caller }]);
    assert_eq!(rest.next, None);
    assert_eq!(store.roles(None, None).unwrap().entries.len(), 3);
}

#[test]
fn golden_role() {
    for (role, byte) in [(Role::Admin, 1), (Role::Uploader, 2), (Role::Caller, 3)] {
        assert_eq!(RoleRecord { role }.encode(), [1, byte]);
        assert_eq!(RoleRecord::decode(&[1, byte]), Ok(RoleRecord { role }));
    }
    let problem = |bytes: &[u8]| RoleRecord::decode(bytes).unwrap_err().problem;
    assert_eq!(problem(&[1, 0]), RecordProblem::Field { field: "role" });
    assert_eq!(problem(&[1]), RecordProblem::Short);
    assert_eq!(problem(&[1, 1, 1]), RecordProblem::Long { bytes: 1 });
    assert_eq!(problem(&[2, 1]), RecordProblem::Layout { found: 2, newest: 1 });
}

#[test]
fn a_record_that_cannot_be_read_is_no_permission_and_stays() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store.roles.insert(principal(1).as_slice(), vec![2, 1]);
    let before = dump(&memories);
    assert_eq!((store.role(principal(1)), store.admins()), (None, vec![]));
    assert!(matches!(store.grant(principal(1), Role::Admin), Err(RoleError::Record(_))));
    assert!(matches!(store.revoke(principal(1)), Err(RoleError::Record(_))));
    assert!(store.apply(&admins(&[1])).is_err());
    assert_eq!(Error::from(store.roles(None, None).unwrap_err()).code, ErrorCode::RuntimeError);
    assert_eq!(dump(&memories), before);
    store.apply(&admins(&[2])).unwrap();
    assert_eq!(store.roles.get(principal(1).as_slice()), Some(vec![2, 1]));
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 1..4)) {
        bytes[0] = 1;
        if let Ok(record) = RoleRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
    }
}
