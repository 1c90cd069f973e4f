//! Products against plain loops, bit by bit.

use proptest::prelude::*;

use super::*;
use crate::random::{many, numbers, summed};

fn finish(mut sum: f32, residual: Option<f32>, bounds: Option<(f32, f32)>) -> f32 {
    if let Some(residual) = residual {
        sum += residual;
    }
    bounds.map_or(sum, |(low, high)| sum.clamp(low, high))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_sides_equal_plain_loops(
        m in 1usize..20, k in 0usize..40, n in 1usize..70, gap in 0usize..3, seed: u64,
        bounded: bool, added: bool, biased: bool,
    ) {
        let mut next = numbers(seed);
        let (w, x) = (many(m * k, &mut next), many(k * (n + gap), &mut next));
        let bounds = bounded.then_some((-0.5, 0.75));
        let to = Matrix { rows: m, columns: n, stride: n + gap };
        let residual = many(m * (n + gap), &mut next);
        let after = After { residual: added.then_some(&residual), bounds };

        let bias = many(if biased { m } else { 0 }, &mut next);
        let weights = Weights::rows(m, k, &bias, |row, step| w[row * k + step]);
        let mut out = vec![9.0; m * (n + gap)];
        weights.times(&x, Matrix { rows: k, columns: n, stride: n + gap }, &mut out, to, after);
        for row in 0..m {
            for column in 0..n + gap {
                let at = row * (n + gap) + column;
                let products = (0..k).map(|step| w[row * k + step] * x[step * (n + gap) + column]);
                let plain = summed(bias.get(row).copied().unwrap_or(0.0), products);
                let plain = if column < n { finish(plain, added.then(|| residual[at]), bounds) } else { 9.0 };
                prop_assert_eq!(out[at].to_bits(), plain.to_bits());
            }
        }

        let bias = many(if biased { n } else { 0 }, &mut next);
        let weights = Weights::columns(k, n, &bias, |step, column| x[step * (n + gap) + column]);
        let tokens = many(m * (k + gap), &mut next);
        let mut out = vec![9.0; m * (n + gap)];
        weights.under(&tokens, Matrix { rows: m, columns: k, stride: k + gap }, &mut out, to, after);
        for row in 0..m {
            for column in 0..n + gap {
                let at = row * (n + gap) + column;
                let products = (0..k).map(|step| tokens[row * (k + gap) + step] * x[step * (n + gap) + column]);
                let plain = summed(bias.get(column).copied().unwrap_or(0.0), products);
                let plain = if column < n { finish(plain, added.then(|| residual[at]), bounds) } else { 9.0 };
                prop_assert_eq!(out[at].to_bits(), plain.to_bits());
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_so() {
    let weights = Weights::rows(1, 1, &[], |_, _| f32::NAN);
    let mut out = [0.0; 4];
    let after = After { residual: None, bounds: Some((0.0, 6.0)) };
    weights.times(&[1.0; 4], Matrix::dense(1, 4), &mut out, Matrix::dense(1, 4), after);
    assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
}

#[test]
#[should_panic(expected = "shorter than its matrix")]
fn a_short_slice_is_refused() {
    Weights::rows(2, 2, &[], |_, _| 1.0).times(
        &[1.0; 7],
        Matrix::dense(2, 4),
        &mut [0.0; 8],
        Matrix::dense(2, 4),
        After::default(),
    );
}
