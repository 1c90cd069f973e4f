//! The records of contexts, open and gone. Their layouts stand with the table, in the module above.

use candid::Principal;

use super::{ContextError, Lease, OpenContext};
use crate::layout::{RecordError, RecordReader, RecordWriter};

/// An open context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContextRecord {
    pub(crate) graph: u64,
    pub(crate) version: u64,
    pub(crate) opened_at: u64,
    pub(crate) owner: Principal,
    pub(crate) name: String,
    pub(crate) lease: Lease,
}

impl ContextRecord {
    pub(crate) const TABLE: &'static str = "contexts";
    const LAYOUT: u8 = 2;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        w.u64(self.graph).u64(self.version).u64(self.opened_at);
        w.short(self.owner.as_slice()).short(self.name.as_bytes());
        w.u32(self.lease.idle_seconds).u64(self.lease.session).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (layout, mut r) = RecordReader::up_to(Self::TABLE, Self::LAYOUT, bytes)?;
        let (graph, version, opened_at) = (r.u64()?, r.u64()?, r.u64()?);
        let owner = r.principal("owner")?;
        let name = r.text("name")?;
        let lease = match layout {
            1 => Lease::default(),
            _ => Lease { idle_seconds: r.u32()?, session: r.u64()? },
        };
        r.end()?;
        Ok(ContextRecord { graph, version, opened_at, owner, name, lease })
    }

    pub(super) fn describe(self, context: u64) -> OpenContext {
        let ContextRecord { graph, version, opened_at, owner, name, lease } = self;
        OpenContext { context, graph, name, version, owner, opened_at, lease }
    }
}

/// What is remembered of a context that its owner did not close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GoneRecord {
    /// It was closed with its model.
    Deleted { version: u64, name: String },
    /// Nothing was called on it for so long.
    Lapsed { idle_seconds: u32 },
}

impl GoneRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            GoneRecord::Deleted { version, name } => {
                RecordWriter::new(1).u64(*version).short(name.as_bytes()).finish()
            }
            GoneRecord::Lapsed { idle_seconds } => RecordWriter::new(2).u32(*idle_seconds).finish(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (layout, mut r) = RecordReader::up_to(ContextRecord::TABLE, 2, bytes)?;
        let gone = match layout {
            1 => GoneRecord::Deleted { version: r.u64()?, name: r.text("name")? },
            _ => GoneRecord::Lapsed { idle_seconds: r.u32()? },
        };
        r.end()?;
        Ok(gone)
    }

    pub(super) fn told(self, context: u64) -> ContextError {
        match self {
            GoneRecord::Deleted { version, name } => ContextError::Deleted { context, name, version },
            GoneRecord::Lapsed { idle_seconds } => ContextError::Lapsed { context, idle_seconds },
        }
    }
}
