//! `estimate`: what an inference would take, of a file on disk or of a model of the target's registry.

use std::path::Path;

use ic_nn_types::{EstimateRequest, EstimateResponse, NamedShape};
use serde_json::{Value, json};

use crate::args::{EstimateArgs, SCHEDULES};
use crate::commands::model_file::{self, ModelFiles};
use crate::commands::quantize;
use crate::failure::Failure;
use crate::format;
use crate::output::{json_cycles, print_json};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;
use crate::wasm;

/// `estimate`.
pub fn estimate(args: &EstimateArgs, progress: Progress) -> Result<(), Failure> {
    let path = Path::new(&args.model);
    if path.is_file() {
        return of_file(path, args, progress);
    }
    if args.model.ends_with(".onnx") || args.model.contains('/') {
        return Err(Failure::usage(format!("there is no file {}", args.model)));
    }
    if !Target::is_named(&args.target) {
        return Err(Failure::usage(format!("there is no file {}, and no target to ask for it", args.model))
            .hint("a model of a registry wants --local DIR, or --url URL and --canister ID"));
    }
    if args.quantize.quantize.is_some() {
        return Err(Failure::usage("--quantize is for model files").hint(
            "a registry's model is estimated as it is served: `ic-nn properties set NAME quantize int8`",
        ));
    }
    of_model(&Target::open(&args.target, progress)?, &args.model, args, progress)
}

/// A canister for one command is given the file: what it makes of it is what is estimated, not what this machine would.
fn of_file(path: &Path, args: &EstimateArgs, progress: Progress) -> Result<(), Failure> {
    let files = ModelFiles::read(path, &args.data)?;
    let target = Target::unlimited(&wasm::find(args.target.wasm.wasm.as_deref())?, SCHEDULES[0], progress)?;
    let version = model_file::upload(&target, &model_file::name_of(path), &files, None, progress)?;
    let model = format!("{}:{}", version.name, version.version);
    quantize::set(&target.client(), &model, &args.quantize, progress)?;
    of_model(&target, &model, args, progress)
}

fn of_model(target: &Target, model: &str, args: &EstimateArgs, progress: Progress) -> Result<(), Failure> {
    let client = target.client();
    let described = client.describe(model)?;
    let names: Vec<&str> = described.inputs.iter().map(|i| i.name.as_str()).collect();
    let shapes = shapes(&args.shapes, &names)?;
    let request = EstimateRequest { model: Some(model.to_owned()), graph: None, shapes };
    let estimate = progress.briefly(&format!("estimating {model}"), || client.estimate(&request))?;
    let model = format!("{}:{}", described.name, estimate.version);
    if args.json {
        print_json(&json(&model, &estimate));
    } else {
        print(&model, &estimate);
    }
    Ok(())
}

fn print(model: &str, e: &EstimateResponse) {
    let about = if e.at_least { "at least" } else { "about" };
    say!("model          {model}, inputs {}", lengths(&e.shapes));
    let measured = e
        .measured_instructions
        .map_or_else(String::new, |count| format!(" (measured {})", format::instructions(count)));
    say!(
        "inference      {about} {} instructions with its message, {}{measured} the run",
        format::instructions(e.instructions),
        format::instructions(e.run_instructions),
    );
    for (what, count) in [("loading", e.load_instructions), ("planning", e.plan_instructions)] {
        if count > 0 {
            say!("{what:14} {} instructions, once", format::instructions(count));
        }
    }
    let fits = |fits: bool| if fits { "fits" } else { "does not fit" };
    say!("a query        {}", fits(e.fits_query));
    say!(
        "an update      {}{} cycles on 13 nodes, {} XDR",
        if e.fits_update { "fits one message, " } else { "goes on over messages, " },
        format::cycles(u128::from(e.cycles)),
        format::xdr(u128::from(e.cycles))
    );
    say!("multiply-adds  {}", format::instructions(e.macs));
    say!("activations    {} at most, {} moved", format::bytes(e.peak_bytes), format::bytes(e.bytes));
    if e.general_nodes > 0 {
        say!("{} nodes are of kinds that only a general rate is known of", e.general_nodes);
    }
}

fn json(model: &str, e: &EstimateResponse) -> Value {
    json!({
        "model": model,
        "shapes": e.shapes,
        "instructions": e.instructions,
        "run_instructions": e.run_instructions,
        "measured_instructions": e.measured_instructions,
        "load_instructions": e.load_instructions,
        "plan_instructions": e.plan_instructions,
        "at_least": e.at_least,
        "general_nodes": e.general_nodes,
        "multiply_adds": e.macs,
        "bytes": e.bytes,
        "peak_bytes": e.peak_bytes,
        "fits_query": e.fits_query,
        "fits_update": e.fits_update,
        "cycles_13_nodes": json_cycles(u128::from(e.cycles)),
    })
}

/// `NAME=1x3x224x224`, the name left away where there is one input.
/// Shapes as arguments have them, of inputs of these names.
pub fn shapes(texts: &[String], inputs: &[&str]) -> Result<Vec<NamedShape>, Failure> {
    texts.iter().map(|text| shape(text, inputs)).collect()
}

fn shape(text: &str, inputs: &[&str]) -> Result<NamedShape, Failure> {
    let (name, dimensions) = match (text.rsplit_once('='), inputs) {
        (Some(parts), _) => parts,
        (None, [one]) => (*one, text),
        (None, _) => {
            return Err(Failure::usage(format!("--shape {text} does not say of which input"))
                .hint(format!("the model takes {}", inputs.join(", "))));
        }
    };
    let dimensions = dimensions.trim_matches(['[', ']']);
    let axes: Vec<&str> = if dimensions.is_empty() { vec![] } else { dimensions.split(['x', ',']).collect() };
    let dimensions = axes.iter().map(|axis| axis.trim().parse()).collect::<Result<_, _>>().map_err(|_| {
        Failure::usage(format!("--shape {text}: {dimensions:?} is not a shape such as 1x3x224x224"))
    })?;
    Ok((name.to_owned(), dimensions))
}

fn lengths(shapes: &[Vec<u32>]) -> String {
    let shapes = shapes.iter().map(|shape| format::axes(shape.iter().map(u32::to_string)));
    shapes.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_with_and_without_a_name() {
        let read = |text: &str, inputs: &[&str]| shape(text, inputs).ok();
        let image = Some(("image".to_owned(), vec![1, 3, 8]));
        assert_eq!(read("1x3x8", &["image"]), image);
        assert_eq!(read("image=1,3,8", &["image", "mask"]), image);
        assert_eq!(read("image=[1, 3, 8]", &["image", "mask"]), image);
        assert_eq!(read("image=", &["image"]), Some(("image".to_owned(), vec![])));
        for wrong in ["1x3x8", "image=1x-3", "image=1x", "image=99999999999"] {
            assert_eq!(read(wrong, &["image", "mask"]), None, "{wrong}");
        }
    }
}
