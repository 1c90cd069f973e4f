//! Functions of four numbers against f64.

use proptest::prelude::*;

use super::*;

/// The error function by its series of positive terms.
pub(crate) fn real_erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
}

fn real_gelu(x: f64) -> f64 {
    // Of large negative numbers the sum has no digits left.
    if x < -7.0 { 0.0 } else { x / 2.0 * (1.0 + real_erf(x / std::f64::consts::SQRT_2)) }
}

fn real_gelu_tanh(x: f64) -> f64 {
    x / (1.0 + (-2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).exp())
}

/// One number's function value, which all lanes have to give.
fn of(f: impl Fn(F32x4) -> F32x4, x: f32) -> f32 {
    let lanes = f(F32x4::splat(x)).lanes();
    assert!(lanes.iter().all(|lane| lane.to_bits() == lanes[0].to_bits() || lane.is_nan()));
    lanes[0]
}

/// The largest error over a range in so many steps, as `error` has it of what came and what was expected.
fn worst(
    f: impl Fn(F32x4) -> F32x4 + Copy,
    real: impl Fn(f64) -> f64,
    [from, to]: [f32; 2],
    error: impl Fn(f64, f64, f64) -> f64,
) -> f64 {
    const STEPS: u32 = 200_000;
    (0..=STEPS)
        .map(|ix| from + (to - from) * ix as f32 / STEPS as f32)
        .map(|x| error(f64::from(of(f, x)), real(f64::from(x)), f64::from(x)))
        .fold(0.0, f64::max)
}

fn relative(got: f64, expected: f64, _: f64) -> f64 {
    if got == expected { 0.0 } else { (got - expected).abs() / expected.abs() }
}

fn absolute(got: f64, expected: f64, _: f64) -> f64 {
    (got - expected).abs()
}

/// Of the argument's magnitude.
fn of_argument(got: f64, expected: f64, x: f64) -> f64 {
    if x == 0.0 { got.abs() } else { (got - expected).abs() / x.abs() }
}

#[test]
fn errors_are_what_is_said() {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let checks = [
        ("exp", worst(exp, f64::exp, [-87.0, 88.7], relative), 2.5e-7),
        ("exp, near 0", worst(exp, f64::exp, [-1.0, 1.0], relative), 2e-7),
        ("exp below", worst(exp_below, f64::exp, [-2.0, 0.0], relative), 3e-7),
        ("exp below, absolute", worst(exp_below, f64::exp, [-87.0, 0.0], absolute), 2.5e-7),
        ("sigmoid", worst(sigmoid, logistic, [-2.0, 20.0], relative), 4e-7),
        ("sigmoid, far", worst(sigmoid, logistic, [-80.0, -2.0], relative), 6e-6),
        ("silu", worst(silu, |x| x * logistic(x), [-20.0, 20.0], absolute), 2e-6),
        ("silu, of x", worst(silu, |x| x * logistic(x), [-20.0, 20.0], of_argument), 4e-7),
        ("tanh", worst(tanh, f64::tanh, [-12.0, 12.0], relative), 5e-7),
        ("tanh, near 0", worst(tanh, f64::tanh, [-0.01, 0.01], relative), 5e-7),
        ("erf", worst(erf, real_erf, [-5.0, 5.0], absolute), 7e-7),
        ("gelu", worst(gelu, real_gelu, [-8.0, 8.0], of_argument), 6e-7),
        ("gelu, near 0", worst(gelu, real_gelu, [-0.01, 0.01], of_argument), 6e-7),
        ("gelu by tanh", worst(gelu_tanh, real_gelu_tanh, [-10.0, 10.0], of_argument), 6e-7),
    ];
    for (name, error, most) in checks {
        assert!(error < most, "{name}: {error}");
    }
}

#[test]
fn limits_are_right() {
    type Function = fn(F32x4) -> F32x4;
    let all: [(&str, Function); 8] = [
        ("exp", exp),
        ("exp_below", exp_below),
        ("sigmoid", sigmoid),
        ("silu", silu),
        ("tanh", tanh),
        ("erf", erf),
        ("gelu", gelu),
        ("gelu_tanh", gelu_tanh),
    ];
    for (name, f) in all {
        assert!(of(f, f32::NAN).is_nan(), "{name} of no number");
    }
    let (inf, tiny) = (f32::INFINITY, f32::from_bits(1));
    for (name, f, x, expected) in [
        ("exp", all[0].1, 0.0, 1.0),
        ("exp", all[0].1, -0.0, 1.0),
        ("exp", all[0].1, inf, inf),
        ("exp", all[0].1, 89.0, inf),
        ("exp", all[0].1, -inf, 0.0),
        ("exp", all[0].1, -110.0, 0.0),
        ("exp", all[0].1, tiny, 1.0),
        ("exp_below", all[1].1, 0.0, 1.0),
        ("exp_below", all[1].1, -inf, 0.0),
        ("exp_below", all[1].1, -100.0, 0.0),
        ("sigmoid", all[2].1, 0.0, 0.5),
        ("sigmoid", all[2].1, inf, 1.0),
        ("sigmoid", all[2].1, 200.0, 1.0),
        ("silu", all[3].1, 0.0, 0.0),
        ("silu", all[3].1, inf, inf),
        ("silu", all[3].1, 1e30, 1e30),
        ("gelu", all[6].1, inf, inf),
        ("gelu", all[6].1, 1e30, 1e30),
        ("gelu_tanh", all[7].1, inf, inf),
        ("gelu_tanh", all[7].1, 1e30, 1e30),
    ] {
        assert_eq!(of(f, x), expected, "{name} of {x}");
    }
    for (name, f) in &all[3..] {
        for zero in [0.0f32, -0.0] {
            assert_eq!(of(f, zero).to_bits(), zero.to_bits(), "{name} of {zero}");
        }
    }
    for (name, f) in [all[2], all[3], all[6], all[7]] {
        for x in [-inf, -1e30, -200.0] {
            assert!(of(f, x).abs() < 1e-6, "{name} of {x}: {}", of(f, x));
        }
    }
    for x in [-inf, -40.0, -9.5, 9.5, 40.0, inf] {
        assert!(of(tanh, x).abs() <= 1.0 && of(erf, x).abs() <= 1.0);
        for f in [tanh, erf] {
            assert!((of(f, x) - x.signum()).abs() <= 3e-7, "of {x}: {}", of(f, x));
        }
    }
    // Subnormal powers are as they are, to a unit in their last place.
    for x in [-88.0f32, -95.0, -100.0, -103.0] {
        let (got, expected) = (of(exp, x), f64::from(x).exp() as f32);
        assert!(
            got.to_bits().abs_diff(expected.to_bits()) <= 1 && got.is_subnormal(),
            "{x}: {got} for {expected}"
        );
    }
    assert!((f64::from(of(exp, 88.7)) / f64::from(88.7f32).exp() - 1.0).abs() < 1e-6);
}

proptest! {
    /// A function of vectors is that of each of its lanes.
    #[test]
    fn lanes_do_not_mix(x: [f32; 4]) {
        for f in [exp, exp_below, sigmoid, silu, tanh, erf, gelu, gelu_tanh] {
            let all = f(F32x4::of(&x)).lanes();
            for (lane, x) in all.iter().zip(x) {
                let alone = of(f, x);
                prop_assert!(lane.to_bits() == alone.to_bits() || lane.is_nan() && alone.is_nan());
            }
        }
    }
}
