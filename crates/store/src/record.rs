//! The stable records, drawn. Integers are little-endian; `short` is one length byte and that many bytes.
//!
//! ```text
//! names      key: the name
//!   layout = 1        ↕ 1      next_version      ↕ 8   what the next publication is numbered; from 1
//!
//! versions   key: the name, 0x00, the version as 8 bytes big-endian
//!   layout = 1        ↕ 1      bytes             ↕ 8
//!   sha256            ↕ 32     extent.start      ↕ 8   pages of 64 KiB in the blob memory
//!   extent.pages      ↕ 8      committed_at      ↕ 8   nanoseconds since 1970
//!   graph             ↕ 8      0 where none is open
//!   uploader          ↕ short
//!
//! facts      key: as in versions
//!   the canister's bytes, which carry their own layout
//!
//! uploads    key: the upload's id as 8 bytes big-endian
//!   layout = 1        ↕ 1      bytes             ↕ 8
//!   sha256            ↕ 32     extent.start      ↕ 8
//!   extent.pages      ↕ 8      chunk_bytes       ↕ 4
//!   began_at          ↕ 8      nanoseconds since 1970
//!   owner             ↕ short  name              ↕ short
//!   received          ↕ to the end: one bit a chunk, least significant first, ceil(chunks / 8) bytes
//!
//! graphs     key: the handle as 8 bytes big-endian
//!   layout = 1        ↕ 1      version           ↕ 8
//!   name              ↕ short
//! ```
//!
//! The settings' record stands in [`crate::settings`]. A field is never moved or reused; a new one makes a new layout,
//! read beside the old. Facts are a table of their own so that listing versions does not read them.

use candid::Principal;

use crate::extent::Extent;
use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::received::Received;

/// Pages that an extent may end at: 2^36 of them are 4 PiB, far above any stable memory, and no sum of two overflows.
const MAX_END_PAGE: u64 = 1 << 36;

/// The last names table's layout, and so on for each table: all are at their first.
const LAYOUT: u8 = 1;

/// What a name remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameRecord {
    /// Number of the next publication.
    ///
    /// INVARIANT: above every version that this name ever had, so that a number is never used twice.
    pub(crate) next_version: u64,
}

impl NameRecord {
    pub(crate) const TABLE: &'static str = "names";

    pub(crate) fn encode(&self) -> Vec<u8> {
        RecordWriter::new(LAYOUT).u64(self.next_version).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let next_version = r.u64()?;
        if next_version == 0 {
            return Err(r.field("next_version"));
        }
        r.end()?;
        Ok(NameRecord { next_version })
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
    pub(crate) uploader: Principal,
}

impl VersionRecord {
    pub(crate) const TABLE: &'static str = "versions";

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(LAYOUT);
        w.u64(self.bytes).raw(&self.sha256);
        write_extent(&mut w, self.extent);
        w.u64(self.committed_at).u64(self.graph.unwrap_or(0)).short(self.uploader.as_slice());
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let bytes = r.u64()?;
        let sha256 = r.array()?;
        let extent = read_extent(&mut r, bytes)?;
        let committed_at = r.u64()?;
        let graph = Some(r.u64()?).filter(|&id| id != 0);
        let uploader = r.principal("uploader")?;
        r.end()?;
        Ok(VersionRecord { bytes, sha256, extent, committed_at, graph, uploader })
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
    pub(crate) owner: Principal,
    pub(crate) name: String,
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
        w.u32(self.chunk_bytes).u64(self.began_at);
        w.short(self.owner.as_slice()).short(self.name.as_bytes());
        w.raw(self.received.bits()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let bytes = r.u64()?;
        let sha256 = r.array()?;
        let extent = read_extent(&mut r, bytes)?;
        let chunk_bytes = r.u32()?;
        let began_at = r.u64()?;
        let owner = r.principal("owner")?;
        let name = r.text("name")?;
        let chunks = Self::chunks_for(bytes, chunk_bytes).ok_or(r.field("chunk_bytes"))?;
        let bits = r.rest();
        let received = Received::from_bits(chunks, bits).ok_or(r.field("received"))?;
        Ok(UploadRecord { bytes, sha256, extent, chunk_bytes, began_at, owner, name, received })
    }
}

/// An open graph handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphRecord {
    pub(crate) version: u64,
    pub(crate) name: String,
}

impl GraphRecord {
    pub(crate) const TABLE: &'static str = "graphs";

    pub(crate) fn encode(&self) -> Vec<u8> {
        RecordWriter::new(LAYOUT).u64(self.version).short(self.name.as_bytes()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, LAYOUT, bytes)?;
        let version = r.u64()?;
        let name = r.text("name")?;
        r.end()?;
        Ok(GraphRecord { version, name })
    }
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
