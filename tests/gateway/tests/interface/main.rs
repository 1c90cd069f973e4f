//! INTERFACE.md's examples, run as they stand against the canister's real wasm behind a gateway.

mod canister;
mod outside;
mod shell;
mod typescript;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use ic_nn_client::{AgentTransport, Client};
use ic_nn_gateway::fences::fence;
use ic_nn_gateway::{Deployment, repository};

/// The block of a section of INTERFACE.md.
#[track_caller]
fn example(heading: &str, language: &str) -> String {
    let path = repository("INTERFACE.md");
    let document = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fence(&document, heading, language).unwrap_or_else(|e| panic!("INTERFACE.md: {e}")).to_owned()
}

/// The digits model of the examples.
fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the digits model is committed")
}

/// A client of the controller, over HTTP.
fn owner(deployment: &Deployment) -> Client<AgentTransport> {
    let key = deployment.identity("owner");
    let transport = AgentTransport::connect(deployment.gateway.url(), deployment.canister, Some(&key));
    Client::new(transport.expect("the gateway gives its root key"))
}

/// What a command that has to succeed printed.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\nstdout: {out}\nstderr: {err}",
        output.status
    );
    out.into_owned()
}

/// A program that `scripts/examples/run` leaves in `target/examples`; where it is missing the test is skipped, and fails
/// where `CI` is set.
fn prepared(path: &str, test: &str) -> Option<PathBuf> {
    let prepared = repository("target/examples").join(path);
    if prepared.exists() {
        return Some(prepared);
    }
    let told = format!("{test}: target/examples/{path} is missing; run scripts/examples/run");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{told}");
    // Past the test harness, which keeps what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped: {told}");
    None
}
