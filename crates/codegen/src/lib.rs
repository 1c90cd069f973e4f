//! Matrix tiles as WebAssembly, written instruction by instruction because instructions are what they cost.
//!
//! A compiler that aims at registers keeps values in locals, hoists loads and spills; where every `local.get` costs as
//! much as a load, that is a quarter of a kernel's price. So the few loops that nearly all instructions of an inference
//! are spent in are emitted here at build time ([`Tile`]), with the exact price of each ([`Price`]), and linked as an object
//! file ([`object::archive`]). This crate knows neither what a graph is nor who calls the tiles; it runs on the machine that
//! builds.

mod emit;
pub mod module;
pub mod object;
mod tile;

pub use tile::{Kind, Packed, Price, Tile, tiles};
