//! The audit log: who changed what, and what came of it. A ring of the newest lines.
//!
//! ```text
//! audit      key: the sequence number as 8 bytes big-endian, from 1
//!   layout = 1   ↕ 1      time     ↕ 8   nanoseconds since 1970
//!   caller       ↕ short  method   ↕ short, at most 64 bytes
//!   subject      ↕ short, at most 200 bytes
//!   error        ↕ to the end, at most 300 bytes; empty where it was done
//! ```
//!
//! INVARIANT: a sequence number is never given twice. The newest line is never dropped, so the next number is the one
//! behind it and needs no counter. What must never happen here: a line that grows with what a caller sends; texts are
//! cut.

use std::ops::Bound;

use candid::Principal;
use ic_nn_types::{AuditEntry, AuditPage, AuditRequest};
use ic_stable_structures::Memory;

use crate::layout::{RecordError, RecordProblem, RecordReader, RecordWriter};
use crate::store::Store;
use crate::table::Entry;

/// Lines kept: at most 611 bytes each, they are 6 MB of stable memory.
pub const MAX_AUDIT_LINES: u64 = 10_000;

/// The names of the interface's methods are shorter.
const MAX_METHOD_BYTES: usize = 64;
/// A name, a version and two principals.
const MAX_SUBJECT_BYTES: usize = 200;
/// A sentence; the caller had the whole text.
const MAX_ERROR_BYTES: usize = 300;

/// Lines of a page where the request names no limit.
const DEFAULT_PAGE: u32 = 100;

/// Most lines of a page: at most 650 bytes each, 1,000 are a third of a reply's 2 MiB.
const MAX_PAGE: u32 = 1_000;

/// Lines dropped in one call at most. One makes room for one; the second shrinks a log that is over its bound.
const DROPPED_PER_CALL: usize = 2;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRecord {
    pub(crate) time: u64,
    pub(crate) caller: Principal,
    pub(crate) method: String,
    pub(crate) subject: String,
    pub(crate) error: String,
}

impl AuditRecord {
    pub(crate) const TABLE: &'static str = "audit";
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        w.u64(self.time).short(self.caller.as_slice());
        w.short(self.method.as_bytes()).short(self.subject.as_bytes()).raw(self.error.as_bytes());
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let time = r.u64()?;
        let caller = r.principal("caller")?;
        let method = r.text("method")?;
        let subject = r.text("subject")?;
        let error = std::str::from_utf8(r.rest()).map_err(|_| r.field("error"))?.to_owned();
        Ok(AuditRecord { time, caller, method, subject, error })
    }
}

/// The audit log. What is worth a line is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Writes a line, and drops the oldest where [`MAX_AUDIT_LINES`] are kept. `error` is `None` where it was done.
    ///
    /// `method` is cut at 64 bytes, `subject` at 200 and `error` at 300. Costs one insertion and one removal, whatever
    /// is kept.
    pub fn record(&mut self, now: u64, caller: Principal, method: &str, subject: &str, error: Option<&str>) {
        let error = match error {
            None => String::new(),
            Some("") => "failed".to_owned(),
            Some(text) => clip(text, MAX_ERROR_BYTES),
        };
        let (method, subject) = (clip(method, MAX_METHOD_BYTES), clip(subject, MAX_SUBJECT_BYTES));
        let newest = self.audit.last_key().and_then(|key| sequence(&key).ok()).unwrap_or(0);
        let line = AuditRecord { time: now, caller, method, subject, error };
        self.audit.insert(&newest.saturating_add(1).to_be_bytes(), line.encode());
        for _ in 0..DROPPED_PER_CALL {
            match self.audit.first_key().filter(|_| self.audit.len() > self.bounds.audit_lines) {
                Some(oldest) => self.audit.remove(&oldest),
                None => break,
            }
        }
    }

    /// A page of the log, oldest line first. `limit` is brought into 1 to 1,000; null is 100.
    pub fn audit(&self, request: &AuditRequest) -> Result<AuditPage, RecordError> {
        let from =
            request.after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_be_bytes().to_vec()));
        let limit = request.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
        let (rows, more) = self.audit.page(from, limit);
        let entry = |(key, value): &Entry| {
            let AuditRecord { time, caller, method, subject, error } = AuditRecord::decode(value)?;
            Ok(AuditEntry { sequence: sequence(key)?, time, caller, method, subject, error })
        };
        let entries = rows.iter().map(entry).collect::<Result<Vec<_>, RecordError>>()?;
        let next = entries.last().filter(|_| more).map(|last| last.sequence);
        Ok(AuditPage { entries, next })
    }
}

fn sequence(key: &[u8]) -> Result<u64, RecordError> {
    let problem = RecordProblem::Field { field: "key" };
    let bytes = key.try_into().map_err(|_| RecordError { table: AuditRecord::TABLE, problem })?;
    Ok(u64::from_be_bytes(bytes))
}

/// `text` in at most `most` bytes, cut on a character boundary and marked where it is.
fn clip(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    [&text[..end], MARK].concat()
}

#[cfg(test)]
mod tests;
