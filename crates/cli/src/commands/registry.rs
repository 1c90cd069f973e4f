//! What goes into the registry and what is in it: `upload`, `list`, `index`.

use ic_nn_client::{Client, Transport};
use ic_nn_types::{ListRequest, ModelState, Provenance};
use serde_json::{Value, json};

use crate::args::{ProvenanceArgs, ShowArgs, UploadArgs};
use crate::commands::model_file::{self, ModelFiles};
use crate::failure::Failure;
use crate::format;
use crate::output::{align_right, print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// `upload`.
pub fn upload(args: &UploadArgs, progress: Progress) -> Result<(), Failure> {
    let files = ModelFiles::read(&args.model, &args.data)?;
    let provenance = provenance(&args.provenance);
    let target = Target::open(&args.target, progress)?;
    let uploaded = model_file::upload(&target, &args.name, &files, provenance.as_ref(), progress);
    let labelled = uploaded.and_then(|version| {
        let model = format!("{}:{}", version.name, version.version);
        for label in &args.labels {
            target.client().set_label(&model, label)?;
        }
        Ok(version)
    });
    // Kept where it failed as well: the chunks that arrived need not be sent again.
    target.keep()?;
    let version = labelled?;
    if args.json {
        print_json(&json!({
            "name": version.name,
            "version": version.version,
            "sha256": hex::encode(&version.sha256),
            "labels": args.labels,
        }));
    } else {
        say!("{}:{}", version.name, version.version);
    }
    Ok(())
}

fn provenance(args: &ProvenanceArgs) -> Option<Provenance> {
    let provenance = Provenance {
        licence: args.licence.clone(),
        source: args.source.clone(),
        metadata: args.metadata.clone(),
    };
    (provenance != Provenance::default()).then_some(provenance)
}

/// `list`.
pub fn list(args: &ShowArgs, progress: Progress) -> Result<(), Failure> {
    let models = Target::open(&args.target, progress)?.client().list_all()?;
    if args.json {
        let models: Vec<Value> = models
            .iter()
            .map(|m| {
                json!({
                    "name": m.name,
                    "version": m.version,
                    "labels": m.labels,
                    "bytes": m.bytes,
                    "sha256": hex::encode(&m.sha256),
                    "state": m.state.as_ref().map(state),
                    "reason": m.state.as_ref().and_then(reason),
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
    let mut table = table(&["model", "labels", "state", "sha256", "uploader", "bytes"]);
    for model in &models {
        let stands = model.state.as_ref().map_or("?".to_owned(), |s| match reason(s) {
            Some(reason) => format!("{}: {reason}", state(s)),
            None => state(s).to_owned(),
        });
        table.add_row(vec![
            // An upload has no version yet.
            match model.version {
                0 => model.name.clone(),
                version => format!("{}:{version}", model.name),
            },
            model.labels.join(", "),
            stands,
            format::short_hash(&model.sha256),
            model.uploader.to_text(),
            format::grouped(model.bytes),
        ]);
    }
    align_right(&mut table, 5);
    say!("{table}");
    Ok(())
}

/// `index`.
pub fn index(args: &ShowArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let entries = index_all(&target.client())?;
    if args.json {
        let entries: Vec<Value> = entries
            .iter()
            .map(|e| json!({ "name": e.name, "version": e.version, "state": e.state, "reason": e.reason }))
            .collect();
        print_json(&Value::from(entries));
        return Ok(());
    }
    let mut table = table(&["name", "version", "state", "reason"]);
    for e in &entries {
        table.add_row([&e.name, &e.version, &e.state, &e.reason]);
    }
    say!("{table}");
    Ok(())
}

/// Every line of the index. It has no cursor of its own: a page goes on behind the last version of the one before.
fn index_all<T: Transport>(client: &Client<T>) -> Result<Vec<ic_nn_types::IndexEntry>, Failure> {
    const PAGE: u32 = 500;
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = client.repository_index(&ListRequest { after: after.clone(), limit: Some(PAGE) })?;
        let full = page.len() as u32 >= PAGE;
        let last = page.iter().rev().find(|e| !e.version.is_empty());
        let next = last.map(|e| format!("{}:{}", e.name, e.version));
        all.extend(page);
        if !full || next.is_none() || next == after {
            return Ok(all);
        }
        after = next;
    }
}

fn state(state: &ModelState) -> &'static str {
    match state {
        ModelState::Uploading => "uploading",
        ModelState::Available => "available",
        ModelState::Loading => "loading",
        ModelState::Loaded => "loaded",
        ModelState::Failed(_) => "failed",
        ModelState::Retired => "retired",
    }
}

fn reason(state: &ModelState) -> Option<&str> {
    match state {
        ModelState::Failed(reason) => Some(reason),
        _ => None,
    }
}
