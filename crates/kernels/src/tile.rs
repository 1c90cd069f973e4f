//! The tiles: what there is, and the call.
//!
//! For wasm32 a tile is the function that `ic-nn-codegen` wrote, elsewhere its twin ([`twin`]). Everything that can be wrong
//! about a call is the caller's to rule out: [`Call`] holds bare addresses.

use crate::price::Follows;

/// What is multiplied, and which side is packed; the order in which the table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// f32, the splat side packed.
    F32Splat,
    /// f32, the vector side packed.
    F32Vector,
    /// int8 times int16, the splat side packed.
    I8Splat,
    /// int8 times int16, the vector side packed.
    I8Vector,
    /// int16 times int16, the splat side packed.
    I16Splat,
    /// int16 times int16, the vector side packed.
    I16Vector,
}

/// Steps of `k` whose products have a sum of their own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const BLOCK: usize = 16;

/// A tile. What it is follows from its place in the table ([`family`]).
pub(crate) struct Tile {
    function: Function,
    /// What a call is charged, as its generator says.
    pub(crate) price: Price,
}

/// What a call of a tile is charged, the `call` included.
#[derive(Clone, Copy)]
pub(crate) struct Price {
    /// Steps of a block.
    unroll: u32,
    /// Steps of a short one, for what blocks leave; 0 where there is none.
    short: u32,
    /// Whatever the operands.
    fixed: u32,
    /// Each block of steps of `k`.
    block: u32,
    /// The short one.
    half: u32,
    /// Each step that is left.
    step: u32,
    /// Where whole sums become real outputs.
    scale: u32,
    /// Where outputs are held between bounds.
    pub(crate) clamp: u32,
    /// Where something is added.
    pub(crate) residual: u32,
}

impl Price {
    /// Of so many steps, with nothing added.
    pub(crate) fn of(&self, steps: usize) -> u64 {
        self.of_sums(steps) + u64::from(self.scale)
    }

    /// Of so many steps whose whole sums are the outputs.
    pub(crate) fn of_sums(&self, steps: usize) -> u64 {
        let unroll = self.unroll as usize;
        let (blocks, rest) = ((steps / unroll) as u64, (steps % unroll) as u32);
        let halves = rest.checked_div(self.short).unwrap_or(0);
        let single = rest - halves * self.short;
        u64::from(self.fixed)
            + blocks * u64::from(self.block)
            + u64::from(halves * self.half)
            + u64::from(single * self.step)
    }

    /// What comes after the sums.
    pub(crate) fn after(&self, follows: Follows) -> u64 {
        let residual = if follows.residual { self.residual } else { 0 };
        let clamp = if follows.bounds { self.clamp } else { 0 };
        u64::from(residual) + u64::from(clamp)
    }
}

type Function = unsafe extern "C" fn(
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
);

/// The operands of a call, in bytes and addresses.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The splat side, and bytes from row to row where it is not packed.
    pub(crate) splat: *const u8,
    pub(crate) splat_stride: usize,
    /// The vector side, and bytes from step to step where it is not packed.
    pub(crate) vector: *const u8,
    pub(crate) vector_stride: usize,
    /// The outputs, f32 or whole sums, and bytes from row to row.
    pub(crate) out: *mut u8,
    pub(crate) out_stride: usize,
    /// Steps of `k`.
    pub(crate) steps: usize,
    /// What sums begin at: one a row of a packed splat side, one a column of a packed vector side.
    pub(crate) bias: *const u8,
    /// What is added, null for nothing, and bytes from row to row.
    pub(crate) residual: *const u8,
    pub(crate) residual_stride: usize,
    /// Bounds of the outputs.
    pub(crate) bounds: Option<(f32, f32)>,
    /// Factors of whole sums, one a row and, where the vector side is packed, one a column. Where those of the rows are null, whole
    /// sums are the outputs, modulo 2^32: no bias is read, and nothing may follow.
    pub(crate) row_scale: *const u8,
    pub(crate) column_scale: *const u8,
}

impl Tile {
    /// Computes the tile.
    ///
    /// # Safety
    /// For every step the packed side holds `rows` numbers, or `4 * vectors` columns; the other side as many at its stride.
    /// `out`, and `residual` where it is not null, hold `rows` rows of `4 * vectors` f32 at their strides; `bias` and the
    /// scales of the family what [`Call`] says. A number is f32; or a pair along `k`, int8 or int16 on
    /// the packed side as the family says and int16 on the other.
    pub(crate) unsafe fn call(&self, call: &Call) {
        let (low, high) = call.bounds.unwrap_or((0.0, 0.0));
        // SAFETY: the caller's, word by word.
        unsafe {
            (self.function)(
                call.splat,
                call.splat_stride,
                call.vector,
                call.vector_stride,
                call.out,
                call.out_stride,
                call.steps,
                call.bias,
                call.residual,
                call.residual_stride,
                u32::from(call.bounds.is_some()),
                call.row_scale,
                call.column_scale,
                low,
                high,
            );
        }
    }
}

/// The tiles of a family: rows 8, 4, 2, 1, and for each vectors 8, 4, 2, 1.
pub(crate) fn family(family: Family) -> &'static [Tile; 16] {
    let at = 16 * family as usize;
    TILES[at..at + 16].first_chunk().expect("sixteen tiles a family")
}

/// The place of 8, 4, 2 or 1 in a family's order.
pub(crate) fn place(length: usize) -> usize {
    debug_assert!(matches!(length, 1 | 2 | 4 | 8));
    3 - length.trailing_zeros() as usize
}

/// The largest of 8, 4, 2, 1 that is not larger than `length`, which is not 0.
pub(crate) fn largest(length: usize) -> usize {
    1 << length.min(8).ilog2()
}

include!(concat!(env!("OUT_DIR"), "/tiles.rs"));

#[cfg(not(target_arch = "wasm32"))]
mod twin;
