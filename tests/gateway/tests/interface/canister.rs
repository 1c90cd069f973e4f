//! The example for ic-cdk: built for wasm, installed beside the service, and paying its way in.

use std::path::PathBuf;
use std::process::Command;

use candid::{Decode, Encode};
use ic_nn_gateway::{Calls, Deployment, repository};
use ic_nn_host::{CanisterSettings, InstallMode, Replica};
use ic_nn_types::{InferResponse, Price};

/// Builds `tests/caller` for wasm and reads it.
fn caller() -> Vec<u8> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = super::printed(
        Command::new(cargo)
            .args(["build", "--locked", "--package", "ic-nn-caller", "--target", "wasm32-unknown-unknown"])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(repository("")),
    );
    let path = built
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            Some(message["filenames"].as_array()?.iter().map(|f| f.as_str().map(PathBuf::from)).collect())
        })
        .flat_map(|files: Vec<Option<PathBuf>>| files.into_iter().flatten())
        .find(|file| file.ends_with("ic_nn_caller.wasm"))
        .expect("cargo tells where the canister is");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_canister_pays_and_classifies() {
    let deployment = Deployment::new(Calls::Awaited);
    let owner = super::owner(&deployment);
    owner.upload("digits", &super::digits(), &mut |_| {}).expect("the model is accepted");
    owner.set_label("digits", "stable").expect("it is labelled");

    let (host, me) = (&deployment.host, deployment.principal("stranger"));
    let caller_id = host.create_canister(me, CanisterSettings::default());
    host.install(caller_id, me, InstallMode::Install, &caller(), b"DIDL\0\0").expect("the caller installs");
    let classify = || {
        let argument = Encode!(&deployment.canister, &vec![0f32; 64]).expect("it encodes");
        let reply = host.update(caller_id, me, "classify", &argument).expect("the caller answers");
        Decode!(&reply, Result<InferResponse, String>).expect("of the example's type")
    };

    // No price, no way in.
    let refused = classify().expect_err("the caller has no role");
    assert!(refused.contains("security"), "{refused}");
    let before = host.cycles(deployment.canister);
    owner.set_price(&Price { cycles_per_call: Some(1_000_000_000u64.into()) }).expect("a price");
    let answer = classify().expect("the caller pays");
    let probabilities = answer.outputs[0].1.to_f32().expect("floats");
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{probabilities:?}");
    assert!(host.cycles(deployment.canister) > before, "the price is more than the work");
}
