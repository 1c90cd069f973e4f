//! One tile of a matrix product: `rows` × 4·`vectors` outputs, summed over all of `k` in locals.
//!
//! The product is written as an outer one: a number of the one operand, in every lane (the *splat* side, a row of outputs
//! each), times vectors of the other (the *vector* side, four columns of outputs each). One operand is packed beforehand, in
//! the order in which the tile reads it; the other is read where it lies. So neither a convolution's picture nor a matrix of
//! tokens is copied.
//!
//! For each output, products are added in the order of `k`, whatever the tile: sixteen of them to a sum of their own,
//! which is then added to the output's, and what is left at the end one by one. So results do not depend on how a matrix is cut
//! into tiles, a plain loop gives the same bits, and of `k` roundings of a sum only `k / 16` are of a large one: over 256 products
//! errors are half of those of one sum, for the same additions.
//!
//! What a multiply-add of four lanes costs: both operands' `local.get` (2), mul (2), add (2). Sums stay on the stack over
//! [`Tile::unroll`] steps of `k`, so its own get and set are paid once in so many; an operand's first use is its load, by
//! `local.tee`. In whole numbers, products are summed by pairs: eight in a dot (1) and an add (1); int16 is read as it is,
//! int8 is made int16 by the load itself, or by one instruction after it.

use wasm_encoder::{Function, Instruction as I, ValType};

use crate::emit::{Emit, at};

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// f32 times f32. A step of `k` is one row of the vector side.
    F32,
    /// int8, on the packed side, times int16 into int32. A step of `k` is two rows, their numbers side by side.
    I8,
    /// int16 times int16 into int32, as [`Kind::I8`] otherwise.
    I16,
}

impl Kind {
    /// Whether numbers are whole, and a step of `k` is two rows.
    fn whole(self) -> bool {
        self != Kind::F32
    }

    /// Bytes of a number, or of a pair of whole ones, on the packed side; of the other side there are four.
    fn width(self) -> u32 {
        if self == Kind::I8 { 2 } else { 4 }
    }
}

/// The operand that lies in the order in which the tile reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// The splat side: for each step the rows' numbers. A convolution's weights.
    Splat,
    /// The vector side: for each step the tile's vectors. A layer's weights.
    Vector,
}

/// A tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What is multiplied.
    pub kind: Kind,
    /// Which operand is packed.
    pub packed: Packed,
    /// Rows of outputs.
    pub rows: u32,
    /// Vectors of four columns of outputs.
    pub vectors: u32,
}

/// What a call of a tile is charged, the caller's `call` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Whatever the operands.
    pub fixed: u64,
    /// Each [`Tile::unroll`] steps of `k`.
    pub block: u64,
    /// [`Tile::half`] of the steps that are left, where there is such a block.
    pub half: u64,
    /// Each step that is left.
    pub step: u64,
    /// Where whole sums become real outputs.
    pub scale: u64,
    /// Where outputs are held between two bounds.
    pub clamp: u64,
    /// Where something is added to the outputs.
    pub residual: u64,
}

/// The tiles that are built: for each kind and side these rows and vectors.
const ROWS: [u32; 4] = [8, 4, 2, 1];
const VECTORS: [u32; 4] = [8, 4, 2, 1];

/// Every tile.
pub fn tiles() -> Vec<Tile> {
    let mut tiles = vec![];
    for kind in [Kind::F32, Kind::I8, Kind::I16] {
        for packed in [Packed::Splat, Packed::Vector] {
            for rows in ROWS {
                for vectors in VECTORS {
                    tiles.push(Tile { kind, packed, rows, vectors });
                }
            }
        }
    }
    tiles
}

/// The parameters, in order; all are i32 but the bounds.
#[derive(Clone, Copy)]
#[repr(u32)]
enum P {
    /// Address of the splat side, and bytes from row to row where it is not packed.
    Splat,
    SplatStride,
    /// Address of the vector side, and bytes from step to step where it is not packed.
    Vector,
    VectorStride,
    /// Address of the outputs, f32, and bytes from row to row.
    Out,
    OutStride,
    /// Steps of `k`.
    Steps,
    /// Address of what sums begin at: f32, one a row where the splat side is packed, one a column where the vector side is.
    Bias,
    /// Address of what is added to the outputs, 0 for nothing, and bytes from row to row.
    Residual,
    ResidualStride,
    /// Not 0 where outputs are held between the two bounds.
    Clamp,
    /// Addresses of the factors of whole sums, f32: one a row; one a column where the vector side is packed. Where there are none
    /// for the rows (0), whole sums are the outputs, int32, modulo 2^32.
    RowScale,
    ColumnScale,
    /// The bounds, f32.
    Low,
    High,
}

const PARAMETERS: u32 = 15;

impl Tile {
    /// The symbol it is linked by.
    pub fn name(&self) -> String {
        let kind = match self.kind {
            Kind::F32 => "f32",
            Kind::I8 => "i8",
            Kind::I16 => "i16",
        };
        let packed = if self.packed == Packed::Splat { "s" } else { "v" };
        format!("ic_nn_tile_{kind}_{packed}{}x{}", self.rows, self.vectors)
    }

    /// Types of the parameters.
    pub fn parameters() -> Vec<ValType> {
        (0..PARAMETERS).map(|p| if p >= P::Low as u32 { ValType::F32 } else { ValType::I32 }).collect()
    }

    /// Steps of `k` between which sums stay on the stack. In f32 that is which of them have a sum of their own, so it is the same
    /// for every tile; whole numbers add to the same in any order, and narrow tiles of those, which run at edges, are half as long
    /// instead.
    pub fn unroll(&self) -> u32 {
        if self.kind.whole() && self.vectors < 8 && self.rows * self.vectors < 32 { 8 } else { 16 }
    }

    /// Steps of a block for what is left of long ones, where they leave that many; 0 where there is none. In whole numbers only, which
    /// add to the same in any order, and in the large tiles.
    pub fn half(&self) -> u32 {
        if self.kind.whole() && self.rows == 8 && self.vectors >= 4 { 8 } else { 0 }
    }

    /// The function, and what a call of it is charged.
    pub fn emit(&self) -> (Function, Price) {
        let mut e = Emit::new(PARAMETERS);
        let mut w = Writer::new(*self, &mut e);
        w.begin(&mut e);
        let block = e.rounds(P::Steps as u32, self.unroll(), |e| w.steps(e, self.unroll()));
        let half = match self.half() {
            0 => 0,
            steps => e.rounds(P::Steps as u32, steps, |e| w.steps(e, steps)),
        };
        let step = e.rounds(P::Steps as u32, 1, |e| w.steps(e, 1));
        let scale = if self.kind.whole() { e.when(P::RowScale as u32, |e| w.real(e)) } else { 0 };
        // What follows an addition in a graph bounds its result.
        let residual = e.when(P::Residual as u32, |e| w.residual(e));
        let clamp = e.when(P::Clamp as u32, |e| w.clamp(e));
        w.store(&mut e);
        // Entry 1, a call by the table 10, and its operands.
        let fixed = e.take() + 12 + u64::from(PARAMETERS);
        (e.finish(), Price { fixed, block, half, step, scale, clamp, residual })
    }
}

/// The locals of a tile.
struct Writer {
    tile: Tile,
    sums: Vec<Vec<u32>>,
    /// Of the row at hand, for each step of a block.
    splats: Vec<u32>,
    /// For each step of a block, each vector.
    vectors: Vec<Vec<u32>>,
    /// Addresses of the rows, where the splat side is not packed.
    rows: Vec<u32>,
    /// Addresses of a block's steps, where the vector side is not packed.
    steps: Vec<u32>,
    low: u32,
    high: u32,
    pointer: u32,
}

impl Writer {
    fn new(tile: Tile, e: &mut Emit) -> Writer {
        let (rows, vectors, unroll) = (tile.rows, tile.vectors, tile.unroll());
        let addresses = |e: &mut Emit, n: u32| (0..n).map(|_| e.local(ValType::I32)).collect::<Vec<_>>();
        let row_addresses = addresses(e, if tile.packed == Packed::Vector { rows } else { 0 });
        let step_addresses = addresses(e, if tile.packed == Packed::Splat { unroll } else { 0 });
        let pointer = e.local(ValType::I32);
        let wide = |e: &mut Emit, n: u32| (0..n).map(|_| e.local(ValType::V128)).collect::<Vec<_>>();
        // What is read most comes first: a local beyond the 128th takes a byte more.
        let splats = wide(e, unroll);
        let vector_locals = (0..unroll).map(|_| wide(e, vectors)).collect();
        Writer {
            tile,
            sums: (0..rows).map(|_| wide(e, vectors)).collect(),
            splats,
            vectors: vector_locals,
            rows: row_addresses,
            steps: step_addresses,
            low: e.local(ValType::V128),
            high: e.local(ValType::V128),
            pointer,
        }
    }

    /// Addresses, and where sums begin.
    fn begin(&mut self, e: &mut Emit) {
        for (row, &local) in self.rows.iter().enumerate() {
            match row {
                0 => e.get(P::Splat as u32).set(local),
                _ => e.get(self.rows[row - 1]).get(P::SplatStride as u32).put(I::I32Add).set(local),
            };
        }
        if self.tile.kind.whole() {
            // Whole sums begin at 0, as a local does; the bias is real.
            return;
        }
        for row in 0..self.sums.len() {
            for vector in 0..self.sums[row].len() {
                self.bias(e, row, vector);
                e.set(self.sums[row][vector]);
            }
        }
    }

    fn bias(&mut self, e: &mut Emit, row: usize, vector: usize) {
        match self.tile.packed {
            // The first of the row loads it, the rest take what it left.
            Packed::Splat if vector == 0 => {
                e.get(P::Bias as u32).put(I::V128Load32Splat(at(4 * row as u32))).tee(self.splats[0])
            }
            Packed::Splat => e.get(self.splats[0]),
            Packed::Vector if row == 0 => {
                let kept = self.vectors[0][vector];
                e.get(P::Bias as u32).put(I::V128Load(at(16 * vector as u32))).tee(kept)
            }
            Packed::Vector => e.get(self.vectors[0][vector]),
        };
    }

    /// `count` steps of `k` for every sum.
    fn steps(&mut self, e: &mut Emit, count: u32) {
        let (rows, vectors) = (self.tile.rows, self.tile.vectors);
        let (product, sum) = match self.tile.kind {
            Kind::F32 => (I::F32x4Mul, I::F32x4Add),
            Kind::I8 | Kind::I16 => (I::I32x4DotI16x8S, I::I32x4Add),
        };
        for row in 0..rows as usize {
            for vector in 0..vectors as usize {
                // Below the block's own sum, until that is added to it.
                e.get(self.sums[row][vector]);
                for step in 0..count as usize {
                    if vector == 0 {
                        self.load_splat(e, row, step);
                    } else {
                        e.get(self.splats[step]);
                    }
                    if row == 0 {
                        self.load_vector(e, vector, step);
                    } else {
                        e.get(self.vectors[step][vector]);
                    }
                    e.put(product.clone());
                    if step > 0 {
                        e.put(sum.clone());
                    }
                }
                e.put(sum.clone()).set(self.sums[row][vector]);
            }
        }
        match self.tile.packed {
            Packed::Splat => {
                e.advance(P::Splat as u32, self.tile.kind.width() * rows * count);
                // The address of the last step is at hand.
                let last = self.steps[count as usize - 1];
                e.get(last).get(P::VectorStride as u32).put(I::I32Add).set(P::Vector as u32);
            }
            Packed::Vector => {
                self.rows.iter().for_each(|row| e.advance(*row, 4 * count));
                e.advance(P::Vector as u32, 4 * self.tile.kind.width() * vectors * count);
            }
        }
    }

    fn load_splat(&self, e: &mut Emit, row: usize, step: usize) {
        let place = step as u32 * self.tile.rows + row as u32;
        match (self.tile.packed, self.tile.kind) {
            (Packed::Splat, Kind::I8) => {
                e.get(P::Splat as u32).put(I::V128Load16Splat(at(2 * place))).put(I::I16x8ExtendLowI8x16S)
            }
            (Packed::Splat, _) => e.get(P::Splat as u32).put(I::V128Load32Splat(at(4 * place))),
            (Packed::Vector, _) => e.get(self.rows[row]).put(I::V128Load32Splat(at(4 * step as u32))),
        };
        // A row of one vector uses it once.
        if self.tile.vectors > 1 {
            e.tee(self.splats[step]);
        }
    }

    fn load_vector(&self, e: &mut Emit, vector: usize, step: usize) {
        let offset = match self.tile.packed {
            Packed::Vector => {
                e.get(P::Vector as u32);
                4 * self.tile.kind.width() * (step as u32 * self.tile.vectors + vector as u32)
            }
            Packed::Splat if vector > 0 => {
                e.get(self.steps[step]);
                16 * vector as u32
            }
            Packed::Splat => {
                match step {
                    0 => e.get(P::Vector as u32),
                    _ => e.get(self.steps[step - 1]).get(P::VectorStride as u32).put(I::I32Add),
                };
                e.tee(self.steps[step]);
                0
            }
        };
        match (self.tile.packed, self.tile.kind) {
            (Packed::Vector, Kind::I8) => e.put(I::V128Load8x8S(at(offset))),
            _ => e.put(I::V128Load(at(offset))),
        };
        if self.tile.rows > 1 {
            e.tee(self.vectors[step][vector]);
        }
    }

    /// Whole sums to real ones: times the row's and the column's factor, plus the bias.
    fn real(&mut self, e: &mut Emit) {
        let (rows, vectors) = (self.sums.len(), self.sums[0].len());
        for row in 0..rows {
            let factor = self.splats[1];
            e.get(P::RowScale as u32).put(I::V128Load32Splat(at(4 * row as u32))).set(factor);
            for vector in 0..vectors {
                e.get(self.sums[row][vector]).put(I::F32x4ConvertI32x4S).get(factor).put(I::F32x4Mul);
                if self.tile.packed == Packed::Vector {
                    let kept = self.vectors[1][vector];
                    match row {
                        0 => e.get(P::ColumnScale as u32).put(I::V128Load(at(16 * vector as u32))).tee(kept),
                        _ => e.get(kept),
                    };
                    e.put(I::F32x4Mul);
                }
                self.bias(e, row, vector);
                e.put(I::F32x4Add).set(self.sums[row][vector]);
            }
        }
    }

    /// Holds every sum between the bounds; what is no number stays so.
    fn clamp(&mut self, e: &mut Emit) {
        e.get(P::Low as u32).put(I::F32x4Splat).set(self.low);
        e.get(P::High as u32).put(I::F32x4Splat).set(self.high);
        for &sum in self.sums.iter().flatten() {
            e.get(sum).get(self.low).put(I::F32x4PMax).get(self.high).put(I::F32x4PMin).set(sum);
        }
    }

    fn residual(&mut self, e: &mut Emit) {
        e.get(P::Residual as u32).set(self.pointer);
        for (row, sums) in self.sums.iter().enumerate() {
            if row > 0 {
                e.get(self.pointer).get(P::ResidualStride as u32).put(I::I32Add).set(self.pointer);
            }
            for (vector, &sum) in sums.iter().enumerate() {
                e.get(sum).get(self.pointer).put(I::V128Load(at(16 * vector as u32)));
                e.put(I::F32x4Add).set(sum);
            }
        }
    }

    fn store(&mut self, e: &mut Emit) {
        for (row, sums) in self.sums.iter().enumerate() {
            if row > 0 {
                e.get(P::Out as u32).get(P::OutStride as u32).put(I::I32Add).set(P::Out as u32);
            }
            for (vector, &sum) in sums.iter().enumerate() {
                e.get(P::Out as u32).get(sum).put(I::V128Store(at(16 * vector as u32)));
            }
        }
    }
}
