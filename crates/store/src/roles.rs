//! Roles: what a principal may do that not everyone may. Controllers need none.
//!
//! ```text
//! roles      key: the principal's bytes
//!   layout = 1   ↕ 1     role   ↕ 1   1 admin, 2 uploader, 3 caller
//! ```
//!
//! A principal has one role or none. Who may grant which is the embedder's to decide. What must never happen here: a
//! role of the anonymous principal, which is everyone's, or a record that cannot be read taken for a permission.

use std::collections::BTreeSet;
use std::ops::Bound;

use candid::Principal;
use ic_nn_types::{Role, RoleEntry};
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::layout::{RecordError, RecordProblem, RecordReader, RecordWriter};
use crate::store::Store;
use crate::table::Entry;

/// Most principals with a role. Replacing the admins at an upgrade reads them all: 10,000 rows at some 3,000 instructions
/// each are 30 M.
pub const MAX_ROLES: u64 = 10_000;

/// Roles of a page where the request names no limit.
const DEFAULT_PAGE: u32 = 100;

/// Most roles of a page: an entry takes up to 40 bytes, so 1,000 are 40 KB of a reply's 2 MiB.
const MAX_PAGE: u32 = 1_000;

/// Why a role is not given or taken. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum RoleError {
    /// The anonymous principal is anyone.
    #[error("the anonymous principal cannot be {}: that would be anyone; set the policy for that", noun(*.role))]
    Anonymous {
        /// The role that it was to have.
        role: Role,
    },
    /// Too many principals have a role.
    #[error("{came} principals would have a role; at most {limit} may: revoke some")]
    Full {
        /// Principals that there would be.
        came: u64,
        /// [`MAX_ROLES`].
        limit: u64,
    },
    /// There is nothing to revoke.
    #[error("{principal} has no role")]
    NoRole {
        /// The principal.
        principal: Principal,
    },
    /// The principal to remove from the admins is none.
    #[error("{principal} is no admin")]
    NotAdmin {
        /// The principal.
        principal: Principal,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

fn noun(role: Role) -> &'static str {
    match role {
        Role::Admin => "an admin",
        Role::Uploader => "an uploader",
        Role::Caller => "a listed caller",
    }
}

/// A page of the roles, by the principals' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePage {
    /// Principals and their roles.
    pub entries: Vec<RoleEntry>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next: Option<Principal>,
}

/// What a principal was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoleRecord {
    pub(crate) role: Role,
}

impl RoleRecord {
    pub(crate) const TABLE: &'static str = "roles";
    const LAYOUT: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let role = match self.role {
            Role::Admin => 1,
            Role::Uploader => 2,
            Role::Caller => 3,
        };
        RecordWriter::new(Self::LAYOUT).raw(&[role]).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = RecordReader::new(Self::TABLE, Self::LAYOUT, bytes)?;
        let role = match r.array()? {
            [1] => Role::Admin,
            [2] => Role::Uploader,
            [3] => Role::Caller,
            _ => return Err(r.field("role")),
        };
        r.end()?;
        Ok(RoleRecord { role })
    }
}

/// What replacing the admins comes to, checked: principals that no longer are and that become admins.
#[derive(Debug, Default)]
pub(crate) struct AdminChange {
    leave: Vec<Principal>,
    join: Vec<Principal>,
}

/// Roles. Whether a caller may grant one is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Gives `principal` the role instead of the one it had, which is answered.
    pub fn grant(&mut self, principal: Principal, role: Role) -> Result<Option<Role>, RoleError> {
        if principal == Principal::anonymous() {
            return Err(RoleError::Anonymous { role });
        }
        let before = self.read_role(principal)?;
        if before == Some(role) {
            return Ok(before);
        }
        if before.is_none() {
            self.check_roles(self.roles.len().saturating_add(1))?;
        }
        self.roles.insert(principal.as_slice(), RoleRecord { role }.encode());
        Ok(before)
    }

    /// Takes the role from `principal` and answers which it was.
    pub fn revoke(&mut self, principal: Principal) -> Result<Role, RoleError> {
        let role = self.read_role(principal)?.ok_or(RoleError::NoRole { principal })?;
        self.roles.remove(principal.as_slice());
        Ok(role)
    }

    /// The role of `principal`; `None` where it has none, or one that this release cannot read.
    pub fn role(&self, principal: Principal) -> Option<Role> {
        self.read_role(principal).ok().flatten()
    }

    /// A page of the roles, by the principals' bytes. `limit` is brought into 1 to 1,000; null is 100.
    pub fn roles(&self, after: Option<Principal>, limit: Option<u32>) -> Result<RolePage, RecordError> {
        let from = after.map_or(Bound::Unbounded, |p| Bound::Excluded(p.as_slice().to_vec()));
        let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
        let (rows, more) = self.roles.page(from, limit);
        let entry = |(key, value): &Entry| {
            let RoleRecord { role } = RoleRecord::decode(value)?;
            Ok(RoleEntry { principal: principal_of(key)?, role })
        };
        let entries = rows.iter().map(entry).collect::<Result<Vec<_>, RecordError>>()?;
        let next = entries.last().filter(|_| more).map(|last| last.principal);
        Ok(RolePage { entries, next })
    }

    /// Whether `caller` is an admin. Controllers are not unless they were named.
    pub fn is_admin(&self, caller: Principal) -> bool {
        self.role(caller) == Some(Role::Admin)
    }

    /// The admins, by their bytes. Reads every role.
    pub fn admins(&self) -> Vec<Principal> {
        self.readable_roles()
            .filter(|&(_, role)| role == Role::Admin)
            .map(|(principal, _)| principal)
            .collect()
    }

    /// Names an admin, whatever role it had; naming one again changes nothing.
    pub fn add_admin(&mut self, admin: Principal) -> Result<(), RoleError> {
        self.grant(admin, Role::Admin).map(drop)
    }

    /// Takes the role from an admin, who has none then.
    pub fn remove_admin(&mut self, admin: Principal) -> Result<(), RoleError> {
        match self.is_admin(admin) {
            true => self.revoke(admin).map(drop),
            false => Err(RoleError::NotAdmin { principal: admin }),
        }
    }

    /// What it takes to make exactly `named` the admins, if they may be. Reads every role.
    pub(crate) fn plan_admins(&self, named: &[Principal]) -> Result<AdminChange, RoleError> {
        let named: BTreeSet<Principal> = named.iter().copied().collect();
        if named.contains(&Principal::anonymous()) {
            return Err(RoleError::Anonymous { role: Role::Admin });
        }
        let admins: BTreeSet<Principal> = self.admins().into_iter().collect();
        let leave: Vec<_> = admins.difference(&named).copied().collect();
        let join: Vec<_> = named.difference(&admins).copied().collect();
        let mut new = 0;
        for &principal in &join {
            new += u64::from(self.read_role(principal)?.is_none());
        }
        if new > 0 {
            self.check_roles(self.roles.len().saturating_sub(leave.len() as u64).saturating_add(new))?;
        }
        Ok(AdminChange { leave, join })
    }

    /// Carries out what [`Self::plan_admins`] found.
    pub(crate) fn change_admins(&mut self, change: AdminChange) {
        for principal in change.leave {
            self.roles.remove(principal.as_slice());
        }
        for principal in change.join {
            self.roles.insert(principal.as_slice(), RoleRecord { role: Role::Admin }.encode());
        }
    }

    fn read_role(&self, principal: Principal) -> Result<Option<Role>, RecordError> {
        let bytes = self.roles.get(principal.as_slice());
        bytes.map(|bytes| Ok(RoleRecord::decode(&bytes)?.role)).transpose()
    }

    fn check_roles(&self, came: u64) -> Result<(), RoleError> {
        let limit = self.bounds.roles;
        if came > limit { Err(RoleError::Full { came, limit }) } else { Ok(()) }
    }

    fn readable_roles(&self) -> impl Iterator<Item = (Principal, Role)> + '_ {
        self.roles.iter().filter_map(|(key, value)| {
            Some((principal_of(&key).ok()?, RoleRecord::decode(&value).ok()?.role))
        })
    }
}

fn principal_of(key: &[u8]) -> Result<Principal, RecordError> {
    let problem = RecordProblem::Field { field: "key" };
    Principal::try_from_slice(key).map_err(|_| RecordError { table: RoleRecord::TABLE, problem })
}

#[cfg(test)]
mod tests;
