//! Models of other encodings than ONNX, by the features that read them: known answers, descriptions, and bytes that are
//! none.
#![cfg(any(feature = "nnef", feature = "tensorflow", feature = "tensorflowlite"))]

use ic_nn_engine::{Graph, Limits, ModelError};
use ic_nn_types::{GraphEncoding, Tensor};

fn load(encoding: GraphEncoding, bytes: &[u8]) -> Result<Graph, ModelError> {
    Graph::load_as(encoding, vec![bytes.to_vec()], &Limits::default())
}

fn infer(graph: &mut Graph, name: &str, shape: &[u32], values: &[f32]) -> Vec<f32> {
    let input = Tensor::from_f32(shape.to_vec(), values);
    let outputs = graph.infer(vec![(name.into(), input)], &Limits::default()).unwrap();
    assert_eq!(outputs.len(), 1);
    outputs[0].1.to_f32().unwrap()
}

fn close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {want:?}");
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

/// `bytes` with a few of them others, and now and then cut short.
fn mutant(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.roll(3) {
        let at = dice.roll(bytes.len());
        bytes[at] = dice.roll(256) as u8;
    }
    if dice.roll(8) == 0 {
        bytes.truncate(dice.roll(bytes.len()));
    }
    bytes
}

/// Tampers with `bytes` and loads what comes of it: an answer, an error, or a panic of tract's, never one of this crate's.
fn tamper(encoding: GraphEncoding, bytes: &[u8], rounds: usize) {
    thread_local! {
        static PANICKED_AT: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
    }
    std::panic::set_hook(Box::new(|info| {
        PANICKED_AT.set(info.location().map(|l| l.file().to_owned()).unwrap_or_default());
    }));
    let limits = Limits { available_bytes: 64 << 20 };
    let mut dice = Dice(0x1c_0de);
    let mutants: Vec<Vec<u8>> = (0..rounds).map(|_| mutant(bytes, &mut dice)).collect();
    let refused = |bytes: &Vec<u8>| {
        let load = || Graph::load_as(encoding, vec![bytes.clone()], &limits).map(drop);
        let loaded = std::panic::catch_unwind(load);
        if loaded.is_err() {
            let file = PANICKED_AT.take();
            assert!(!file.starts_with("crates/engine"), "{file}");
        }
        matches!(loaded, Ok(Err(_)))
    };
    // On two threads: where the reader is a slow one, the other tests have long ended.
    let refused: usize = std::thread::scope(|scope| {
        let count =
            |part| scope.spawn(move || <[Vec<u8>]>::iter(part).filter(|bytes| refused(bytes)).count());
        let parts: Vec<_> = mutants.chunks(rounds.div_ceil(2)).map(count).collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    _ = std::panic::take_hook();
    assert!(refused > rounds / 20, "{refused} of {rounds} refused");
}

#[cfg(any(feature = "tensorflow", feature = "tensorflowlite"))]
mod tensorflow {
    use super::*;

    const X: [f32; 8] = [1.0, -2.0, 0.5, 3.0, 0.0, 1.0, -1.0, 0.25];

    fn fixture(name: &str) -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encodings");
        std::fs::read(folder.join(name)).unwrap()
    }

    /// What `scripts/exporters/encodings/make.py` made the files of: softmax(relu(x W + b) V + c).
    fn answer(x: &[f32]) -> Vec<f32> {
        let mut answer = vec![];
        for row in x.chunks(4) {
            let hidden: Vec<f32> = (0..8)
                .map(|j| {
                    let sum: f32 = (0..4).map(|i| row[i] * (((i * 3 + j) % 5) as f32 - 2.0)).sum::<f32>();
                    (sum + j as f32 - 3.0).max(0.0)
                })
                .collect();
            let logits: Vec<f32> = (0..3)
                .map(|j| {
                    (0..8).map(|i| hidden[i] * (((i + 2 * j) % 3) as f32 - 1.0) / 8.0).sum::<f32>()
                        + [0.5, -0.25, 1.0][j]
                })
                .collect();
            let total: f32 = logits.iter().map(|l: &f32| l.exp()).sum();
            answer.extend(logits.iter().map(|l| l.exp() / total));
        }
        answer
    }

    #[cfg(feature = "tensorflow")]
    #[test]
    fn a_frozen_graph_answers_for_every_batch() {
        let mut graph = load(GraphEncoding::TensorFlow, &fixture("dense.pb")).unwrap();
        let description = graph.description();
        assert_eq!(description.inputs.len(), 1);
        assert_eq!(description.wire_inputs()[0].dimensions, [None, Some(4)]);
        assert_eq!(description.outputs.len(), 1);
        assert_eq!(description.outputs[0].ty, ic_nn_types::TensorType::FP32);
        assert_eq!(description.parameters, 32 + 8 + 24 + 3);
        let operator = |name: &str| description.operators.iter().find(|o| o.operator == name).unwrap().count;
        assert_eq!((operator("MatMul"), operator("Softmax")), (2, 1));
        let input = description.inputs[0].name.clone();
        close(&infer(&mut graph, &input, &[2, 4], &X), &answer(&X));
        close(&infer(&mut graph, &input, &[1, 4], &X[..4]), &answer(&X[..4]));
    }

    #[cfg(feature = "tensorflow")]
    #[test]
    fn graphs_that_ask_for_too_much_or_for_chance_are_refused() {
        use prost::Message;
        use tract_tensorflow::tfpb::tensorflow::attr_value::Value;
        use tract_tensorflow::tfpb::tensorflow::{AttrValue, GraphDef};

        let graph = GraphDef::decode(fixture("dense.pb").as_slice()).unwrap();
        let error = |graph: &GraphDef| {
            load(GraphEncoding::TensorFlow, &graph.encode_to_vec()).err().unwrap().to_string()
        };

        let mut random = graph.clone();
        random.node[0].op = "RandomUniform".into();
        assert!(error(&random).contains("draws random numbers"), "{}", error(&random));

        let mut unknown = graph.clone();
        unknown.node[0].op = "StatefulPartitionedCall".into();
        assert!(error(&unknown).contains("unsupported operators: StatefulPartitionedCall"));

        let mut slots = graph.clone();
        let reader = slots.node.iter_mut().find(|n| !n.input.is_empty()).unwrap();
        reader.input[0] += ":4294967290";
        assert!(error(&slots).contains(":4294967290"), "{}", error(&slots));

        let mut large = graph.clone();
        for node in &mut large.node {
            if let Some(AttrValue { value: Some(Value::Tensor(tensor)) }) = node.attr.get_mut("value") {
                for dim in tensor.tensor_shape.iter_mut().flat_map(|s| &mut s.dim) {
                    dim.size = 1 << 20;
                }
            }
        }
        assert!(error(&large).contains("bytes are available"), "{}", error(&large));

        tamper(GraphEncoding::TensorFlow, &fixture("dense.pb"), 2_000);
    }

    #[cfg(feature = "tensorflowlite")]
    #[test]
    fn a_lite_file_answers() {
        for encoding in [GraphEncoding::TensorFlowLite, GraphEncoding::Autodetect] {
            let mut graph = load(encoding, &fixture("dense.tflite")).unwrap();
            let description = graph.description();
            assert_eq!(description.inputs.len(), 1);
            assert_eq!(description.wire_inputs()[0].dimensions, [Some(2), Some(4)]);
            assert_eq!(description.outputs[0].dimensions, [Some(2), Some(3)]);
            assert_eq!(description.operators[0].operator, "FULLY_CONNECTED");
            assert!(description.parameters >= 32 + 8 + 24 + 3, "{}", description.parameters);
            let input = description.inputs[0].name.clone();
            close(&infer(&mut graph, &input, &[2, 4], &X), &answer(&X));
        }
    }

    #[cfg(feature = "tensorflowlite")]
    #[test]
    fn a_lite_file_tampered_with_is_refused() {
        tamper(GraphEncoding::TensorFlowLite, &fixture("dense.tflite"), 2_000);
    }
}

#[cfg(feature = "nnef")]
mod nnef {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "version 1.0;
graph scale(x) -> (y)
{
    x = external<scalar>(shape = [2, 3]);
    w = variable<scalar>(label = 'weights/w', shape = [1, 3]);
    y = x * w + 1.0;
}
";

    const DYNAMIC: &str = "version 1.0;
extension tract_registry tract_core;
extension tract_symbol N;
graph scale(x) -> (y)
{
    x = tract_core_external(shape = [N, 3], datum_type = 'f32');
    w = variable<scalar>(label = 'weights/w', shape = [1, 3]);
    y = mul(x, w);
}
";

    /// A `.dat` file: the header of NNEF 1.0, then the items.
    fn dat(shape: &[u32], values: &[f32]) -> Vec<u8> {
        let mut dat = vec![0x4e, 0xef, 1, 0];
        dat.extend((values.len() as u32 * 4).to_le_bytes());
        dat.extend((shape.len() as u32).to_le_bytes());
        dat.extend((0..8).flat_map(|ix| shape.get(ix).copied().unwrap_or(0).to_le_bytes()));
        dat.extend(32u32.to_le_bytes());
        dat.resize(128, 0);
        dat.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        dat
    }

    /// A tar as POSIX has it: a header of 512 bytes a file, everything in blocks of as many.
    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = vec![];
        for (name, bytes) in files {
            let mut header = [0u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..107].copy_from_slice(b"0000644");
            header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
            header[136..147].copy_from_slice(b"00000000000");
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

    fn model(text: &str) -> Vec<u8> {
        tar(&[("graph.nnef", text.as_bytes()), ("weights/w.dat", &dat(&[1, 3], &[1.0, 10.0, 100.0]))])
    }

    fn zip(bytes: &[u8]) -> Vec<u8> {
        let mut zip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        zip.write_all(bytes).unwrap();
        zip.finish().unwrap()
    }

    #[test]
    fn an_archive_answers_zipped_or_not() {
        for bytes in [model(TEXT), zip(&model(TEXT))] {
            let mut graph = load(GraphEncoding::Autodetect, &bytes).unwrap();
            let description = graph.description();
            assert_eq!(description.inputs[0].name, "x");
            assert_eq!(description.wire_inputs()[0].dimensions, [Some(2), Some(3)]);
            assert_eq!(description.outputs[0].name, "y");
            assert_eq!(description.outputs[0].dimensions, [Some(2), Some(3)]);
            assert!(description.parameters >= 3);
            assert!(description.operators.iter().any(|o| o.operator == "Mul"), "{:?}", description.operators);
            let y = infer(&mut graph, "x", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            close(&y, &[2.0, 21.0, 301.0, 5.0, 51.0, 601.0]);
        }
    }

    #[test]
    fn symbols_are_dynamic_dimensions() {
        let mut graph = load(GraphEncoding::Autodetect, &model(DYNAMIC)).unwrap();
        assert_eq!(graph.description().wire_inputs()[0].dimensions, [None, Some(3)]);
        assert_eq!(graph.description().outputs[0].dimensions, [None, Some(3)]);
        close(&infer(&mut graph, "x", &[1, 3], &[1.0, 2.0, 3.0]), &[1.0, 20.0, 300.0]);
        let y = infer(&mut graph, "x", &[2, 3], &[1.0, 2.0, 3.0, 0.0, 0.5, 1.0]);
        close(&y, &[1.0, 20.0, 300.0, 0.0, 5.0, 100.0]);
    }

    #[test]
    fn archives_that_are_none_are_refused() {
        let refused = |bytes: &[u8]| load(GraphEncoding::Autodetect, bytes).err().unwrap().to_string();
        let empty = tar(&[("readme", b"nothing")]);
        assert!(refused(&empty).contains("not a NNEF model"), "{}", refused(&empty));
        assert!(refused(&zip(&model(TEXT))[..60]).contains("unpack"));

        let deep =
            format!("version 1.0;\ngraph g(x) -> (y) {{ y = {}x{}; }}", "(".repeat(9_999), ")".repeat(9_999));
        assert!(refused(&model(&deep)).contains("nest"), "{}", refused(&model(&deep)));

        let mut hungry = dat(&[1 << 15, 1 << 14], &[1.0]);
        hungry[4..8].copy_from_slice(&(1u32 << 31).to_le_bytes());
        let hungry = tar(&[("graph.nnef", TEXT.as_bytes()), ("weights/w.dat", &hungry)]);
        assert!(refused(&hungry).contains("its header asks"), "{}", refused(&hungry));

        let bomb = zip(&vec![0; 64 << 20]);
        let limits = Limits { available_bytes: 16 << 20 };
        let error = Graph::load_as(GraphEncoding::Autodetect, vec![bomb], &limits).err().unwrap();
        assert!(matches!(error, ModelError::TooLarge { .. }), "{error}");

        let two = vec![model(TEXT), vec![1]];
        let error = Graph::load_as(GraphEncoding::Autodetect, two, &Limits::default()).err().unwrap();
        assert!(error.to_string().contains("2 came"), "{error}");

        // Each reads all that NNEF defines anew, some ten milliseconds: fewer of them, unless it is to be long.
        let rounds = if std::env::var_os("IC_NN_LONG").is_some() { 2_000 } else { 500 };
        tamper(GraphEncoding::Autodetect, &model(TEXT), rounds);
    }
}
