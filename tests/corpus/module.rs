//! The modules the corpus installs: recorded binaries, wat in the steps, and those too large to keep, made here.
//!
//! Every module is checked against its recorded sha256, because what an install costs depends on its bytes.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::step::Step;

/// The module a step installs.
///
/// # Panics
///
/// When its bytes are not the recorded ones.
pub fn module(fixtures: &Path, step: &Step) -> Vec<u8> {
    let wasm = match (&step.wat_file, &step.wat) {
        (Some(file), _) => {
            let path = fixtures.join(file);
            std::fs::read(path.with_extension("wasm")).unwrap_or_else(|_| {
                wat::parse_file(&path).unwrap_or_else(|e| panic!("step {}: {e}", step.step))
            })
        }
        (None, Some(wat)) => assemble(wat),
        (None, None) => made(fixtures, &step.comment)
            .unwrap_or_else(|| panic!("step {}: no rule to make {:?}", step.step, step.comment)),
    };
    assert_eq!(wasm.len(), step.wasm_len, "length of the module of step {} ({})", step.step, step.comment);
    let hash = hex::encode(Sha256::digest(&wasm));
    assert_eq!(hash, step.wasm_sha256, "hash of the module of step {} ({})", step.step, step.comment);
    wasm
}

fn assemble(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("recorded wat")
}

/// Modules of which only the recipe is recorded.
fn made(fixtures: &Path, comment: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = comment.split([' ', ',']).collect();
    let module = |fields: String| assemble(&format!("(module (memory 1) {fields})"));
    let repeat = |n: usize, field: fn(usize) -> String| (0..n).map(field).collect::<String>();
    Some(match words[..] {
        ["code", "section", "of", bytes, ..] => nops_in_23_functions(bytes.parse().ok()?),
        ["one", "function", "of", nops, ..] => binary(&[nops.parse().ok()?]),
        [functions, "empty", "functions", ..] => binary(&vec![0; functions.parse().ok()?]),
        [n, "globals"] => module(repeat(n.parse().ok()?, |_| "(global i32 (i32.const 0))".into())),
        [n, "exported", "query", "functions"] => module(format!(
            "(func $f) {}",
            repeat(n.parse().ok()?, |i| format!("(export \"canister_query q{i}\" (func $f))"))
        )),
        [n, "other", "exports"] => module(format!(
            "(func $f) {}",
            repeat(n.parse().ok()?, |i| format!("(export \"x{i}\" (func $f))"))
        )),
        ["method", "names", "of", bytes, ..] => {
            let name = "x".repeat(bytes.parse().ok()?);
            module(format!("(func (export \"canister_query {name}\"))"))
        }
        ["custom", "sections", "of", "1", "MiB", ..] => {
            let (first, second) = ("x".repeat((1 << 20) - 200), "y".repeat(201));
            module(format!("(@custom \"icp:public n\" \"{first}\") (@custom \"icp:public m\" \"{second}\")"))
        }
        [n, "parameters"] => module(format!("(func (param{}))", " i32".repeat(n.parse().ok()?))),
        [n, "locals"] => module(format!("(func (local{}))", " i32".repeat(n.parse().ok()?))),
        ["active", "data", "10", "000", ..] => {
            recorded_with(fixtures, &format!("(data (i32.const 70000) \"{}\")", "b".repeat(10_000)))
        }
        ["active", "data", "of", "zeros", ..] => {
            recorded_with(fixtures, &format!("(data (i32.const 69632) \"{}\")", "\\00".repeat(4096)))
        }
        ["passive", "data", ..] => recorded_with(fixtures, &format!("(data \"{}\")", "b".repeat(10_000))),
        ["1", "000", "nops", ..] => recorded_with(fixtures, &format!("(func {})", "nop ".repeat(1000))),
        _ => return None,
    })
}

/// The module of `meter_install` that shows what start and init did, with a field more behind its memory.
fn recorded_with(fixtures: &Path, field: &str) -> Vec<u8> {
    let suite = super::steps(fixtures, "meter_install");
    let base = suite.iter().find_map(|step| step.wat.as_ref()).expect("a module with a wat");
    let memory = "(memory (export \"memory\") 64)";
    assemble(&base.replace(memory, &format!("{memory} {field}")))
}

/// A module whose code section has this size, function count included: 22 functions of 1/23 of it and one of the rest.
fn nops_in_23_functions(section: usize) -> Vec<u8> {
    // Each entry has a size of three bytes, no locals and an end.
    const ENTRY: usize = 3 + 1 + 1;
    let bodies = section - 1;
    let entry = bodies / 23;
    let mut nops = [entry - ENTRY; 23];
    nops[22] = bodies - 22 * entry - ENTRY;
    binary(&nops)
}

/// A module of a memory and functions of nops.
fn binary(nops: &[usize]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    let count = leb(nops.len());
    section(&mut wasm, 1, &[1, 0x60, 0, 0]);
    section(&mut wasm, 3, &[&count[..], &vec![0; nops.len()]].concat());
    section(&mut wasm, 5, &[1, 0, 1]);
    let mut code = count;
    for &nops in nops {
        code.extend(leb(nops + 2));
        code.push(0);
        code.resize(code.len() + nops, 0x01);
        code.push(0x0b);
    }
    section(&mut wasm, 10, &code);
    wasm
}

fn section(wasm: &mut Vec<u8>, id: u8, contents: &[u8]) {
    wasm.push(id);
    wasm.extend(leb(contents.len()));
    wasm.extend_from_slice(contents);
}

fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}
