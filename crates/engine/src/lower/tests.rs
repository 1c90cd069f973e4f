//! Lowered graphs against the same graphs as tract runs them.

use ic_nn_kernels::Precision;
use ic_nn_kernels::image::{Array, Imaged, Reader, Writer};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::conv::Conv;
use tract_onnx::tract_core::ops::cnn::{KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::{Lowered, Passes, lower, lower_early, packing};
use crate::parted::run_by_units;

mod deconv;
mod maps;
mod volume;

fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    Tensor::from_shape(shape, &values).unwrap()
}

/// Runs the graph as it is and its products, convolutions and pools lowered; both have to agree. How many nodes were lowered, and
/// how many nodes are left.
fn agree(model: TypedModel, inputs: &[Tensor]) -> (usize, usize) {
    agree_with(Passes { maps: false, ..Passes::ALL }, model, inputs)
}

/// The same with these passes.
fn agree_with(passes: Passes, model: TypedModel, inputs: &[Tensor]) -> (usize, usize) {
    let run = |model: TypedModel| {
        let inputs = inputs.iter().map(|t| t.clone().into_tvalue()).collect();
        model.into_optimized().unwrap().into_runnable().unwrap().run(inputs).unwrap().remove(0)
    };
    let expected = run(model.clone());
    let mut lowered = model;
    lower(&mut lowered, &mut packing(Precision::F32), passes).unwrap();
    let nodes = lowered.nodes().iter().filter(|node| node.op_is::<Lowered>()).count();
    let left =
        lowered.nodes().iter().filter(|node| node.op.name() != "Const" && node.op.name() != "Source").count();
    let (by_units, _) =
        run_by_units(lowered.clone(), inputs.iter().map(|t| t.clone().into_tvalue()).collect()).unwrap();
    by_units[0].close_enough(&expected, Approximation::Approximate).unwrap();
    let got = run(lowered);
    got.close_enough(&expected, Approximation::Approximate).unwrap();
    (nodes, left)
}

/// Runs a graph of one input as it is, with every pass, by units, and of nodes read back from their images; the operators that are left.
fn agree_from_the_start(model: TypedModel, input: &Tensor) -> Vec<String> {
    let input = input.clone().into_tvalue();
    let run = |model: TypedModel| {
        let runnable = model.into_optimized().unwrap().into_runnable().unwrap();
        runnable.run(tvec!(input.clone())).unwrap().remove(0)
    };
    let expected = run(model.clone());
    let mut packing = packing(Precision::F32);
    let mut lowered = model;
    lower_early(&mut lowered, &mut packing, Passes::ALL).unwrap();
    let mut lowered = lowered.into_decluttered().unwrap();
    lower(&mut lowered, &mut packing, Passes::ALL).unwrap();
    let names = lowered.nodes().iter().map(|node| node.op.name().to_string());
    let names = names.filter(|name| !["Const", "Source"].contains(&&**name)).collect();
    let (by_units, _) = run_by_units(lowered.clone(), tvec!(input.clone())).unwrap();
    by_units[0].close_enough(&expected, Approximation::Approximate).unwrap();
    let got = run(lowered.clone());
    got.close_enough(&expected, Approximation::Approximate).unwrap();
    for node in lowered.nodes_mut() {
        if let Some(op) = node.op_as::<Lowered>() {
            node.op = Box::new(read_back(op));
        }
    }
    assert_eq!(*run(lowered), *got);
    names
}

/// A node read back from its image.
fn read_back(op: &Lowered) -> Lowered {
    let mut writer = Writer::default();
    op.write(&mut writer);
    let (head, arrays) = writer.finish();
    let bytes = arrays.iter().flat_map(|array| match array {
        Array::Here(bytes) => bytes.to_vec(),
        Array::Far(..) => panic!("it is in the heap"),
    });
    let bytes: Vec<u8> = bytes.collect();
    let mut left = &bytes[..];
    let mut reader = Reader::new(&head, &mut left);
    let back = Lowered::read(&mut reader).unwrap();
    reader.end().unwrap();
    back
}

/// Runs the graph as it is and lowered onto whole numbers; answers how far apart they point (1 is the same way).
fn cosine(model: TypedModel, inputs: &[Tensor], precision: Precision) -> f64 {
    let run = |model: TypedModel| {
        let inputs = inputs.iter().map(|t| t.clone().into_tvalue()).collect();
        let out = model.into_optimized().unwrap().into_runnable().unwrap().run(inputs).unwrap().remove(0);
        super::floats(&out).unwrap().to_vec()
    };
    let expected = run(model.clone());
    let mut lowered = model;
    lower(&mut lowered, &mut packing(precision), Passes::ALL).unwrap();
    assert!(lowered.nodes().iter().any(|node| node.op_is::<Lowered>()));
    let got = run(lowered);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    assert_ne!(got, expected, "{precision:?} is not f32");
    dot(&got, &expected) / (dot(&got, &got) * dot(&expected, &expected)).sqrt()
}

#[test]
fn products_in_whole_numbers_point_the_same_way() {
    for (expression, a, b, constant) in [
        ("mk,kn->mn", [9, 70], [70, 45], [false, true]),
        ("mk,kn->nm", [70, 33], [33, 50], [true, false]),
        ("oi,ihw->ohw", [40, 70], [70, 30], [true, false]),
    ] {
        let b = if expression.contains("ihw") { vec![b[0], 6, 5] } else { b.to_vec() };
        let (model, inputs) = einsum(expression, &a, &b, constant);
        let eight = cosine(model.clone(), &inputs, Precision::Int8);
        let sixteen = cosine(model, &inputs, Precision::Int16);
        assert!(eight > 0.9999, "{expression}: {eight}");
        assert!(sixteen > 0.999_999 && sixteen > eight, "{expression}: {sixteen}");
    }
}

fn einsum(expression: &str, a: &[usize], b: &[usize], constant: [bool; 2]) -> (TypedModel, Vec<Tensor>) {
    let mut model = TypedModel::default();
    let (mut wires, mut inputs) = (tvec![], vec![]);
    for (ix, shape) in [a, b].into_iter().enumerate() {
        let value = numbers(shape, ix as u64 + 1);
        let name = format!("in{ix}");
        if constant[ix] {
            wires.push(model.add_const(name, value).unwrap());
        } else {
            wires.push(model.add_source(name, f32::fact(shape)).unwrap());
            inputs.push(value);
        }
    }
    let op = EinSum::new(expression.parse().unwrap(), f32::datum_type());
    let out = model.wire_node("product", op, &wires).unwrap();
    model.select_output_outlets(&out).unwrap();
    (model, inputs)
}

#[test]
fn products_agree() {
    let cases: &[(&str, &[usize], &[usize], usize)] = &[
        ("mk,kn->mn", &[5, 7], &[7, 9], 1),
        ("mk,nk->mn", &[5, 7], &[9, 7], 1),
        ("km,kn->mn", &[7, 5], &[7, 9], 1),
        ("mk,kn->nm", &[5, 7], &[7, 9], 1),
        ("amk,kn->mn", &[1, 16, 12], &[12, 40], 1),
        ("mbk,nbk->abmn", &[6, 3, 8], &[5, 3, 8], 1),
        ("abmk,kbn->mbn", &[1, 3, 6, 5], &[5, 3, 8], 1),
        ("mbk,bkn->amn", &[6, 3, 8], &[3, 8, 10], 0),
        ("nihw,oi->ohw", &[1, 6, 5, 7], &[9, 6], 1),
        ("ihw,oi->ohw", &[6, 4, 4], &[8, 6], 1),
        ("nihw,oi->nohw", &[2, 6, 5, 7], &[9, 6], 1),
        ("nhwi,oi->nhwo", &[2, 5, 7, 6], &[9, 6], 1),
        ("hwi,oi->ohw", &[5, 7, 6], &[9, 6], 1),
        ("nhwi,oi->nohw", &[2, 5, 7, 6], &[9, 6], 1),
        ("ihw,oi->hwo", &[6, 5, 7], &[9, 6], 1),
        ("ihw,oi->hwo", &[6, 8, 8], &[12, 6], 1),
        ("kba,nk->mn", &[20, 1, 1], &[10, 20], 1),
        ("bmk,bkn->bmn", &[4, 3, 5], &[4, 5, 6], 1),
        ("bmk,bkn->bmn", &[4, 3, 5], &[1, 5, 6], 1),
        ("bhmk,bgkn->bhmn", &[2, 3, 4, 5], &[2, 1, 5, 6], 1),
        ("k,kn->n", &[11], &[11, 6], 1),
        ("mk,k->m", &[6, 11], &[11], 1),
        ("m,n->mn", &[6], &[5], 1),
        ("mk,kn->mn", &[1, 300], &[300, 33], 1),
        ("ij,ij->i", &[4, 5], &[4, 5], 0),
        ("nihw,oi->nohw", &[1, 64, 5, 7], &[96, 64], 1),
        ("nihw,oi->nohw", &[1, 64, 12, 13], &[96, 64], 1),
        ("mk,kn->mn", &[40, 96], &[96, 128], 1),
    ];
    for (expression, a, b, lowered) in cases {
        for constant in [[false, false], [true, false], [false, true]] {
            let (model, inputs) = einsum(expression, a, b, constant);
            let (nodes, _) = agree(model, &inputs);
            assert!(
                nodes >= *lowered || *expression == "mbk,bkn->amn",
                "{expression} {constant:?} was not lowered"
            );
        }
    }
}

#[test]
fn what_follows_moves_in() {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([10, 6])).unwrap();
    let y = model.add_source("y", f32::fact([10, 9])).unwrap();
    let w = model.add_const("w", numbers(&[6, 9], 3)).unwrap();
    let op = EinSum::new("mk,kn->mn".parse().unwrap(), f32::datum_type());
    let mut wire = model.wire_node("product", op, &[x, w]).unwrap()[0];
    let bias = model.add_const("bias", numbers(&[1, 9], 4)).unwrap();
    wire = model.wire_node("biased", math::add(), &[wire, bias]).unwrap()[0];
    wire = model.wire_node("added", math::add(), &[y, wire]).unwrap()[0];
    let zero = model.add_const("zero", tensor2(&[[0f32]])).unwrap();
    let six = model.add_const("six", tensor2(&[[0.25f32]])).unwrap();
    wire = model.wire_node("low", math::max(), &[wire, zero]).unwrap()[0];
    wire = model.wire_node("high", math::min(), &[wire, six]).unwrap()[0];
    model.select_output_outlets(&[wire]).unwrap();
    let inputs = [numbers(&[10, 6], 5), numbers(&[10, 9], 6)];
    assert_eq!(agree(model, &inputs), (1, 1));
}

#[test]
fn what_is_read_elsewhere_stays() {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([4, 6])).unwrap();
    let w = model.add_const("w", numbers(&[6, 9], 3)).unwrap();
    let op = EinSum::new("mk,kn->mn".parse().unwrap(), f32::datum_type());
    let product = model.wire_node("product", op, &[x, w]).unwrap()[0];
    let bias = model.add_const("bias", numbers(&[1, 9], 4)).unwrap();
    let biased = model.wire_node("biased", math::add(), &[product, bias]).unwrap()[0];
    let both = model.wire_node("both", math::mul(), &[product, biased]).unwrap()[0];
    model.select_output_outlets(&[both]).unwrap();
    assert_eq!(agree(model, &[numbers(&[4, 6], 5)]), (1, 3));
}

#[test]
fn convolutions_agree() {
    let formats = [DataFormat::NCHW, DataFormat::NHWC, DataFormat::CHW, DataFormat::HWC];
    // Channels, outputs, groups, kernel, stride, dilation, before, after; whether it is lowered by planes and innermost.
    let cases: &[([usize; 8], [bool; 2])] = &[
        ([3, 8, 1, 3, 2, 1, 1, 1], [true, true]),
        ([4, 6, 1, 3, 1, 1, 1, 1], [true, true]),
        ([4, 6, 1, 1, 2, 1, 0, 0], [true, true]),
        ([8, 8, 8, 3, 1, 1, 1, 1], [true, true]),
        ([8, 8, 8, 3, 2, 1, 1, 0], [true, true]),
        ([6, 6, 6, 5, 1, 1, 2, 2], [true, true]),
        ([8, 8, 2, 3, 1, 1, 0, 0], [true, false]),
        ([4, 4, 1, 3, 1, 2, 2, 2], [true, true]),
        ([8, 16, 8, 3, 1, 1, 1, 1], [true, false]),
        ([3, 3, 3, 3, 1, 1, 1, 1], [true, false]),
        ([16, 24, 1, 3, 1, 1, 1, 1], [true, true]),
        ([32, 40, 1, 3, 2, 1, 1, 1], [true, true]),
        ([3, 32, 1, 7, 2, 1, 3, 3], [true, true]),
    ];
    for &format in &formats {
        for (ix, &([channels, outputs, group, kernel, stride, dilation, before, after], lowered)) in
            cases.iter().enumerate()
        {
            let has_n = matches!(format, DataFormat::NCHW | DataFormat::NHWC);
            let innermost = matches!(format, DataFormat::NHWC | DataFormat::HWC);
            let mut shape = if innermost { vec![11, 9, channels] } else { vec![channels, 11, 9] };
            if has_n {
                shape.insert(0, 2);
            }
            let mut model = TypedModel::default();
            let x = model.add_source("x", f32::fact(&shape)).unwrap();
            let w = model.add_const("w", numbers(&[outputs, channels / group, kernel, kernel], 3)).unwrap();
            let b = model.add_const("b", numbers(&[outputs], 4)).unwrap();
            let pool_spec = PoolSpec {
                data_format: format,
                kernel_shape: tvec!(kernel, kernel),
                padding: PaddingSpec::Explicit(tvec!(before, before), tvec!(after, after)),
                dilations: Some(tvec!(dilation, dilation)),
                strides: Some(tvec!(stride, stride)),
                input_channels: channels,
                output_channels: outputs,
            };
            let op = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
            let wire = model.wire_node("conv", op, &[x, w, b]).unwrap();
            let zero = model.add_const("zero", Tensor::zero::<f32>(&vec![1; shape.len()]).unwrap()).unwrap();
            let wire = model.wire_node("relu", math::max(), &[wire[0], zero]).unwrap();
            model.select_output_outlets(&wire).unwrap();
            let (nodes, left) = agree(model, &[numbers(&shape, ix as u64 + 9)]);
            let expected = lowered[usize::from(innermost)];
            assert_eq!((nodes, left), if expected { (1, 1) } else { (0, 2) }, "case {ix} in {format:?}");
        }
    }
}

/// A pool, and pixels taken along both axes of an image, of which a node is made for both.
#[test]
fn pools_and_thinned_images_agree() {
    for format in [DataFormat::NCHW, DataFormat::CHW, DataFormat::NHWC] {
        for (kernel, stride, before) in [(3, 2, 1), (2, 2, 0), (3, 1, 1), (3, 3, 0)] {
            let shape: &[usize] = if format == DataFormat::NCHW { &[2, 3, 11, 9] } else { &[3, 11, 9] };
            let shape = if format == DataFormat::NHWC { &[1, 11, 9, 3] } else { shape };
            let mut model = TypedModel::default();
            let x = model.add_source("x", f32::fact(shape)).unwrap();
            let pool_spec = PoolSpec {
                data_format: format,
                kernel_shape: tvec!(kernel, kernel),
                padding: PaddingSpec::Explicit(tvec!(before, before), tvec!(before, before)),
                dilations: None,
                strides: Some(tvec!(stride, stride)),
                input_channels: 3,
                output_channels: 3,
            };
            for count_include_pad in [false, true] {
                let mut model = model.clone();
                let op = SumPool { pool_spec: pool_spec.clone(), count_include_pad, normalize: true };
                let wire = model.wire_node("means", op, &[x]).unwrap();
                model.select_output_outlets(&wire).unwrap();
                let (nodes, _) = agree(model, &[numbers(shape, 5)]);
                let expected = usize::from(format != DataFormat::NHWC && stride < 3);
                assert_eq!(nodes, expected, "means of {kernel} by {stride} in {format:?}");
            }
            let op = MaxPool { pool_spec, with_index_outputs: None };
            let wire = model.wire_node("pool", op, &[x]).unwrap();
            let zero = model.add_const("zero", Tensor::zero::<f32>(&vec![1; shape.len()]).unwrap()).unwrap();
            let wire = model.wire_node("relu", math::max(), &[wire[0], zero]).unwrap();
            model.select_output_outlets(&wire).unwrap();
            let (nodes, left) = agree(model, &[numbers(shape, 5)]);
            let expected = usize::from(format != DataFormat::NHWC && stride < 3);
            assert_eq!((nodes, left), (expected, 2), "{kernel} by {stride} in {format:?}");
        }
    }
    for (strides, expected) in [
        ([(2, 2), (3, 3)], (1, 1)),
        ([(3, 2), (2, 2)], (1, 1)),
        ([(1, 2), (2, 2)], (1, 2)),
        ([(2, 2), (2, 3)], (2, 2)),
    ] {
        let mut model = TypedModel::default();
        let mut wire = model.add_source("x", f32::fact([2, 3, 11, 9])).unwrap();
        for (axis, stride) in strides {
            let op = Downsample { axis, stride, modulo: 1 };
            wire = model.wire_node(format!("pick{axis}{stride}"), op, &[wire]).unwrap()[0];
        }
        model.select_output_outlets(&[wire]).unwrap();
        assert_eq!(agree(model, &[numbers(&[2, 3, 11, 9], 6)]), expected, "{strides:?}");
    }
}

/// Convolutions that are lowered before tract declutters: with what scales their outputs, bounds them and is added.
#[test]
fn early_convolutions_agree() {
    // Channels, outputs, groups, kernel, stride, before; numbers of nodes that are left.
    for ([channels, outputs, group, kernel, stride, before], nodes) in [
        ([8, 12, 1, 1, 1, 0], 1),
        ([8, 12, 1, 1, 2, 0], 2),
        ([64, 64, 1, 1, 1, 0], 1),
        ([8, 16, 1, 3, 1, 1], 1),
        ([8, 16, 1, 3, 2, 1], 1),
        ([8, 8, 8, 3, 1, 1], 1),
        ([8, 8, 2, 3, 1, 1], 1),
        ([8, 12, 1, 1, 1, 1], 1),
    ] {
        for (format, shape) in
            [(DataFormat::NCHW, vec![2, channels, 11, 9]), (DataFormat::CHW, vec![channels, 11, 9])]
        {
            let mut model = TypedModel::default();
            let x = model.add_source("x", f32::fact(&shape)).unwrap();
            let w = model.add_const("w", numbers(&[outputs, channels / group, kernel, kernel], 3)).unwrap();
            let b = model.add_const("b", numbers(&[outputs], 4)).unwrap();
            let pool_spec = PoolSpec {
                data_format: format,
                kernel_shape: tvec!(kernel, kernel),
                padding: PaddingSpec::Explicit(tvec!(before, before), tvec!(before, before)),
                dilations: None,
                strides: Some(tvec!(stride, stride)),
                input_channels: channels,
                output_channels: outputs,
            };
            let op = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
            let mut wire = model.wire_node("conv", op, &[x, w, b]).unwrap()[0];
            let mut along = vec![1; shape.len()];
            along[shape.len() - 3] = outputs;
            let factor = model.add_const("factor", numbers(&along, 5)).unwrap();
            let offset = model.add_const("offset", numbers(&along, 6)).unwrap();
            let zero = model.add_const("zero", Tensor::zero::<f32>(&vec![1; shape.len()]).unwrap()).unwrap();
            wire = model.wire_node("scaled", math::mul(), &[wire, factor]).unwrap()[0];
            wire = model.wire_node("moved", math::add(), &[wire, offset]).unwrap()[0];
            wire = model.wire_node("relu", math::max(), &[wire, zero]).unwrap()[0];
            model.select_output_outlets(&[wire]).unwrap();
            let run = |model: TypedModel| {
                let input = numbers(&shape, 7).into_tvalue();
                model.into_optimized().unwrap().into_runnable().unwrap().run(tvec!(input)).unwrap().remove(0)
            };
            let mut lowered = model.clone();
            super::lower_early(&mut lowered, &mut packing(Precision::F32), Passes::ALL).unwrap();
            let left = lowered
                .nodes()
                .iter()
                .filter(|node| !["Const", "Source"].contains(&&*node.op.name()))
                .count();
            assert_eq!(left, nodes, "{channels} to {outputs} by {kernel}, {stride} in {format:?}");
            run(lowered).close_enough(&run(model), Approximation::Approximate).unwrap();
        }
    }
}

/// A convolution of each channel by itself between two of one pixel takes its image with channels innermost.
#[test]
fn channels_alone_lie_innermost() {
    for (format, shape) in [(DataFormat::NCHW, vec![2, 6, 11, 9]), (DataFormat::CHW, vec![6, 11, 9])] {
        for (stride, pointwise_stride) in [(1, 1), (2, 1), (1, 2)] {
            let mut model = TypedModel::default();
            let mut wire = model.add_source("x", f32::fact(&shape)).unwrap();
            let ones = vec![1; shape.len()];
            let bound = |value: f32| Tensor::from_shape(&ones, &[value]).unwrap();
            let low = model.add_const("low", bound(-0.5)).unwrap();
            let high = model.add_const("high", bound(0.75)).unwrap();
            let cases = [(6, 10, 1, 1, pointwise_stride), (10, 10, 10, 3, stride), (10, 7, 1, 1, 1)];
            for (ix, (channels, outputs, group, kernel, stride)) in cases.into_iter().enumerate() {
                let w = numbers(&[outputs, channels / group, kernel, kernel], 3 + ix as u64);
                let w = model.add_const(format!("w{ix}"), w).unwrap();
                let b = model.add_const(format!("b{ix}"), numbers(&[outputs], 4 + ix as u64)).unwrap();
                let pool_spec = PoolSpec {
                    data_format: format,
                    kernel_shape: tvec!(kernel, kernel),
                    padding: PaddingSpec::Explicit(
                        tvec!(kernel / 2, kernel / 2),
                        tvec!(kernel / 2, kernel / 2),
                    ),
                    dilations: None,
                    strides: Some(tvec!(stride, stride)),
                    input_channels: channels,
                    output_channels: outputs,
                };
                let op = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
                wire = model.wire_node(format!("conv{ix}"), op, &[wire, w, b]).unwrap()[0];
                wire = model.wire_node(format!("max{ix}"), math::max(), &[wire, low]).unwrap()[0];
                wire = model.wire_node(format!("min{ix}"), math::min(), &[high, wire]).unwrap()[0];
            }
            model.select_output_outlets(&[wire]).unwrap();
            let run = |model: TypedModel| {
                let input = numbers(&shape, 7).into_tvalue();
                model.into_optimized().unwrap().into_runnable().unwrap().run(tvec!(input)).unwrap().remove(0)
            };
            let mut lowered = model.clone();
            super::lower_early(&mut lowered, &mut packing(Precision::F32), Passes::ALL).unwrap();
            let bodies: Vec<_> = (lowered.nodes().iter())
                .filter_map(|node| node.op_as::<Lowered>())
                .filter(|op| matches!(&*op.body, super::node::Body::HwcDepthwise(_)))
                .collect();
            assert_eq!(bodies.len(), 1, "{format:?} {stride}");
            run(lowered).close_enough(&run(model), Approximation::Approximate).unwrap();
        }
    }
}
