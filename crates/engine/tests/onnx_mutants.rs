//! The onnx package's backend cases, tampered with: whatever a model or a caller says, our own operators answer or
//! refuse. What tract panics on is the canister's to contain; a panic in this crate fails the test.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use ic_nn_engine::{Graph, Limits};
use ic_nn_onnx_backend::{Case, exported};
use ic_nn_types::{NamedTensor, Tensor};
use prost::Message;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{ModelProto, ValueInfoProto, type_proto};

thread_local! {
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Numbers from a seed, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}

#[test]
fn tampered_cases_do_not_panic_here() {
    let Some(cases) = exported() else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let (each, seed) = (number("IC_NN_MUTANTS").unwrap_or(1), number("IC_NN_SEED").unwrap_or(1));
    println!("{each} mutants a case from seed {seed}");
    panic::set_hook(Box::new(|info| PANICKED_AT.set(info.to_string())));
    let mut own = vec![];
    for (ix, case) in cases.iter().enumerate().filter(|(_, c)| c.kind == "node" && c.beyond.is_none()) {
        for n in 0..each {
            let mut dice = Dice((seed << 32) ^ ((ix as u64) << 12) ^ (n + 1) ^ 0x9e37_79b9_7f4a_7c15);
            let ran = panic::catch_unwind(AssertUnwindSafe(|| tampered(case, &mut dice)));
            let at = PANICKED_AT.take();
            if ran.is_err() && at.contains("crates/engine/src") {
                own.push(format!("{} mutant {n}: {at}", case.name));
            }
        }
    }
    _ = panic::take_hook();
    assert!(own.is_empty(), "{} panics of our own:\n{}", own.len(), own.join("\n"));
}

fn tampered(case: &Case, dice: &mut Dice) {
    let mut model = ModelProto::decode(case.model().as_slice()).unwrap();
    let Some(set) = case.data_sets().into_iter().next() else { return };
    let mut inputs = set.inputs;
    for _ in 0..=dice.roll(3) {
        tamper(&mut model, &mut inputs, dice);
    }
    // Memory is asked for as the canister would grant it, so that no mutant takes the machine's.
    let limits = Limits { available_bytes: 64 << 20 };
    if let Ok(mut graph) = Graph::load(model.encode_to_vec(), &limits) {
        _ = graph.infer(inputs, &limits);
    }
}

fn tamper(model: &mut ModelProto, inputs: &mut [NamedTensor], dice: &mut Dice) {
    const INTEGERS: [i64; 10] = [-1, 0, 1, 2, 3, 4, 7, -2, -9, 40];
    /// Operators that are ours from beginning to end: on what others say, tract allocates and loops before anything
    /// admits it.
    const OWN: [&str; 30] = [
        "AffineGrid",
        "Attention",
        "BitCast",
        "BitShift",
        "CausalConvWithState",
        "Celu",
        "CenterCropPad",
        "Col2Im",
        "Compress",
        "CumProd",
        "DeformConv",
        "DequantizeLinear",
        "Det",
        "Dropout",
        "GRU",
        "LSTM",
        "LinearAttention",
        "MaxUnpool",
        "OneHot",
        "OptionalGetElement",
        "OptionalHasElement",
        "PRelu",
        "QuantizeLinear",
        "RNN",
        "ReverseSequence",
        "RoiAlign",
        "SpaceToDepth",
        "SwiGLU",
        "Swish",
        "TensorScatter",
    ];
    /// Attributes of theirs that choose and do not measure.
    const CHOICES: [&str; 12] = [
        "axis",
        "batch_axis",
        "block_size",
        "blocksize",
        "k",
        "kv_num_heads",
        "left_window_size",
        "p",
        "q_num_heads",
        "right_window_size",
        "time_axis",
        "to",
    ];
    const REALS: [f32; 6] = [0.0, -1.0, 1e30, f32::NAN, f32::INFINITY, 0.3];
    let Some(graph) = model.graph.as_mut() else { return };
    let at = dice.roll(graph.node.len());
    match dice.roll(6) {
        0 | 1 => {
            let own = |op: &str| OWN.contains(&op);
            let Some(attribute) = graph.node.get_mut(at).filter(|n| own(&n.op_type)).and_then(|n| {
                let count = n.attribute.len();
                n.attribute.get_mut(dice.roll(count))
            }) else {
                return;
            };
            attribute.i = dice.pick(&INTEGERS);
            if CHOICES.contains(&attribute.name.as_str()) && dice.roll(3) == 0 {
                attribute.i = dice.pick(&[i64::MIN, i64::MAX, 1 << 31]);
            }
            attribute.f = dice.pick(&REALS);
            match dice.roll(3) {
                0 => attribute.ints.push(dice.pick(&INTEGERS)),
                1 => _ = attribute.ints.pop(),
                _ => attribute.ints.iter_mut().for_each(|i| *i = dice.pick(&INTEGERS)),
            }
        }
        2 => {
            let Some(node) = graph.node.get_mut(at) else { return };
            let (a, b) = (dice.roll(node.input.len()), dice.roll(node.input.len()));
            if dice.roll(2) == 0 && !node.input.is_empty() {
                node.input.swap(a, b);
            } else if let Some(input) = node.input.get_mut(a) {
                input.clear();
            }
        }
        3 | 4 => {
            // Another shape of an input, declared and given.
            let ix = dice.roll(inputs.len());
            let (Some((name, tensor)), axis) = (inputs.get_mut(ix), dice.roll(5)) else { return };
            let Some(info) = graph.input.iter_mut().find(|i| i.name == *name) else { return };
            reshape(info, tensor, axis, dice);
        }
        _ => {
            // Other values of an input.
            let ix = dice.roll(inputs.len());
            let Some((_, tensor)) = inputs.get_mut(ix) else { return };
            let boolean = tensor.ty == ic_nn_types::TensorType::BOOL;
            let size = tensor.ty.size();
            for element in tensor.data.chunks_mut(size) {
                let value = dice.pick(&INTEGERS).to_le_bytes();
                element.copy_from_slice(&value[..size]);
                if boolean {
                    element[0] &= 1;
                }
            }
        }
    }
}

fn reshape(info: &mut ValueInfoProto, tensor: &mut Tensor, axis: usize, dice: &mut Dice) {
    let Some(type_proto::Value::TensorType(ty)) = info.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
        return;
    };
    let Some(shape) = &mut ty.shape else { return };
    match (dice.roll(4), tensor.dimensions.get_mut(axis)) {
        (0, _) => {
            tensor.dimensions.pop();
            shape.dim.pop();
        }
        (1, _) => {
            tensor.dimensions.push(2);
            let mut dim = shape.dim.last().cloned().unwrap_or_default();
            dim.value = Some(Dim::DimValue(2));
            shape.dim.push(dim);
        }
        (_, Some(length)) => {
            *length = dice.pick(&[0, 1, 2, 3, 5]);
            shape.dim[axis].value = Some(Dim::DimValue(i64::from(*length)));
        }
        _ => return,
    }
    let bytes = tensor.expected_bytes().unwrap_or(0) as usize;
    tensor.data.resize(bytes.min(1 << 20), 1);
    if tensor.ty == ic_nn_types::TensorType::BOOL {
        tensor.data.iter_mut().for_each(|b| *b &= 1);
    }
}
