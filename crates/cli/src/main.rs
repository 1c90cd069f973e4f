//! `ic-nn`: arguments in, tables and JSON out. What a caller does is in ic-nn-client, what runs canisters in
//! ic-nn-host, what a model is in ic-nn-engine.

use std::process::ExitCode;

use clap::Parser;

mod args;
mod commands;
mod elements;
mod failure;
mod format;
mod input;
mod local;
mod output;
mod print;
mod progress;
mod target;
mod wasm;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
