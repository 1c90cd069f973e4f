//! What a graph is loaded from and for, and what it is told to do: encodings, targets, external data, properties,
//! warm-up, the response cache, the limit of instructions.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Message, Model, element};
use ic_nn_tests::service::{Service, refused, repository, request, spec};
use ic_nn_types::{
    ChunkRequest, ErrorCode, ExecutionTarget, GraphBuilder, GraphEncoding, InferParameters, InferRequest,
    LoadOptions, NamedTensor, Tensor, UploadSpec,
};

const CPU: ExecutionTarget = ExecutionTarget::Cpu;

fn x(values: &[f32]) -> Vec<NamedTensor> {
    vec![("x".to_owned(), Tensor::from_f32(vec![values.len() as u32], values))]
}

/// `y = -x` for any length.
fn negate() -> Vec<u8> {
    onnx::unary("Neg", element::FLOAT, &[Dim::Named("n")])
}

#[test]
fn encodings_are_detected_and_others_refused_with_the_way_here() {
    on_every_runtime("encodings", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let builders = [GraphBuilder::from(onnx::add())];
        let graph = caller.load(&builders, GraphEncoding::Autodetect, CPU, None).expect("it is ONNX");
        let described = caller.describe_graph(graph).expect("it is described");
        assert_eq!(described.encoding, Some(GraphEncoding::Onnx), "what was detected is told");
        for (head, word) in [
            (&b"\x1c\0\0\0TFL3\0\0\0\0"[..], "tf2onnx"),
            (b"GGUF\x03\0\0\0", "ONNX"),
            (b"PK\x03\x04\x14\0", "torch.onnx.export"),
            (b"<?xml version=\"1.0\"?><net>", "OpenVINO"),
            (b"\x89HDF\r\n\x1a\n", "tf2onnx"),
        ] {
            for encoding in [GraphEncoding::Autodetect, GraphEncoding::Onnx] {
                let builders = [GraphBuilder::from(head)];
                refused(caller.load(&builders, encoding, CPU, None), ErrorCode::InvalidEncoding, &[word]);
            }
            let upload = caller.upload_begin(&spec("other", head)).expect("it begins").upload;
            caller
                .upload_chunk(&ChunkRequest { upload, index: 0, data: head.to_vec() })
                .expect("it is taken");
            refused(caller.upload_commit(upload), ErrorCode::InvalidEncoding, &[word]);
            caller.upload_abort(upload).expect("it aborts");
        }
        for (encoding, word) in [(GraphEncoding::PyTorch, "torch.onnx.export"), (GraphEncoding::Ggml, "ONNX")]
        {
            let announced = UploadSpec { encoding: Some(encoding), ..spec("other", &onnx::add()) };
            refused(caller.upload_begin(&announced), ErrorCode::InvalidEncoding, &[word]);
        }
    });
}

#[test]
fn a_target_that_is_not_there_is_refused_or_falls_back() {
    on_every_runtime("targets", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let builders = [GraphBuilder::from(negate())];
        for target in [ExecutionTarget::Gpu, ExecutionTarget::Tpu] {
            let load = |fallback| {
                caller.load(&builders, GraphEncoding::Onnx, target, Some(LoadOptions { fallback }))
            };
            for no in [None, Some(false)] {
                refused(load(no), ErrorCode::UnsupportedOperation, &["fallback", "cpu"]);
            }
            let graph = load(Some(true)).expect("the cpu takes it");
            let context = caller.init_execution_context(graph).expect("it opens");
            let outputs = caller.compute(context, &x(&[1.0]), None).expect("it computes");
            assert_eq!(outputs[0].1.to_f32(), Some(vec![-1.0]));
        }
        let targets = caller.capabilities().expect("it is told").targets;
        let offered: Vec<_> = targets.iter().filter(|t| t.supported).map(|t| t.target).collect();
        assert_eq!((offered, targets.len()), (vec![CPU], 3));
    });
}

/// A file's bytes of these floats.
fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// `y = x * a + b + c`: `a` and `c` are in the file `first.bin`, `b` is in `second.bin`. Answers the model, then the
/// files in the order in which it first names them.
fn external() -> Vec<Vec<u8>> {
    let tensors = |n: &str, file: &str, offset: usize| -> Message {
        onnx::external(n, element::FLOAT, &[2], file, offset, 8)
    };
    let model = Model {
        nodes: vec![
            onnx::node("Mul", &["x", "a"], &["xa"], vec![]),
            onnx::node("Add", &["xa", "b"], &["xab"], vec![]),
            onnx::node("Add", &["xab", "c"], &["y"], vec![]),
        ],
        inputs: vec![onnx::value("x", element::FLOAT, &[Dim::Is(2)])],
        outputs: vec![onnx::value("y", element::FLOAT, &[Dim::Is(2)])],
        initializers: vec![
            tensors("a", "first.bin", 0),
            tensors("b", "second.bin", 0),
            tensors("c", "first.bin", 16),
        ],
        ..Model::default()
    };
    let first = floats(&[2.0, 3.0, -1.0, -1.0, 100.0, 200.0]);
    vec![model.finish(), first, floats(&[10.0, 20.0])]
}

/// x = [1, 1] through [`external`].
const EXTERNAL_ANSWER: [f32; 2] = [112.0, 223.0];

#[test]
fn external_data_are_loaded_as_further_builders() {
    on_every_runtime("external data, load", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let builders: Vec<GraphBuilder> = external().into_iter().map(GraphBuilder::from).collect();
        let graph = caller.load(&builders, GraphEncoding::Onnx, CPU, None).expect("it loads");
        let context = caller.init_execution_context(graph).expect("it opens");
        let computed = |context| {
            let outputs = caller.compute(context, &x(&[1.0, 1.0]), None).expect("it computes");
            outputs[0].1.to_f32().expect("FP32")
        };
        assert_eq!(computed(context), EXTERNAL_ANSWER);
        service.upgrade();
        assert_eq!(computed(context), EXTERNAL_ANSWER, "the files are kept as long as the graph");
        let code = ErrorCode::InvalidEncoding;
        let load = |builders: &[GraphBuilder]| caller.load(builders, GraphEncoding::Onnx, CPU, None);
        let alone = load(&builders[..1]);
        refused(alone, ErrorCode::UnsupportedOperation, &["`a`", "first.bin", "further builder"]);
        refused(load(&builders[..2]), code, &["first.bin", "second.bin"]);
        let swapped = [builders[0].clone(), builders[2].clone(), builders[1].clone()];
        refused(load(&swapped), code, &["`c`", "first.bin", "8 bytes"]);
        let more = [builders.clone(), vec![builders[1].clone()]].concat();
        refused(load(&more), code, &["2 files", "3 came"]);
    });
}

#[test]
fn external_data_are_uploaded_behind_the_model() {
    on_every_runtime("external data, upload", |replica| {
        let service = Service::deploy(replica, None);
        let caller = service.controller();
        let files = external();
        let whole = files.concat();
        let sizes: Vec<u64> = files.iter().map(|f| f.len() as u64).collect();
        let begin = |builders: Vec<u64>| {
            caller.upload_begin(&UploadSpec { builders: Some(builders), ..spec("external", &whole) })
        };
        refused(begin(vec![sizes[0], sizes[1]]), ErrorCode::InvalidArgument, &[&whole.len().to_string()]);
        refused(
            begin(vec![sizes[0], 0, whole.len() as u64 - sizes[0]]),
            ErrorCode::InvalidArgument,
            &["0 bytes"],
        );
        let upload = begin(sizes).expect("it begins").upload;
        caller.upload_chunk(&ChunkRequest { upload, index: 0, data: whole.clone() }).expect("it is taken");
        caller.upload_commit(upload).expect("it commits");
        let answer = || service.infer("external", x(&[1.0, 1.0])).expect("it infers")[0].1.to_f32();
        assert_eq!(answer(), Some(EXTERNAL_ANSWER.to_vec()));
        service.upgrade();
        assert_eq!(answer(), Some(EXTERNAL_ANSWER.to_vec()), "it loads again from the stored files");
        let described = caller.describe("external").expect("it is there");
        assert_eq!((described.bytes, described.parameters), (whole.len() as u64, 6));
    });
}

#[test]
fn properties_are_listed_told_set_and_checked() {
    on_every_runtime("properties", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("m", &negate()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("m").expect("it loads");
        let all = caller.list_properties(graph).expect("they are listed");
        for (name, settable) in [
            ("warmup", true),
            ("resident", true),
            ("max_instructions", true),
            ("quantize", true),
            ("cache", true),
            ("model", false),
            ("sha256", false),
            ("in_heap", false),
        ] {
            let property = all.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("{name}: {all:?}"));
            assert_eq!((property.settable, property.value.is_none()), (settable, settable), "{property:?}");
            assert!(!property.description.is_empty(), "{property:?}");
            assert_eq!(caller.get_property(graph, name).expect("it is told"), property.value);
        }
        assert_eq!(caller.get_property(graph, "model"), Ok(Some("m:1".into())));
        assert_eq!(caller.get_property(graph, "in_heap"), Ok(Some("true".into())));
        assert_eq!(caller.get_property(graph, "colour"), Ok(None), "unknown is not set, as wasi-nn has it");
        caller.set_property(graph, "cache", Some("5")).expect("it is set");
        caller.set_property(graph, "resident", Some("false")).expect("it is set");
        assert_eq!(caller.get_property(graph, "cache"), Ok(Some("5".into())));
        let invalid = ErrorCode::InvalidArgument;
        for (name, value) in [
            ("cache", "10001"),
            ("cache", "many"),
            ("resident", "yes"),
            ("max_instructions", "0"),
            ("quantize", "int3"),
            ("warmup", "1x"),
            ("warmup", ""),
            ("model", "n:1"),
            ("colour", "red"),
        ] {
            refused(caller.set_property(graph, name, Some(value)), invalid, &[name]);
        }
        refused(caller.set_property(graph, "colour", None), invalid, &["colour", "warmup"]);
        assert_eq!(caller.get_property(graph, "cache"), Ok(Some("5".into())), "a refusal changes nothing");
        service.upgrade();
        assert_eq!(
            caller.get_property(graph, "resident"),
            Ok(Some("false".into())),
            "they survive an upgrade"
        );
        caller.set_property(graph, "cache", None).expect("it is taken back");
        assert_eq!(caller.get_property(graph, "cache"), Ok(None));
        caller.unload(graph).expect("it unloads");
        refused(caller.list_properties(graph), invalid, &["unloaded"]);
        refused(caller.set_property(graph, "cache", Some("1")), invalid, &["unloaded"]);
    });
}

#[test]
fn a_warm_up_runs_before_a_model_is_ready_and_lets_queries_in() {
    on_every_runtime("warm-up", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("m", &negate()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("m").expect("it loads");
        refused(service.ask("m", x(&[1.0; 7])), ErrorCode::UnsupportedOperation, &["`infer`"]);
        caller.set_property(graph, "warmup", Some("7;9")).expect("it is set");
        caller.unload(graph).expect("it unloads");
        let graph = caller.load_by_name("m").expect("it loads and warms up");
        assert!(caller.model_ready("m").expect("it is told") && caller.server_ready().expect("it is told"));
        for length in [7, 9] {
            service.ask("m", x(&vec![1.0; length])).expect("queries take what the warm-up ran");
        }
        refused(service.ask("m", x(&[1.0; 8])), ErrorCode::UnsupportedOperation, &["[8]"]);
        let runs = caller.describe("m").expect("it is there").runs;
        assert!(runs.iter().any(|r| r.shapes == [[9]]), "{runs:?}");
        service.upgrade();
        for _ in 0..20 {
            if caller.model_ready("m").expect("it is told") {
                let in_heap = caller.get_property(graph, "in_heap").expect("it is told");
                assert_eq!(in_heap.as_deref(), Some("true"), "what is ready is in the heap");
            }
            replica.tick();
        }
        assert!(caller.server_ready().expect("it is told"), "it came back and is warm");
        assert!(caller.model_ready("m").expect("it is told"));
        assert_eq!(caller.describe("m").expect("it is there").graph, Some(graph));
        caller.set_property(graph, "warmup", Some("2x2")).expect("whether it fits is seen at the load");
        caller.unload(graph).expect("it unloads");
        refused(caller.load_by_name("m"), ErrorCode::InvalidArgument, &["warm-up", "rank"]);
        assert_eq!(caller.describe("m").expect("it is there").graph, None, "what is not warm is not open");
    });
}

#[test]
fn answers_are_kept_where_a_model_says_so() {
    on_every_runtime("response cache", |replica| {
        let service = Service::deploy(replica, None);
        service.upload("m", &negate()).expect("it is accepted");
        let caller = service.controller();
        let graph = caller.load_by_name("m").expect("it loads");
        let infer = |value: f32, cache: Option<bool>| {
            let parameters = Some(InferParameters { cache, ..Default::default() });
            let answer = caller.infer(&InferRequest { parameters, ..request("m", x(&[value])) });
            let answer = answer.expect("it infers");
            assert_eq!(answer.outputs[0].1.to_f32(), Some(vec![-value]));
            answer.cached
        };
        assert!(!infer(1.0, None) && !infer(1.0, None), "no cache where it is not set");
        caller.set_property(graph, "cache", Some("2")).expect("it is set");
        assert!(!infer(1.0, None), "the first computes");
        assert!(infer(1.0, None), "the second is kept");
        assert!(!infer(1.0, Some(false)), "unless it is to be computed");
        assert!(!infer(2.0, None) && infer(2.0, None) && infer(1.0, None));
        assert!(!infer(3.0, None), "a third answer");
        assert!(!infer(2.0, None), "for which the one used longest ago went");
        let statistics = caller.model_statistics("m").expect("it is told");
        assert_eq!(
            (statistics.cache_hits, statistics.success, statistics.fail),
            (3, 10, 0),
            "{statistics:?}"
        );
        caller.set_property(graph, "cache", None).expect("it is taken back");
        assert!(!infer(3.0, None), "and with it what was kept");
    });
}

#[test]
fn what_takes_more_instructions_than_it_may_is_refused() {
    let digits = std::fs::read(repository("models/digits.onnx")).expect("the model is committed");
    on_every_runtime("max_instructions", |replica| {
        let service = Service::deploy(replica, None);
        service.serve("digits", &digits);
        let caller = service.controller();
        let image = || vec![("image".to_owned(), Tensor::from_f32(vec![1, 1, 8, 8], &[0.5; 64]))];
        let infer = |max_instructions| {
            let parameters = Some(InferParameters { max_instructions, ..Default::default() });
            caller.infer(&InferRequest { parameters, ..request("digits", image()) })
        };
        infer(None).expect("no limit");
        infer(Some(10_000_000_000)).expect("far within it");
        refused(infer(Some(1_000)), ErrorCode::TooLarge, &["digits:1", "max_instructions is 1000"]);
        let graph = caller.describe("digits").expect("it is there").graph.expect("it is loaded");
        caller.set_property(graph, "max_instructions", Some("2000")).expect("it is set");
        refused(infer(None), ErrorCode::TooLarge, &["max_instructions is 2000"]);
        refused(infer(Some(10_000_000_000)), ErrorCode::TooLarge, &["max_instructions is 2000"]);
        refused(service.ask("digits", image()), ErrorCode::TooLarge, &["max_instructions is 2000"]);
    });
}
