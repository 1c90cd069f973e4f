//! What one step of a chain does to a block: a loop over vectors for each operation.

use super::Operation;
use crate::lanes::F32x4;
use crate::maths;

/// Numbers that a loop takes at a time: blocks are of as many, or of a multiple.
pub(super) const GRAIN: usize = 16;

/// `to` becomes what `f` makes of each four of `a`, so many vectors in a turn of the loop: 1, 2 or 4.
///
/// # Safety
/// `count`, a multiple of [`GRAIN`], are at both, which are the same or do not overlap.
#[inline(always)]
unsafe fn one<const VECTORS: usize>(a: *const f32, to: *mut f32, count: usize, f: impl Fn(F32x4) -> F32x4) {
    let (mut at, end) = (0, 4 * count);
    while at < end {
        // SAFETY: so many vectors of sixteen bytes from `at` on are at both (the caller's): they divide the grain.
        unsafe {
            let (a, to) = (a.byte_add(at), to.byte_add(at));
            for ix in 0..VECTORS {
                f(F32x4::load(a.add(4 * ix))).store(to.add(4 * ix));
            }
        }
        at += 16 * VECTORS;
    }
}

/// `to` becomes what `f` makes of each four of `a` and `b`.
///
/// # Safety
/// As of [`one`], for all three.
#[inline(always)]
unsafe fn two([a, b]: [*const f32; 2], to: *mut f32, count: usize, f: impl Fn(F32x4, F32x4) -> F32x4) {
    let (mut at, end) = (0, 4 * count);
    while at < end {
        // SAFETY: sixteen, of four bytes each, from `at` on are at all (the caller's).
        unsafe {
            let (a, b, to) = (a.byte_add(at), b.byte_add(at), to.byte_add(at));
            f(F32x4::load(a), F32x4::load(b)).store(to);
            f(F32x4::load(a.add(4)), F32x4::load(b.add(4))).store(to.add(4));
            f(F32x4::load(a.add(8)), F32x4::load(b.add(8))).store(to.add(8));
            f(F32x4::load(a.add(12)), F32x4::load(b.add(12))).store(to.add(12));
        }
        at += 4 * GRAIN;
    }
}

/// Each function is compiled once, by itself.
macro_rules! ones {
    ($vectors:literal, $($name:ident: $f:expr),*) => {
        $(#[inline(never)]
        unsafe fn $name(a: *const f32, to: *mut f32, count: usize) {
            // SAFETY: the caller's.
            unsafe { one::<$vectors>(a, to, count, $f) }
        })*
    };
}

macro_rules! twos {
    ($($name:ident: $f:expr),*) => {
        $(#[inline(never)]
        unsafe fn $name(operands: [*const f32; 2], to: *mut f32, count: usize) {
            // SAFETY: the caller's.
            unsafe { two(operands, to, count, $f) }
        })*
    };
}

twos!(
    add: |a, b| a + b,
    sub: |a, b| a - b,
    mul: |a, b| a * b,
    div: |a, b| a / b,
    min: F32x4::min,
    max: F32x4::max,
    leaky: |a, slope| a.above(F32x4::splat(0.0)) + slope * a.below(F32x4::splat(0.0))
);

ones!(
    4,
    neg: |a| -a,
    abs: F32x4::abs,
    square: |a| a * a,
    sqrt: F32x4::sqrt,
    rsqrt: |a| F32x4::splat(1.0) / a.sqrt(),
    recip: |a| F32x4::splat(1.0) / a,
    floor: F32x4::floor,
    ceil: F32x4::ceil,
    nearest: F32x4::nearest
);

ones!(
    2,
    exp: maths::exp,
    tanh: maths::tanh,
    sigmoid: maths::sigmoid,
    silu: maths::silu,
    erf: maths::erf,
    gelu: maths::gelu,
    gelu_tanh: maths::gelu_tanh
);

/// Does an operation to a block.
///
/// # Safety
/// `count`, a multiple of [`GRAIN`], are at `to` and at each operand that the operation has; each operand is the same as `to` or does
/// not overlap it.
pub(super) unsafe fn step(operation: Operation, operands: [*const f32; 2], to: *mut f32, count: usize) {
    let a = operands[0];
    // SAFETY: the caller's, for all of them.
    unsafe {
        match operation {
            Operation::Add => add(operands, to, count),
            Operation::Sub => sub(operands, to, count),
            Operation::Mul => mul(operands, to, count),
            Operation::Div => div(operands, to, count),
            Operation::Min => min(operands, to, count),
            Operation::Max => max(operands, to, count),
            Operation::Leaky => leaky(operands, to, count),
            Operation::Neg => neg(a, to, count),
            Operation::Abs => abs(a, to, count),
            Operation::Square => square(a, to, count),
            Operation::Sqrt => sqrt(a, to, count),
            Operation::Rsqrt => rsqrt(a, to, count),
            Operation::Recip => recip(a, to, count),
            Operation::Floor => floor(a, to, count),
            Operation::Ceil => ceil(a, to, count),
            Operation::Nearest => nearest(a, to, count),
            Operation::Exp => exp(a, to, count),
            Operation::Tanh => tanh(a, to, count),
            Operation::Sigmoid => sigmoid(a, to, count),
            Operation::Silu => silu(a, to, count),
            Operation::Erf => erf(a, to, count),
            Operation::Gelu => gelu(a, to, count),
            Operation::GeluTanh => gelu_tanh(a, to, count),
        }
    }
}
