//! Products in whole numbers against plain loops over the same whole numbers, and against real ones.

use proptest::prelude::*;

use super::*;
use crate::product::Weights;
use crate::random::{many, numbers};

/// Weights as they are packed: whole units, and the unit.
fn units(width: Width, numbers: &[f32]) -> (Vec<i32>, f32) {
    let largest = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let unit = match width {
        Width::Int8 => largest / 127.0,
        Width::Int16 => {
            let sums = numbers.chunks(256).map(|block| block.iter().fold(0.0f32, |sum, x| sum + x.abs()));
            let room = (i32::MAX / width.most(numbers.len()) as i32) as usize - numbers.len();
            ((sums.map(f64::from).sum::<f64>() / room as f64) as f32).max(largest / 32_767.0)
        }
    };
    let inverse = 1.0 / unit;
    if !inverse.is_finite() {
        return (vec![0; numbers.len()], 0.0);
    }
    (numbers.iter().map(|x| (x * inverse).round_ties_even() as i32).collect(), unit)
}

/// Activations as they are quantised.
fn activations(width: Width, numbers: &[f32], largest: f32) -> (Vec<i32>, f32) {
    let unit = largest / width.most(numbers.len());
    let inverse = 1.0 / unit;
    if !inverse.is_finite() {
        return (vec![0; numbers.len()], 0.0);
    }
    (numbers.iter().map(|x| (x * inverse).round_ties_even() as i32).collect(), unit)
}

/// Rows as columns.
fn turn_over(w: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|at| w[at % rows * columns + at / rows]).collect()
}

fn dot(a: &[i32], b: &[i32]) -> i32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_sides_equal_plain_loops(
        m in 1usize..20, k in 1usize..40, n in 1usize..200, gap in 0usize..3, seed: u64, bounded: bool, added: bool, wide: bool,
        turned: bool,
    ) {
        let width = if wide { Width::Int16 } else { Width::Int8 };
        let mut next = numbers(seed);
        let stride = n + gap;
        let bounds = bounded.then_some((-0.5, 0.75));
        let to = Matrix { rows: m, columns: n, stride };
        let residual = many(m * stride, &mut next);
        let after = After { residual: added.then_some(&residual), bounds };
        let finish = |mut sum: f32, at: usize| {
            if added {
                sum += residual[at];
            }
            bounds.map_or(sum, |(low, high)| sum.clamp(low, high))
        };

        let (w, x) = (many(m * k, &mut next), many(k * stride, &mut next));
        let bias = many(m, &mut next);
        let mut out = vec![9.0; m * stride];
        let (packed, _) = if turned {
            WholeWeights::rows_of(width, [m, k], &turn_over(&w, m, k), [1, m])
        } else {
            WholeWeights::rows_of(width, [m, k], &w, [k, 1])
        };
        packed.with_bias(&bias).times(&x, Matrix { rows: k, columns: n, stride }, &mut out, to, after);
        let seen = (0..k).flat_map(|row| &x[row * stride..row * stride + n]);
        let largest = seen.fold(0.0f32, |most, x| most.max(x.abs()));
        for row in 0..m {
            let (weights, scale) = units(width, &w[row * k..(row + 1) * k]);
            for column in 0..n {
                let column_of: Vec<f32> = (0..k).map(|step| x[step * stride + column]).collect();
                let (inputs, unit) = activations(width, &column_of, largest);
                let at = row * stride + column;
                let plain = finish(dot(&weights, &inputs) as f32 * (scale * unit) + bias[row], at);
                prop_assert_eq!(out[at].to_bits(), plain.to_bits());
            }
            prop_assert!(out[row * stride + n..(row + 1) * stride].iter().all(|x| *x == 9.0));
        }

        let (w, x) = (many(k * n, &mut next), many(m * (k + gap), &mut next));
        let bias = many(n, &mut next);
        let mut out = vec![9.0; m * stride];
        let (packed, _) = if turned {
            WholeWeights::columns_of(width, [k, n], &turn_over(&w, k, n), [1, k])
        } else {
            WholeWeights::columns_of(width, [k, n], &w, [n, 1])
        };
        packed.with_bias(&bias).under(&x, Matrix { rows: m, columns: k, stride: k + gap }, &mut out, to, after);
        for row in 0..m {
            let tokens = &x[row * (k + gap)..row * (k + gap) + k];
            let largest = tokens.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let (inputs, unit) = activations(width, tokens, largest);
            for column in 0..n {
                let (weights, scale) = units(width, &(0..k).map(|step| w[step * n + column]).collect::<Vec<_>>());
                let at = row * stride + column;
                let plain = finish(dot(&weights, &inputs) as f32 * unit * scale + bias[column], at);
                prop_assert_eq!(out[at].to_bits(), plain.to_bits());
            }
            prop_assert!(out[row * stride + n..(row + 1) * stride].iter().all(|x| *x == 9.0));
        }
    }

    #[test]
    fn no_sum_of_sixteen_bits_overflows(k in 1usize..6_000, power in 0i32..9, shift in -140i32..100, seed: u64) {
        // From weights that are all alike to those of which one stands out.
        let mut next = numbers(seed);
        let size = 2.0f32.powi(shift);
        let w: Vec<f32> = (0..k).map(|_| next().powi(power) * size).collect();
        let width = Width::Int16;
        // Four outputs, by vectors, and one by itself are the same.
        let one = WholeWeights::columns_of(width, [k, 1], &w, [1, k]).0;
        let four = WholeWeights::columns_of(width, [k, 4], &w, [1, 0]).0;
        let row = WholeWeights::rows_of(width, [1, k], &w, [k, 1]).0;
        let unit = row.scales[0];
        let whole: Vec<i16> = row.packed.here().chunks_exact(2).map(|x| i16::from_ne_bytes([x[0], x[1]])).collect();
        for (lane, packed) in [(0, &one), (0, &four), (3, &four)] {
            let numbers: Vec<i16> = packed.packed.here().chunks_exact(2).map(|x| i16::from_ne_bytes([x[0], x[1]])).collect();
            let lane: Vec<i16> = numbers.chunks_exact(8).flat_map(|step| [step[2 * lane], step[2 * lane + 1]]).collect();
            prop_assert_eq!(&lane, &whole);
            prop_assert_eq!(packed.scales[0].to_bits(), unit.to_bits());
        }
        let sum: i64 = whole.iter().map(|x| i64::from(*x).abs()).sum();
        prop_assert!(sum * width.most(k) as i64 <= i64::from(i32::MAX), "{sum}");
        // And what there is room for is used.
        let largest = w.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let enough = (sum + k as i64) * (width.most(k) as i64 + 1) > i64::from(i32::MAX) / 10 * 9;
        prop_assert!(unit == 0.0 || enough || largest / unit > 32_766.0, "{sum}");
    }

    #[test]
    fn sixteen_bits_are_nearer_than_eight(k in 8usize..3_000, seed: u64) {
        let mut next = numbers(seed);
        // About normal.
        let mut many = |n: usize| (0..n).map(|_| next() + next() + next()).collect::<Vec<f32>>();
        let (w, x) = (many(32 * k), many(4 * k));
        let [exact, eight, sixteen] = [None, Some(Width::Int8), Some(Width::Int16)].map(|width| {
            let mut out = vec![0.0; 4 * 32];
            let (from, to) = (Matrix::dense(4, k), Matrix::dense(4, 32));
            match width {
                Some(width) => {
                    let packed = WholeWeights::columns_of(width, [k, 32], &w, [32, 1]).0;
                    packed.under(&x, from, &mut out, to, After::default());
                }
                None => Weights::columns_of([k, 32], &w, [32, 1]).under(&x, from, &mut out, to, After::default()),
            }
            out
        });
        let apart = |got: &[f32]| got.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        prop_assert!(4.0 * apart(&sixteen) < apart(&eight), "{} {}", apart(&sixteen), apart(&eight));
    }
}

#[test]
fn the_largest_sums_fit() {
    for width in [Width::Int8, Width::Int16] {
        for k in [1, 2, 3, 384, 517, 4_608, 11_008, LONGEST] {
            let weights = WholeWeights::columns_of(width, [k, 4], &[1.0], [0, 0]).0;
            let mut out = [0.0; 4];
            let to = Matrix::dense(1, 4);
            weights.under(&vec![-3.0; k], Matrix::dense(1, k), &mut out, to, After::default());
            for out in out {
                let near = if width == Width::Int8 { 1e-5 } else { 0.01 };
                assert!((out / (-3.0 * k as f32) - 1.0).abs() < near, "{k}: {out}");
            }
        }
    }
}

#[test]
fn what_is_no_number_is_told_and_zeros_are_zeros() {
    for width in [Width::Int8, Width::Int16] {
        let weights = WholeWeights::columns_of(width, [8, 4], &[0.5], [0, 0]).0.with_bias(&[1.0; 4]);
        let mut out = [0.0; 12];
        let mut x = [0.0; 24];
        x[3] = f32::NAN;
        x[12] = f32::INFINITY;
        weights.under(&x, Matrix::dense(3, 8), &mut out, Matrix::dense(3, 4), After::default());
        assert!(out[..8].iter().all(|x| x.is_nan()), "{out:?}");
        assert_eq!(out[8..], [1.0; 4]);
        // Numbers too small to count.
        let mut out = [0.0; 4];
        weights.under(&[1e-44; 8], Matrix::dense(1, 8), &mut out, Matrix::dense(1, 4), After::default());
        assert_eq!(out, [1.0; 4]);
        let weights = WholeWeights::columns_of(width, [8, 4], &[0.0], [0, 0]).0.with_bias(&[1.0; 4]);
        weights.under(&[2.0; 8], Matrix::dense(1, 8), &mut out, Matrix::dense(1, 4), After::default());
        assert_eq!(out, [1.0; 4]);
    }
    // A weight that is no number is that of its output alone.
    for (width, none) in [(Width::Int8, f32::NAN), (Width::Int16, f32::NAN), (Width::Int16, f32::INFINITY)] {
        let mut w = [0.5; 32];
        (w[1], w[4]) = (none, none);
        let weights = WholeWeights::columns_of(width, [8, 4], &w, [4, 1]).0;
        let mut out = [0.0; 4];
        weights.under(&[1.0; 8], Matrix::dense(1, 8), &mut out, Matrix::dense(1, 4), After::default());
        assert!(
            out[..2].iter().all(|x| x.is_nan()) && out[2..].iter().all(|x| (x - 4.0).abs() < 1e-3),
            "{out:?}"
        );
    }
}

#[test]
fn what_rounding_takes_away_is_told() {
    let mut next = numbers(11);
    // Even weights lose a 256th in bytes; one that is twenty times as large makes it more.
    for (outlier, expected) in [(1.0, 0.0039), (20.0, 0.0353)] {
        let mut w = many(64 * 300, &mut next);
        w[5] = outlier;
        for packed in [
            WholeWeights::rows_of(Width::Int8, [1, 300], &w, [300, 1]),
            WholeWeights::columns_of(Width::Int8, [300, 1], &w, [1, 300]),
        ] {
            assert!((packed.1 / expected - 1.0).abs() < 0.15, "{} {expected}", packed.1);
        }
        let (_, sixteen) = WholeWeights::rows_of(Width::Int16, [64, 300], &w, [300, 1]);
        assert!(sixteen < 0.001, "{sixteen}");
    }
}
