//! Random sequences of registry calls through the wasm, upgrades and traps of the engine between them, against a plain model
//! in memory. `IC_NN_STEPS` says how many; 2,000 unless it does. The same for the same number.

use std::collections::{BTreeMap, BTreeSet};

use ic_nn_client::ClientError;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, element};
use ic_nn_tests::service::{Service, refused, request};
use ic_nn_types::{DeleteRequest, ErrorCode, ListRequest, NamedTensor, Tensor};
use sha2::{Digest, Sha256};

const NAMES: [&str; 3] = ["a", "b", "c"];
const LABELS: [&str; 2] = ["stable", "canary"];
/// What the models make of 2 and -3.
const MODELS: [(&str, [f32; 2]); 3] = [("Neg", [-2.0, 3.0]), ("Relu", [2.0, 0.0]), ("Abs", [2.0, 3.0])];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

#[derive(Clone)]
struct Version {
    model: usize,
    retired: bool,
    graph: Option<u64>,
}

#[derive(Default)]
struct Name {
    published: u64,
    versions: BTreeMap<u64, Version>,
    labels: BTreeMap<&'static str, u64>,
}

/// What the registry should be.
#[derive(Default)]
struct Plain {
    names: BTreeMap<&'static str, Name>,
    last_graph: u64,
    /// Handles that were closed, and the model whose deletion closed them.
    closed: BTreeMap<u64, Option<String>>,
}

impl Plain {
    fn name(&mut self, name: &'static str) -> &mut Name {
        self.names.entry(name).or_default()
    }

    /// The version that a reference means for use.
    fn resolve(&mut self, name: &'static str, by: By) -> Option<u64> {
        let name = self.name(name);
        let version = match by {
            By::Latest => name.versions.iter().rev().find(|(_, v)| !v.retired).map(|(n, _)| *n)?,
            By::Number(n) => n,
            By::Label(label) => *name.labels.get(label)?,
        };
        name.versions.get(&version).filter(|v| !v.retired).map(|_| version)
    }
}

#[derive(Clone, Copy)]
enum By {
    Latest,
    Number(u64),
    Label(&'static str),
}

fn reference(name: &str, by: By) -> String {
    match by {
        By::Latest => name.to_owned(),
        By::Number(n) => format!("{name}:{n}"),
        By::Label(label) => format!("{name}@{label}"),
    }
}

fn files() -> Vec<Vec<u8>> {
    MODELS.iter().map(|(op, _)| onnx::unary(op, element::FLOAT, &[Dim::Is(2)])).collect()
}

/// A file that tract panics on when it is prepared.
fn panics() -> Vec<u8> {
    onnx::Model {
        nodes: vec![onnx::node("Transpose", &["x"], &["y"], vec![onnx::attribute_ints("perm", &[7])])],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(2)])],
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(2)])],
        ..onnx::Model::default()
    }
    .finish()
}

#[track_caller]
fn is_error<T: std::fmt::Debug>(result: Result<T, ClientError>, codes: &[ErrorCode], step: usize) {
    match result {
        Err(ClientError::Service { error, .. }) if codes.contains(&error.code) => {}
        other => panic!("step {step}: an error {codes:?} is expected, {other:?} came"),
    }
}

#[test]
fn the_registry_is_its_plain_model() {
    let steps = std::env::var("IC_NN_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    on_every_runtime("random calls", |replica| {
        let service = Service::deploy(replica, None);
        let mut walk = Walk { service, plain: Plain::default(), dice: Dice(0x1C), files: files() };
        for step in 0..steps {
            walk.step(step);
            if step % 50 == 0 {
                walk.compare(step);
            }
        }
        walk.compare(steps);
    });
}

struct Walk<'a> {
    service: Service<'a>,
    plain: Plain,
    dice: Dice,
    files: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn step(&mut self, step: usize) {
        let caller = self.service.controller();
        let name = NAMES[self.dice.roll(NAMES.len())];
        let published = self.plain.name(name).published;
        let number = 1 + self.dice.roll(published as usize + 1) as u64;
        let label = LABELS[self.dice.roll(LABELS.len())];
        let by = [By::Latest, By::Number(number), By::Label(label)][self.dice.roll(3)];
        let (invalid, absent) = (ErrorCode::InvalidArgument, ErrorCode::NotFound);
        match self.dice.roll(20) {
            0..=2 => {
                let model = self.dice.roll(MODELS.len());
                let version = self.service.upload(name, &self.files[model]).expect("it is accepted").version;
                let of = self.plain.name(name);
                of.published += 1;
                assert_eq!(version, of.published, "step {step}");
                of.versions.insert(version, Version { model, retired: false, graph: None });
            }
            3 => {
                let error = self.service.upload(name, &panics());
                is_error(error, &[ErrorCode::RuntimeError], step);
                self.service.abandon(name, &panics());
            }
            4 => self.service.upgrade(),
            5 | 6 => {
                let version = self.plain.name(name).versions.get(&number).cloned();
                let wrong = self.dice.roll(3) == 0;
                let file = version.as_ref().map_or(&self.files[0], |v| &self.files[v.model]);
                let sha256 = if wrong { vec![7; 32] } else { Sha256::digest(file).to_vec() };
                let result = caller.delete(&DeleteRequest { model: format!("{name}:{number}"), sha256 });
                match version {
                    None => is_error(result, &[absent], step),
                    Some(_) if wrong => is_error(result, &[invalid], step),
                    Some(version) => {
                        assert_eq!(result, Ok(1), "step {step}");
                        let of = self.plain.name(name);
                        of.versions.remove(&number);
                        of.labels.retain(|_, on| *on != number);
                        let deleted = Some(format!("{name}:{number}"));
                        self.plain.closed.extend(version.graph.map(|graph| (graph, deleted)));
                    }
                }
            }
            7 | 8 => {
                let result = caller.set_label(&format!("{name}:{number}"), label);
                let of = self.plain.name(name);
                match of.versions.get(&number) {
                    Some(version) if !version.retired => {
                        result.expect("it is set");
                        of.labels.insert(label, number);
                    }
                    _ => is_error(result, &[absent], step),
                }
            }
            9 => {
                let result = caller.remove_label(name, label);
                match self.plain.name(name).labels.remove(label) {
                    Some(_) => result.expect("it is removed"),
                    None => is_error(result, &[absent], step),
                }
            }
            10 => {
                let result = caller.retire(&format!("{name}:{number}"));
                let of = self.plain.name(name);
                let labelled = of.labels.values().any(|on| *on == number);
                match of.versions.get_mut(&number) {
                    None => is_error(result, &[absent], step),
                    Some(_) if labelled => is_error(result, &[invalid], step),
                    Some(version) => {
                        result.expect("it retires");
                        version.retired = true;
                    }
                }
            }
            11 => {
                let result = caller.restore(&format!("{name}:{number}"));
                match self.plain.name(name).versions.get_mut(&number) {
                    None => is_error(result, &[absent], step),
                    Some(version) => {
                        result.expect("it is restored");
                        version.retired = false;
                    }
                }
            }
            12 | 13 => {
                let result = caller.load_by_name(&reference(name, by));
                let Some(version) = self.plain.resolve(name, by) else {
                    return is_error(result, &[absent], step);
                };
                let graph = result.expect("it loads");
                let last = self.plain.last_graph;
                let version = self.plain.name(name).versions.get_mut(&version).expect("it resolved");
                match version.graph {
                    Some(open) => assert_eq!(graph, open, "step {step}: one handle while it is open"),
                    None => assert!(graph > last, "step {step}: {graph} was given before"),
                }
                version.graph = Some(graph);
                self.plain.last_graph = last.max(graph);
            }
            14 => {
                let graph = 1 + self.dice.roll(self.plain.last_graph as usize + 1) as u64;
                let result = caller.unload(graph);
                let open = self.plain.names.values_mut().flat_map(|n| n.versions.values_mut());
                match open.into_iter().find(|v| v.graph == Some(graph)) {
                    Some(version) => {
                        result.expect("it unloads");
                        version.graph = None;
                        self.plain.closed.insert(graph, None);
                    }
                    None => self.is_closed(graph, result, step),
                }
            }
            _ => {
                let x: Vec<NamedTensor> = vec![("x".into(), Tensor::from_f32(vec![2], &[2.0, -3.0]))];
                let request = request(&reference(name, by), x);
                let result = match self.dice.roll(2) {
                    0 => caller.infer(&request),
                    _ => caller.infer_query(&request),
                };
                let Some(version) = self.plain.resolve(name, by) else {
                    return is_error(result, &[absent], step);
                };
                let answer = result.unwrap_or_else(|e| panic!("step {step}: {e}"));
                assert_eq!(answer.version, version, "step {step}");
                let model = self.plain.name(name).versions[&version].model;
                assert_eq!(answer.outputs[0].1.to_f32(), Some(MODELS[model].1.to_vec()), "step {step}");
            }
        }
    }

    /// The whole registry, version by version.
    fn compare(&self, step: usize) {
        let caller = self.service.controller();
        let mut listed = vec![];
        let mut after = None;
        loop {
            let page = caller.list(&ListRequest { after, limit: Some(500) }).expect("a page");
            listed.extend(page.models);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let told: Vec<_> = listed
            .iter()
            .map(|m| {
                let labels: BTreeSet<_> = m.labels.iter().filter(|l| *l != "latest").cloned().collect();
                let latest = m.labels.iter().any(|l| l == "latest");
                (m.name.clone(), m.version, m.sha256.clone(), labels, latest)
            })
            .collect();
        let mut expected = vec![];
        for (name, of) in &self.plain.names {
            let latest = of.versions.iter().rev().find(|(_, v)| !v.retired).map(|(n, _)| *n);
            for (number, version) in &of.versions {
                let labels: BTreeSet<_> =
                    of.labels.iter().filter(|(_, on)| *on == number).map(|(l, _)| (*l).to_owned()).collect();
                let sha256 = Sha256::digest(&self.files[version.model]).to_vec();
                expected.push(((*name).to_owned(), *number, sha256, labels, latest == Some(*number)));
            }
        }
        assert_eq!(told, expected, "step {step}");
        for graph in self.plain.closed.keys() {
            self.is_closed(*graph, caller.describe_graph(*graph), step);
        }
    }

    /// What a handle answers that is not open: why, where its model was deleted.
    #[track_caller]
    fn is_closed<T: std::fmt::Debug>(&self, graph: u64, result: Result<T, ClientError>, step: usize) {
        match self.plain.closed.get(&graph) {
            Some(Some(model)) => {
                let error = refused(result, ErrorCode::NotFound, &[]);
                assert!(error.data.contains(&format!("model {model} was deleted")), "step {step}: {error}");
            }
            Some(None) | None => is_error(result, &[ErrorCode::InvalidArgument], step),
        }
    }
}
