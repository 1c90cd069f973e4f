//! `run`: a canister for one command, from the file to the answer.

use crate::args::RunArgs;
use crate::commands::ask::{By, ask};
use crate::commands::model_file::{self, ModelFiles};
use crate::commands::quantize;
use crate::failure::Failure;
use crate::input;
use crate::output::{Answer, Presentation};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;
use crate::wasm;

/// Uploads, loads, asks, prints; with `--upgrade` once more from stable memory.
pub fn run(args: &RunArgs, progress: Progress) -> Result<(), Failure> {
    input::check_files(&args.input)?;
    let files = ModelFiles::read(&args.model, &args.data)?;
    let name = model_file::name_of(&args.model);
    let wasm = wasm::find(args.wasm.wasm.as_deref())?;
    let target = Target::ephemeral(&wasm, progress)?;
    let client = target.client();
    let presentation = Presentation::new(&args.answer, client.server_metadata()?.limits)?;
    let version = model_file::upload(&target, &name, &files, None, progress)?;
    let model = format!("{}:{}", version.name, version.version);
    let cases = input::cases(&args.input, &client.describe(&model)?.inputs)?;
    quantize::set(&client, &model, &args.quantize, progress)?;
    let (graph, charge) = target.charged(|| client.load_by_name(&model));
    graph?;
    if let Some(charge) = charge {
        progress.note(&format!(
            "loaded {model}: {} instructions",
            crate::format::instructions(charge.instructions)
        ));
    }
    let answers =
        progress.briefly(&format!("asking {model}"), || ask(&target, &model, &cases, By::Update))?;
    presentation.show(&model, &answers)?;
    if let Some(value) = &args.quantize.quantize
        && !args.answer.json
    {
        quantize::report(&client, &model, value, &cases, progress)?;
    }
    if args.upgrade {
        let Target::Local(local) = &target else { return Ok(()) };
        progress.during("upgrading the canister", || local.upgrade(&wasm))?;
        let again = progress.during("asking again", || ask(&target, &model, &cases, By::Update))?;
        let line = compare(&answers, &again)?;
        if !args.answer.json {
            say!("{line}");
        }
    }
    Ok(())
}

/// Holds the answers after an upgrade to those before it, byte for byte.
fn compare(before: &[Answer], after: &[Answer]) -> Result<String, Failure> {
    let differing: Vec<&str> = before
        .iter()
        .zip(after)
        .filter(|(b, a)| b.response.outputs != a.response.outputs)
        .map(|(b, _)| b.label.as_str())
        .collect();
    if !differing.is_empty() || before.len() != after.len() {
        return Err(Failure::failed(format!("answers differ after the upgrade: {}", differing.join(", "))));
    }
    let answers = match before.len() {
        1 => "the answer is".to_owned(),
        n => format!("all {n} answers are"),
    };
    Ok(format!(
        "Upgraded the canister and asked again, without an upload: {answers} equal byte for byte, from the model in stable memory."
    ))
}
