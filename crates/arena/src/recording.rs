//! What a run asks for, as it asks.

use crate::place::Block;

/// Requests so far, and those that are alive.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    requests: Vec<(Block, bool)>,
    /// Address and number of each that is alive.
    alive: Vec<(usize, usize)>,
    clock: u32,
    /// Whether a request is being written down: what that takes is not one.
    pub(crate) busy: bool,
}

impl Recording {
    /// `bytes` at `address` were asked for.
    pub(crate) fn came(&mut self, address: usize, bytes: usize, align: usize) {
        self.alive.push((address, self.requests.len()));
        self.requests.push((Block { bytes, align, from: self.clock, until: u32::MAX }, false));
        self.clock = self.clock.saturating_add(1);
    }

    /// What lies at `address` was freed.
    pub(crate) fn went(&mut self, address: usize) {
        // The youngest are freed first, mostly.
        if let Some(at) = self.alive.iter().rposition(|(alive, _)| *alive == address) {
            let (_, number) = self.alive.swap_remove(at);
            self.requests[number].0.until = self.clock;
            self.requests[number].1 = true;
            self.clock = self.clock.saturating_add(1);
        }
    }

    /// Each request, and whether it was freed.
    pub(crate) fn requests(&self) -> &[(Block, bool)] {
        &self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_freed_outlives_the_run() {
        let mut recording = Recording::default();
        recording.came(1000, 10, 1);
        recording.came(2000, 20, 16);
        recording.went(1000);
        recording.came(1000, 30, 1);
        recording.went(5000);
        recording.went(1000);
        let seen: Vec<_> = recording.requests().iter().map(|(b, freed)| (b.bytes, b.from, *freed)).collect();
        assert_eq!(seen, [(10, 0, true), (20, 1, false), (30, 3, true)]);
        assert_eq!(recording.requests()[0].0.until, 2);
        assert_eq!(recording.requests()[2].0.until, 4);
    }
}
