//! Graphs in the target's heap: `load`, `unload`, `properties`.

use ic_nn_client::{Client, Transport};
use ic_nn_types::Graph;
use serde_json::{Value, json};

use crate::args::{NameArgs, PropertiesAction, UnloadArgs};
use crate::failure::Failure;
use crate::format;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

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
    let Some(graph) = handle(&client, &args.model)? else {
        say!("{} is not loaded", args.model);
        return Ok(());
    };
    client.unload(graph)?;
    target.keep()?;
    say!("unloaded graph {graph}");
    Ok(())
}

/// `properties`.
pub fn properties(action: PropertiesAction, progress: Progress) -> Result<(), Failure> {
    match action {
        PropertiesAction::List { model, json, target } => {
            let target = Target::open(&target, progress)?;
            let client = target.client();
            let properties = client.list_properties(open_handle(&client, &model)?)?;
            if json {
                let properties: Vec<Value> = properties
                    .iter()
                    .map(|p| {
                        json!({
                            "name": p.name,
                            "value": p.value,
                            "settable": p.settable,
                            "description": p.description,
                        })
                    })
                    .collect();
                print_json(&Value::from(properties));
                return Ok(());
            }
            let mut table = table(&["property", "value", "may be set", "what it is"]);
            for p in &properties {
                let value = p.value.as_deref().unwrap_or("-");
                let settable = if p.settable { "yes" } else { "no" };
                table.add_row([p.name.as_str(), value, settable, p.description.as_str()]);
            }
            say!("{table}");
        }
        PropertiesAction::Get { model, property, target } => {
            let target = Target::open(&target, progress)?;
            let client = target.client();
            match client.get_property(open_handle(&client, &model)?, &property)? {
                Some(value) => say!("{value}"),
                None => {
                    return Err(Failure::failed(format!("{model} has no property {property} that is set"))
                        .hint(format!("`ic-nn properties list {model}` shows those there are")));
                }
            }
        }
        PropertiesAction::Set { model, property, value, target } => {
            let target = Target::open(&target, progress)?;
            let client = target.client();
            client.set_property(open_handle(&client, &model)?, &property, value.as_deref())?;
            target.keep()?;
            progress.note(&match value {
                Some(value) => format!("{property} of {model} is {value}"),
                None => format!("{property} of {model} is not set"),
            });
        }
    }
    Ok(())
}

/// The handle that a name or a number means; none where the model has no open one.
fn handle<T: Transport>(client: &Client<T>, model: &str) -> Result<Option<Graph>, Failure> {
    match model.parse() {
        Ok(handle) => Ok(Some(handle)),
        Err(_) => Ok(client.describe(model)?.graph),
    }
}

fn open_handle<T: Transport>(client: &Client<T>, model: &str) -> Result<Graph, Failure> {
    handle(client, model)?.ok_or_else(|| {
        Failure::failed(format!("{model} is not loaded, and properties belong to loaded graphs"))
            .hint(format!("`ic-nn load {model}` loads it"))
    })
}
