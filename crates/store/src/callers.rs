//! Callers: what each may spend a day in instructions, and has spent today.
//!
//! ```text
//! callers    key: 0x00, the principal's bytes
//!   layout = 1   ↕ 1     kind    ↕ 1   0 as the settings say, 1 a quota of his own, 2 no limit
//!   quota        ↕ 8     instructions a day; 0 unless kind is 1
//!   day          ↕ 4     days since 1970, UTC
//!   spent        ↕ 8     instructions on that day
//!
//!            key: 0x01, the day as 4 bytes big-endian, the principal's bytes
//!   nothing: the order in which callers are forgotten. The day is 2^32 - 1 for those with a kind of their own.
//! ```
//!
//! INVARIANT: every row of the first kind has exactly one of the second, so half the table's length is the number of
//! callers. When [`MAX_CALLERS`] are remembered, those of earlier days who have no quota of their own are forgotten for
//! new ones; nothing is lost with them. What must never happen here: a limited caller whose spending is not counted.
//! One for whom there is no row and no room has an allowance of 0.

use std::ops::Bound;

use candid::Principal;
use ic_nn_types::CallerQuota;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::store::Store;

/// Most callers remembered: at 100 bytes for both rows they are 10 MB of stable memory.
pub const MAX_CALLERS: u64 = 100_000;

/// Callers forgotten in one call at most. One makes room for one; the second shrinks a table that is over its bound.
const FORGOTTEN_PER_CALL: usize = 2;

/// Nanoseconds of a day. 2^64 of them end in the year 2554, on day 213,503: no real day is [`NO_DAY`].
const DAY: u64 = 86_400 * 1_000_000_000;

/// Behind every day: the callers that are never forgotten.
const NO_DAY: u32 = u32::MAX;

const ROWS: u8 = 0;
const DAYS: u8 = 1;

/// Why a caller gets no quota. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum QuotaError {
    /// As many callers are remembered as can be.
    #[error(
        "{limit} callers are remembered, as many as can be, all of today or with a quota of their own; clear some quotas"
    )]
    Full {
        /// [`MAX_CALLERS`].
        limit: u64,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a caller may spend a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Quota {
    /// As much as the settings say.
    #[default]
    Default,
    /// So many instructions.
    Own(u64),
    /// As much as it likes.
    Unlimited,
}

/// What is remembered of a caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CallerRecord {
    pub(crate) quota: Quota,
    pub(crate) day: u32,
    pub(crate) spent: u64,
}

impl CallerRecord {
    pub(crate) const TABLE: &'static str = "callers";
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, quota) = match self.quota {
            Quota::Default => (0, 0),
            Quota::Own(quota) => (1, quota),
            Quota::Unlimited => (2, 0),
        };
        RecordWriter::new(Self::LAYOUT).raw(&[kind]).u64(quota).u32(self.day).u64(self.spent).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let [kind] = r.array()?;
        let quota = match (kind, r.u64()?) {
            (0, 0) => Quota::Default,
            (1, quota) => Quota::Own(quota),
            (2, 0) => Quota::Unlimited,
            _ => return Err(r.field("quota")),
        };
        let record = CallerRecord { quota, day: r.u32()?, spent: r.u64()? };
        r.end()?;
        Ok(record)
    }

    /// What was spent on `today`. A clock that has gone back forgives nothing.
    fn spent_on(&self, today: u32) -> u64 {
        if self.day >= today { self.spent } else { 0 }
    }

    /// Under which day the caller is forgotten.
    fn forgotten_on(&self) -> u32 {
        if self.quota == Quota::Default { self.day } else { NO_DAY }
    }
}

/// Quotas. Whether a caller is bound by them at all, and who may set them, is the embedder's to decide. `now` is
/// nanoseconds since 1970; a day begins at midnight UTC.
impl<M: Memory> Store<M> {
    /// Instructions that `caller` may still spend today; `None` for as many as it likes.
    ///
    /// 0 for a limited caller who is not remembered and cannot be, or whose record this release cannot read.
    pub fn allowance(&self, caller: Principal, now: u64) -> Option<u64> {
        let Ok(found) = self.caller(caller) else {
            return Some(0);
        };
        let record = found.unwrap_or_default();
        let quota = self.instructions_per_day(&record)?;
        if found.is_none() && !self.has_room_for_caller(day(now)) {
            return Some(0);
        }
        Some(quota.saturating_sub(record.spent_on(day(now))))
    }

    /// Notes that `caller` has spent `instructions`, beyond its allowance too. Costs one row, three more on its first
    /// charge of a day.
    pub fn charge(&mut self, caller: Principal, now: u64, instructions: u64) {
        let Ok(before) = self.caller(caller) else {
            return;
        };
        if before.is_none() && !self.make_room_for_caller(day(now)) {
            return;
        }
        let record = before.unwrap_or_default();
        let spent = record.spent_on(day(now)).saturating_add(instructions);
        self.put_caller(caller, before, CallerRecord { day: record.day.max(day(now)), spent, ..record });
    }

    /// Gives `caller` a quota of its own, instructions a day: 0 for nothing at all, null for no limit, whatever the
    /// settings say.
    pub fn set_quota(&mut self, caller: Principal, quota: Option<u64>, now: u64) -> Result<(), QuotaError> {
        let before = self.caller(caller)?;
        if before.is_none() && !self.make_room_for_caller(day(now)) {
            return Err(QuotaError::Full { limit: self.bounds.callers });
        }
        let record = before.unwrap_or(CallerRecord { day: day(now), ..CallerRecord::default() });
        let quota = quota.map_or(Quota::Unlimited, Quota::Own);
        self.put_caller(caller, before, CallerRecord { quota, ..record });
        Ok(())
    }

    /// Binds `caller` by the settings again. What it spent today stays counted.
    pub fn clear_quota(&mut self, caller: Principal) -> Result<(), RecordError> {
        if let Some(before) = self.caller(caller)? {
            self.put_caller(caller, Some(before), CallerRecord { quota: Quota::Default, ..before });
        }
        Ok(())
    }

    /// What `caller` may spend a day and has spent today.
    pub fn caller_quota(&self, caller: Principal, now: u64) -> Result<CallerQuota, RecordError> {
        let record = self.caller(caller)?.unwrap_or_default();
        Ok(CallerQuota {
            instructions_per_day: self.instructions_per_day(&record),
            spent_today: record.spent_on(day(now)),
        })
    }

    fn instructions_per_day(&self, record: &CallerRecord) -> Option<u64> {
        match record.quota {
            Quota::Unlimited => None,
            Quota::Own(quota) => Some(quota),
            Quota::Default => {
                Some(self.settings.policy.instructions_per_caller_and_day).filter(|&quota| quota > 0)
            }
        }
    }

    fn caller(&self, caller: Principal) -> Result<Option<CallerRecord>, RecordError> {
        self.callers.get(&row_key(caller.as_slice())).map(|bytes| CallerRecord::decode(&bytes)).transpose()
    }

    /// Puts `after` in the place of `before`, in both orders.
    fn put_caller(&mut self, caller: Principal, before: Option<CallerRecord>, after: CallerRecord) {
        if before == Some(after) {
            return;
        }
        let days = before.map(|record| record.forgotten_on());
        if days != Some(after.forgotten_on()) {
            if let Some(old) = days {
                self.callers.remove(&day_key(old, caller.as_slice()));
            }
            self.callers.insert(&day_key(after.forgotten_on(), caller.as_slice()), Vec::new());
        }
        self.callers.insert(&row_key(caller.as_slice()), after.encode());
    }

    fn callers_remembered(&self) -> u64 {
        self.callers.len() / 2
    }

    /// Whether a new caller can be remembered on `today`.
    fn has_room_for_caller(&self, today: u32) -> bool {
        self.callers_remembered() < self.bounds.callers || self.stale_caller(today).is_some()
    }

    /// Forgets callers of earlier days where there is no room for another; whether there is now, as
    /// [`Self::has_room_for_caller`] said.
    fn make_room_for_caller(&mut self, today: u32) -> bool {
        let has_room = self.has_room_for_caller(today);
        for _ in 0..FORGOTTEN_PER_CALL {
            if self.callers_remembered() < self.bounds.callers {
                break;
            }
            let Some(stale) = self.stale_caller(today) else {
                break;
            };
            if let Some((_, principal)) = parse_day_key(&stale) {
                self.callers.remove(&row_key(principal));
            }
            self.callers.remove(&stale);
        }
        has_room
    }

    /// The key under which the caller of the earliest day is forgotten, if that day is before `today`.
    fn stale_caller(&self, today: u32) -> Option<Vec<u8>> {
        let (key, _) = self.callers.range(Bound::Included(vec![DAYS]), Bound::Unbounded).next()?;
        parse_day_key(&key).is_some_and(|(day, _)| day < today).then_some(key)
    }
}

/// The day of `now`, counted from 1970.
fn day(now: u64) -> u32 {
    (now / DAY) as u32
}

fn row_key(principal: &[u8]) -> Vec<u8> {
    [&[ROWS], principal].concat()
}

fn day_key(day: u32, principal: &[u8]) -> Vec<u8> {
    [&[DAYS], day.to_be_bytes().as_slice(), principal].concat()
}

/// Day and principal of a key that [`day_key`] made.
fn parse_day_key(key: &[u8]) -> Option<(u32, &[u8])> {
    let (day, principal) = key.strip_prefix(&[DAYS])?.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*day), principal))
}

#[cfg(test)]
mod tests;
