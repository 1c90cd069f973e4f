//! The contexts a canister runs in, and which System API calls each of them allows.
//!
//! Owns the table of the interface specification. Executes nothing.

/// What kind of execution is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Mode {
    Start = 1,
    /// `canister_init` and `canister_post_upgrade`.
    Init = 1 << 1,
    PreUpgrade = 1 << 2,
    Update = 1 << 3,
    ReplicatedQuery = 1 << 4,
    Query = 1 << 5,
    CompositeQuery = 1 << 6,
    ReplyCallback = 1 << 7,
    RejectCallback = 1 << 8,
    CompositeReplyCallback = 1 << 9,
    CompositeRejectCallback = 1 << 10,
    Cleanup = 1 << 11,
    CompositeCleanup = 1 << 12,
    /// `canister_heartbeat` and `canister_global_timer`.
    SystemTask = 1 << 13,
    InspectMessage = 1 << 14,
}

impl Mode {
    /// The replica's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Init => "init",
            Self::PreUpgrade => "pre upgrade",
            Self::Update => "update",
            Self::ReplicatedQuery => "replicated query",
            Self::Query => "non replicated query",
            Self::CompositeQuery => "composite query",
            Self::ReplyCallback => "reply callback",
            Self::RejectCallback => "reject callback",
            Self::CompositeReplyCallback => "composite reply callback",
            Self::CompositeRejectCallback => "composite reject callback",
            Self::Cleanup => "cleanup",
            Self::CompositeCleanup => "composite cleanup",
            Self::SystemTask => "system task",
            Self::InspectMessage => "inspect message",
        }
    }

    /// Whether the replicas agree on it; queries are answered by one of them.
    pub fn is_replicated(self) -> bool {
        const ALONE: Modes = Modes(
            Mode::Query as u16
                | Mode::CompositeQuery as u16
                | Mode::CompositeReplyCallback as u16
                | Mode::CompositeRejectCallback as u16
                | Mode::CompositeCleanup as u16
                | Mode::InspectMessage as u16,
        );
        !ALONE.contains(self)
    }

    /// Whether pages changed are charged for.
    pub fn counts_pages(self) -> bool {
        !matches!(self, Self::Query | Self::ReplicatedQuery | Self::InspectMessage)
    }

    /// Whether the changes are thrown away.
    pub fn changes_nothing(self) -> bool {
        !self.is_replicated() || self == Self::ReplicatedQuery
    }
}

/// A set of modes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modes(u16);

impl Modes {
    /// Whether the mode is in the set.
    pub fn contains(self, mode: Mode) -> bool {
        self.0 & mode as u16 != 0
    }

    const fn of(modes: &[Mode]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < modes.len() {
            bits |= modes[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    const fn and(self, mode: Mode) -> Self {
        Self(self.0 | mode as u16)
    }
}

use Mode::*;

/// Everywhere, the start function included.
pub(crate) const EVERYWHERE: Modes = Modes(0x7fff);
/// Everywhere but in the start function.
pub(crate) const AFTER_START: Modes = Modes(0x7ffe);
/// Where there is an argument or a reply to read.
pub(crate) const PAYLOAD: Modes = Modes::of(&[
    Init,
    Update,
    ReplicatedQuery,
    Query,
    CompositeQuery,
    ReplyCallback,
    CompositeReplyCallback,
    InspectMessage,
]);
/// Callbacks.
pub(crate) const CALLBACK: Modes =
    Modes::of(&[ReplyCallback, RejectCallback, CompositeReplyCallback, CompositeRejectCallback]);
/// Callbacks of rejected calls.
pub(crate) const REJECTED: Modes = Modes::of(&[RejectCallback, CompositeRejectCallback]);
/// Where there is a caller to answer.
pub(crate) const ANSWER: Modes =
    Modes(CALLBACK.0 | Modes::of(&[Update, ReplicatedQuery, Query, CompositeQuery]).0);
/// Where a call may have brought cycles.
pub(crate) const CYCLES: Modes = Modes::of(&[Update, ReplicatedQuery, ReplyCallback, RejectCallback]);
/// Where a call's refund can be asked for.
pub(crate) const REFUND: Modes = Modes::of(&[ReplyCallback, RejectCallback]);
/// Where calls may be made.
pub(crate) const CALL: Modes = Modes(CALLBACK.0 | Modes::of(&[Update, CompositeQuery, SystemTask]).0);
/// Where calls may carry cycles.
pub(crate) const CALL_CYCLES: Modes = Modes::of(&[Update, ReplyCallback, RejectCallback, SystemTask]);
/// Where certified data may be set.
pub(crate) const CERTIFY: Modes =
    Modes::of(&[Init, PreUpgrade, Update, ReplyCallback, RejectCallback, SystemTask]);
/// Where a data certificate may be read.
pub(crate) const CERTIFICATE: Modes = Modes::of(&[Query, CompositeQuery]);
/// Where the global timer may be set.
pub(crate) const TIMER: Modes = CERTIFY.and(Cleanup);
/// Where cycles may be burned and the root key read.
pub(crate) const REPLICATED: Modes = TIMER.and(ReplicatedQuery);
/// `canister_inspect_message`.
pub(crate) const INSPECT: Modes = Modes::of(&[InspectMessage]);
/// Nowhere on this subnet.
pub(crate) const NOWHERE: Modes = Modes(0);
