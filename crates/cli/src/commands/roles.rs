//! `roles`: who may administrate, upload and call besides the controllers.

use ic_nn_types::Role;
use serde_json::{Value, json};

use crate::args::RolesAction;
use crate::failure::Failure;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Lists, grants or revokes.
pub fn roles(action: RolesAction, progress: Progress) -> Result<(), Failure> {
    match action {
        RolesAction::List { json, target } => {
            let roles = Target::open(&target, progress)?.client().list_roles()?;
            if json {
                let roles: Vec<Value> = roles
                    .iter()
                    .map(|e| json!({ "principal": e.principal.to_text(), "role": word(e.role) }))
                    .collect();
                print_json(&Value::from(roles));
            } else if roles.is_empty() {
                progress.note("nobody has a role: only controllers may upload and administrate");
            } else {
                let mut table = table(&["principal", "role"]);
                for e in &roles {
                    table.add_row([e.principal.to_text().as_str(), word(e.role)]);
                }
                say!("{table}");
            }
        }
        RolesAction::Grant { principal, role, target } => {
            let role = Role::from(role);
            let target = Target::open(&target, progress)?;
            target.client().grant_role(principal, role)?;
            target.keep()?;
            progress.note(&format!("{principal} is {}", word(role)));
        }
        RolesAction::Revoke { principal, target } => {
            let target = Target::open(&target, progress)?;
            target.client().revoke_role(principal)?;
            target.keep()?;
            progress.note(&format!("{principal} has no role"));
        }
    }
    Ok(())
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Uploader => "uploader",
        Role::Caller => "caller",
    }
}
