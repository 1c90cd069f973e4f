//! Files that mean harm, or are just broken: each is refused with an error that says where, nobody sees a trap, and
//! the service goes on as if nothing had been.

use ic_nn_tests::on_every_runtime;
use ic_nn_tests::onnx::{self, Dim, Message, Model, element, node, tensor, value};
use ic_nn_tests::service::{Service, refused};
use ic_nn_types::{ErrorCode, Tensor};

fn base() -> Model {
    Model {
        inputs: vec![value("x", element::FLOAT, &[Dim::Is(2)])],
        outputs: vec![value("y", element::FLOAT, &[Dim::Is(2)])],
        ..Model::default()
    }
}

struct Case {
    what: &'static str,
    file: Vec<u8>,
    code: ErrorCode,
    words: &'static [&'static str],
}

fn case(what: &'static str, file: Vec<u8>, code: ErrorCode, words: &'static [&'static str]) -> Case {
    Case { what, file, code, words }
}

fn broken() -> Vec<Case> {
    let encoding = ErrorCode::InvalidEncoding;
    let whole = onnx::add();
    let relu = || node("Relu", &["x"], &["y"], vec![]);
    vec![
        case("garbage", b"this is no protobuf at all".to_vec(), encoding, &["not an ONNX model"]),
        case("zeros", vec![0; 1000], encoding, &["not an ONNX model"]),
        case("a PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), encoding, &["not an ONNX model"]),
        case("half a file", whole[..whole.len() / 2].to_vec(), encoding, &["not an ONNX model"]),
        case("the last byte gone", whole[..whole.len() - 1].to_vec(), encoding, &[]),
        case(
            "no graph",
            Message::new().int(1, 8).message(8, Message::new().int(2, 17)).finish(),
            encoding,
            &["no graph"],
        ),
        case("no nodes", base().finish(), encoding, &["`y`", "nothing in the graph produces it"]),
        case(
            "old opset",
            Model { opset: Some(0), nodes: vec![relu()], ..base() }.finish(),
            ErrorCode::UnsupportedOperation,
            &["uses 0"],
        ),
        case(
            "future opset",
            Model { opset: Some(99), nodes: vec![relu()], ..base() }.finish(),
            ErrorCode::UnsupportedOperation,
            &["uses 99"],
        ),
        case(
            "unknown name",
            Model { nodes: vec![node("Relu", &["z"], &["y"], vec![])], ..base() }.finish(),
            encoding,
            &["Relu", "`z`"],
        ),
        case(
            "two producers",
            Model { nodes: vec![relu(), relu()], ..base() }.finish(),
            encoding,
            &["`y`", "elsewhere"],
        ),
        case(
            "input twice",
            Model { inputs: [base().inputs, base().inputs].concat(), nodes: vec![relu()], ..base() }.finish(),
            encoding,
            &["`x`", "twice"],
        ),
        case(
            "output twice",
            Model { outputs: [base().outputs, base().outputs].concat(), nodes: vec![relu()], ..base() }
                .finish(),
            encoding,
            &["`y`", "twice"],
        ),
        case(
            "no outputs",
            Model { outputs: vec![], nodes: vec![relu()], ..base() }.finish(),
            encoding,
            &["no outputs"],
        ),
        case(
            "a string input",
            Model { inputs: vec![value("x", element::STRING, &[Dim::Is(2)])], nodes: vec![relu()], ..base() }
                .finish(),
            ErrorCode::UnsupportedOperation,
            &["`x`", "STRING"],
        ),
        case(
            "an input of floats of 8 bits",
            Model {
                inputs: vec![value("x", element::FLOAT8E5M2, &[Dim::Is(2)])],
                nodes: vec![relu()],
                ..base()
            }
            .finish(),
            ErrorCode::UnsupportedOperation,
            &["`x`", "FLOAT8E5M2"],
        ),
        case(
            "a rank that is not told",
            Model { inputs: vec![rankless("x")], nodes: vec![relu()], ..base() }.finish(),
            ErrorCode::UnsupportedOperation,
            &["`x`", "rank"],
        ),
        case(
            "shapes that do not fit",
            Model {
                nodes: vec![node("MatMul", &["x", "w"], &["y"], vec![])],
                initializers: vec![tensor("w", element::FLOAT, &[3, 1], &[0; 12])],
                ..base()
            }
            .finish(),
            ErrorCode::RuntimeError,
            &[],
        ),
    ]
}

fn rankless(name: &str) -> Message {
    let tensor = Message::new().int(1, element::FLOAT);
    Message::new().bytes(1, name).message(2, Message::new().message(1, tensor))
}

fn unsupported() -> Vec<Case> {
    let operation = ErrorCode::UnsupportedOperation;
    let nodes = |nodes: Vec<Message>| Model { nodes, ..base() }.finish();
    let foreign = node("Relu", &["x"], &["y"], vec![]).bytes(7, "org.example");
    vec![
        case(
            "unknown operators",
            nodes(vec![node("Frobnicate", &["x"], &["a"], vec![]), node("Quux", &["a"], &["y"], vec![])]),
            operation,
            &["Frobnicate", "Quux"],
        ),
        case("another domain's Relu", nodes(vec![foreign]), operation, &["org.example.Relu"]),
        case(
            "RandomNormalLike",
            nodes(vec![node("RandomNormalLike", &["x"], &["y"], vec![])]),
            operation,
            &["RandomNormalLike", "random"],
        ),
        case(
            "RandomUniformLike",
            nodes(vec![node("RandomUniformLike", &["x"], &["y"], vec![])]),
            operation,
            &["RandomUniformLike"],
        ),
        case(
            "RandomNormal",
            nodes(vec![node("RandomNormal", &[], &["y"], vec![onnx::attribute_ints("shape", &[2])])]),
            operation,
            &["RandomNormal"],
        ),
        case(
            "Multinomial",
            nodes(vec![node("Multinomial", &["x"], &["y"], vec![])]),
            operation,
            &["Multinomial"],
        ),
        case("Bernoulli", nodes(vec![node("Bernoulli", &["x"], &["y"], vec![])]), operation, &["Bernoulli"]),
    ]
}

fn bombs() -> Vec<Case> {
    let (encoding, large, operation) =
        (ErrorCode::InvalidEncoding, ErrorCode::TooLarge, ErrorCode::UnsupportedOperation);
    let add = || node("Add", &["x", "w"], &["y"], vec![]);
    let weight = |w: Message| Model { nodes: vec![add()], initializers: vec![w], ..base() }.finish();
    let external = tensor("w", element::FLOAT, &[2], &[])
        .int(14, 1)
        .message(13, Message::new().bytes(1, "location").bytes(2, "../../etc/passwd"));
    let dims = |d: &[i64]| weight(tensor("w", element::FLOAT, d, &[0; 8]));
    let shaped = |op: &str, shape: &[i64]| {
        let inputs: &[&str] = if op == "Expand" { &["x", "s"] } else { &["s"] };
        let nodes = vec![node(op, inputs, &["w"], vec![]), add()];
        Model { nodes, initializers: vec![onnx::integers("s", shape)], ..base() }.finish()
    };
    let input = |d: &[Dim]| {
        Model {
            inputs: vec![value("x", element::FLOAT, d)],
            nodes: vec![node("Relu", &["x"], &["y"], vec![])],
            ..base()
        }
        .finish()
    };
    let cycle = Model {
        nodes: vec![
            node("Add", &["x", "b"], &["a"], vec![]),
            node("Relu", &["a"], &["b"], vec![]),
            node("Neg", &["b"], &["y"], vec![]),
        ],
        ..base()
    };
    let range = Model {
        nodes: vec![
            node("Range", &["zero", "huge", "one"], &["w"], vec![]),
            node("Cast", &["w"], &["y"], vec![onnx::attribute_int("to", 1)]),
        ],
        initializers: vec![scalar("zero", 0), scalar("huge", i64::MAX), scalar("one", 1)],
        ..base()
    };
    vec![
        case("a cycle", cycle.finish(), encoding, &["cycle", "Add", "Relu"]),
        case(
            "itself",
            Model { nodes: vec![node("Relu", &["y"], &["y"], vec![])], ..base() }.finish(),
            encoding,
            &["cycle"],
        ),
        case("data in another file", weight(external), operation, &["`w`", "../../etc/passwd", "one file"]),
        case("more elements than data", dims(&[1 << 10, 1 << 10]), encoding, &["`w`", "4194304 bytes", "8"]),
        case("more elements than a heap", dims(&[1 << 20, 1 << 10]), large, &["`w`", "4294967296 bytes"]),
        case("dimensions that overflow", dims(&[i64::MAX, i64::MAX]), encoding, &["`w`"]),
        case("a negative dimension", dims(&[-2]), encoding, &["`w`"]),
        case("two dimensions that overflow 32 bits", dims(&[65_536, 65_536, 2]), encoding, &["`w`"]),
        case(
            "ConstantOfShape of a petabyte",
            shaped("ConstantOfShape", &[1 << 25, 1 << 25]),
            large,
            &["ConstantOfShape"],
        ),
        case("Expand to a petabyte", shaped("Expand", &[1 << 25, 1 << 24, 2]), large, &["Expand"]),
        case("Range without end", range.finish(), large, &["Range"]),
        case("an input of exabytes", input(&[Dim::Is(1 << 31), Dim::Is(1 << 31)]), large, &["`x`"]),
        case("an input longer than 32 bits", input(&[Dim::Is(1 << 40)]), encoding, &["`x`"]),
        case("deep nesting", nested(400), encoding, &[]),
        case("tiles that multiply", tiles(), large, &[]),
    ]
}

fn scalar(name: &str, v: i64) -> Message {
    tensor(name, element::INT64, &[], &v.to_le_bytes())
}

/// If inside If inside If …
fn nested(depth: usize) -> Vec<u8> {
    let mut graph = Message::new().messages(1, [node("Relu", &["x"], &["y"], vec![])]).bytes(2, "g");
    for _ in 0..depth {
        let branch = Message::new().bytes(1, "then_branch").int(20, 5).message(6, graph);
        graph = Message::new().messages(1, [node("If", &["c"], &["y"], vec![branch])]).bytes(2, "g");
    }
    Message::new().int(1, 8).message(7, graph).message(8, Message::new().bytes(1, "").int(2, 17)).finish()
}

/// Twelve constants, each 16 times as large as the one before: 64 TiB that the engine would fold.
fn tiles() -> Vec<u8> {
    let mut nodes = vec![];
    let mut from = "one".to_owned();
    for i in 0..12 {
        let to = format!("t{i}");
        nodes.push(node("Tile", &[&from, "sixteen"], &[&to], vec![]));
        from = to;
    }
    nodes.push(node("ReduceSum", &[&from], &["s"], vec![onnx::attribute_int("keepdims", 0)]));
    nodes.push(node("Add", &["x", "s"], &["y"], vec![]));
    let initializers =
        vec![tensor("one", element::FLOAT, &[1], &1f32.to_le_bytes()), onnx::integers("sixteen", &[16])];
    Model { nodes, initializers, ..base() }.finish()
}

/// Uploads each case; then a good model must be accepted and answer, and nothing of the others is there.
fn check(name: &str, cases: fn() -> Vec<Case>) {
    on_every_runtime(name, |replica| {
        let service = Service::deploy(replica, None);
        for Case { what, file, code, words } in cases() {
            println!("{what}");
            let error = refused(service.upload("bad", &file), code, words);
            service.abandon("bad", &file);
            assert!(error.data.len() < 1_500, "{what}: a text one can read: {error}");
        }
        refused(service.controller().describe("bad"), ErrorCode::NotFound, &["bad"]);
        assert_eq!(service.controller().list_all().expect("a list"), []);
        service.serve("add", &onnx::add());
        let row = || Tensor::from_f32(vec![1, 3], &[1.0, 2.0, 3.0]);
        let outputs = service.ask("add", vec![("left".into(), row()), ("right".into(), row())]);
        assert_eq!(outputs.expect("it infers")[0].1.to_f32(), Some(vec![2.0, 4.0, 6.0]));
    });
}

#[test]
fn broken_files_are_refused() {
    check("broken files", broken);
}

#[test]
fn unsupported_operators_are_named() {
    check("unsupported operators", unsupported);
}

#[test]
fn bombs_do_not_go_off() {
    check("bombs", bombs);
}

/// Attributes that tract 0.23.9 takes on trust and indexes with.
#[test]
fn a_panic_of_the_engine_is_an_error_with_its_text() {
    let transpose = vec![node("Transpose", &["x"], &["y"], vec![onnx::attribute_ints("perm", &[7])])];
    let split = vec![node("Split", &["x"], &["y"], vec![onnx::attribute_int("axis", -99)])];
    on_every_runtime("panics", |replica| {
        let service = Service::deploy(replica, None);
        let before = service.controller().server_metadata().expect("metadata").heap_bytes;
        for nodes in [&transpose, &split] {
            let file = Model { nodes: nodes.clone(), ..base() }.finish();
            let words = ["panicked, and everything was taken back", "index out of bounds", "tract-hir"];
            refused(service.upload("odd", &file), ErrorCode::RuntimeError, &words);
            service.abandon("odd", &file);
        }
        let after = service.controller().server_metadata().expect("metadata").heap_bytes;
        assert!(after < before + 100_000, "what the panicking message took is given back: {before}, {after}");
        service.serve("add", &onnx::add());
    });
}

/// Attributes and operands out of all proportion: whatever the engine makes of them, the service answers.
#[test]
fn odd_attributes_are_answered() {
    let files = [
        Model {
            nodes: vec![node("Reshape", &["x", "s"], &["y"], vec![])],
            initializers: vec![onnx::integers("s", &[i64::MIN, i64::MAX])],
            ..base()
        },
        Model {
            nodes: vec![node("Pad", &["x", "p"], &["y"], vec![])],
            initializers: vec![onnx::integers("p", &[i64::MAX, i64::MAX])],
            ..base()
        },
        Model {
            nodes: vec![node("Softmax", &["x"], &["y"], vec![onnx::attribute_int("axis", 99)])],
            ..base()
        },
        Model {
            nodes: vec![node("Concat", &["x"], &["y"], vec![onnx::attribute_int("axis", i64::MIN)])],
            ..base()
        },
        Model {
            nodes: vec![node("Conv", &["x", "w"], &["y"], vec![])],
            initializers: vec![tensor("w", element::FLOAT, &[0, 0, 0, 0], &[])],
            ..base()
        },
    ];
    on_every_runtime("odd attributes", |replica| {
        let service = Service::deploy(replica, None);
        for (ix, file) in files.iter().enumerate() {
            match service.upload("odd", &file.clone().finish()) {
                Err(ic_nn_client::ClientError::Service { error, .. }) => {
                    println!("{ix}: {error}");
                    service.abandon("odd", &file.clone().finish());
                }
                Ok(_) => println!("{ix}: accepted"),
                Err(other) => panic!("{ix}: {other}"),
            }
        }
        service.serve("add", &onnx::add());
    });
}
