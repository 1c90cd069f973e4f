//! What the recorded corpus does not show: states saved and opened, modules cached, traps contained, larger memories.

use candid::{Encode, Principal};
use ic_nn_host::{Canister, CanisterSettings, CanisterState, Host, InstallMode, RejectCode, Replica};

/// Counts in the heap, a global and stable memory; `bump` adds one everywhere, `bad` too and then traps, `grow` takes a
/// page more, `get` replies the three counts and the heap's pages. `loop` calls itself: `bad`, and replies the reject code.
const COUNTER: &str = r#"(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reject_code" (func $code (result i32)))
  (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_size" (func $stable_size (result i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (memory 1) (global $g (mut i64) (i64.const 0)) (table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
  (data (i32.const 900) "bad") (data (i32.const 910) "loop") (data $passive "\2a")
  (func $bump
    (global.set $g (i64.add (global.get $g) (i64.const 1)))
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (if (i64.eqz (call $stable_size)) (then (drop (call $stable_grow (i64.const 1)))))
    (call $stable_read (i64.const 8) (i64.const 70) (i64.const 8))
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
    (call $stable_write (i64.const 70) (i64.const 8) (i64.const 8)))
  (func $get
    (i64.store (i32.const 100) (global.get $g)) (i64.store (i32.const 108) (i64.load (i32.const 0)))
    (if (i64.gt_u (call $stable_size) (i64.const 0)) (then (call $stable_read (i64.const 116) (i64.const 70) (i64.const 8))))
    (i64.store (i32.const 124) (i64.extend_i32_u (memory.size)))
    (call $append (i32.const 100) (i32.const 32)) (call $reply))
  (func (export "canister_query get") (call $get))
  (func (export "canister_query grow_and_get") (drop (memory.grow (i32.const 5))) (i64.store (i32.const 200000) (i64.const 7)) (call $get))
  (func (export "canister_update bump") (call $bump) (call $reply))
  (func (export "canister_update grow") (drop (memory.grow (i32.const 1))) (call $reply))
  (func (export "canister_update bad") (call $bump) (drop (memory.grow (i32.const 3))) unreachable)
  (func (export "canister_update once") (memory.init $passive (i32.const 300) (i32.const 0) (i32.const 1)) (data.drop $passive) (call $reply))
  (func (export "canister_update loop") (call $bump)
    (call $self (i32.const 500) (i32.const 0) (i32.const 10))
    (call $call_new (i32.const 500) (i32.const 10) (i32.const 900) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (drop (call $perform)))
  (func (export "canister_update trap_late") (call $bump)
    (call $self (i32.const 500) (i32.const 0) (i32.const 10))
    (call $call_new (i32.const 500) (i32.const 10) (i32.const 900) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $perform)))
  (func $on_reply (param i32) (call $bump) unreachable)
  (func $on_reject (param i32) (i64.store (i32.const 100) (i64.extend_i32_u (call $code))) (call $append (i32.const 100) (i32.const 8)) (call $reply)))"#;

fn me() -> Principal {
    Principal::self_authenticating(b"test")
}

fn installed(host: &Host) -> Canister {
    let canister = host.create_canister(me(), CanisterSettings::default());
    let wasm = wat::parse_str(COUNTER).unwrap();
    host.install(canister, me(), InstallMode::Install, &wasm, b"").unwrap();
    canister
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

fn get(host: &Host, canister: Canister) -> Vec<u64> {
    numbers(&host.query(canister, me(), "get", b"").unwrap())
}

#[test]
fn a_trap_leaves_heap_global_stable_memory_and_size_as_they_were() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    host.update(canister, me(), "bump", b"").unwrap();
    let reject = host.update(canister, me(), "bad", b"").unwrap_err();
    assert_eq!((reject.code, reject.error_code.as_str()), (RejectCode::CanisterError, "IC0502"));
    assert_eq!(get(&host, canister), [1, 1, 1, 1]);
    host.update(canister, me(), "bump", b"").unwrap();
    assert_eq!(get(&host, canister), [2, 2, 2, 1]);
}

#[test]
fn a_query_may_grow_its_heap_and_leaves_nothing() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    host.update(canister, me(), "bump", b"").unwrap();
    assert_eq!(numbers(&host.query(canister, me(), "grow_and_get", b"").unwrap()), [1, 1, 1, 6]);
    assert_eq!(get(&host, canister), [1, 1, 1, 1]);
    host.update(canister, me(), "grow", b"").unwrap();
    assert_eq!(numbers(&host.query(canister, me(), "grow_and_get", b"").unwrap()), [1, 1, 1, 7]);
    assert_eq!(get(&host, canister), [1, 1, 1, 2]);
}

#[test]
fn a_trap_in_a_call_to_itself_is_contained() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    let reply = host.update(canister, me(), "loop", b"").unwrap();
    assert_eq!(numbers(&reply), [5]);
    assert_eq!(get(&host, canister), [1, 1, 1, 1], "what was written before the call stays");
}

#[test]
fn a_trap_in_a_callback_keeps_what_was_written_before() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    let reject = host.update(canister, me(), "trap_late", b"").unwrap_err();
    assert_eq!(reject.error_code, "IC0502");
    assert_eq!(host.last_cost().messages, 3, "the method, the call to itself and the callback");
    assert_eq!(get(&host, canister), [1, 1, 1, 1]);
}

#[test]
fn dropped_segments_are_back_in_the_next_message() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    host.update(canister, me(), "once", b"").unwrap();
    host.update(canister, me(), "bump", b"").unwrap();
    host.update(canister, me(), "once", b"").unwrap();
    assert_eq!(get(&host, canister), [1, 1, 1, 1]);
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    host.update(canister, me(), "bump", b"").unwrap();
    let trapping = COUNTER.replace(
        "(func $on_reply",
        "(func (export \"canister_post_upgrade\") (call $bump) unreachable) (func $on_reply",
    );
    let trapping = wat::parse_str(trapping).unwrap();
    assert!(host.install(canister, me(), InstallMode::Upgrade, &trapping, b"").is_err());
    assert_eq!(get(&host, canister), [1, 1, 1, 1]);
    let wasm = wat::parse_str(COUNTER).unwrap();
    host.install(canister, me(), InstallMode::Upgrade, &wasm, b"").unwrap();
    assert_eq!(get(&host, canister), [0, 0, 1, 1], "stable memory alone survives an upgrade");
    host.install(canister, me(), InstallMode::Reinstall, &wasm, b"").unwrap();
    assert_eq!(get(&host, canister), [0, 0, 0, 1]);
}

#[test]
fn a_saved_host_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::builder().seed(7).build().unwrap();
    let canister = installed(&host);
    host.update(canister, me(), "bump", b"").unwrap();
    host.update(canister, me(), "grow", b"").unwrap();
    host.add_cycles(canister, 1 << 100);
    host.save(folder.path()).unwrap();
    host.update(canister, me(), "bump", b"").unwrap();
    host.save(folder.path()).unwrap();

    let opened = Host::open(folder.path()).unwrap();
    assert_eq!(get(&opened, canister), [2, 2, 2, 2]);
    assert_eq!(opened.cycles(canister), host.cycles(canister));
    assert_eq!(opened.time_nanos(), host.time_nanos());
    assert_eq!(opened.stable_memory(canister), host.stable_memory(canister));
    for host in [&host, &opened] {
        host.update(canister, me(), "bump", b"").unwrap();
    }
    assert_eq!(opened.last_cost(), host.last_cost(), "what is charged does not depend on the detour");
    assert_eq!(get(&opened, canister), [3, 3, 3, 2]);
    let status = opened.status(canister, me()).unwrap();
    assert_eq!(status.state, CanisterState::Running);
    let random = |host: &Host| host.manage(me(), "raw_rand", b"DIDL\0\0").unwrap();
    assert_eq!(random(&opened), random(&host));
}

#[test]
fn a_cached_module_behaves_as_a_compiled_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let host = Host::builder().cache_dir(folder.path()).build().unwrap();
        let canister = installed(&host);
        host.update(canister, me(), "bump", b"").unwrap();
        (get(&host, canister), host.cycles(canister))
    };
    let compiled = run();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(run(), compiled);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::write(file.unwrap().path(), b"not machine code").unwrap();
    }
    assert_eq!(run(), compiled);
}

#[test]
fn a_module_larger_than_a_message_goes_in_chunks() {
    let host = Host::new().unwrap();
    let canister = host.create_canister(me(), CanisterSettings::default());
    let padded = format!(
        "{}(data (i32.const 2000) \"{}\"))",
        COUNTER.strip_suffix(')').unwrap().replace("(memory 1)", "(memory 100)"),
        "x".repeat(5 << 20)
    );
    let wasm = wat::parse_str(padded).unwrap();
    host.install(canister, me(), InstallMode::Install, &wasm, b"").unwrap();
    host.update(canister, me(), "bump", b"").unwrap();
    assert_eq!(get(&host, canister), [1, 1, 1, 100]);
    let stored = Encode!(&IdArgument { canister_id: canister }).unwrap();
    let chunks = host.manage(me(), "stored_chunks", &stored).unwrap();
    assert!(chunks.ends_with(&[0]), "the chunk store is empty again");
}

#[derive(candid::CandidType)]
struct IdArgument {
    canister_id: Principal,
}

#[test]
fn newer_schedules_charge_for_pages_touched() {
    let spent = |schedule: &str| {
        let host = Host::builder().schedule(schedule).build().unwrap();
        let canister = installed(&host);
        host.update(canister, me(), "bump", b"").unwrap();
        host.query(canister, me(), "get", b"").unwrap();
        host.last_cost().instructions
    };
    let (old, new) = (spent("2025-10"), spent("2026-07"));
    // One unit of the heap is read and written, one of stable memory read: three times 80,000.
    assert_eq!(new - old, 3 * 80_000);
    assert!(Host::builder().schedule("1999-01").build().is_err());
}

#[test]
fn a_measuring_host_grants_what_it_is_told() {
    let bump = |limit| {
        let host = Host::builder().update_limit(limit).build().unwrap();
        let canister = installed(&host);
        (host.update(canister, me(), "bump", b""), get(&host, canister)[0])
    };
    let (stopped, count) = bump(100);
    assert_eq!((stopped.unwrap_err().error_code.as_str(), count), ("IC0522", 0));
    assert!(matches!(bump(50_000_000_000), (Ok(_), 1)));
}

#[test]
fn storage_is_paid_for_as_time_passes() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    let before = host.cycles(canister);
    host.advance_time(std::time::Duration::from_secs(9));
    host.tick();
    assert_eq!(host.cycles(canister), before);
    host.advance_time(std::time::Duration::from_secs(24 * 3600));
    host.tick();
    let paid = before - host.cycles(canister);
    // A page of heap, the module and the history: 66.9 KB at 127,000 cycles a GiB and second.
    assert!((680_000..690_000).contains(&paid), "{paid}");
}

#[test]
fn an_answer_is_fetched_once() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    let call = host.submit(canister, me(), "bump", b"").unwrap();
    host.await_call(call).unwrap();
    assert!(host.await_call(call).is_err());
    assert_eq!(host.cost(call).map(|cost| cost.messages), Some(1));
}

#[test]
fn a_host_may_be_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let host = Host::new().unwrap();
    shared(&host);
    let canister = installed(&host);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| host.update(canister, me(), "bump", b"").unwrap());
        }
    });
    assert_eq!(get(&host, canister), [4, 4, 4, 1]);
}

#[test]
fn logs_are_fetched_by_a_query_to_the_subnet() {
    let host = Host::new().unwrap();
    let canister = installed(&host);
    host.update(canister, me(), "bad", b"").unwrap_err();
    let arg = Encode!(&IdArgument { canister_id: canister }).unwrap();
    let fetch = |who| host.query(Principal::management_canister(), who, "fetch_canister_logs", &arg);
    let reply = fetch(me()).unwrap();
    assert!(reply.windows(19).any(|window| window == b"[TRAP]: unreachable"));
    assert_eq!(fetch(Principal::anonymous()).unwrap_err().code, RejectCode::CanisterReject);
}
