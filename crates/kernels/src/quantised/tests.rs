//! Products in whole numbers against plain loops over the same whole numbers, and against real ones.

use proptest::prelude::*;

use super::*;
use crate::random::{many, numbers};

/// Weights as they are packed: whole units, and the unit.
fn units(numbers: &[f32]) -> (Vec<i32>, f32) {
    let scale = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    (
        numbers.iter().map(|x| if scale > 0.0 { (x / scale).round_ties_even() as i32 } else { 0 }).collect(),
        scale,
    )
}

/// Activations as they are quantised.
fn activations(numbers: &[f32], largest: f32, k: usize) -> (Vec<i32>, f32) {
    let unit = largest / most(k);
    let inverse = 1.0 / unit;
    if !inverse.is_finite() {
        return (vec![0; numbers.len()], 0.0);
    }
    (numbers.iter().map(|x| (x * inverse).round_ties_even() as i32).collect(), unit)
}

fn dot(a: &[i32], b: &[i32]) -> i32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_sides_equal_plain_loops(
        m in 1usize..20, k in 1usize..40, n in 1usize..200, gap in 0usize..3, seed: u64, bounded: bool, added: bool,
    ) {
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
        Int8Weights::rows(m, k, &bias, |row, step| w[row * k + step])
            .times(&x, Matrix { rows: k, columns: n, stride }, &mut out, to, after);
        let seen = (0..k).flat_map(|row| &x[row * stride..row * stride + n]);
        let largest = seen.fold(0.0f32, |most, x| most.max(x.abs()));
        for row in 0..m {
            let (weights, scale) = units(&w[row * k..(row + 1) * k]);
            for column in 0..n {
                let column_of: Vec<f32> = (0..k).map(|step| x[step * stride + column]).collect();
                let (inputs, unit) = activations(&column_of, largest, k);
                let at = row * stride + column;
                let plain = finish(dot(&weights, &inputs) as f32 * (scale * unit) + bias[row], at);
                prop_assert_eq!(out[at].to_bits(), plain.to_bits());
            }
            prop_assert!(out[row * stride + n..(row + 1) * stride].iter().all(|x| *x == 9.0));
        }

        let (w, x) = (many(k * n, &mut next), many(m * (k + gap), &mut next));
        let bias = many(n, &mut next);
        let mut out = vec![9.0; m * stride];
        Int8Weights::columns(k, n, &bias, |step, column| w[step * n + column])
            .under(&x, Matrix { rows: m, columns: k, stride: k + gap }, &mut out, to, after);
        for row in 0..m {
            let tokens = &x[row * (k + gap)..row * (k + gap) + k];
            let (inputs, unit) = activations(tokens, tokens.iter().fold(0.0f32, |most, x| most.max(x.abs())), k);
            for column in 0..n {
                let (weights, scale) = units(&(0..k).map(|step| w[step * n + column]).collect::<Vec<_>>());
                let at = row * stride + column;
                let plain = finish(dot(&weights, &inputs) as f32 * unit * scale + bias[column], at);
                prop_assert_eq!(out[at].to_bits(), plain.to_bits());
            }
            prop_assert!(out[row * stride + n..(row + 1) * stride].iter().all(|x| *x == 9.0));
        }
    }
}

#[test]
fn the_largest_sums_fit() {
    for k in [2, 384, 517, 4_608, 11_008, LONGEST] {
        let weights = Int8Weights::columns(k, 4, &[], |_, _| 1.0);
        let mut out = [0.0; 4];
        weights.under(&vec![-3.0; k], Matrix::dense(1, k), &mut out, Matrix::dense(1, 4), After::default());
        for out in out {
            assert!((out / (-3.0 * k as f32) - 1.0).abs() < 1e-5, "{k}: {out}");
        }
    }
}

#[test]
fn what_is_no_number_is_told_and_zeros_are_zeros() {
    let weights = Int8Weights::columns(8, 4, &[1.0; 4], |_, _| 0.5);
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
}
