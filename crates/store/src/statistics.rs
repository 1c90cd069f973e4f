//! Statistics: what each version has done, counted in updates. A query leaves no trace.
//!
//! ```text
//! statistics   key: as in versions
//!   layout = 1         ↕ 1    computed          ↕ 8    inferences that were computed
//!   cache_hits         ↕ 8    fail              ↕ 8
//!   sum_instructions   ↕ 16   of those computed
//!   min_instructions   ↕ 8    0 where none was
//!   max_instructions   ↕ 8    last_used         ↕ 8    nanoseconds since 1970; 0 where it never answered
//! ```
//!
//! Successes are what was computed and what the response cache answered; their sum is not stored. Counters stay at their
//! greatest value rather than begin anew. What must never happen here: a row of a version that is not there, since
//! nobody would forget it; what comes in for one that was deleted meanwhile is not counted.

use std::ops::Bound;

use ic_nn_types::ModelStatistics;
use ic_stable_structures::Memory;

use crate::layout::{RecordError, RecordProblem, RecordReader, RecordWriter};
use crate::name::{parse_version_key, version_key};
use crate::store::Store;
use crate::table::Entry;

/// Versions of a page where the request names no limit.
const DEFAULT_PAGE: u32 = 100;

/// Most versions of a page: about 150 bytes each, 1,000 are 150 KB of a reply's 2 MiB.
const MAX_PAGE: u32 = 1_000;

/// What a version has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StatisticsRecord {
    pub(crate) computed: u64,
    pub(crate) cache_hits: u64,
    pub(crate) fail: u64,
    pub(crate) sum_instructions: u128,
    pub(crate) min_instructions: u64,
    pub(crate) max_instructions: u64,
    pub(crate) last_used: u64,
}

impl StatisticsRecord {
    pub(crate) const TABLE: &'static str = "statistics";
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        w.u64(self.computed).u64(self.cache_hits).u64(self.fail).raw(&self.sum_instructions.to_le_bytes());
        w.u64(self.min_instructions).u64(self.max_instructions).u64(self.last_used).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let record = StatisticsRecord {
            computed: r.u64()?,
            cache_hits: r.u64()?,
            fail: r.u64()?,
            sum_instructions: u128::from_le_bytes(r.array()?),
            min_instructions: r.u64()?,
            max_instructions: r.u64()?,
            last_used: r.u64()?,
        };
        r.end()?;
        Ok(record)
    }

    fn compute(&mut self, instructions: u64, now: u64) {
        self.min_instructions = match self.computed {
            0 => instructions,
            _ => self.min_instructions.min(instructions),
        };
        self.max_instructions = self.max_instructions.max(instructions);
        self.sum_instructions = self.sum_instructions.saturating_add(instructions.into());
        self.computed = self.computed.saturating_add(1);
        self.last_used = now;
    }

    /// What the wire tells.
    fn tell(&self, name: &str, version: u64) -> ModelStatistics {
        let success = self.computed.saturating_add(self.cache_hits);
        let mean = self.sum_instructions / u128::from(self.computed.max(1));
        ModelStatistics {
            name: name.to_owned(),
            version,
            success,
            fail: self.fail,
            cache_hits: self.cache_hits,
            min_instructions: self.min_instructions,
            mean_instructions: u64::try_from(mean).unwrap_or(u64::MAX),
            max_instructions: self.max_instructions,
            last_used: (success > 0).then_some(self.last_used),
        }
    }
}

/// A page of statistics, by name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsPage {
    /// The versions that have done something.
    pub models: Vec<ModelStatistics>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next: Option<(String, u64)>,
}

/// Statistics. To record costs two rows, one of them written; a row that this release cannot read stays as it is.
impl<M: Memory> Store<M> {
    /// Counts an inference that was computed and gave outputs.
    pub fn record_success(&mut self, name: &str, version: u64, now: u64, instructions: u64) {
        self.count(name, version, |record| record.compute(instructions, now));
    }

    /// Counts an inference that was refused or failed.
    pub fn record_fail(&mut self, name: &str, version: u64) {
        self.count(name, version, |record| record.fail = record.fail.saturating_add(1));
    }

    /// Counts an answer from the response cache.
    pub fn record_hit(&mut self, name: &str, version: u64, now: u64) {
        self.count(name, version, |record| {
            record.cache_hits = record.cache_hits.saturating_add(1);
            record.last_used = now;
        });
    }

    /// What the version has done; zeros where nothing is known of it.
    pub fn statistics(&self, name: &str, version: u64) -> Result<ModelStatistics, RecordError> {
        let record = match self.statistics.get(&version_key(name, version)) {
            Some(bytes) => StatisticsRecord::decode(&bytes)?,
            None => StatisticsRecord::default(),
        };
        Ok(record.tell(name, version))
    }

    /// A page of the versions that have done something, by name and number. `limit` is brought into 1 to 1,000; null is
    /// 100.
    pub fn all_statistics(
        &self,
        after: Option<(&str, u64)>,
        limit: Option<u32>,
    ) -> Result<StatisticsPage, RecordError> {
        let from =
            after.map_or(Bound::Unbounded, |(name, version)| Bound::Excluded(version_key(name, version)));
        let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
        let (rows, more) = self.statistics.page(from, limit);
        let model = |(key, value): &Entry| {
            let problem = RecordProblem::Field { field: "key" };
            let (name, version) =
                parse_version_key(key).ok_or(RecordError { table: StatisticsRecord::TABLE, problem })?;
            Ok(StatisticsRecord::decode(value)?.tell(name, version))
        };
        let models = rows.iter().map(model).collect::<Result<Vec<_>, RecordError>>()?;
        let next = models.last().filter(|_| more).map(|last| (last.name.clone(), last.version));
        Ok(StatisticsPage { models, next })
    }

    /// Forgets what the version has done: it is being deleted.
    pub fn forget_statistics(&mut self, name: &str, version: u64) {
        self.statistics.remove(&version_key(name, version));
    }

    /// Changes the row of a version that is there.
    fn count(&mut self, name: &str, version: u64, change: impl FnOnce(&mut StatisticsRecord)) {
        let key = version_key(name, version);
        let mut record = match self.statistics.get(&key).map(|bytes| StatisticsRecord::decode(&bytes)) {
            Some(Ok(record)) => record,
            Some(Err(_)) => return,
            None => StatisticsRecord::default(),
        };
        if self.versions.contains(&key) {
            change(&mut record);
            self.statistics.insert(&key, record.encode());
        }
    }
}

#[cfg(test)]
mod tests;
