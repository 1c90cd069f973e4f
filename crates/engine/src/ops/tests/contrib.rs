//! Operators of `com.microsoft`. What they answer is held to onnxruntime by the fixtures in `tests/fixtures/exporters/onnxruntime`;
//! here are their edges.

use ic_nn_types::TensorType::{self, FP32, I32, U8};
use tract_onnx::pb::TensorProto;

use super::Op;
use crate::one_node::{FLOAT, int, load, value};

const I8: TensorType = TensorType::I8;

#[test]
fn names_of_this_domain_are_served_in_it_alone() {
    let sum = |op: Op| {
        op.input(U8, &[2], &[3.0, 250.0])
            .f32(&[], &[0.5])
            .nothing()
            .input(U8, &[2], &[4.0, 250.0])
            .f32(&[], &[0.25])
            .nothing()
            .f32(&[], &[1.0])
            .output(U8)
    };
    assert_eq!(sum(Op::microsoft("QLinearAdd")).values(), [2.0, 188.0]);
    sum(Op::new("QLinearAdd")).refuses(&["unsupported operators"]);
    // One of ONNX's own that is made here is not onnxruntime's of the same name.
    Op::microsoft("AveragePool").f32(&[1, 1, 2], &[0.0, 1.0]).refuses(&["com.microsoft.AveragePool"]);
}

#[test]
fn sums_and_products_are_repeated_along_axes_of_length_1() {
    let op = |name: &str| {
        Op::microsoft(name)
            .input(I8, &[2, 1], &[1.0, -2.0])
            .f32(&[], &[1.0])
            .nothing()
            .input(I8, &[3], &[10.0, 20.0, -100.0])
            .f32(&[1], &[1.0])
            .input(I8, &[1], &[10.0])
            .f32(&[], &[1.0])
            .input(I8, &[], &[1.0])
            .output(I8)
    };
    let (shape, values) = op("QLinearAdd").run().unwrap().swap_remove(0);
    assert_eq!((shape, values), (vec![2, 3], vec![2.0, 12.0, -108.0, -1.0, 9.0, -111.0]));
    assert_eq!(op("QLinearMul").values(), [1.0, 11.0, -109.0, 1.0, -19.0, 127.0]);
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let bytes =
        |name: &str| Op::microsoft(name).input(U8, &[1, 2, 4, 4], &[1.0; 32]).f32(&[], &[0.5]).nothing();
    let to = |op: Op| op.f32(&[], &[0.5]).nothing().output(U8);
    to(bytes("QLinearAveragePool").ints("kernel_shape", &[2, 2]).int("channels_last", 1))
        .refuses(&["channels_last", "channels come first"]);
    to(bytes("QLinearAveragePool").ints("kernel_shape", &[9, 2])).refuses(&["kernel"]);
    to(bytes("QLinearSoftmax").int("axis", 4)).refuses(&["axis 4"]);
    // A scale an axis.
    Op::microsoft("QLinearSigmoid")
        .input(U8, &[2], &[1.0; 2])
        .f32(&[2], &[0.5; 2])
        .nothing()
        .f32(&[], &[0.5])
        .nothing()
        .output(U8)
        .refuses(&["one of a tensor"]);
    Op::microsoft("QLinearAdd")
        .input(U8, &[2], &[1.0; 2])
        .f32(&[], &[0.5])
        .nothing()
        .input(U8, &[3], &[1.0; 3])
        .f32(&[], &[0.5])
        .nothing()
        .f32(&[], &[0.5])
        .nothing()
        .output(U8)
        .refuses(&["do not go together"]);
    let gemm = |c: &[u32], numbers: &[f64]| {
        Op::microsoft("QGemm")
            .input(U8, &[2, 2], &[1.0; 4])
            .f32(&[], &[0.5])
            .nothing()
            .input(U8, &[2, 3], &[1.0; 6])
            .f32(&[], &[0.5])
            .nothing()
            .input(I32, c, numbers)
            .output(FP32)
    };
    gemm(&[2, 3], &[1.0; 6]).refuses(&["one number a column"]);
    assert_eq!(gemm(&[1, 3], &[1.0, 2.0, 3.0]).values(), [0.75, 1.0, 1.25, 0.75, 1.0, 1.25]);
    Op::microsoft("FusedMatMul")
        .int("transBatchA", 1)
        .f32(&[1, 2, 2], &[1.0; 4])
        .f32(&[1, 2, 2], &[1.0; 4])
        .refuses(&["batches"]);
}

/// MatMulNBits with these attributes and lengths of B, scales and, where there are any, zero points.
fn by_blocks(
    attributes: &[(&str, i64)],
    bytes: usize,
    scales: usize,
    zeros: Option<usize>,
) -> Result<(), String> {
    let tensor = |name: &str, data_type: i32, length: usize, size: usize| TensorProto {
        name: name.into(),
        data_type,
        dims: vec![length as i64],
        raw_data: vec![0; length * size],
        ..Default::default()
    };
    let mut inputs = vec![value("x", FLOAT, &[1, 40]), value("b", 2, &[bytes as i64])];
    inputs.push(value("s", FLOAT, &[scales as i64]));
    let mut constants = vec![tensor("b", 2, bytes, 1), tensor("s", FLOAT, scales, 4)];
    if let Some(zeros) = zeros {
        inputs.push(value("z", 2, &[zeros as i64]));
        constants.push(tensor("z", 2, zeros, 1));
    }
    let attributes = attributes.iter().map(|(name, value)| int(name, *value)).collect();
    let outputs = vec![value("y", FLOAT, &[])];
    load(("com.microsoft", "MatMulNBits"), inputs, constants, outputs, attributes, ("", 17)).map(|_| ())
}

#[test]
fn weights_by_blocks_are_held_to_their_lengths() {
    let k40 = [("K", 40), ("N", 3), ("bits", 4), ("block_size", 16)];
    by_blocks(&k40, 3 * 3 * 8, 9, None).unwrap();
    by_blocks(&k40, 3 * 3 * 8, 9, Some(6)).unwrap();
    let refused = |attributes: &[(&str, i64)], bytes, scales, zeros, words: &str| {
        let refusal = by_blocks(attributes, bytes, scales, zeros).unwrap_err();
        assert!(refusal.contains("MatMulNBits") && refusal.contains(words), "{refusal:?}: {words:?}");
    };
    refused(&k40, 71, 9, None, "uint8 [N, 3, 8] is expected");
    refused(&k40, 72, 8, None, "9 are expected");
    refused(&k40, 72, 9, Some(5), "6 packed bytes or 9 reals");
    refused(&[("K", 41), ("N", 3), ("bits", 4), ("block_size", 16)], 72, 9, None, "where K is 41");
    for (bits, block) in [(3, 16), (4, 24), (4, 8), (4, 128), (5, 32), (-4, 32)] {
        let attributes = [("K", 40), ("N", 3), ("bits", bits), ("block_size", block)];
        refused(&attributes, 72, 9, None, "2, 4 or 8 in blocks of a power of two from 16 to K are served");
    }
    for (k, n) in [(0, 3), (40, -1), (i64::MAX, 3)] {
        refused(&[("K", k), ("N", n), ("bits", 4), ("block_size", 16)], 72, 9, None, "`");
    }
}
