//! Arguments of `jobs`.

use clap::{Args, Subcommand};

use super::{AnswerArgs, InputArgs, TargetArgs};

/// `jobs`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct JobsArgs {
    #[command(subcommand)]
    pub action: JobsAction,
}

/// What `jobs` does.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum JobsAction {
    /// Submit an inference and print the job's id
    Submit(Box<SubmitArgs>),
    /// List your jobs, oldest first
    List {
        /// Everyone's (controllers only)
        #[arg(long)]
        all: bool,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show how far a job is
    Show {
        job: u64,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Wait until a job is finished, and print its answer
    Wait {
        job: u64,
        #[command(flatten)]
        answer: AnswerArgs,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print the answer of a job that is done
    Result {
        job: u64,
        #[command(flatten)]
        answer: AnswerArgs,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Stop a job that waits or runs; discard one that is finished
    Cancel {
        job: u64,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// `jobs submit`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct SubmitArgs {
    /// NAME for what `latest` means, NAME:VERSION or NAME@LABEL
    pub model: String,
    #[command(flatten)]
    pub input: InputArgs,
    /// Of your jobs the one with the highest goes first
    #[arg(long, value_name = "0-255")]
    pub priority: Option<u8>,
    /// Fail unless it is finished within so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub deadline: Option<u64>,
    /// Keep it for so many seconds once it is finished [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub retain: Option<u64>,
    /// Begin again, should an upgrade of the canister end it half way
    #[arg(long)]
    pub restart_on_upgrade: bool,
    /// Instructions of each of its messages; others are answered between them
    #[arg(long, value_name = "INSTRUCTIONS")]
    pub slice: Option<u64>,
    /// Wait until it is finished, and print its answer
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub answer: AnswerArgs,
    #[command(flatten)]
    pub target: TargetArgs,
}
