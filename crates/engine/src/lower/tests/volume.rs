//! Convolutions and pools of volumes, against tract's.

use proptest::prelude::*;

use super::*;

/// What a convolution or a pool is along an axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    length: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

impl Axis {
    fn fits(&self) -> bool {
        self.length + self.before + self.after > (self.kernel - 1) * self.dilation
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    (1usize..8, 1usize..5, 1usize..4, 1usize..3, 0usize..4, 0usize..4).prop_map(
        |(length, kernel, stride, dilation, before, after)| Axis {
            length,
            kernel,
            stride,
            dilation,
            before: before.min(kernel - 1),
            after: after.min(kernel - 1),
        },
    )
}

fn spec(axes: &[Axis; 3], data_format: DataFormat, channels: usize, outputs: usize) -> PoolSpec {
    let each = |of: fn(&Axis) -> usize| -> TVec<usize> { axes.iter().map(of).collect() };
    PoolSpec {
        data_format,
        kernel_shape: each(|axis| axis.kernel),
        padding: PaddingSpec::Explicit(each(|axis| axis.before), each(|axis| axis.after)),
        dilations: Some(each(|axis| axis.dilation)),
        strides: Some(each(|axis| axis.stride)),
        input_channels: channels,
        output_channels: outputs,
    }
}

/// Shape and layout of so many volumes; 0 is one without an axis for it.
fn input(images: usize, channels: usize, axes: &[Axis; 3]) -> (Vec<usize>, DataFormat) {
    let mut shape = vec![channels];
    shape.extend(axes.iter().map(|axis| axis.length));
    if images == 0 {
        return (shape, DataFormat::CHW);
    }
    shape.insert(0, images);
    (shape, DataFormat::NCHW)
}

/// A graph of one convolution, and it may be a scale, an offset and bounds, and the shape of its input.
fn convolution(
    axes: &[Axis; 3],
    [images, channels, outputs, group]: [usize; 4],
    followed: bool,
) -> (TypedModel, Vec<usize>) {
    let mut model = TypedModel::default();
    let (shape, data_format) = input(images, channels * group, axes);
    let mut kernel = vec![outputs * group, channels];
    kernel.extend(axes.iter().map(|axis| axis.kernel));
    let x = model.add_source("x", f32::fact(&shape)).unwrap();
    let w = model.add_const("w", numbers(&kernel, 3)).unwrap();
    let b = model.add_const("b", numbers(&[outputs * group], 4)).unwrap();
    let pool_spec = spec(axes, data_format, channels * group, outputs * group);
    let op = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
    let mut wire = model.wire_node("conv", op, &[x, w, b]).unwrap()[0];
    if followed {
        let mut along = vec![1; shape.len()];
        along[shape.len() - 4] = outputs * group;
        let zero = Tensor::zero::<f32>(&vec![1; shape.len()]).unwrap();
        let factor = model.add_const("factor", numbers(&along, 5)).unwrap();
        let offset = model.add_const("offset", numbers(&along, 6)).unwrap();
        let zero = model.add_const("zero", zero).unwrap();
        wire = model.wire_node("scaled", math::mul(), &[factor, wire]).unwrap()[0];
        wire = model.wire_node("moved", math::add(), &[wire, offset]).unwrap()[0];
        wire = model.wire_node("relu", math::max(), &[wire, zero]).unwrap()[0];
    }
    model.select_output_outlets(&[wire]).unwrap();
    (model, shape)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn convolutions_of_volumes_agree(
        axes in prop::array::uniform3(axis()),
        images in 0usize..3,
        channels in 1usize..6,
        outputs in prop_oneof![1usize..6, Just(16usize)],
        group in 1usize..4,
        followed: bool,
    ) {
        prop_assume!(axes.iter().all(Axis::fits));
        let (model, shape) = convolution(&axes, [images, channels, outputs, group], followed);
        agree_from_the_start(model, &numbers(&shape, 7));
    }

    #[test]
    fn pools_of_volumes_agree(
        axes in prop::array::uniform3(axis()),
        images in 0usize..3,
        channels in 1usize..4,
        kind in 0usize..4,
    ) {
        let axes = axes.map(|axis| Axis { dilation: 1, ..axis });
        prop_assume!(axes.iter().all(Axis::fits));
        let (shape, data_format) = input(images, channels, &axes);
        let pool_spec = spec(&axes, data_format, channels, channels);
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(&shape)).unwrap();
        let wire = if kind == 0 {
            model.wire_node("pool", MaxPool { pool_spec, with_index_outputs: None }, &[x])
        } else {
            let op = SumPool { pool_spec, count_include_pad: kind == 1, normalize: kind < 3 };
            model.wire_node("pool", op, &[x])
        };
        model.select_output_outlets(&wire.unwrap()).unwrap();
        agree_from_the_start(model, &numbers(&shape, 7));
    }
}

/// Which kernels they are made of.
#[test]
fn volumes_become_kernels() {
    let axis = |length: usize, kernel: usize, stride: usize| Axis {
        length,
        kernel,
        stride,
        dilation: 1,
        before: kernel / 2,
        after: kernel / 2,
    };
    let axes = |kernel: [usize; 3], stride: usize| kernel.map(|kernel| axis(8, kernel, stride));
    for (axes, group, operators) in [
        (axes([3, 3, 3], 1), 1, &["MoveAxis", "WinogradConvolution", "MoveAxis"][..]),
        (axes([1, 3, 3], 1), 1, &["MoveAxis", "WinogradConvolution", "MoveAxis"]),
        (axes([3, 1, 1], 1), 1, &["MoveAxis", "Convolution", "MoveAxis"]),
        (axes([5, 5, 5], 1), 1, &["MoveAxis", "Convolution", "MoveAxis"]),
        (axes([3, 3, 3], 2), 2, &["MoveAxis", "Convolution", "MoveAxis"]),
        (axes([3, 3, 3], 1), 16, &["Conv", "Chain"]),
        (axes([1, 1, 1], 1), 1, &["Product"]),
    ] {
        let (model, shape) = convolution(&axes, [1, 16 / group, 16 / group, group], true);
        assert_eq!(agree_from_the_start(model, &numbers(&shape, 7)), operators, "{axes:?}");
    }
}

#[test]
fn pools_of_volumes_become_kernels() {
    let axis = Axis { length: 6, kernel: 3, stride: 2, dilation: 1, before: 1, after: 1 };
    let flat = Axis { kernel: 1, stride: 1, before: 0, after: 0, ..axis };
    for (axes, operators) in [
        ([axis; 3], &["MaxPool", "MaxPool"][..]),
        ([flat, axis, axis], &["MaxPool"]),
        ([axis, flat, flat], &["MaxPool"]),
    ] {
        let (shape, data_format) = input(1, 2, &axes);
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(&shape)).unwrap();
        let op = MaxPool { pool_spec: spec(&axes, data_format, 2, 2), with_index_outputs: None };
        let wire = model.wire_node("pool", op, &[x]).unwrap();
        model.select_output_outlets(&wire).unwrap();
        assert_eq!(agree_from_the_start(model, &numbers(&shape, 7)), operators, "{axes:?}");
    }
}
