//! Stages against the whole: the same bits, on the models that are here and on graphs drawn at random.

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};

use ic_nn_types::NamedTensor;

use super::*;
use crate::fixture;
use crate::one_node::{FLOAT, int, ints, value};

/// Numbers by a seed.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.below(2001) as f32 / 1000.0 - 1.0).collect()
    }

    fn constant(&mut self, name: &str, dims: &[i64]) -> TensorProto {
        let raw = self.floats(dims.iter().product::<i64>() as usize);
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: FLOAT,
            raw_data: raw.iter().flat_map(|v| (v / 4.0).to_le_bytes()).collect(),
            ..Default::default()
        }
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{op}/{output}"),
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn model(
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: Vec<ValueInfoProto>,
    output: Vec<ValueInfoProto>,
) -> Vec<u8> {
    let graph = GraphProto { node, initializer, input, output, name: "g".into(), ..Default::default() };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..Default::default() }.encode_to_vec()
}

/// What a model answers on numbers that its shapes decide, and the numbers; none where it refuses them.
fn whole(file: &[u8]) -> Option<(Vec<NamedTensor>, Vec<NamedTensor>)> {
    let mut graph = Graph::load(file.to_vec(), &Limits::WASM32).ok()?;
    let inputs = graph.description().inputs.iter().map(|i| (i.name.clone(), fixture::varied(i)));
    let inputs: Vec<NamedTensor> = inputs.collect();
    let outputs = graph.infer(inputs.clone(), &Limits::WASM32).ok()?;
    Some((inputs, outputs))
}

/// Holds the stages to the whole; how many there are.
#[track_caller]
fn same(what: &str, file: &[u8], cut: &Cut) -> usize {
    let (inputs, outputs) = whole(file).unwrap_or_else(|| panic!("{what} does not run"));
    let sharded = shard(vec![file.to_vec()], cut, &Limits::WASM32).unwrap_or_else(|e| panic!("{what}: {e}"));
    let staged = sharded.infer(inputs, &Limits::WASM32).unwrap_or_else(|e| panic!("{what}: {e}"));
    let plan = |file: &[u8]| {
        let graph = Graph::load(file.to_vec(), &Limits::WASM32).unwrap();
        let shapes: Vec<_> = graph.description().inputs.iter().map(|i| i.smallest()).collect();
        let nodes = graph.nodes(&shapes).unwrap_or_default();
        nodes.into_iter().map(|n| (n.name, n.operator, n.dimensions, n.estimate)).collect::<Vec<_>>()
    };
    if staged != outputs {
        println!("whole {:?}", plan(file));
        sharded.stages.iter().for_each(|s| println!("stage {:?}", plan(&s.file)));
    }
    for ((name, whole), (_, staged)) in outputs.iter().zip(&staged) {
        let floats = |t: &ic_nn_types::Tensor| t.to_f32().unwrap_or_default();
        let apart = floats(whole).iter().zip(&floats(staged)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let shapes = sharded.stages.iter().map(|s| (&s.takes, &s.gives, s.weight_bytes));
        assert!(
            whole == staged,
            "{what}: `{name}` {:?} is {apart} apart: {:?}",
            whole.dimensions,
            shapes.collect::<Vec<_>>()
        );
    }
    sharded.stages.len()
}

fn stages(stages: usize) -> Cut {
    Cut { stages: Some(stages), ..Default::default() }
}

#[test]
fn models_that_are_here_answer_the_same_bits_in_stages() {
    let (mut compared, mut refused) = (0, vec![]);
    for path in fixture::models() {
        let file = std::fs::read(&path).unwrap();
        let Some((inputs, outputs)) = whole(&file) else { continue };
        for count in [2, 3, 7] {
            let name = format!("{} in {count}", path.display());
            match shard(vec![file.clone()], &stages(count), &Limits::WASM32) {
                Err(ShardError::Uncuttable(why)) => refused.push(format!("{name}: {why}")),
                Err(e) => panic!("{name}: {e}"),
                Ok(sharded) => {
                    assert_eq!(sharded.stages.len(), count);
                    let staged = sharded.infer(inputs.clone(), &Limits::WASM32);
                    let staged = staged.unwrap_or_else(|e| panic!("{name}: {e}"));
                    let bits = |t: &[NamedTensor]| {
                        t.iter().map(|(n, t)| (n.clone(), t.data.clone())).collect::<Vec<_>>()
                    };
                    assert!(bits(&staged) == bits(&outputs), "{name}: other bits");
                    compared += 1;
                }
            }
        }
    }
    refused.iter().for_each(|why| println!("{why}"));
    assert!(compared >= 40, "{compared} compared, refused: {refused:#?}");
}

#[test]
fn the_digits_keep_their_symbol() {
    let file = std::fs::read(fixture::repository("models/digits.onnx")).unwrap();
    let sharded = shard(vec![file], &stages(3), &Limits::WASM32).unwrap();
    assert_eq!(sharded.outputs.len(), 1);
    for stage in &sharded.stages {
        let graph = Graph::load(stage.file.clone(), &Limits::WASM32).unwrap();
        let names: Vec<&str> = graph.description().inputs.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, stage.takes);
        for input in &graph.description().inputs {
            assert!(matches!(input.dimensions[0], crate::Dimension::Symbol(_)), "{input:?}");
            assert!(input.dimensions[1..].iter().all(|d| d.fixed().is_some()), "{input:?}");
        }
    }
}

/// A graph of rows of 16 numbers: products, sums, functions, each of one or two tensors before it.
fn drawn(seed: &mut Seed, steps: usize) -> Vec<u8> {
    let mut tensors = vec!["x".to_owned()];
    let (mut nodes, mut constants) = (vec![], vec![]);
    for step in 0..steps {
        let output = format!("t{step}");
        // Mostly the newest, at times one from long before: a skip.
        let far = tensors[seed.below(tensors.len() as u64) as usize].clone();
        let near = tensors[tensors.len() - 1].clone();
        nodes.push(match seed.below(6) {
            0 | 1 => {
                let weights = format!("w{step}");
                constants.push(seed.constant(&weights, &[16, 16]));
                node("MatMul", &[&near, &weights], &output)
            }
            2 => {
                let bias = format!("b{step}");
                constants.push(seed.constant(&bias, &[16]));
                node("Add", &[&near, &bias], &output)
            }
            3 => node("Add", &[&near, &far], &output),
            4 => node(["Relu", "Sigmoid", "Tanh"][seed.below(3) as usize], &[&near], &output),
            _ => NodeProto { attribute: vec![int("axis", -1)], ..node("Softmax", &[&far], &output) },
        });
        tensors.push(output);
    }
    let outputs = [tensors[steps].as_str(), tensors[steps / 2].as_str()];
    let declared = outputs.map(|name| value(name, FLOAT, &[-1, 16]));
    model(nodes, constants, vec![value("x", FLOAT, &[-1, 16])], declared.into())
}

#[test]
fn drawn_graphs_answer_the_same_bits_in_stages() {
    let mut compared = 0;
    for seed in 0..60 {
        let mut seed = Seed(seed);
        let steps = 6 + seed.below(20) as usize;
        let file = drawn(&mut seed, steps);
        let count = 2 + seed.below(3) as usize;
        match shard(vec![file.clone()], &stages(count), &Limits::WASM32) {
            Ok(_) => compared += usize::from(same("a drawn graph", &file, &stages(count)) == count),
            Err(ShardError::Uncuttable(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert!(compared >= 30, "{compared}");
}

/// Inverted residuals, as in MobileNetV2.
fn residuals(seed: &mut Seed, blocks: usize) -> Vec<u8> {
    let (mut nodes, mut constants) = (vec![], vec![]);
    let mut conv = |seed: &mut Seed, from: &str, to: &str, dims: [i64; 4], group: i64, bounded: bool| {
        let weights = format!("{to}.w");
        constants.push(seed.constant(&weights, &dims));
        let around = dims[2] / 2;
        let out = if bounded { format!("{to}.free") } else { to.to_owned() };
        let attributes =
            vec![ints("pads", &[around; 4]), int("group", group), ints("kernel_shape", &dims[2..])];
        let mut made = vec![NodeProto { attribute: attributes, ..node("Conv", &[from, &weights], &out) }];
        if bounded {
            made.push(node("Relu", &[&out], to));
        }
        made
    };
    let mut at = "x".to_owned();
    for block in 0..blocks {
        let name = |part: &str| format!("b{block}.{part}");
        nodes.extend(conv(seed, &at, &name("wide"), [48, 8, 1, 1], 1, true));
        nodes.extend(conv(seed, &name("wide"), &name("deep"), [48, 1, 3, 3], 48, true));
        nodes.extend(conv(seed, &name("deep"), &name("narrow"), [8, 48, 1, 1], 1, false));
        nodes.push(node("Add", &[&at, &name("narrow")], &name("out")));
        at = name("out");
    }
    nodes.push(node("GlobalAveragePool", &[&at], "y"));
    model(nodes, constants, vec![value("x", FLOAT, &[1, 8, 14, 14])], vec![value("y", FLOAT, &[1, 8, 1, 1])])
}

#[test]
fn inverted_residuals_are_cut_where_they_are_narrow() {
    let file = residuals(&mut Seed(5), 6);
    for count in [2, 3, 4] {
        assert_eq!(same("residuals", &file, &stages(count)), count);
        let sharded = shard(vec![file.clone()], &stages(count), &Limits::WASM32).unwrap();
        // 8 channels and not 48 cross, and never two tensors.
        for stage in &sharded.stages[1..] {
            assert_eq!((stage.takes.len(), stage.bytes_in), (1, 8 * 14 * 14 * 4), "{:?}", stage.takes);
        }
    }
}

/// Rows of 32 numbers, widened to so many and back.
fn wide(columns: i64, bias: bool) -> Vec<u8> {
    let mut seed = Seed(3);
    let constants = vec![
        seed.constant("w", &[32, columns]),
        seed.constant("b", &[columns]),
        seed.constant("v", &[columns, 32]),
    ];
    let first = if bias {
        vec![node("MatMul", &["x", "w"], "p"), node("Add", &["p", "b"], "s"), node("Relu", &["s"], "h")]
    } else {
        vec![node("MatMul", &["x", "w"], "h")]
    };
    let nodes = first.into_iter().chain([node("MatMul", &["h", "v"], "z"), node("Tanh", &["z"], "y")]);
    model(nodes.collect(), constants, vec![value("x", FLOAT, &[-1, 32])], vec![value("y", FLOAT, &[-1, 32])])
}

#[test]
fn products_larger_than_a_stage_are_cut_by_columns() {
    for (columns, bias) in [(256, false), (256, true), (250, true), (1000, true)] {
        let file = wide(columns, bias);
        // Half of the first product's weights and its bias.
        let most = columns as u64 * 33 * 4 / 2 + 4096;
        let cut = Cut { max_bytes: Some(most), ..Default::default() };
        let sharded = shard(vec![file.clone()], &cut, &Limits::WASM32).unwrap();
        let parts = sharded.stages.iter().filter(|stage| stage.part.is_some()).count();
        assert!(parts >= 2, "{parts} parts of {columns} columns");
        assert!(sharded.stages.iter().all(|stage| stage.weight_bytes <= most), "{columns}");
        same(&format!("{columns} columns"), &file, &cut);
    }
}

#[test]
fn a_table_and_a_product_at_the_end_are_cut_as_well() {
    let mut seed = Seed(4);
    let constants = vec![seed.constant("table", &[100, 64]), seed.constant("w", &[64, 300])];
    let nodes = vec![node("Gather", &["table", "ids"], "rows"), node("MatMul", &["rows", "w"], "y")];
    let ids = value("ids", crate::one_node::INT64, &[1, 5]);
    let file = model(nodes, constants, vec![ids], vec![value("y", FLOAT, &[1, 5, 300])]);
    let cut = Cut { max_bytes: Some(20_000), ..Default::default() };
    let sharded = shard(vec![file.clone()], &cut, &Limits::WASM32).unwrap();
    // Two parts of the table, four of the product, and what puts them together.
    assert!(sharded.stages.len() >= 6, "{}", sharded.stages.len());
    assert_eq!(sharded.stages.last().unwrap().weight_bytes, 0);
    same("a table and a product", &file, &cut);
}

#[test]
fn dear_products_are_cut_where_it_is_asked_for() {
    let file = wide(4096, true);
    let cut = Cut { stages: Some(4), tensor: true, ..Default::default() };
    let sharded = shard(vec![file.clone()], &cut, &Limits::WASM32).unwrap();
    assert!(sharded.stages.iter().any(|stage| stage.part.is_some()));
    same("a dear product", &file, &cut);
    let plain = shard(vec![file], &stages(2), &Limits::WASM32).unwrap();
    assert!(plain.stages.iter().all(|stage| stage.part.is_none()));
}

#[test]
fn equal_products_are_shared_equally() {
    let mut seed = Seed(9);
    let name = |ix: usize| if ix == 0 { "x".to_owned() } else { format!("t{ix}") };
    let constants = (0..12).map(|ix| seed.constant(&format!("w{ix}"), &[256, 256])).collect();
    let nodes = (0..12).map(|ix| node("MatMul", &[&name(ix), &format!("w{ix}")], &name(ix + 1))).collect();
    let x = || value("x", FLOAT, &[1, 256]);
    let file = model(nodes, constants, vec![x()], vec![value(&name(12), FLOAT, &[1, 256])]);
    for count in [2, 3, 4, 6] {
        assert_eq!(same("equal products", &file, &stages(count)), count);
        let sharded = shard(vec![file.clone()], &stages(count), &Limits::WASM32).unwrap();
        let nodes: Vec<usize> = sharded.stages.iter().map(|stage| stage.nodes).collect();
        assert_eq!(nodes, vec![12 / count; count]);
    }
    // As few stages as hold four of the weights each.
    let bytes = 4 * 256 * 256 * 4;
    let bounded =
        shard(vec![file], &Cut { max_bytes: Some(bytes), ..Default::default() }, &Limits::WASM32).unwrap();
    assert_eq!(bounded.stages.len(), 3);
    assert!(bounded.stages.iter().all(|stage| stage.weight_bytes <= bytes));
}

#[test]
fn constants_are_copied_to_every_stage_that_reads_them() {
    let mut seed = Seed(8);
    let constants = vec![seed.constant("w", &[16, 16])];
    let mut nodes = vec![];
    for (step, name) in ["a", "b", "c", "y"].iter().enumerate() {
        let from = ["x", "a", "b", "c"][step];
        nodes.push(node("Transpose", &["w"], &format!("t{step}")));
        nodes.push(node("MatMul", &[from, &format!("t{step}")], &format!("{name}.p")));
        nodes.push(node("Tanh", &[&format!("{name}.p")], name));
    }
    let file = model(nodes, constants, vec![value("x", FLOAT, &[4, 16])], vec![value("y", FLOAT, &[4, 16])]);
    assert_eq!(same("shared weights", &file, &stages(4)), 4);
    let sharded = shard(vec![file], &stages(4), &Limits::WASM32).unwrap();
    let holding = sharded.stages.iter().filter(|stage| stage.weight_bytes == 16 * 16 * 4).count();
    let none = sharded.stages.iter().filter(|stage| stage.weight_bytes == 0).count();
    assert!(holding >= 2 && holding + none == 4, "{holding} hold it, {none} hold nothing");
}

#[test]
fn what_cannot_be_cut_says_why() {
    let words = |file: Vec<u8>, cut: Cut| shard(vec![file], &cut, &Limits::WASM32).unwrap_err().to_string();
    let digits = || std::fs::read(fixture::repository("models/digits.onnx")).unwrap();
    assert!(words(digits(), Cut::default()).contains("say how many stages"));
    assert!(words(digits(), stages(0)).contains("say how many stages"));
    assert!(words(digits(), stages(200)).contains("are possible"));
    assert!(words(b"PK\x03\x04".to_vec(), stages(2)).contains("ONNX"));
    let tiny = Cut { max_bytes: Some(8), ..Default::default() };
    let why = words(digits(), tiny);
    assert!(why.contains("bytes of weights") && why.contains("cut by columns"), "{why}");
    let unknown = Cut { shapes: vec![("nothing".into(), vec![1])], ..stages(2) };
    assert!(words(digits(), unknown).contains("nothing"));
}
