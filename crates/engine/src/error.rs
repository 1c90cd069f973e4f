//! What can be wrong with a model, an input and a run, and the one place where that becomes wasi-nn's `error`.

use ic_nn_types::{Error, ErrorCode, TensorType};
use thiserror::Error;
use tract_onnx::prelude::TractError;

use crate::ops::Refusal;

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// The bytes are no ONNX file.
    #[error("not an ONNX model ({reason}); export it to ONNX, and check that the upload is the whole file")]
    NotOnnx {
        /// What the decoder met.
        reason: String,
    },
    /// An ONNX file that breaks ONNX's own rules.
    #[error("malformed ONNX model: {place}: {reason}")]
    Malformed {
        /// Node, tensor or field.
        place: String,
        /// What was expected and what came.
        reason: String,
    },
    /// A file of another encoding that cannot be read.
    #[error(
        "not a {what} model ({reason}); check that the upload is the whole file, or export the model to ONNX"
    )]
    Unreadable {
        /// The encoding.
        what: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// Operators that are not offered, all of them.
    #[error("unsupported operators: {}; replace them before exporting", .0.join(", "))]
    UnsupportedOperators(Vec<String>),
    /// Something else that ONNX allows and this engine does not.
    #[error("unsupported: {place}: {reason}")]
    Unsupported {
        /// Node, tensor or field.
        place: String,
        /// What is not offered, and what to do.
        reason: String,
    },
    /// It would not fit.
    #[error("{what} needs {needed} bytes, {available} bytes are available")]
    TooLarge {
        /// The tensor, the file or the plan.
        what: String,
        /// Bytes asked for.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// tract refused it.
    #[error("the engine cannot prepare this model: {0}")]
    Engine(String),
}

/// Why a set of inputs is refused. Nothing has run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the message of each variant names its fields")]
pub enum InputError {
    #[error("no input `{name}`; this model takes {known}")]
    Unknown { name: String, known: String },
    #[error("input `{name}` is given twice; give each input once")]
    Duplicate { name: String },
    #[error("input `{name}` is missing; this model takes {known}")]
    Missing { name: String, known: String },
    #[error("input `{name}`: type {expected} is expected, {got} came")]
    Type { name: String, expected: TensorType, got: TensorType },
    #[error("input `{name}`: rank {expected} is expected ({shape}), rank {got} came ({came})")]
    Rank { name: String, expected: usize, shape: String, got: usize, came: String },
    #[error("input `{name}`: dimension {axis} must be {expected} ({shape}), {got} came ({came})")]
    Dimension { name: String, axis: usize, expected: u32, shape: String, got: u32, came: String },
    #[error("input `{name}`: dimension {axis} is `{symbol}`, which is {expected} in `{first}`; {got} came")]
    Symbol { name: String, axis: usize, symbol: String, expected: u32, first: String, got: u32 },
    #[error("input `{name}`: {shape} of {ty} is {expected} bytes, {got} came")]
    Bytes { name: String, shape: String, ty: TensorType, expected: u64, got: u64 },
    #[error("input `{name}`: its values are part of the plan, {most} are allowed, {got} came")]
    Planned { name: String, most: u64, got: u64 },
    #[error(
        "the values of input `{name}` are part of the plan, which shapes do not say; call `infer` with them once"
    )]
    Unplanned { name: String },
    #[error("input `{name}`: a BOOL is a byte 0 or 1, byte {at} is {got}")]
    Bool { name: String, at: usize, got: u8 },
}

/// Why an inference gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InferError {
    /// The caller's tensors do not fit the graph.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The graph cannot be planned for these shapes.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A value in a tensor points outside of what it indexes, or asks for what the operator does not do.
    #[error("node `{node}` ({operator}): {reason}")]
    Value {
        /// The node that would read out of bounds.
        node: String,
        /// Its operator in the engine.
        operator: String,
        /// What was expected and what came.
        reason: String,
    },
    /// tract failed while running.
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl From<ModelError> for Error {
    fn from(e: ModelError) -> Error {
        let code = match &e {
            ModelError::NotOnnx { .. } | ModelError::Malformed { .. } | ModelError::Unreadable { .. } => {
                ErrorCode::InvalidEncoding
            }
            ModelError::UnsupportedOperators(_) | ModelError::Unsupported { .. } => {
                ErrorCode::UnsupportedOperation
            }
            ModelError::TooLarge { .. } => ErrorCode::TooLarge,
            ModelError::Engine(_) => ErrorCode::RuntimeError,
        };
        Error::new(code, e.to_string())
    }
}

impl From<InputError> for Error {
    fn from(e: InputError) -> Error {
        Error::invalid_argument(e.to_string())
    }
}

impl From<InferError> for Error {
    fn from(e: InferError) -> Error {
        match e {
            InferError::Input(e) => e.into(),
            InferError::Model(e) => e.into(),
            InferError::Value { .. } => Error::invalid_argument(e.to_string()),
            InferError::Engine(_) => Error::new(ErrorCode::RuntimeError, e.to_string()),
        }
    }
}

/// The refusal behind an error of tract's, or that error.
pub(crate) fn refused_or(e: &TractError) -> ModelError {
    match e.chain().find_map(|cause| cause.downcast_ref::<Refusal>()) {
        Some(Refusal { place, reason }) => {
            ModelError::Unsupported { place: place.clone(), reason: reason.clone() }
        }
        None => ModelError::Engine(one_line(e)),
    }
}

/// tract's error chain in one line, without its debug dump of nodes.
pub(crate) fn one_line(e: &impl std::fmt::Debug) -> String {
    let text = format!("{e:?}");
    let head = text.split("\n\nStack backtrace").next().unwrap_or_default();
    let mut line = head.split_whitespace().collect::<Vec<_>>().join(" ");
    const LONGEST: usize = 600;
    if line.len() > LONGEST {
        let mut end = LONGEST;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}
