//! The pass on a bare engine, against counters and results recorded from a replica.

use std::path::Path;

use serde_json::Value;
use wasmtime::{Caller, Config, Engine, InstancePre, Linker, Module, Store};

use super::*;

type Reply = Vec<u8>;

const BUDGET: i64 = 5_000_000_000;

/// Compiles a module with the few System API functions that the metering suites import.
fn compile(wasm: &[u8]) -> InstancePre<Reply> {
    let prepared = prepare(wasm).unwrap();
    let mut config = Config::new();
    config.wasm_tail_call(true).cranelift_nan_canonicalization(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::<Reply>::new(&engine);
    let ooi = || -> wasmtime::Result<()> { Err(wasmtime::Error::msg("out of instructions")) };
    linker.func_wrap(INJECTED_MODULE, OUT_OF_INSTRUCTIONS, ooi).unwrap();
    linker.func_wrap(INJECTED_MODULE, TRY_GROW_MEMORY, |grown: i32, _: i32| grown).unwrap();
    linker.func_wrap("ic0", "msg_reply", || {}).unwrap();
    let append = |mut caller: Caller<'_, Reply>, from: i32, len: i32| {
        charge(&mut caller, cost::api::PAYLOAD.of(len as u64));
        let memory = caller.get_export(MEMORY_EXPORT).unwrap().into_memory().unwrap();
        let bytes = memory.data(&caller)[from as usize..][..len as usize].to_vec();
        caller.data_mut().extend(bytes);
    };
    linker.func_wrap("ic0", "msg_reply_data_append", append).unwrap();
    let counter = |mut caller: Caller<'_, Reply>, _: i32| {
        BUDGET - charge(&mut caller, cost::api::PERFORMANCE_COUNTER.of(0))
    };
    linker.func_wrap("ic0", "performance_counter", counter).unwrap();
    let module = Module::new(&engine, &prepared.binary).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

/// Takes `amount` off the counter and answers what is left.
fn charge(caller: &mut Caller<'_, Reply>, amount: u64) -> i64 {
    let counter = caller.get_export(COUNTER_EXPORT).unwrap().into_global().unwrap();
    let left = counter.get(&mut *caller).unwrap_i64() - amount as i64;
    counter.set(caller, left.into()).unwrap();
    left
}

/// Runs a function on a fresh instance with `budget` instructions; answers its reply and the instructions used.
fn run(module: &InstancePre<Reply>, function: &str, budget: i64) -> (wasmtime::Result<Reply>, i64) {
    let mut store = Store::new(module.module().engine(), Reply::new());
    let instance = module.instantiate(&mut store).unwrap();
    let counter = instance.get_global(&mut store, COUNTER_EXPORT).unwrap();
    counter.set(&mut store, budget.into()).unwrap();
    let function = instance.get_typed_func::<(), ()>(&mut store, function).unwrap();
    let outcome = function.call(&mut store, ());
    let used = budget - counter.get(&mut store).unwrap_i64();
    (outcome.map(|()| store.into_data()), used)
}

/// Every recorded query of a suite answers the recorded bytes, counters included, but one that reads what an update left.
fn replay_queries(suite: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/replica");
    let module = compile(&std::fs::read(fixtures.join(suite).with_extension("wasm")).unwrap());
    let steps = std::fs::read_to_string(fixtures.join(suite).with_extension("jsonl")).unwrap();
    let (mut replayed, mut differ) = (0, Vec::new());
    for step in steps.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (true, Some(recorded)) = (step["op"] == "query", step["reply_hex"].as_str()) else { continue };
        let method = step["method"].as_str().unwrap();
        if method == "q_readback" {
            continue;
        }
        let (reply, _) = run(&module, &format!("canister_query {method}"), BUDGET);
        let reply = reply.map(hex::encode).unwrap_or_else(|trap| trap.to_string());
        replayed += 1;
        if reply != recorded {
            differ.push(format!("{} {method}: {reply}, recorded {recorded}", step["step"]));
        }
    }
    assert!(replayed > 0);
    assert!(differ.is_empty(), "{} of {replayed} differ\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn blocks_are_charged_as_recorded() {
    replay_queries("meter");
}

#[test]
fn operators_are_charged_as_recorded() {
    replay_queries("meter_ops");
}

#[test]
fn nans_are_as_recorded() {
    replay_queries("nan");
}

#[test]
fn an_endless_loop_ends_where_the_counter_does() {
    let wasm = wat::parse_str(r#"(module (func (export "canister_update f") (loop (br 0))))"#).unwrap();
    let (outcome, used) = run(&compile(&wasm), "canister_update f", 1_000);
    assert!(outcome.unwrap_err().root_cause().to_string().contains("out of instructions"));
    // 1 for the function, 2 for each `br`: the first check below zero is at 1,001.
    assert_eq!(used, 1_001);
}

#[test]
fn a_bulk_operation_is_paid_before_it_is_found_out_of_bounds() {
    let wasm = wat::parse_str(
        r#"(module (memory 1) (func (export "canister_update f")
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x10000000))))"#,
    )
    .unwrap();
    let (outcome, used) = run(&compile(&wasm), "canister_update f", BUDGET);
    assert!(outcome.is_err());
    assert_eq!(used, 1 + 3 + 100 + 0x1000_0000);
}

#[test]
fn a_charge_beyond_all_counting_stays_at_the_minimum() {
    let wasm = wat::parse_str(
        r#"(module (memory 1) (func (export "canister_update f")
            (memory.fill (i32.const 0) (i32.const 1) (i32.const -1))))"#,
    )
    .unwrap();
    let (outcome, used) = run(&compile(&wasm), "canister_update f", i64::MIN + 1_000 + i64::from(u32::MAX));
    assert!(outcome.is_err());
    assert_eq!(used, 104);
}

#[test]
fn gzip_is_unpacked_and_other_bytes_are_refused() {
    use std::io::Write;
    let wasm = wat::parse_str("(module (memory 1))").unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&wasm).unwrap();
    let (plain, packed) = (prepare(&wasm).unwrap(), prepare(&gzip.finish().unwrap()).unwrap());
    assert_eq!(plain.binary, packed.binary);
    for bytes in [&b""[..], b"wasm", b"\x1f\x8b\x08", b"\x1f\x8b\x08garbage"] {
        assert!(matches!(prepare(bytes), Err(InvalidModule::Format(_))), "{bytes:?}");
    }
    assert!(prepare(b"\0asm").is_err());
    assert!(prepare(&wasm[..wasm.len() - 1]).is_err());
}

#[test]
fn state_is_exported_and_the_rest_is_not() {
    let wasm = wat::parse_str(
        r#"(module (memory (export "m") 2 3) (table (export "t") 1 funcref)
            (global i32 (i32.const 1)) (global (export "g") (mut i64) (i64.const 2)) (global (mut f32) (f32.const 3))
            (func $s (nop)) (start $s) (func (export "memory")) (func (export "canister_query q")))"#,
    )
    .unwrap();
    let prepared = prepare(&wasm).unwrap();
    assert_eq!(prepared.mutable_globals, [1, 2]);
    assert_eq!(prepared.memory_pages, (2, Some(3)));
    assert_eq!(prepared.functions, 3);
    assert!(prepared.exports.start && prepared.exports.query.contains("q"));
    let module = Module::new(&Engine::default(), &prepared.binary).unwrap();
    let names: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
    let globals = [global_export(1), global_export(2)];
    let mut expected = vec!["canister_query q", COUNTER_EXPORT, &globals[0], &globals[1]];
    expected.extend([MEMORY_EXPORT, TABLE_EXPORT, START_EXPORT]);
    assert_eq!(names, expected);
}

#[test]
fn damaged_modules_are_refused_or_instrumented_to_valid_ones() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/replica");
    let sound = std::fs::read(fixtures.join("lifecycle.wasm")).unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut accepted = 0;
    for round in 0..2_000 {
        let mut damaged = sound.clone();
        for _ in 0..=random(3) {
            let at = 8 + random(damaged.len() - 8);
            damaged[at] = random(256) as u8;
        }
        if let Ok(prepared) = prepare(&damaged) {
            accepted += 1;
            let valid = wasmparser::Validator::new().validate_all(&prepared.binary).map(drop);
            assert!(valid.is_ok(), "round {round}: {valid:?}");
        }
    }
    assert!(accepted > 0);
}
