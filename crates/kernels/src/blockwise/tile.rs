//! The tiles of products by blocks: what there is, and the call.
//!
//! For wasm32 a tile is the function that `ic-nn-codegen` wrote, elsewhere its twin, with the same bits. Everything that can
//! be wrong about a call is the caller's to rule out: [`Call`] holds bare addresses.

/// Pairs of a unit.
pub(super) const STEPS: usize = 16;
/// Columns of outputs.
pub(super) const COLUMNS: usize = 32;

/// What a row's activations of a unit are.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Unit {
    /// What one of them is.
    pub(super) scale: f32,
    /// What the sums of nibbles begin at.
    pub(super) begins: i32,
}

/// A tile.
pub(super) struct Tile {
    function: Function,
    /// What a call is charged whatever its operands, as the generator says, the `call` included.
    pub(super) fixed: u32,
    /// What each block is charged.
    pub(super) block: u32,
    /// What each unit of a block is charged.
    pub(super) unit: u32,
}

type Function = unsafe extern "C" fn(
    splat: *const i16,
    splat_stride: usize,
    units: *const Unit,
    units_stride: usize,
    vector: *const u8,
    scale: *const f32,
    out: *mut f32,
    out_stride: usize,
    blocks: usize,
    each: usize,
);

/// The operands of a call; strides are in numbers, or units.
pub(super) struct Call {
    /// The activations, pairs along `k`.
    pub(super) splat: *const i16,
    pub(super) splat_stride: usize,
    /// Their scales.
    pub(super) units: *const Unit,
    pub(super) units_stride: usize,
    /// The weights: unit after unit.
    pub(super) vector: *const u8,
    /// Their scales, one a column: block after block.
    pub(super) scale: *const f32,
    /// The outputs, which products are added to.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
    /// How many blocks there are.
    pub(super) blocks: usize,
    /// Units of a block.
    pub(super) each: usize,
}

impl Tile {
    /// Computes the tile.
    ///
    /// # Safety
    /// Activations, their units and the outputs have the tile's rows: `blocks * each` units of 32 numbers, as many units, and 32
    /// outputs each. Weights have as many units of the tile's bits, scales 32 a block.
    pub(super) unsafe fn call(&self, call: &Call) {
        // SAFETY: the caller's, word by word.
        unsafe {
            (self.function)(
                call.splat,
                2 * call.splat_stride,
                call.units,
                size_of::<Unit>() * call.units_stride,
                call.vector,
                call.scale,
                call.out,
                4 * call.out_stride,
                call.blocks,
                call.each,
            );
        }
    }
}

/// The tile of four or of eight bits with the most rows that are there, and how many those are. There is one at least.
pub(super) fn tile(nibbles: bool, rows: usize) -> (&'static Tile, usize) {
    let at = if nibbles { 0 } else { 2 };
    if rows >= 4 { (&TILES[at], 4) } else { (&TILES[at + 1], 1) }
}

include!(concat!(env!("OUT_DIR"), "/blocks.rs"));

#[cfg(not(target_arch = "wasm32"))]
mod twin {
    //! A tile in plain Rust: what runs where no WebAssembly does, and what the written ones are held to, bit by bit.

    use super::{COLUMNS, STEPS, Unit};

    /// # Safety
    /// As `Tile::call`; strides are in bytes.
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe extern "C" fn tile<const NIBBLES: bool, const ROWS: usize>(
        splat: *const i16,
        splat_stride: usize,
        units: *const Unit,
        units_stride: usize,
        vector: *const u8,
        scale: *const f32,
        out: *mut f32,
        out_stride: usize,
        blocks: usize,
        each: usize,
    ) {
        let size = if NIBBLES { COLUMNS * STEPS } else { 2 * COLUMNS * STEPS };
        for row in 0..ROWS {
            // SAFETY: the caller's: outputs have so many rows of 32.
            let out = unsafe { &mut *out.byte_add(row * out_stride).cast::<[f32; COLUMNS]>() };
            for unit in 0..blocks * each {
                // SAFETY: the caller's: rows have so many units.
                let (x, Unit { scale: of_row, begins }) = unsafe {
                    let x = splat.byte_add(row * splat_stride).cast::<[i16; 2 * STEPS]>().add(unit);
                    (x.read_unaligned(), units.byte_add(row * units_stride).add(unit).read_unaligned())
                };
                // SAFETY: the caller's: there are as many units of weights.
                let weights = unsafe { std::slice::from_raw_parts(vector.add(unit * size), size) };
                for (column, out) in out.iter_mut().enumerate() {
                    let (vector, lane) = (column / 4, 2 * (column % 4));
                    let mut sum = if NIBBLES { begins } else { 0 };
                    for (k, x) in x.iter().enumerate() {
                        let (step, lane) = (k / 2, lane + k % 2);
                        let weight = if NIBBLES {
                            let byte = weights[8 * (vector * STEPS / 2 + step / 2) + lane];
                            i32::from(if step % 2 == 0 { byte & 15 } else { byte >> 4 })
                        } else {
                            i32::from(weights[8 * (vector * STEPS + step) + lane] as i8)
                        };
                        sum = sum.wrapping_add(weight * i32::from(*x));
                    }
                    // SAFETY: the caller's: there are 32 scales a block.
                    let of_column = unsafe { scale.add(unit / each * COLUMNS + column).read_unaligned() };
                    *out += sum as f32 * of_column * of_row;
                }
            }
        }
    }
}
