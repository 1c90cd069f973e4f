//! Tiles as a module of their own, each exported under its name beside its memory: to run, meter and look at.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, FunctionSection, MemorySection, MemoryType, Module, TypeSection,
};

use crate::Tile;

/// A module of these tiles with a memory of `pages`.
pub fn module(tiles: &[Tile], pages: u64) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function(Tile::parameters(), []);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: pages,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    for (ix, tile) in tiles.iter().enumerate() {
        functions.function(0);
        exports.export(&tile.name(), ExportKind::Func, ix as u32);
        code.function(&tile.emit().0);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}
