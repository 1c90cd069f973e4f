//! Roles, policies, prices, quotas, and the log of who did what.

use candid::Principal;
use ic_cdk::{query, update};
use ic_nn_types::{
    AccessPolicy, AuditPage, AuditRequest, CallerQuota, Error, ErrorCode, Price, Role, RoleEntry,
};

use crate::authority::{Admin, Controller};
use crate::wire::Arg;
use crate::{audit, contained, state};

/// Roles that a reply lists.
const MAX_LISTED: u32 = 10_000;

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(Principal, Role)>")]
pub(super) async fn grant_role(arguments: Arg<(Principal, Role)>) -> Result<(), Error> {
    let caller = granter(arguments.as_ref().map_or(Role::Caller, |(_, role)| *role))?;
    let (principal, role) = arguments?;
    contained::room(0).await?;
    // An admin's role is the controllers' to change.
    spare_admins(caller, principal)?;
    let granted = state::store(|s| Ok(s.grant(principal, role).map(drop)?));
    audit::of(caller, "grant_role", &format!("{principal} {role:?}"), granted)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<Principal>")]
pub(super) fn revoke_role(principal: Arg<Principal>) -> Result<(), Error> {
    let caller = granter(Role::Caller)?;
    let principal = principal?;
    spare_admins(caller, principal)?;
    let revoked = state::store(|s| Ok(s.revoke(principal).map(drop)?));
    audit::of(caller, "revoke_role", &principal.to_text(), revoked)
}

/// Who may give this role: controllers any, admins those below them.
fn granter(role: Role) -> Result<Principal, Error> {
    match role {
        Role::Admin => Controller::check().map(|c| c.caller()),
        Role::Uploader | Role::Caller => Admin::check().map(|a| a.caller()),
    }
}

fn spare_admins(caller: Principal, principal: Principal) -> Result<(), Error> {
    if state::store(|s| s.role(principal)) == Some(Role::Admin) && !ic_cdk::api::is_controller(&caller) {
        return Err(Error::new(
            ErrorCode::Security,
            format!("{principal} is an admin; {caller} may not change that, a controller may"),
        ));
    }
    Ok(())
}

#[query(hidden = true)]
pub(super) fn list_roles() -> Result<Vec<RoleEntry>, Error> {
    Admin::check()?;
    let page = state::store(|s| s.roles(None, Some(MAX_LISTED)))?;
    Ok(page.entries)
}

#[update(hidden = true, decode_with = "crate::wire::decode::<AccessPolicy>")]
pub(super) fn set_access_policy(policy: Arg<AccessPolicy>) -> Result<(), Error> {
    let admin = Admin::check()?;
    let policy = policy?;
    state::store(|s| s.set_policy(policy));
    audit::of(admin.caller(), "set_access_policy", &format!("{policy:?}"), Ok(()))
}

#[update(hidden = true, decode_with = "crate::wire::decode::<Price>")]
pub(super) fn set_price(price: Arg<Price>) -> Result<(), Error> {
    let admin = Admin::check()?;
    let price = price?;
    let subject = price.cycles_per_call.as_ref().map_or("none".into(), |c| format!("{c} cycles"));
    let set = state::store(|s| Ok(s.set_price(&price)?));
    audit::of(admin.caller(), "set_price", &subject, set)
}

#[update(hidden = true, decode_with = "crate::wire::decode_all::<(Principal, Option<u64>)>")]
pub(super) async fn set_caller_quota(arguments: Arg<(Principal, Option<u64>)>) -> Result<(), Error> {
    let admin = Admin::check()?;
    let (principal, quota) = arguments?;
    contained::room(0).await?;
    let set = state::store(|s| {
        match quota {
            Some(_) => s.set_quota(principal, quota, ic_cdk::api::time())?,
            None => s.clear_quota(principal)?,
        }
        Ok(())
    });
    audit::of(admin.caller(), "set_caller_quota", &format!("{principal} {quota:?}"), set)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<Principal>")]
pub(super) fn caller_quota(principal: Arg<Principal>) -> Result<CallerQuota, Error> {
    let principal = principal?;
    // Everyone may ask about himself.
    if principal != ic_cdk::api::msg_caller() {
        Admin::check()?;
    }
    Ok(state::store(|s| s.caller_quota(principal, ic_cdk::api::time()))?)
}

#[query(hidden = true, decode_with = "crate::wire::decode::<AuditRequest>")]
pub(super) fn audit_log(request: Arg<AuditRequest>) -> Result<AuditPage, Error> {
    Admin::check()?;
    let request = request?;
    Ok(state::store(|s| s.audit(&request))?)
}
