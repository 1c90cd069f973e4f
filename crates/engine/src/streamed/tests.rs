//! Graphs whose weights stay where they are answer what graphs in the heap answer, bit for bit.

use ic_nn_types::{GraphEncoding, NamedTensor, Tensor as Wire};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{
    AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
};

use super::*;
use crate::image::{Array, Arrays, HEADER_BYTES, parts};
use crate::stream::{Cache, Far, Reads, cache};
use crate::{Graph, Limits, Precision};

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Reads for Bytes {
    fn read(&self, at: u64, to: &mut [MaybeUninit<u8>]) {
        to.write_copy_of_slice(&self.0[at as usize..][..to.len()]);
    }
}

/// `relu(x · a) · bᵀ + c` and that `· d` where it is said, `x` of `rows` or of any number, its data in a file behind the model.
struct Model {
    rows: Option<i64>,
    sides: [usize; 3],
}

impl Model {
    fn files(&self) -> [Vec<u8>; 2] {
        let [k, n, m] = self.sides;
        let mut data: Vec<u8> = vec![0; 20];
        let mut weight = |name: &str, dims: &[usize], seed: usize| {
            let count: usize = dims.iter().product();
            let offset = data.len();
            for ix in 0..count {
                let number = ((ix * 7919 + seed) % 1009) as f32 / 1009.0 - 0.4;
                data.extend_from_slice(&number.to_le_bytes());
            }
            let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
            TensorProto {
                name: name.into(),
                dims: dims.iter().map(|d| *d as i64).collect(),
                data_type: 1,
                data_location: Some(DataLocation::External as i32),
                external_data: vec![
                    entry("location", "weights".into()),
                    entry("offset", offset.to_string()),
                    entry("length", (4 * count).to_string()),
                ],
                ..Default::default()
            }
        };
        let initializer = vec![
            weight("a", &[k, n], 1),
            weight("b", &[m, n], 2),
            weight("c", &[m], 3),
            weight("d", &[m, k], 4),
        ];
        let node = |op: &str, input: &[&str], output: &str| NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: input.iter().map(|i| (*i).into()).collect(),
            output: vec![output.into()],
            ..Default::default()
        };
        let transposed = AttributeProto { name: "transB".into(), i: 1, r#type: 2, ..Default::default() };
        let mut gemm = node("Gemm", &["h", "b", "c"], "g");
        gemm.attribute.push(transposed);
        let value = |name: &str, columns: usize| {
            let rows = Dimension {
                value: Some(match self.rows {
                    Some(rows) => DimValue::DimValue(rows),
                    None => DimValue::DimParam("rows".into()),
                }),
                ..Default::default()
            };
            let columns = Dimension { value: Some(DimValue::DimValue(columns as i64)), ..Default::default() };
            let tensor = type_proto::Tensor {
                elem_type: 1,
                shape: Some(TensorShapeProto { dim: vec![rows, columns] }),
            };
            let r#type =
                TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
            ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
        };
        let graph = GraphProto {
            name: "streamed".into(),
            node: vec![
                node("MatMul", &["x", "a"], "p"),
                node("Relu", &["p"], "h"),
                gemm,
                node("MatMul", &["g", "d"], "y"),
            ],
            initializer,
            input: vec![value("x", k)],
            output: vec![value("y", k)],
            ..Default::default()
        };
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            graph: Some(graph),
            ..Default::default()
        };
        [model.encode_to_vec(), data]
    }

    /// Bytes of what stays away.
    fn away(&self) -> u64 {
        let [k, n, m] = self.sides;
        [k * n, m * n, m * k]
            .into_iter()
            .map(|numbers| 4 * numbers as u64)
            .filter(|bytes| *bytes >= 1 << 16)
            .sum()
    }

    fn input(&self, rows: u32) -> Vec<NamedTensor> {
        let count = rows as usize * self.sides[0];
        let numbers: Vec<f32> = (0..count).map(|ix| ((ix * 31 + 7) % 101) as f32 / 101.0 - 0.5).collect();
        vec![("x".into(), Wire::from_f32(vec![rows, self.sides[0] as u32], &numbers))]
    }
}

fn streamed(model: &Model, cache: &Arc<Cache>, limits: &Limits) -> (Graph, Option<crate::image::Drawing>) {
    let [head, data] = model.files();
    let bytes = data.len() as u64;
    let stream = Stream::new(Box::new(Bytes([vec![9; 8], data].concat())), cache);
    let files = vec![File::Here(head), File::Far { stream, at: 8, bytes }];
    Graph::load_streamed(GraphEncoding::Onnx, files, Precision::F32, limits).unwrap()
}

struct Left(Arc<Stream>, u64, u64);

impl Arrays for Left {
    fn left(&self) -> u64 {
        self.2 - self.1
    }

    fn fill(&mut self, to: &mut [MaybeUninit<u8>]) {
        self.0.read(self.1, to);
        self.1 += to.len() as u64;
    }

    fn leave(&mut self, bytes: u64) -> Option<Far> {
        (bytes >= 1 << 12).then(|| {
            self.1 += bytes;
            Far::packed(&self.0, self.1 - bytes)
        })
    }

    fn heap(&self) -> u64 {
        0
    }
}

/// The graph of a drawing's image, its panels where they are.
fn imaged(drawing: &crate::image::Drawing, cache: &Arc<Cache>, limits: &Limits) -> Graph {
    let image = drawing.image().unwrap();
    let mut bytes = vec![];
    for piece in image.pieces() {
        match piece {
            Array::Here(piece) => bytes.extend_from_slice(piece),
            Array::Far(far, length) => {
                let (pieces, mut at) = (far.pieces().unwrap(), 0);
                while at < length {
                    at += pieces.at(at, &mut |piece| bytes.extend_from_slice(piece));
                }
            }
        }
    }
    assert_eq!(bytes.len() as u64, image.bytes());
    let (head, _) = parts(bytes.first_chunk().unwrap()).unwrap();
    let at = HEADER_BYTES as u64 + head;
    let end = bytes.len() as u64;
    let (head, bytes) = (bytes[HEADER_BYTES..at as usize].to_vec(), bytes);
    let stream = Stream::new(Box::new(Bytes(bytes)), cache);
    Graph::from_image(&head, &mut Left(stream, at, end), limits).unwrap()
}

/// All that it gives, a step at a time.
fn by_steps(graph: &mut Graph, inputs: Vec<NamedTensor>, limits: &Limits) -> Vec<NamedTensor> {
    let arranged = graph.arrange(inputs, limits).unwrap();
    let mut run = graph.begin(&arranged, limits).unwrap();
    loop {
        let mut first = true;
        let outputs = run.advance(&mut |_| std::mem::take(&mut first), &mut |_| ()).unwrap();
        if let Some(outputs) = outputs {
            graph.finish(run);
            return outputs;
        }
    }
}

#[test]
fn weights_that_stay_in_a_file_or_an_image_give_the_same_bits() {
    for rows in [1, 3, 40] {
        let model = Model { rows: Some(rows), sides: [200, 333, 130] };
        let [head, data] = model.files();
        let limits = Limits::WASM32;
        let mut here = Graph::load_files(vec![head, data], &limits).unwrap();
        let input = || model.input(rows as u32);
        let expected = here.infer(input(), &limits).unwrap();
        assert_eq!(here.streamed_bytes(), 0);
        for most in [0, 100_000, 1 << 24] {
            let cache = cache(most);
            let (mut graph, drawing) = streamed(&model, &cache, &limits);
            let more = graph.streamed_bytes() - model.away();
            assert!(more < model.away() / 50, "rounded up to whole vectors");
            assert_eq!(graph.description(), here.description());
            assert!(graph.infer(input(), &limits).unwrap() == expected, "{rows} rows, {most} cached");
            assert!(by_steps(&mut graph, input(), &limits) == expected);
            let mut imaged = imaged(&drawing.unwrap(), &cache, &limits);
            assert!(imaged.infer(input(), &limits).unwrap() == expected);
            assert!(by_steps(&mut imaged, input(), &limits) == expected);
            let usage = cache.usage();
            assert!(usage.bytes <= most.max(100_000) && usage.misses > 0, "{usage:?}");
            let shapes = vec![vec![rows as u32, 200]];
            let takes = graph.estimate(&shapes).unwrap().instructions;
            assert!(takes > here.estimate(&shapes).unwrap().instructions + model.away());
        }
    }
}

#[test]
fn a_heap_that_does_not_hold_the_weights_loads_them_all_the_same() {
    let model = Model { rows: None, sides: [510, 1021, 767] };
    let [head, data] = model.files();
    let limits = Limits { available_bytes: 300_000 };
    assert!(Graph::load_files(vec![head.clone(), data.clone()], &limits).is_err());
    let mut here = Graph::load_files(vec![head, data], &Limits::WASM32).unwrap();
    let cache = cache(1 << 20);
    let (mut graph, _) = streamed(&model, &cache, &limits);
    for rows in [1, 5, 2] {
        let expected = here.infer(model.input(rows), &Limits::WASM32).unwrap();
        assert!(graph.infer(model.input(rows), &limits).unwrap() == expected, "{rows} rows");
    }
    drop(graph);
    assert_eq!(cache.usage().bytes, 0);
}

#[test]
fn what_is_no_operand_of_products_alone_is_read() {
    let model = Model { rows: Some(2), sides: [130, 131, 133] };
    let [head, data] = model.files();
    let mut proto = ModelProto::decode(head.as_slice()).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    // `d` is an output as well.
    let mut output = graph.output[0].clone();
    output.name = "d".into();
    graph.output.push(output);
    let cache = cache(1 << 20);
    let bytes = data.len() as u64;
    let stream = Stream::new(Box::new(Bytes(data.clone())), &cache);
    let files = vec![File::Here(proto.encode_to_vec()), File::Far { stream, at: 0, bytes }];
    let limits = Limits::WASM32;
    let (mut graph, _) = Graph::load_streamed(GraphEncoding::Onnx, files, Precision::F32, &limits).unwrap();
    let away: usize = [130 * 132, 131 * 136].iter().sum();
    assert_eq!(graph.streamed_bytes(), 4 * away as u64, "columns up to whole vectors");
    let mut here = Graph::load_files(vec![proto.encode_to_vec(), data], &limits).unwrap();
    let (got, expected) = (graph.infer(model.input(2), &limits), here.infer(model.input(2), &limits));
    assert!(got.unwrap() == expected.unwrap());
}
