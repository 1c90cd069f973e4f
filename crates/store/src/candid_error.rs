//! The one place that gives the store's errors their wasi-nn codes.
//!
//! `invalid_argument` is what the caller can correct, `not_found` what is not there, `too_large` a limit that the text
//! names, `security` a permission, `runtime_error` what no caller could have known. The text is the error's own.

use ic_nn_types::{Error, ErrorCode};

use crate::callers::QuotaError;
use crate::contexts::{ContextError, OpenContextError};
use crate::error::{
    AbortError, BeginError, ChunkError, CommitError, GraphError, ListError, LookupError, SettingsError,
    UploadError,
};
use crate::extent::ReadError;
use crate::layout::RecordError;
use crate::roles::RoleError;

/// Implements `From<$error> for Error`, the code by variant.
macro_rules! codes {
    ($error:ident: $($variant:pat => $code:expr,)+) => {
        impl From<$error> for Error {
            fn from(error: $error) -> Error {
                use $error::*;
                let code = match &error { $($variant => $code,)+ };
                Error::new(code, error.to_string())
            }
        }
    };
}

use ErrorCode::{InvalidArgument, NotFound, RuntimeError, Security, TooLarge};

fn upload_code(error: &UploadError) -> ErrorCode {
    match error {
        UploadError::Unknown { .. } | UploadError::Closed { .. } => NotFound,
        UploadError::NotOwner { .. } => Security,
        UploadError::Record(_) => RuntimeError,
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Error {
        Error::new(upload_code(&error), error.to_string())
    }
}

codes! { BeginError:
    Name(_) | Sha256Length { .. } | Empty | ChunkBytes { .. } => InvalidArgument,
    ModelTooLarge { .. } | TotalTooLarge { .. } | TooManyOpen { .. } | GrowRefused { .. } => TooLarge,
    Record(_) => RuntimeError,
}

codes! { ChunkError:
    Upload(upload) => upload_code(upload),
    Index { .. } | Length { .. } | Committing { .. } => InvalidArgument,
}

codes! { AbortError:
    Upload(upload) => upload_code(upload),
    Committing { .. } => InvalidArgument,
}

codes! { CommitError:
    Upload(upload) => upload_code(upload),
    Missing { .. } | Sha256 { .. } | Committing { .. } => InvalidArgument,
    Ended { .. } | Read(_) | Record(_) => RuntimeError,
}

codes! { LookupError:
    Reference(_) => InvalidArgument,
    NoModel { .. } | AllDeleted { .. } | NoVersion { .. } => NotFound,
    Record(_) => RuntimeError,
}

codes! { ListError:
    After(_) => InvalidArgument,
    Record(_) => RuntimeError,
}

codes! { SettingsError:
    OutOfRange { .. } | Price { .. } => InvalidArgument,
    Role(role) => role_code(role),
}

codes! { ReadError:
    OutOfRange { .. } => InvalidArgument,
    HeapExhausted { .. } => TooLarge,
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Error {
        Error::new(RuntimeError, error.to_string())
    }
}

fn role_code(error: &RoleError) -> ErrorCode {
    match error {
        RoleError::Anonymous { .. } => InvalidArgument,
        RoleError::Full { .. } => TooLarge,
        RoleError::NoRole { .. } | RoleError::NotAdmin { .. } => NotFound,
        RoleError::Record(_) => RuntimeError,
    }
}

impl From<RoleError> for Error {
    fn from(error: RoleError) -> Error {
        Error::new(role_code(&error), error.to_string())
    }
}

codes! { QuotaError:
    Full { .. } => TooLarge,
    Record(_) => RuntimeError,
}

fn graph_code(error: &GraphError) -> ErrorCode {
    match error {
        GraphError::Unknown { .. } | GraphError::Unloaded { .. } => NotFound,
        GraphError::Record(_) => RuntimeError,
    }
}

impl From<GraphError> for Error {
    fn from(error: GraphError) -> Error {
        Error::new(graph_code(&error), error.to_string())
    }
}

codes! { OpenContextError:
    Graph(graph) => graph_code(graph),
    TooMany { .. } | TooManyOfOwner { .. } => TooLarge,
}

codes! { ContextError:
    Unknown { .. } | Deleted { .. } => NotFound,
    Finalized { .. } => InvalidArgument,
    Record(_) => RuntimeError,
}
