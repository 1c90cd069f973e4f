//! Who may do what, at what price, and what was done.

use candid::{CandidType, Nat, Principal};
use serde::{Deserialize, Serialize};

/// What a principal was made by an admin or a controller.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Changes the registry, grants `uploader` and `caller`, sets policies.
    #[serde(rename = "admin")]
    Admin,
    /// Uploads models and loads them; deletes its own.
    #[serde(rename = "uploader")]
    Uploader,
    /// Calls what is open to listed principals.
    #[serde(rename = "caller")]
    Caller,
}

/// A principal and its role.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RoleEntry {
    /// Who.
    pub principal: Principal,
    /// As what.
    pub role: Role,
}

/// To whom a family of methods is open.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone, the anonymous principal too.
    #[serde(rename = "anyone")]
    Anyone,
    /// Everyone but the anonymous principal.
    #[serde(rename = "authenticated")]
    Authenticated,
    /// Controllers and principals with any role.
    #[serde(rename = "listed")]
    Listed,
}

/// The policy of each family of methods.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPolicy {
    /// `list`, `describe`, `repository_index` and what else tells of models; `anyone` unless set.
    pub read: Access,
    /// `infer_query`, `get_output`; `anyone` unless set.
    pub query: Access,
    /// Updates that infer and burn cycles: `infer`, execution contexts; `listed` unless set.
    pub infer: Access,
}

/// What a caller may spend and has spent.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CallerQuota {
    /// Instructions a day of updates that infer; null for no limit.
    pub instructions_per_day: Option<u64>,
    /// Spent since midnight UTC.
    pub spent_today: u64,
}

/// What an update that infers costs a canister that is not listed.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Cycles to attach to a call; null where nobody can pay his way in.
    pub cycles_per_call: Option<Nat>,
}

/// One line of the audit log.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counted from 1, never reused.
    pub sequence: u64,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Who called.
    pub caller: Principal,
    /// The method.
    pub method: String,
    /// On what: a model, a principal, a setting.
    pub subject: String,
    /// What came of it; empty where it was done.
    pub error: String,
}

/// A page of the audit log, oldest first.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The lines.
    pub entries: Vec<AuditEntry>,
    /// What to pass as `after` for the next page; null at the end.
    pub next: Option<u64>,
}

/// A page of the audit log is asked for.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditRequest {
    /// Start after this sequence number; null for the oldest line kept.
    pub after: Option<u64>,
    /// At most this many, and never more than 1,000; null for 100.
    pub limit: Option<u32>,
}
