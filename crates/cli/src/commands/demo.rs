//! `demo`: the `run` command on the digits that come with the repository, and the command line that does it.

use std::path::{Path, PathBuf};

use crate::args::{AnswerArgs, DataArgs, DemoArgs, InputArgs, RunArgs};
use crate::commands::run;
use crate::failure::Failure;
use crate::print::say;
use crate::progress::Progress;

/// Shows the command, then runs it.
pub fn demo(args: &DemoArgs, progress: Progress) -> Result<(), Failure> {
    let models = match &args.models {
        Some(folder) => folder.clone(),
        None => find_models()?,
    };
    let (model, digits) = (models.join("digits.onnx"), models.join("digits"));
    let labels = digits.join("labels.txt");
    say!(
        "$ ic-nn run {} --input {} --labels {} --top 3 --upgrade",
        model.display(),
        digits.display(),
        labels.display()
    );
    run::run(
        &RunArgs {
            model,
            data: DataArgs::default(),
            input: InputArgs { inputs: vec![digits.to_string_lossy().into_owned()], ..InputArgs::default() },
            answer: AnswerArgs { top: Some(3), labels: Some(labels), ..AnswerArgs::default() },
            quantize: Default::default(),
            upgrade: true,
            wasm: args.wasm.clone(),
        },
        progress,
    )
}

/// `models/` here, in a folder above, or in the checkout the program was built from.
fn find_models() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    if here.join("models/digits.onnx").is_file() {
        return Ok(PathBuf::from("models"));
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.ancestors()
        .chain([checkout.as_path()])
        .map(|folder| folder.join("models"))
        .find(|models| models.join("digits.onnx").is_file())
        .ok_or_else(|| {
            Failure::unprepared("there is no models/digits.onnx here or in a folder above")
                .hint("run it in a checkout of ic-nn, or name the folder with --models")
        })
}
