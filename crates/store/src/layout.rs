//! The encoding that every stable record shares: one layout byte, then little-endian fields without padding.
//!
//! A text or a principal is one length byte and its bytes, a longer text two length bytes and its bytes; what has no
//! length field takes the rest of the record.
//! Nothing here may panic on the bytes it reads: a record of an unknown layout, a short one and one with bytes left
//! over are a [`RecordError`].

use candid::Principal;
use thiserror::Error;

/// A record in stable memory that this release cannot read. Nothing was changed.
#[derive(Error, Debug, Clone, Copy, PartialEq, Eq)]
#[error("a record of the stable table `{table}` cannot be read: {problem}")]
pub struct RecordError {
    /// The table.
    pub table: &'static str,
    /// What is wrong with it.
    pub problem: RecordProblem,
}

/// What is wrong with a record.
#[derive(Error, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordProblem {
    /// The layout byte is unknown: an older release was installed over a newer one's memory.
    #[error("its layout is {found}, this release knows up to {newest}; install the newer release again")]
    Layout {
        /// Layout byte found.
        found: u8,
        /// Newest layout known.
        newest: u8,
    },
    /// The record ends within a field.
    #[error("it ends early")]
    Short,
    /// Bytes follow the last field.
    #[error("it has {bytes} bytes too many")]
    Long {
        /// Bytes too many.
        bytes: usize,
    },
    /// A field's value is impossible.
    #[error("its {field} is impossible")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// A record that another one points to is absent.
    #[error("it is absent though another record points to it")]
    Absent,
}

impl RecordError {
    /// The record of `table` that another record points to is absent.
    pub(crate) fn absent(table: &'static str) -> Self {
        RecordError { table, problem: RecordProblem::Absent }
    }
}

/// Writes a record's fields in order.
pub(crate) struct RecordWriter(Vec<u8>);

impl RecordWriter {
    /// Starts a record of `layout`.
    pub(crate) fn new(layout: u8) -> Self {
        RecordWriter(vec![layout])
    }

    #[allow(dead_code, reason = "for the counts of the registry's lists")]
    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Bytes whose length the reader knows.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// At most 255 bytes behind a length byte; names (64) and principals (29) are shorter.
    pub(crate) fn short(&mut self, bytes: &[u8]) -> &mut Self {
        debug_assert!(bytes.len() <= usize::from(u8::MAX));
        self.0.push(bytes.len() as u8);
        self.raw(bytes)
    }

    /// At most 65,535 bytes behind two length bytes.
    pub(crate) fn long(&mut self, bytes: &[u8]) -> &mut Self {
        debug_assert!(bytes.len() <= usize::from(u16::MAX));
        self.u16(bytes.len() as u16).raw(bytes)
    }

    /// The record's bytes.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Reads a record's fields in order.
pub(crate) struct RecordReader<'a> {
    table: &'static str,
    rest: &'a [u8],
}

impl<'a> RecordReader<'a> {
    /// Starts on a record of `table`, whose only known layout is `layout`.
    pub(crate) fn new(table: &'static str, layout: u8, bytes: &'a [u8]) -> Result<Self, RecordError> {
        match Self::up_to(table, layout, bytes)? {
            (found, reader) if found == layout => Ok(reader),
            (found, reader) => Err(reader.error(RecordProblem::Layout { found, newest: layout })),
        }
    }

    /// Starts on a record of `table`, whose known layouts are 1 to `newest`, and tells which it is.
    pub(crate) fn up_to(table: &'static str, newest: u8, bytes: &'a [u8]) -> Result<(u8, Self), RecordError> {
        let mut reader = RecordReader { table, rest: bytes };
        let found = reader.u8()?;
        match (1..=newest).contains(&found) {
            true => Ok((found, reader)),
            false => Err(reader.error(RecordProblem::Layout { found, newest })),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(self.error(RecordProblem::Short))?;
        self.rest = rest;
        Ok(*head)
    }

    #[allow(dead_code, reason = "for the counts of the registry's lists")]
    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn short(&mut self) -> Result<&'a [u8], RecordError> {
        let len = usize::from(self.u8()?);
        self.raw(len)
    }

    /// The next `len` bytes.
    fn raw(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(self.error(RecordProblem::Short))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn principal(&mut self, field: &'static str) -> Result<Principal, RecordError> {
        let bytes = self.short()?;
        Principal::try_from_slice(bytes).map_err(|_| self.field(field))
    }

    /// A text behind a length byte.
    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, RecordError> {
        let bytes = self.short()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.field(field))
    }

    /// A text behind two length bytes.
    pub(crate) fn long_text(&mut self, field: &'static str) -> Result<String, RecordError> {
        let len = usize::from(self.u16()?);
        let bytes = self.raw(len)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.field(field))
    }

    /// What is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Whether nothing is left, as in a record of a release that wrote less.
    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the record: an error if bytes are left.
    pub(crate) fn end(self) -> Result<(), RecordError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(self.error(RecordProblem::Long { bytes })),
        }
    }

    /// The error for an impossible value of `field`.
    pub(crate) fn field(&self, field: &'static str) -> RecordError {
        self.error(RecordProblem::Field { field })
    }

    fn error(&self, problem: RecordProblem) -> RecordError {
        RecordError { table: self.table, problem }
    }
}
