//! `admins`: who may change the registry besides the controllers.

use crate::args::AdminsAction;
use crate::failure::Failure;
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Lists, adds or removes.
pub fn admins(action: AdminsAction, progress: Progress) -> Result<(), Failure> {
    match action {
        AdminsAction::List { target } => {
            let admins = Target::open(&target, progress)?.client().list_admins()?;
            if admins.is_empty() {
                progress.note("no admins: only controllers may change the registry");
            }
            admins.iter().for_each(|admin| say!("{admin}"));
        }
        AdminsAction::Add { principal, target } => {
            let target = Target::open(&target, progress)?;
            target.client().add_admin(principal)?;
            target.keep()?;
            progress.note(&format!("{principal} may change the registry"));
        }
        AdminsAction::Remove { principal, target } => {
            let target = Target::open(&target, progress)?;
            target.client().remove_admin(principal)?;
            target.keep()?;
            progress.note(&format!("{principal} may not change the registry"));
        }
    }
    Ok(())
}
