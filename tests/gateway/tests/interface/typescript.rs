//! The example in TypeScript: type-checked against bindings of the `.did`, compiled, and run by node.

use std::fs;
use std::process::Command;

use candid_parser::bindings::{javascript, typescript};
use ic_nn_gateway::{Calls, Deployment, repository};
use serde_json::Value;

/// What the block takes from around it.
const PRELUDE: &str = r#"import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
const canisterId = "CANISTER";
const identity = Ed25519KeyIdentity.fromSecretKey(Uint8Array.from(SECRET));
"#;

/// Where the block says the Internet Computer, a gateway of this machine and the key of an uploader.
const HOST: (&str, &str) =
    (r#"{ host: "https://icp-api.io" }"#, r#"{ host: "URL", identity, shouldFetchRootKey: true }"#);

/// What a test reads of it.
const SEQUEL: &str = r#"
const told = (_: string, value: unknown) => (typeof value === "bigint" ? value.toString() : value);
console.log(JSON.stringify({ loaded, certified, answer }, told));
"#;

#[test]
fn typescript_calls() {
    let Some(modules) = super::prepared("node_modules", "typescript_calls") else { return };
    let deployment = Deployment::new(Calls::Awaited);
    super::owner(&deployment).upload("digits", &super::digits(), &mut |_| {}).expect("the model is accepted");

    // What `didc bind` writes: it calls the same functions.
    let folder = deployment.folder.path();
    let did = repository("candid/ic_nn.did");
    let (types, service, program) = candid_parser::pretty_check_file(&did).expect("the interface is Candid");
    let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("a file");
    write("ic_nn.did.js", javascript::compile(&types, &service));
    write("ic_nn.did.d.ts", typescript::compile(&types, &service, &program));
    write("package.json", r#"{ "type": "module" }"#.to_owned());
    std::os::unix::fs::symlink(&modules, folder.join("node_modules")).expect("a link");

    let block = super::example("TypeScript", "ts");
    assert_eq!(block.matches(HOST.0).count(), 1, "the host of the example: {block}");
    let secret = deployment.secret("owner");
    let prelude = PRELUDE
        .replace("CANISTER", &deployment.canister.to_text())
        .replace("SECRET", &format!("{:?}", secret.as_slice()));
    write("as_it_stands.ts", format!("{prelude}{block}"));
    let here = block.replace(HOST.0, &HOST.1.replace("URL", deployment.gateway.url()));
    write("here.ts", format!("{prelude}{here}{SEQUEL}"));
    super::printed(
        Command::new("node")
            .arg(modules.join(".bin/tsc"))
            .args(["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"])
            .args(["as_it_stands.ts", "here.ts"])
            .current_dir(folder),
    );

    let said = super::printed(Command::new("node").arg("here.js").current_dir(folder));
    let answers: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(answers["loaded"]["Ok"], "1", "{said}");
    let outputs = |answer: &str| answers[answer]["Ok"]["outputs"].clone();
    assert_eq!(outputs("answer")[0][0], "probabilities", "{said}");
    assert_eq!(outputs("answer"), outputs("certified"), "{said}");
    assert!(said.contains("Float32Array(10)"), "{said}");
}
