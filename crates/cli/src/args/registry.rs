//! Arguments of the verbs of the registry.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{InputArgs, TargetArgs};

/// The files of a model beside its own.
#[derive(Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// Files of the model's external data, in the order in which the model first names them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<PathBuf>,
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
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub provenance: ProvenanceArgs,
    /// Put this label on the version; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// Print the version as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Where a model comes from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Provenance")]
pub struct ProvenanceArgs {
    /// Its licence: an SPDX expression, or the text
    #[arg(long, visible_alias = "license", value_name = "TEXT")]
    pub licence: Option<String>,
    /// Where it was got: an address, a commit, a paper
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Whatever else is worth knowing; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub metadata: Vec<(String, String)>,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is KEY=VALUE".to_owned()),
    }
}

/// `list`, `index`, `capabilities`, `metadata`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ShowArgs {
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `load`, `retire` and `restore`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct NameArgs {
    /// NAME, NAME:VERSION or NAME@LABEL
    pub model: String,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `stats`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct StatsArgs {
    /// NAME, NAME:VERSION or NAME@LABEL
    pub model: String,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `unload`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct UnloadArgs {
    /// NAME, NAME:VERSION or NAME@LABEL, or a graph's handle
    #[arg(value_name = "NAME|HANDLE")]
    pub model: String,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `delete`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct DeleteArgs {
    /// NAME:VERSION or NAME@LABEL for one version, NAME for all of them
    pub model: String,
    /// Do not ask: for scripts
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `label`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct LabelArgs {
    /// NAME:VERSION, or NAME for what `latest` means; with --remove, NAME
    pub model: String,
    /// The label
    pub label: String,
    /// Take the label away instead
    #[arg(long)]
    pub remove: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `policy`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct PolicyArgs {
    /// The model's name
    pub name: String,
    /// Serve every version
    #[arg(long, conflicts_with_all = ["latest", "versions"])]
    pub all: bool,
    /// Serve the newest so many
    #[arg(long, value_name = "COUNT", conflicts_with = "versions")]
    pub latest: Option<u32>,
    /// Serve these
    #[arg(long, value_name = "VERSION,...", value_delimiter = ',')]
    pub versions: Vec<u64>,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `properties`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct PropertiesArgs {
    #[command(subcommand)]
    pub action: PropertiesAction,
}

/// What `properties` does.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum PropertiesAction {
    /// List the properties of a loaded graph, what they mean and what they are
    List {
        /// NAME, NAME:VERSION or NAME@LABEL, or a graph's handle
        #[arg(value_name = "NAME|HANDLE")]
        model: String,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print one property
    Get {
        /// NAME, NAME:VERSION or NAME@LABEL, or a graph's handle
        #[arg(value_name = "NAME|HANDLE")]
        model: String,
        property: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Set one property, or without a value unset it
    Set {
        /// NAME, NAME:VERSION or NAME@LABEL, or a graph's handle
        #[arg(value_name = "NAME|HANDLE")]
        model: String,
        property: String,
        value: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// `verify`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct VerifyArgs {
    /// The receipt, as `infer --receipt` keeps it
    #[arg(value_name = "RECEIPT.json")]
    pub receipt: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    /// Print the verdict as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=b").is_err() && parse_pair("a").is_err());
    }
}
