//! What can go wrong, one narrow enum per operation. The texts say what was expected and what came, and what to do;
//! they are read by the callers of the service. An error of one operation alone stands with it; here are those that several
//! modules make. The codes stand in [`crate::candid_error`].

use candid::Principal;
use ic_nn_types::{ChunkRange, MAX_CHUNK_BYTES, VersionPolicy};
use thiserror::Error;

use crate::layout::RecordError;
use crate::name::{NameError, ReferenceError};
use crate::provenance::{BuildersError, ProvenanceError};
use crate::roles::RoleError;
use crate::room::RoomError;
use crate::serving::PolicyText;

/// Why an upload cannot be used by this caller.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum UploadError {
    /// No upload has had this id.
    #[error("no upload {upload}; begin one with upload_begin")]
    Unknown {
        /// The id.
        upload: u64,
    },
    /// The upload was committed or aborted.
    #[error("upload {upload} is closed: it was committed or aborted")]
    Closed {
        /// The id.
        upload: u64,
    },
    /// The upload is someone else's.
    #[error("upload {upload} was begun by another principal")]
    NotOwner {
        /// The id.
        upload: u64,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why an upload cannot begin.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum BeginError {
    /// The name breaks the pattern.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The announced sha256 is not 32 bytes long.
    #[error("sha256 has {came} bytes; 32 are expected")]
    Sha256Length {
        /// Bytes that came.
        came: usize,
    },
    /// A file of no bytes.
    #[error("bytes is 0; a model file has at least one")]
    Empty,
    /// Chunks of a size that is not allowed.
    #[error("chunk_bytes is {came}; 65536 to {MAX_CHUNK_BYTES} are allowed")]
    ChunkBytes {
        /// Size asked for.
        came: u32,
    },
    /// The sizes of its files are wrong.
    #[error(transparent)]
    Builders(#[from] BuildersError),
    /// Its provenance is over a limit.
    #[error(transparent)]
    Provenance(#[from] ProvenanceError),
    /// There is no room for the file.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// Too many uploads are open.
    #[error(
        "{limit} uploads are open, as many as max_open_uploads allows; the oldest is {oldest} of {owner}"
    )]
    TooManyOpen {
        /// `max_open_uploads`.
        limit: u32,
        /// Id of the oldest open upload.
        oldest: u64,
        /// Who began it.
        owner: Principal,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why a chunk is refused. Nothing was written.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum ChunkError {
    /// The upload cannot be used.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// No such chunk.
    #[error("chunk {index} is out of range; upload {upload} has chunks 0 to {last}")]
    Index {
        /// The upload.
        upload: u64,
        /// Index that came.
        index: u32,
        /// The last index.
        last: u32,
    },
    /// A chunk of the wrong length.
    #[error("chunk {index} of upload {upload} has {came} bytes; {expected} are expected")]
    Length {
        /// The upload.
        upload: u64,
        /// The chunk.
        index: u32,
        /// Bytes that came.
        came: usize,
        /// Bytes expected.
        expected: u64,
    },
    /// The upload is being committed.
    #[error("upload {upload} is being committed; its chunks cannot change now")]
    Committing {
        /// The upload.
        upload: u64,
    },
}

/// Why a chunk cannot be put by its caller alone. Nothing was written.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum AppendError {
    /// The caller has no upload open.
    #[error("{caller} has no upload open; begin one with upload_begin")]
    NoUpload {
        /// The caller.
        caller: Principal,
    },
    /// Every chunk has arrived.
    #[error("all {chunks} chunks of upload {upload} have arrived; commit it with upload_commit")]
    Complete {
        /// The upload.
        upload: u64,
        /// Chunks in all.
        chunks: u32,
    },
    /// The chunk is refused.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Why an upload is not aborted.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum AbortError {
    /// The upload cannot be used.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The upload is being committed.
    #[error("upload {upload} is being committed; abort it if that fails")]
    Committing {
        /// The upload.
        upload: u64,
    },
}

/// Why an upload does not become a version. The upload stays open as it is.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum CommitError {
    /// The upload cannot be used.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// Chunks are missing.
    #[error("upload {upload} misses {count} of {chunks} chunks, the first are {}", Ranges(.first))]
    Missing {
        /// The upload.
        upload: u64,
        /// Chunks missing.
        count: u32,
        /// Chunks in all.
        chunks: u32,
        /// The first ranges missing.
        first: Vec<ChunkRange>,
    },
    /// The file is not the one announced.
    #[error("upload {upload} has sha256 {}; {} was announced: put the right chunks or abort", Hex(.computed), Hex(.announced))]
    Sha256 {
        /// The upload.
        upload: u64,
        /// sha256 of what was uploaded.
        computed: [u8; 32],
        /// sha256 that was announced.
        announced: [u8; 32],
    },
    /// Another commit of the upload is under way.
    #[error("upload {upload} is being committed already")]
    Committing {
        /// The upload.
        upload: u64,
    },
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] crate::extent::ReadError),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// This commit ended before it could be published.
    #[error("the commit of upload {upload} was ended before it was published; commit again")]
    Ended {
        /// The upload.
        upload: u64,
    },
}

/// Why a model or a version is not found.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// The reference is not one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Nothing was ever published under the name.
    #[error("no model `{name}`; upload it with upload_begin")]
    NoModel {
        /// The name.
        name: String,
    },
    /// Every version of the name was deleted.
    #[error("model `{name}` has no version left; all up to {last} were deleted")]
    AllDeleted {
        /// The name.
        name: String,
        /// The last version that was published.
        last: u64,
    },
    /// The name has other versions.
    #[error("model `{name}` has no version {version}; newest is {newest}")]
    NoVersion {
        /// The name.
        name: String,
        /// The version asked for.
        version: u64,
        /// The newest version there is.
        newest: u64,
    },
    /// No version has the label.
    #[error("model `{name}` has no label `{label}`; it has {}", Listed(.labels))]
    NoLabel {
        /// The name.
        name: String,
        /// The label.
        label: String,
        /// The labels that it has.
        labels: Vec<String>,
    },
    /// The version was taken out of service.
    #[error(
        "version {version} of model `{name}` is retired; use another, or take it back into service with restore"
    )]
    Retired {
        /// The name.
        name: String,
        /// The version.
        version: u64,
    },
    /// The name's version policy leaves the version out.
    #[error(
        "version {version} of model `{name}` is not served: its version policy serves {}; use one of those, or set \
         another with set_version_policy", PolicyText(.policy)
    )]
    NotServed {
        /// The name.
        name: String,
        /// The version.
        version: u64,
        /// The policy.
        policy: VersionPolicy,
    },
    /// The name has versions, and none of them is served.
    #[error(
        "model `{name}` serves no version: its versions, the newest {newest}, are retired or left out by its version \
         policy, which serves {}; use restore or set_version_policy", PolicyText(.policy)
    )]
    NothingServed {
        /// The name.
        name: String,
        /// The newest version there is.
        newest: u64,
        /// The policy.
        policy: VersionPolicy,
    },
    /// The bytes that had this name of the store's own are gone.
    #[error("the bytes that were kept as `{name}` are gone since their graph was unloaded; load them again")]
    Discarded {
        /// The name.
        name: String,
    },
    /// The name is not one of the store's own.
    #[error("`{name}` is a model's name and not one of bytes that were loaded; delete it with delete")]
    NotKept {
        /// The name.
        name: String,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why a page of the registry cannot be told.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    /// `after` is not `"name:version"`.
    #[error("after: {0}")]
    After(ReferenceError),
    /// `after` begins as an upload's does and goes on otherwise.
    #[error("after: the text behind `#` is no upload's id; pass what the last page gave as next")]
    Upload,
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why a graph handle leads nowhere.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum GraphError {
    /// No graph has had this handle.
    #[error("no graph {graph}; load one with load_by_name")]
    Unknown {
        /// The handle.
        graph: u64,
    },
    /// The graph was unloaded, or so long ago closed with its model that this is forgotten.
    #[error("graph {graph} was unloaded; load its model again, which gives a new handle")]
    Unloaded {
        /// The handle.
        graph: u64,
    },
    /// Its version was deleted.
    #[error("graph {graph} was closed when its model {name}:{version} was deleted")]
    Deleted {
        /// The handle.
        graph: u64,
        /// Model name.
        name: String,
        /// Version.
        version: u64,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why settings are refused. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// A limit is out of its range.
    #[error("{setting} is {came}; {least} to {most} are allowed")]
    OutOfRange {
        /// The setting's field in `InitArgs`.
        setting: &'static str,
        /// Value that came.
        came: u64,
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// A price that is none.
    #[error("cycles_per_call is a number of {bits} bits; it has 1 to 128, null where nobody can pay")]
    Price {
        /// Bits of the number that came; 0 has none.
        bits: u64,
    },
    /// The admins cannot be those.
    #[error(transparent)]
    Role(#[from] RoleError),
}

/// Bytes in hexadecimal.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Names as `` `a`, `b` ``.
pub(crate) struct Listed<'a>(pub(crate) &'a [String]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, name) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}`{name}`")?;
        }
        Ok(())
    }
}

/// Chunk ranges as `3, 7-9`.
struct Ranges<'a>(&'a [ChunkRange]);

impl std::fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            match range.first == range.last {
                true => write!(f, "{separator}{}", range.first)?,
                false => write!(f, "{separator}{}-{}", range.first, range.last)?,
            }
        }
        Ok(())
    }
}
