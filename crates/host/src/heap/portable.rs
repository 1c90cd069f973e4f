//! The committed image as a plain copy, for systems without memory files.
//!
//! Compares the whole heap, so a message costs what the canister holds. Cannot see reads: every unit counts as accessed,
//! which is an upper bound of what newer schedules charge.

use std::io;

use super::space::Space;
use super::{Committed, PAGE, Touched, UNIT};

/// A copy of the committed pages; shorter than the heap where that has grown.
pub(crate) struct Copy(Vec<u8>);

impl Copy {
    fn differs(&self, page: usize, live: &[u8]) -> bool {
        match self.0.get(page * PAGE..(page + 1) * PAGE) {
            Some(image) => image != live,
            None => live.iter().any(|byte| *byte != 0),
        }
    }
}

impl Committed for Copy {
    fn new() -> io::Result<Self> {
        Ok(Self(Vec::new()))
    }

    fn space(&self, reserve: usize) -> io::Result<Space> {
        Space::reserve(reserve, None)
    }

    fn changed(&self, space: &Space) -> io::Result<Vec<u32>> {
        Ok((space.bytes().chunks_exact(PAGE).enumerate())
            .filter(|(page, live)| self.differs(*page, live))
            .map(|(page, _)| page as u32)
            .collect())
    }

    fn touched(&self, space: &Space) -> io::Result<Touched> {
        let per_unit = (UNIT / PAGE) as u32;
        let mut written: Vec<u32> = (self.changed(space)?.into_iter().map(|page| page / per_unit)).collect();
        written.dedup();
        Ok(Touched { accessed: (space.size() / UNIT) as u64, written: written.len() as u64 })
    }

    fn commit(&mut self, space: &Space, changed: &[u32], _reads: bool) -> io::Result<()> {
        let live = space.bytes();
        self.0.resize(live.len(), 0);
        for page in changed {
            let at = *page as usize * PAGE;
            self.0[at..at + PAGE].copy_from_slice(&live[at..at + PAGE]);
        }
        Ok(())
    }

    fn rollback(&mut self, space: &Space, _reads: bool) -> io::Result<()> {
        let live = space.bytes_mut();
        let kept = self.0.len().min(live.len());
        live[..kept].copy_from_slice(&self.0[..kept]);
        live[kept..].fill(0);
        Ok(())
    }
}
