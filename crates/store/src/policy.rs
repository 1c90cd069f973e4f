//! Policy: to whom each family of methods is open, what a stranger pays, what a caller may spend.
//!
//! It is a part of the settings' record, drawn here:
//!
//! ```text
//!   read    ↕ 1   query   ↕ 1   infer   ↕ 1    0 never set, 1 anyone, 2 authenticated, 3 listed
//!   cycles_per_call                  ↕ 16   0 where nobody can pay his way in
//!   instructions_per_caller_and_day  ↕ 8    0 for no limit
//!   max_contexts                     ↕ 4    0 where never set
//! ```
//!
//! What was never set is the running release's default, and the defaults are safe: whoever is not listed reads and asks
//! queries, and burns no cycles. What must never happen here: a policy that cannot be read and admits.

use candid::{Nat, Principal};
use ic_nn_types::{Access, AccessPolicy, InitArgs, Price};
use ic_stable_structures::Memory;

use crate::error::SettingsError;
use crate::layout::{RecordError, RecordReader, RecordWriter};
use crate::settings::set;
use crate::store::Store;

/// 1,000: far more than a canister computes in at one time; each is up to 200 bytes of stable memory with its indices.
const DEFAULT_MAX_CONTEXTS: u32 = 1_000;
/// 100,000: 20 MB of stable memory.
const MOST_CONTEXTS: u32 = 100_000;

/// Reading and queries burn no cycles worth a permission; an update that infers burns up to 40 B instructions.
const DEFAULT_POLICY: AccessPolicy =
    AccessPolicy { read: Access::Anyone, query: Access::Anyone, infer: Access::Listed };

/// What the settings' record holds of the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicyRecord {
    read: Option<Access>,
    query: Option<Access>,
    infer: Option<Access>,
    /// 0 where nobody can pay.
    cycles_per_call: u128,
    /// 0 for no limit.
    pub(crate) instructions_per_caller_and_day: u64,
    /// 0 where never set.
    max_contexts: u32,
}

impl PolicyRecord {
    pub(crate) fn write(&self, w: &mut RecordWriter) {
        w.raw(&[self.read, self.query, self.infer].map(access_byte));
        w.raw(&self.cycles_per_call.to_le_bytes());
        w.u64(self.instructions_per_caller_and_day).u32(self.max_contexts);
    }

    pub(crate) fn read(r: &mut RecordReader<'_>) -> Result<Self, RecordError> {
        let [read, query, infer] = r.array()?;
        let access = |byte, field| access_of(byte).ok_or(r.field(field));
        let (read, query, infer) = (access(read, "read")?, access(query, "query")?, access(infer, "infer")?);
        Ok(PolicyRecord {
            read,
            query,
            infer,
            cycles_per_call: u128::from_le_bytes(r.array()?),
            instructions_per_caller_and_day: r.u64()?,
            max_contexts: r.u32()?,
        })
    }

    /// Takes what `args` has of the policy. Nothing is in force yet.
    pub(crate) fn apply(&mut self, args: &InitArgs) -> Result<(), SettingsError> {
        set("max_contexts", args.max_contexts, 1..=MOST_CONTEXTS, &mut self.max_contexts)?;
        if let Some(instructions) = args.instructions_per_caller_and_day {
            self.instructions_per_caller_and_day = instructions;
        }
        if let Some(policy) = args.policy {
            self.set(policy);
        }
        if let Some(price) = &args.price {
            self.cycles_per_call = cycles(price)?;
        }
        Ok(())
    }

    pub(crate) fn max_contexts(&self) -> u32 {
        if self.max_contexts == 0 { DEFAULT_MAX_CONTEXTS } else { self.max_contexts }
    }

    fn set(&mut self, policy: AccessPolicy) {
        let AccessPolicy { read, query, infer } = policy;
        (self.read, self.query, self.infer) = (Some(read), Some(query), Some(infer));
    }

    fn policy(&self) -> AccessPolicy {
        AccessPolicy {
            read: self.read.unwrap_or(DEFAULT_POLICY.read),
            query: self.query.unwrap_or(DEFAULT_POLICY.query),
            infer: self.infer.unwrap_or(DEFAULT_POLICY.infer),
        }
    }
}

/// The policy. Whether a caller may set it is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// The policy in force.
    pub fn policy(&self) -> AccessPolicy {
        self.settings.policy.policy()
    }

    /// Puts another policy in force.
    pub fn set_policy(&mut self, policy: AccessPolicy) {
        let mut next = self.settings.clone();
        next.policy.set(policy);
        self.change_settings(next);
    }

    /// What a canister that is not listed pays, as it goes over the wire.
    pub fn price(&self) -> Price {
        Price { cycles_per_call: self.cycles_per_call().map(Nat::from) }
    }

    /// Cycles that a canister that is not listed has to attach; `None` where nobody can pay his way in.
    pub fn cycles_per_call(&self) -> Option<u128> {
        Some(self.settings.policy.cycles_per_call).filter(|&cycles| cycles > 0)
    }

    /// Sets the price; null where nobody shall be able to pay.
    pub fn set_price(&mut self, price: &Price) -> Result<(), SettingsError> {
        let mut next = self.settings.clone();
        next.policy.cycles_per_call = cycles(price)?;
        self.change_settings(next);
        Ok(())
    }

    /// Whether what is open to `access` is open to `caller`. A controller is admitted everywhere.
    ///
    /// ```
    /// # use candid::Principal;
    /// # use ic_nn_store::{Memories, Store};
    /// # use ic_nn_types::{Access, Role};
    /// # let mut store = Store::open(Memories::each(|_| ic_stable_structures::VectorMemory::default())).unwrap();
    /// let caller = Principal::from_slice(&[7]);
    /// assert!(!store.admits(Access::Listed, caller, false));
    /// store.grant(caller, Role::Caller)?;
    /// assert!(store.admits(Access::Listed, caller, false));
    /// assert!(!store.admits(Access::Authenticated, Principal::anonymous(), false));
    /// # Ok::<(), ic_nn_store::RoleError>(())
    /// ```
    pub fn admits(&self, access: Access, caller: Principal, is_controller: bool) -> bool {
        is_controller
            || match access {
                Access::Anyone => true,
                Access::Authenticated => caller != Principal::anonymous(),
                Access::Listed => self.role(caller).is_some(),
            }
    }
}

fn access_byte(access: Option<Access>) -> u8 {
    match access {
        None => 0,
        Some(Access::Anyone) => 1,
        Some(Access::Authenticated) => 2,
        Some(Access::Listed) => 3,
    }
}

fn access_of(byte: u8) -> Option<Option<Access>> {
    match byte {
        0 => Some(None),
        1 => Some(Some(Access::Anyone)),
        2 => Some(Some(Access::Authenticated)),
        3 => Some(Some(Access::Listed)),
        _ => None,
    }
}

/// The price as the record has it.
fn cycles(price: &Price) -> Result<u128, SettingsError> {
    let Some(nat) = &price.cycles_per_call else {
        return Ok(0);
    };
    let refused = || SettingsError::Price { bits: nat.0.bits() };
    u128::try_from(nat.0.clone()).ok().filter(|&cycles| cycles > 0).ok_or_else(refused)
}

#[cfg(test)]
mod tests;
