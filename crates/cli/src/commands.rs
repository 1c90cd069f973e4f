//! One file per command; the small ones of the registry share one.

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::print;
use crate::progress::Progress;

mod admins;
mod ask;
mod demo;
mod describe;
mod metadata;
mod model_file;
mod profile;
mod registry;
mod run;

/// Does what the arguments say.
pub fn execute(cli: Cli) -> Result<(), Failure> {
    let progress = Progress::new(cli.quiet);
    match cli.command {
        Command::Run(args) => run::run(&args, progress),
        Command::Describe(args) => describe::describe(&args, progress),
        Command::Profile(args) => profile::profile(&args, progress),
        Command::Demo(args) => demo::demo(&args, progress),
        Command::Upload(args) => registry::upload(&args, progress),
        Command::List(args) => registry::list(&args, progress),
        Command::Infer(args) => ask::infer(&args, progress),
        Command::Load(args) => registry::load(&args, progress),
        Command::Unload(args) => registry::unload(&args, progress),
        Command::Delete(args) => registry::delete(&args, progress),
        Command::Metadata(args) => metadata::metadata(&args, progress),
        Command::Admins(args) => admins::admins(args.action, progress),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ic-nn", &mut script);
            print::bytes(&script);
            Ok(())
        }
    }
}
