//! `dfx.json` and `icp.yaml`: valid by the schemas of the tools that read them, and both of the one build script.
//!
//! The schemas lie beside the checkout where there are any; without them the documents are still held to the script.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The build that both tools run, and the module that it leaves.
const BUILD: &str = "scripts/build-canister";
const MODULE: &str = "target/ic-nn/ic_nn.wasm.gz";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn dfx_json() -> Value {
    serde_json::from_str(&read(&root().join("dfx.json"))).expect("dfx.json is JSON")
}

fn icp_yaml() -> Value {
    serde_saphyr::from_str(&read(&root().join("icp.yaml"))).expect("icp.yaml is YAML")
}

/// The schema of that name; `None`, said on stderr past the test harness, where it is not beside the checkout.
fn schema(name: &str) -> Option<jsonschema::Validator> {
    let path = root().join("../shared/data").join(name);
    if !path.is_file() {
        let _ = writeln!(std::io::stderr(), "skipped: {name} is not beside the checkout (../shared/data)");
        return None;
    }
    let schema = serde_json::from_str(&read(&path)).expect("the schema is JSON");
    Some(jsonschema::validator_for(&schema).expect("the schema is one"))
}

fn faults(schema: &jsonschema::Validator, document: &Value) -> Vec<String> {
    schema.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

/// `document` with `value` at `pointer`.
fn with(document: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = document.clone();
    *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is in the document")) = value;
    changed
}

#[test]
fn dfx_json_is_valid() {
    let Some(schema) = schema("dfx-json-schema.json") else { return };
    let document = dfx_json();
    assert_eq!(faults(&schema, &document), [""; 0]);
    for (pointer, wrong) in [
        ("/canisters/ic_nn/type", json!("rust")),
        ("/canisters/ic_nn/wasm", json!(7)),
        ("/canisters/ic_nn/build", json!({ "command": BUILD })),
        ("/canisters", json!([])),
        ("/version", json!("one")),
    ] {
        assert_ne!(faults(&schema, &with(&document, pointer, wrong)), [""; 0], "{pointer}");
    }
}

#[test]
fn icp_yaml_is_valid() {
    let Some(schema) = schema("icp-yaml-schema.json") else { return };
    let document = icp_yaml();
    assert_eq!(faults(&schema, &document), [""; 0]);
    for (pointer, wrong) in [
        ("/canisters/0/name", json!(null)),
        ("/canisters/0/build/steps/0/type", json!("shell")),
        ("/canisters/0/build/steps/0/commands", json!(BUILD)),
        ("/canisters/0/build", json!({})),
        ("/canisters", json!({})),
    ] {
        assert_ne!(faults(&schema, &with(&document, pointer, wrong)), [""; 0], "{pointer}");
    }
}

#[test]
fn both_build_by_the_one_script() {
    let dfx = &dfx_json()["canisters"]["ic_nn"];
    assert_eq!(dfx["build"], BUILD);
    assert_eq!(dfx["wasm"], MODULE);
    assert_eq!(dfx["candid"], "candid/ic_nn.did");
    // dfx writes the module anew for a metadata entry, and its sha256 would not be the script's; the module carries its
    // interface itself.
    assert_eq!(dfx.get("metadata"), None);

    let icp = &icp_yaml()["canisters"][0];
    assert_eq!(icp["name"], "ic_nn");
    let commands = &icp["build"]["steps"][0]["commands"];
    assert_eq!(*commands, json!([BUILD, format!("cp {MODULE} \"$ICP_WASM_OUTPUT_PATH\"")]));

    let script = read(&root().join(BUILD));
    assert!(
        script.contains("out=${IC_NN_OUT:-target/ic-nn}\n") && script.contains("\"$out/ic_nn.wasm.gz\""),
        "{script}"
    );
}

#[test]
fn both_install_with_the_defaults() {
    assert_eq!(dfx_json()["canisters"]["ic_nn"]["init_arg"], "(null)");
    assert_eq!(icp_yaml()["canisters"][0]["init_args"], "(null)");
}

#[test]
fn the_module_carries_its_interface_for_all_to_read() {
    let path = root().join("target/ic-nn/ic_nn.wasm");
    let Ok(module) = fs::read(&path) else {
        let _ = writeln!(std::io::stderr(), "skipped: the canister is not built ({BUILD})");
        return;
    };
    let mut section = b"icp:public candid:service".to_vec();
    section.extend(fs::read(root().join("candid/ic_nn.did")).expect("the interface"));
    assert!(
        module.windows(section.len()).any(|bytes| bytes == section),
        "no section candid:service that is candid/ic_nn.did; build again with {BUILD}"
    );
}
