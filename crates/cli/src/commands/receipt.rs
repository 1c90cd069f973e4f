//! Receipts in files, and `verify`.

use std::path::Path;

use ic_nn_types::{Receipt, VerifyRequest};
use serde_json::{Value, json};

use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::input;
use crate::output::print_json;
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Keeps a receipt of `model`.
pub fn save(path: &Path, model: &str, receipt: &Receipt) -> Result<(), Failure> {
    let text = format!("{:#}\n", to_json(model, receipt));
    std::fs::write(path, text)
        .map_err(|e| Failure::unprepared(format!("cannot write the receipt {}: {e}", path.display())))
}

/// `verify`.
pub fn verify(args: &VerifyArgs, progress: Progress) -> Result<(), Failure> {
    input::check_files(&args.input)?;
    let text = std::fs::read_to_string(&args.receipt)
        .map_err(|e| Failure::usage(format!("cannot read the receipt {}: {e}", args.receipt.display())))?;
    let (model, receipt) =
        from_json(&text).map_err(|e| Failure::usage(format!("{}: {e}", args.receipt.display())))?;
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let mut cases = input::cases(&args.input, &client.describe(&model)?.inputs)?;
    let (Some(case), true) = (cases.pop(), cases.is_empty()) else {
        return Err(Failure::usage("a receipt is of one inference, and several inputs came"));
    };
    let request = VerifyRequest { receipt, inputs: case.inputs, outputs: None };
    let verdict =
        progress.briefly(&format!("computing {model} again"), || client.verify_receipt(&request))?;
    target.keep()?;
    if args.json {
        print_json(&json!({
            "valid": verdict.valid,
            "mismatches": verdict.mismatches,
            "recomputed": verdict.recomputed,
        }));
    } else if verdict.valid {
        say!("valid: {model} computes the outputs of the receipt from these inputs");
    }
    match verdict.valid {
        true => Ok(()),
        false => Err(Failure::failed(format!("the receipt is not valid: {}", verdict.mismatches.join("; ")))),
    }
}

fn to_json(model: &str, receipt: &Receipt) -> Value {
    json!({
        "model": model,
        "hash": hex::encode(&receipt.hash),
        "sha256": hex::encode(&receipt.model),
        "inputs": hex::encode(&receipt.inputs),
        "outputs": hex::encode(&receipt.outputs),
        "engine": receipt.engine,
    })
}

fn from_json(text: &str) -> Result<(String, Receipt), String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let field = |name: &str| {
        value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no receipt: it has no text {name:?}"))
    };
    let hash = |name: &str| hex::decode(field(name)?).map_err(|e| format!("{name:?} is no hexadecimal: {e}"));
    let receipt = Receipt {
        hash: hash("hash")?,
        model: hash("sha256")?,
        inputs: hash("inputs")?,
        outputs: hash("outputs")?,
        engine: field("engine")?,
    };
    Ok((field("model")?, receipt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_as_it_was_kept() {
        let receipt = Receipt {
            hash: vec![1; 32],
            model: vec![2; 32],
            inputs: vec![3; 32],
            outputs: vec![4; 32],
            engine: "e".into(),
        };
        let text = to_json("m:1", &receipt).to_string();
        assert_eq!(from_json(&text), Ok(("m:1".to_owned(), receipt)));
        assert!(from_json("{}").is_err_and(|e| e.contains("hash")));
        assert!(from_json(&text.replace("0101", "xx")).is_err_and(|e| e.contains("hexadecimal")));
    }
}
