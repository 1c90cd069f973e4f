//! Four floats at once: WebAssembly's vectors where they are, an array elsewhere, with the same bits.
//!
//! Only what is cheap on the price list: `below` and `above` are `pmin` and `pmax` (1 each), not `min` and `max` (4).

/// Four floats.
#[derive(Clone, Copy, Debug)]
pub struct F32x4(Inner);

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "lanes/array.rs"]
mod inner;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "lanes/wasm.rs"]
mod inner;

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

    /// The smaller; no number where one is none. Dearer than [`F32x4::below`] (4 to 1).
    #[inline(always)]
    #[must_use]
    pub fn min(self, other: F32x4) -> F32x4 {
        F32x4(inner::min(self.0, other.0))
    }

    /// The larger; no number where one is none. Dearer than [`F32x4::above`] (4 to 1).
    #[inline(always)]
    #[must_use]
    pub fn max(self, other: F32x4) -> F32x4 {
        F32x4(inner::max(self.0, other.0))
    }

    /// The square roots.
    #[inline(always)]
    #[must_use]
    pub fn sqrt(self) -> F32x4 {
        F32x4(inner::sqrt(self.0))
    }

    /// The next whole numbers below.
    #[inline(always)]
    #[must_use]
    pub fn floor(self) -> F32x4 {
        F32x4(inner::floor(self.0))
    }

    /// The next whole numbers above.
    #[inline(always)]
    #[must_use]
    pub fn ceil(self) -> F32x4 {
        F32x4(inner::ceil(self.0))
    }

    /// The nearest whole numbers, even ones from halfway.
    #[inline(always)]
    #[must_use]
    pub fn nearest(self) -> F32x4 {
        F32x4(inner::nearest(self.0))
    }

    /// Two to the power of these whole numbers, of -127 (which gives 0) to 128 (infinity). Of what is no number, 1.
    #[inline(always)]
    pub(crate) fn power_of_two(self) -> F32x4 {
        F32x4(inner::power_of_two(self.0))
    }

    /// Two factors whose product is two to the power of these whole numbers, of -252 to 254.
    #[inline(always)]
    pub(crate) fn powers_of_two(self) -> [F32x4; 2] {
        inner::powers_of_two(self.0).map(F32x4)
    }

    /// These magnitudes with the signs of others.
    #[inline(always)]
    #[must_use]
    pub fn signed(self, sign: F32x4) -> F32x4 {
        F32x4(inner::signed(self.0, sign.0))
    }

    /// The bits that a mask has as well.
    #[inline(always)]
    #[must_use]
    pub fn masked(self, mask: F32x4) -> F32x4 {
        F32x4(inner::and(self.0, mask.0))
    }

    /// The lanes.
    #[inline(always)]
    pub fn lanes(self) -> [f32; 4] {
        self.bits().map(f32::from_bits)
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

    /// Four floats and four others in turn.
    #[inline(always)]
    pub(crate) fn alternated(self, other: F32x4) -> [F32x4; 2] {
        [F32x4(inner::low(self.0, other.0)), F32x4(inner::high(self.0, other.0))]
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

impl std::ops::Neg for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn neg(self) -> F32x4 {
        F32x4(inner::neg(self.0))
    }
}
