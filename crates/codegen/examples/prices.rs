//! Prints what each tile costs a multiply-add, at some lengths of `k`.

use ic_nn_codegen::{Kind, STEPS, VECTORS, block_tiles, tiles};

fn main() {
    println!("{:<24}{:>8}{:>8}{:>8}{:>8}", "tile", "k=32", "k=128", "k=512", "limit");
    for tile in tiles() {
        let (_, price) = tile.emit();
        let per_step = if tile.kind == Kind::F32 { 1 } else { 2 };
        let lanes = f64::from(tile.rows * tile.vectors * 4 * per_step);
        let unroll = u64::from(tile.unroll());
        let at = |k: u64| {
            let steps = k / u64::from(per_step);
            let rest = steps % unroll;
            let halves = rest.checked_div(u64::from(tile.half())).unwrap_or(0);
            let single = rest - halves * u64::from(tile.half());
            let sums = steps / unroll * price.block + halves * price.half + single * price.step;
            (price.fixed + price.scale + sums) as f64 / (steps as f64 * lanes)
        };
        let limit = price.block as f64 / (unroll as f64 * lanes);
        println!("{:<24}{:>8.3}{:>8.3}{:>8.3}{:>8.3}", tile.name(), at(32), at(128), at(512), limit);
    }
    println!("{:<24}{:>8}{:>8}", "k = 2,048 by blocks", "of 32", "of 128");
    for tile in block_tiles() {
        let (_, price) = tile.emit();
        let units = 2_048 / u64::from(2 * STEPS);
        let macs = (2_048 * tile.rows * 4 * VECTORS) as f64;
        let at = |each: u64| (price.fixed + units / each * price.block + units * price.unit) as f64 / macs;
        println!("{:<24}{:>8.3}{:>8.3}", tile.name(), at(1), at(4));
    }
}
