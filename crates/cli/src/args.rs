//! The arguments of every command. What they do is in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod access;
mod input;
mod jobs;
mod registry;
mod shard;

pub use access::{AccessAction, AccessArgs, AuditArgs, RolesAction, RolesArgs};
pub use input::{AnswerArgs, Colours, Fit, InputArgs, Layout, PictureArgs, Resize, Scale};
pub use jobs::{JobsAction, JobsArgs, SubmitArgs};
pub use registry::{
    DataArgs, DeleteArgs, LabelArgs, NameArgs, PolicyArgs, PropertiesAction, PropertiesArgs, ProvenanceArgs,
    ShowArgs, StatsArgs, UnloadArgs, UploadArgs, VerifyArgs,
};
use shard::{DEPLOY_NOTES, SHARD_NOTES};
pub use shard::{DeployArgs, ShardArgs};

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
    /// Say what an inference would take, from a model's shapes alone: nothing runs
    #[command(after_help = ESTIMATE_NOTES)]
    Estimate(EstimateArgs),
    /// Classify handwritten digits in a canister, upgrade it, and classify them again
    Demo(DemoArgs),
    /// Upload a model file to the target as a name's next version
    #[command(after_help = UPLOAD_EXAMPLES)]
    Upload(UploadArgs),
    /// Cut a model file into stages for several canisters
    #[command(after_help = SHARD_NOTES)]
    Shard(ShardArgs),
    /// Serve the stages that `shard` wrote on canisters of their own, and the model on the target by them
    #[command(after_help = DEPLOY_NOTES)]
    Deploy(DeployArgs),
    /// List the models of the target
    List(ShowArgs),
    /// List the models of the target in the words of the Open Inference Protocol
    Index(ShowArgs),
    /// Ask a model of the target for an answer
    #[command(after_help = INFER_EXAMPLES)]
    Infer(InferArgs),
    /// Submit inferences that the target runs by itself, over as many messages as they take; fetch them later
    #[command(after_help = JOBS_EXAMPLES)]
    Jobs(JobsArgs),
    /// Hold a receipt to inputs: the target computes the outputs again and compares all hashes
    #[command(after_help = VERIFY_NOTES)]
    Verify(VerifyArgs),
    /// Load a model's graph into the target's heap and print its handle
    Load(NameArgs),
    /// Drop a model's graph from the target's heap; the model stays
    Unload(UnloadArgs),
    /// List, read or set the properties of a loaded graph: warm-up, residency, quantised weights, response cache, largest cost
    Properties(PropertiesArgs),
    /// Put a label on a version; NAME@LABEL names it from then on
    Label(LabelArgs),
    /// Show or set which versions of a name are served
    Policy(PolicyArgs),
    /// Take a version out of service; it stays in the registry
    Retire(NameArgs),
    /// Put a retired version back into service
    Restore(NameArgs),
    /// Delete a version of a model, or with its bare name every version
    #[command(after_help = "What goes is shown first. Nothing brings it back.")]
    Delete(DeleteArgs),
    /// Show what a version has done: inferences, failures, instructions
    Stats(StatsArgs),
    /// Show what the target is: version, engine, limits, memory
    Metadata(ShowArgs),
    /// Show where every byte of the target's heap and stable memory is
    Memory(ShowArgs),
    /// Show what the target can: encodings, element types, targets, operators
    Capabilities(ShowArgs),
    /// Show or change who may upload, administrate and call
    Roles(RolesArgs),
    /// Show or change to whom which methods are open, the price, and quotas
    Access(AccessArgs),
    /// Show who changed what, oldest first (admins only)
    Audit(AuditArgs),
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
  ic-nn run model.onnx --input random:7 --quantize int16
  ic-nn run models/digits.onnx --input models/digits/ --top 3 --upgrade";

const UPLOAD_EXAMPLES: &str = "\
Examples:
  ic-nn upload digits models/digits.onnx --licence MIT --label stable
  ic-nn upload encoder model.onnx --data model.onnx.data --source https://huggingface.co/... --meta task=embedding

An upload that breaks off is resumed by the same command. A model whose weights lie in files of their own needs them in
--data, in the order in which it names them; where they are missing, the error has their names in that order.";

const JOBS_EXAMPLES: &str = "\
Examples:
  ic-nn jobs submit encoder --input input_ids=ids.npy --restart-on-upgrade
  ic-nn jobs wait 17 --save out/
  ic-nn jobs submit digits --input three.npy --wait --top 3
  ic-nn jobs list
  ic-nn jobs cancel 17

Callers take turns; of your own jobs the one of the highest priority goes first. What is finished is kept for an hour, or for
--retain seconds. A canister on this machine (--local) runs only while a command does: `wait` has it go on.";

const VERIFY_NOTES: &str = "\
Example:
  ic-nn infer digits --input three.npy --receipt three.json
  ic-nn verify three.json --input three.npy

A receipt is valid where model, inputs, outputs and engine are those that it names. Exit code 1 where it is not.";

const INFER_EXAMPLES: &str = "\
Examples:
  ic-nn infer digits --local .ic-nn --input models/digits/digit-3-0.png --top 3
  ic-nn infer digits:2 --url https://icp-api.io --canister aaaaa-aa --input image=three.npy --json
  ic-nn infer digits@stable --update --input three.npy     (certified, up to 40 B instructions, costs cycles)
  ic-nn infer digits --input three.npy --receipt three.json";

const PROFILE_NOTES: &str = "\
Instructions are the ones a replica charges, counted by the embedded host. Cycles are the exact difference of the
canister's balance on a 13-node subnet; on 34 nodes they are 34/13 of that. Queries are free. 1 T cycles = 1 XDR.";

const ESTIMATE_NOTES: &str = "\
Examples:
  ic-nn estimate mobilenetv2.onnx
  ic-nn estimate encoder.onnx --shape input_ids=1x128 --shape attention_mask=1x128
  ic-nn estimate encoder@stable --local .ic-nn --shape input_ids=1,128

MODEL is a file where there is one of that name, which a canister on this machine is given; else a model of the target's
registry. A query answers. `ic-nn profile --nodes` has the estimate of each node beside what it took.";

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

/// Whether weights are quantised.
#[derive(Args, Clone, Debug, Default)]
pub struct QuantizeArgs {
    /// Quantise the weights of products when the model is loaded; `run` says what that does to the answers
    #[arg(long, value_name = "TYPE", value_parser = ["int8", "int16"])]
    pub quantize: Option<String>,
}

/// `run`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct RunArgs {
    /// The model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub answer: AnswerArgs,
    #[command(flatten)]
    pub quantize: QuantizeArgs,
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
    /// A model file, or a model of the target: NAME, NAME:VERSION or NAME@LABEL
    #[arg(value_name = "MODEL.onnx|NAME")]
    pub model: String,
    #[command(flatten)]
    pub data: DataArgs,
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
    #[command(flatten)]
    pub data: DataArgs,
    /// Without inputs, random:0
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub quantize: QuantizeArgs,
    /// The price list: 2026-07 charges memory pages that are touched, which PocketIC servers before it do not
    #[arg(long, value_name = "NAME", default_value = SCHEDULES[0], value_parser = SCHEDULES)]
    pub schedule: String,
    /// Also say which nodes of the graph take the instructions
    #[arg(long)]
    pub nodes: bool,
    /// Write a page with a bar for each node, to open in a browser
    #[arg(long, value_name = "FILE.html")]
    pub page: Option<PathBuf>,
    /// Print everything as JSON, nodes too
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub wasm: WasmArgs,
}

/// Price lists that a model can be measured by, the usual one first.
pub const SCHEDULES: [&str; 2] = ["2025-10", "2026-07"];

/// `estimate`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct EstimateArgs {
    /// A model file, or a model of the target: NAME, NAME:VERSION or NAME@LABEL
    #[arg(value_name = "MODEL.onnx|NAME")]
    pub model: String,
    #[command(flatten)]
    pub data: DataArgs,
    /// The shape of an input: [NAME=]1x3x224x224; without one its smallest, dynamic axes being 1 long
    #[arg(long = "shape", value_name = "[NAME=]DIMS")]
    pub shapes: Vec<String>,
    /// Of a file: as it were loaded with weights of products quantised
    #[command(flatten)]
    pub quantize: QuantizeArgs,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
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

/// `infer`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct InferArgs {
    /// NAME for what `latest` means, NAME:VERSION or NAME@LABEL
    pub model: String,
    #[command(flatten)]
    pub input: InputArgs,
    /// Ask by an update call instead of a query
    #[arg(long)]
    pub update: bool,
    /// Ask by an update for a receipt as well, and keep it in this file
    #[arg(long, value_name = "FILE.json")]
    pub receipt: Option<PathBuf>,
    #[command(flatten)]
    pub answer: AnswerArgs,
    #[command(flatten)]
    pub target: TargetArgs,
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
