//! Exact products, convolutions and endings against plain loops.

use std::mem::MaybeUninit;

use proptest::prelude::*;

use super::*;
use crate::Window;
use crate::random::numbers;

/// So many bytes of a seed.
fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut next = numbers(seed);
    (0..n).map(|_| ((next() + 1.0) * 128.0) as u8).collect()
}

/// What bytes mean.
fn whole(bytes: &[u8], signed: bool, zero: i16) -> Vec<i32> {
    let number = |b: &u8| if signed { i32::from(*b as i8) } else { i32::from(*b) };
    bytes.iter().map(|b| number(b) - i32::from(zero)).collect()
}

/// What was written to outputs.
fn written(n: usize, run: impl FnOnce(&mut [MaybeUninit<i32>])) -> Vec<i32> {
    // What is left out would be seen.
    let mut out = vec![MaybeUninit::new(i32::MIN); n];
    run(&mut out);
    // SAFETY: all were given a value.
    out.into_iter().map(|x| unsafe { x.assume_init() }).collect()
}

fn zero(signed: bool, seed: u8) -> i16 {
    if signed { i16::from(seed as i8) } else { i16::from(seed) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn products_are_exact(
        m in 1usize..20, k in 1usize..90, n in 1usize..80, seed: u64, signed: bool, at: u8, wide: bool, turned: bool,
    ) {
        let x = bytes(m * k, seed);
        let zero = zero(signed, at);
        let least = if wide { -255 } else { -128 };
        let w: Vec<i16> = bytes(k * n, seed ^ 1).iter().map(|b| i16::from(*b) * if wide { 2 } else { 1 } + least).collect();
        let lies = |row: usize, column: usize| if turned { column * k + row } else { row * n + column };
        let weights = ExactWeights::columns_of([k, n], &w, if turned { [1, k] } else { [n, 1] });
        let got = written(m * n, |out| weights.under(Bytes::new(&x, signed, zero), m, out));
        let x = whole(&x, signed, zero);
        for row in 0..m {
            for column in 0..n {
                let sum: i32 = (0..k).map(|at| x[row * k + at] * i32::from(w[lies(at, column)])).sum();
                prop_assert_eq!(got[row * n + column], sum, "[{}][{}]", row, column);
            }
        }
    }

    #[test]
    fn convolutions_are_exact(
        side in (1usize..20, 1usize..48), kernel in (1usize..4, 1usize..6), stride in (1usize..4, 1usize..4),
        dilation in (1usize..3, 1usize..3), before in (0usize..3, 0usize..3), after in (0usize..3, 0usize..3),
        channels in 1usize..4, each in 1usize..10, groups in 1usize..4, seed: u64, signed: bool, at: u8,
    ) {
        let pair = |(a, b): (usize, usize)| [a, b];
        let (input, kernel, stride, dilation) = (pair(side), pair(kernel), pair(stride), pair(dilation));
        let (before, after) = (pair(before), pair(after));
        let output = [0, 1].map(|axis| {
            let room = input[axis] + before[axis] + after[axis];
            let reach = (kernel[axis] - 1) * dilation[axis] + 1;
            if room < reach { 0 } else { (room - reach) / stride[axis] + 1 }
        });
        prop_assume!(output[0] > 0 && output[1] > 0);
        let window = Window { input, kernel, stride, dilation, before, output };
        let outputs = each * groups;
        let zero = zero(signed, at);
        let image = bytes(groups * channels * window.area(), seed);
        let w: Vec<i16> =
            bytes(outputs * channels * window.places(), seed ^ 1).iter().map(|b| i16::from(*b as i8)).collect();
        let conv = ExactConv::new(window, channels, outputs, groups, &w);
        let got = written(outputs * window.pixels(), |out| conv.run(Bytes::new(&image, signed, zero), out));
        let image = whole(&image, signed, zero);
        for out in 0..outputs {
            for pixel in 0..window.pixels() {
                let (y, x) = (pixel / output[1] * stride[0], pixel % output[1] * stride[1]);
                let mut sum = 0;
                for at in 0..channels * window.places() {
                    let (channel, place) = (at / window.places(), at % window.places());
                    let down = y + place / kernel[1] * dilation[0];
                    let across = x + place % kernel[1] * dilation[1];
                    let inside = (before[0]..before[0] + input[0]).contains(&down)
                        && (before[1]..before[1] + input[1]).contains(&across);
                    if inside {
                        let plane = out / each * channels + channel;
                        let at_image = plane * window.area() + (down - before[0]) * input[1] + across - before[1];
                        sum += image[at_image] * i32::from(w[out * channels * window.places() + at]);
                    }
                }
                prop_assert_eq!(got[out * window.pixels() + pixel], sum, "[{}][{}]", out, pixel);
            }
        }
    }

    #[test]
    fn bytes_of_two_operands_follow_their_rules(n in 1usize..70, seed: u64, signed: bool, zeros: [u8; 3], product: bool) {
        let [a_zero, b_zero, y_zero] = zeros.map(|at| zero(signed, at));
        let (a, b) = (bytes(n, seed), bytes(n, seed ^ 1));
        let mut next = numbers(seed);
        let factors = [next() * 0.01, next()];
        let how = if product { Two::Product } else { Two::Sum };
        let mut out = vec![0; n];
        let operands = [Bytes::new(&a, signed, a_zero), Bytes::new(&b, signed, b_zero)];
        combine(how, operands, factors, [i16::from(signed), y_zero], &mut out);
        let (a, b) = (whole(&a, signed, a_zero), whole(&b, signed, b_zero));
        let (low, high) = if signed { (-128, 127) } else { (0, 255) };
        for (ix, (x, y)) in a.iter().zip(&b).enumerate() {
            let (x, y) = (*x as f32, *y as f32);
            let quotient = if product { x * y * factors[0] } else { x * factors[0] + y * factors[1] };
            let held = (quotient.round_ties_even() as i64 + i64::from(y_zero)).clamp(low, high) as u8;
            prop_assert_eq!(out[ix], held, "{}", ix);
        }
    }

    #[test]
    fn sums_of_lines_and_rows_are_exact(lines in 1usize..9, length in 1usize..40, seed: u64, signed: bool, at: u8) {
        let zero = zero(signed, at);
        let x = bytes(lines * length, seed);
        let (mut by_lines, mut by_rows) = (vec![0; lines], vec![0; length]);
        sum_lines(Bytes::new(&x, signed, zero), length, &mut by_lines);
        sum_rows(Bytes::new(&x, signed, zero), &mut by_rows);
        let x = whole(&x, signed, zero);
        for (sum, line) in by_lines.iter().zip(x.chunks(length)) {
            prop_assert_eq!(*sum, line.iter().sum::<i32>());
        }
        for (ix, sum) in by_rows.iter().enumerate() {
            prop_assert_eq!(*sum, x.iter().skip(ix).step_by(length).sum::<i32>());
        }
    }

    #[test]
    fn endings_follow_their_rules(n in 1usize..70, seed: u64, signed: bool, at: u8, each: bool, halves: bool) {
        let zero = zero(signed, at);
        let mut next = numbers(seed);
        let sums: Vec<i32> = (0..n).map(|_| (next() * 900.0) as i32).collect();
        let count = if each { n } else { 1 };
        // Halves are ties.
        let factor: Vec<f32> = (0..count).map(|_| if halves { 0.5 } else { next() }).collect();
        let added: Vec<i32> = (0..count).map(|_| (next() * 100.0) as i32).collect();
        let real_added: Vec<f32> = added.iter().map(|x| *x as f32).collect();
        let of = |at: usize| if each { at } else { 0 };
        let held = |quotient: f32| {
            let (low, high) = if signed { (-128, 127) } else { (0, 255) };
            (quotient.round_ties_even() as i64 + i64::from(zero)).clamp(low, high) as u8
        };
        let to = [i16::from(signed), zero];
        let (mut out, mut reals) = (vec![0; n], vec![0.0; n]);
        requantise(&sums, &added, &factor, to, &mut out);
        for (ix, out) in out.iter().enumerate() {
            prop_assert_eq!(*out, held((sums[ix] + added[of(ix)]) as f32 * factor[of(ix)]));
        }
        for added in [None, Some(real_added.as_slice())] {
            real(&sums, &factor, added, &mut reals);
            for (ix, real) in reals.iter().enumerate() {
                let expected = sums[ix] as f32 * factor[of(ix)] + added.map_or(0.0, |a| a[of(ix)]);
                prop_assert_eq!(*real, expected);
            }
        }
        let x: Vec<f32> = (0..n).map(|_| next() * 200.0).collect();
        let scale = if halves { 0.5 } else { next().abs() + 0.01 };
        quantise(&x, scale, to, &mut out);
        for (x, out) in x.iter().zip(&out) {
            prop_assert_eq!(*out, held(x / scale));
        }
        dequantise(&out, scale, to, &mut reals);
        for (real, number) in reals.iter().zip(whole(&out, signed, zero)) {
            prop_assert_eq!(*real, number as f32 * scale);
        }
        let (least, most) = span(&x);
        prop_assert_eq!(least, x.iter().copied().fold(0.0, f32::min));
        prop_assert_eq!(most, x.iter().copied().fold(0.0, f32::max));
    }
}

#[test]
fn what_is_no_number_or_infinite_is_held() {
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30];
    let x: Vec<f32> = x.iter().cycle().take(20).copied().collect();
    let mut out = vec![9; 20];
    quantise(&x, 1.0, [0, 3], &mut out);
    assert!(out.chunks(4).all(|out| out == [0, 255, 0, 255]), "{out:?}");
    assert_eq!(span(&x[..1]), (0.0, 0.0));
}

#[test]
fn sums_go_around_at_2_to_the_32() {
    let k = 40_000;
    let weights = ExactWeights::columns_of([k, 1], &vec![255; k], [1, 1]);
    let x = vec![255u8; k];
    let got = written(1, |out| weights.under(Bytes::new(&x, false, 0), 1, out));
    assert_eq!(got[0], (255i64 * 255 * k as i64) as i32);
}
