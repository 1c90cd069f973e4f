//! `delete`: shows what goes, asks, and deletes exactly that.

use std::io::{BufRead, IsTerminal, Write};

use ic_nn_client::Deletion;

use crate::args::DeleteArgs;
use crate::failure::Failure;
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Deletes after a yes. What is deleted is held to what was shown by its sha256.
pub fn delete(args: &DeleteArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let deletion = client.deletion_of(&args.model)?;
    if !args.yes {
        confirm(&deletion)?;
    }
    let deleted = client.delete(&deletion.request)?;
    target.keep()?;
    say!("deleted {deleted} {}", if deleted == 1 { "version" } else { "versions" });
    Ok(())
}

fn confirm(deletion: &Deletion) -> Result<(), Failure> {
    let name = deletion.request.model.split(':').next().unwrap_or_default();
    for (version, sha256) in &deletion.versions {
        eprintln!("{name}:{version}  sha256 {}", hex::encode(sha256));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to say whether this shall be deleted")
            .hint("--yes deletes without asking"));
    }
    eprint!("Delete {}? Nothing brings it back. [y/N] ", deletion.request.model);
    let mut answer = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::usage("nothing was deleted")),
    }
}
