//! Tiles in plain Rust: what runs where no WebAssembly does, and what the written ones are held to, bit by bit.

use std::marker::PhantomData;
use std::ptr;

use super::BLOCK;

/// A sum of products under way.
trait Sum: Copy {
    /// Bytes of a number, or a pair of them, on the packed side; of the other side there are four.
    const PACKED: usize;

    /// Where it begins.
    fn begin(bias: f32) -> Self;
    /// The products of one step.
    ///
    /// # Safety
    /// There are so many bytes at both.
    unsafe fn products(packed: *const u8, other: *const u8) -> Self;
    /// With another sum.
    fn and(self, other: Self) -> Self;
    /// The sum itself, where it is a whole one.
    fn whole(self) -> Option<i32>;
    /// The output.
    fn real(self, bias: f32, row_scale: impl Fn() -> f32, column_scale: impl Fn() -> Option<f32>) -> f32;
}

impl Sum for f32 {
    const PACKED: usize = 4;

    fn begin(bias: f32) -> f32 {
        bias
    }

    #[inline(always)]
    unsafe fn products(packed: *const u8, other: *const u8) -> f32 {
        // SAFETY: the caller's.
        let (a, b) = unsafe { (packed.cast::<f32>().read_unaligned(), other.cast::<f32>().read_unaligned()) };
        a * b
    }

    #[inline(always)]
    fn and(self, other: f32) -> f32 {
        self + other
    }

    fn whole(self) -> Option<i32> {
        None
    }

    fn real(self, _: f32, _: impl Fn() -> f32, _: impl Fn() -> Option<f32>) -> f32 {
        self
    }
}

/// A whole sum, of numbers that are `T` on the packed side.
struct Whole<T>(i32, PhantomData<T>);

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Whole<T> {}

impl<T: Copy + Into<i32>> Sum for Whole<T> {
    const PACKED: usize = 2 * size_of::<T>();

    fn begin(_: f32) -> Self {
        Whole(0, PhantomData)
    }

    #[inline(always)]
    unsafe fn products(packed: *const u8, other: *const u8) -> Self {
        // SAFETY: the caller's.
        let (a, b) =
            unsafe { (packed.cast::<[T; 2]>().read_unaligned(), other.cast::<[i16; 2]>().read_unaligned()) };
        let [first, second] = [0, 1].map(|at| a[at].into() * i32::from(b[at]));
        Whole(first.wrapping_add(second), PhantomData)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Whole(self.0.wrapping_add(other.0), PhantomData)
    }

    fn whole(self) -> Option<i32> {
        Some(self.0)
    }

    fn real(self, bias: f32, row_scale: impl Fn() -> f32, column_scale: impl Fn() -> Option<f32>) -> f32 {
        let value = self.0 as f32 * row_scale();
        match column_scale() {
            Some(scale) => value * scale + bias,
            None => value + bias,
        }
    }
}

macro_rules! tile {
    ($(#[$doc:meta])* $name:ident, $sum:ty, splat_packed = $packed:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As `Tile::call`.
        pub(super) unsafe extern "C" fn $name<const ROWS: usize, const VECTORS: usize>(
            splat: *const u8,
            splat_stride: usize,
            vector: *const u8,
            vector_stride: usize,
            out: *mut u8,
            out_stride: usize,
            steps: usize,
            bias: *const u8,
            residual: *const u8,
            residual_stride: usize,
            clamp: u32,
            row_scale: *const u8,
            column_scale: *const u8,
            low: f32,
            high: f32,
        ) {
            let real = |from: *const u8, ix: usize| {
                // SAFETY: the caller's: bias, factors and residual have so many numbers.
                unsafe { ptr::read_unaligned(from.cast::<f32>().add(ix)) }
            };
            let bias_of = |row: usize, column: usize| real(bias, if $packed { row } else { column });
            for row in 0..ROWS {
                let mut sums = [[<$sum as Sum>::begin(0.0); 4]; VECTORS];
                for (ix, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    let begins = <$sum as Sum>::begin(0.0).whole().is_none();
                    *sum = Sum::begin(if begins { bias_of(row, ix) } else { 0.0 });
                }
                let products = |step: usize, column: usize| {
                    let size = <$sum as Sum>::PACKED;
                    // SAFETY: the caller's: both sides have so many steps.
                    unsafe {
                        if $packed {
                            let number = splat.add(size * (step * ROWS + row));
                            <$sum as Sum>::products(number, vector.add(step * vector_stride + 4 * column))
                        } else {
                            let number = splat.add(row * splat_stride + 4 * step);
                            <$sum as Sum>::products(vector.add(size * (step * 4 * VECTORS + column)), number)
                        }
                    }
                };
                let add = |sums: &mut [[$sum; 4]; VECTORS], step: usize| {
                    for (column, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                        *sum = sum.and(products(step, column));
                    }
                };
                let whole = steps / BLOCK * BLOCK;
                for first in (0..whole).step_by(BLOCK) {
                    let mut block = [[<$sum as Sum>::begin(0.0); 4]; VECTORS];
                    for (column, sum) in block.as_flattened_mut().iter_mut().enumerate() {
                        *sum = products(first, column);
                    }
                    (first + 1..first + BLOCK).for_each(|step| add(&mut block, step));
                    for (sum, block) in sums.as_flattened_mut().iter_mut().zip(block.as_flattened()) {
                        *sum = sum.and(*block);
                    }
                }
                (whole..steps).for_each(|step| add(&mut sums, step));
                for (column, sum) in sums.as_flattened().iter().enumerate() {
                    if let (Some(whole), true) = (sum.whole(), row_scale.is_null()) {
                        let to = out.wrapping_add(row * out_stride + 4 * column);
                        // SAFETY: the caller's: the outputs have so many rows and columns.
                        unsafe { ptr::write_unaligned(to.cast::<i32>(), whole) };
                        continue;
                    }
                    let column_scale = || if $packed { None } else { Some(real(column_scale, column)) };
                    let mut value = sum.real(bias_of(row, column), || real(row_scale, row), column_scale);
                    let at = row * out_stride + 4 * column;
                    if !residual.is_null() {
                        // SAFETY: the caller's: it has as many rows and columns.
                        value += unsafe { real(residual.add(row * residual_stride), column) };
                    }
                    if clamp != 0 {
                        // As `pmax` and `pmin`: what is no number stays so.
                        value = if value < low { low } else { value };
                        value = if high < value { high } else { value };
                    }
                    // SAFETY: the caller's: the outputs have so many rows and columns.
                    unsafe { ptr::write_unaligned(out.add(at).cast::<f32>(), value) };
                }
            }
        }
    };
}

tile!(
    /// f32, the splat side packed.
    f32_splat, f32, splat_packed = true
);
tile!(
    /// f32, the vector side packed.
    f32_vector, f32, splat_packed = false
);
tile!(
    /// int8 times int16 by pairs, the splat side packed.
    i8_splat, Whole<i8>, splat_packed = true
);
tile!(
    /// int8 times int16 by pairs, the vector side packed.
    i8_vector, Whole<i8>, splat_packed = false
);
tile!(
    /// int16 times int16 by pairs, the splat side packed.
    i16_splat, Whole<i16>, splat_packed = true
);
tile!(
    /// int16 times int16 by pairs, the vector side packed.
    i16_vector, Whole<i16>, splat_packed = false
);
