//! The subnet's randomness: seeded, so that a run repeats.

use sha2::{Digest, Sha256};

/// A stream of blocks.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    pub seed: u64,
    pub drawn: u64,
}

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next 32 bytes.
    pub fn block(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(self.drawn.to_le_bytes())
            .finalize()
            .into()
    }
}
