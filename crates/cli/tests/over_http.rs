//! The program against a deployed canister: `--url` and `--canister`, over the HTTP interface. Needs the wasm, which
//! `./scripts/build-canister` builds.

mod program;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use ic_nn_client::{Client, ReplicaTransport};
use ic_nn_gateway::fences::fence;
use ic_nn_gateway::{Calls, Deployment};
use ic_nn_host::Host;
use ic_nn_types::{ChunkRequest, UploadSpec};
use program::{Said, command, finish, repository, run};
use serde_json::Value;
use sha2::{Digest, Sha256};

const MODEL: &str = "models/digits.onnx";
const SEVEN: &str = "models/digits/digit-7-0.png";
/// Where README.md has a local replica.
const LOCAL: &str = "http://127.0.0.1:4943";

/// Runs the program on the deployed canister with the key of this name, or without a key.
fn remote(deployment: &Deployment, key: Option<&str>, arguments: &[&str]) -> Said {
    let mut command = command(arguments);
    command.env("IC_NN_URL", deployment.gateway.url()).env("IC_NN_CANISTER", deployment.canister.to_text());
    if let Some(key) = key {
        command.env("IC_NN_IDENTITY", deployment.identity(key));
    }
    command.stdin(std::process::Stdio::null());
    finish(command)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_deployed_canister_is_used() {
    let deployment = Deployment::new(Calls::Awaited);
    let owner = |arguments: &[&str]| remote(&deployment, Some("owner"), arguments);
    let anyone = |arguments: &[&str]| remote(&deployment, None, arguments);
    assert_eq!(owner(&["upload", "digits", MODEL, "--label", "stable"]).ok(), "digits:1\n");
    assert_eq!(owner(&["load", "digits"]).ok().trim(), "1");
    assert!(anyone(&["list"]).ok().contains("digits:1"));

    let infer = ["infer", "digits@stable", "--input", SEVEN, "--top", "1", "--json"];
    let certified = json(&owner(&[&infer[..], &["--update"]].concat()).ok());
    let asked = json(&anyone(&infer).ok());
    for answer in [&certified, &asked] {
        assert_eq!(answer["answers"][0]["top"]["classes"][0]["index"], 7, "{answer}");
    }
    assert_eq!(certified["answers"][0]["outputs"], asked["answers"][0]["outputs"]);

    let stranger = deployment.principal("stranger").to_text();
    owner(&["roles", "grant", &stranger, "uploader"]).ok();
    let roles = json(&owner(&["roles", "list", "--json"]).ok());
    assert_eq!(roles[0]["principal"], stranger.as_str(), "{roles}");
    assert_eq!(remote(&deployment, Some("stranger"), &["upload", "theirs", MODEL]).ok(), "theirs:1\n");
    assert_eq!(owner(&["delete", "theirs", "--yes"]).ok(), "deleted 1 version\n");
}

#[test]
fn a_key_without_a_role_is_refused_in_words() {
    let deployment = Deployment::new(Calls::Awaited);
    for key in [Some("stranger"), None] {
        let error = remote(&deployment, key, &["upload", "digits", MODEL]).fails(1);
        assert!(error.contains("upload_begin") && error.contains("IC0406"), "{error}");
        assert!(error.contains("--identity") && error.contains("roles grant"), "{error}");
    }
    let error = remote(&deployment, Some("stranger"), &["roles", "list"]).fails(1);
    assert!(error.contains("security"), "{error}");
}

#[test]
fn a_canister_or_a_replica_that_is_not_there_is_told() {
    let deployment = Deployment::new(Calls::Awaited);
    let url = deployment.gateway.url().to_owned();
    // A canister id of the subnet that no canister has.
    let unknown = candid::Principal::from_slice(&[0, 0, 0, 0, 0, 99, 0, 0, 1, 1]).to_text();
    let wrong = ["--url", &url, "--canister", &unknown];
    for command in [&["list"][..], &["upload", "digits", MODEL]] {
        let error = remote(&deployment, Some("owner"), &[command, &wrong].concat()).fails(3);
        assert!(error.contains("IC0301") && error.contains("is --canister right"), "{error}");
    }
    let owner = deployment.identity("owner");
    let canister = deployment.canister.to_text();
    let kept = std::fs::read(&owner).unwrap();
    drop(deployment);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("me.pem");
    std::fs::write(&key, kept).unwrap();
    let gone = ["list", "--url", &url, "--canister", &canister, "--identity", key.to_str().unwrap()];
    let error = run(&gone).fails(3);
    assert!(error.contains("start a replica there"), "{error}");
}

#[test]
fn an_upload_that_broke_off_is_resumed() {
    let deployment = Deployment::new(Calls::Awaited);
    // Behind the model a field that ONNX does not know (number 100, 4 MiB), so that it takes several chunks.
    let mut model = std::fs::read(repository().join(MODEL)).unwrap();
    model.extend_from_slice(&[0xa2, 0x06, 0x80, 0x80, 0x80, 0x02]);
    model.resize(model.len() + (4 << 20), 7);
    let file = deployment.folder.path().join("padded.onnx");
    std::fs::write(&file, &model).unwrap();

    let sender = deployment.principal("owner");
    let host: &Host = &deployment.host;
    let begun = Client::new(ReplicaTransport::new(host, deployment.canister, sender));
    let spec = UploadSpec {
        name: "digits".into(),
        bytes: model.len() as u64,
        sha256: Sha256::digest(&model).to_vec(),
        ..Default::default()
    };
    let status = begun.upload_begin(&spec).unwrap();
    let data = model[..status.chunk_bytes as usize].to_vec();
    begun.upload_chunk(&ChunkRequest { upload: status.upload, index: 0, data }).unwrap();

    let said = remote(&deployment, Some("owner"), &["upload", "digits", file.to_str().unwrap()]);
    assert!(said.err.contains("resuming digits"), "{}", said.err);
    assert_eq!(said.ok(), "digits:1\n");
}

/// README.md's commands, but for the replica's address. The stand-in for `dfx` is what a build of the workspace leaves beside
/// the program.
#[test]
fn a_deployed_canister_is_used_as_the_readme_says() {
    let program = Path::new(env!("CARGO_BIN_EXE_ic-nn"));
    let stand_in = program.with_file_name("dfx");
    if !stand_in.exists() {
        let told = "the stand-in for dfx is not built; `cargo build -p ic-nn-gateway` does";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{told}");
        // Past the test harness, which keeps what a passing test prints.
        let _ =
            writeln!(std::io::stderr(), "skipped: a_deployed_canister_is_used_as_the_readme_says: {told}");
        return;
    }
    let deployment = Deployment::new(Calls::Awaited);
    let folder = deployment.folder.path();
    std::fs::copy(deployment.identity("owner"), folder.join("me.pem")).unwrap();
    std::os::unix::fs::symlink(repository().join("models"), folder.join("models")).unwrap();
    let programs = folder.join("programs");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(program, programs.join("ic-nn")).unwrap();
    std::os::unix::fs::symlink(&stand_in, programs.join("dfx")).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path))).unwrap();

    let document = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let block = fence(&document, "Deploy", "").unwrap_or_else(|e| panic!("README.md: {e}"));
    assert_eq!(block.matches(LOCAL).count(), 1, "{block}");
    let script = block.replace(LOCAL, deployment.gateway.url());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(folder).env("PATH", path);
    for variable in ["IC_NN_LOCAL", "IC_NN_IDENTITY"] {
        shell.env_remove(variable);
    }
    shell.env("STAND_IN_URL", deployment.gateway.url());
    shell.env("STAND_IN_CANISTERS", format!("ic_nn={}", deployment.canister));
    let said = finish(shell).ok();
    assert!(said.starts_with("digits:1\n1\n"), "{said}");
    assert!(said.contains("variant {\n    Ok = record {") && said.contains("\"probabilities\""), "{said}");
}
