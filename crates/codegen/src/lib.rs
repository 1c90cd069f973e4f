//! Matrix tiles as WebAssembly, written instruction by instruction because instructions are what they cost.
//!
//! A compiler that aims at registers keeps values in locals, hoists loads and spills; where every `local.get` costs as
//! much as a load, that is a quarter of a kernel's price. So the few loops that nearly all instructions of an inference
//! are spent in are emitted here at build time ([`Tile`]), with the exact price of each ([`Price`]), and linked as an object
//! file ([`object::archive`]): matrix products, those of weights with a scale a block ([`BlockTile`]), and convolutions of each
//! channel by itself ([`Patch`]). This crate knows neither what a graph is nor who calls the tiles; it runs on the machine that
//! builds.

mod blocks;
mod depthwise;
mod emit;
pub mod module;
pub mod object;
mod tile;

pub use blocks::{Bits, BlockPrice, BlockTile, STEPS, VECTORS, block_tiles};
pub use depthwise::{CHANNELS, Patch, PatchPrice, patches};
pub use tile::{Kind, Packed, Price, Tile, tiles};

/// A function as it is linked.
pub struct Written {
    /// The symbol.
    pub name: String,
    /// Types of the parameters; there are no results.
    pub parameters: Vec<wasm_encoder::ValType>,
    /// Locals and code.
    pub function: wasm_encoder::Function,
}

impl From<Tile> for Written {
    fn from(tile: Tile) -> Written {
        Written { name: tile.name(), parameters: Tile::parameters(), function: tile.emit().0 }
    }
}

impl From<Patch> for Written {
    fn from(patch: Patch) -> Written {
        Written { name: patch.name(), parameters: Patch::parameters(), function: patch.emit().0 }
    }
}

impl From<BlockTile> for Written {
    fn from(tile: BlockTile) -> Written {
        Written { name: tile.name(), parameters: BlockTile::parameters(), function: tile.emit().0 }
    }
}

/// Every function that is built.
pub fn functions() -> Vec<Written> {
    let tiles = tiles().into_iter().map(Written::from);
    let blocks = block_tiles().into_iter().map(Written::from);
    tiles.chain(patches().into_iter().map(Written::from)).chain(blocks).collect()
}
