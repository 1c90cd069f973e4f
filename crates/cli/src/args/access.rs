//! Arguments of roles, policies, price, quotas and the audit log.

use candid::Principal;
use clap::{Args, Subcommand, ValueEnum};
use ic_nn_types::{Access, Role};

use super::TargetArgs;

/// `roles`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct RolesArgs {
    #[command(subcommand)]
    pub action: RolesAction,
}

/// What `roles` does.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum RolesAction {
    /// List who has which role (admins only)
    List {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Give a principal a role in place of the one it has
    Grant {
        principal: Principal,
        role: RoleName,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Take a principal's role
    Revoke {
        principal: Principal,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// A role by its name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Changes the registry, names uploaders and callers, sets policies; controllers name admins
    Admin,
    /// Uploads and loads models, deletes its own
    Uploader,
    /// Calls what is open to listed principals
    Caller,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Role::Admin,
            RoleName::Uploader => Role::Uploader,
            RoleName::Caller => Role::Caller,
        }
    }
}

/// `access`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct AccessArgs {
    #[command(subcommand)]
    pub action: AccessAction,
}

/// What `access` does.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum AccessAction {
    /// Show the policy and the price
    Show {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Say to whom which methods are open; what is not named stays
    Policy {
        /// What tells of models: list, describe, statistics
        #[arg(long)]
        read: Option<AccessName>,
        /// Inference by query: free to the canister's owner too
        #[arg(long)]
        query: Option<AccessName>,
        /// Inference by update: the canister pays
        #[arg(long)]
        infer: Option<AccessName>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Say what a canister that is not listed pays for an update that infers
    Price {
        /// Cycles a call, or `none`: then nobody can pay his way in
        #[arg(value_name = "CYCLES|none", value_parser = parse_price)]
        price: Cycles,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show what a caller may spend a day in updates that infer, or set it
    Quota {
        principal: Principal,
        /// Instructions a day, or `default`: what the canister grants everyone
        #[arg(value_name = "INSTRUCTIONS|default", value_parser = parse_quota)]
        instructions: Option<Quota>,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// To whom methods are open, by its name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessName {
    /// Everyone, the anonymous principal too
    Anyone,
    /// Everyone but the anonymous principal
    Authenticated,
    /// Controllers and principals with any role
    Listed,
}

impl From<AccessName> for Access {
    fn from(name: AccessName) -> Self {
        match name {
            AccessName::Anyone => Access::Anyone,
            AccessName::Authenticated => Access::Authenticated,
            AccessName::Listed => Access::Listed,
        }
    }
}

/// A price, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycles(pub Option<u128>);

/// A quota, or the canister's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(pub Option<u64>);

fn parse_price(text: &str) -> Result<Cycles, String> {
    match text {
        "none" => Ok(Cycles(None)),
        _ => digits(text).parse().map(|n| Cycles(Some(n))).map_err(|_| "cycles, or `none`".to_owned()),
    }
}

fn parse_quota(text: &str) -> Result<Quota, String> {
    match text {
        "default" => Ok(Quota(None)),
        _ => {
            digits(text).parse().map(|n| Quota(Some(n))).map_err(|_| "instructions, or `default`".to_owned())
        }
    }
}

/// A number as people group it.
fn digits(text: &str) -> String {
    text.replace([',', '_'], "")
}

/// `audit`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct AuditArgs {
    /// Start after this line's number instead of the oldest that is kept
    #[arg(long, value_name = "SEQUENCE")]
    pub after: Option<u64>,
    /// At most so many lines
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub limit: u32,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(parse_price("1_000,000"), Ok(Cycles(Some(1_000_000))));
        assert_eq!(parse_price("none"), Ok(Cycles(None)));
        assert_eq!(parse_quota("default"), Ok(Quota(None)));
        for wrong in ["", "-1", "1.5", "x"] {
            assert!(parse_price(wrong).is_err() && parse_quota(wrong).is_err(), "{wrong}");
        }
    }
}
