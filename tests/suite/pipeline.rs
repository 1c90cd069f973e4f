//! Models in stages on several canisters: the same bits as on one, and what becomes of requests when a stage is not as it was.

use candid::{Decode, Encode, Principal};
use ic_nn_engine::Limits;
use ic_nn_engine::shard::{Cut, Sharded, shard};
use ic_nn_host::{CanisterSettings, InstallMode, Replica};
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Model, element, node, tensor, value};
use ic_nn_tests::service::{
    Service, controller, module, principal, refused, repository, request, spec, stranger,
};
use ic_nn_types::{
    ComputeOptions, Error, ErrorCode, EstimateRequest, GraphEncoding, InferParameters, InferRequest,
    InferResponse, InitArgs, JobRequest, JobState, NamedTensor, Pipeline, PipelineStage, Role, Tensor,
    UploadSpec, VerifyRequest,
};
use sha2::{Digest, Sha256};

/// A model on a front and its stages, each on a canister of its own.
pub(crate) struct Line<'a> {
    pub(crate) front: Service<'a>,
    pub(crate) stages: Vec<Service<'a>>,
    manifest: Pipeline,
    sharded: Sharded,
}

impl<'a> Line<'a> {
    /// Cuts a model, deploys the stages, and serves them as `model` on the front.
    pub(crate) fn deploy(replica: &'a dyn Replica, file: &[u8], cut: &Cut) -> Line<'a> {
        let line = Line::apart(replica, file, cut);
        line.publish().expect("the manifest is accepted");
        line.front.controller().load_by_name("model").expect("every stage is in order");
        line
    }

    /// The same, without the manifest.
    fn apart(replica: &'a dyn Replica, file: &[u8], cut: &Cut) -> Line<'a> {
        let sharded = shard(vec![file.to_vec()], cut, &Limits::default()).expect("it is cut");
        let front = Service::deploy(replica, None);
        let mut stages = vec![];
        let mut manifest = Pipeline {
            inputs: sharded.inputs.iter().map(|input| input.name.clone()).collect(),
            outputs: sharded.outputs.clone(),
            stages: vec![],
        };
        for stage in &sharded.stages {
            let service = Service::deploy(replica, None);
            service.serve("part", &stage.file);
            service.grant(front.canister, Role::Caller);
            manifest.stages.push(PipelineStage {
                canister: service.canister,
                model: "part".into(),
                version: 1,
                sha256: Sha256::digest(&stage.file).into(),
                takes: stage.takes.clone(),
                gives: stage.gives.clone(),
            });
            stages.push(service);
        }
        Line { front, stages, manifest, sharded }
    }

    pub(crate) fn publish(&self) -> Result<ic_nn_types::ModelVersion, ic_nn_client::ClientError> {
        self.front.upload("model", &self.manifest.encode().expect("it encodes"))
    }

    pub(crate) fn infer(
        &self,
        inputs: &[NamedTensor],
    ) -> Result<Vec<NamedTensor>, ic_nn_client::ClientError> {
        self.front.infer("model", inputs.to_vec())
    }
}

pub(crate) fn stages(stages: usize) -> Cut {
    Cut { stages: Some(stages), ..Default::default() }
}

fn digits() -> Vec<u8> {
    std::fs::read(repository("models/digits.onnx")).expect("the model is in the repository")
}

fn images(batch: u32, seed: u32) -> Vec<NamedTensor> {
    let pixels: Vec<f32> = (0..batch * 64).map(|i| ((i * 7 + seed * 13) % 17) as f32 / 16.0).collect();
    vec![("image".into(), Tensor::from_f32(vec![batch, 1, 8, 8], &pixels))]
}

fn floats(count: usize, seed: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|i| ((((i * 7919 + seed * 31) % 1009) as f32) / 2018.0 - 0.25).to_le_bytes())
        .collect()
}

pub(crate) fn constant(name: &str, rows: usize, columns: usize, seed: usize) -> onnx::Message {
    tensor(name, element::FLOAT, &[rows as i64, columns as i64], &floats(rows * columns, seed))
}

/// Rows of 16 numbers, each widened to so many and back to 4.
pub(crate) fn wide(columns: usize) -> Vec<u8> {
    let shape = |n: i64| [Dim::Named("rows"), Dim::Is(n)];
    Model {
        nodes: vec![node("MatMul", &["x", "w"], &["h"], vec![]), node("MatMul", &["h", "v"], &["y"], vec![])],
        inputs: vec![value("x", element::FLOAT, &shape(16))],
        outputs: vec![value("y", element::FLOAT, &shape(4))],
        initializers: vec![constant("w", 16, columns, 1), constant("v", columns, 4, 2)],
        ..Default::default()
    }
    .finish()
}

pub(crate) fn rows(count: u32) -> Vec<NamedTensor> {
    vec![(
        "x".into(),
        Tensor {
            dimensions: vec![count, 16],
            ty: ic_nn_types::TensorType::FP32,
            data: floats(count as usize * 16, 3),
        },
    )]
}

/// Two branches of a product each, that meet, and a skip over all of it.
fn branches() -> Vec<u8> {
    let shape = [Dim::Is(8), Dim::Is(64)];
    Model {
        nodes: vec![
            node("MatMul", &["x", "a"], &["left"], vec![]),
            node("MatMul", &["x", "b"], &["right"], vec![]),
            node("MatMul", &["left", "c"], &["low"], vec![]),
            node("Add", &["low", "right"], &["sum"], vec![]),
            node("MatMul", &["sum", "d"], &["z"], vec![]),
            node("Add", &["z", "x"], &["y"], vec![]),
        ],
        inputs: vec![value("x", element::FLOAT, &shape)],
        outputs: vec![value("y", element::FLOAT, &shape), value("left", element::FLOAT, &shape)],
        initializers: ["a", "b", "c", "d"]
            .iter()
            .enumerate()
            .map(|(ix, n)| constant(n, 64, 64, ix))
            .collect(),
        ..Default::default()
    }
    .finish()
}

#[test]
fn three_canisters_answer_what_one_does() {
    on_every_runtime("pipelines", |replica| {
        let one = Service::deploy(replica, None);
        one.serve("model", &digits());
        let line = Line::deploy(replica, &digits(), &stages(2));
        assert_eq!(line.stages.len(), 2);
        for (batch, seed) in [(1, 1), (1, 2), (5, 3), (64, 4)] {
            let expected = one.infer("model", images(batch, seed)).expect("it infers");
            assert_eq!(
                line.infer(&images(batch, seed)).expect("its stages infer"),
                expected,
                "{batch} images"
            );
        }
        // By a context, as callers of large tensors do.
        let caller = line.front.controller();
        let graph = caller.load_by_name("model").expect("it is loaded");
        let context = caller.init_execution_context(graph).expect("a context");
        caller.set_input(context, "image", &images(3, 9)[0].1, None).expect("an input");
        let options = ComputeOptions { outputs: Some(vec!["logits".into()]), ..Default::default() };
        let computed = caller.compute(context, &[], None).expect("it computes");
        assert_eq!(computed, one.infer("model", images(3, 9)).expect("it infers"));
        refused(caller.compute(context, &[], Some(&options)), ErrorCode::InvalidArgument, &["logits"]);
        caller.finalize_execution_context(context).expect("it is closed");
        // By index, with a receipt that holds.
        let parameters = Some(InferParameters { receipt: Some(true), ..Default::default() });
        let asked =
            InferRequest { parameters, outputs: Some(vec!["0".into()]), ..request("model", images(1, 1)) };
        let answer = caller.infer(&asked).expect("it infers");
        let receipt = answer.receipt.expect("it was asked for");
        assert_eq!(receipt.model, Sha256::digest(line.manifest.encode().expect("it encodes")).to_vec());
        let verdict = caller.verify_receipt(&VerifyRequest { receipt, inputs: images(1, 1), outputs: None });
        assert!(verdict.is_ok_and(|v| v.valid && v.recomputed));
        // What is wrong is told as for any model, and costs no call.
        refused(line.front.infer("model", rows(1)), ErrorCode::InvalidArgument, &["`x`", "`image`"]);
        refused(line.front.infer("model", vec![]), ErrorCode::InvalidArgument, &["missing"]);
    });
}

#[test]
fn branches_and_skips_answer_what_one_canister_does() {
    on_every_runtime("branches of pipelines", |replica| {
        let one = Service::deploy(replica, None);
        one.serve("model", &branches());
        let line = Line::deploy(replica, &branches(), &stages(4));
        let data = floats(8 * 64, 7);
        let x = Tensor { dimensions: vec![8, 64], ty: ic_nn_types::TensorType::FP32, data };
        let inputs = vec![("x".to_owned(), x)];
        let expected = one.infer("model", inputs.clone()).expect("it infers");
        assert_eq!(expected.len(), 2);
        assert_eq!(line.infer(&inputs).expect("its stages infer"), expected);
    });
}

#[test]
fn tensors_over_a_message_go_in_parts() {
    on_every_runtime("pipelines in parts", |replica| {
        let file = wide(96);
        let one = Service::deploy(replica, None);
        one.serve("model", &file);
        let line = Line::deploy(replica, &file, &stages(2));
        // Between the stages 6 MiB; in and out less than a message each.
        let inputs = rows(16_384);
        let expected = one.infer("model", inputs.clone()).expect("it infers");
        assert_eq!(expected[0].1.dimensions, [16_384, 4]);
        for _ in 0..2 {
            assert!(line.infer(&inputs).expect("its stages infer") == expected);
        }
        // What the stages took is told with the rest.
        let took = |service: &Service<'_>| {
            let answer = service.controller().infer(&request("model", inputs.clone())).expect("it infers");
            answer.instructions
        };
        let (whole, parts) = (took(&one), took(&line.front));
        assert!(parts > whole, "{parts} instructions in stages, {whole} on one canister");
        // Contexts of the stages do not stay open, and small tensors go the short way as before.
        assert_eq!(line.infer(&rows(3)).expect("it infers"), one.infer("model", rows(3)).expect("it infers"));
        let stage = line.stages[0].controller();
        let next =
            stage.init_execution_context(stage.load_by_name("part").expect("loaded")).expect("a context");
        for context in 0..next {
            // Closed long ago, or never there.
            assert!(stage.finalize_execution_context(context).is_err(), "context {context} is open");
        }
    });
}

#[test]
fn products_in_parts_by_columns_answer_the_same_bits() {
    on_every_runtime("products by columns", |replica| {
        let file = wide(1_000);
        let one = Service::deploy(replica, None);
        one.serve("model", &file);
        let cut = Cut { max_bytes: Some(25_000), ..Default::default() };
        let line = Line::deploy(replica, &file, &cut);
        let parts = line.sharded.stages.iter().filter(|stage| stage.part.is_some()).count();
        assert!(parts >= 3, "{parts}");
        assert!(line.sharded.stages.iter().all(|stage| stage.weight_bytes <= 25_000));
        for count in [1, 5] {
            let expected = one.infer("model", rows(count)).expect("it infers");
            assert_eq!(line.infer(&rows(count)).expect("its parts infer"), expected, "{count} rows");
        }
    });
}

#[test]
fn requests_are_in_the_pipeline_at_once() {
    on_every_runtime("requests at once", |replica| {
        let line = Line::deploy(replica, &digits(), &stages(3));
        let one = Service::deploy(replica, None);
        one.serve("model", &digits());
        let arg = |seed| Encode!(&request("model", images(2, seed))).expect("it encodes");
        let submit =
            |seed| replica.submit(line.front.canister, controller(), "infer", &arg(seed)).expect("taken");
        // More than are let in: some wait, all are answered.
        let calls: Vec<_> = (0..40).map(|seed| (seed, submit(seed))).collect();
        for (seed, call) in calls {
            let reply = replica.await_call(call).expect("it answers");
            let answer = Decode!(&reply, Result<InferResponse, Error>).expect("a reply").expect("it infers");
            assert_eq!(answer.outputs, one.infer("model", images(2, seed)).expect("it infers"), "{seed}");
        }
        let statistics = line.front.controller().model_statistics("model").expect("they are kept");
        assert_eq!((statistics.success, statistics.fail), (40, 0));
    });
}

#[test]
fn a_stage_that_is_stopped_is_told_and_missed_no_longer_than_it_is_away() {
    on_every_runtime("a stage stopped", |replica| {
        let line = Line::deploy(replica, &digits(), &stages(2));
        let expected = line.infer(&images(1, 1)).expect("it infers");
        let stage = &line.stages[1];
        replica.stop(stage.canister, controller()).expect("it stops");
        let id = stage.canister.to_text();
        for _ in 0..2 {
            refused(
                line.infer(&images(1, 1)),
                ErrorCode::RuntimeError,
                &["stage 2", &id, "stopped", "start it"],
            );
        }
        let caller = line.front.controller();
        assert!(!caller.model_ready("model").expect("it says"));
        refused(caller.load_by_name("model"), ErrorCode::RuntimeError, &["stage 2", &id, "stopped"]);
        // The front is as it was for everyone else.
        assert!(caller.server_live().expect("it answers"));
        replica.start(stage.canister, controller()).expect("it starts");
        assert_eq!(line.infer(&images(1, 1)).expect("it goes on"), expected);
        assert!(caller.model_ready("model").expect("it says"));
        // Stopped while requests are under way: each is answered or told.
        let arg = Encode!(&request("model", images(1, 1))).expect("it encodes");
        let calls =
            [0; 3].map(|_| replica.submit(line.front.canister, controller(), "infer", &arg).expect("taken"));
        replica.tick();
        replica.stop(stage.canister, controller()).expect("it stops");
        for call in calls {
            let reply = replica.await_call(call).expect("it is answered");
            match Decode!(&reply, Result<InferResponse, Error>).expect("a reply") {
                Ok(answer) => assert_eq!(answer.outputs, expected),
                Err(e) => assert!(e.data.contains("stage 2") && e.data.contains(&id), "{e}"),
            }
        }
        replica.start(stage.canister, controller()).expect("it starts");
        assert_eq!(line.infer(&images(1, 1)).expect("it goes on"), expected);
    });
}

#[test]
fn a_stage_without_cycles_is_told_and_one_that_is_late_keeps_nobody_waiting() {
    on_every_runtime("a stage frozen, a stage late", |replica| {
        let line = Line::deploy(replica, &digits(), &stages(2));
        let expected = line.infer(&images(1, 1)).expect("it infers");
        let stage = line.stages[1].canister;
        // What it holds would not last for so many seconds, which is to have nothing.
        let settings = CanisterSettings { freezing_threshold: Some(100_000_000_000), ..Default::default() };
        replica.update_settings(stage, controller(), settings).expect("it is set");
        let error = line.infer(&images(1, 1)).expect_err("a frozen stage");
        let error = error.service().expect("an error of the service's").clone();
        assert!(error.data.contains("stage 2") && error.data.contains(&stage.to_text()), "{error}");
        assert!(error.data.contains("cycles") || error.data.contains("frozen"), "{error}");
        replica.add_cycles(stage, 1_000_000_000_000_000_000);
        assert_eq!(line.infer(&images(1, 1)).expect("it goes on"), expected);
        // A request whose stages take their time, step by step, and one behind it that does not.
        let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
        let slow = InferRequest { parameters, ..request("model", images(64, 2)) };
        let slow = Encode!(&slow).expect("it encodes");
        let slow = replica.submit(line.front.canister, controller(), "infer", &slow).expect("it is taken");
        replica.tick();
        assert_eq!(line.infer(&images(1, 1)).expect("it is not kept waiting"), expected);
        let reply = replica.await_call(slow).expect("it answers in the end");
        let answer = Decode!(&reply, Result<InferResponse, Error>).expect("a reply").expect("it infers");
        assert_eq!(answer.outputs, line.infer(&images(64, 2)).expect("it infers"));
    });
}

#[test]
fn a_stage_with_another_model_never_answers() {
    on_every_runtime("a stage of another model", |replica| {
        let line = Line::deploy(replica, &digits(), &stages(2));
        let expected = line.infer(&images(1, 1)).expect("it infers");
        let stage = &line.stages[0];
        let arg = Encode!(&None::<InitArgs>).expect("it encodes");
        // The same graph with one weight changed: everything fits but the hash.
        let mut other = line.sharded.stages[0].file.clone();
        let at = other.len() / 2;
        other[at] ^= 1;
        let wrong: Vec<Vec<u8>> = vec![other, wide(8)];
        for file in wrong {
            replica
                .install(stage.canister, controller(), InstallMode::Reinstall, &module(), &arg)
                .expect("it installs");
            stage.grant(line.front.canister, Role::Caller);
            // Nothing is there.
            refused(line.infer(&images(1, 1)), ErrorCode::NotFound, &["stage 1", "`part:1`", "upload"]);
            stage.serve("part", &file);
            let sha256 = hex::encode(Sha256::digest(&file));
            for _ in 0..2 {
                let result = line.infer(&images(1, 1));
                let error = result.expect_err("another model's answer");
                let error = error.service().expect("an error of the service's").clone();
                assert!(error.data.contains("stage 1") && error.data.contains(&sha256), "{error}");
            }
            assert!(!line.front.controller().model_ready("model").expect("it says"));
        }
        // The right one again, as a version that the manifest does not name, and then as the one that it does.
        stage.serve("part", &line.sharded.stages[0].file);
        assert!(line.infer(&images(1, 1)).is_err());
        replica
            .install(stage.canister, controller(), InstallMode::Reinstall, &module(), &arg)
            .expect("it installs");
        stage.serve("part", &line.sharded.stages[0].file);
        refused(line.infer(&images(1, 1)), ErrorCode::Security, &["stage 1", "grant_role"]);
        stage.grant(line.front.canister, Role::Caller);
        assert_eq!(line.infer(&images(1, 1)).expect("it goes on"), expected);
        // Deleted while the front knows of it.
        stage.delete("part").expect("it is deleted");
        refused(line.infer(&images(1, 1)), ErrorCode::NotFound, &["stage 1", "upload the model there again"]);
    });
}

#[test]
fn what_is_between_stages_is_not_taken_from_another_model_either() {
    on_every_runtime("a stage of another model, in parts", |replica| {
        let line = Line::deploy(replica, &wide(96), &stages(2));
        let expected = line.infer(&rows(16_384)).expect("it infers");
        let stage = &line.stages[1];
        let arg = Encode!(&None::<InitArgs>).expect("it encodes");
        let reinstall = || {
            replica
                .install(stage.canister, controller(), InstallMode::Reinstall, &module(), &arg)
                .expect("it installs");
            stage.grant(line.front.canister, Role::Caller);
        };
        reinstall();
        let mut other = line.sharded.stages[1].file.clone();
        let at = other.len() / 2;
        other[at] ^= 1;
        stage.serve("part", &other);
        refused(line.infer(&rows(16_384)), ErrorCode::RuntimeError, &["stage 2", "another model"]);
        reinstall();
        stage.upload("part", &line.sharded.stages[1].file).expect("it is accepted");
        refused(line.infer(&rows(16_384)), ErrorCode::RuntimeError, &["stage 2", "load_by_name"]);
        stage.controller().load_by_name("part").expect("it loads");
        assert!(line.infer(&rows(16_384)).expect("it goes on") == expected);
    });
}

#[test]
fn wrong_manifests_are_refused() {
    on_every_runtime("wrong manifests", |replica| {
        let line = Line::apart(replica, &digits(), &stages(2));
        let right = line.manifest.encode().expect("it encodes");
        let refuse = |what: &str, bytes: &[u8], code: ErrorCode, words: &[&str]| {
            let error = refused(line.front.upload("model", bytes), code, words);
            assert!(!error.data.is_empty(), "{what}");
            if !matches!(code, ErrorCode::InvalidEncoding | ErrorCode::UnsupportedOperation) {
                line.front.abandon("model", bytes);
            }
        };
        refuse("garbage", b"ICNNPIPEgarbage", ErrorCode::InvalidEncoding, &["manifest"]);
        refuse("cut short", &right[..right.len() - 1], ErrorCode::InvalidEncoding, &["ends after"]);
        refuse("too long", &[&right[..], b"\0"].concat(), ErrorCode::InvalidEncoding, &["follow its end"]);
        // What the encoder would not write: stages the other way round, so that the first waits for the second.
        let circle = swapped(&right, &line.manifest);
        refuse("a circle", &circle, ErrorCode::InvalidEncoding, &["in no circle"]);
        let changed = |change: &dyn Fn(&mut Pipeline)| {
            let mut manifest = line.manifest.clone();
            change(&mut manifest);
            manifest.encode().expect("it encodes")
        };
        let hash = changed(&|m| m.stages[1].sha256 = [1; 32]);
        let found = hex::encode(line.manifest.stages[1].sha256);
        refuse("a hash", &hash, ErrorCode::RuntimeError, &["stage 2", &"01".repeat(32), &found]);
        let version = changed(&|m| m.stages[0].version = 7);
        refuse("a version", &version, ErrorCode::NotFound, &["stage 1", "part:7"]);
        let model = changed(&|m| m.stages[0].model = "other".into());
        refuse("a model", &model, ErrorCode::NotFound, &["stage 1", "other"]);
        let tensor = changed(&|m| {
            m.inputs[0] = "picture".into();
            m.stages[0].takes[0] = "picture".into();
        });
        refuse("a tensor", &tensor, ErrorCode::InvalidArgument, &["stage 1", "`picture`", "`image`"]);
        let output = changed(&|m| {
            let last = m.stages.len() - 1;
            m.outputs = vec!["nothing".into()];
            m.stages[last].gives = vec!["nothing".into()];
        });
        refuse("an output", &output, ErrorCode::InvalidArgument, &["stage 2", "`nothing`"]);
        let nobody = changed(&|m| {
            m.stages[1].canister = Principal::from_slice(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xf0, 1, 1])
        });
        refuse("no canister", &nobody, ErrorCode::RuntimeError, &["stage 2"]);
        // As ONNX, which it is said to be and is not.
        let spec = UploadSpec { encoding: Some(GraphEncoding::Onnx), ..spec("named", &right) };
        let caller = line.front.controller();
        let open = caller.upload_begin(&spec).expect("it begins");
        let chunk = ic_nn_types::ChunkRequest { upload: open.upload, index: 0, data: right.clone() };
        caller.upload_chunk(&chunk).expect("it is put");
        refused(caller.upload_commit(open.upload), ErrorCode::InvalidEncoding, &["manifest", "autodetect"]);
        // Nothing of it stayed, and the right one is taken after all.
        assert_eq!(line.publish().expect("it is accepted").version, 1);
        let loaded =
            caller.load(&[right.into()], GraphEncoding::Autodetect, ic_nn_types::ExecutionTarget::Cpu, None);
        let described =
            caller.describe_graph(loaded.expect("it loads from a message too")).expect("it is told");
        assert_eq!(described.inputs[0].name, "image");
    });
}

/// A manifest's bytes with its two stages in the other order.
fn swapped(bytes: &[u8], manifest: &Pipeline) -> Vec<u8> {
    let length = |stage: &PipelineStage| {
        let names = |all: &[String]| 2 + all.iter().map(|name| 2 + name.len()).sum::<usize>();
        2 + stage.canister.as_slice().len()
            + stage.model.len()
            + 40
            + names(&stage.takes)
            + names(&stage.gives)
    };
    let (first, second) = (length(&manifest.stages[0]), length(&manifest.stages[1]));
    let head = bytes.len() - first - second;
    [&bytes[..head], &bytes[head + first..], &bytes[head..head + first]].concat()
}

#[test]
fn it_is_a_model_like_any() {
    on_every_runtime("pipelines as models", |replica| {
        let line = Line::deploy(replica, &digits(), &stages(2));
        let caller = line.front.controller();
        let described = caller.describe("model").expect("it is there");
        assert_eq!(described.encoding, None);
        assert!(caller.list_all().expect("a list").iter().all(|m| m.name == "model" && m.encoding.is_none()));
        assert_eq!(caller.model_metadata("model").expect("it is there").platform, "pipeline");
        assert_eq!(described.operators[0].operator, "pipeline");
        assert_eq!((described.operators[0].count, described.macs), (2, None));
        assert_eq!(described.inputs[0].dimensions, [None, Some(1), Some(8), Some(8)]);
        assert!(described.parameters > 10_000 && described.producer.contains("2 stages"), "{described:?}");
        assert!(caller.model_ready("model").expect("it says") && caller.server_ready().expect("it says"));
        caller.infer(&request("model", images(1, 1))).expect("an update");
        refused(
            caller.infer_query(&request("model", images(1, 1))),
            ErrorCode::UnsupportedOperation,
            &["pipeline", "infer"],
        );
        let estimate = EstimateRequest { model: Some("model".into()), graph: None, shapes: vec![] };
        refused(caller.estimate(&estimate), ErrorCode::UnsupportedOperation, &["pipeline", "stages"]);
        refused(
            caller.profile(&request("model", images(1, 1))),
            ErrorCode::UnsupportedOperation,
            &["pipeline"],
        );
        let graph = described.graph.expect("it is loaded");
        refused(
            caller.set_property(graph, "quantize", Some("int8")),
            ErrorCode::UnsupportedOperation,
            &["pipeline"],
        );
        // Labels, another version, the response cache, a warm-up.
        caller.set_label("model:1", "stable").expect("a label");
        assert_eq!(line.publish().expect("a further version").version, 2);
        assert!(line.front.infer("model@stable", images(1, 1)).is_ok());
        caller.set_property(graph, "cache", Some("4")).expect("it is set");
        caller.set_property(graph, "warmup", Some("3x1x8x8")).expect("it is set");
        let first = caller.infer(&request("model:1", images(1, 5))).expect("it infers");
        let again = caller.infer(&request("model:1", images(1, 5))).expect("it has it");
        assert!(!first.cached && again.cached && first.outputs == again.outputs);
        // After an upgrade it is checked again by itself, and ready then.
        line.front.upgrade();
        for _ in 0..30 {
            replica.tick();
        }
        assert!(caller.model_ready("model:1").expect("it says"));
        assert!(line.front.infer("model:1", images(1, 5)).is_ok_and(|outputs| outputs == first.outputs));
        // Its callers need no role on the stages, and strangers none of it.
        let friend = line.front.grant(principal(1), Role::Caller);
        assert!(friend.infer(&request("model", images(1, 1))).is_ok());
        assert!(line.front.caller(stranger()).infer(&request("model", images(1, 1))).is_err());
        caller.unload(graph).expect("it unloads");
        assert_eq!(line.front.delete("model").expect("all versions go"), 2);
    });
}

#[test]
fn jobs_run_on_pipelines_and_an_upgrade_of_the_front_ends_its_requests_alone() {
    on_every_runtime("jobs on pipelines", |replica| {
        let line = Line::deploy(replica, &digits(), &stages(2));
        let caller = line.front.controller();
        let expected = line.infer(&images(64, 1)).expect("it infers");
        let parameters = Some(InferParameters { slice_instructions: Some(1), ..Default::default() });
        let slow = InferRequest { parameters, ..request("model", images(64, 1)) };
        let job = JobRequest { request: slow.clone(), restart_on_upgrade: Some(true), ..Default::default() };
        let id = caller.job_submit(&job).expect("it is taken");
        let status = caller.job_wait(id, &mut |_| {}).expect("it is told of");
        assert_eq!(status.state, JobState::Done, "{status:?}");
        assert_eq!(caller.fetch_job_output(id, &expected[0].0).expect("it is kept"), expected[0].1);
        // A request and a job that are half way: the one is rejected or answered, the other begins again.
        for ticks in 1..4 {
            let arg = Encode!(&slow).expect("the argument encodes");
            let call = replica.submit(line.front.canister, controller(), "infer", &arg).expect("it is taken");
            let id = caller.job_submit(&job).expect("it is taken");
            for _ in 0..ticks {
                replica.tick();
            }
            line.front.upgrade();
            if let Ok(reply) = replica.await_call(call) {
                let answer = Decode!(&reply, Result<InferResponse, Error>).expect("a reply of infer");
                assert_eq!(answer.expect("it infers").outputs, expected);
            }
            let status = caller.job_wait(id, &mut |_| {}).expect("it is told of");
            assert_eq!(status.state, JobState::Done, "{status:?}");
            assert_eq!(line.infer(&images(64, 1)).expect("it infers again"), expected);
        }
    });
}
