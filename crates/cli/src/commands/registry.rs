//! The verbs of the registry: `upload`, `list`, `load`, `unload`, `delete`.

use ic_nn_types::{Graph, ModelState};
use serde_json::{Value, json};

use crate::args::{ListArgs, NameArgs, UnloadArgs, UploadArgs};
use crate::commands::model_file;
use crate::failure::Failure;
use crate::format;
use crate::output::{align_right, print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// `upload`.
pub fn upload(args: &UploadArgs, progress: Progress) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let target = Target::open(&args.target, progress)?;
    let uploaded = model_file::upload(&target, &args.name, &bytes, progress);
    // Kept where it failed as well: the chunks that arrived need not be sent again.
    target.keep()?;
    let version = uploaded?;
    if args.json {
        print_json(&json!({
            "name": version.name,
            "version": version.version,
            "sha256": hex::encode(&version.sha256),
        }));
    } else {
        say!("{}:{}", version.name, version.version);
    }
    Ok(())
}

/// `list`.
pub fn list(args: &ListArgs, progress: Progress) -> Result<(), Failure> {
    let models = Target::open(&args.target, progress)?.client().list_all()?;
    if args.json {
        let models: Vec<Value> = models
            .iter()
            .map(|m| {
                json!({
                    "name": m.name,
                    "version": m.version,
                    "bytes": m.bytes,
                    "sha256": hex::encode(&m.sha256),
                    "state": m.state.as_ref().map(state),
                    "uploader": m.uploader.to_text(),
                    "committed_at": m.committed_at,
                })
            })
            .collect();
        print_json(&json!({ "models": models }));
        return Ok(());
    }
    if models.is_empty() {
        say!("no models yet: `ic-nn upload NAME MODEL.onnx` puts one there");
        return Ok(());
    }
    let mut table = table(&["model", "state", "sha256", "uploader", "bytes"]);
    for model in &models {
        table.add_row(vec![
            format!("{}:{}", model.name, model.version),
            model.state.as_ref().map_or("?", state).to_owned(),
            format::short_hash(&model.sha256),
            model.uploader.to_text(),
            format::grouped(model.bytes),
        ]);
    }
    align_right(&mut table, 4);
    say!("{table}");
    Ok(())
}

/// `load`.
pub fn load(args: &NameArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let (graph, charge) = progress
        .briefly(&format!("loading {}", args.model), || target.charged(|| client.load_by_name(&args.model)));
    let graph = graph?;
    target.keep()?;
    say!("{graph}");
    if let Some(charge) = charge {
        progress.note(&format!("{} instructions", format::instructions(charge.instructions)));
    }
    Ok(())
}

/// `unload`.
pub fn unload(args: &UnloadArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let graph: Graph = match args.model.parse() {
        Ok(handle) => handle,
        Err(_) => match client.describe(&args.model)?.graph {
            Some(graph) => graph,
            None => {
                say!("{} is not loaded", args.model);
                return Ok(());
            }
        },
    };
    client.unload(graph)?;
    target.keep()?;
    say!("unloaded graph {graph}");
    Ok(())
}

/// `delete`.
pub fn delete(args: &NameArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let deleted = target.client().delete(&args.model)?;
    target.keep()?;
    say!("deleted {deleted} {}", if deleted == 1 { "version" } else { "versions" });
    Ok(())
}

fn state(state: &ModelState) -> &'static str {
    match state {
        ModelState::Available => "available",
        ModelState::Loaded => "loaded",
    }
}
