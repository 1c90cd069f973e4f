//! Graph handles that were closed with their model: whoever holds one is told so, and not that it was unloaded.
//!
//! ```text
//! graphs   key: 0x01, the handle as 8 bytes big-endian
//!   layout = 1   ↕ 1      version    ↕ 8
//!   name         ↕ short
//!
//!          key: 0x02, its place in the order of closing as 8 bytes big-endian
//!   layout = 1   ↕ 1      graph      ↕ 8
//! ```
//!
//! They are in the table of the open handles because a table of its own takes 2 MiB of an empty canister. The key of an
//! open handle begins with 0x00: handles are counted from 1, and 2^56 of them are never given.
//!
//! INVARIANT: every remembered handle has one row of either kind, no handle that is open has any, and the places in the
//! order are consecutive, so the first and the last of them tell how many there are.

use std::ops::Bound;

use ic_stable_structures::Memory;

use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::record::GraphRecord;
use crate::store::Store;

/// Graph handles remembered to have been closed with their model, those closed last. A row takes at most a fifth of a page
/// of 1,024 bytes of the B-tree, whose nodes have at least 5: 2 × 4,096 × 205 bytes are 1.7 MB, less than the 2 MiB that the
/// table has in an empty canister. Of older ones it is told that they were unloaded.
pub const MAX_DELETED_GRAPHS: u64 = 4_096;

/// What the keys of remembered handles begin with; all that is below are open handles.
pub(crate) const CLOSED: u8 = 1;
const ORDER: u8 = 2;

/// What is remembered of a handle that was closed with its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedRecord {
    pub(crate) version: u64,
    pub(crate) name: String,
}

impl ClosedRecord {
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        RecordWriter::new(Self::LAYOUT).u64(self.version).short(self.name.as_bytes()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(GraphRecord::TABLE, Self::LAYOUT, bytes)?;
        let version = r.u64()?;
        let name = r.text("name")?;
        r.end()?;
        Ok(ClosedRecord { version, name })
    }
}

/// Which handle was closed at a place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderRecord {
    pub(crate) graph: u64,
}

impl OrderRecord {
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(self) -> Vec<u8> {
        RecordWriter::new(Self::LAYOUT).u64(self.graph).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(GraphRecord::TABLE, Self::LAYOUT, bytes)?;
        let graph = r.u64()?;
        r.end()?;
        Ok(OrderRecord { graph })
    }
}

impl<M: Memory> Store<M> {
    /// What a handle stood for that was closed with its model, if that is remembered.
    pub(crate) fn closed_graph(&self, graph: u64) -> Result<Option<ClosedRecord>, RecordError> {
        self.graphs.get(&key(CLOSED, graph)).map(|bytes| ClosedRecord::decode(&bytes)).transpose()
    }

    /// Remembers a handle that is closed with its model, and forgets those closed longest ago where they are too many.
    ///
    /// To be called when the handle's own row is gone, so that the rows take what that one had. Costs two insertions, and
    /// as many removals as there are too many.
    pub(crate) fn remember_closed(&mut self, graph: u64, closed: &ClosedRecord) {
        let last = self.graphs.last_key().and_then(|key| place(&key));
        while let (Some(last), Some((first, record))) = (last, self.first_closed()) {
            if last - first + 1 < self.bounds.deleted_graphs {
                break;
            }
            if let Ok(OrderRecord { graph }) = OrderRecord::decode(&record) {
                self.graphs.remove(&key(CLOSED, graph));
            }
            self.graphs.remove(&key(ORDER, first));
        }
        self.graphs.insert(&key(CLOSED, graph), closed.encode());
        self.graphs.insert(&key(ORDER, last.map_or(0, |last| last + 1)), OrderRecord { graph }.encode());
    }

    /// The first place in the order, and the record there.
    fn first_closed(&self) -> Option<(u64, Vec<u8>)> {
        let (key, record) = self.graphs.range(Bound::Included(vec![ORDER]), Bound::Unbounded).next()?;
        Some((place(&key)?, record))
    }
}

fn key(kind: u8, number: u64) -> Vec<u8> {
    [&[kind], number.to_be_bytes().as_slice()].concat()
}

/// The place in the order that a key tells; `None` for a key of another kind.
fn place(key: &[u8]) -> Option<u64> {
    let place = key.strip_prefix(&[ORDER])?;
    Some(u64::from_be_bytes(place.try_into().ok()?))
}

#[cfg(test)]
mod tests;
