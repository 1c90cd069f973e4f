//! Puts a module's callback at its place ([`callback`]), writes it in fewer bytes ([`shrink`]), and prints what the Internet Computer
//! will say to it: code section, total, functions, install cost. Fails where the code section is over the bound that `scripts/build-canister` passes.

mod callback;
mod shrink;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};

/// The Internet Computer refuses a larger code section.
const MOST_CODE_BYTES: usize = 11 << 20;
/// And more functions than this.
const MOST_FUNCTIONS: u32 = 50_000;
/// Installing is charged this much for every instruction of the module.
const INSTRUCTIONS_PER_INSTRUCTION: u64 = 6_000;

fn main() -> ExitCode {
    match report() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn report() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [linked, path, bound] = args.as_slice() else {
        bail!("usage: ic-nn-wasm-report LINKED.wasm SHRUNK.wasm MAX_CODE_BYTES")
    };
    let bound: usize = bound.parse().with_context(|| format!("{bound} is no number of bytes"))?;
    let wasm = std::fs::read(linked).with_context(|| format!("cannot read {linked}"))?;
    let (wasm, merged) = shrink::shrink(&callback::place(&wasm)?)?;
    std::fs::write(path, &wasm).with_context(|| format!("cannot write {path}"))?;
    let (mut code, mut functions, mut instructions, mut largest) = (0usize, 0u32, 0u64, 0u64);
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload? {
            Payload::CodeSectionStart { count, size, .. } => (functions, code) = (count, size as usize),
            Payload::CodeSectionEntry(body) => {
                let mut reader = body.get_operators_reader()?;
                let mut own = 0u64;
                while !reader.eof() {
                    reader.read()?;
                    own += 1;
                }
                instructions += own;
                largest = largest.max(own);
            }
            _ => {}
        }
    }
    let install = instructions * INSTRUCTIONS_PER_INSTRUCTION;
    println!(
        "code section   {:>12} bytes  ({:.1}% of the limit, {MOST_CODE_BYTES})",
        code,
        share(code, MOST_CODE_BYTES)
    );
    println!("module         {:>12} bytes", wasm.len());
    println!(
        "functions      {functions:>12}        (limit {MOST_FUNCTIONS}; {merged} were the same as others)"
    );
    println!("instructions   {instructions:>12}        (largest function {largest}, limit 1000000)");
    println!(
        "install        {install:>12} instructions at {INSTRUCTIONS_PER_INSTRUCTION} each, about {:.1} B cycles on 13 nodes; the replica's metering adds some",
        install as f64 / 1e9
    );
    if code > bound {
        bail!(
            "the code section has {code} bytes, {bound} are allowed here; look at what a new dependency brings (docs/build.md)"
        );
    }
    Ok(())
}

fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}
