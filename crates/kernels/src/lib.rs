//! Kernels for neural networks, chosen by the Internet Computer's price list.
//!
//! Slices in, slices out: this crate knows neither graphs nor canisters. Matrix products ([`product`]) run on tiles that
//! `ic-nn-codegen` writes, as do those of weights by blocks ([`BlockWeights`]); the rest is Rust over vectors of four ([`lanes`]). For wasm32 the tiles are linked, elsewhere their
//! twins in plain Rust run, which give the same bits: there is no fused multiply-add in either, and sums are added
//! in one order.

mod blockwise;
mod boxes;
mod chain;
mod conv;
mod depthwise;
mod exact;
pub mod far;
mod found;
mod hwc;
pub mod image;
pub mod lanes;
mod lines;
mod maths;
mod mean_pool;
mod norm;
mod panels;
mod patch;
mod pool;
mod price;
pub mod product;
pub mod quantised;
#[cfg(test)]
mod random;
mod ranking;
mod reduce;
mod resample;
mod room;
mod shuffle;
mod softmax;
mod strassen;
mod strided;
mod swap;
mod tile;
mod turn;
mod units;
mod vectors;
mod whole;
mod window;
mod winograd;

pub use blockwise::{BlockWeights, Blocks};
pub use boxes::{Keeping, Kept};
pub use chain::{Chain, Operation, Repeat, Source, Step};
pub use conv::{Conv, copy};
pub use depthwise::Depthwise;
pub use exact::{
    Bytes, ExactConv, ExactWeights, Two, combine, dequantise, map_bytes, quantise, real, requantise, span,
    sum_lines, sum_rows,
};
pub use found::{coordinates, found};
pub use hwc::{HwcConv, HwcDepthwise};
pub use lines::Lines;
pub use mean_pool::{Mean, MeanPool};
pub use norm::Norm;
pub use panels::{ENOUGH, Packing, Panels, Precision, pays_to_turn};
pub use pool::{MaxPool, pick};
pub use price::{Follows, instructions_of_finishing, instructions_of_picking, instructions_of_turning};
pub use ranking::{Ranking, by_falling, instructions_of_ranking};
pub use reduce::{Reduce, Reduction};
pub use resample::{Axis, Resample};
pub use shuffle::Shuffle;
pub use softmax::Softmax;
pub use strassen::Strassen;
pub use strided::Strided;
pub use swap::Swap;
pub use turn::{finish, in_columns, repeat, turn};
pub use vectors::{add_times, dot};
pub use window::Window;
pub use winograd::Winograd;
