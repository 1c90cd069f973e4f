//! Limits, the policy and id counters: the one cell of the store.
//!
//! ```text
//!   layout = 1         ↕ 1     max_model_bytes  ↕ 8   0 where never set, as in the three below
//!   max_total_bytes    ↕ 8     max_heap_bytes   ↕ 8
//!   max_open_uploads   ↕ 4     next_upload      ↕ 8
//!   next_graph         ↕ 8     next_kept        ↕ 8
//!   max_bytes_per_uploader ↕ 8   0 for no limit      abandoned_after_seconds ↕ 8   0 where never set
//!   next_context       ↕ 8     policy           ↕ 31    drawn in [`crate::policy`]
//!   max_weight_cache_bytes ↕ 8   1 more than what was set; not there where nothing was
//! ```
//!
//! A limit that was never set is the running release's default, so a release may change its defaults. No counter
//! may ever go back: ids are never reused.

use std::ops::RangeInclusive;

use ic_nn_types::InitArgs;
use ic_stable_structures::Memory;

use crate::error::SettingsError;
use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::policy::PolicyRecord;
use crate::store::Store;

/// 512 MiB. A commit hashes the file in two messages ([`VERIFY_BYTES_PER_MESSAGE`](crate::VERIFY_BYTES_PER_MESSAGE)) and
/// loads it in one, which may touch 2 GiB of stable memory. The heap holds the file beside its tensors and the copies
/// packed for the kernels, each about as large: 3 × 512 MiB are half of what wasm_memory_limit (3 GiB) grants.
const DEFAULT_MAX_MODEL_BYTES: u64 = 512 << 20;
/// 60 GiB: all that may be set.
const DEFAULT_MAX_TOTAL_BYTES: u64 = MOST_TOTAL_BYTES;
/// 2.5 GiB: wasm_memory_limit is 3 GiB unless a controller raises it; half a GiB is left to messages and the canister.
const DEFAULT_MAX_HEAP_BYTES: u64 = 5 << 29;
/// 16: each upload reserves the whole of its file, and its record is read when another one begins.
const DEFAULT_MAX_OPEN_UPLOADS: u32 = 16;

/// 7 days: a weekend away and a slow link are no reason to start over.
const DEFAULT_ABANDONED_AFTER_SECONDS: u64 = 7 * 86_400;

/// 1 hour: no client waits that long between two chunks of one upload.
const LEAST_ABANDONED_AFTER_SECONDS: u64 = 3_600;
/// 1 year: longer would be never.
const MOST_ABANDONED_AFTER_SECONDS: u64 = 365 * 86_400;
/// 60 GiB: as many as all together; weights that the heap does not hold are streamed.
const MOST_MODEL_BYTES: u64 = MOST_TOTAL_BYTES;
/// 60 GiB: a `MemoryManager` with buckets of 2 MiB addresses 64 GiB, of which some are the tables' and some lie in gaps
/// between files.
const MOST_TOTAL_BYTES: u64 = 60 << 30;
/// 4 GiB: a wasm32 heap.
const MOST_HEAP_BYTES: u64 = 4 << 30;
/// 1,000: beginning an upload reads them all.
const MOST_OPEN_UPLOADS: u32 = 1_000;

/// The limits in force, defaults resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Largest model file that an upload may announce, bytes; 512 MiB unless set.
    pub max_model_bytes: u64,
    /// Stable memory for versions and open uploads together, bytes in whole pages; 60 GiB unless set. Gaps between them
    /// do not count, so the memory itself can be larger.
    pub max_total_bytes: u64,
    /// Heap that graphs and inferences may take, bytes; 2.5 GiB unless set. The store keeps it for its embedder.
    pub max_heap_bytes: u64,
    /// Uploads open at one time; 16 unless set.
    pub max_open_uploads: u32,
    /// Execution contexts open at one time; 1,000 unless set.
    pub max_contexts: u32,
    /// Instructions a day that a caller without a quota of its own may spend; 0, which it is unless set, for no limit.
    pub instructions_per_caller_and_day: u64,
    /// Stable memory for the versions and open uploads of one uploader, bytes in whole pages; 0, unless set, for no limit.
    pub max_bytes_per_uploader: u64,
    /// Seconds without activity after which an upload is abandoned; 7 days unless set.
    pub abandoned_after_seconds: u64,
    /// Heap for weights that are streamed, bytes; a quarter of `max_heap_bytes` unless set. The store keeps it for its embedder.
    pub max_weight_cache_bytes: u64,
}

/// What the cell holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingsRecord {
    max_model_bytes: u64,
    max_total_bytes: u64,
    max_heap_bytes: u64,
    max_open_uploads: u32,
    /// INVARIANT: above every upload id ever given.
    pub(crate) next_upload: u64,
    /// INVARIANT: above every graph handle ever given.
    pub(crate) next_graph: u64,
    /// INVARIANT: above every context id ever given.
    pub(crate) next_context: u64,
    pub(crate) policy: PolicyRecord,
    /// INVARIANT: above the number of every name ever given to bytes that are kept without one.
    pub(crate) next_kept: u64,
    max_bytes_per_uploader: u64,
    abandoned_after_seconds: u64,
    /// One more than what was set; 0 where nothing was.
    max_weight_cache_bytes: u64,
}

impl SettingsRecord {
    const TABLE: &'static str = "settings";
    const LAYOUT: u8 = 1;

    /// A new store's: nothing set, ids from 1.
    pub(crate) fn first() -> Self {
        SettingsRecord {
            max_model_bytes: 0,
            max_total_bytes: 0,
            max_heap_bytes: 0,
            max_open_uploads: 0,
            next_upload: 1,
            next_graph: 1,
            next_kept: 1,
            max_bytes_per_uploader: 0,
            abandoned_after_seconds: 0,
            max_weight_cache_bytes: 0,
            next_context: 1,
            policy: PolicyRecord::default(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = RecordWriter::new(Self::LAYOUT);
        w.u64(self.max_model_bytes).u64(self.max_total_bytes).u64(self.max_heap_bytes);
        w.u32(self.max_open_uploads).u64(self.next_upload).u64(self.next_graph);
        w.u64(self.next_kept).u64(self.max_bytes_per_uploader).u64(self.abandoned_after_seconds);
        w.u64(self.next_context);
        self.policy.write(&mut w);
        if self.max_weight_cache_bytes > 0 {
            w.u64(self.max_weight_cache_bytes);
        }
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let max_model_bytes = r.u64()?;
        let max_total_bytes = r.u64()?;
        let max_heap_bytes = r.u64()?;
        let max_open_uploads = r.u32()?;
        let next_upload = r.u64()?;
        let next_graph = r.u64()?;
        let next_kept = r.u64()?;
        let max_bytes_per_uploader = r.u64()?;
        let abandoned_after_seconds = r.u64()?;
        let next_context = r.u64()?;
        let policy = PolicyRecord::read(&mut r)?;
        let ids = [
            ("next_upload", next_upload),
            ("next_graph", next_graph),
            ("next_kept", next_kept),
            ("next_context", next_context),
        ];
        if let Some((field, _)) = ids.into_iter().find(|(_, next)| !(1..u64::MAX).contains(next)) {
            return Err(r.field(field));
        }
        let max_weight_cache_bytes = if r.is_at_end() { 0 } else { r.u64()? };
        r.end()?;
        Ok(SettingsRecord {
            max_model_bytes,
            max_total_bytes,
            max_heap_bytes,
            max_open_uploads,
            next_upload,
            next_graph,
            next_context,
            policy,
            next_kept,
            max_bytes_per_uploader,
            abandoned_after_seconds,
            max_weight_cache_bytes,
        })
    }

    pub(crate) fn resolve(&self) -> Settings {
        let or = |set: u64, default: u64| if set == 0 { default } else { set };
        let max_heap_bytes = or(self.max_heap_bytes, DEFAULT_MAX_HEAP_BYTES);
        Settings {
            max_model_bytes: or(self.max_model_bytes, DEFAULT_MAX_MODEL_BYTES),
            max_total_bytes: or(self.max_total_bytes, DEFAULT_MAX_TOTAL_BYTES),
            max_heap_bytes,
            max_weight_cache_bytes: self.max_weight_cache_bytes.checked_sub(1).unwrap_or(max_heap_bytes / 4),
            max_open_uploads: match self.max_open_uploads {
                0 => DEFAULT_MAX_OPEN_UPLOADS,
                set => set,
            },
            max_contexts: self.policy.max_contexts(),
            instructions_per_caller_and_day: self.policy.instructions_per_caller_and_day,
            max_bytes_per_uploader: self.max_bytes_per_uploader,
            abandoned_after_seconds: or(self.abandoned_after_seconds, DEFAULT_ABANDONED_AFTER_SECONDS),
        }
    }
}

/// Settings. Whether a caller may change them is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// The limits in force.
    pub fn settings(&self) -> Settings {
        self.settings.resolve()
    }

    /// Takes the settings that `args` has and keeps the others; `admins` replaces the whole set. All or nothing.
    ///
    /// A lower limit holds for uploads and contexts that begin later; what is stored stays.
    pub fn apply(&mut self, args: &InitArgs) -> Result<(), SettingsError> {
        let mut next = self.settings.clone();
        set("max_model_bytes", args.max_model_bytes, 1..=MOST_MODEL_BYTES, &mut next.max_model_bytes)?;
        set("max_total_bytes", args.max_total_bytes, 1..=MOST_TOTAL_BYTES, &mut next.max_total_bytes)?;
        set("max_heap_bytes", args.max_heap_bytes, 1..=MOST_HEAP_BYTES, &mut next.max_heap_bytes)?;
        set("max_open_uploads", args.max_open_uploads, 1..=MOST_OPEN_UPLOADS, &mut next.max_open_uploads)?;
        let (per_uploader, abandoned_after) = (args.max_bytes_per_uploader, args.abandoned_after_seconds);
        set("max_bytes_per_uploader", per_uploader, 0..=MOST_TOTAL_BYTES, &mut next.max_bytes_per_uploader)?;
        let seconds = LEAST_ABANDONED_AFTER_SECONDS..=MOST_ABANDONED_AFTER_SECONDS;
        set("abandoned_after_seconds", abandoned_after, seconds, &mut next.abandoned_after_seconds)?;
        let mut cache = next.max_weight_cache_bytes.saturating_sub(1);
        let came = args.max_weight_cache_bytes;
        set("max_weight_cache_bytes", came, 0..=MOST_HEAP_BYTES, &mut cache)?;
        if came.is_some() {
            next.max_weight_cache_bytes = cache + 1;
        }
        next.policy.apply(args)?;
        if let Some(admins) = &args.admins {
            let change = self.plan_admins(admins)?;
            self.change_admins(change);
        }
        self.change_settings(next);
        Ok(())
    }

    /// Puts `next` in force and into the cell, if it is another.
    pub(crate) fn change_settings(&mut self, next: SettingsRecord) {
        if next != self.settings {
            self.write_settings(next);
        }
    }

    /// Puts `next` in force and into the cell.
    pub(crate) fn write_settings(&mut self, next: SettingsRecord) {
        self.cell.set(next.encode());
        self.settings = next;
    }
}

/// Sets one limit if it came and is within `allowed`.
pub(crate) fn set<T: Copy + PartialOrd + Into<u64>>(
    setting: &'static str,
    came: Option<T>,
    allowed: RangeInclusive<T>,
    target: &mut T,
) -> Result<(), SettingsError> {
    if let Some(came) = came {
        if !allowed.contains(&came) {
            let (least, most) = ((*allowed.start()).into(), (*allowed.end()).into());
            return Err(SettingsError::OutOfRange { setting, came: came.into(), least, most });
        }
        *target = came;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
