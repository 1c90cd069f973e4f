//! wasi-nn's `errors` interface: nine codes and a text that says what was expected and what came.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// wasi-nn's `error-code`, label for label.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "Candid labels are wasi-nn's")]
pub enum ErrorCode {
    /// The caller passed something that the caller can correct: a wrong name, type, shape, size or range.
    #[serde(rename = "invalid_argument")]
    InvalidArgument,
    /// The bytes are not a model of the encoding that was named, or the encoding is not served here.
    #[serde(rename = "invalid_encoding")]
    InvalidEncoding,
    /// The work did not finish in the time it was given.
    #[serde(rename = "timeout")]
    Timeout,
    /// The engine failed at something the caller could not have known.
    #[serde(rename = "runtime_error")]
    RuntimeError,
    /// The model needs an operator, an element type or a target that is not offered.
    #[serde(rename = "unsupported_operation")]
    UnsupportedOperation,
    /// A limit of the Internet Computer or of this canister's configuration is hit; the text names it.
    #[serde(rename = "too_large")]
    TooLarge,
    /// No model, version, graph or upload of that name or id.
    #[serde(rename = "not_found")]
    NotFound,
    /// The caller lacks the permission.
    #[serde(rename = "security")]
    Security,
    /// None of the above.
    #[serde(rename = "unknown")]
    Unknown,
}

impl ErrorCode {
    /// The label as it stands in Candid.
    pub fn label(self) -> &'static str {
        match self {
            ErrorCode::InvalidArgument => "invalid_argument",
            ErrorCode::InvalidEncoding => "invalid_encoding",
            ErrorCode::Timeout => "timeout",
            ErrorCode::RuntimeError => "runtime_error",
            ErrorCode::UnsupportedOperation => "unsupported_operation",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::NotFound => "not_found",
            ErrorCode::Security => "security",
            ErrorCode::Unknown => "unknown",
        }
    }
}

/// wasi-nn's `error` resource as a record: a code to act on and a text to read.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure this is.
    pub code: ErrorCode,
    /// What was expected, what came, and what to do; one line, at most [`Error::MAX_DATA_BYTES`].
    pub data: String,
}

impl Error {
    /// Longest text an error carries, so that a hostile name or a long panic message cannot fill a reply.
    pub const MAX_DATA_BYTES: usize = 2_000;

    /// An error of `code`; `data` is cut at [`Error::MAX_DATA_BYTES`] on a character boundary.
    pub fn new(code: ErrorCode, data: impl Into<String>) -> Self {
        let mut data = data.into();
        if data.len() > Self::MAX_DATA_BYTES {
            let mut end = Self::MAX_DATA_BYTES - "…".len();
            while !data.is_char_boundary(end) {
                end -= 1;
            }
            data.truncate(end);
            data.push('…');
        }
        Error { code, data }
    }

    /// Shorthand for [`ErrorCode::InvalidArgument`].
    pub fn invalid_argument(data: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, data)
    }

    /// Shorthand for [`ErrorCode::NotFound`].
    pub fn not_found(data: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, data)
    }

    /// Shorthand for [`ErrorCode::TooLarge`].
    pub fn too_large(data: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooLarge, data)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.label(), self.data)
    }
}

impl std::error::Error for Error {}
