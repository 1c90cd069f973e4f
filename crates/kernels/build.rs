//! Writes tiles and patches: for wasm32 as an archive to link, and for every target the tables of what there is.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use ic_nn_codegen::{
    Bits, BlockPrice, Kind, Packed, PatchPrice, Price, block_tiles, functions, object, patches, tiles,
};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let wasm = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    let tiles = tiles();
    let (mut table, mut symbols) = (String::new(), String::new());
    for tile in &tiles {
        let function = if wasm {
            writeln!(symbols, "    fn {}{PARAMETERS};", tile.name()).expect("a string takes it");
            tile.name()
        } else {
            let name = match (tile.kind, tile.packed) {
                (Kind::F32, Packed::Splat) => "f32_splat",
                (Kind::F32, Packed::Vector) => "f32_vector",
                (Kind::I8, Packed::Splat) => "i8_splat",
                (Kind::I8, Packed::Vector) => "i8_vector",
                (Kind::I16, Packed::Splat) => "i16_splat",
                (Kind::I16, Packed::Vector) => "i16_vector",
            };
            format!("twin::{name}::<{}, {}>", tile.rows, tile.vectors)
        };
        let Price { fixed, block, half, step, scale, clamp, residual } = tile.emit().1;
        let (unroll, short) = (tile.unroll(), tile.half());
        let price = format!(
            "Price {{ unroll: {unroll}, short: {short}, fixed: {fixed}, block: {block}, half: {half}, step: {step}, \
             scale: {scale}, clamp: {clamp}, residual: {residual} }}"
        );
        writeln!(table, "    Tile {{ function: {function}, price: {price} }},").expect("a string takes it");
    }
    let mut source = String::new();
    if wasm {
        write!(
            source,
            "#[link(name = \"ic_nn_tiles\", kind = \"static\")]\nunsafe extern \"C\" {{\n{symbols}}}\n\n"
        )
        .expect("a string takes it");
        let archive = object::archive("tiles.o", &object::object(&functions()));
        fs::write(out.join("libic_nn_tiles.a"), archive).expect("OUT_DIR is writable");
        println!("cargo:rustc-link-search=native={}", out.display());
    }
    write!(source, "/// Every tile.\nstatic TILES: [Tile; {}] = [\n{table}];\n", tiles.len())
        .expect("a string takes it");
    fs::write(out.join("tiles.rs"), source).expect("OUT_DIR is writable");
    fs::write(out.join("patches.rs"), patches_source(wasm)).expect("OUT_DIR is writable");
    fs::write(out.join("blocks.rs"), blocks_source(wasm)).expect("OUT_DIR is writable");
}

/// The table of tiles of blocks; their functions are in the archive that the tiles' symbols name.
fn blocks_source(wasm: bool) -> String {
    let tiles = block_tiles();
    let (mut table, mut symbols) = (String::new(), String::new());
    for tile in &tiles {
        let function = if wasm {
            writeln!(symbols, "    fn {}{BLOCK_PARAMETERS};", tile.name()).expect("a string takes it");
            tile.name()
        } else {
            format!("twin::tile::<{}, {}>", tile.bits == Bits::Four, tile.rows)
        };
        let BlockPrice { fixed, block, unit } = tile.emit().1;
        writeln!(table, "    Tile {{ function: {function}, fixed: {fixed}, block: {block}, unit: {unit} }},")
            .expect("a string takes it");
    }
    let symbols = if wasm { format!("unsafe extern \"C\" {{\n{symbols}}}\n\n") } else { String::new() };
    format!("{symbols}/// Every tile.\nstatic TILES: [Tile; {}] = [\n{table}];\n", tiles.len())
}

/// The table of patches; their functions are in the archive that the tiles' symbols name.
fn patches_source(wasm: bool) -> String {
    let patches = patches();
    let (mut table, mut symbols) = (String::new(), String::new());
    for patch in &patches {
        let function = if wasm {
            writeln!(symbols, "    fn {}{PATCH_PARAMETERS};", patch.name()).expect("a string takes it");
            patch.name()
        } else {
            format!("twin::patch::<{}, {}, {}>", patch.stride, patch.rows, patch.columns)
        };
        let PatchPrice { fixed, round } = patch.emit().1;
        let ic_nn_codegen::Patch { stride, rows, columns } = patch;
        writeln!(
            table,
            "    Patch {{ function: {function}, stride: {stride}, rows: {rows}, columns: {columns}, fixed: {fixed}, round: {round} }},"
        )
        .expect("a string takes it");
    }
    let symbols = if wasm { format!("unsafe extern \"C\" {{\n{symbols}}}\n\n") } else { String::new() };
    format!("{symbols}/// Every patch.\nstatic PATCHES: [Patch; {}] = [\n{table}];\n", patches.len())
}

const PARAMETERS: &str = "(splat: *const u8, splat_stride: usize, vector: *const u8, vector_stride: usize, out: *mut u8, \
    out_stride: usize, steps: usize, bias: *const u8, residual: *const u8, residual_stride: usize, clamp: u32, \
    row_scale: *const u8, \
    column_scale: *const u8, low: f32, high: f32)";

const PATCH_PARAMETERS: &str = "(seen: *const *const f32, out: *mut f32, out_row: usize, out_pixel: usize, kernel: *const f32, \
    bias: *const f32, rounds: usize, low: f32, high: f32)";

const BLOCK_PARAMETERS: &str = "(splat: *const i16, splat_stride: usize, units: *const Unit, units_stride: usize, \
    vector: *const u8, scale: *const f32, out: *mut f32, out_stride: usize, blocks: usize, each: usize)";
