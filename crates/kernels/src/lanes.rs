//! Four floats at once: WebAssembly's vectors where they are, an array elsewhere, with the same bits.
//!
//! Only what is cheap on the price list: `below` and `above` are `pmin` and `pmax` (1 each), not `min` and `max` (4).

/// Four floats.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(Inner);

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod inner {
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
        pmax = f32x4_pmax
    );

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
    pub(super) fn abs(a: v128) -> v128 {
        f32x4_abs(a)
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
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod inner {
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

    #[inline(always)]
    pub(super) fn abs(a: Inner) -> Inner {
        a.map(f32::abs)
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
}

use inner::Inner;

/// Writes eight halves of both arrays, in turn: those that lie `EVERY` apart, 1 or 2.
///
/// # Safety
/// Both arrays have `8 * EVERY`, and there is room for sixteen.
#[inline(always)]
pub(crate) unsafe fn interleave<const EVERY: usize>(a: *const i16, b: *const i16, to: *mut i16) {
    // SAFETY: the caller's.
    unsafe { inner::interleave::<EVERY>(a, b, to) }
}

/// Sixteen bytes, unsigned once the bits of `flip` are turned over, made real.
///
/// # Safety
/// Sixteen are there.
#[inline(always)]
pub(crate) unsafe fn sixteen(at: *const u8, flip: u8) -> [F32x4; 4] {
    // SAFETY: the caller's.
    unsafe { inner::sixteen(at, flip) }.map(F32x4)
}

/// Writes the lower halves of sixteen floats as bytes, with `zero` added and held to what a signed or an unsigned byte has.
///
/// # Safety
/// There is room for sixteen.
#[inline(always)]
pub(crate) unsafe fn store_held(four: [F32x4; 4], zero: i16, signed: bool, at: *mut u8) {
    // SAFETY: the caller's.
    unsafe { inner::store_held(at, four.map(|x| x.0), zero, signed) }
}

impl F32x4 {
    /// Four whole numbers with those of another array added, modulo 2^32, made real.
    ///
    /// # Safety
    /// Four are at both.
    #[inline(always)]
    pub(crate) unsafe fn sums(at: *const i32, added: *const i32) -> F32x4 {
        // SAFETY: the caller's.
        F32x4(unsafe { inner::sums(at, added) })
    }

    /// Four whole numbers with one added, modulo 2^32, made real.
    ///
    /// # Safety
    /// Four are there.
    #[inline(always)]
    pub(crate) unsafe fn sums_and(at: *const i32, added: i32) -> F32x4 {
        // SAFETY: the caller's.
        F32x4(unsafe { inner::sums_and(at, added) })
    }

    /// The same in every lane.
    #[inline(always)]
    pub fn splat(x: f32) -> F32x4 {
        F32x4(inner::splat(x))
    }

    /// Four floats of a slice.
    ///
    /// # Panics
    /// Where it ends before.
    #[inline(always)]
    pub fn of(slice: &[f32]) -> F32x4 {
        assert!(slice.len() >= 4, "four floats are expected");
        // SAFETY: four floats are there.
        F32x4(unsafe { inner::load(slice.as_ptr()) })
    }

    /// Four floats at an address.
    ///
    /// # Safety
    /// Four floats are there.
    #[inline(always)]
    pub(crate) unsafe fn load(at: *const f32) -> F32x4 {
        // SAFETY: the caller's.
        F32x4(unsafe { inner::load(at) })
    }

    /// Writes four floats to an address.
    ///
    /// # Safety
    /// There is room for four floats.
    #[inline(always)]
    pub(crate) unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller's.
        unsafe { inner::store(at, self.0) }
    }

    /// The smaller, or `self` where one is no number.
    #[inline(always)]
    #[must_use]
    pub fn below(self, other: F32x4) -> F32x4 {
        F32x4(inner::pmin(self.0, other.0))
    }

    /// The larger, or `self` where one is no number.
    #[inline(always)]
    #[must_use]
    pub fn above(self, other: F32x4) -> F32x4 {
        F32x4(inner::pmax(self.0, other.0))
    }

    /// The larger of the magnitudes, `self` holding one already. What is no number is larger than any.
    #[inline(always)]
    #[must_use]
    pub fn magnitude(self, other: F32x4) -> F32x4 {
        F32x4(inner::magnitude(self.0, other.0))
    }

    /// The magnitudes.
    #[inline(always)]
    #[must_use]
    pub fn abs(self) -> F32x4 {
        F32x4(inner::abs(self.0))
    }

    /// The lanes' bits.
    #[inline(always)]
    pub fn bits(self) -> [u32; 4] {
        inner::bits(self.0)
    }

    /// Writes the lower halves of `self` and `other`, one behind the other.
    ///
    /// # Safety
    /// There is room for eight.
    #[inline(always)]
    pub(crate) unsafe fn store_halves(self, other: F32x4, at: *mut i16) {
        // SAFETY: the caller's.
        unsafe { inner::store_halves(at, self.0, other.0) }
    }

    /// Writes the lower halves of `self` and `other`, in turn.
    ///
    /// # Safety
    /// There is room for eight.
    #[inline(always)]
    pub(crate) unsafe fn store_pairs(self, other: F32x4, at: *mut i16) {
        // SAFETY: the caller's.
        unsafe { inner::store_pairs(at, self.0, other.0) }
    }

    /// Writes the lowest bytes of `self` and `other`, in turn.
    ///
    /// # Safety
    /// There is room for eight.
    #[inline(always)]
    pub(crate) unsafe fn store_byte_pairs(self, other: F32x4, at: *mut u8) {
        // SAFETY: the caller's.
        unsafe { inner::store_byte_pairs(at, self.0, other.0) }
    }

    /// Of eight floats, those at even places.
    #[inline(always)]
    #[must_use]
    pub fn even(self, next: F32x4) -> F32x4 {
        F32x4(inner::even(self.0, next.0))
    }

    /// Of eight floats, those at odd places.
    #[inline(always)]
    #[must_use]
    pub fn odd(self, next: F32x4) -> F32x4 {
        F32x4(inner::odd(self.0, next.0))
    }

    /// Of seven floats, those at even places, where `last` has the last four.
    #[inline(always)]
    #[must_use]
    pub fn even_of_seven(self, last: F32x4) -> F32x4 {
        F32x4(inner::even_odd(self.0, last.0))
    }
}

impl std::ops::Add for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn add(self, other: F32x4) -> F32x4 {
        F32x4(inner::add(self.0, other.0))
    }
}

impl std::ops::Sub for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn sub(self, other: F32x4) -> F32x4 {
        F32x4(inner::sub(self.0, other.0))
    }
}

impl std::ops::Div for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn div(self, other: F32x4) -> F32x4 {
        F32x4(inner::div(self.0, other.0))
    }
}

impl std::ops::Mul for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn mul(self, other: F32x4) -> F32x4 {
        F32x4(inner::mul(self.0, other.0))
    }
}
