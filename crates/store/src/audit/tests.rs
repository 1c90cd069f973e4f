//! The audit log: order, cuts, the ring, and the golden bytes.

use proptest::prelude::*;

use super::*;
use crate::RecordProblem;
use crate::fixture::{dump, memories, principal, seeded, share, store};

fn page<M: Memory>(store: &Store<M>, after: Option<u64>, limit: Option<u32>) -> (Vec<u64>, Option<u64>) {
    let page = store.audit(&AuditRequest { after, limit }).unwrap();
    (page.entries.iter().map(|entry| entry.sequence).collect(), page.next)
}

#[test]
fn lines_are_told_in_order() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store.record(5, principal(1), "delete", "m:1", None);
    store.record(6, Principal::anonymous(), "grant", "me", Some("may not"));
    store.record(6, principal(1), "grant", "", Some(""));
    let store = Store::open(share(&memories)).unwrap();
    let entries = store.audit(&AuditRequest::default()).unwrap().entries;
    let first = AuditEntry {
        sequence: 1,
        time: 5,
        caller: principal(1),
        method: "delete".into(),
        subject: "m:1".into(),
        error: String::new(),
    };
    assert_eq!(entries[0], first);
    assert_eq!((entries[1].sequence, entries[1].error.as_str()), (2, "may not"));
    assert_eq!(entries[2].error, "failed", "a failure is told from what was done");
}

#[test]
fn pages_go_over_all_of_them() {
    let mut store = store();
    assert_eq!(page(&store, None, None), (vec![], None));
    for n in 0..1_205 {
        store.record(n, principal(1), "m", "", None);
    }
    assert_eq!(page(&store, None, None), ((1..=100).collect(), Some(100)));
    assert_eq!(page(&store, None, Some(u32::MAX)), ((1..=1_000).collect(), Some(1_000)));
    assert_eq!(page(&store, Some(1_000), Some(1_000)), ((1_001..=1_205).collect(), None));
    assert_eq!(page(&store, Some(1_203), Some(2)), (vec![1_204, 1_205], None));
    assert_eq!(page(&store, Some(3), Some(0)), (vec![4], Some(4)));
    assert_eq!(page(&store, Some(u64::MAX), None), (vec![], None));
}

#[test]
fn the_newest_are_kept_and_no_number_comes_again() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store.bounds.audit_lines = 3;
    for n in 0..5 {
        store.record(n, principal(1), "m", "", None);
    }
    assert_eq!(page(&store, None, None), (vec![3, 4, 5], None));
    assert_eq!(page(&store, Some(1), None), (vec![3, 4, 5], None));
    let mut store = Store::open(share(&memories)).unwrap();
    store.bounds.audit_lines = 2;
    store.record(9, principal(1), "m", "", None);
    assert_eq!(page(&store, None, None), (vec![5, 6], None), "a lower bound shrinks the log");
}

#[test]
fn ten_thousand_lines_are_kept() {
    let mut store = store();
    for n in 0..MAX_AUDIT_LINES + 2 {
        store.record(n, principal(1), "m", "", None);
    }
    assert_eq!(store.audit.len(), 10_000);
    assert_eq!(page(&store, None, Some(1)).0, [3]);
}

#[test]
fn texts_are_cut_on_characters() {
    let mut store = store();
    store.record(0, principal(1), &"m".repeat(64), &"é".repeat(100), Some(&"e".repeat(300)));
    store.record(0, principal(1), &"m".repeat(65), &"é".repeat(101), Some(&"e".repeat(10_000_000)));
    let entries = store.audit(&AuditRequest::default()).unwrap().entries;
    let lengths = |e: &AuditEntry| [e.method.len(), e.subject.len(), e.error.len()];
    assert_eq!(entries.iter().map(lengths).collect::<Vec<_>>(), [[64, 200, 300], [64, 199, 300]]);
    assert!(entries[0].method.ends_with('m') && entries[0].subject.ends_with('é'));
    for text in [&entries[1].method, &entries[1].subject, &entries[1].error] {
        assert!(text.ends_with('…'), "{text}");
    }
}

#[test]
fn golden_line() {
    let mut store = store();
    store.record(0x0102, Principal::from_slice(&[7, 8]), "set", "m", Some("no"));
    let (key, value) = store.audit.iter().next().unwrap();
    assert_eq!(key, [0, 0, 0, 0, 0, 0, 0, 1]);
    let golden = [&[1, 2, 1, 0, 0, 0, 0, 0, 0, 2, 7, 8, 3], b"set".as_slice(), &[1], b"m", b"no"].concat();
    assert_eq!(value, golden);
    for len in 0..golden.len() - 2 {
        assert_eq!(AuditRecord::decode(&golden[..len]).unwrap_err().problem, RecordProblem::Short);
    }
    let wrong = [golden, vec![0xFF]].concat();
    assert_eq!(AuditRecord::decode(&wrong).unwrap_err().problem, RecordProblem::Field { field: "error" });
}

#[test]
fn a_record_that_cannot_be_read_is_told() {
    let memories = memories();
    let mut store = Store::open(share(&memories)).unwrap();
    store.record(1, principal(1), "m", "", None);
    store.audit.insert(&1u64.to_be_bytes(), vec![2]);
    let before = dump(&memories);
    assert!(store.audit(&AuditRequest::default()).is_err());
    assert_eq!(dump(&memories), before);
    store.record(1, principal(1), "m", "", None);
    assert_eq!(page(&store, Some(1), None), (vec![2], None));
}

proptest! {
    #![proptest_config(seeded(2_000))]
    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(mut bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 1..40)) {
        bytes[0] = 1;
        if let Ok(record) = AuditRecord::decode(&bytes) { prop_assert_eq!(record.encode(), bytes.clone()); }
    }
}
