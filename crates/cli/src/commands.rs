//! One file per command; small ones of one family share one.

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::print;
use crate::progress::Progress;

mod access;
mod ask;
mod audit;
mod delete;
mod demo;
mod deploy;
mod describe;
mod estimate;
mod graphs;
mod jobs;
mod labels;
mod memory;
mod metadata;
mod model_file;
mod nodes;
mod profile;
mod quantize;
mod receipt;
mod registry;
mod roles;
mod run;
mod shard;

/// Does what the arguments say.
pub fn execute(cli: Cli) -> Result<(), Failure> {
    let progress = Progress::new(cli.quiet);
    match cli.command {
        Command::Run(args) => run::run(&args, progress),
        Command::Describe(args) => describe::describe(&args, progress),
        Command::Profile(args) => profile::profile(&args, progress),
        Command::Estimate(args) => estimate::estimate(&args, progress),
        Command::Demo(args) => demo::demo(&args, progress),
        Command::Upload(args) => registry::upload(&args, progress),
        Command::Shard(args) => shard::shard(&args, progress),
        Command::Deploy(args) => deploy::deploy(&args, progress),
        Command::List(args) => registry::list(&args, progress),
        Command::Index(args) => registry::index(&args, progress),
        Command::Infer(args) => ask::infer(&args, progress),
        Command::Jobs(args) => jobs::jobs(args.action, progress),
        Command::Verify(args) => receipt::verify(&args, progress),
        Command::Load(args) => graphs::load(&args, progress),
        Command::Unload(args) => graphs::unload(&args, progress),
        Command::Properties(args) => graphs::properties(args.action, progress),
        Command::Label(args) => labels::label(&args, progress),
        Command::Policy(args) => labels::policy(&args, progress),
        Command::Retire(args) => labels::retire(&args, progress),
        Command::Restore(args) => labels::restore(&args, progress),
        Command::Delete(args) => delete::delete(&args, progress),
        Command::Stats(args) => metadata::stats(&args, progress),
        Command::Metadata(args) => metadata::metadata(&args, progress),
        Command::Memory(args) => memory::memory(&args, progress),
        Command::Capabilities(args) => metadata::capabilities(&args, progress),
        Command::Roles(args) => roles::roles(args.action, progress),
        Command::Access(args) => access::access(args.action, progress),
        Command::Audit(args) => audit::audit(&args, progress),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ic-nn", &mut script);
            print::bytes(&script);
            Ok(())
        }
    }
}
