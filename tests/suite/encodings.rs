//! Encodings beside ONNX through the wasm: NNEF, which every canister reads, and TensorFlow's two, which one reads that was
//! built for it. `IC_NN_ENCODING` names the feature whose canister `scripts/check-encodings` built; without it the canister of
//! `scripts/build-canister` is held to reading neither, with the way to what it reads.

use std::env;

use ic_nn_client::ClientError;
use ic_nn_host::Replica;
use ic_nn_tests::on_every_runtime;
use ic_nn_tests::service::{Caller, Service, module, module_with, refused, repository, spec};
use ic_nn_types::{
    ErrorCode, ExecutionTarget, Graph, GraphBuilder, GraphDescription, GraphEncoding, NamedTensor, Tensor,
    TensorType, UploadSpec,
};
use sha2::{Digest, Sha256};

const CPU: ExecutionTarget = ExecutionTarget::Cpu;

/// What is asked of the dense network: two rows.
const X: [f32; 8] = [1.0, -2.0, 0.5, 3.0, 0.0, 1.0, -1.0, 0.25];

/// A file of tests/fixtures/encodings, and what a canister says of its encoding.
struct Fixture {
    /// The feature of the build.
    feature: &'static str,
    encoding: GraphEncoding,
    file: &'static str,
    /// The batch as it is described.
    rows: Option<u32>,
    /// An operator of the file, and how often it is there.
    operator: (&'static str, u32),
    /// The way to ONNX, which a canister that does not read it names.
    way: &'static str,
}

const TENSORFLOW: Fixture = Fixture {
    feature: "tensorflow",
    encoding: GraphEncoding::TensorFlow,
    file: "dense.pb",
    rows: None,
    operator: ("MatMul", 2),
    way: "tf2onnx.convert --saved-model",
};

const LITE: Fixture = Fixture {
    feature: "tensorflowlite",
    encoding: GraphEncoding::TensorFlowLite,
    file: "dense.tflite",
    rows: Some(2),
    operator: ("FULLY_CONNECTED", 2),
    way: "tf2onnx.convert --tflite",
};

impl Fixture {
    fn bytes(&self) -> Vec<u8> {
        let file = repository("tests/fixtures/encodings").join(self.file);
        std::fs::read(file).expect("the fixture is committed")
    }

    /// Whether the canister that is tested reads it.
    fn is_read(&self) -> bool {
        built_with().is_some_and(|feature| feature == self.feature)
    }
}

/// The feature that the canister was built with; `None` for the one that is deployed.
fn built_with() -> Option<String> {
    let feature = env::var("IC_NN_ENCODING").ok().filter(|feature| !feature.is_empty())?;
    let known = [&TENSORFLOW, &LITE].map(|fixture| fixture.feature);
    assert!(known.contains(&feature.as_str()), "IC_NN_ENCODING is {feature}; the encodings are {known:?}");
    Some(feature)
}

/// The canister that is tested.
fn tested() -> Vec<u8> {
    built_with().map_or_else(module, |feature| module_with(&feature))
}

fn deploy(replica: &dyn Replica) -> Service<'_> {
    Service::deploy_module(replica, &tested(), None)
}

/// What `scripts/exporters/encodings/make.py` made the dense network of: softmax(relu(x W + b) V + c).
fn dense(x: &[f32]) -> Vec<f32> {
    let mut answer = vec![];
    for row in x.chunks(4) {
        let hidden: Vec<f32> = (0..8)
            .map(|j| {
                let sum: f32 = (0..4).map(|i| row[i] * (((i * 3 + j) % 5) as f32 - 2.0)).sum();
                (sum + j as f32 - 3.0).max(0.0)
            })
            .collect();
        let logits = [0.5, -0.25, 1.0].iter().enumerate().map(|(j, c)| {
            (0..8).map(|i| hidden[i] * (((i + 2 * j) % 3) as f32 - 1.0) / 8.0).sum::<f32>() + c
        });
        let powers: Vec<f32> = logits.map(f32::exp).collect();
        let total: f32 = powers.iter().sum();
        answer.extend(powers.iter().map(|power| power / total));
    }
    answer
}

/// Two rows for the graph's one input.
fn rows(description: &GraphDescription) -> Vec<NamedTensor> {
    vec![(description.inputs[0].name.clone(), Tensor::from_f32(vec![2, 4], &X))]
}

/// Holds outputs to the dense network's.
#[track_caller]
fn answers(outputs: &[NamedTensor]) {
    let [(_, output)] = outputs else { panic!("one output is expected: {outputs:?}") };
    let (got, want) = (output.to_f32().expect("FP32"), dense(&X));
    assert_eq!(output.dimensions, [2, 3]);
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {want:?}");
}

fn load(caller: &Caller<'_>, bytes: &[u8], encoding: GraphEncoding) -> Result<Graph, ClientError> {
    caller.load(&[GraphBuilder::from(bytes)], encoding, CPU, None)
}

/// Uploads a file under a label and commits it.
fn upload(caller: &Caller<'_>, name: &str, bytes: &[u8], encoding: GraphEncoding) -> Result<(), ClientError> {
    let announced = UploadSpec { encoding: Some(encoding), ..spec(name, bytes) };
    let upload = caller.upload_begin(&announced)?.upload;
    caller.upload_chunk(&ic_nn_types::ChunkRequest { upload, index: 0, data: bytes.to_vec() })?;
    caller.upload_commit(upload).map(drop).inspect_err(|_| {
        caller.upload_abort(upload).expect("it aborts");
    })
}

#[test]
fn capabilities_tell_what_was_built_in() {
    on_every_runtime("encodings told", |replica| {
        let told = deploy(replica).controller().capabilities().expect("it is told").encodings;
        let of = |encoding| told.iter().find(|support| support.encoding == encoding).expect("it is listed");
        for fixture in [TENSORFLOW, LITE] {
            let support = of(fixture.encoding);
            assert_eq!(support.supported, fixture.is_read(), "{support:?}");
            assert_eq!(support.detail.contains(fixture.way), !fixture.is_read(), "{support:?}");
        }
        assert!(of(GraphEncoding::Onnx).supported && of(GraphEncoding::Autodetect).supported);
        assert!(of(GraphEncoding::Autodetect).detail.contains("NNEF"));
    });
}

#[test]
fn a_graph_loads_from_bytes_and_answers() {
    on_every_runtime("encodings, load", |replica| {
        let caller = deploy(replica).controller();
        for fixture in [TENSORFLOW, LITE] {
            let loaded = load(&caller, &fixture.bytes(), fixture.encoding);
            if !fixture.is_read() {
                refused(loaded, ErrorCode::InvalidEncoding, &["not served", fixture.way]);
                continue;
            }
            let graph = loaded.expect("it loads");
            let description = caller.describe_graph(graph).expect("it is described");
            let context = caller.init_execution_context(graph).expect("it opens");
            answers(&caller.compute(context, &rows(&description), None).expect("it computes"));
        }
    });
}

#[test]
fn a_model_is_uploaded_described_and_asked() {
    on_every_runtime("encodings, upload", |replica| {
        let service = deploy(replica);
        let caller = service.controller();
        for fixture in [TENSORFLOW, LITE] {
            let bytes = fixture.bytes();
            let name = fixture.feature;
            let committed = upload(&caller, name, &bytes, fixture.encoding);
            if !fixture.is_read() {
                refused(committed, ErrorCode::InvalidEncoding, &["not served", fixture.way]);
                refused(caller.describe(name), ErrorCode::NotFound, &[name]);
                continue;
            }
            committed.expect("it is accepted");
            caller.load_by_name(name).expect("it loads");
            let description = caller.describe(name).expect("it is described");
            assert_eq!(description.encoding, Some(fixture.encoding));
            assert_eq!(description.sha256, Sha256::digest(&bytes).to_vec());
            let [input] = description.inputs.as_slice() else { panic!("{description:?}") };
            assert_eq!((&input.dimensions[..], input.ty), (&[fixture.rows, Some(4)][..], TensorType::FP32));
            let [output] = description.outputs.as_slice() else { panic!("{description:?}") };
            assert_eq!(output.ty, TensorType::FP32);
            let (operator, count) = fixture.operator;
            let told = description.operators.iter().find(|o| o.operator == operator).map(|o| o.count);
            assert_eq!(told, Some(count), "{:?}", description.operators);
            assert!(description.parameters >= 32 + 8 + 24 + 3, "{description:?}");
            let inputs = rows(&description);
            let updated = service.infer(name, inputs.clone()).expect("an update");
            answers(&updated);
            assert_eq!(service.ask(name, inputs.clone()), Ok(updated), "a query answers the same bytes");
            let wrong = vec![(inputs[0].0.clone(), Tensor::from_f32(vec![2, 5], &[0.0; 10]))];
            refused(service.infer(name, wrong), ErrorCode::InvalidArgument, &["5"]);
            if fixture.rows.is_none() {
                let one = vec![(inputs[0].0.clone(), Tensor::from_f32(vec![1, 4], &X[..4]))];
                let outputs = service.infer(name, one).expect("a batch of another size");
                assert_eq!(outputs[0].1.dimensions, [1, 3]);
            }
        }
    });
}

#[test]
fn a_wrong_label_is_refused_with_the_way() {
    on_every_runtime("encodings, labels", |replica| {
        let caller = deploy(replica).controller();
        let wrong = |fixture: &Fixture, encoding, words: &[&str]| {
            let bytes = fixture.bytes();
            refused(load(&caller, &bytes, encoding), ErrorCode::InvalidEncoding, words);
            refused(upload(&caller, "dense", &bytes, encoding), ErrorCode::InvalidEncoding, words);
        };
        // A graph of TensorFlow has no mark: taken for ONNX it is none.
        wrong(&TENSORFLOW, GraphEncoding::Onnx, &["not an ONNX model", "export it to ONNX"]);
        wrong(&TENSORFLOW, GraphEncoding::Autodetect, &["not an ONNX model", "export it to ONNX"]);
        wrong(&LITE, GraphEncoding::Onnx, &["TensorFlow Lite", LITE.way]);
        if !LITE.is_read() {
            wrong(&LITE, GraphEncoding::Autodetect, &["TensorFlow Lite", LITE.way]);
        }
        let word = if TENSORFLOW.is_read() { LITE.way } else { TENSORFLOW.way };
        wrong(&LITE, GraphEncoding::TensorFlow, &[word]);
        let word = if LITE.is_read() { "`TFL3`" } else { LITE.way };
        wrong(&TENSORFLOW, GraphEncoding::TensorFlowLite, &[word]);
        for (other, way) in [
            (GraphEncoding::PyTorch, "torch.onnx.export"),
            (GraphEncoding::Ggml, "optimum-cli export onnx"),
            (GraphEncoding::OpenVino, "ONNX"),
        ] {
            wrong(&LITE, other, &["not served", way]);
        }
    });
}

#[test]
fn a_lite_file_is_told_by_its_mark() {
    on_every_runtime("encodings, marks", |replica| {
        let caller = deploy(replica).controller();
        let loaded = load(&caller, &LITE.bytes(), GraphEncoding::Autodetect);
        if !LITE.is_read() {
            refused(loaded, ErrorCode::InvalidEncoding, &[LITE.way]);
            return;
        }
        let description = caller.describe_graph(loaded.expect("it loads")).expect("it is described");
        assert_eq!(description.encoding, Some(GraphEncoding::TensorFlowLite), "what was detected is told");
    });
}

/// Numbers from a seed, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// `bytes` with up to three of them changed, one time of four cut as well.
fn tampered(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.roll(3) {
        let at = dice.roll(bytes.len());
        bytes[at] = dice.roll(256) as u8;
    }
    if dice.roll(4) == 0 {
        bytes.truncate(1 + dice.roll(bytes.len() - 1));
    }
    bytes
}

/// Models that are tampered with, of each encoding.
const TAMPERED: usize = 150;

#[test]
fn bytes_that_are_tampered_with_get_an_error_and_harm_nobody() {
    on_every_runtime("encodings, hostile", |replica| {
        let service = deploy(replica);
        let caller = service.controller();
        for fixture in [TENSORFLOW, LITE] {
            let bytes = fixture.bytes();
            let good = load(&caller, &bytes, fixture.encoding).ok();
            assert_eq!(good.is_some(), fixture.is_read());
            let seed = 0x1c_0de;
            let (mut dice, mut errors) = (Dice(seed), 0);
            for round in 0..TAMPERED {
                let place = format!("{}, seed {seed:#x}, round {round}", fixture.file);
                match load(&caller, &tampered(&bytes, &mut dice), fixture.encoding) {
                    Ok(graph) => caller.unload(graph).unwrap_or_else(|e| panic!("{place}: {e}")),
                    Err(ClientError::Service { error, .. }) => {
                        errors += 1;
                        assert!(!error.data.is_empty(), "{place}: {error}");
                        let code = ErrorCode::InvalidEncoding;
                        assert!(fixture.is_read() || error.code == code, "{place}: {error}");
                    }
                    Err(other) => panic!("{place}: {other}"),
                }
            }
            println!("{}: {errors} of {TAMPERED} refused", fixture.file);
            let least = if fixture.is_read() { TAMPERED / 20 } else { TAMPERED };
            assert!(errors >= least, "{}: {errors} of {TAMPERED} refused", fixture.file);
            for garbage in [&b"this is no model"[..], &[0; 100], &[0xff; 64]] {
                refused(load(&caller, garbage, fixture.encoding), ErrorCode::InvalidEncoding, &[]);
            }
            if let Some(graph) = good {
                let description = caller.describe_graph(graph).expect("it is described");
                let context = caller.init_execution_context(graph).expect("the graph is as it was");
                answers(&caller.compute(context, &rows(&description), None).expect("it computes"));
            }
        }
    });
}

/// `bytes` with every `from` made `to`, which is as long, so that no length in the file changes.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let found: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!found.is_empty(), "{} is not there", String::from_utf8_lossy(from));
    found.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}

#[test]
fn operators_that_are_not_there_or_draw_random_numbers_are_named() {
    on_every_runtime("encodings, operators", |replica| {
        let caller = deploy(replica).controller();
        for (operator, words) in
            [("Random", ["Random", "random numbers"]), ("Matmul", ["Matmul", "unsupported operators"])]
        {
            let graph = replaced(&TENSORFLOW.bytes(), b"MatMul", operator.as_bytes());
            for result in [
                load(&caller, &graph, GraphEncoding::TensorFlow).map(drop),
                upload(&caller, "dense", &graph, GraphEncoding::TensorFlow),
            ] {
                match TENSORFLOW.is_read() {
                    true => refused(result, ErrorCode::UnsupportedOperation, &words),
                    false => refused(result, ErrorCode::InvalidEncoding, &[TENSORFLOW.way]),
                };
            }
        }
    });
}

#[test]
fn a_model_outlasts_a_canister_that_does_not_read_it() {
    on_every_runtime("encodings, upgrades", |replica| {
        let service = deploy(replica);
        let caller = service.controller();
        service.serve("nnef", &relu());
        let relu = |x: &[f32]| vec![("x".to_owned(), Tensor::from_f32(vec![1, 3], x))];
        let kept: Vec<Fixture> = [TENSORFLOW, LITE].into_iter().filter(Fixture::is_read).collect();
        let before: Vec<_> = kept
            .iter()
            .map(|fixture| {
                upload(&caller, fixture.feature, &fixture.bytes(), fixture.encoding).expect("it is accepted");
                let graph = caller.load_by_name(fixture.feature).expect("it loads");
                let inputs = rows(&caller.describe(fixture.feature).expect("it is described"));
                let outputs = service.infer(fixture.feature, inputs.clone()).expect("it infers");
                answers(&outputs);
                (graph, caller.describe(fixture.feature).expect("it is described"), inputs, outputs)
            })
            .collect();
        service.upgrade_to(&module());
        for _ in 0..10 {
            replica.tick();
        }
        let asked = service.ask("nnef", relu(&[-1.0, 0.5, 2.0])).expect("NNEF is always read");
        assert_eq!(asked[0].1.to_f32(), Some(vec![0.0, 0.5, 2.0]));
        for (fixture, (graph, description, inputs, _)) in kept.iter().zip(&before) {
            let (name, code) = (fixture.feature, ErrorCode::UnsupportedOperation);
            let words = [&format!("encoding `{name}`"), "not served", fixture.way];
            refused(caller.load_by_name(name), code, &words);
            refused(service.infer(name, inputs.clone()), code, &words);
            refused(service.ask(name, inputs.clone()), code, &words);
            let told = caller.describe(name).expect("what is known of it stays");
            assert_eq!((told.graph, &told.inputs), (Some(*graph), &description.inputs));
            let support = caller.capabilities().expect("it is told").encodings;
            assert!(support.iter().any(|s| s.encoding == fixture.encoding && !s.supported), "{support:?}");
        }
        service.upgrade_to(&tested());
        for _ in 0..10 {
            replica.tick();
        }
        for (fixture, (graph, description, inputs, outputs)) in kept.iter().zip(&before) {
            let name = fixture.feature;
            assert_eq!(service.ask(name, inputs.clone()).as_ref(), Ok(outputs), "equal byte for byte");
            assert_eq!(caller.load_by_name(name), Ok(*graph), "the handle is the one that was open");
            assert_eq!(caller.describe(name).as_ref(), Ok(description));
        }
        let asked = service.ask("nnef", relu(&[-3.0, 1.0, -0.5])).expect("and here");
        assert_eq!(asked[0].1.to_f32(), Some(vec![0.0, 1.0, 0.0]));
    });
}

/// A tar as POSIX has it: a header of 512 bytes a file, everything in blocks of as many.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = vec![];
    for (name, bytes) in files {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend(*bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// An archive of a graph that is `y = relu(x)` on 1×3.
fn relu() -> Vec<u8> {
    let text = "version 1.0;\ngraph net(x) -> (y)\n{\n    x = external<scalar>(shape = [1, 3]);\n    y = relu(x);\n}\n";
    tar(&[("graph.nnef", text.as_bytes())])
}

#[test]
fn an_nnef_archive_loads_by_autodetect_and_by_name() {
    let archive = relu();
    on_every_runtime("nnef", |replica| {
        let service = deploy(replica);
        let caller = service.controller();
        let x = || vec![("x".to_owned(), Tensor::from_f32(vec![1, 3], &[-1.0, 0.5, 2.0]))];
        let builders = [GraphBuilder::from(archive.clone())];
        let graph = caller.load(&builders, GraphEncoding::Autodetect, CPU, None).expect("it loads");
        let context = caller.init_execution_context(graph).expect("a context");
        let outputs = caller.compute(context, &x(), None).expect("it computes");
        assert_eq!(outputs[0].1.to_f32(), Some(vec![0.0, 0.5, 2.0]));
        service.upload("net", &archive).expect("it is accepted");
        caller.load_by_name("net").expect("it loads by name");
        assert_eq!(service.ask("net", x()).expect("a query")[0].1.to_f32(), Some(vec![0.0, 0.5, 2.0]));
        let description = caller.describe("net").expect("it is told");
        assert_eq!(description.encoding, Some(GraphEncoding::Autodetect));
        assert_eq!(description.inputs[0].dimensions, [Some(1), Some(3)]);
        let mut torn = archive.clone();
        torn[520..530].fill(0xff);
        assert!(caller.load(&[GraphBuilder::from(torn)], GraphEncoding::Autodetect, CPU, None).is_err());
    });
}
