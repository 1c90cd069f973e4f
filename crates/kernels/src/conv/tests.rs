//! Convolutions against their definition.

use proptest::prelude::*;

use super::*;
use crate::depthwise::Depthwise;
use crate::random::{in_order, many, numbers, summed};

/// The definition, in the order in which the tiles sum.
pub(crate) fn plain(
    window: Window,
    channels: usize,
    outputs: usize,
    groups: usize,
    kernel: &[f32],
    bias: &[f32],
    image: &[f32],
) -> Vec<f32> {
    defined(window, channels, outputs, groups, kernel, bias, image, summed)
}

/// The definition, its products added as `sum` does.
#[allow(clippy::too_many_arguments)]
pub(crate) fn defined(
    window: Window,
    channels: usize,
    outputs: usize,
    groups: usize,
    kernel: &[f32],
    bias: &[f32],
    image: &[f32],
    sum: fn(f32, Vec<f32>) -> f32,
) -> Vec<f32> {
    let mut out = vec![];
    let [height, width] = window.input;
    for output in 0..outputs {
        let group = output / (outputs / groups);
        for oy in 0..window.output[0] {
            for ox in 0..window.output[1] {
                let mut products = vec![];
                for channel in 0..channels {
                    for ky in 0..window.kernel[0] {
                        for kx in 0..window.kernel[1] {
                            let y = (oy * window.stride[0] + ky * window.dilation[0])
                                .wrapping_sub(window.before[0]);
                            let x = (ox * window.stride[1] + kx * window.dilation[1])
                                .wrapping_sub(window.before[1]);
                            let seen = if y < height && x < width {
                                image[((group * channels + channel) * height + y) * width + x]
                            } else {
                                0.0
                            };
                            let at = ((output * channels + channel) * window.kernel[0] + ky)
                                * window.kernel[1]
                                + kx;
                            products.push(kernel[at] * seen);
                        }
                    }
                }
                out.push(sum(bias.get(output).copied().unwrap_or(0.0), products));
            }
        }
    }
    out
}

/// Holds a convolution of random numbers to its definition, but for rounding: by `run`, which is given weights, bias, an image
/// that lies as `innermost` says, outputs that do, and what comes after.
#[allow(clippy::too_many_arguments)]
pub(crate) fn equals_its_definition(
    window: Window,
    [channels, produced]: [usize; 2],
    innermost: bool,
    bounded: bool,
    added: bool,
    seed: u64,
    run: impl Fn(&[f32], &[f32], &[f32], &mut [f32], After<'_>),
) -> Result<(), TestCaseError> {
    let mut next = numbers(seed);
    let weights = many(produced * channels * window.places(), &mut next);
    let bias = many(produced, &mut next);
    let image = many(channels * window.area(), &mut next);
    let residual = many(produced * window.pixels(), &mut next);
    let after = After { residual: added.then_some(&residual), bounds: bounded.then_some((-0.5, 0.75)) };
    let lies = |planes: &[f32], channels: usize| {
        let pixels = planes.len() / channels;
        let mut turned = vec![0.0; planes.len()];
        crate::turn::turn(planes, channels, pixels, pixels, &mut turned);
        if innermost { turned } else { planes.to_vec() }
    };
    let mut out = vec![9.0; produced * window.pixels()];
    run(&weights, &bias, &lies(&image, channels), &mut out, after);
    let sums = lies(&plain(window, channels, produced, 1, &weights, &bias, &image), produced);
    for ((out, mut expected), residual) in out.iter().zip(sums).zip(&residual) {
        if added {
            expected += residual;
        }
        if let Some((low, high)) = after.bounds {
            expected = expected.clamp(low, high);
        }
        prop_assert!((out - expected).abs() < 1e-4, "{out} {expected}");
    }
    Ok(())
}

/// Outputs along an axis.
pub(crate) fn outputs(
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: usize,
) -> Option<usize> {
    Some((input + pads).checked_sub((kernel - 1) * dilation + 1)? / stride + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_convolution_is_its_definition(
        input in [1usize..24, 1usize..24], kernel in [1usize..4, 1usize..4], stride in [1usize..4, 1usize..4],
        dilation in [1usize..3, 1usize..3], before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3],
        channels in 1usize..5, outputs_a_group in 1usize..11, groups in 1usize..3, biased: bool, seed: u64,
    ) {
        let size = |axis: usize| outputs(input[axis], kernel[axis], stride[axis], dilation[axis], before[axis] + behind[axis]);
        let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
        let window = Window { input, kernel, stride, dilation, before, output: [height, width] };
        let mut next = numbers(seed);
        let outputs = outputs_a_group * groups;
        let weights = many(outputs * channels * window.places(), &mut next);
        let bias = many(if biased { outputs } else { 0 }, &mut next);
        let image = many(groups * channels * window.area(), &mut next);
        let conv = Conv::new(&mut Packing::plain(), window, channels, outputs, groups, &weights, &bias);
        let mut out = vec![9.0; outputs * window.pixels()];
        conv.run(&image, &mut out, After::default());
        prop_assert_eq!(out, plain(window, channels, outputs, groups, &weights, &bias, &image));
    }

    #[test]
    fn a_depthwise_convolution_is_its_definition(
        input in [1usize..20, 1usize..40], five: bool, stride in [1usize..4, 1usize..3],
        before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3], channels in 1usize..4, seed: u64,
    ) {
        let side = if five { 5 } else { 3 };
        let size = |axis: usize| outputs(input[axis], side, stride[axis], 1, before[axis] + behind[axis]);
        let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
        let window = Window {
            input, kernel: [side, side], stride, dilation: [1, 1], before, output: [height, width],
        };
        prop_assume!(Depthwise::takes(&window));
        let mut next = numbers(seed);
        let weights = many(channels * window.places(), &mut next);
        let bias = many(channels, &mut next);
        let image = many(channels * window.area(), &mut next);
        let mut out = vec![9.0; channels * window.pixels()];
        Depthwise::new(window, channels, &weights, &bias).run(&image, &mut out, After::default());
        prop_assert_eq!(out, defined(window, 1, channels, channels, &weights, &bias, &image, in_order));
    }
}

#[test]
fn what_follows_is_applied_to_each_output() {
    let window = Window {
        input: [9, 9],
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        before: [1, 1],
        output: [9, 9],
    };
    let mut next = numbers(7);
    let (weights, image, residual) =
        (many(2 * 2 * 9, &mut next), many(2 * 81, &mut next), many(2 * 81, &mut next));
    let after = After { residual: Some(&residual), bounds: Some((0.0, 0.5)) };
    let mut out = vec![9.0; 2 * 81];
    Conv::new(&mut Packing::plain(), window, 2, 2, 1, &weights, &[]).run(&image, &mut out, after);
    for ((out, sum), residual) in out.iter().zip(plain(window, 2, 2, 1, &weights, &[], &image)).zip(&residual)
    {
        assert_eq!(*out, (sum + residual).clamp(0.0, 0.5));
    }
}
