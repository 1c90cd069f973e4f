//! The program with the real canister on the embedded host. Needs the wasm, which `./scripts/build-canister` builds.

mod program;

use program::{command, finish, repository, run};
use serde_json::Value;

const MODEL: &str = "models/digits.onnx";
const SEVEN: &str = "models/digits/digit-7-0.png";
const LABELS: &str = "models/digits/labels.txt";

/// Fails with what to do where the canister is not built.
#[track_caller]
fn need_canister() {
    let built = ["target/ic-nn/ic_nn.wasm.gz", "target/ic-nn/ic_nn.wasm"];
    let there =
        std::env::var_os("IC_NN_WASM").is_some() || built.iter().any(|f| repository().join(f).is_file());
    assert!(there, "the canister is not built: run ./scripts/build-canister");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_model_file_is_run() {
    need_canister();
    let text = run(&["run", MODEL, "--input", SEVEN, "--top", "3", "--labels", LABELS]).ok();
    for word in ["probabilities", "[1, 10]", "probability", "of what a query may take", "cycles on 13 nodes"]
    {
        assert!(text.contains(word), "{word} in {text}");
    }
    let answer = json(&run(&["-q", "run", MODEL, "--input", SEVEN, "--top", "3", "--json"]).ok());
    let answer = &answer["answers"][0];
    assert_eq!(answer["top"]["classes"][0]["index"], 7);
    assert_eq!(answer["outputs"][0]["values"].as_array().unwrap().len(), 10);
    assert!(answer["instructions"].as_u64().unwrap() > 1_000_000);
    assert!(answer["cycles_13_nodes"].as_f64().unwrap() > answer["instructions"].as_f64().unwrap());
}

#[test]
fn a_folder_of_pictures_is_classified_and_survives_an_upgrade() {
    need_canister();
    let text = run(&["demo"]).ok();
    assert!(text.contains("$ ic-nn run models/digits.onnx"), "{text}");
    assert!(text.contains("answers are equal byte for byte"), "{text}");
    for digit in 0..10 {
        let row = text.lines().find(|line| line.contains(&format!("digit-{digit}-0.png"))).unwrap();
        let best = row.split_whitespace().nth(1).unwrap();
        assert_eq!(best, digit.to_string(), "{row}");
    }
}

#[test]
fn probabilities_are_those_of_the_training() {
    need_canister();
    let expected = std::fs::read_to_string(repository().join("models/digits/expected.json")).unwrap();
    let expected = json(&expected);
    let answers =
        json(&run(&["-q", "run", MODEL, "--input", "models/digits/", "--resize", "box", "--json"]).ok());
    let answers = answers["answers"].as_array().unwrap();
    let samples = expected["samples"].as_array().unwrap();
    assert_eq!(samples.len(), answers.len());
    for sample in samples {
        let answer = answers.iter().find(|a| a["input"] == sample["file"]).unwrap();
        let values = answer["outputs"][0]["values"].as_array().unwrap();
        for (value, expected) in values.iter().zip(sample["probabilities"].as_array().unwrap()) {
            // The training averages exactly, a picture in bytes to the nearest 255th.
            let off = (value.as_f64().unwrap() - expected.as_f64().unwrap()).abs();
            assert!(off < 0.01, "{}: {value}, not {expected}", sample["file"]);
        }
    }
}

#[test]
fn a_profile_counts_every_step() {
    need_canister();
    let text = run(&["profile", MODEL]).ok();
    for word in
        ["install", "upload and commit", "load", "first inference", "steady inference", "34 nodes", "free"]
    {
        assert!(text.contains(word), "{word} in {text}");
    }
    let profile = json(&run(&["-q", "profile", MODEL, "--input", SEVEN, "--json"]).ok());
    assert_eq!(profile["fits_query"], true);
    let steps = profile["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["instructions"].as_u64().unwrap() > 0), "{profile}");
    let again = json(&run(&["-q", "profile", MODEL, "--input", SEVEN, "--json"]).ok());
    assert_eq!(profile, again, "the same command counts the same");
}

#[test]
fn a_canister_is_kept_in_a_folder() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("canister");
    let local = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("IC_NN_LOCAL", &kept);
        finish(command)
    };
    assert!(local(&["list"]).ok().contains("no models yet"));
    assert_eq!(local(&["upload", "digits", MODEL]).ok(), "digits:1\n");
    assert_eq!(local(&["upload", "digits", MODEL]).ok(), "digits:2\n");
    assert!(local(&["list"]).ok().contains("digits:2"));
    let answer = json(&local(&["infer", "digits", "--input", SEVEN, "--top", "1", "--json"]).ok());
    assert_eq!(answer["model"], "digits:2");
    assert_eq!(answer["answers"][0]["top"]["classes"][0]["index"], 7);
    assert!(local(&["describe", "digits:1"]).ok().contains("digits:1"));
    let graph = local(&["load", "digits"]).ok();
    assert!(local(&["describe", "digits"]).ok().contains(&format!("as graph {}", graph.trim())));
    assert!(local(&["unload", "digits"]).ok().contains(graph.trim()));
    assert!(local(&["metadata"]).ok().contains("tract"));
    assert_eq!(local(&["admins", "list"]).ok(), "");
    assert_eq!(local(&["delete", "digits"]).ok(), "deleted 2 versions\n");
    let error = local(&["infer", "digits", "--input", SEVEN]).fails(1);
    assert!(error.contains("not_found") && error.contains("ic-nn list"), "{error}");
}

#[test]
fn inputs_that_do_not_fit_name_both_sides() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    std::fs::write(&file, "[[1, 2, 3]]").unwrap();
    let path = file.to_str().unwrap();
    let error = run(&["run", MODEL, "--input", path]).fails(2);
    assert!(error.contains("image (FP32 [?, 1, 8, 8])") && error.contains("holds [1, 3]"), "{error}");
    let error = run(&["run", MODEL, "--input", "picture=random:1"]).fails(2);
    assert!(error.contains("no input named \"picture\"") && error.contains("it takes image"), "{error}");
    let error = run(&["run", MODEL]).fails(2);
    assert!(error.contains("the model wants image"), "{error}");
    let broken = folder.path().join("broken.onnx");
    std::fs::write(&broken, "not a model").unwrap();
    let error = run(&["run", broken.to_str().unwrap(), "--input", "random:1"]).fails(1);
    assert!(error.contains("invalid_encoding"), "{error}");
}

#[test]
fn outputs_are_kept_as_arrays() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.npy");
    run(&["run", MODEL, "--input", SEVEN, "--save", file.to_str().unwrap()]).ok();
    let kept: ndarray::Array2<f32> = ndarray_npy::read_npy(&file).unwrap();
    assert_eq!(kept.shape(), [1, 10]);
    assert!((kept.sum() - 1.0).abs() < 1e-3);
    let both = folder.path().join("both");
    run(&["run", MODEL, "--input", "random:1", "random:2", "--save", both.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_dir(both).unwrap().count(), 2);
    run(&["run", MODEL, "--input", "random:1", "random:2", "--save", file.to_str().unwrap()]).fails(2);
}
