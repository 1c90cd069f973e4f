//! Graphs for ic-nn: check an ONNX file, decode it, optimise it, describe it and run it on tract.
//!
//! A file's way in: [`check`] reads the bytes and refuses what tract would trip over, naming the place;
//! [`Graph::load`] decodes and plans; [`Graph::infer`] checks every tensor against the description and runs.
//! Files of other encodings come in by [`Graph::load_as`], where the features `nnef`, `tensorflow` and `tensorflowlite` are on.
//! This is the only crate that names tract. It knows nothing of the Internet Computer: no clock, no
//! instruction counter, no stable memory. Outside input never panics here; what tract itself panics on is
//! the caller's to contain (the canister probes an upload in a call of its own).

mod blockwise;
mod body;
mod bound;
mod check;
mod core;
mod cut;
mod description;
mod difference;
mod element;
pub mod encoding;
mod error;
mod estimating;
mod exact;
#[cfg(test)]
mod fixture;
mod formats;
mod frame;
mod graph;
mod guard;
mod held;
pub mod image;
mod late;
mod limits;
mod lower;
#[cfg(test)]
mod one_node;
mod operators;
mod ops;
mod pairs;
mod parted;
mod parts;
mod plan;
mod price;
mod run;
pub mod shard;
mod source;
pub mod stream;
mod streamed;
mod tensors;

pub use check::{Checked, check, check_files};
pub use description::{Description, Dimension, InputDescription};
pub use difference::{Difference, difference};
pub use element::tensor_types;
pub use error::{InferError, InputError, ModelError};
pub use graph::{Arranged, Graph, LoadCost, Planned, Trial};
pub use ic_nn_kernels::Precision;
pub use limits::Limits;
pub use operators::{MAX_OPSET, MIN_OPSET, supported_operators};
pub use plan::NodeCost;
pub use price::Estimate;
pub use run::{Progress, Run};
pub use streamed::File;
pub use tensors::{arrange_described, check_part};

/// The engine behind this crate and its version.
pub const ENGINE: &str = "tract 0.23.9";
