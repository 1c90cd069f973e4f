//! Graphs of quantised operators through the whole engine, against plain loops over the same numbers.

use std::sync::Arc;

use ic_nn_types::{NamedTensor, Tensor, TensorType};
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use crate::one_node::{int, ints, value};
use crate::{Graph, Limits};

const F32: i32 = 1;
const U8: i32 = 2;
const I8: i32 = 3;
const I32: i32 = 6;

/// A graph under test: nodes, constants, and inputs with what they are given.
#[derive(Default)]
struct Net {
    graph: GraphProto,
    given: Vec<NamedTensor>,
}

fn data(ty: i32, numbers: &[f64]) -> Vec<u8> {
    let bytes = |x: &f64| match ty {
        F32 => (*x as f32).to_le_bytes().to_vec(),
        I32 => (*x as i32).to_le_bytes().to_vec(),
        _ => vec![*x as i64 as u8],
    };
    numbers.iter().flat_map(bytes).collect()
}

impl Net {
    fn constant(mut self, name: &str, ty: i32, dims: &[usize], numbers: &[f64]) -> Net {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type: ty,
            dims: dims.iter().map(|d| *d as i64).collect(),
            raw_data: data(ty, numbers),
            ..Default::default()
        });
        self
    }

    fn input(mut self, name: &str, ty: i32, dims: &[usize], numbers: &[f64]) -> Net {
        let axes: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
        self.graph.input.push(value(name, ty, &axes));
        let kind = match ty {
            F32 => TensorType::FP32,
            U8 => TensorType::U8,
            I8 => TensorType::I8,
            _ => TensorType::I32,
        };
        let dimensions = dims.iter().map(|d| *d as u32).collect();
        self.given.push((name.into(), Tensor { dimensions, ty: kind, data: data(ty, numbers) }));
        self
    }

    fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str]) -> Net {
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: format!("{op}{}", self.graph.node.len()),
            input: inputs.iter().map(|s| (*s).into()).collect(),
            output: outputs.iter().map(|s| (*s).into()).collect(),
            ..Default::default()
        });
        self
    }

    fn with(mut self, attribute: tract_onnx::pb::AttributeProto) -> Net {
        self.graph.node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    /// The output `y` of type `ty`, and the operators that ran.
    fn run(mut self, ty: i32) -> (Vec<f64>, Vec<String>) {
        self.graph.name = "test".into();
        self.graph.output.push(value("y", ty, &[]));
        let model = ModelProto {
            ir_version: 10,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 21 }],
            graph: Some(self.graph),
            ..Default::default()
        };
        let limits = Limits::default();
        let mut graph = Graph::load(model.encode_to_vec(), &limits).unwrap();
        let y = graph.infer(self.given.clone(), &limits).unwrap().swap_remove(0).1;
        // Unit by unit it is the same.
        Arc::get_mut(&mut graph.plans[0].core).expect("nothing runs").largest = 1;
        assert_eq!(graph.infer(self.given, &limits).unwrap().swap_remove(0).1, y);
        let operators = graph.plans[0].nodes().into_iter().map(|node| node.operator).collect();
        let numbers = match ty {
            F32 => y.data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            I32 => y.data.chunks(4).map(|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))).collect(),
            U8 => y.data.iter().map(|b| f64::from(*b)).collect(),
            _ => y.data.iter().map(|b| f64::from(*b as i8)).collect(),
        };
        (numbers, operators)
    }
}

/// So many whole numbers from `least` to `most`, seeded.
fn numbers(n: usize, least: i64, most: i64, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 33
    };
    (0..n).map(|_| (least + (next() % (most - least + 1) as u64) as i64) as f64).collect()
}

fn span(ty: i32) -> (i64, i64) {
    if ty == U8 { (0, 255) } else { (-128, 127) }
}

/// To the nearest, plus a zero point, as a byte.
fn held(x: f32, zero: f64, ty: i32) -> f64 {
    let (least, most) = span(ty);
    (f64::from(x.round_ties_even()) + zero).clamp(least as f64, most as f64)
}

/// Sums of a product of `[batch][m][k]` and `[batches of b][k][n]`.
fn product(a: &[f64], b: &[f64], [batch, m, k, n]: [usize; 4], a_zero: f64, b_zero: &[f64]) -> Vec<f64> {
    let matrices = b.len() / (k * n);
    let mut sums = vec![];
    for row in 0..batch * m {
        let matrix = if matrices == 1 { 0 } else { row / m };
        for column in 0..n {
            let zero = b_zero[column % b_zero.len()];
            let products =
                (0..k).map(|at| (a[row * k + at] - a_zero) * (b[(matrix * k + at) * n + column] - zero));
            sums.push(products.sum());
        }
    }
    sums
}

fn is_exact(operators: &[String]) -> bool {
    operators.iter().any(|name| name.contains("exact"))
}

#[test]
fn mat_mul_integer_is_exact_for_all_types_batches_and_zero_points() {
    let (batch, m, k, n) = (3, 5, 70, 13);
    for (a_ty, b_ty) in [(U8, U8), (U8, I8), (I8, U8), (I8, I8)] {
        for (constant, matrices, per_column) in
            [(true, 1, false), (true, 1, true), (true, 3, false), (false, 3, true), (false, 1, false)]
        {
            let ((a_least, a_most), (b_least, b_most)) = (span(a_ty), span(b_ty));
            let a = numbers(batch * m * k, a_least, a_most, 1);
            let b = numbers(matrices * k * n, b_least, b_most, 2);
            let a_zero = numbers(1, a_least, a_most, 3);
            let b_zero = numbers(if per_column { n } else { 1 }, b_least, b_most, 4);
            let dims: &[usize] = if matrices == 1 { &[k, n] } else { &[matrices, k, n] };
            let scalar: &[usize] = if per_column { &[n] } else { &[] };
            let net = Net::default().input("a", a_ty, &[batch, m, k], &a).constant("az", a_ty, &[], &a_zero);
            let net = if constant {
                net.constant("b", b_ty, dims, &b).constant("bz", b_ty, scalar, &b_zero)
            } else {
                net.input("b", b_ty, dims, &b).constant("bz", b_ty, scalar, &b_zero)
            };
            let (y, operators) = net.node("MatMulInteger", &["a", "b", "az", "bz"], &["y"]).run(I32);
            assert_eq!(y, product(&a, &b, [batch, m, k, n], a_zero[0], &b_zero));
            assert!(is_exact(&operators), "{operators:?}");
        }
    }
}

#[test]
fn what_makes_sums_real_is_part_of_the_product_to_the_last_bit() {
    let (m, k, n) = (4, 33, 10);
    let (a, b) = (numbers(m * k, -9, 9, 5), numbers(k * n, -128, 127, 6));
    let bias = numbers(n, -3, 3, 7);
    let scales: Vec<f64> = numbers(n, 1, 99, 8).iter().map(|x| f64::from(*x as f32 / 1000.0)).collect();
    for per_column in [false, true] {
        let scale = if per_column { &scales[..] } else { &scales[..1] };
        let dims: &[usize] = if per_column { &[n] } else { &[1] };
        let net = Net::default()
            .input("x", F32, &[1, m, k], &a)
            .constant("b", I8, &[k, n], &b)
            .constant("bz", I8, &[], &[0.0])
            .constant("bs", F32, dims, scale)
            .constant("c", F32, &[n], &bias)
            .node("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
            .node("MatMulInteger", &["q", "b", "z", "bz"], &["i"])
            .node("Cast", &["i"], &["f"])
            .with(int("to", 1))
            .node("Mul", &["s", "bs"], &["ss"])
            .node("Mul", &["f", "ss"], &["p"])
            .node("Add", &["p", "c"], &["y"]);
        let (y, operators) = net.run(F32);
        let (least, most) =
            a.iter().fold((0.0, 0.0), |(l, m): (f32, f32), x| (l.min(*x as f32), m.max(*x as f32)));
        let s = (most - least) / 255.0;
        let zero = f64::from((-least / s).round_ties_even());
        let q: Vec<f64> = a.iter().map(|x| held(*x as f32 / s, zero, U8)).collect();
        let sums = product(&q, &b, [1, m, k, n], zero, &[0.0]);
        for (ix, (y, sum)) in y.iter().zip(sums).enumerate() {
            let factor = s * scale[ix % n % scale.len()] as f32;
            assert_eq!(*y, f64::from(sum as f32 * factor + bias[ix % n] as f32), "{ix}");
        }
        assert!(is_exact(&operators) && !operators.iter().any(|name| name.contains("Cast")), "{operators:?}");
    }
}

/// Sums of a convolution of one image with pads of 1, `[outputs][channels in group][3][3]`.
fn convolved(
    x: &[f64],
    w: &[f64],
    [c, side, outputs, groups, stride]: [usize; 5],
    zeros: (f64, &[f64]),
) -> Vec<f64> {
    let (x_zero, w_zero) = zeros;
    let (each, produced) = (c / groups, (side - 1) / stride + 1);
    let mut sums = vec![];
    for out in 0..outputs {
        for at in 0..produced * produced {
            let mut sum = 0.0;
            for place in 0..each * 9 {
                let channel = out / (outputs / groups) * each + place / 9;
                let row = (at / produced * stride + place % 9 / 3).wrapping_sub(1);
                let column = (at % produced * stride + place % 3).wrapping_sub(1);
                if row < side && column < side {
                    let weight = w[out * each * 9 + place] - w_zero[out % w_zero.len()];
                    sum += (x[(channel * side + row) * side + column] - x_zero) * weight;
                }
            }
            sums.push(sum);
        }
    }
    sums
}

#[test]
fn convolutions_are_exact_by_groups_strides_and_channels() {
    for (c, outputs, groups, stride) in [(3, 5, 1, 1), (4, 8, 2, 2), (6, 6, 6, 1)] {
        for (x_ty, w_ty, y_ty) in [(U8, I8, U8), (I8, I8, I8), (U8, U8, I8)] {
            let side = 9;
            let ((x_least, x_most), (w_least, w_most)) = (span(x_ty), span(w_ty));
            let x = numbers(c * side * side, x_least, x_most, 9);
            let w = numbers(outputs * c / groups * 9, w_least, w_most, 10);
            let (x_zero, w_zero) = (numbers(1, x_least, x_most, 11), numbers(outputs, w_least, w_most, 12));
            let kernel = [outputs, c / groups, 3, 3];
            let attributes = |net: Net| {
                let net = net.with(ints("pads", &[1; 4])).with(ints("strides", &[stride as i64; 2]));
                net.with(int("group", groups as i64))
            };
            let net = || {
                Net::default().input("x", x_ty, &[1, c, side, side], &x).constant("xz", x_ty, &[], &x_zero)
            };
            let one = net().constant("w", w_ty, &kernel, &w).constant("wz", w_ty, &[], &w_zero[..1]);
            let (y, operators) =
                attributes(one.node("ConvInteger", &["x", "w", "xz", "wz"], &["y"])).run(I32);
            let sizes = [c, side, outputs, groups, stride];
            assert_eq!(y, convolved(&x, &w, sizes, (x_zero[0], &w_zero[..1])));
            assert!(is_exact(&operators), "{operators:?}");

            let scales: Vec<f64> = numbers(outputs, 1, 99, 13).iter().map(|s| s / 4096.0).collect();
            let bias = numbers(outputs, -2000, 2000, 14);
            let y_zero = numbers(1, span(y_ty).0, span(y_ty).1, 15);
            let many = net()
                .constant("w", w_ty, &kernel, &w)
                .constant("wz", w_ty, &[outputs], &w_zero)
                .constant("xs", F32, &[], &[0.5])
                .constant("ws", F32, &[outputs], &scales)
                .constant("ys", F32, &[], &[0.75])
                .constant("yz", y_ty, &[], &y_zero)
                .constant("b", I32, &[outputs], &bias)
                .node("QLinearConv", &["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], &["y"]);
            let (y, operators) = attributes(many).run(y_ty);
            let sums = convolved(&x, &w, sizes, (x_zero[0], &w_zero));
            let pixels = sums.len() / outputs;
            for (ix, (y, sum)) in y.iter().zip(&sums).enumerate() {
                let out = ix / pixels;
                let factor = 0.5f32 * scales[out] as f32 / 0.75;
                assert_eq!(*y, held((sum + bias[out]) as f32 * factor, y_zero[0], y_ty), "{ix}");
            }
            assert!(is_exact(&operators), "{operators:?}");
        }
    }
}

#[test]
fn convolutions_between_pairs_are_exact() {
    let (c, outputs, side) = (3, 4, 6);
    let x: Vec<f64> = numbers(c * side * side, -40, 40, 16).iter().map(|x| x / 8.0).collect();
    let w = numbers(outputs * c * 9, -127, 127, 17);
    let scales: Vec<f64> = numbers(outputs, 1, 30, 18).iter().map(|s| s / 1024.0).collect();
    let whole = numbers(outputs, -900, 900, 19);
    for fits in [true, false] {
        // A bias of another scale than the product's leaves the output real before it is quantised.
        let over = if fits { 0.125 } else { 0.25 };
        let bias_scales: Vec<f64> = scales.iter().map(|s| s * over).collect();
        let net = Net::default()
            .input("x", F32, &[1, c, side, side], &x)
            .constant("xs", F32, &[], &[0.125])
            .constant("xz", U8, &[], &[100.0])
            .constant("w", I8, &[outputs, c, 3, 3], &w)
            .constant("ws", F32, &[outputs], &scales)
            .constant("wz", I8, &[outputs], &vec![0.0; outputs])
            .constant("b", I32, &[outputs], &whole)
            .constant("bs", F32, &[outputs], &bias_scales)
            .constant("bz", I32, &[outputs], &vec![0.0; outputs])
            .constant("ys", F32, &[], &[0.5])
            .constant("yz", U8, &[], &[3.0])
            .node("QuantizeLinear", &["x", "xs", "xz"], &["q"])
            .node("DequantizeLinear", &["q", "xs", "xz"], &["xd"])
            .node("DequantizeLinear", &["w", "ws", "wz"], &["wd"])
            .with(int("axis", 0))
            .node("DequantizeLinear", &["b", "bs", "bz"], &["bd"])
            .with(int("axis", 0))
            .node("Conv", &["xd", "wd", "bd"], &["c"])
            .with(ints("pads", &[1; 4]))
            .node("QuantizeLinear", &["c", "ys", "yz"], &["y"]);
        let (y, operators) = net.run(U8);
        assert!(is_exact(&operators), "{operators:?}");
        assert!(!operators.iter().any(|name| name == "DequantizeLinear"), "{operators:?}");
        let q: Vec<f64> = x.iter().map(|x| held(*x as f32 / 0.125, 100.0, U8)).collect();
        let sums = convolved(&q, &w, [c, side, outputs, 1, 1], (100.0, &[0.0]));
        for (ix, (y, sum)) in y.iter().zip(&sums).enumerate() {
            let out = ix / (side * side);
            // Scales are powers of two times small numbers, so that the reals are exact.
            let real = (sum * scales[out] * 0.125 + whole[out] * bias_scales[out]) as f32;
            assert_eq!(*y, held(real / 0.5, 3.0, U8), "{ix}");
        }
    }
}

#[test]
fn a_layer_between_pairs_ends_as_it_is_read() {
    let (m, k, n) = (2, 20, 6);
    let x = numbers(m * k, -50, 50, 20);
    let w = numbers(n * k, -127, 127, 21);
    let bias = numbers(n, -9, 9, 22);
    let net = Net::default()
        .input("x", F32, &[m, k], &x)
        .constant("xs", F32, &[], &[0.5])
        .constant("xz", I8, &[], &[-7.0])
        .constant("w", I8, &[n, k], &w)
        .constant("ws", F32, &[], &[0.25])
        .constant("wz", I8, &[], &[2.0])
        .constant("b", F32, &[n], &bias)
        .node("QuantizeLinear", &["x", "xs", "xz"], &["q"])
        .node("DequantizeLinear", &["q", "xs", "xz"], &["xd"])
        .node("DequantizeLinear", &["w", "ws", "wz"], &["wd"])
        .node("Gemm", &["xd", "wd", "b"], &["y"])
        .with(int("transB", 1));
    let (y, operators) = net.run(F32);
    assert!(is_exact(&operators), "{operators:?}");
    let q: Vec<f64> = x.iter().map(|x| held(*x as f32 / 0.5, -7.0, I8)).collect();
    let turned: Vec<f64> = (0..k * n).map(|at| w[at % n * k + at / n]).collect();
    let sums = product(&q, &turned, [1, m, k, n], -7.0, &[2.0]);
    let expected: Vec<f64> = sums.iter().enumerate().map(|(ix, sum)| sum * 0.125 + bias[ix % n]).collect();
    assert_eq!(y, expected);
}

#[test]
fn what_no_kernel_fits_between_pairs_is_as_the_file_has_it() {
    // A vector times a matrix.
    let (k, n) = (5, 3);
    let (x, w) = (numbers(k, -50, 50, 23), numbers(k * n, -127, 127, 24));
    let net = Net::default()
        .input("q", I8, &[k], &x)
        .constant("xs", F32, &[], &[0.5])
        .constant("xz", I8, &[], &[1.0])
        .constant("w", I8, &[k, n], &w)
        .constant("ws", F32, &[n], &[0.25, 0.5, 1.0])
        .constant("wz", I8, &[n], &[0.0; 3])
        .constant("ys", F32, &[], &[8.0])
        .constant("yz", U8, &[], &[128.0])
        .node("DequantizeLinear", &["q", "xs", "xz"], &["xd"])
        .node("DequantizeLinear", &["w", "ws", "wz"], &["wd"])
        .node("MatMul", &["xd", "wd"], &["c"])
        .node("QuantizeLinear", &["c", "ys", "yz"], &["y"]);
    let (y, operators) = net.run(U8);
    assert!(!is_exact(&operators), "{operators:?}");
    let sums = product(&x, &w, [1, 1, k, n], 1.0, &[0.0]);
    for (ix, (y, sum)) in y.iter().zip(sums).enumerate() {
        assert_eq!(*y, held((sum * 0.125 * f64::from(1 << ix)) as f32 / 8.0, 128.0, U8));
    }
}
