//! Every tile, run in WebAssembly and metered as the Internet Computer does: its outputs against plain loops, bit by bit,
//! and its price against the counter, to the last instruction.

use ic_nn_codegen::module::module;
use ic_nn_codegen::{Kind, Packed, Price, Tile, Written, tiles};
use ic_nn_host::wasm::{COUNTER_EXPORT, TABLE_EXPORT, prepare};
use wasmtime::{Engine, Linker, Memory, Module, Ref, Store, Val};

/// What the caller pays beside the function: `call_indirect` 10, its index 1, an operand each 1.
const CALL: u64 = 11 + 15;

const SPLAT: usize = 0x0_0000;
const VECTOR: usize = 0x1_0000;
const OUT: usize = 0x3_0000;
const BIAS: usize = 0x4_0000;
const RESIDUAL: usize = 0x5_0000;
const ROW_SCALE: usize = 0x6_0000;
const COLUMN_SCALE: usize = 0x6_1000;

fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// Operands of a tile, in the order of a plain matrix, and as the tile takes them.
struct Operands {
    /// `[rows][2 * steps]`, or `[rows][steps]` of floats.
    splat: Vec<Vec<f32>>,
    /// `[2 * steps][columns]`, or `[steps][columns]` of floats.
    vector: Vec<Vec<f32>>,
    splat_bytes: Vec<u8>,
    splat_stride: usize,
    vector_bytes: Vec<u8>,
    vector_stride: usize,
}

#[expect(clippy::needless_range_loop, reason = "a column is gone through by steps")]
fn operands(tile: Tile, steps: usize, next: &mut impl FnMut() -> f32) -> Operands {
    let (rows, columns) = (tile.rows as usize, 4 * tile.vectors as usize);
    let pair = if tile.kind == Kind::F32 { 1 } else { 2 };
    let k = pair * steps;
    let mut number = |packed: bool| match (tile.kind, packed) {
        (Kind::F32, _) => next(),
        (Kind::I8, true) => (next() * 127.0).round(),
        (Kind::I8, false) => (next() * 32_000.0).round(),
        // All there are: what does not fit a sum goes around, in the tile as in the loop.
        (Kind::I16, _) => (next() * 32_768.0).floor(),
    };
    let splat_packed = tile.packed == Packed::Splat;
    let splat: Vec<Vec<f32>> = (0..rows).map(|_| (0..k).map(|_| number(splat_packed)).collect()).collect();
    let vector: Vec<Vec<f32>> =
        (0..k).map(|_| (0..columns).map(|_| number(!splat_packed)).collect()).collect();
    let bytes = |x: f32, packed: bool| match (tile.kind, packed) {
        (Kind::F32, _) => x.to_le_bytes().to_vec(),
        (Kind::I8, true) => vec![x as i8 as u8],
        (Kind::I8, false) | (Kind::I16, _) => (x as i16).to_le_bytes().to_vec(),
    };
    // What is read in place has gaps from row to row, and from step to step.
    let (mut splat_bytes, mut vector_bytes) = (vec![], vec![]);
    let (splat_stride, vector_stride) = (4 * steps + 12, 16 * tile.vectors as usize + 8);
    if splat_packed {
        for step in 0..steps {
            for row in &splat {
                row[pair * step..pair * (step + 1)].iter().for_each(|x| splat_bytes.extend(bytes(*x, true)));
            }
        }
    } else {
        for row in &splat {
            row.iter().for_each(|x| splat_bytes.extend(bytes(*x, false)));
            splat_bytes.extend([0xff; 12]);
        }
    }
    for step in 0..steps {
        for column in 0..columns {
            (0..pair)
                .for_each(|at| vector_bytes.extend(bytes(vector[pair * step + at][column], !splat_packed)));
        }
        if splat_packed {
            vector_bytes.extend([0xff; 8]);
        }
    }
    Operands { splat, vector, splat_bytes, splat_stride, vector_bytes, vector_stride }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// `begin` and the products: by blocks of so many, then one by one.
fn by_blocks(begin: f32, products: impl Iterator<Item = f32>, block: usize) -> f32 {
    let products: Vec<f32> = products.collect();
    let blocks = products.chunks_exact(block);
    let rest = blocks.remainder();
    let blocks = blocks.map(|block| block[1..].iter().fold(block[0], |sum, product| sum + product));
    blocks.chain(rest.iter().copied()).fold(begin, |sum, next| sum + next)
}

fn priced(tile: Tile, price: Price, steps: u64, scale: bool, clamp: bool, residual: bool) -> u64 {
    let (unroll, half) = (u64::from(tile.unroll()), u64::from(tile.half()));
    let rest = steps % unroll;
    let halves = rest.checked_div(half).unwrap_or(0);
    price.fixed
        + steps / unroll * price.block
        + halves * price.half
        + (rest - halves * half) * price.step
        + if scale { price.scale } else { 0 }
        + if clamp { price.clamp } else { 0 }
        + if residual { price.residual } else { 0 }
}

#[test]
fn tiles_compute_what_they_say_at_the_price_they_say() {
    let tiles = tiles();
    let prepared = prepare(&module(&tiles.iter().map(|tile| Written::from(*tile)).collect::<Vec<_>>(), 8))
        .expect("the Internet Computer takes the module");
    let engine = Engine::default();
    let compiled = Module::new(&engine, &prepared.binary).expect("a valid module");
    let mut linker = Linker::new(&engine);
    let spent_all = || -> () { panic!("out of instructions") };
    linker.func_wrap("__", "out_of_instructions", spent_all).expect("a new name");
    linker.func_wrap("__", "try_grow_wasm_memory", |grown: i32, _: i32| grown).expect("a new name");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &compiled).expect("imports are there");
    let memory: Memory = instance.get_memory(&mut store, "memory").expect("a memory");
    let table = instance.get_table(&mut store, TABLE_EXPORT).expect("a table");
    let counter = instance.get_global(&mut store, COUNTER_EXPORT).expect("a counter");
    let mut next = numbers(11);
    for (ix, &tile) in tiles.iter().enumerate() {
        let (_, price) = tile.emit();
        let whole = tile.kind != Kind::F32;
        for (steps, scale, clamp, residual) in [
            (0, true, false, false),
            (1, true, true, false),
            (8, true, false, false),
            (16, true, false, true),
            (27, true, true, false),
            (37, true, true, true),
            (27, false, false, false),
            (37, false, false, false),
        ] {
            let (rows, columns) = (tile.rows as usize, 4 * tile.vectors as usize);
            let o = operands(tile, steps, &mut next);
            let mut many = |n: usize| (0..n).map(|_| next()).collect::<Vec<f32>>();
            let out_stride = columns + 3;
            let bias = many(if tile.packed == Packed::Splat { rows } else { columns });
            let added_stride = columns + 5;
            let (added, row_scale, column_scale) = (many(rows * added_stride), many(rows), many(columns));
            for (at, bytes) in [
                (SPLAT, o.splat_bytes.clone()),
                (VECTOR, o.vector_bytes.clone()),
                (OUT, vec![0xee; 4 * rows * out_stride]),
                (BIAS, floats(&bias)),
                (RESIDUAL, floats(&added)),
                (ROW_SCALE, floats(&row_scale)),
                (COLUMN_SCALE, floats(&column_scale)),
            ] {
                memory.write(&mut store, at, &bytes).expect("memory is large enough");
            }
            counter.set(&mut store, Val::I64(1 << 40)).expect("a counter");
            let int = |x: usize| Val::I32(x as i32);
            let arguments = [
                int(SPLAT),
                int(o.splat_stride),
                int(VECTOR),
                int(o.vector_stride),
                int(OUT),
                int(4 * out_stride),
                int(steps),
                int(BIAS),
                int(if residual { RESIDUAL } else { 0 }),
                int(4 * added_stride),
                int(usize::from(clamp)),
                int(if scale { ROW_SCALE } else { 0 }),
                int(COLUMN_SCALE),
                Val::F32((-0.75f32).to_bits()),
                Val::F32(0.5f32.to_bits()),
            ];
            let Some(Ref::Func(Some(function))) = table.get(&mut store, ix as u64) else {
                panic!("no tile {ix}")
            };
            function.call(&mut store, &arguments, &mut []).expect("no trap");
            let left = counter.get(&mut store).i64().expect("a counter");
            let spent = (1u64 << 40) - left as u64 + CALL;
            assert_eq!(
                spent,
                priced(tile, price, steps as u64, scale && whole, clamp, residual),
                "price of {} over {steps} steps, scale {scale}, clamp {clamp}, residual {residual}",
                tile.name()
            );
            let mut out = vec![0u8; 4 * rows * out_stride];
            memory.read(&store, OUT, &mut out).expect("memory is large enough");
            for row in 0..rows {
                for column in 0..columns {
                    let begin = bias[if tile.packed == Packed::Splat { row } else { column }];
                    let products = o.splat[row].iter().zip(&o.vector).map(|(a, b)| (*a, b[column]));
                    let mut expected = match tile.kind {
                        Kind::F32 => by_blocks(begin, products.map(|(a, b)| a * b), tile.unroll() as usize),
                        Kind::I8 | Kind::I16 => {
                            let sum =
                                products.fold(0i32, |sum, (a, b)| sum.wrapping_add(a as i32 * b as i32));
                            if !scale {
                                let at = 4 * (row * out_stride + column);
                                let got =
                                    i32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
                                assert_eq!(got, sum, "{} [{row}][{column}]", tile.name());
                                continue;
                            }
                            let real = sum as f32 * row_scale[row];
                            let real = if tile.packed == Packed::Vector {
                                real * column_scale[column]
                            } else {
                                real
                            };
                            real + begin
                        }
                    };
                    if residual {
                        expected += added[row * added_stride + column];
                    }
                    if clamp {
                        expected = expected.clamp(-0.75, 0.5);
                    }
                    let at = 4 * (row * out_stride + column);
                    let got = f32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
                    assert_eq!(got.to_bits(), expected.to_bits(), "{} [{row}][{column}]", tile.name());
                }
                let gap = &out[4 * (row * out_stride + columns)..4 * (row + 1) * out_stride];
                assert!(gap.iter().all(|byte| *byte == 0xee), "{} wrote beyond its row", tile.name());
            }
        }
    }
}
