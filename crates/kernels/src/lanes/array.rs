//! Arrays in the place of vectors: the twin of what WebAssembly's instructions do.

pub(super) type Inner = [f32; 4];

#[inline(always)]
fn each(a: Inner, b: Inner, f: impl Fn(f32, f32) -> f32) -> Inner {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

#[inline(always)]
pub(super) fn add(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| a + b)
}

#[inline(always)]
pub(super) fn sub(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| a - b)
}

#[inline(always)]
pub(super) fn mul(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| a * b)
}

#[inline(always)]
pub(super) fn div(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| a / b)
}

#[inline(always)]
pub(super) fn pmin(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| if b < a { b } else { a })
}

#[inline(always)]
pub(super) fn pmax(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| if a < b { b } else { a })
}

#[inline(always)]
pub(super) fn splat(x: f32) -> Inner {
    [x; 4]
}

#[inline(always)]
pub(super) unsafe fn load(at: *const f32) -> Inner {
    // SAFETY: the caller's.
    unsafe { at.cast::<Inner>().read_unaligned() }
}

#[inline(always)]
pub(super) unsafe fn store(at: *mut f32, x: Inner) {
    // SAFETY: the caller's.
    unsafe { at.cast::<Inner>().write_unaligned(x) }
}

#[inline(always)]
pub(super) fn magnitude(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| f32::from_bits(a.to_bits().max(b.to_bits() & 0x7fff_ffff)))
}

/// The smaller, no number where one is none, -0 below 0.
#[inline(always)]
pub(super) fn min(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| match (a.is_nan() || b.is_nan(), a == b) {
        (true, _) => f32::NAN,
        (_, true) => f32::from_bits(a.to_bits() | b.to_bits()),
        _ => {
            if a < b {
                a
            } else {
                b
            }
        }
    })
}

/// The larger, no number where one is none, 0 above -0.
#[inline(always)]
pub(super) fn max(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| match (a.is_nan() || b.is_nan(), a == b) {
        (true, _) => f32::NAN,
        (_, true) => f32::from_bits(a.to_bits() & b.to_bits()),
        _ => {
            if a < b {
                b
            } else {
                a
            }
        }
    })
}

#[inline(always)]
pub(super) fn and(a: Inner, b: Inner) -> Inner {
    each(a, b, |a, b| f32::from_bits(a.to_bits() & b.to_bits()))
}

#[inline(always)]
pub(super) fn abs(a: Inner) -> Inner {
    a.map(f32::abs)
}

#[inline(always)]
pub(super) fn neg(a: Inner) -> Inner {
    a.map(|a| -a)
}

#[inline(always)]
pub(super) fn sqrt(a: Inner) -> Inner {
    a.map(f32::sqrt)
}

#[inline(always)]
pub(super) fn floor(a: Inner) -> Inner {
    a.map(f32::floor)
}

#[inline(always)]
pub(super) fn ceil(a: Inner) -> Inner {
    a.map(f32::ceil)
}

#[inline(always)]
pub(super) fn nearest(a: Inner) -> Inner {
    a.map(f32::round_ties_even)
}

#[inline(always)]
fn exponent(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

#[inline(always)]
pub(super) fn power_of_two(n: Inner) -> Inner {
    n.map(|n| exponent(n as i32))
}

#[inline(always)]
pub(super) fn powers_of_two(n: Inner) -> [Inner; 2] {
    [n.map(|n| exponent(n as i32 >> 1)), n.map(|n| exponent(n as i32 - (n as i32 >> 1)))]
}

#[inline(always)]
pub(super) fn signed(a: Inner, sign: Inner) -> Inner {
    each(a, sign, f32::copysign)
}

#[inline(always)]
pub(super) fn bits(a: Inner) -> [u32; 4] {
    a.map(f32::to_bits)
}

#[inline(always)]
pub(super) unsafe fn store_halves(at: *mut i16, a: Inner, b: Inner) {
    let half = |x: f32| x.to_bits() as i16;
    let halves =
        [half(a[0]), half(a[1]), half(a[2]), half(a[3]), half(b[0]), half(b[1]), half(b[2]), half(b[3])];
    // SAFETY: the caller's.
    unsafe { at.cast::<[i16; 8]>().write_unaligned(halves) }
}

#[inline(always)]
pub(super) unsafe fn store_pairs(at: *mut i16, a: Inner, b: Inner) {
    let half = |x: f32| x.to_bits() as i16;
    let halves =
        [half(a[0]), half(b[0]), half(a[1]), half(b[1]), half(a[2]), half(b[2]), half(a[3]), half(b[3])];
    // SAFETY: the caller's.
    unsafe { at.cast::<[i16; 8]>().write_unaligned(halves) }
}

#[inline(always)]
pub(super) unsafe fn sums(at: *const i32, added: *const i32) -> Inner {
    // SAFETY: the caller's.
    let (a, b) =
        unsafe { (at.cast::<[i32; 4]>().read_unaligned(), added.cast::<[i32; 4]>().read_unaligned()) };
    [0, 1, 2, 3].map(|lane| a[lane].wrapping_add(b[lane]) as f32)
}

#[inline(always)]
pub(super) unsafe fn sums_and(at: *const i32, added: i32) -> Inner {
    // SAFETY: the caller's.
    unsafe { at.cast::<[i32; 4]>().read_unaligned() }.map(|a| a.wrapping_add(added) as f32)
}

#[inline(always)]
pub(super) unsafe fn sixteen(at: *const u8, flip: u8) -> [Inner; 4] {
    // SAFETY: the caller's.
    let bytes = unsafe { at.cast::<[u8; 16]>().read_unaligned() };
    [0, 4, 8, 12].map(|first| [0, 1, 2, 3].map(|lane| f32::from(bytes[first + lane] ^ flip)))
}

#[inline(always)]
pub(super) unsafe fn store_held(at: *mut u8, four: [Inner; 4], zero: i16, signed: bool) {
    for (ix, x) in four.as_flattened().iter().enumerate() {
        let sum = (x.to_bits() as i16).wrapping_add(zero);
        let held = if signed { sum.clamp(-128, 127) as i8 as u8 } else { sum.clamp(0, 255) as u8 };
        // SAFETY: the caller's.
        unsafe { at.add(ix).write(held) };
    }
}

#[inline(always)]
pub(super) unsafe fn interleave<const EVERY: usize>(a: *const i16, b: *const i16, to: *mut i16) {
    for ix in 0..8 {
        // SAFETY: the caller's.
        unsafe {
            to.add(2 * ix).write(a.add(EVERY * ix).read());
            to.add(2 * ix + 1).write(b.add(EVERY * ix).read());
        }
    }
}

#[inline(always)]
pub(super) unsafe fn store_byte_pairs(at: *mut u8, a: Inner, b: Inner) {
    let byte = |x: f32| x.to_bits() as u8;
    let bytes =
        [byte(a[0]), byte(b[0]), byte(a[1]), byte(b[1]), byte(a[2]), byte(b[2]), byte(a[3]), byte(b[3])];
    // SAFETY: the caller's.
    unsafe { at.cast::<[u8; 8]>().write_unaligned(bytes) }
}

#[inline(always)]
pub(super) fn even(a: Inner, b: Inner) -> Inner {
    [a[0], a[2], b[0], b[2]]
}

#[inline(always)]
pub(super) fn odd(a: Inner, b: Inner) -> Inner {
    [a[1], a[3], b[1], b[3]]
}

#[inline(always)]
pub(super) fn even_odd(a: Inner, b: Inner) -> Inner {
    [a[0], a[2], b[1], b[3]]
}

#[inline(always)]
pub(super) fn low(a: Inner, b: Inner) -> Inner {
    [a[0], b[0], a[1], b[1]]
}

#[inline(always)]
pub(super) fn high(a: Inner, b: Inner) -> Inner {
    [a[2], b[2], a[3], b[3]]
}
