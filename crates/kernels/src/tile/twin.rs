//! Tiles in plain Rust: what runs where no WebAssembly does, and what the written ones are held to, bit by bit.

use std::ptr;

/// A sum of products under way.
trait Sum: Copy {
    /// Where it begins.
    fn begin(bias: f32) -> Self;
    /// With the products of one step.
    fn add(self, splat: [u8; 4], vector: [u8; 4]) -> Self;
    /// The output.
    fn real(self, bias: f32, row_scale: impl Fn() -> f32, column_scale: impl Fn() -> Option<f32>) -> f32;
}

impl Sum for f32 {
    fn begin(bias: f32) -> f32 {
        bias
    }

    #[inline(always)]
    fn add(self, splat: [u8; 4], vector: [u8; 4]) -> f32 {
        self + f32::from_le_bytes(splat) * f32::from_le_bytes(vector)
    }

    fn real(self, _: f32, _: impl Fn() -> f32, _: impl Fn() -> Option<f32>) -> f32 {
        self
    }
}

impl Sum for i32 {
    fn begin(_: f32) -> i32 {
        0
    }

    #[inline(always)]
    fn add(self, splat: [u8; 4], vector: [u8; 4]) -> i32 {
        let pair = |[a, b, c, d]: [u8; 4]| [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])];
        let (a, b) = (pair(splat), pair(vector));
        let first = i32::from(a[0]) * i32::from(b[0]);
        self.wrapping_add(first.wrapping_add(i32::from(a[1]) * i32::from(b[1])))
    }

    fn real(self, bias: f32, row_scale: impl Fn() -> f32, column_scale: impl Fn() -> Option<f32>) -> f32 {
        let value = self as f32 * row_scale();
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
                    *sum = Sum::begin(bias_of(row, ix));
                }
                for step in 0..steps {
                    let (number, columns) = if $packed {
                        (4 * (step * ROWS + row), step * vector_stride)
                    } else {
                        (row * splat_stride + 4 * step, 16 * step * VECTORS)
                    };
                    // SAFETY: the caller's: both sides have so many steps; bytes have no alignment.
                    let (number, columns) = unsafe {
                        (*splat.add(number).cast::<[u8; 4]>(), &*vector.add(columns).cast::<[[[u8; 4]; 4]; VECTORS]>())
                    };
                    for (sum, lane) in sums.as_flattened_mut().iter_mut().zip(columns.as_flattened()) {
                        *sum = sum.add(number, *lane);
                    }
                }
                for (column, sum) in sums.as_flattened().iter().enumerate() {
                    let column_scale = || if $packed { None } else { Some(real(column_scale, column)) };
                    let mut value = sum.real(bias_of(row, column), || real(row_scale, row), column_scale);
                    let at = row * out_stride + 4 * column;
                    if !residual.is_null() {
                        // SAFETY: the caller's: it lies as the outputs do.
                        value += unsafe { real(residual.add(at), 0) };
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
    /// int16 by pairs, the splat side packed.
    i16_splat, i32, splat_packed = true
);
tile!(
    /// int16 by pairs, the vector side packed.
    i16_vector, i32, splat_packed = false
);
