//! The examples for the shell, with the stand-in for `dfx` and `icp` on the path.

use std::path::{Path, PathBuf};
use std::process::Command;

use ic_nn_gateway::{Calls, Deployment};

/// A shell in the deployment's folder, whose path has the stand-ins and nothing that is installed under their names.
fn shell(deployment: &Deployment, script: &str) -> Command {
    let programs = programs(deployment.folder.path());
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(deployment.folder.path())
        .env("PATH", path_with(&programs))
        .env("STAND_IN_URL", deployment.gateway.url())
        .env("STAND_IN_CANISTERS", format!("ic_nn={}", deployment.canister))
        .env("STAND_IN_IDENTITY", deployment.identity("owner"));
    command
}

fn programs(folder: &Path) -> PathBuf {
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs).expect("a folder in a temporary folder");
    for name in ["dfx", "icp"] {
        let link = programs.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dfx"), &link).expect("a link");
        }
    }
    programs
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(first.to_owned()).chain(std::env::split_paths(&path)))
        .expect("folders without colons")
}

/// The bytes of every blob in an answer, as it was printed.
fn blobs(answer: &str) -> Vec<&str> {
    answer.split("blob \"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// What the three calls of the example printed.
#[track_caller]
fn holds(said: &str) {
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let answers: Vec<&str> = said.split("variant { Ok = ").skip(1).collect();
    let [loaded, certified, asked] = answers.as_slice() else { panic!("three answers: {said}") };
    assert!(loaded.starts_with("1 : nat64"), "{loaded}");
    for answer in [certified, asked] {
        assert!(answer.starts_with("record") && answer.contains("\"probabilities\""), "{answer}");
        assert_eq!(blobs(answer).len(), 1, "one output: {answer}");
    }
    assert_eq!(blobs(certified), blobs(asked));
}

#[test]
fn dfx_and_icp_cli_call() {
    let deployment = Deployment::new(Calls::Awaited);
    super::owner(&deployment).upload("digits", &super::digits(), &mut |_| {}).expect("the model is accepted");
    let block = super::example("dfx, icp-cli", "bash");
    holds(&super::printed(&mut shell(&deployment, &block)));

    // What stands behind each call for the other program, in the place of the call.
    let other: Vec<&str> = block
        .lines()
        .map(|line| match line.split_once("# icp ") {
            Some((call, _)) if call.starts_with("dfx ") => &line[call.len() + 2..],
            _ => line,
        })
        .collect();
    assert_eq!(other.iter().filter(|line| line.starts_with("icp ")).count(), 3, "{other:?}");
    holds(&super::printed(&mut shell(&deployment, &other.join("\n"))));

    let id = super::printed(&mut shell(&deployment, "dfx canister id ic_nn"));
    assert_eq!(id.trim(), deployment.canister.to_text());
}

#[test]
fn a_refusal_reaches_the_shell() {
    let deployment = Deployment::new(Calls::Awaited);
    let mut call = shell(&deployment, "dfx canister call ic_nn load_by_name '(\"digits\")'");
    let output = call.env("STAND_IN_IDENTITY", deployment.identity("stranger")).output().expect("bash");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{told}");
    assert!(told.contains("CanisterReject") && told.contains("IC0406"), "{told}");
    let output =
        shell(&deployment, "dfx canister call ic_nn append_chunk '(blob \"\\00\")'").output().expect("bash");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("no upload open"), "{told}");
}

#[test]
fn ic_file_uploader_uploads() {
    let deployment = Deployment::new(Calls::Awaited);
    let block = super::example("From `ic-file-uploader`", "bash");
    let uploader = super::prepared("bin/ic-file-uploader", "ic_file_uploader_uploads");
    let mut model = super::digits();
    if uploader.is_some() {
        // Behind the model a field that ONNX does not know (number 100, 4 MiB), so that it is three of the tool's chunks.
        model.extend_from_slice(&[0xa2, 0x06, 0x80, 0x80, 0x80, 0x02]);
        model.resize(model.len() + (4 << 20), 7);
    }
    std::fs::write(deployment.folder.path().join("model.onnx"), model).expect("a file");
    // Without the program, one call stands for it: the same method with the same shape of argument, from a file.
    let script = if let Some(uploader) = &uploader {
        let link = programs(deployment.folder.path()).join("ic-file-uploader");
        std::os::unix::fs::symlink(uploader, link).expect("a link");
        block.clone()
    } else {
        assert!(
            block.contains("\nic-file-uploader ic_nn append_parallel_chunk model.onnx --parallel\n"),
            "{block}"
        );
        let call = "{ printf '(0 : nat32, blob \"'; od -An -v -tx1 model.onnx | tr -d '\\n' | sed 's/ /\\\\/g'; \
             printf '\")'; } > argument\n\
             dfx canister call ic_nn append_parallel_chunk --argument-file argument";
        block.replace("ic-file-uploader ic_nn append_parallel_chunk model.onnx --parallel", call)
    };
    let said = super::printed(&mut shell(&deployment, &script));
    assert!(said.contains("upload = 1 : nat64") && said.contains("version = 1 : nat64"), "{said}");
    // The tool's other way sends chunks in order, to the other method.
    let (sequential, version) = match &uploader {
        Some(_) => {
            let other =
                block.replace("append_parallel_chunk model.onnx --parallel", "append_chunk model.onnx");
            (other.replace("'(1 : nat64)'", "'(2 : nat64)'"), 2)
        }
        None => (String::new(), 1),
    };
    super::printed(&mut shell(&deployment, &sequential));
    let describe = format!("dfx canister call ic_nn describe '(\"m:{version}\")'");
    let described = super::printed(&mut shell(&deployment, &describe));
    assert!(described.contains("name = \"m\"") && described.contains("\"probabilities\""), "{described}");
}
