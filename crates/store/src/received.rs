//! Which chunks of an upload have arrived: one bit a chunk, least significant bit first.
//!
//! 4 GiB in chunks of 64 KiB are 65,536 bits, 8 KiB; 512 MiB in chunks of 1.9 MiB are 35 bytes. No bit at or beyond
//! `chunks` may ever be set, so that counting bits counts chunks.

use ic_nn_types::ChunkRange;

/// The chunks that have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    chunks: u32,
    bits: Vec<u8>,
}

impl Received {
    /// None of `chunks`.
    pub(crate) fn none(chunks: u32) -> Self {
        Received { chunks, bits: vec![0; chunks.div_ceil(8) as usize] }
    }

    /// From stored bits; `None` if their length is wrong or a bit beyond `chunks` is set.
    pub(crate) fn from_bits(chunks: u32, bits: &[u8]) -> Option<Self> {
        if bits.len() != chunks.div_ceil(8) as usize {
            return None;
        }
        let spare = (8 - chunks % 8) % 8;
        let clean = bits.last().is_none_or(|last| last.leading_zeros() >= spare);
        clean.then(|| Received { chunks, bits: bits.to_vec() })
    }

    /// The bits as stored.
    pub(crate) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Chunks of the upload.
    pub(crate) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Marks chunk `index`, which is below `chunks`; tells whether it was new.
    pub(crate) fn insert(&mut self, index: u32) -> bool {
        let Some(byte) = self.bits.get_mut(index as usize / 8).filter(|_| index < self.chunks) else {
            return false;
        };
        let bit = 1 << (index % 8);
        let new = *byte & bit == 0;
        *byte |= bit;
        new
    }

    /// Chunks that have arrived.
    pub(crate) fn count(&self) -> u32 {
        self.bits.iter().map(|b| b.count_ones()).sum()
    }

    /// The first `limit` ranges of chunks that have not.
    pub(crate) fn missing(&self, limit: usize) -> Vec<ChunkRange> {
        let mut ranges: Vec<ChunkRange> = Vec::new();
        let mut index = 0;
        while index < self.chunks {
            let byte = self.bits[index as usize / 8];
            if index % 8 == 0 && byte == 0xFF {
                index += 8;
                continue;
            }
            if byte & (1 << (index % 8)) == 0 {
                let full = ranges.len() == limit;
                match ranges.last_mut() {
                    Some(range) if range.last + 1 == index => range.last = index,
                    _ if full => break,
                    _ => ranges.push(ChunkRange { first: index, last: index }),
                }
            }
            index += 1;
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ranges_are_the_complement() {
        let mut received = Received::none(20);
        assert_eq!(received.missing(9), [ChunkRange { first: 0, last: 19 }]);
        for index in [0, 8, 9, 10, 11, 12, 13, 14, 15, 19] {
            assert!(received.insert(index));
            assert!(!received.insert(index));
        }
        assert_eq!(received.count(), 10);
        assert_eq!(
            received.missing(9),
            [ChunkRange { first: 1, last: 7 }, ChunkRange { first: 16, last: 18 }]
        );
        assert_eq!(received.missing(1), [ChunkRange { first: 1, last: 7 }]);
        assert!(!received.insert(20) && !received.insert(23) && !received.insert(u32::MAX));
        assert_eq!(received.count(), 10);
    }

    #[test]
    fn stored_bits_are_checked() {
        assert_eq!(Received::from_bits(9, &[0xFF, 0x01]).map(|r| r.count()), Some(9));
        assert_eq!(Received::from_bits(9, &[0xFF, 0x02]), None);
        assert_eq!(Received::from_bits(9, &[0xFF]), None);
        assert_eq!(Received::from_bits(9, &[0xFF, 0, 0]), None);
        assert_eq!(Received::from_bits(8, &[0xFF]).map(|r| r.missing(9)), Some(vec![]));
        assert_eq!(Received::from_bits(0, &[]).map(|r| r.chunks()), Some(0));
    }
}
