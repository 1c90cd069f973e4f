//! The arguments of every command. What they do is in `commands`.

use std::path::PathBuf;

use candid::Principal;
use clap::{Args, Parser, Subcommand};

mod input;

pub use input::{AnswerArgs, Colours, Fit, InputArgs, Layout, PictureArgs, Resize, Scale};

const EXAMPLES: &str = "\
Examples:
  # One model, one answer: the canister runs here, nothing is deployed
  ic-nn run models/digits.onnx --input models/digits/digit-7-0.png --top 3

  # What it would cost on the Internet Computer
  ic-nn profile models/digits.onnx

  # A canister that is kept in a folder between commands
  export IC_NN_LOCAL=.ic-nn
  ic-nn upload digits models/digits.onnx
  ic-nn infer digits --input models/digits/ --top 3

  # The same verbs on a deployed canister
  ic-nn list --url https://icp-api.io --canister aaaaa-aa --identity me.pem

Exit codes:
  0  done
  1  the service or the model's engine answered an error
  2  the arguments, or the files they name, will not do
  3  no canister to run or to reach: wasm not built, replica not running, folder not writable";

/// Neural networks on the Internet Computer: run, price and serve ONNX models in a canister
#[derive(Parser, Debug)]
#[command(name = "ic-nn", version, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Say nothing but answers and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a model file in a canister on this machine and print its answer
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show a model's inputs, outputs, operators, parameters and multiply-adds
    #[command(
        after_help = "MODEL is a file where there is one of that name; else a model of the target's registry."
    )]
    Describe(DescribeArgs),
    /// Run a model file in a canister on this machine and print what it costs
    #[command(after_help = PROFILE_NOTES)]
    Profile(ProfileArgs),
    /// Classify handwritten digits in a canister, upgrade it, and classify them again
    Demo(DemoArgs),
    /// Upload a model file to the target as a name's next version
    #[command(after_help = "An upload that breaks off is resumed by the same command.")]
    Upload(UploadArgs),
    /// List the models of the target
    List(ListArgs),
    /// Ask a model of the target for an answer
    #[command(after_help = INFER_EXAMPLES)]
    Infer(InferArgs),
    /// Load a model's graph into the target's heap and print its handle
    Load(NameArgs),
    /// Drop a model's graph from the target's heap; the model stays
    Unload(UnloadArgs),
    /// Delete a version of a model, or with its bare name every version
    Delete(NameArgs),
    /// Show what the target is: version, engine, limits, memory
    Metadata(MetadataArgs),
    /// Show or change who may upload and delete
    Admins(AdminsArgs),
    /// Print the completions of a shell
    #[command(
        after_help = "Example: ic-nn completions bash > ~/.local/share/bash-completion/completions/ic-nn"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  ic-nn run mobilenetv2.onnx --input cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --top
  ic-nn run encoder.onnx --input input_ids=ids.npy attention_mask=mask.npy --save out/
  ic-nn run encoder.onnx --input tokens.npz --json
  ic-nn run model.onnx --input random:7 --shape 1x3x320x320
  ic-nn run models/digits.onnx --input models/digits/ --top 3 --upgrade";

const INFER_EXAMPLES: &str = "\
Examples:
  ic-nn infer digits --local .ic-nn --input models/digits/digit-3-0.png --top 3
  ic-nn infer digits:2 --url https://icp-api.io --canister aaaaa-aa --input image=three.npy --json
  ic-nn infer digits --update --input three.npy     (certified, up to 40 B instructions, costs cycles)";

const PROFILE_NOTES: &str = "\
Instructions are the ones a replica charges, counted by the embedded host. Cycles are the exact difference of the
canister's balance on a 13-node subnet; on 34 nodes they are 34/13 of that. Queries are free. 1 T cycles = 1 XDR.";

/// Which canister.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// A canister on this machine, kept in this folder between commands [env: IC_NN_LOCAL]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "canister", "identity"])]
    pub local: Option<PathBuf>,

    /// Where the replica or the Internet Computer answers [env: IC_NN_URL]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// The canister's id there [env: IC_NN_CANISTER]
    #[arg(long, value_name = "ID")]
    pub canister: Option<String>,

    /// The private key that signs, a PEM file; anonymous without [env: IC_NN_IDENTITY]
    #[arg(long, value_name = "PEM")]
    pub identity: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub wasm: WasmArgs,
}

/// Which wasm a canister on this machine runs.
#[derive(Args, Clone, Debug, Default)]
pub struct WasmArgs {
    /// The canister's wasm, for a canister on this machine [env: IC_NN_WASM] [default: the one built here]
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub wasm: Option<PathBuf>,
}

/// `run`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct RunArgs {
    /// The model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub answer: AnswerArgs,
    /// Upgrade the canister afterwards, ask again, and compare the answers byte for byte
    #[arg(long)]
    pub upgrade: bool,
    #[command(flatten)]
    pub wasm: WasmArgs,
}

/// `describe`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct DescribeArgs {
    /// A model file, or a model of the target: NAME or NAME:VERSION
    #[arg(value_name = "MODEL.onnx|NAME")]
    pub model: String,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `profile`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ProfileArgs {
    /// The model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Without inputs, random:0
    #[command(flatten)]
    pub input: InputArgs,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub wasm: WasmArgs,
}

/// `demo`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct DemoArgs {
    /// The folder with digits.onnx and digits/ [default: models/ here or in a folder above]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    #[command(flatten)]
    pub wasm: WasmArgs,
}

/// `upload`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct UploadArgs {
    /// The model's name in the registry
    pub name: String,
    /// The model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Print the version as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `list`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ListArgs {
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `infer`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct InferArgs {
    /// NAME for its newest version, or NAME:VERSION
    pub model: String,
    #[command(flatten)]
    pub input: InputArgs,
    /// Ask by an update call instead of a query
    #[arg(long)]
    pub update: bool,
    #[command(flatten)]
    pub answer: AnswerArgs,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `load` and `delete`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct NameArgs {
    /// NAME or NAME:VERSION
    pub model: String,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `unload`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct UnloadArgs {
    /// NAME or NAME:VERSION, or a graph's handle
    #[arg(value_name = "NAME|HANDLE")]
    pub model: String,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `metadata`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct MetadataArgs {
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `admins`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct AdminsArgs {
    #[command(subcommand)]
    pub action: AdminsAction,
}

/// What `admins` does.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum AdminsAction {
    /// List the admins
    List {
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Let a principal change the registry (controllers only)
    Add {
        principal: Principal,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Take that permission back (controllers only)
    Remove {
        principal: Principal,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
