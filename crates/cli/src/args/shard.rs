//! Arguments of `shard` and `deploy`.

use std::path::PathBuf;

use candid::Principal;
use clap::{ArgGroup, Args};

use super::{DataArgs, TargetArgs};

/// `shard`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("how").required(true).multiple(true).args(["stages", "max_bytes"]))]
#[allow(missing_docs)]
pub struct ShardArgs {
    /// The model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    /// Make so many stages of about the same cost
    #[arg(long, value_name = "N")]
    pub stages: Option<usize>,
    /// Bound the weights of a stage; with K, M or G for 2^10, 2^20, 2^30 bytes
    ///
    /// Without --stages as few stages are made as that takes. A product whose weights alone are more is cut by columns.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub max_bytes: Option<u64>,
    /// Also cut products by columns that take more than a stage's share: their parts run at the same time
    #[arg(long, requires = "stages")]
    pub tensor: bool,
    /// The shape of an input that costs are told for: [NAME=]1x128; without one its smallest
    #[arg(long = "shape", value_name = "[NAME=]DIMS")]
    pub shapes: Vec<String>,
    /// Where the stages' files and plan.json go
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write stages that round otherwise than the whole model, too
    #[arg(long)]
    pub inexact: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// `deploy`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct DeployArgs {
    /// The name that the model gets on the front canister; stages are NAME-stage-01 and so on
    pub name: String,
    /// The folder that `ic-nn shard` wrote
    #[arg(long, value_name = "DIR")]
    pub shards: PathBuf,
    /// Canisters for the stages, in their order, which run ic-nn and obey --identity (with --local they are created)
    #[arg(long = "on", value_name = "ID", num_args = 1.., conflicts_with = "local")]
    pub on: Vec<Principal>,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

pub(super) const SHARD_NOTES: &str = "\
Examples:
  ic-nn shard resnet50.onnx --stages 4 --out resnet-4
  ic-nn shard encoder.onnx --max-bytes 500M --shape input_ids=1x128 --shape attention_mask=1x128 --out encoder-shards
  ic-nn shard mlp.onnx --stages 6 --tensor --out mlp-6

Cuts lie where the engine's own plan can be cut, stages are of about the same cost, and few bytes cross. The stages are run here
once, on random numbers, and have to answer the bits that the whole model answers. `ic-nn deploy NAME --shards DIR` serves them.";

pub(super) const DEPLOY_NOTES: &str = "\
Examples:
  ic-nn deploy resnet --shards resnet-4 --local .ic-nn
  ic-nn infer resnet --local .ic-nn --input cat.jpg --top

  # On canisters that are there: the front by --canister, one for each stage by --on
  ic-nn deploy resnet --shards resnet-4 --url https://icp-api.io --identity me.pem \\
      --canister FRONT --on STAGE-1 STAGE-2 STAGE-3 STAGE-4

Uploads what is not there already, loads it, lets the front call the stages (role `caller`), gives the front the manifest of them,
and asks it once. Run it again after anything changed: it makes good what is not as it should be.";

fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = number.replace([',', '_'], "").parse::<u64>().ok().filter(|n| *n > 0);
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| "bytes, such as 500M or 2_000_000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_bytes("500"), Ok(500));
        assert_eq!(parse_bytes("3K"), Ok(3_072));
        assert_eq!(parse_bytes("1_000"), Ok(1_000));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        for wrong in ["", "M", "0", "-1", "1.5M", "99999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
