//! The patches of 3 × 3 convolutions of each channel by itself: what there is, and the call.
//!
//! For wasm32 a patch is the function that `ic-nn-codegen` wrote, elsewhere its twin, with the same bits. Everything that can
//! be wrong about a call is the caller's to rule out: [`Call`] holds bare addresses.

/// Channels of a round.
pub(crate) const CHANNELS: usize = 16;

/// Rows and columns of a window.
const SIDE: usize = 3;

/// The most pixels that a patch's windows see: two rows of seven outputs at a stride of 2.
pub(crate) const MOST_SEEN: usize = 5 * 15;

/// A patch.
pub(crate) struct Patch {
    function: Function,
    /// Pixels from window to window.
    stride: u32,
    /// Rows of outputs.
    rows: u32,
    /// Columns of outputs.
    columns: u32,
    /// What a call is charged whatever its operands, as the generator says, the `call` included.
    pub(crate) fixed: u32,
    /// What each round is charged.
    pub(crate) round: u32,
}

type Function = unsafe extern "C" fn(
    seen: *const *const f32,
    out: *mut f32,
    out_row: usize,
    out_pixel: usize,
    kernel: *const f32,
    bias: *const f32,
    rounds: usize,
    low: f32,
    high: f32,
);

/// The operands of a call.
pub(crate) struct Call {
    /// Addresses of the pixels that the windows see, row by row, at the first of the channels.
    pub(crate) seen: *const *const f32,
    /// The first output, and numbers from row to row and from pixel to pixel.
    pub(crate) out: *mut f32,
    pub(crate) out_row: usize,
    pub(crate) out_pixel: usize,
    /// For each four channels: the window's numbers, four each.
    pub(crate) kernel: *const f32,
    /// What sums begin at, one a channel.
    pub(crate) bias: *const f32,
    /// How many [`CHANNELS`] there are.
    pub(crate) rounds: usize,
    /// Bounds of the outputs; what is no number stays so.
    pub(crate) bounds: (f32, f32),
}

impl Patch {
    /// Rows and columns of pixels that its windows see.
    pub(crate) fn seen(&self) -> [usize; 2] {
        [self.rows, self.columns].map(|outputs| ((outputs - 1) * self.stride) as usize + SIDE)
    }

    /// Computes the patch.
    ///
    /// # Safety
    /// Each pixel of the table ([`Patch::seen`]), the bias and each output have `rounds` times [`CHANNELS`] numbers, the kernel
    /// nine times as many.
    pub(crate) unsafe fn call(&self, call: &Call) {
        let (low, high) = call.bounds;
        // SAFETY: the caller's, word by word.
        unsafe {
            (self.function)(
                call.seen,
                call.out,
                4 * call.out_row,
                4 * call.out_pixel,
                call.kernel,
                call.bias,
                call.rounds,
                low,
                high,
            );
        }
    }
}

/// The largest patch of a stride of 1 or 2 within so many rows and columns, which are not 0, with its own rows and columns.
pub(crate) fn largest(stride: usize, rows: usize, columns: usize) -> (&'static Patch, [usize; 2]) {
    let fits = |patch: &&Patch| {
        patch.stride as usize == stride && patch.rows as usize <= rows && patch.columns as usize <= columns
    };
    // They are in order: more rows first, then more columns.
    let patch = PATCHES.iter().find(fits).expect("there are patches of one pixel");
    (patch, [patch.rows as usize, patch.columns as usize])
}

include!(concat!(env!("OUT_DIR"), "/patches.rs"));

#[cfg(not(target_arch = "wasm32"))]
mod twin {
    //! A patch in plain Rust: what runs where no WebAssembly does, and what the written ones are held to, bit by bit.

    use super::{CHANNELS, SIDE};

    /// # Safety
    /// As `Patch::call`; strides are in bytes.
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe extern "C" fn patch<const STRIDE: usize, const ROWS: usize, const COLUMNS: usize>(
        seen: *const *const f32,
        out: *mut f32,
        out_row: usize,
        out_pixel: usize,
        kernel: *const f32,
        bias: *const f32,
        rounds: usize,
        low: f32,
        high: f32,
    ) {
        let across = (COLUMNS - 1) * STRIDE + SIDE;
        for channel in 0..rounds * CHANNELS {
            for pixel in 0..ROWS * COLUMNS {
                let (row, column) = (pixel / COLUMNS, pixel % COLUMNS);
                // SAFETY: the caller's: so many channels are in the bias, the kernel, every pixel and every output.
                unsafe {
                    let weights = kernel.add(channel / 4 * 4 * SIDE * SIDE + channel % 4);
                    let mut sum = bias.add(channel).read();
                    for place in 0..SIDE * SIDE {
                        let at = (row * STRIDE + place / SIDE) * across + column * STRIDE + place % SIDE;
                        sum += seen.add(at).read().add(channel).read() * weights.add(4 * place).read();
                    }
                    // As `pmax` and `pmin`: what is no number stays so.
                    sum = if sum < low { low } else { sum };
                    sum = if high < sum { high } else { sum };
                    out.byte_add(row * out_row + column * out_pixel).add(channel).write(sum);
                }
            }
        }
    }
}
