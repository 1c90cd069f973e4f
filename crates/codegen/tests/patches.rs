//! Every patch, run in WebAssembly and metered as the Internet Computer does: its outputs against plain loops, bit by bit,
//! and its price against the counter, to the last instruction.

use ic_nn_codegen::module::module;
use ic_nn_codegen::{CHANNELS, Patch, Written, patches};
use ic_nn_host::wasm::{COUNTER_EXPORT, TABLE_EXPORT, prepare};
use wasmtime::{Engine, Linker, Module, Ref, Store, Val};

/// What the caller pays beside the function: `call_indirect` 10, its index 1, an operand each 1.
const CALL: u64 = 11 + 9;

const TABLE: usize = 0x100;
const KERNEL: usize = 0x1000;
const BIAS: usize = 0x3000;
const OUT: usize = 0x1_0000;
const IMAGE: usize = 0x2_0000;

fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The output of a pixel's channel: the bias, products in order, bounds.
fn expected(
    patch: Patch,
    pixel: usize,
    channel: usize,
    image: &[Vec<f32>],
    kernel: &[f32],
    bias: &[f32],
) -> f32 {
    let (stride, columns) = (patch.stride as usize, patch.columns as usize);
    let across = patch.seen()[1] as usize;
    let mut sum = bias[channel];
    for place in 0..9 {
        let row = pixel / columns * stride + place / 3;
        let column = pixel % columns * stride + place % 3;
        sum += image[row * across + column][channel] * kernel[channel / 4 * 36 + 4 * place + channel % 4];
    }
    sum.clamp(-0.75, 0.5)
}

#[test]
fn patches_compute_what_they_say_at_the_price_they_say() {
    let patches = patches();
    let written: Vec<Written> = patches.iter().map(|patch| Written::from(*patch)).collect();
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
    let mut next = numbers(5);
    for (ix, &patch) in patches.iter().enumerate() {
        let (_, price) = patch.emit();
        for rounds in [0usize, 1, 3] {
            let channels = rounds * CHANNELS as usize;
            let mut many = |n: usize| (0..n).map(|_| next()).collect::<Vec<f32>>();
            let seen = patch.seen().iter().product::<u32>() as usize;
            let image: Vec<Vec<f32>> = (0..seen).map(|_| many(channels)).collect();
            let (kernel, bias) = (many(9 * channels), many(channels));
            // Pixels lie in the opposite order, and apart, since only the table says where.
            let pitch = 4 * channels + 12;
            let place = |pixel: usize| IMAGE + (seen - 1 - pixel) * pitch;
            let addresses: Vec<u8> =
                (0..seen).flat_map(|pixel| (place(pixel) as u32).to_le_bytes()).collect();
            for (at, bytes) in [(TABLE, addresses), (KERNEL, bytes(&kernel)), (BIAS, bytes(&bias))] {
                memory.write(&mut store, at, &bytes).expect("memory is large enough");
            }
            for (pixel, numbers) in image.iter().enumerate() {
                memory.write(&mut store, place(pixel), &bytes(numbers)).expect("memory is large enough");
            }
            let out_row = pitch * patch.columns as usize + 20;
            let size = out_row * patch.rows as usize;
            memory.write(&mut store, OUT, &vec![0xee; size]).expect("memory is large enough");
            counter.set(&mut store, Val::I64(1 << 40)).expect("a counter");
            let int = |x: usize| Val::I32(x as i32);
            let (low, high) = (Val::F32((-0.75f32).to_bits()), Val::F32(0.5f32.to_bits()));
            let arguments = [
                int(TABLE),
                int(OUT),
                int(out_row),
                int(pitch),
                int(KERNEL),
                int(BIAS),
                int(rounds),
                low,
                high,
            ];
            let Some(Ref::Func(Some(function))) = table.get(&mut store, ix as u64) else {
                panic!("no patch {ix}")
            };
            function.call(&mut store, &arguments, &mut []).expect("no trap");
            let left = counter.get(&mut store).i64().expect("a counter");
            let spent = (1u64 << 40) - left as u64 + CALL;
            let priced = price.fixed + rounds as u64 * price.round;
            assert_eq!(spent, priced, "price of {} over {rounds} rounds", patch.name());
            let mut out = vec![0u8; size];
            memory.read(&store, OUT, &mut out).expect("memory is large enough");
            let mut left: Vec<bool> = vec![true; size];
            for pixel in 0..(patch.rows * patch.columns) as usize {
                let (row, column) = (pixel / patch.columns as usize, pixel % patch.columns as usize);
                for channel in 0..channels {
                    let at = row * out_row + column * pitch + 4 * channel;
                    let got = f32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
                    let expected = expected(patch, pixel, channel, &image, &kernel, &bias);
                    let name = patch.name();
                    assert_eq!(got.to_bits(), expected.to_bits(), "{name} pixel {pixel} channel {channel}");
                    left[at..at + 4].fill(false);
                }
            }
            let touched = out.iter().zip(&left).any(|(byte, left)| *left && *byte != 0xee);
            assert!(!touched, "{} wrote beyond its pixels", patch.name());
        }
    }
}
