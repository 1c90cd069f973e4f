//! Channels-innermost convolutions against those of planes.

use proptest::prelude::*;

use super::*;
use crate::conv::tests::{defined, outputs, plain};
use crate::random::{in_order, many, numbers};

/// `[channels, pixels]` to `[pixels, channels]`.
fn turned(planes: &[f32], channels: usize) -> Vec<f32> {
    let pixels = planes.len() / channels;
    (0..planes.len()).map(|at| planes[at % channels * pixels + at / channels]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_convolution_is_its_definition(
        input in [1usize..16, 1usize..16], kernel in [1usize..4, 1usize..4], stride in [1usize..4, 1usize..4],
        dilation in [1usize..3, 1usize..3], before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3],
        channels in 1usize..7, outputs_of in 1usize..11, seed: u64,
    ) {
        let size = |axis: usize| outputs(input[axis], kernel[axis], stride[axis], dilation[axis], before[axis] + behind[axis]);
        let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
        let window = Window { input, kernel, stride, dilation, before, output: [height, width] };
        let mut next = numbers(seed);
        let weights = many(outputs_of * channels * window.places(), &mut next);
        let bias = many(outputs_of, &mut next);
        let image = many(channels * window.area(), &mut next);
        let mut out = vec![9.0; outputs_of * window.pixels()];
        HwcConv::new(&mut Packing::plain(), window, channels, outputs_of, &bias, &weights).run(&turned(&image, channels), &mut out, After::default());
        let expected = turned(&plain(window, channels, outputs_of, 1, &weights, &bias, &image), outputs_of);
        for (out, expected) in out.iter().zip(expected) {
            prop_assert!((out - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{out} {expected}");
        }
    }

    #[test]
    fn a_depthwise_convolution_is_its_definition(
        input in [1usize..16, 1usize..16], five: bool, stride in [1usize..4, 1usize..4],
        before in [0usize..3, 0usize..3], behind in [0usize..3, 0usize..3], channels in 4usize..41, seed: u64,
        bounded: bool, added: bool,
    ) {
        let side = if five { 5 } else { 3 };
        let size = |axis: usize| outputs(input[axis], side, stride[axis], 1, before[axis] + behind[axis]);
        let (Some(height), Some(width)) = (size(0), size(1)) else { return Ok(()) };
        let window = Window { input, kernel: [side, side], stride, dilation: [1, 1], before, output: [height, width] };
        let mut next = numbers(seed);
        let weights = many(channels * window.places(), &mut next);
        let bias = many(channels, &mut next);
        let image = many(channels * window.area(), &mut next);
        let residual = many(channels * window.pixels(), &mut next);
        let after = After { residual: added.then_some(&residual), bounds: bounded.then_some((-0.5, 0.25)) };
        let mut out = vec![9.0; channels * window.pixels()];
        HwcDepthwise::new(window, channels, &bias, &weights)
            .run(&turned(&image, channels), &mut out, after);
        let sums = turned(&defined(window, 1, channels, channels, &weights, &bias, &image, in_order), channels);
        for ((out, mut expected), residual) in out.iter().zip(sums).zip(residual) {
            if added {
                expected += residual;
            }
            if bounded {
                expected = expected.clamp(-0.5, 0.25);
            }
            prop_assert_eq!(*out, expected);
        }
    }
}
