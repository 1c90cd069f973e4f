//! What maps, sums and moves numbers, against the same graphs as tract runs them.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{self, PowConst};
use tract_onnx::tract_core::ops::nn::gelu_exact::gelu_exact;
use tract_onnx::tract_core::ops::nn::silu::silu;
use tract_onnx::tract_core::ops::nn::{
    DataFormat, Reduce, Reducer, RmsNorm, Softmax, SoftmaxKind, hard_swish, leaky_relu, sigmoid,
};

use super::{Passes, agree_with, numbers};

/// Runs the graph as it is and lowered. How many nodes were lowered, and how many are left.
fn agree(model: TypedModel, inputs: &[Tensor]) -> (usize, usize) {
    agree_with(Passes::ALL, model, inputs)
}

fn model(shape: &[usize]) -> (TypedModel, OutletId) {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact(shape)).unwrap();
    (model, x)
}

#[test]
fn operators_of_one_operand_agree() {
    let power = |exponent: f32| ElementWiseOp(Box::new(PowConst { exponent }), None);
    let operators = [
        math::neg(),
        math::abs(),
        math::square(),
        math::sqrt(),
        math::rsqrt(),
        math::recip(),
        math::floor(),
        math::ceil(),
        math::round_half_to_even(),
        math::exp(),
        math::tanh(),
        math::erf(),
        sigmoid(),
        silu(),
        gelu_exact(),
        hard_swish(),
        leaky_relu(0.1),
        power(-2.0),
        power(-1.0),
        power(3.0),
        power(4.0),
    ];
    for op in operators {
        for shape in [&[3usize, 50][..], &[2, 3, 64], &[130]] {
            let (mut model, x) = model(shape);
            let made = model.wire_node("map", op.clone(), &[x]).unwrap();
            model.select_output_outlets(&made).unwrap();
            // Roots are of what is above 0.
            let mut input = numbers(shape, 3);
            let positive = ["Sqrt", "Rsqrt"].contains(&&*op.name());
            if positive {
                let mut plain = input.try_as_plain_ram_mut().unwrap();
                plain.as_slice_mut::<f32>().unwrap().iter_mut().for_each(|x| *x = x.abs() + 0.01);
            }
            assert_eq!(agree(model, &[input]), (1, 1), "{} of {shape:?}", op.name());
        }
    }
}

/// Operands that are repeated along some axes, on either side.
#[test]
fn operators_of_two_operands_agree() {
    let output = [2usize, 3, 5, 8];
    for op in [math::add(), math::sub(), math::mul(), math::div(), math::min(), math::max()] {
        for repeated in 0..16usize {
            let shape: TVec<usize> =
                (0..4).map(|axis| if repeated >> axis & 1 == 1 { 1 } else { output[axis] }).collect();
            for (constant, swapped) in [(false, false), (true, false), (false, true), (true, true)] {
                let (mut model, x) = model(&output);
                let mut inputs = vec![numbers(&output, 3)];
                let y = if constant {
                    model.add_const("y", numbers(&shape, 4)).unwrap()
                } else {
                    inputs.push(numbers(&shape, 4));
                    model.add_source("y", f32::fact(&shape)).unwrap()
                };
                let operands = if swapped { [y, x] } else { [x, y] };
                let made = model.wire_node("map", op.clone(), &operands).unwrap();
                model.select_output_outlets(&made).unwrap();
                assert_eq!(agree(model, &inputs), (1, 1), "{} of {shape:?}", op.name());
            }
        }
    }
}

#[test]
fn groups_become_one_node() {
    let shape = [4usize, 9, 32];
    let (mut model, x) = model(&shape);
    let row = model.add_const("row", numbers(&[1, 1, 32], 4)).unwrap();
    let half = model.add_const("half", numbers(&[1, 1, 1], 5)).unwrap();
    let scaled = model.wire_node("scaled", math::mul(), &[x, row]).unwrap()[0];
    let moved = model.wire_node("moved", math::add(), &[half, scaled]).unwrap()[0];
    let gate = model.wire_node("gate", sigmoid(), &[moved]).unwrap()[0];
    let root = model.wire_node("root", math::square(), &[gate]).unwrap()[0];
    let gated = model.wire_node("gated", math::mul(), &[moved, root]).unwrap()[0];
    let out = model.wire_node("out", math::sub(), &[gated, x]).unwrap()[0];
    model.select_output_outlets(&[out]).unwrap();
    assert_eq!(agree(model, &[numbers(&shape, 3)]), (1, 1));
}

/// What another node reads, and what is an output, has to be there.
#[test]
fn what_is_read_elsewhere_is_a_node_of_its_own() {
    let shape = [4usize, 32];
    let (mut model, x) = model(&shape);
    let first = model.wire_node("first", math::square(), &[x]).unwrap()[0];
    let second = model.wire_node("second", math::neg(), &[first]).unwrap()[0];
    let sums = model.wire_node("sums", Reduce::new(tvec![1], Reducer::Sum), &[first]).unwrap()[0];
    let third = model.wire_node("third", math::add(), &[second, sums]).unwrap()[0];
    model.select_output_outlets(&[third, second]).unwrap();
    assert_eq!(agree(model, &[numbers(&shape, 3)]), (4, 4));
}

#[test]
fn softmaxes_agree() {
    for axes in [&[2usize][..], &[1], &[0], &[1, 2], &[0, 1, 2], &[0, 2]] {
        let shape = [3usize, 5, 7];
        let (mut model, x) = model(&shape);
        let op = Softmax { axes: axes.into(), quant_output_dt: None, kind: SoftmaxKind::Softmax };
        let made = model.wire_node("softmax", op, &[x]).unwrap();
        model.select_output_outlets(&made).unwrap();
        let lowered = usize::from(axes != [0, 2]);
        assert_eq!(agree(model, &[numbers(&shape, 3)]), (lowered, 1), "{axes:?}");
    }
}

/// A layer norm as tract has it once it is decluttered, with and without each of its parts.
#[test]
fn norms_agree() {
    let shape = [3usize, 5, 30];
    for parts in 0..8 {
        let (centred, scaled, biased) = (parts & 1 != 0, parts & 2 != 0, parts & 4 != 0);
        let (mut model, x) = model(&shape);
        let mut wire = x;
        if centred {
            let sum = model.wire_node("sum", Reduce::new(tvec![2], Reducer::Sum), &[x]).unwrap()[0];
            let per = model.add_const("per", tensor3(&[[[1f32 / 30.0]]])).unwrap();
            let mean = model.wire_node("mean", math::mul(), &[sum, per]).unwrap()[0];
            wire = model.wire_node("centred", math::sub(), &[x, mean]).unwrap()[0];
        }
        let op = RmsNorm { axis: 2, eps: tensor0(1e-5f32).into_arc_tensor() };
        wire = model.wire_node("norm", op, &[wire]).unwrap()[0];
        if scaled {
            let scale = model.add_const("scale", numbers(&[1, 1, 30], 4)).unwrap();
            wire = model.wire_node("scaled", math::mul(), &[scale, wire]).unwrap()[0];
        }
        if biased {
            let bias = model.add_const("bias", numbers(&[1, 1, 30], 5)).unwrap();
            wire = model.wire_node("biased", math::add(), &[wire, bias]).unwrap()[0];
        }
        model.select_output_outlets(&[wire]).unwrap();
        assert_eq!(agree(model, &[numbers(&shape, 3)]), (1, 1), "{parts}");
    }
}

#[test]
fn reductions_agree() {
    let reducers = [Reducer::Sum, Reducer::MeanOfSquares, Reducer::Max, Reducer::Min];
    for reducer in reducers {
        for (axes, lowered) in [
            (&[3usize][..], 1),
            (&[2, 3], 1),
            (&[1], 1),
            (&[0, 1], 1),
            (&[0], 1),
            (&[0, 2], 1),
            (&[1, 3], 0),
            (&[0, 1, 2, 3], 1),
        ] {
            let shape = [1usize, 4, 3, 6];
            let (mut model, x) = model(&shape);
            let made = model.wire_node("reduce", Reduce::new(axes.into(), reducer), &[x]).unwrap();
            model.select_output_outlets(&made).unwrap();
            // Along axis 0 there is one number; what tract makes of that stays.
            let expected = if axes == [0] { 0 } else { lowered };
            assert_eq!(agree(model, &[numbers(&shape, 3)]).0, expected, "{reducer:?} along {axes:?}");
        }
    }
}

#[test]
fn means_of_planes_agree() {
    for (format, shape) in [(DataFormat::NCHW, [2usize, 6, 7, 5]), (DataFormat::NHWC, [2, 7, 5, 6])] {
        for normalize in [true, false] {
            let (mut model, x) = model(&shape);
            let pool_spec = PoolSpec {
                data_format: format,
                kernel_shape: tvec!(7, 5),
                padding: PaddingSpec::Valid,
                dilations: None,
                strides: None,
                input_channels: 6,
                output_channels: 6,
            };
            let op = SumPool { pool_spec, count_include_pad: false, normalize };
            let made = model.wire_node("pool", op, &[x]).unwrap();
            model.select_output_outlets(&made).unwrap();
            assert_eq!(agree(model, &[numbers(&shape, 3)]), (1, 1), "{format:?}");
        }
    }
}

#[test]
fn moved_axes_agree() {
    let shape = [2usize, 3, 5, 8];
    for from in 0..4 {
        for to in 0..4 {
            if from == to {
                continue;
            }
            let (mut model, x) = model(&shape);
            let made = model.wire_node("move", AxisOp::Move(from, to), &[x]).unwrap();
            model.select_output_outlets(&made).unwrap();
            assert_eq!(agree(model, &[numbers(&shape, 3)]), (1, 1), "{from} to {to}");
        }
    }
}
