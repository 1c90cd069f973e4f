//! Hashes of inferences: what a receipt says and what the response cache is keyed by.
//!
//! ```text
//! tensor   = length of the name (4) name, length of the type's label (4) label, rank (4), each dimension (4),
//!            length of the bytes (8) bytes
//! tensors  = sha256("ic-nn tensors 1", count (4), each tensor)
//! receipt  = sha256("ic-nn receipt 1", model's sha256, tensors of the inputs in the graph's order,
//!            tensors of the outputs as answered, the engine's build, then where weights are quantised a space and how)
//! ```
//! Integers are little-endian. Anyone can compute these from what the caller sent and got.

use ic_nn_types::{Receipt, Tensor};
use sha2::{Digest, Sha256};

use crate::variant::{self, Content};

/// The engine's build: hash of its sources and of every dependency's version.
pub(crate) const BUILD: &str = env!("IC_NN_BUILD");

/// sha256 of tensors in an order. Costs about 76 instructions a byte.
pub(crate) fn tensors<'a>(all: impl ExactSizeIterator<Item = (&'a str, &'a Tensor)>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"ic-nn tensors 1");
    hash.update((all.len() as u32).to_le_bytes());
    for (name, tensor) in all {
        for text in [name, tensor.ty.label()] {
            hash.update((text.len() as u32).to_le_bytes());
            hash.update(text);
        }
        hash.update((tensor.dimensions.len() as u32).to_le_bytes());
        for dimension in &tensor.dimensions {
            hash.update(dimension.to_le_bytes());
        }
        hash.update((tensor.data.len() as u64).to_le_bytes());
        hash.update(&tensor.data);
    }
    hash.finalize().into()
}

/// The receipt of an inference.
pub(crate) fn receipt(model: Content, inputs: [u8; 32], outputs: [u8; 32]) -> Receipt {
    let mut receipt = Receipt {
        hash: vec![],
        model: model.sha256.to_vec(),
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        engine: variant::engine(model.variant),
    };
    receipt.hash = sealed(&receipt).to_vec();
    receipt
}

/// What the hash of `receipt` has to be by its other fields.
pub(crate) fn sealed(receipt: &Receipt) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"ic-nn receipt 1");
    for part in [&receipt.model, &receipt.inputs, &receipt.outputs] {
        hash.update(part);
    }
    hash.update(&receipt.engine);
    hash.finalize().into()
}
