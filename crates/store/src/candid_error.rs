//! The one place that gives the store's errors their wasi-nn codes.
//!
//! `invalid_argument` is what the caller can correct, `not_found` what is not there, `too_large` a limit that the text
//! names, `security` a permission, `runtime_error` what no caller could have known. The text is the error's own.

use ic_nn_types::{Error, ErrorCode};

use crate::callers::QuotaError;
use crate::contexts::{ContextError, OpenContextError};
use crate::deletion::DeleteError;
use crate::error::{
    AbortError, AppendError, BeginError, ChunkError, CommitError, GraphError, ListError, LookupError,
    SettingsError, UploadError,
};
use crate::extent::ReadError;
use crate::images::SetImageError;
use crate::jobs::{FinishError, JobError, SubmitError};
use crate::kept::KeepError;
use crate::labels::SetLabelError;
use crate::layout::RecordError;
use crate::properties::PropertyError;
use crate::roles::RoleError;
use crate::serving::{RetireError, VersionPolicyError};

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

fn chunk_code(error: &ChunkError) -> ErrorCode {
    match error {
        ChunkError::Upload(upload) => upload_code(upload),
        ChunkError::Index { .. } | ChunkError::Length { .. } | ChunkError::Committing { .. } => {
            InvalidArgument
        }
    }
}

fn lookup_code(error: &LookupError) -> ErrorCode {
    match error {
        LookupError::Reference(_) | LookupError::NotKept { .. } => InvalidArgument,
        LookupError::NoModel { .. }
        | LookupError::AllDeleted { .. }
        | LookupError::NoVersion { .. }
        | LookupError::NoLabel { .. }
        | LookupError::Retired { .. }
        | LookupError::NotServed { .. }
        | LookupError::NothingServed { .. }
        | LookupError::Discarded { .. } => NotFound,
        LookupError::Record(_) => RuntimeError,
    }
}

codes! { SubmitError:
    TooMany { .. } | TooManyOfOwner { .. } | Bytes { .. } => TooLarge,
    Retain { .. } => InvalidArgument,
    Record(_) => RuntimeError,
}

codes! { JobError:
    Unknown { .. } | Expired { .. } => NotFound,
    Phase { .. } | Output { .. } => InvalidArgument,
    Record(_) => RuntimeError,
}

impl From<FinishError> for Error {
    fn from(error: FinishError) -> Error {
        match error {
            FinishError::Job(e) => e.into(),
            FinishError::Room(e) => e.into(),
        }
    }
}

codes! { BeginError:
    Name(_) | Sha256Length { .. } | Empty | ChunkBytes { .. } | Builders(_) | Provenance(_) => InvalidArgument,
    Room(_) | TooManyOpen { .. } => TooLarge,
    Record(_) => RuntimeError,
}

impl From<SetImageError> for Error {
    fn from(error: SetImageError) -> Error {
        match error {
            SetImageError::Lookup(error) => error.into(),
            SetImageError::Keep(error) => error.into(),
        }
    }
}

codes! { KeepError:
    Empty | Builders(_) => InvalidArgument,
    Room(_) => TooLarge,
    Record(_) => RuntimeError,
}

impl From<ChunkError> for Error {
    fn from(error: ChunkError) -> Error {
        Error::new(chunk_code(&error), error.to_string())
    }
}

codes! { AppendError:
    NoUpload { .. } => NotFound,
    Complete { .. } => InvalidArgument,
    Chunk(chunk) => chunk_code(chunk),
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

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Error {
        Error::new(lookup_code(&error), error.to_string())
    }
}

codes! { SetLabelError:
    Label(_) => InvalidArgument,
    TooMany { .. } => TooLarge,
    Lookup(lookup) => lookup_code(lookup),
}

codes! { VersionPolicyError:
    Latest { .. } | Specific { .. } => InvalidArgument,
    Lookup(lookup) => lookup_code(lookup),
}

codes! { RetireError:
    Labelled { .. } => InvalidArgument,
    Lookup(lookup) => lookup_code(lookup),
}

codes! { DeleteError:
    Confirmation { .. } => InvalidArgument,
    Lookup(lookup) => lookup_code(lookup),
}

codes! { PropertyError:
    Key { .. } | Value { .. } => InvalidArgument,
    TooMany { .. } => TooLarge,
    Lookup(lookup) => lookup_code(lookup),
}

codes! { ListError:
    After(_) | Upload => InvalidArgument,
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
        GraphError::Unknown { .. } | GraphError::Unloaded { .. } => InvalidArgument,
        GraphError::Deleted { .. } => NotFound,
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
    Idle { .. } => InvalidArgument,
}

codes! { ContextError:
    Deleted { .. } | Lapsed { .. } => NotFound,
    Unknown { .. } | Finalized { .. } => InvalidArgument,
    Record(_) => RuntimeError,
}
