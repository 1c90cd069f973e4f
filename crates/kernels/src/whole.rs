//! Four whole sums at once: WebAssembly's vectors where they are, an array elsewhere.

/// Four int32, modulo 2^32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I32x4(Inner);

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod inner {
    use core::arch::wasm32::*;

    pub(super) type Inner = v128;

    #[inline(always)]
    pub(super) fn zero() -> v128 {
        i32x4_splat(0)
    }

    #[inline(always)]
    pub(super) unsafe fn and_dot(sums: v128, at: *const i16, pair: i32) -> v128 {
        // SAFETY: the caller's; WebAssembly takes any alignment.
        let numbers = unsafe { v128_load(at.cast()) };
        i32x4_add(sums, i32x4_dot_i16x8(numbers, i32x4_splat(pair)))
    }

    #[inline(always)]
    pub(super) unsafe fn store(sums: v128, at: *mut i32) {
        // SAFETY: the caller's.
        unsafe { v128_store(at.cast(), sums) }
    }

    #[inline(always)]
    pub(super) unsafe fn store_in_turn(a: v128, b: v128, at: *mut i32) {
        // SAFETY: the caller's.
        unsafe {
            v128_store(at.cast(), i32x4_shuffle::<0, 4, 1, 5>(a, b));
            v128_store(at.add(4).cast(), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod inner {
    pub(super) type Inner = [i32; 4];

    #[inline(always)]
    pub(super) fn zero() -> Inner {
        [0; 4]
    }

    #[inline(always)]
    pub(super) unsafe fn and_dot(sums: Inner, at: *const i16, pair: i32) -> Inner {
        // SAFETY: the caller's.
        let numbers = unsafe { at.cast::<[i16; 8]>().read_unaligned() };
        let [low, high] = [pair as i16, (pair >> 16) as i16].map(i32::from);
        let dot = |lane: usize| {
            let [a, b] = [2 * lane, 2 * lane + 1].map(|at| i32::from(numbers[at]));
            (a * low).wrapping_add(b * high)
        };
        [0, 1, 2, 3].map(|lane| sums[lane].wrapping_add(dot(lane)))
    }

    #[inline(always)]
    pub(super) unsafe fn store(sums: Inner, at: *mut i32) {
        // SAFETY: the caller's.
        unsafe { at.cast::<Inner>().write_unaligned(sums) }
    }

    #[inline(always)]
    pub(super) unsafe fn store_in_turn(a: Inner, b: Inner, at: *mut i32) {
        let all = [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
        // SAFETY: the caller's.
        unsafe { at.cast::<[i32; 8]>().write_unaligned(all) }
    }
}

use inner::Inner;

impl I32x4 {
    /// Nothing.
    #[inline(always)]
    pub(crate) fn zero() -> I32x4 {
        I32x4(inner::zero())
    }

    /// With the products of four pairs of numbers at an address and one pair, int16 in the halves of `pair`.
    ///
    /// # Safety
    /// Eight numbers are there.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn and_dot(self, at: *const i16, pair: i32) -> I32x4 {
        // SAFETY: the caller's.
        I32x4(unsafe { inner::and_dot(self.0, at, pair) })
    }

    /// Writes them.
    ///
    /// # Safety
    /// There is room for four.
    #[inline(always)]
    pub(crate) unsafe fn store(self, at: *mut i32) {
        // SAFETY: the caller's.
        unsafe { inner::store(self.0, at) }
    }

    /// Writes them and four others, in turn.
    ///
    /// # Safety
    /// There is room for eight.
    #[inline(always)]
    pub(crate) unsafe fn store_in_turn(self, other: I32x4, at: *mut i32) {
        // SAFETY: the caller's.
        unsafe { inner::store_in_turn(self.0, other.0, at) }
    }
}
