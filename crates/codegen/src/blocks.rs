//! One tile of a product whose weights have a scale a block: `rows` rows of activations times 32 columns of weights of four or
//! eight bits, over all of `k`.
//!
//! A *unit* is 32 numbers along `k`, sixteen pairs, all of one block. Its products are whole: activations are int16, with a scale a
//! row and unit, and the sum of a unit stays on the stack until it is real and added to the output's. Weights lie as the tile
//! reads them: unit after unit, in it vector after vector of four columns.
//!
//! - Bytes ([`Bits::Eight`]) are int8, a pair of each column a step, made int16 by the load itself.
//! - Nibbles ([`Bits::Four`]) are from 0 to 15, two steps a byte, the even one in the lower half. They are never taken apart:
//!   a byte is made int16 by the load, one mask leaves the lower half, another the upper one, sixteen times as large; the upper ones
//!   have a sum of their own, which is shifted once a unit. So four bits cost 4 instructions eight products, bytes 2.
//!   What is to be subtracted from every weight is subtracted once a unit: the sum begins at a number of the row's.

use wasm_encoder::{Function, Instruction as I, ValType};

use crate::emit::{Emit, at};

/// Pairs of a unit.
pub const STEPS: u32 = 16;
/// Vectors of four columns.
pub const VECTORS: u32 = 8;

/// How many bits weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// Two a byte, from 0 to 15.
    Four,
    /// int8.
    Eight,
}

/// A tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTile {
    /// Of the weights.
    pub bits: Bits,
    /// Rows of outputs.
    pub rows: u32,
}

/// What a call of a tile is charged, the caller's `call` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPrice {
    /// Whatever the operands.
    pub fixed: u64,
    /// Each block.
    pub block: u64,
    /// Each unit of a block.
    pub unit: u64,
}

/// Every tile.
pub fn block_tiles() -> Vec<BlockTile> {
    [Bits::Four, Bits::Eight]
        .into_iter()
        .flat_map(|bits| [4, 1].map(|rows| BlockTile { bits, rows }))
        .collect()
}

/// The parameters, in order; all are i32.
#[derive(Clone, Copy)]
#[repr(u32)]
enum P {
    /// Address of the activations, pairs of int16, and bytes from row to row.
    Splat,
    SplatStride,
    /// Address of the activations' scales, f32, each with what sums begin at, int32: one of both a unit; and bytes from row to row.
    Units,
    UnitsStride,
    /// Address of the weights.
    Vector,
    /// Address of the weights' scales: 32 a block.
    Scale,
    /// Address of the outputs, f32, that products are added to, and bytes from row to row.
    Out,
    OutStride,
    /// How many blocks there are.
    Blocks,
    /// Units of a block.
    Each,
}

const PARAMETERS: u32 = 10;

impl BlockTile {
    /// The symbol it is linked by.
    pub fn name(&self) -> String {
        let bits = if self.bits == Bits::Four { 4 } else { 8 };
        format!("ic_nn_block_{bits}_{}", self.rows)
    }

    /// Types of the parameters.
    pub fn parameters() -> Vec<ValType> {
        vec![ValType::I32; PARAMETERS as usize]
    }

    /// Bytes of a unit of weights.
    pub fn unit_bytes(&self) -> u32 {
        VECTORS * 8 * if self.bits == Bits::Four { STEPS / 2 } else { STEPS }
    }

    /// The function, and what a call of it is charged.
    pub fn emit(&self) -> (Function, BlockPrice) {
        let mut e = Emit::new(PARAMETERS);
        let w = Writer::new(*self, &mut e);
        w.begin(&mut e);
        let left = w.left;
        let mut unit = 0;
        let block = e.rounds(P::Blocks as u32, 1, |e| {
            e.get(P::Each as u32).set(left);
            unit = e.rounds(left, 1, |e| w.unit(e));
            e.advance(P::Scale as u32, 16 * VECTORS);
        });
        w.store(&mut e);
        // Entry 1, a call by the table 10, and its operands.
        let fixed = e.take() + 12 + u64::from(PARAMETERS);
        (e.finish(), BlockPrice { fixed, block, unit })
    }
}

/// The locals of a tile.
struct Writer {
    tile: BlockTile,
    sums: Vec<Vec<u32>>,
    /// Of each row, for each step of a unit.
    splats: Vec<Vec<u32>>,
    /// Of the vector at hand, for each step of a unit.
    weights: Vec<u32>,
    /// Bytes of two steps, as they were loaded.
    raw: Vec<u32>,
    /// Of each row: the scale of the activations, and what sums begin at.
    scales: Vec<[u32; 2]>,
    /// The scale of the weights of the vector at hand.
    scale: u32,
    /// What leaves the lower halves of bytes, and the upper ones.
    masks: [u32; 2],
    /// Addresses of the rows: activations, and their scales.
    rows: Vec<[u32; 2]>,
    /// Units that are left of a block.
    left: u32,
    pointer: u32,
}

impl Writer {
    fn new(tile: BlockTile, e: &mut Emit) -> Writer {
        let rows: Vec<[u32; 2]> =
            (0..tile.rows).map(|_| [e.local(ValType::I32), e.local(ValType::I32)]).collect();
        let (left, pointer) = (e.local(ValType::I32), e.local(ValType::I32));
        let wide = |e: &mut Emit, n: u32| (0..n).map(|_| e.local(ValType::V128)).collect::<Vec<_>>();
        let nibbles = tile.bits == Bits::Four;
        Writer {
            tile,
            weights: wide(e, if tile.rows > 1 { STEPS } else { 0 }),
            splats: (0..tile.rows).map(|_| wide(e, STEPS)).collect(),
            sums: (0..tile.rows).map(|_| wide(e, VECTORS)).collect(),
            raw: wide(e, if nibbles { STEPS / 2 } else { 0 }),
            scales: (0..tile.rows).map(|_| [e.local(ValType::V128), e.local(ValType::V128)]).collect(),
            scale: e.local(ValType::V128),
            masks: [e.local(ValType::V128), e.local(ValType::V128)],
            rows,
            left,
            pointer,
        }
    }

    /// Each output's place, row by row: `with` is told the row and the vector behind the address.
    fn outputs(&self, e: &mut Emit, mut with: impl FnMut(&mut Emit, u32, u32, u32)) {
        e.get(P::Out as u32).set(self.pointer);
        for row in 0..self.tile.rows {
            if row > 0 {
                e.get(self.pointer).get(P::OutStride as u32).put(I::I32Add).set(self.pointer);
            }
            for vector in 0..VECTORS {
                e.get(self.pointer);
                with(e, row, vector, 16 * vector);
            }
        }
    }

    /// Addresses, masks, and where sums begin.
    fn begin(&self, e: &mut Emit) {
        for (side, (first, stride)) in
            [(P::Splat, P::SplatStride), (P::Units, P::UnitsStride)].into_iter().enumerate()
        {
            for row in 0..self.rows.len() {
                match row {
                    0 => e.get(first as u32),
                    _ => e.get(self.rows[row - 1][side]).get(stride as u32).put(I::I32Add),
                };
                e.set(self.rows[row][side]);
            }
        }
        if self.tile.bits == Bits::Four {
            for (mask, half) in self.masks.into_iter().zip([0x000f_i128, 0x00f0]) {
                let lanes = (0..8).fold(0, |lanes, lane| lanes | (half << (16 * lane)));
                e.put(I::V128Const(lanes)).set(mask);
            }
        }
        self.outputs(e, |e, row, vector, offset| {
            e.put(I::V128Load(at(offset))).set(self.sums[row as usize][vector as usize]);
        });
    }

    /// The products of a unit.
    fn unit(&self, e: &mut Emit) {
        let nibbles = self.tile.bits == Bits::Four;
        for vector in 0..VECTORS {
            for row in 0..self.tile.rows as usize {
                let [scale, begins] = self.scales[row];
                if nibbles {
                    match vector {
                        0 => e.get(self.rows[row][1]).put(I::V128Load32Splat(at(4))).tee(begins),
                        _ => e.get(begins),
                    };
                    for half in [0, 1] {
                        for step in (half..STEPS).step_by(2) {
                            self.product(e, row, vector, step);
                            if half == 0 || step > 1 {
                                e.put(I::I32x4Add);
                            }
                        }
                    }
                    e.int(4).put(I::I32x4ShrS).put(I::I32x4Add);
                } else {
                    for step in 0..STEPS {
                        self.product(e, row, vector, step);
                        if step > 0 {
                            e.put(I::I32x4Add);
                        }
                    }
                }
                e.put(I::F32x4ConvertI32x4S);
                match row {
                    0 => {
                        e.get(P::Scale as u32).put(I::V128Load(at(16 * vector)));
                        if self.tile.rows > 1 {
                            e.tee(self.scale);
                        }
                    }
                    _ => {
                        e.get(self.scale);
                    }
                }
                e.put(I::F32x4Mul);
                match vector {
                    0 => e.get(self.rows[row][1]).put(I::V128Load32Splat(at(0))).tee(scale),
                    _ => e.get(scale),
                };
                let sum = self.sums[row][vector as usize];
                e.put(I::F32x4Mul).get(sum).put(I::F32x4Add).set(sum);
            }
        }
        for [splat, units] in &self.rows {
            e.advance(*splat, 4 * STEPS);
            e.advance(*units, 8);
        }
        e.advance(P::Vector as u32, self.tile.unit_bytes());
    }

    /// The products of a step.
    fn product(&self, e: &mut Emit, row: usize, vector: u32, step: u32) {
        let splat = self.splats[row][step as usize];
        match vector {
            0 => e.get(self.rows[row][0]).put(I::V128Load32Splat(at(4 * step))).tee(splat),
            _ => e.get(splat),
        };
        if row > 0 {
            e.get(self.weights[step as usize]);
        } else {
            match self.tile.bits {
                Bits::Eight => {
                    let offset = 8 * (vector * STEPS + step);
                    e.get(P::Vector as u32).put(I::V128Load8x8S(at(offset)));
                }
                Bits::Four => {
                    let (pair, half) = (step / 2, step % 2);
                    let raw = self.raw[pair as usize];
                    match half {
                        0 => {
                            let offset = 8 * (vector * STEPS / 2 + pair);
                            e.get(P::Vector as u32).put(I::V128Load8x8U(at(offset))).tee(raw)
                        }
                        _ => e.get(raw),
                    };
                    e.get(self.masks[half as usize]).put(I::V128And);
                }
            }
            if self.tile.rows > 1 {
                e.tee(self.weights[step as usize]);
            }
        }
        e.put(I::I32x4DotI16x8S);
    }

    fn store(&self, e: &mut Emit) {
        self.outputs(e, |e, row, vector, offset| {
            e.get(self.sums[row as usize][vector as usize]).put(I::V128Store(at(offset)));
        });
    }
}
