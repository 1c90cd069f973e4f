//! Functions of four numbers at once, by polynomials: no branch, so each takes the same for whatever numbers.
//!
//! Coefficients are minimax fits, rounded to f32; the errors that are named are measured in f32, over all of the range. What is no
//! number stays none, infinities go where limits are. Chosen by the price list: a step of Horner's is 6, a division 10, and
//! so rational functions and tables lost to polynomials that are raised to a power ([`gelu`], [`erf`]).

use crate::lanes::F32x4;

/// log2(e).
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, of which the first times any exponent is exact.
const LN_2: [f32; 2] = [f32::from_bits(0x3f31_8000), -2.121_944_4e-4];
/// Below it the power of two that [`exp2`] multiplies by is 0.
const LEAST: f32 = -127.0;

#[inline(always)]
fn splat(x: f32) -> F32x4 {
    F32x4::splat(x)
}

/// A polynomial by Horner's rule, its coefficients from the highest down.
#[inline(always)]
fn polynomial<const N: usize>(x: F32x4, coefficients: [f32; N]) -> F32x4 {
    let mut sum = splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = sum * x + splat(*coefficient);
    }
    sum
}

/// Two to the power of numbers from -127 to 127: relative error 1.2e-7, and 0 at -127.
#[expect(clippy::approx_constant, reason = "a fitted coefficient, which ln 2 in its place would make worse")]
#[inline(always)]
fn exp2(x: F32x4) -> F32x4 {
    let whole = x.nearest();
    // What is left, negated: it is cheaper to have the whole number on top.
    let rest = whole - x;
    let power =
        polynomial(rest, [-1.326_472_7e-3, 9.671_512e-3, -5.550_733_6e-2, 2.402_224_2e-1, -6.931_47e-1, 1.0]);
    power * whole.power_of_two()
}

/// e to the power of numbers that are not above 0: relative error 1.2e-7 and 4e-8 times the magnitude of the exponent, and 0 below
/// -88.
#[inline(always)]
pub(crate) fn exp_below(x: F32x4) -> F32x4 {
    exp2((x * splat(LOG2_E)).above(splat(LEAST)))
}

/// e to the power: relative error 2e-7, with subnormal results and infinity.
#[inline(always)]
pub(crate) fn exp(x: F32x4) -> F32x4 {
    let x = x.below(splat(88.73)).above(splat(-104.0));
    let whole = (x * splat(LOG2_E)).nearest();
    let rest = x - whole * splat(LN_2[0]) - whole * splat(LN_2[1]);
    let power = polynomial(rest, [8.312_52e-3, 4.189_015_6e-2, 1.666_711_4e-1, 4.999_923e-1, 1.0, 1.0]);
    let [half, other] = whole.powers_of_two();
    power * half * other
}

/// 1 / (1 + e^-x): relative error 3e-7, and of large negative numbers what [`exp_below`] has.
#[inline(always)]
pub(crate) fn sigmoid(x: F32x4) -> F32x4 {
    let exponent = (x * splat(-LOG2_E)).above(splat(LEAST)).below(splat(-LEAST));
    splat(1.0) / (splat(1.0) + exp2(exponent))
}

/// x / (1 + e^-x). Far below 0 it is 0.
#[inline(always)]
pub(crate) fn silu(x: F32x4) -> F32x4 {
    let x = x.above(splat(-88.0));
    let exponent = (x * splat(-LOG2_E)).above(splat(LEAST));
    x / (splat(1.0) + exp2(exponent))
}

/// The hyperbolic tangent: relative error 4e-7, and no more than 1.
#[inline(always)]
pub(crate) fn tanh(x: F32x4) -> F32x4 {
    let x = x.below(splat(9.0)).above(splat(-9.0));
    let square = x * x;
    let numerator =
        polynomial(square, [1.717_296_6e-2, 2.650_155_4e1, 4.495_035_6e3, 1.720_689e5, 1.285_917_2e6]);
    // Its highest coefficient is 1.
    let denominator = (square + splat(4.225_052_2e2)) * square + splat(3.327_565_2e4);
    let denominator = (denominator * square + splat(6.007_077_5e5)) * square + splat(1.285_917_2e6);
    (x * numerator / denominator).below(splat(1.0)).above(splat(-1.0))
}

/// What is left of 1 in an error function, or of the distribution: the eighth power of a polynomial.
#[inline(always)]
fn eighth<const N: usize>(x: F32x4, coefficients: [f32; N]) -> F32x4 {
    let root = polynomial(x, coefficients);
    let square = root * root;
    let fourth = square * square;
    fourth * fourth
}

/// The error function: absolute error 6e-7.
#[inline(always)]
pub(crate) fn erf(x: F32x4) -> F32x4 {
    let left = eighth(
        x.abs().below(splat(4.0)),
        [
            4.862_447_5e-5,
            -3.806_285e-4,
            -3.079_216_5e-5,
            6.778_329e-3,
            -2.173_600_3e-3,
            -6.961_318e-2,
            -1.410_485_2e-1,
            1.0,
        ],
    );
    (splat(1.0) - left).signed(x)
}

/// x/2 · (1 + erf(x/√2)): error 5e-7 of the magnitude of x.
///
/// The larger of x and 0, less |x| times what of the normal distribution lies beyond |x|, whose eighth root is a polynomial.
#[inline(always)]
pub(crate) fn gelu(x: F32x4) -> F32x4 {
    let magnitude = x.abs().below(splat(5.5));
    let beyond = eighth(
        magnitude,
        [
            3.539_461e-6,
            -3.943_645_4e-5,
            -2.164_577_7e-5,
            1.585_632_7e-3,
            -7.345_392e-4,
            -3.190_493_2e-2,
            -9.146_066e-2,
            9.170_041e-1,
        ],
    );
    x.above(splat(0.0)) - magnitude * beyond
}

/// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³))): error 4e-7 of the magnitude of x.
#[inline(always)]
pub(crate) fn gelu_tanh(x: F32x4) -> F32x4 {
    // -2 · √(2/π) · log2(e), and 0.044715 times that.
    let low = x.above(splat(-12.0));
    let cubic = low * low * splat(-0.102_943_24) + splat(-2.302_208_2);
    low / (splat(1.0) + exp2((low * cubic).above(splat(LEAST)).below(splat(-LEAST))))
}

#[cfg(test)]
mod tests;
