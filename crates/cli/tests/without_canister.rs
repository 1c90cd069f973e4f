//! What the program does before a canister is needed: help, completions, files, and what it refuses.

mod program;

use program::{command, finish, run};

const MODEL: &str = "models/digits.onnx";

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = run(&["--help"]).ok();
    for word in ["run", "describe", "profile", "upload", "infer", "Exit codes", "Examples"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for verb in [
        "run",
        "describe",
        "profile",
        "demo",
        "upload",
        "list",
        "index",
        "infer",
        "verify",
        "load",
        "unload",
        "properties",
        "label",
        "policy",
        "retire",
        "restore",
        "delete",
        "stats",
        "metadata",
        "capabilities",
        "roles",
        "access",
        "audit",
    ] {
        assert!(run(&[verb, "--help"]).ok().contains("Usage: ic-nn"), "{verb}");
    }
}

#[test]
fn completions_are_printed() {
    assert!(run(&["completions", "bash"]).ok().contains("complete -F"));
    assert!(run(&["completions", "zsh"]).ok().contains("#compdef ic-nn"));
}

#[test]
fn a_file_is_described() {
    let text = run(&["describe", MODEL]).ok();
    for word in ["parameters", "multiply-adds", "image", "FP32", "[batch, 1, 8, 8]", "Conv", "fits a query"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&run(&["describe", MODEL, "--json"]).ok()).unwrap();
    assert_eq!(json["inputs"][0]["name"], "image");
    assert_eq!(json["inputs"][0]["dimensions"], serde_json::json!([null, 1, 8, 8]));
    assert!(json["multiply_adds"].as_u64().unwrap() > 100_000, "{json}");
    assert_eq!(json["operators"][0], serde_json::json!({ "operator": "Conv", "count": 3 }));
}

#[test]
fn what_is_no_model_is_the_engine_s_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.onnx");
    let path = file.to_str().unwrap();
    for content in [&b""[..], b"not a model", &[0xff; 64]] {
        std::fs::write(&file, content).unwrap();
        let error = run(&["describe", path]).fails(1);
        assert!(error.contains("not an ONNX model"), "{error}");
    }
    let model = std::fs::read(program::repository().join(MODEL)).unwrap();
    std::fs::write(&file, &model[..model.len() / 2]).unwrap();
    run(&["describe", path]).fails(1);
    assert!(run(&["describe", "missing.onnx"]).fails(2).contains("there is no file missing.onnx"));
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    run(&["run"]).fails(2);
    run(&["frobnicate"]).fails(2);
    assert!(run(&["run", "missing.onnx", "--input", "random:1"]).fails(2).contains("missing.onnx"));
    assert!(run(&["run", "models", "--input", "random:1"]).fails(2).contains("is a folder"));
    assert!(run(&["run", MODEL, "--input", "missing.png"]).fails(2).contains("no file missing.png"));
    assert!(run(&["run", MODEL, "--input", "Cargo.toml"]).fails(2).contains("sources end in"));
    run(&["list", "--local", "x", "--url", "http://localhost"]).fails(2);
    run(&["upload", "m", MODEL, "--meta", "no-pair", "--local", "x"]).fails(2);
    run(&["policy", "m", "--all", "--latest", "1", "--local", "x"]).fails(2);
    run(&["roles", "grant", "aaaaa-aa", "king", "--local", "x"]).fails(2);
}

#[test]
fn a_target_must_be_named_and_make_sense() {
    let error = run(&["list"]).fails(2);
    assert!(error.contains("no target is named") && error.contains("--local DIR"), "{error}");
    assert!(run(&["list", "--url", "http://127.0.0.1:1"]).fails(2).contains("--canister"));
    assert!(run(&["list", "--canister", "aaaaa-aa"]).fails(2).contains("--url"));
    let url = ["list", "--url", "nonsense", "--canister", "aaaaa-aa"];
    assert!(run(&url).fails(2).contains("is not a URL"));
    let id = ["list", "--url", "http://127.0.0.1:1", "--canister", "nonsense"];
    assert!(run(&id).fails(2).contains("--canister nonsense"));
    let pem = ["list", "--url", "https://icp-api.io", "--canister", "aaaaa-aa", "--identity", "Cargo.toml"];
    assert!(run(&pem).fails(2).contains("no private key"));
}

#[test]
fn a_replica_that_does_not_run_is_exit_code_3() {
    let error = run(&["list", "--url", "http://127.0.0.1:1", "--canister", "aaaaa-aa"]).fails(3);
    assert!(error.contains("cannot reach http://127.0.0.1:1") && error.contains("hint:"), "{error}");
    let mut by_variables = command(&["metadata"]);
    by_variables.env("IC_NN_URL", "http://127.0.0.1:1").env("IC_NN_CANISTER", "aaaaa-aa");
    finish(by_variables).fails(3);
}

#[test]
fn a_wasm_that_is_missing_or_none_is_exit_code_3_with_the_command_that_builds_it() {
    let error = run(&["run", MODEL, "--input", "random:1", "--wasm", "missing.wasm"]).fails(3);
    assert!(error.contains("missing.wasm") && error.contains("./scripts/build-canister"), "{error}");
    let mut by_variable = command(&["profile", MODEL]);
    by_variable.env("IC_NN_WASM", "Cargo.toml");
    assert!(finish(by_variable).fails(3).contains("neither wasm nor gzipped wasm"));
}

#[test]
fn a_reader_that_stops_ends_the_program_quietly() {
    let mut describe = command(&["describe", MODEL]);
    describe.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = describe.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}
