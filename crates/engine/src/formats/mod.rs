//! Models of other encodings than ONNX: held to what tract does not hold them to, read by tract's reader, described.
//!
//! A reader a file, each behind the feature of its name. What is checked is what could ask for more memory than the file has
//! bytes, lead out of it, or draw random numbers; what tract panics on beside that is contained by the canister.

#[cfg(feature = "nnef")]
mod nnef;
#[cfg(feature = "tensorflow")]
mod tensorflow;
#[cfg(feature = "tensorflowlite")]
mod tflite;

#[cfg(any(feature = "nnef", feature = "tensorflow", feature = "tensorflowlite"))]
mod described;

use crate::encoding::Format;
use crate::graph::Decoded;
use crate::{Limits, ModelError};

/// Reads a file of `format`.
pub(crate) fn read(format: Format, bytes: Vec<u8>, limits: &Limits) -> Result<Decoded, ModelError> {
    crate::check::admit("reading the file", bytes.len() as u64, limits)?;
    match format {
        #[cfg(feature = "nnef")]
        Format::Nnef => nnef::read(bytes, limits),
        #[cfg(feature = "tensorflow")]
        Format::TensorFlow => tensorflow::read(&bytes, limits),
        #[cfg(feature = "tensorflowlite")]
        Format::TensorFlowLite => tflite::read(&bytes, limits),
        _ => Err(ModelError::Unreadable { what: format.name(), reason: "its reader is not built in".into() }),
    }
}
