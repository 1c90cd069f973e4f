//! WebAssembly's vectors.

use core::arch::wasm32::*;

pub(super) type Inner = v128;

macro_rules! two {
    ($($name:ident = $intrinsic:ident),*) => {
        $(#[inline(always)] pub(super) fn $name(a: v128, b: v128) -> v128 { $intrinsic(a, b) })*
    };
}
two!(
    add = f32x4_add,
    sub = f32x4_sub,
    mul = f32x4_mul,
    div = f32x4_div,
    pmin = f32x4_pmin,
    pmax = f32x4_pmax,
    min = f32x4_min,
    max = f32x4_max,
    and = v128_and
);

macro_rules! one {
    ($($name:ident = $intrinsic:ident),*) => {
        $(#[inline(always)] pub(super) fn $name(a: v128) -> v128 { $intrinsic(a) })*
    };
}
one!(
    abs = f32x4_abs,
    neg = f32x4_neg,
    sqrt = f32x4_sqrt,
    floor = f32x4_floor,
    ceil = f32x4_ceil,
    nearest = f32x4_nearest
);

/// Whole numbers from -127 to 128 become exponents: 0 below -126, infinity at 128.
#[inline(always)]
pub(super) fn power_of_two(n: v128) -> v128 {
    i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(n), i32x4_splat(127)), 23)
}

/// Two factors whose product is two to the power of a whole number from -252 to 254.
#[inline(always)]
pub(super) fn powers_of_two(n: v128) -> [v128; 2] {
    let whole = i32x4_trunc_sat_f32x4(n);
    let half = i32x4_shr(whole, 1);
    let exponent = |n: v128| i32x4_shl(i32x4_add(n, i32x4_splat(127)), 23);
    [exponent(half), exponent(i32x4_sub(whole, half))]
}

/// Magnitudes of the first with signs of the second.
#[inline(always)]
pub(super) fn signed(a: v128, sign: v128) -> v128 {
    v128_bitselect(sign, a, f32x4_splat(-0.0))
}

#[inline(always)]
pub(super) fn splat(x: f32) -> v128 {
    f32x4_splat(x)
}

#[inline(always)]
pub(super) unsafe fn load(at: *const f32) -> v128 {
    // SAFETY: the caller's; WebAssembly takes any alignment.
    unsafe { v128_load(at.cast()) }
}

#[inline(always)]
pub(super) unsafe fn store(at: *mut f32, x: v128) {
    // SAFETY: as above.
    unsafe { v128_store(at.cast(), x) }
}

/// The larger of magnitudes as bits, so that what is no number is larger than any.
#[inline(always)]
pub(super) fn magnitude(a: v128, b: v128) -> v128 {
    i32x4_max(a, v128_and(b, i32x4_splat(0x7fff_ffff)))
}

#[inline(always)]
pub(super) fn bits(a: v128) -> [u32; 4] {
    [
        u32x4_extract_lane::<0>(a),
        u32x4_extract_lane::<1>(a),
        u32x4_extract_lane::<2>(a),
        u32x4_extract_lane::<3>(a),
    ]
}

/// The lower halves of both, one behind the other.
#[inline(always)]
pub(super) unsafe fn store_halves(at: *mut i16, a: v128, b: v128) {
    // SAFETY: the caller's.
    unsafe { v128_store(at.cast(), i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(a, b)) }
}

/// The lower halves of both, in turn.
#[inline(always)]
pub(super) unsafe fn store_pairs(at: *mut i16, a: v128, b: v128) {
    // SAFETY: the caller's.
    unsafe { v128_store(at.cast(), i16x8_shuffle::<0, 8, 2, 10, 4, 12, 6, 14>(a, b)) }
}

/// Whole numbers of two arrays, added and made real.
#[inline(always)]
pub(super) unsafe fn sums(at: *const i32, added: *const i32) -> v128 {
    // SAFETY: the caller's.
    unsafe { f32x4_convert_i32x4(i32x4_add(v128_load(at.cast()), v128_load(added.cast()))) }
}

/// Whole numbers, with one number added, made real.
#[inline(always)]
pub(super) unsafe fn sums_and(at: *const i32, added: i32) -> v128 {
    // SAFETY: the caller's.
    unsafe { f32x4_convert_i32x4(i32x4_add(v128_load(at.cast()), i32x4_splat(added))) }
}

/// Sixteen bytes, some of their bits turned over, made real.
#[inline(always)]
pub(super) unsafe fn sixteen(at: *const u8, flip: u8) -> [v128; 4] {
    // SAFETY: the caller's.
    let bytes = v128_xor(unsafe { v128_load(at.cast()) }, u8x16_splat(flip));
    let (low, high) = (u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes));
    let real = |four: v128| f32x4_convert_i32x4(four);
    [
        real(u32x4_extend_low_u16x8(low)),
        real(u32x4_extend_high_u16x8(low)),
        real(u32x4_extend_low_u16x8(high)),
        real(u32x4_extend_high_u16x8(high)),
    ]
}

/// The lower halves of all four, with a number added, held to the bounds of a byte.
#[inline(always)]
pub(super) unsafe fn store_held(at: *mut u8, four: [v128; 4], zero: i16, signed: bool) {
    let [a, b, c, d] = four;
    let zero = i16x8_splat(zero);
    let low = i16x8_add(i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(a, b), zero);
    let high = i16x8_add(i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(c, d), zero);
    let held = if signed { i8x16_narrow_i16x8(low, high) } else { u8x16_narrow_i16x8(low, high) };
    // SAFETY: the caller's.
    unsafe { v128_store(at.cast(), held) }
}

/// Eight halves of both arrays, in turn; every one or every other of them.
#[inline(always)]
pub(super) unsafe fn interleave<const EVERY: usize>(a: *const i16, b: *const i16, to: *mut i16) {
    // SAFETY: the caller's.
    unsafe {
        let eight = |from: *const i16| {
            if EVERY == 1 {
                return v128_load(from.cast());
            }
            let (low, high) = (v128_load(from.cast()), v128_load(from.add(8).cast()));
            i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(low, high)
        };
        let (a, b) = (eight(a), eight(b));
        v128_store(to.cast(), i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b));
        v128_store(to.add(8).cast(), i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b));
    }
}

/// The lowest bytes of both, in turn.
#[inline(always)]
pub(super) unsafe fn store_byte_pairs(at: *mut u8, a: v128, b: v128) {
    let bytes = i8x16_shuffle::<0, 16, 4, 20, 8, 24, 12, 28, 0, 0, 0, 0, 0, 0, 0, 0>(a, b);
    // SAFETY: the caller's.
    unsafe { v128_store64_lane::<0>(bytes, at.cast()) }
}

/// Lanes 0 and 2 of both.
#[inline(always)]
pub(super) fn even(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 2, 4, 6>(a, b)
}

/// Lanes 1 and 3 of both.
#[inline(always)]
pub(super) fn odd(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<1, 3, 5, 7>(a, b)
}

/// Lanes 0 and 2 of the first, 1 and 3 of the second.
#[inline(always)]
pub(super) fn even_odd(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 2, 5, 7>(a, b)
}

/// Lanes 0 and 1 of both, in turn.
#[inline(always)]
pub(super) fn low(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 4, 1, 5>(a, b)
}

/// Lanes 2 and 3 of both, in turn.
#[inline(always)]
pub(super) fn high(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<2, 6, 3, 7>(a, b)
}
