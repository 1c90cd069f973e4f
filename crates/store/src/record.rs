//! The stable records, drawn. Integers are little-endian; `short` is one length byte and that many bytes, `long` two
//! length bytes and that many.
//!
//! ```text
//! names      key: the name
//!   layout = 1        ↕ 1      next_version      ↕ 8   what the next publication is numbered; from 1
//!   policy            ↕ 1      0 all; 1 latest, then their number ↕ 4; 2 specific, then their count ↕ 1 and so many
//!                              times a version ↕ 8, ascending
//!
//! versions   key: the name, 0x00, the version as 8 bytes big-endian; bytes kept without a name have "@" and a number
//!   layout = 1        ↕ 1      bytes             ↕ 8
//!   sha256            ↕ 32     extent.start      ↕ 8   pages of 64 KiB in the blob memory
//!   extent.pages      ↕ 8      committed_at      ↕ 8   nanoseconds since 1970
//!   graph             ↕ 8      0 where none is open
//!   encoding          ↕ 1      1 openvino, 2 onnx, 3 tensorflow, 4 pytorch, 5 tensorflowlite, 6 ggml, 7 autodetect
//!   retired           ↕ 1      0 or 1
//!   uploader          ↕ short
//!   layout = 2        as layout 1, then
//!   variant           ↕ 1      what the canister makes of the file, other than 0: by its own numbers
//!
//! facts      key: as in versions
//!   the canister's bytes, which carry their own layout
//!
//! uploads    key: the upload's id as 8 bytes big-endian
//!   layout = 1        ↕ 1      bytes             ↕ 8
//!   sha256            ↕ 32     extent.start      ↕ 8
//!   extent.pages      ↕ 8      chunk_bytes       ↕ 4
//!   began_at          ↕ 8      nanoseconds since 1970, as the next
//!   active_at         ↕ 8      when it was begun, resumed, or a chunk came last
//!   encoding          ↕ 1      as in versions
//!   owner             ↕ short  name              ↕ short
//!   failed            ↕ long   why the last commit was refused; empty where none was
//!   received          ↕ to the end: one bit a chunk, least significant first, ceil(chunks / 8) bytes
//!
//! graphs     key: the handle as 8 bytes big-endian; those that were closed with their model stand in [`crate::closed`]
//!   layout = 2        ↕ 1      version           ↕ 8
//!   name              ↕ short  opener            ↕ short
//!   layout = 1        as layout 2 without the opener, who is not known
//!
//! labels     key: the name, 0x00, the label
//!   layout = 1        ↕ 1      version           ↕ 8
//!
//! provenance key: as in versions; of an open upload 0x00 and its id as 8 bytes big-endian, as no name is empty
//!   layout = 1        ↕ 1      builders          ↕ 1   0 for one file, else 2 to 64, and so many times bytes ↕ 8
//!   licence           ↕ 1      0 absent, 1 and then ↕ long; source likewise
//!   metadata          ↕ 1      and so many times: key ↕ long, value ↕ long
//!
//! properties key: as in versions, then the property's key
//!   layout = 1        ↕ 1      value             ↕ to the end
//! ```
//!
//! The settings' record stands in [`crate::settings`]. A field is never moved or reused; a new one makes a new layout,
//! read beside the old. Facts and provenance are tables of their own so that listing versions does not read them.

use candid::Principal;
use ic_nn_types::{GraphEncoding, Provenance, VersionPolicy};

use crate::extent::Extent;
use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::received::Received;

/// Pages that an extent may end at: 2^36 of them are 4 PiB, far above any stable memory, and no sum of two overflows.
const MAX_END_PAGE: u64 = 1 << 36;

/// The layout of every record but [`GraphRecord`] and [`VersionRecord`].
const LAYOUT: u8 = 1;

/// What a name remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameRecord {
    /// Number of the next publication.
    ///
    /// INVARIANT: above every version that this name ever had, so that a number is never used twice.
    pub(crate) next_version: u64,
    /// INVARIANT: a specific one names, ascending, versions that there are; none where they were all deleted.
    pub(crate) policy: VersionPolicy,
}

impl NameRecord {
    pub(crate) const TABLE: &'static str = "names";

    /// A name's that has never had a version.
    pub(crate) fn first() -> Self {
        NameRecord { next_version: 1, policy: VersionPolicy::All }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(LAYOUT);
        w.u64(self.next_version);
        match &self.policy {
            VersionPolicy::All => w.raw(&[0]),
            VersionPolicy::Latest(count) => w.raw(&[1]).u32(*count),
            VersionPolicy::Specific(versions) => {
                debug_assert!(versions.len() <= usize::from(u8::MAX));
                w.raw(&[2, versions.len() as u8]);
                versions.iter().fold(&mut w, |w, &version| w.u64(version))
            }
        };
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let next_version = r.u64()?;
        if !(1..u64::MAX).contains(&next_version) {
            return Err(r.field("next_version"));
        }
        let policy = match r.u8()? {
            0 => VersionPolicy::All,
            1 => VersionPolicy::Latest(r.u32()?),
            2 => {
                let count = r.u8()?;
                VersionPolicy::Specific((0..count).map(|_| r.u64()).collect::<Result<_, _>>()?)
            }
            _ => return Err(r.field("policy")),
        };
        let possible = match &policy {
            VersionPolicy::All => true,
            VersionPolicy::Latest(count) => *count > 0,
            VersionPolicy::Specific(versions) => versions.is_sorted_by(|a, b| a < b),
        };
        if !possible {
            return Err(r.field("policy"));
        }
        r.end()?;
        Ok(NameRecord { next_version, policy })
    }
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRecord {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) extent: Extent,
    pub(crate) committed_at: u64,
    /// INVARIANT: `Some(id)` exactly where the graphs table has `id` pointing here.
    pub(crate) graph: Option<u64>,
    pub(crate) encoding: GraphEncoding,
    /// Whether it was taken out of service.
    pub(crate) retired: bool,
    pub(crate) uploader: Principal,
    /// What the canister makes of the file; 0 is the file as it is, and what layout 1 means.
    pub(crate) variant: u8,
}

impl VersionRecord {
    pub(crate) const TABLE: &'static str = "versions";
    const LAYOUT: u8 = 2;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(if self.variant == 0 { LAYOUT } else { Self::LAYOUT });
        w.u64(self.bytes).raw(&self.sha256);
        write_extent(&mut w, self.extent);
        w.u64(self.committed_at).u64(self.graph.unwrap_or(0));
        w.raw(&[encoding_byte(self.encoding), u8::from(self.retired)]).short(self.uploader.as_slice());
        if self.variant != 0 {
            w.raw(&[self.variant]);
        }
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (layout, mut r) = RecordReader::up_to(Self::TABLE, Self::LAYOUT, bytes)?;
        let bytes = r.u64()?;
        let sha256 = r.array()?;
        let extent = read_extent(&mut r, bytes)?;
        let committed_at = r.u64()?;
        let graph = Some(r.u64()?).filter(|&id| id != 0);
        let encoding = read_encoding(&mut r)?;
        let retired = match r.u8()? {
            flag @ 0..=1 => flag == 1,
            _ => return Err(r.field("retired")),
        };
        let uploader = r.principal("uploader")?;
        let variant = if layout == Self::LAYOUT { r.u8()? } else { 0 };
        r.end()?;
        Ok(VersionRecord { bytes, sha256, extent, committed_at, graph, encoding, retired, uploader, variant })
    }
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadRecord {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) extent: Extent,
    pub(crate) chunk_bytes: u32,
    pub(crate) began_at: u64,
    /// When it was begun, resumed, or a chunk came last.
    pub(crate) active_at: u64,
    pub(crate) encoding: GraphEncoding,
    pub(crate) owner: Principal,
    pub(crate) name: String,
    /// Why the last commit was refused; empty where none was.
    pub(crate) failed: String,
    pub(crate) received: Received,
}

impl UploadRecord {
    pub(crate) const TABLE: &'static str = "uploads";

    /// Chunks that `bytes` make at `chunk_bytes` each; `None` for chunks of nothing or more than 32 bits of them.
    pub(crate) fn chunks_for(bytes: u64, chunk_bytes: u32) -> Option<u32> {
        let chunk_bytes = u64::from(chunk_bytes);
        (chunk_bytes > 0).then(|| bytes.div_ceil(chunk_bytes)).and_then(|n| u32::try_from(n).ok())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(LAYOUT);
        w.u64(self.bytes).raw(&self.sha256);
        write_extent(&mut w, self.extent);
        w.u32(self.chunk_bytes).u64(self.began_at).u64(self.active_at).raw(&[encoding_byte(self.encoding)]);
        w.short(self.owner.as_slice()).short(self.name.as_bytes()).long(self.failed.as_bytes());
        w.raw(self.received.bits()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let bytes = r.u64()?;
        let sha256 = r.array()?;
        let extent = read_extent(&mut r, bytes)?;
        let chunk_bytes = r.u32()?;
        let began_at = r.u64()?;
        let active_at = r.u64()?;
        let encoding = read_encoding(&mut r)?;
        let owner = r.principal("owner")?;
        let name = r.text("name")?;
        let failed = r.long_text("failed")?;
        let chunks = Self::chunks_for(bytes, chunk_bytes).ok_or(r.field("chunk_bytes"))?;
        let bits = r.rest();
        let received = Received::from_bits(chunks, bits).ok_or(r.field("received"))?;
        Ok(UploadRecord {
            bytes,
            sha256,
            extent,
            chunk_bytes,
            began_at,
            active_at,
            encoding,
            owner,
            name,
            failed,
            received,
        })
    }
}

/// An open graph handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphRecord {
    pub(crate) version: u64,
    pub(crate) name: String,
    /// Who had it opened; `None` in layout 1.
    pub(crate) opener: Option<Principal>,
}

impl GraphRecord {
    pub(crate) const TABLE: &'static str = "graphs";
    const LAYOUT: u8 = 2;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(if self.opener.is_some() { Self::LAYOUT } else { LAYOUT });
        w.u64(self.version).short(self.name.as_bytes());
        self.opener.iter().fold(&mut w, |w, opener| w.short(opener.as_slice())).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (layout, mut r) = RecordReader::up_to(Self::TABLE, Self::LAYOUT, bytes)?;
        let version = r.u64()?;
        let name = r.text("name")?;
        let opener = if layout == Self::LAYOUT { Some(r.principal("opener")?) } else { None };
        r.end()?;
        Ok(GraphRecord { version, name, opener })
    }
}

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LabelRecord {
    /// INVARIANT: a version that there is and that is not retired.
    pub(crate) version: u64,
}

impl LabelRecord {
    pub(crate) const TABLE: &'static str = "labels";

    pub(crate) fn encode(&self) -> Vec<u8> {
        RecordWriter::new(LAYOUT).u64(self.version).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let version = r.u64()?;
        r.end()?;
        Ok(LabelRecord { version })
    }
}

/// Where a file comes from and of what it is made; absent where there is nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProvenanceRecord {
    /// Bytes of each of the files that it is the concatenation of; empty for one file.
    pub(crate) builders: Vec<u64>,
    pub(crate) provenance: Provenance,
}

impl ProvenanceRecord {
    pub(crate) const TABLE: &'static str = "provenance";

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Provenance { licence, source, metadata } = &self.provenance;
        let mut w = RecordWriter::new(LAYOUT);
        debug_assert!(self.builders.len() <= usize::from(u8::MAX) && metadata.len() <= usize::from(u8::MAX));
        w.raw(&[self.builders.len() as u8]);
        for bytes in &self.builders {
            w.u64(*bytes);
        }
        for text in [licence, source] {
            match text {
                None => w.raw(&[0]),
                Some(text) => w.raw(&[1]).long(text.as_bytes()),
            };
        }
        w.raw(&[metadata.len() as u8]);
        for (key, value) in metadata {
            w.long(key.as_bytes()).long(value.as_bytes());
        }
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let count = r.u8()?;
        let builders = (0..count).map(|_| r.u64()).collect::<Result<_, _>>()?;
        let mut text = |field| match r.u8()? {
            0 => Ok(None),
            1 => r.long_text(field).map(Some),
            _ => Err(r.field(field)),
        };
        let (licence, source) = (text("licence")?, text("source")?);
        let count = r.u8()?;
        let metadata = (0..count)
            .map(|_| Ok((r.long_text("metadata")?, r.long_text("metadata")?)))
            .collect::<Result<_, _>>()?;
        r.end()?;
        Ok(ProvenanceRecord { builders, provenance: Provenance { licence, source, metadata } })
    }
}

/// A property of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PropertyRecord {
    pub(crate) value: String,
}

impl PropertyRecord {
    pub(crate) const TABLE: &'static str = "properties";

    pub(crate) fn encode(&self) -> Vec<u8> {
        RecordWriter::new(LAYOUT).raw(self.value.as_bytes()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let value = std::str::from_utf8(r.rest()).map_err(|_| r.field("value"))?;
        Ok(PropertyRecord { value: value.to_owned() })
    }
}

/// Every encoding, in the order of their bytes, from 1.
const ENCODINGS: [GraphEncoding; 7] = [
    GraphEncoding::OpenVino,
    GraphEncoding::Onnx,
    GraphEncoding::TensorFlow,
    GraphEncoding::PyTorch,
    GraphEncoding::TensorFlowLite,
    GraphEncoding::Ggml,
    GraphEncoding::Autodetect,
];

fn encoding_byte(encoding: GraphEncoding) -> u8 {
    match encoding {
        GraphEncoding::OpenVino => 1,
        GraphEncoding::Onnx => 2,
        GraphEncoding::TensorFlow => 3,
        GraphEncoding::PyTorch => 4,
        GraphEncoding::TensorFlowLite => 5,
        GraphEncoding::Ggml => 6,
        GraphEncoding::Autodetect => 7,
    }
}

fn read_encoding(r: &mut RecordReader<'_>) -> Result<GraphEncoding, RecordError> {
    let byte = usize::from(r.u8()?);
    byte.checked_sub(1).and_then(|at| ENCODINGS.get(at)).copied().ok_or(r.field("encoding"))
}

fn write_extent(w: &mut RecordWriter, extent: Extent) {
    w.u64(extent.start).u64(extent.pages);
}

/// Reads an extent that must hold `bytes` of a file.
fn read_extent(r: &mut RecordReader<'_>, bytes: u64) -> Result<Extent, RecordError> {
    let extent = Extent { start: r.u64()?, pages: r.u64()? };
    let within = extent.start <= MAX_END_PAGE && extent.pages <= MAX_END_PAGE;
    if !within || extent.pages == 0 || Extent::pages_for(bytes) != extent.pages {
        return Err(r.field("extent"));
    }
    Ok(extent)
}

#[cfg(test)]
mod tests;
