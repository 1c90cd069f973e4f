//! A canister's log: the last 4 KiB of what it printed and why it trapped.

use std::collections::VecDeque;

use crate::replica::LogLine;

/// Bytes a log holds, each record's header counted.
const BYTES: usize = 4096;
/// Bytes of a record's header: index, timestamp and length.
const HEADER: usize = 40;

/// The log of one canister.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    next: u64,
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Log {
    /// Adds a line, cut to what the log holds; the oldest make room.
    pub fn push(&mut self, time: u64, mut content: Vec<u8>) {
        content.truncate(BYTES - HEADER);
        self.bytes += content.len() + HEADER;
        self.lines.push_back(LogLine { index: self.next, timestamp_nanos: time, content });
        self.next += 1;
        while self.bytes > BYTES {
            match self.lines.pop_front() {
                Some(line) => self.bytes -= line.content.len() + HEADER,
                None => break,
            }
        }
    }

    /// Forgets the lines; the index goes on.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.bytes = 0;
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lines.iter().cloned().collect()
    }

    /// The index the next line gets.
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// A log with these lines.
    pub fn restored(next: u64, lines: Vec<LogLine>) -> Self {
        let bytes = lines.iter().map(|line| line.content.len() + HEADER).sum();
        Self { next, lines: lines.into(), bytes }
    }
}
