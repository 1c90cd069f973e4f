//! What is charged besides operators: System API calls, memory pages, compiling.
//!
//! Owns the numbers and the named schedules that tell one generation of replicas from the next. Charges nothing itself.

/// Instructions for compiling one operator of the instrumented module at install.
pub(super) const COMPILE_PER_INSTRUCTION: u64 = 6_000;

/// Bytes of an operating system page, the unit in which page access is charged.
pub const PAGE_BYTES: u64 = 4096;

/// Which replica's prices are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostSchedule {
    /// `"2025-10"`, `"2026-07"`.
    pub name: &'static str,
    /// Pages of the wasm heap.
    pub heap: PageCharges,
    /// Pages of stable memory.
    pub stable: PageCharges,
}

/// Instructions charged for touching pages of [`PAGE_BYTES`] in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCharges {
    /// First read (or write) of a page, during the message.
    pub read: u64,
    /// First write of a page, during the message, on top of `read`.
    pub write: u64,
    /// A page that is dirty when the message ends, after it.
    pub dirty: u64,
    /// Pages that `read` and `write` see as one: the first touch of one of them charges all of them.
    pub unit: u64,
}

impl CostSchedule {
    /// Replicas of October 2025 and PocketIC 10 and 11: writes only.
    pub const V2025_10: Self = Self {
        name: "2025-10",
        heap: PageCharges { read: 0, write: 0, dirty: 1_000, unit: 1 },
        stable: PageCharges { read: 0, write: 1_000, dirty: 0, unit: 1 },
    };

    /// Replicas since July 2026: 5,000 a page first read and 5,000 more when first written, 16 pages (64 KiB) at a time,
    /// so 80,000 a unit; 3,000 for copying each dirty page after the message.
    pub const V2026_07: Self = Self {
        name: "2026-07",
        heap: PageCharges { read: 5_000, write: 5_000, dirty: 3_000, unit: 16 },
        stable: PageCharges { read: 5_000, write: 5_000, dirty: 3_000, unit: 16 },
    };

    /// The schedule of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::V2025_10, Self::V2026_07].into_iter().find(|schedule| schedule.name == name)
    }
}

impl Default for CostSchedule {
    fn default() -> Self {
        Self::V2025_10
    }
}

/// Instructions charged for a System API call, on top of the 5 of the `call` operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiCharge {
    /// For the call.
    pub base: u64,
    /// For each byte it moves.
    pub per_byte: u64,
}

impl ApiCharge {
    const fn new(base: u64, per_byte: u64) -> Self {
        Self { base, per_byte }
    }

    /// Instructions for a call that moves `bytes`.
    pub const fn of(self, bytes: u64) -> u64 {
        self.base.saturating_add(self.per_byte.saturating_mul(bytes))
    }
}

/// Charges of the System API.
pub mod api {
    use super::ApiCharge;

    /// Calls without a charge of their own here: 500, and 1 for each byte copied to or from the heap.
    pub const DEFAULT: ApiCharge = ApiCharge::new(500, 1);
    /// `msg_reply_data_append`, `msg_reject` and `call_data_append`: the bytes travel.
    pub const PAYLOAD: ApiCharge = ApiCharge::new(500, 50);
    /// `call_new`, by the bytes of callee and method name.
    pub const CALL_NEW: ApiCharge = ApiCharge::new(1_500, 1);
    /// `call_perform`.
    pub const CALL_PERFORM: ApiCharge = ApiCharge::new(5_000, 0);
    /// `performance_counter`; its answer includes it.
    pub const PERFORMANCE_COUNTER: ApiCharge = ApiCharge::new(200, 0);
    /// `is_controller`, by the bytes of the principal.
    pub const IS_CONTROLLER: ApiCharge = ApiCharge::new(1_000, 1);
    /// `stable_size` and `stable64_size`.
    pub const STABLE_SIZE: ApiCharge = ApiCharge::new(0, 0);
    /// `stable_grow` and `stable64_grow`.
    pub const STABLE_GROW: ApiCharge = ApiCharge::new(100, 0);
    /// Reads and writes of stable memory; pages are charged on top.
    pub const STABLE_ACCESS: ApiCharge = ApiCharge::new(20, 1);
    /// `debug_print`: 100, and by the byte as for [`LOG_BYTES`].
    pub const DEBUG_PRINT: ApiCharge = ApiCharge::new(100, 1);
    /// `trap`: 500, and by the byte as for [`LOG_BYTES`].
    pub const TRAP: ApiCharge = ApiCharge::new(500, 1);
    /// Charged for each of the first [`LOG_BYTES`] bytes of `debug_print` and `trap`, on top: they are logged.
    pub const PER_LOGGED_BYTE: u64 = 52;
    /// Bytes of a canister's log: 4 KiB.
    pub const LOG_BYTES: u64 = 4096;
}
