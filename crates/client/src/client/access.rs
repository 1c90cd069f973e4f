//! Roles, policies, price, quotas, and the audit log.

use candid::Principal;
use ic_nn_types::{AccessPolicy, AuditPage, AuditRequest, CallerQuota, Price, Role, RoleEntry};

use crate::{Client, ClientError, Transport};

impl<T: Transport> Client<T> {
    /// Gives `principal` a role in place of the one it has. Admins are the controllers' to name, the others the admins'.
    pub fn grant_role(&self, principal: Principal, role: Role) -> Result<(), ClientError> {
        self.update("grant_role", (principal, role))
    }

    /// Takes `principal`'s role.
    pub fn revoke_role(&self, principal: Principal) -> Result<(), ClientError> {
        self.update("revoke_role", (principal,))
    }

    /// Who has which role. Controllers have none and may everything.
    pub fn list_roles(&self) -> Result<Vec<RoleEntry>, ClientError> {
        self.query("list_roles", ())
    }

    /// Says to whom which methods are open.
    pub fn set_access_policy(&self, policy: &AccessPolicy) -> Result<(), ClientError> {
        self.update("set_access_policy", (policy,))
    }

    /// Says what a canister that is not listed pays for an update that infers.
    pub fn set_price(&self, price: &Price) -> Result<(), ClientError> {
        self.update("set_price", (price,))
    }

    /// Says how many instructions a day `principal` may spend; `None` for what the canister grants everyone.
    pub fn set_caller_quota(
        &self,
        principal: Principal,
        instructions_per_day: Option<u64>,
    ) -> Result<(), ClientError> {
        self.update("set_caller_quota", (principal, instructions_per_day))
    }

    /// What `principal` may spend and has spent today.
    pub fn caller_quota(&self, principal: Principal) -> Result<CallerQuota, ClientError> {
        self.query("caller_quota", (principal,))
    }

    /// A page of the audit log, oldest first.
    pub fn audit_log(&self, request: &AuditRequest) -> Result<AuditPage, ClientError> {
        self.query("audit_log", (request,))
    }
}
