//! Transposed convolutions that are made convolutions, against tract's.

use proptest::prelude::*;
use tract_onnx::tract_core::ops::cnn::Deconv;

use super::*;
/// What a transposed convolution is, each axis by itself.
#[derive(Clone, Copy, Debug)]
struct Axis {
    length: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
    more: usize,
}

impl Axis {
    /// Outputs, where there are any.
    fn output(&self) -> Option<usize> {
        let filled = (self.length - 1) * self.stride + (self.kernel - 1) * self.dilation + 1;
        let left = filled.checked_sub(self.before + self.after)?;
        Some(left + self.more).filter(|outputs| *outputs > 0)
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    (1usize..7, 1usize..6, 1usize..4, 1usize..3, 0usize..4, 0usize..4, 0usize..3).prop_map(
        |(length, kernel, stride, dilation, before, after, more)| Axis {
            length,
            kernel,
            stride,
            dilation,
            before,
            after,
            more: more.min(stride - 1),
        },
    )
}

/// A graph of one transposed convolution, and it may be a scale, an offset and bounds, and the shape of its input.
fn graph(
    axes: &[Axis],
    [images, channels, outputs, group]: [usize; 4],
    followed: bool,
) -> (TypedModel, Vec<usize>) {
    let mut model = TypedModel::default();
    let mut shape = vec![channels * group];
    shape.extend(axes.iter().map(|axis| axis.length));
    let data_format = if images == 0 { DataFormat::CHW } else { DataFormat::NCHW };
    if images > 0 {
        shape.insert(0, images);
    }
    let mut kernel = vec![outputs * group, channels];
    kernel.extend(axes.iter().map(|axis| axis.kernel));
    let x = model.add_source("x", f32::fact(&shape)).unwrap();
    let w = model.add_const("w", numbers(&kernel, 3)).unwrap();
    let bias = if followed { numbers(&[outputs * group], 4) } else { tensor0(0.25f32) };
    let b = model.add_const("b", bias).unwrap();
    let each = |of: fn(&Axis) -> usize| -> TVec<usize> { axes.iter().map(of).collect() };
    let pool_spec = PoolSpec {
        data_format,
        kernel_shape: each(|axis| axis.kernel),
        padding: PaddingSpec::Explicit(each(|axis| axis.before), each(|axis| axis.after)),
        dilations: Some(each(|axis| axis.dilation)),
        strides: Some(each(|axis| axis.stride)),
        input_channels: channels * group,
        output_channels: outputs * group,
    };
    let op =
        Deconv { pool_spec, kernel_format: KernelFormat::OIHW, adjustments: each(|axis| axis.more), group };
    let mut wire = model.wire_node("transposed", op, &[x, w, b]).unwrap()[0];
    if followed {
        let mut along = vec![1; shape.len()];
        along[shape.len() - axes.len() - 1] = outputs * group;
        let ones = vec![1; shape.len()];
        let factor = model.add_const("factor", numbers(&along, 5)).unwrap();
        let offset = model.add_const("offset", numbers(&along, 6)).unwrap();
        let zero = model.add_const("zero", Tensor::zero::<f32>(&ones).unwrap()).unwrap();
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
    fn transposed_convolutions_agree(
        axes in prop::collection::vec(axis(), 1..4),
        images in 0usize..3,
        channels in prop_oneof![1usize..6, Just(16usize)],
        outputs in prop_oneof![1usize..6, Just(16usize)],
        group in 1usize..4,
        followed: bool,
    ) {
        prop_assume!(axes.iter().all(|axis| axis.output().is_some()));
        let (model, shape) = graph(&axes, [images, channels, outputs, group], followed);
        agree_from_the_start(model, &numbers(&shape, 7));
    }
}

/// Which kernels they are made of.
#[test]
fn transposed_convolutions_become_kernels() {
    // Kernel, stride, before, more.
    for ([kernel, stride, before, more], operators) in [
        ([2, 2, 0, 0], &["Product", "PixelShuffle"][..]),
        ([4, 2, 1, 0], &["WinogradConvolution", "PixelShuffle"]),
        ([3, 2, 1, 1], &["WinogradConvolution", "PixelShuffle"]),
        ([5, 2, 2, 1], &["WinogradConvolution", "PixelShuffle"]),
        ([8, 4, 2, 0], &["WinogradConvolution", "PixelShuffle"]),
        ([3, 1, 1, 0], &["WinogradConvolution"]),
        ([7, 2, 3, 1], &["Convolution", "PixelShuffle"]),
    ] {
        let axis = Axis { length: 8, kernel, stride, dilation: 1, before, after: before, more };
        let (model, shape) = graph(&[axis; 2], [1, 32, 24, 1], true);
        assert_eq!(agree_from_the_start(model, &numbers(&shape, 7)), operators, "{kernel} by {stride}");
    }
}
