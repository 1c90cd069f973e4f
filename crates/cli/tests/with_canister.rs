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
    let nodes = profile["profile"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["macs"].as_u64().unwrap() > 10_000), "{nodes:?}");
}

/// A file whose `y` is minus `x`, of any length.
fn minus() -> Vec<u8> {
    // A field of a protobuf message that is bytes, fewer than 128.
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let float = [8, 1];
    let shape = field(2, &field(1, &field(2, b"n")));
    let ty = field(2, &field(1, &[&float[..], &shape].concat()));
    let value = |name: &[u8]| [field(1, name), ty.clone()].concat();
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Neg")].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(b"x")), field(12, &value(b"y"))].concat();
    [vec![8, 8], field(7, &graph), field(8, &[16, 17])].concat()
}

#[test]
fn tensors_larger_than_a_call_go_in_parts() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, kept) = (path("minus.onnx"), path("canister"));
    std::fs::write(&model, minus()).unwrap();
    // 2.4 MB of input, and as many of output.
    let input = ["--input", "random:1", "--shape", "600000"];
    let answers = json(&run(&[&["-q", "run", &model, "--json"][..], &input].concat()).ok());
    let output = &answers["answers"][0]["outputs"][0];
    assert_eq!(output["dimensions"][0], 600_000, "{}", answers.to_string().len());
    let profile = run(&[&["profile", &model, "--nodes"][..], &input].concat());
    assert!(profile.err.contains("one call holds"), "{}", profile.err);
    assert!(profile.ok().contains("in parts"), "a query does not take it");
    run(&["upload", "minus", &model, "--local", &kept]).ok();
    let asked = run(&[&["infer", "minus", "--local", &kept][..], &input].concat());
    assert!(asked.err.contains("in parts, by updates"), "{}", asked.err);
    assert!(asked.ok().contains("600000"));
    // A receipt is of one call.
    let refused = run(&[
        "infer",
        "minus",
        "--local",
        &kept,
        "--receipt",
        &path("receipt"),
        "--input",
        "random:1",
        "--shape",
        "600000",
    ]);
    assert!(refused.code != 0 && refused.err.contains("receipt"), "{}", refused.err);
}

#[test]
fn quantised_weights_are_used_and_what_they_do_is_printed() {
    need_canister();
    let text = run(&["run", MODEL, "--input", SEVEN, "--top", "1", "--quantize", "int8"]).ok();
    assert!(text.contains("cosine") && text.contains("int8: ") && text.contains(" instead of "), "{text}");
    let profile = json(&run(&["-q", "profile", MODEL, "--quantize", "int8", "--json"]).ok());
    let own = json(&run(&["-q", "profile", MODEL, "--json"]).ok());
    let load = |profile: &serde_json::Value, from: &str| {
        let steps = profile["steps"].as_array().unwrap();
        steps.iter().find(|step| step["step"] == from).unwrap()["instructions"].as_u64().unwrap()
    };
    let (file, image) = (load(&profile, "load, from its file"), load(&profile, "load, from its image"));
    assert!(
        image > 1_000_000 && file > 3 * image,
        "{file}, {image}: loads are of a graph that was not there"
    );
    assert_ne!(profile["steps"], own["steps"]);
    assert!(run(&["run", MODEL, "--quantize", "int3"]).fails(2).contains("int8"), "it says what there is");
}

#[test]
fn a_profile_by_node_is_printed_and_drawn() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("profile.html");
    let text = run(&["profile", MODEL, "--nodes", "--page", page.to_str().unwrap()]).ok();
    assert!(text.contains("the dearest") && text.contains("a MAC") && text.contains("Convolution"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("width:100.00%"), "{page}");
    let refused = run(&["profile", MODEL, "--page", "no/such/folder/profile.html"]);
    assert!(refused.fails(2).contains("no/such/folder"), "it names the file");
}

#[test]
fn a_canister_is_kept_in_a_folder() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("canister");
    let local = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("IC_NN_LOCAL", &kept).stdin(std::process::Stdio::null());
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
    assert_eq!(local(&["roles", "list"]).ok(), "");
    // Nobody is there to be asked.
    let error = local(&["delete", "digits"]).fails(2);
    assert!(error.contains("digits:1  sha256") && error.contains("--yes"), "{error}");
    assert_eq!(local(&["delete", "digits", "--yes"]).ok(), "deleted 2 versions\n");
    let error = local(&["infer", "digits", "--input", SEVEN]).fails(1);
    assert!(error.contains("not_found") && error.contains("ic-nn list"), "{error}");
}

#[test]
fn jobs_are_submitted_waited_for_and_discarded() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let ic_nn = |arguments: &[&str]| kept(folder.path(), arguments);
    ic_nn(&["upload", "digits", MODEL]).ok();
    assert!(ic_nn(&["jobs", "list"]).ok().contains("no jobs"));
    let job = ic_nn(&["jobs", "submit", "digits", "--input", SEVEN, "--slice", "1"]).ok();
    assert_eq!(job, "1\n");
    // It goes on while it is waited for, and is kept between commands.
    let answer = json(&ic_nn(&["jobs", "wait", "1", "--top", "1", "--json"]).ok());
    assert_eq!(answer["answers"][0]["top"]["classes"][0]["index"], 7);
    assert_eq!(json(&ic_nn(&["jobs", "result", "1", "--top", "1", "--json"]).ok()), answer);
    let job = json(&ic_nn(&["jobs", "show", "1", "--json"]).ok());
    assert_eq!((&job["state"], &job["progress"]), (&"done".into(), &1.0.into()));
    assert!(ic_nn(&["jobs", "list"]).ok().contains("digits:1"));
    ic_nn(&["jobs", "cancel", "1"]).ok();
    assert!(ic_nn(&["jobs", "show", "1"]).fails(1).contains("discarded"));
    let said = ic_nn(&["jobs", "submit", "digits", "--input", SEVEN, "--wait", "--top", "1"]).ok();
    assert!(said.contains("instructions"), "{said}");
    let error = ic_nn(&["jobs", "result", "9"]).fails(1);
    assert!(error.contains("no job 9") && error.contains("ic-nn jobs list"), "{error}");
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

/// A command on a canister that is kept in `folder`.
fn kept(folder: &std::path::Path, arguments: &[&str]) -> program::Said {
    let mut command = command(arguments);
    command.env("IC_NN_LOCAL", folder.join("canister")).stdin(std::process::Stdio::null());
    finish(command)
}

#[test]
fn versions_are_labelled_retired_and_restored() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let ic_nn = |arguments: &[&str]| kept(folder.path(), arguments);
    let upload =
        ["upload", "digits", MODEL, "--licence", "MIT", "--meta", "task=digits", "--label", "stable"];
    assert_eq!(ic_nn(&upload).ok(), "digits:1\n");
    assert_eq!(ic_nn(&["upload", "digits", MODEL]).ok(), "digits:2\n");
    let described = json(&ic_nn(&["describe", "digits@stable", "--json"]).ok());
    assert_eq!(described["version"], 1);
    assert_eq!(described["provenance"]["licence"], "MIT");
    assert_eq!(described["provenance"]["metadata"]["task"], "digits");
    ic_nn(&["label", "digits:2", "stable"]).ok();
    let answer = json(&ic_nn(&["infer", "digits@stable", "--input", SEVEN, "--json"]).ok());
    assert_eq!(answer["model"], "digits:2");
    ic_nn(&["label", "digits", "stable", "--remove"]).ok();
    ic_nn(&["infer", "digits@stable", "--input", SEVEN]).fails(1);
    ic_nn(&["retire", "digits:2"]).ok();
    assert!(ic_nn(&["list"]).ok().contains("retired"));
    let answer = json(&ic_nn(&["infer", "digits", "--input", SEVEN, "--json"]).ok());
    assert_eq!(answer["model"], "digits:1", "`latest` is the newest version that is served");
    ic_nn(&["restore", "digits:2"]).ok();
    assert!(ic_nn(&["policy", "digits"]).ok().contains("every version"));
    assert!(ic_nn(&["policy", "digits", "--latest", "1"]).ok().contains("the newest version"));
    ic_nn(&["infer", "digits:1", "--input", SEVEN]).fails(1);
    let index = json(&ic_nn(&["index", "--json"]).ok());
    assert_eq!(index.as_array().unwrap().len(), 2, "{index}");
    let audit = json(&ic_nn(&["audit", "--json"]).ok());
    let methods: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|e| e["method"].clone()).collect();
    for method in ["upload_commit", "set_label", "remove_label", "retire", "restore", "set_version_policy"] {
        assert!(methods.contains(&method.into()), "{method} in {methods:?}");
    }
}

#[test]
fn a_receipt_is_verified_and_a_forged_one_is_not() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let ic_nn = |arguments: &[&str]| kept(folder.path(), arguments);
    let file = folder.path().join("seven.json");
    let receipt = file.to_str().unwrap();
    ic_nn(&["upload", "digits", MODEL]).ok();
    ic_nn(&["infer", "digits", "--input", SEVEN, "--receipt", receipt]).ok();
    assert!(ic_nn(&["verify", receipt, "--input", SEVEN]).ok().contains("valid"));
    let error = ic_nn(&["verify", receipt, "--input", "models/digits/digit-3-0.png"]).fails(1);
    assert!(error.contains("inputs") && error.contains("outputs"), "{error}");
    let forged = std::fs::read_to_string(&file).unwrap().replace("\"engine\": \"", "\"engine\": \"x");
    std::fs::write(&file, forged).unwrap();
    let error = ic_nn(&["verify", receipt, "--input", SEVEN]).fails(1);
    assert!(error.contains("engine") && error.contains("hash"), "{error}");
    let stats = json(&ic_nn(&["stats", "digits", "--json"]).ok());
    assert!(stats["success"].as_u64().unwrap() >= 1, "{stats}");
}

#[test]
fn roles_access_and_properties_are_shown_and_set() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let ic_nn = |arguments: &[&str]| kept(folder.path(), arguments);
    let who = "rrkah-fqaaa-aaaaa-aaaaq-cai";
    ic_nn(&["roles", "grant", who, "uploader"]).ok();
    assert!(ic_nn(&["roles", "list"]).ok().contains(who));
    ic_nn(&["roles", "revoke", who]).ok();
    assert_eq!(ic_nn(&["roles", "list"]).ok(), "");
    assert_eq!(json(&ic_nn(&["access", "show", "--json"]).ok())["infer"], "listed");
    ic_nn(&["access", "policy", "--infer", "authenticated"]).ok();
    ic_nn(&["access", "price", "1_000_000"]).ok();
    let access = json(&ic_nn(&["access", "show", "--json"]).ok());
    assert_eq!(access["infer"], "authenticated");
    assert_eq!(access["read"], "anyone");
    assert_eq!(access["cycles_per_call"], "1000000");
    ic_nn(&["access", "policy"]).fails(2);
    assert!(ic_nn(&["access", "quota", who, "5000000000"]).ok().contains("5.000 B a day"));
    ic_nn(&["upload", "digits", MODEL]).ok();
    assert!(ic_nn(&["properties", "list", "digits"]).fails(1).contains("ic-nn load digits"));
    ic_nn(&["load", "digits"]).ok();
    ic_nn(&["properties", "set", "digits", "cache", "8"]).ok();
    assert_eq!(ic_nn(&["properties", "get", "digits", "cache"]).ok(), "8\n");
    ic_nn(&["properties", "set", "digits", "cache"]).ok();
    ic_nn(&["properties", "get", "digits", "cache"]).fails(1);
    ic_nn(&["properties", "set", "digits", "colour", "red"]).fails(1);
    let capabilities = json(&ic_nn(&["capabilities", "--json"]).ok());
    assert!(capabilities["operators"].as_array().unwrap().contains(&"Conv".into()), "{capabilities}");
}

#[test]
fn a_model_is_cut_deployed_and_asked() {
    need_canister();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (shards, local) = (path("shards"), path("local"));
    let text = run(&["shard", MODEL, "--stages", "2", "--out", &shards]).ok();
    assert!(
        text.contains("2 stages and plan.json") && text.contains("the bits of the whole model"),
        "{text}"
    );
    let plan = json(&std::fs::read_to_string(folder.path().join("shards/plan.json")).unwrap());
    assert_eq!((plan["stages"].as_array().unwrap().len(), &plan["exact"]), (2, &Value::from(true)));
    let deploy = ["-q", "deploy", "digits", "--shards", &shards, "--local", &local, "--json"];
    let deployed = json(&run(&deploy).ok());
    assert_eq!(deployed["model"], "digits:1");
    let canisters: Vec<_> = deployed["stages"].as_array().unwrap().iter().map(|s| &s["canister"]).collect();
    assert!(canisters[0] != canisters[1] && *canisters[0] != deployed["front"], "{deployed}");
    let ask = ["-q", "infer", "digits", "--local", &local, "--input", SEVEN, "--top", "3", "--json"];
    let answer = json(&run(&ask).ok());
    let whole = json(&run(&["-q", "run", MODEL, "--input", SEVEN, "--top", "3", "--json"]).ok());
    assert_eq!(answer["answers"][0]["outputs"], whole["answers"][0]["outputs"]);
    // Again: what is there stays, on the same canisters.
    let again = json(&run(&deploy).ok());
    assert_eq!((&again["stages"], &again["model"]), (&deployed["stages"], &Value::from("digits:2")));
    // A file that is not what the plan is of.
    std::fs::write(folder.path().join("shards/stage-01.onnx"), b"other").unwrap();
    let error = run(&deploy).fails(2);
    assert!(error.contains("stage-01.onnx") && error.contains("not the file"), "{error}");
}
