//! Every tile of products by blocks, run in WebAssembly and metered as the Internet Computer does: its outputs against plain
//! loops, bit by bit, and its price against the counter, to the last instruction.

use ic_nn_codegen::module::module;
use ic_nn_codegen::{Bits, BlockTile, STEPS, VECTORS, Written, block_tiles};
use ic_nn_host::wasm::{COUNTER_EXPORT, TABLE_EXPORT, prepare};
use wasmtime::{Engine, Linker, Module, Ref, Store, Val};

/// What the caller pays beside the function: `call_indirect` 10, its index 1, an operand each 1.
const CALL: u64 = 11 + 10;

const SPLAT: usize = 0x0_1000;
const UNITS: usize = 0x1_0000;
const VECTOR: usize = 0x2_0000;
const SCALE: usize = 0x4_0000;
const OUT: usize = 0x5_0000;

const PAIRS: usize = 2 * STEPS as usize;
const COLUMNS: usize = 4 * VECTORS as usize;

fn random(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    }
}

/// Where the number `k` of a column is among a unit's bytes, and by how many bits it is shifted there.
fn place(tile: BlockTile, column: usize, k: usize) -> (usize, u32) {
    let (vector, lane, step) = (column / 4, 2 * (column % 4) + k % 2, k / 2);
    match tile.bits {
        Bits::Eight => (8 * (vector * STEPS as usize + step) + lane, 0),
        Bits::Four => {
            (8 * (vector * STEPS as usize / 2 + step / 2) + lane, if step % 2 == 0 { 0 } else { 4 })
        }
    }
}

#[test]
#[allow(clippy::needless_range_loop, reason = "rows and columns are places in several operands")]
fn tiles_of_blocks_compute_what_they_say_at_the_price_they_say() {
    let tiles = block_tiles();
    let written: Vec<Written> = tiles.iter().map(|tile| Written::from(*tile)).collect();
    let prepared = prepare(&module(&written, 8)).expect("the Internet Computer takes the module");
    let engine = Engine::default();
    let compiled = Module::new(&engine, &prepared.binary).expect("a valid module");
    let mut linker = Linker::new(&engine);
    let spent_all = || -> () { panic!("out of instructions") };
    linker.func_wrap("__", "out_of_instructions", spent_all).expect("a new name");
    linker.func_wrap("__", "try_grow_wasm_memory", |grown: i32, _: i32| grown).expect("a new name");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &compiled).expect("imports are there");
    let memory = instance.get_memory(&mut store, "memory").expect("a memory");
    let table = instance.get_table(&mut store, TABLE_EXPORT).expect("a table");
    let counter = instance.get_global(&mut store, COUNTER_EXPORT).expect("a counter");
    let mut next = random(5);
    for (ix, &tile) in tiles.iter().enumerate() {
        let (_, price) = tile.emit();
        let rows = tile.rows as usize;
        for (blocks, each) in [(0, 1), (1, 1), (3, 1), (2, 4)] {
            let units = blocks * each;
            let mut real = || (next() >> 8) as f32 / 8_388_608.0 - 1.0;
            let scales: Vec<f32> = (0..blocks * COLUMNS).map(|_| real()).collect();
            let of_rows: Vec<Vec<f32>> = (0..rows).map(|_| (0..units).map(|_| real()).collect()).collect();
            let begin: Vec<Vec<f32>> = (0..rows).map(|_| (0..COLUMNS).map(|_| real()).collect()).collect();
            let begins: Vec<Vec<i32>> =
                (0..rows).map(|_| (0..units).map(|_| next() as i32 >> 8).collect()).collect();
            let x: Vec<Vec<i16>> =
                (0..rows).map(|_| (0..units * PAIRS).map(|_| next() as i16).collect()).collect();
            let weights: Vec<Vec<u8>> =
                (0..units).map(|_| (0..tile.unit_bytes()).map(|_| next() as u8).collect()).collect();
            // Rows lie apart.
            let (splat_stride, units_stride, out_stride) =
                (2 * units * PAIRS + 6, 8 * units + 8, 4 * COLUMNS + 12);
            let mut write = |at: usize, bytes: &[u8]| memory.write(&mut store, at, bytes).expect("it fits");
            write(OUT, &vec![0xee; rows * out_stride]);
            for row in 0..rows {
                let bytes: Vec<u8> = x[row].iter().flat_map(|x| x.to_le_bytes()).collect();
                write(SPLAT + row * splat_stride, &bytes);
                let unit = |unit: usize| {
                    [of_rows[row][unit].to_le_bytes(), begins[row][unit].to_le_bytes()].concat()
                };
                write(UNITS + row * units_stride, &(0..units).flat_map(unit).collect::<Vec<u8>>());
                let bytes: Vec<u8> = begin[row].iter().flat_map(|x| x.to_le_bytes()).collect();
                write(OUT + row * out_stride, &bytes);
            }
            write(VECTOR, &weights.concat());
            write(SCALE, &scales.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
            counter.set(&mut store, Val::I64(1 << 40)).expect("a counter");
            let arguments =
                [SPLAT, splat_stride, UNITS, units_stride, VECTOR, SCALE, OUT, out_stride, blocks, each]
                    .map(|x| Val::I32(x as i32));
            let Some(Ref::Func(Some(function))) = table.get(&mut store, ix as u64) else {
                panic!("no tile {ix}")
            };
            function.call(&mut store, &arguments, &mut []).expect("no trap");
            let left = counter.get(&mut store).i64().expect("a counter");
            let spent = (1u64 << 40) - left as u64 + CALL;
            let priced = price.fixed + blocks as u64 * price.block + units as u64 * price.unit;
            assert_eq!(spent, priced, "price of {} over {blocks} blocks of {each}", tile.name());
            let mut out = vec![0u8; rows * out_stride];
            memory.read(&store, OUT, &mut out).expect("it is there");
            for row in 0..rows {
                for column in 0..COLUMNS {
                    let mut expected = begin[row][column];
                    for unit in 0..units {
                        let mut sum = if tile.bits == Bits::Four { begins[row][unit] } else { 0 };
                        for k in 0..PAIRS {
                            let (at, shift) = place(tile, column, k);
                            let byte = weights[unit][at];
                            let weight = match tile.bits {
                                Bits::Four => i32::from((byte >> shift) & 15),
                                Bits::Eight => i32::from(byte as i8),
                            };
                            sum += weight * i32::from(x[row][unit * PAIRS + k]);
                        }
                        expected += sum as f32 * scales[unit / each * COLUMNS + column] * of_rows[row][unit];
                    }
                    let at = row * out_stride + 4 * column;
                    let got = f32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
                    assert_eq!(got.to_bits(), expected.to_bits(), "{} [{row}][{column}]", tile.name());
                }
                let gap = &out[row * out_stride + 4 * COLUMNS..(row + 1) * out_stride];
                assert!(gap.iter().all(|byte| *byte == 0xee), "{} wrote beyond its row", tile.name());
            }
        }
    }
}
