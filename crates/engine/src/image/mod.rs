//! Compiled images: a graph as loading made it, in bytes, so that the next start reads it instead of making it again.
//!
//! ```text
//! magic      ↕ 8   "ic-nn im"
//! layout     ↕ 4   3, little-endian as all numbers here
//! build      ↕ 8   what made it: a hash of this engine's source, its dependencies and its target (build.rs)
//! head       ↕ 8   bytes of the head
//! arrays     ↕ 8   bytes of the arrays
//! head             precision, description, outputs, then the graph: its nodes in the order of their ids, inputs and outputs
//! arrays           weights as they are packed and constants, one behind the other, in the order in which the head names them
//! ```
//!
//! The graph is the lowered one, its weights packed; what tract then does to it costs little beside what it did before. An image is
//! only read by the engine that made it: another build's is [`ImageError::Foreign`], and the graph is loaded from its file
//! again. What is written where is in [`ic_nn_kernels::image`], which also says how far an image is trusted: no bytes
//! make reading it unsound, but whether weights are those that were written is for who keeps it.
//!
//! The plan in it is that for the smallest shapes; for others a graph with dynamic dimensions takes its model, which is brought from
//! the file then ([`Graph::bring`]). A graph whose plans are made for values of its inputs has no image, nor has one with an
//! operator that is not among those of its module `ops`.

mod graph;
mod inner;
mod ops;

use ic_nn_kernels::Precision;
pub use ic_nn_kernels::image::{Array, Arrays, Broken};
use ic_nn_kernels::image::{Reader, Writer};
use ic_nn_types::TensorDescription;
use thiserror::Error;
use tract_onnx::prelude::*;

use crate::plan::{Output, Plan};
use crate::{Description, Graph, Limits, ModelError};

const MAGIC: [u8; 8] = *b"ic-nn im";
const LAYOUT: u32 = 3;

/// What the engine was built from.
const BUILD: u64 = {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/build"));
    u64::from_le_bytes(*bytes)
};

/// Bytes before the head.
pub const HEADER_BYTES: usize = 36;

/// Why an image gives no graph.
#[derive(Error, Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Another build of the engine made it, or it is no image.
    #[error("the image is of another engine; the graph is to be loaded from its file")]
    Foreign,
    /// It cannot be read.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The graph does not run.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A graph that can be written down. Shares its weights with the [`Graph`] it came with.
pub struct Drawing {
    pub(crate) model: TypedModel,
    pub(crate) description: Description,
    pub(crate) outputs: Vec<(String, bool)>,
    pub(crate) shapes: Vec<Vec<u32>>,
    pub(crate) precision: Precision,
    pub(crate) macs: u64,
}

/// An image: pieces that lie one behind the other. The first is its header and head.
pub struct Image<'a> {
    head: Vec<u8>,
    arrays: Vec<Array<'a>>,
}

impl Image<'_> {
    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Array<'_>> {
        std::iter::once(Array::Here(&self.head)).chain(self.arrays.iter().copied())
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> u64 {
        self.pieces().map(|piece| piece.bytes()).sum()
    }
}

impl Drawing {
    /// Writes it down; `None` where an operator of the graph has no image.
    ///
    /// Costs a few hundred instructions a node; weights are not copied.
    pub fn image(&self) -> Option<Image<'_>> {
        let mut to = Writer::default();
        graph::write(self, &mut to)?;
        let (body, arrays) = to.finish();
        let mut head = Vec::with_capacity(HEADER_BYTES + body.len());
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&LAYOUT.to_le_bytes());
        head.extend_from_slice(&BUILD.to_le_bytes());
        head.extend_from_slice(&(body.len() as u64).to_le_bytes());
        let bytes: u64 = arrays.iter().map(Array::bytes).sum();
        head.extend_from_slice(&bytes.to_le_bytes());
        head.extend_from_slice(&body);
        Some(Image { head, arrays })
    }
}

/// The bytes of head and arrays that an image has by its header, where this engine made it.
///
/// # Errors
/// [`ImageError::Foreign`].
pub fn parts(header: &[u8; HEADER_BYTES]) -> Result<(u64, u64), ImageError> {
    let (Some((magic, rest)), expected) =
        (header.split_first_chunk(), [MAGIC.as_slice(), &LAYOUT.to_le_bytes()].concat())
    else {
        return Err(ImageError::Foreign);
    };
    let magic: &[u8; 12] = magic;
    let number =
        |at: usize| rest.get(8 * at..).and_then(|rest| rest.first_chunk()).map(|b| u64::from_le_bytes(*b));
    match (number(0), number(1), number(2)) {
        (Some(BUILD), Some(head), Some(arrays)) if magic.as_slice() == expected => Ok((head, arrays)),
        _ => Err(ImageError::Foreign),
    }
}

/// What an image says of its graph.
pub(crate) struct Read {
    pub(crate) description: Description,
    pub(crate) outputs: Vec<Output>,
    pub(crate) shapes: Vec<Vec<u32>>,
    pub(crate) precision: Precision,
    pub(crate) macs: u64,
    pub(crate) model: TypedModel,
}

impl Graph {
    /// The graph of an image, by its head and its arrays ([`parts`] says how long they are). Equal in every answer to the graph that was
    /// written.
    ///
    /// Costs one instruction a byte of its arrays, and some thousands a node. Packed numbers that `arrays` leaves where they are
    /// ([`Arrays::leave`]) are read when a run needs them, and what a run takes is estimated so.
    ///
    /// # Errors
    /// Where the image cannot be read, or the limits are too low.
    pub fn from_image(head: &[u8], arrays: &mut dyn Arrays, limits: &Limits) -> Result<Graph, ImageError> {
        crate::check::admit("reading the image", arrays.heap(), limits)?;
        let mut from = Reader::new(head, arrays);
        let read = graph::read(&mut from)?;
        from.end()?;
        let Read { description, outputs, shapes, precision, macs, model } = read;
        let plan = Plan::of_lowered(model, shapes, vec![], macs, limits)?;
        let planned: Vec<TensorDescription> = plan.outputs(&outputs)?;
        let types = |all: &[TensorDescription]| all.iter().map(|o| o.ty).collect::<Vec<_>>();
        let fixed = description.is_static();
        if types(&planned) != types(&description.outputs) || (fixed && planned != description.outputs) {
            return Err(Broken("its outputs are not those of its graph").into());
        }
        Ok(Graph::of_plan(description, outputs, precision, plan))
    }
}

#[cfg(test)]
mod tests;
