//! One patch of a convolution of each channel by itself, 3 × 3: `rows` × `columns` output pixels of an image whose channels are
//! innermost, for as many channels as there are, [`CHANNELS`] at a time.
//!
//! The pixels that the patch's windows see come as a table of their addresses, so that one outside of the image may be
//! anywhere where there are zeros: no image is copied between zeros first. Windows overlap, and so each pixel is loaded once
//! a patch (`local.tee`) and taken from its local by every other window; likewise the weights, of every channel, by the patch's
//! first window.
//!
//! What a multiply-add of four lanes costs is what it costs in a matrix tile: both operands' `local.get` (2), mul (2), add (2). Every
//! sum begins at the bias, and its products are added in the order of the window's rows.

use wasm_encoder::{Function, Instruction as I, ValType};

use crate::emit::{Emit, at};

/// Channels of a round: four vectors of four.
pub const CHANNELS: u32 = 16;

/// Rows and columns of a window.
const SIDE: u32 = 3;
const PLACES: u32 = SIDE * SIDE;
const VECTORS: u32 = CHANNELS / 4;

/// A patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Pixels from window to window, down and across.
    pub stride: u32,
    /// Rows of output pixels.
    pub rows: u32,
    /// Columns of output pixels.
    pub columns: u32,
}

/// What a call of a patch is charged, the caller's `call` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchPrice {
    /// Whatever the operands.
    pub fixed: u64,
    /// Each [`CHANNELS`].
    pub round: u64,
}

/// The patches that are built, of each stride.
const ROWS: [u32; 2] = [2, 1];
const COLUMNS: [u32; 4] = [7, 4, 2, 1];

/// Every patch.
pub fn patches() -> Vec<Patch> {
    let mut patches = vec![];
    for stride in [1, 2] {
        for rows in ROWS {
            for columns in COLUMNS {
                patches.push(Patch { stride, rows, columns });
            }
        }
    }
    patches
}

/// The parameters, in order; all are i32 but the bounds.
#[derive(Clone, Copy)]
#[repr(u32)]
enum P {
    /// Address of the table of the addresses of what the windows see, row by row.
    Seen,
    /// Address of the first output, and bytes from row to row and from pixel to pixel.
    Out,
    OutRow,
    OutPixel,
    /// Address of the weights: for each four channels, four of each of the window's places.
    Kernel,
    /// Address of what sums begin at, one a channel.
    Bias,
    /// How many [`CHANNELS`] there are.
    Rounds,
    /// The bounds of the outputs, f32.
    Low,
    High,
}

const PARAMETERS: u32 = 9;

impl Patch {
    /// The symbol it is linked by.
    pub fn name(&self) -> String {
        format!("ic_nn_depthwise_{}_{}x{}", self.stride, self.rows, self.columns)
    }

    /// Types of the parameters.
    pub fn parameters() -> Vec<ValType> {
        (0..PARAMETERS).map(|p| if p >= P::Low as u32 { ValType::F32 } else { ValType::I32 }).collect()
    }

    /// Rows and columns of pixels that its windows see.
    pub fn seen(&self) -> [u32; 2] {
        [self.rows, self.columns].map(|outputs| (outputs - 1) * self.stride + SIDE)
    }

    /// The function, and what a call of it is charged.
    pub fn emit(&self) -> (Function, PatchPrice) {
        let mut e = Emit::new(PARAMETERS);
        let [down, across] = self.seen();
        let addresses = |e: &mut Emit, n: u32| (0..n).map(|_| e.local(ValType::I32)).collect::<Vec<_>>();
        let (seen, out) = (addresses(&mut e, down * across), addresses(&mut e, self.rows * self.columns));
        let wide = |e: &mut Emit, n: u32| (0..n).map(|_| e.local(ValType::V128)).collect::<Vec<_>>();
        // What is read most comes first: a local beyond the 128th takes a byte more.
        let (weights, bounds, bias) = (wide(&mut e, PLACES), wide(&mut e, 2), wide(&mut e, 1));
        let pixels = wide(&mut e, down * across);
        for (bound, local) in [P::Low, P::High].into_iter().zip(&bounds) {
            e.get(bound as u32).put(I::F32x4Splat).set(*local);
        }
        for (place, address) in seen.iter().enumerate() {
            e.get(P::Seen as u32).put(I::I32Load(at(4 * place as u32))).set(*address);
        }
        for (pixel, address) in out.iter().enumerate() {
            match pixel as u32 {
                0 => e.get(P::Out as u32),
                p if p.is_multiple_of(self.columns) => {
                    e.get(out[pixel - self.columns as usize]).get(P::OutRow as u32).put(I::I32Add)
                }
                _ => e.get(out[pixel - 1]).get(P::OutPixel as u32).put(I::I32Add),
            };
            e.set(*address);
        }
        let round = e.rounds(P::Rounds as u32, 1, |e| {
            for vector in 0..VECTORS {
                let mut loaded = vec![false; pixels.len()];
                for (pixel, address) in out.iter().enumerate() {
                    let pixel = pixel as u32;
                    e.get(*address);
                    if pixel == 0 {
                        e.get(P::Bias as u32).put(I::V128Load(at(16 * vector))).tee(bias[0]);
                    } else {
                        e.get(bias[0]);
                    }
                    for place in 0..PLACES {
                        let row = pixel / self.columns * self.stride + place / SIDE;
                        let column = pixel % self.columns * self.stride + place % SIDE;
                        let from = (row * across + column) as usize;
                        if loaded[from] {
                            e.get(pixels[from]);
                        } else {
                            e.get(seen[from]).put(I::V128Load(at(16 * vector))).tee(pixels[from]);
                            loaded[from] = true;
                        }
                        let weight = weights[place as usize];
                        if pixel == 0 {
                            let offset = 16 * (vector * PLACES + place);
                            e.get(P::Kernel as u32).put(I::V128Load(at(offset))).tee(weight);
                        } else {
                            e.get(weight);
                        }
                        e.put(I::F32x4Mul).put(I::F32x4Add);
                    }
                    // What is no number stays so.
                    e.get(bounds[0]).put(I::F32x4PMax).get(bounds[1]).put(I::F32x4PMin);
                    e.put(I::V128Store(at(16 * vector)));
                }
            }
            seen.iter().chain(&out).for_each(|address| e.advance(*address, 4 * CHANNELS));
            e.advance(P::Kernel as u32, 4 * CHANNELS * PLACES);
            e.advance(P::Bias as u32, 4 * CHANNELS);
        });
        // Entry 1, a call by the table 10, and its operands.
        let fixed = e.take() + 12 + u64::from(PARAMETERS);
        (e.finish(), PatchPrice { fixed, round })
    }
}
