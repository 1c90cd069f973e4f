//! `describe`: what a model is, from a file on disk or from the target's registry.

use std::path::Path;

use ic_nn_engine::{Graph, Limits};
use ic_nn_types::{DEFAULT_CHUNK_BYTES, OperatorCount, TensorType};
use serde_json::{Value, json};

use crate::args::{DataArgs, DescribeArgs};
use crate::commands::model_file::ModelFiles;
use crate::failure::Failure;
use crate::format;
use crate::output::{align_right, print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Instructions that the Internet Computer grants a query and an update.
const QUERY_INSTRUCTIONS: u64 = 5_000_000_000;
const UPDATE_INSTRUCTIONS: u64 = 40_000_000_000;

/// What is told of a model, wherever it was found.
struct View {
    /// What, and its value, in the order of the lines.
    facts: Vec<(&'static str, String)>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    operators: Vec<OperatorCount>,
    /// The same facts for machines.
    json: Value,
}

struct Port {
    name: String,
    ty: TensorType,
    /// Axes; a dynamic one by its name, or a question mark.
    axes: Vec<String>,
}

/// `describe`.
pub fn describe(args: &DescribeArgs, progress: Progress) -> Result<(), Failure> {
    let path = Path::new(&args.model);
    let view = if path.is_file() {
        of_file(path, &args.data)?
    } else if args.model.ends_with(".onnx") || args.model.contains('/') {
        return Err(Failure::usage(format!("there is no file {}", args.model)));
    } else {
        if !Target::is_named(&args.target) {
            return Err(Failure::usage(format!(
                "there is no file {}, and no target to ask for it",
                args.model
            ))
            .hint("a model of a registry wants --local DIR, or --url URL and --canister ID"));
        }
        of_target(args, progress)?
    };
    if args.json {
        print_json(&view.json());
    } else {
        view.print();
    }
    Ok(())
}

fn of_file(path: &Path, data: &DataArgs) -> Result<View, Failure> {
    let files = ModelFiles::read(path, data)?;
    let (size, sha256) = (files.bytes(), hex::encode(files.sha256()));
    let graph = load(files)?;
    let d = graph.description();
    let cost = graph.load_cost();
    let smallest = graph.shapes(vec![], &Limits::default()).ok();
    let estimate = smallest.and_then(|shapes| graph.estimate(&shapes)).map(|e| e.instructions);
    let mut facts = vec![
        ("file", format!("{}, {} to upload", format::bytes(size), chunks(size))),
        ("sha256", sha256.clone()),
        ("opset", d.opset.to_string()),
        ("parameters", format::grouped(d.parameters)),
    ];
    if !d.producer.is_empty() {
        facts.insert(2, ("written by", d.producer.clone()));
    }
    if let (Some(cost), Some(estimate)) = (cost, estimate) {
        let smallest = if d.is_static() { "" } else { " (here and below: dynamic axes 1 long)" };
        facts.push(("multiply-adds", format!("{}{smallest}", format::instructions(cost.macs))));
        facts.push(("activations", format!("{} at most", format::bytes(cost.peak_bytes))));
        let counted = "`ic-nn profile` counts them";
        facts.push((
            "inference",
            format!("about {} instructions, {}; {counted}", format::about(estimate), fit(estimate)),
        ));
    }
    let json = json!({
        "bytes": size,
        "sha256": sha256,
        "opset": d.opset,
        "producer": d.producer,
        "parameters": d.parameters,
        "multiply_adds": cost.map(|c| c.macs),
        "activation_bytes": cost.map(|c| c.peak_bytes),
        "estimated_instructions": estimate,
    });
    let inputs = d.inputs.iter().map(|i| Port {
        name: i.name.clone(),
        ty: i.ty,
        axes: i.dimensions.iter().map(ToString::to_string).collect(),
    });
    Ok(View {
        facts,
        inputs: inputs.collect(),
        outputs: d.outputs.iter().map(Port::of).collect(),
        operators: d.operators.clone(),
        json,
    })
}

/// Loads the files as the canister does. The engine's library may still panic on files that no check foresees; that
/// is this file's fault then, and told as one.
fn load(files: ModelFiles) -> Result<Graph, Failure> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let loaded = std::panic::catch_unwind(|| Graph::load_files(files.into_inner(), &Limits::default()));
    std::panic::set_hook(hook);
    match loaded {
        Ok(graph) => graph.map_err(|e| Failure::failed(e.to_string())),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message =
                message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(Failure::failed(format!("the engine fails on this model: {message}")))
        }
    }
}

fn of_target(args: &DescribeArgs, progress: Progress) -> Result<View, Failure> {
    let d = Target::open(&args.target, progress)?.client().describe(&args.model)?;
    let sha256 = hex::encode(&d.sha256);
    let loaded = d.graph.map_or_else(|| "no".to_owned(), |graph| format!("as graph {graph}"));
    let mut facts = vec![("model", format!("{}:{}", d.name, d.version))];
    let labels = d.labels.join(", ");
    let provenance = &d.provenance;
    let told = [
        ("labels", Some(labels).filter(|l| !l.is_empty())),
        ("licence", provenance.licence.clone()),
        ("source", provenance.source.clone()),
        ("written by", Some(d.producer.clone()).filter(|p| !p.is_empty())),
    ];
    facts.extend(told.into_iter().filter_map(|(what, value)| Some((what, value?))));
    let metadata: Vec<String> = provenance.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !metadata.is_empty() {
        facts.push(("metadata", metadata.join(", ")));
    }
    facts.extend([
        ("file", format::bytes(d.bytes)),
        ("sha256", sha256.clone()),
        ("parameters", format::grouped(d.parameters)),
        ("loaded", loaded),
    ]);
    if !d.weights.is_empty() {
        let weights: Vec<String> =
            d.weights.iter().map(|w| format!("{} {}", format::grouped(w.elements), w.ty)).collect();
        facts.push(("weights", weights.join(", ")));
    }
    if let Some(macs) = d.macs {
        facts.push(("multiply-adds", format::instructions(macs)));
    }
    if let Some(trial) = d.trial_instructions {
        facts.push((
            "inference",
            format!("{} instructions in the trial at upload: {}", format::instructions(trial), fit(trial)),
        ));
    }
    if let Some(refusal) = &d.trial_refusal {
        facts.push(("trial refused", refusal.clone()));
    }
    let runs: Vec<Value> = d
        .runs
        .iter()
        .map(|r| {
            json!({
                "shapes": r.shapes,
                "plan_instructions": r.plan_instructions,
                "run_instructions": r.run_instructions,
                "fixed": r.fixed,
            })
        })
        .collect();
    let weights: Vec<Value> =
        d.weights.iter().map(|w| json!({ "type": w.ty, "elements": w.elements })).collect();
    let metadata: serde_json::Map<String, Value> =
        provenance.metadata.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    let json = json!({
        "name": d.name,
        "version": d.version,
        "labels": d.labels,
        "provenance": { "licence": provenance.licence, "source": provenance.source, "metadata": metadata },
        "producer": d.producer,
        "opset": d.opset,
        "bytes": d.bytes,
        "sha256": sha256,
        "parameters": d.parameters,
        "weights": weights,
        "quantised_operators": d.quantised_operators,
        "multiply_adds": d.macs,
        "activation_bytes": d.peak_bytes,
        "graph": d.graph,
        "load_instructions": d.load_instructions,
        "trial_instructions": d.trial_instructions,
        "trial_refusal": d.trial_refusal,
        "runs": runs,
    });
    Ok(View {
        facts,
        inputs: d.inputs.iter().map(Port::of).collect(),
        outputs: d.outputs.iter().map(Port::of).collect(),
        operators: d.operators,
        json,
    })
}

fn chunks(bytes: u64) -> String {
    match bytes.div_ceil(u64::from(DEFAULT_CHUNK_BYTES)) {
        1 => "1 chunk".to_owned(),
        n => format!("{n} chunks"),
    }
}

/// Where so many instructions fit.
fn fit(instructions: u64) -> String {
    if instructions <= QUERY_INSTRUCTIONS {
        format!("fits a query ({} of it)", format::share(instructions, QUERY_INSTRUCTIONS))
    } else if instructions <= UPDATE_INSTRUCTIONS {
        format!("fits an update ({} of it), not a query", format::share(instructions, UPDATE_INSTRUCTIONS))
    } else {
        format!("more than an update may take ({})", format::share(instructions, UPDATE_INSTRUCTIONS))
    }
}

impl Port {
    fn of(description: &ic_nn_types::TensorDescription) -> Self {
        let symbol = |axis: usize| description.symbols.get(axis).cloned().flatten();
        let axes = description.dimensions.iter().enumerate().map(|(axis, d)| match d {
            Some(d) => d.to_string(),
            None => symbol(axis).unwrap_or_else(|| "?".to_owned()),
        });
        Port { name: description.name.clone(), ty: description.ty, axes: axes.collect() }
    }

    fn json(&self) -> Value {
        let axis = |axis: &String| axis.parse::<u32>().map_or(Value::Null, Value::from);
        json!({
            "name": self.name,
            "type": self.ty.label(),
            "dimensions": self.axes.iter().map(axis).collect::<Vec<_>>(),
        })
    }

    fn shape(&self) -> String {
        format::axes(self.axes.iter().cloned())
    }
}

impl View {
    fn json(&self) -> Value {
        let mut json = self.json.clone();
        let operators: Vec<Value> =
            self.operators.iter().map(|o| json!({ "operator": o.operator, "count": o.count })).collect();
        json["inputs"] = self.inputs.iter().map(Port::json).collect();
        json["outputs"] = self.outputs.iter().map(Port::json).collect();
        json["operators"] = operators.into();
        json
    }

    fn print(&self) {
        let width = self.facts.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        for (what, value) in &self.facts {
            say!("{what:width$}  {value}");
        }
        let mut ports = table(&["", "name", "type", "shape"]);
        for (kind, list) in [("input", &self.inputs), ("output", &self.outputs)] {
            for port in list {
                ports.add_row([kind, &port.name, port.ty.label(), &port.shape()]);
            }
        }
        say!("{ports}");
        let mut operators = table(&["operator", "nodes"]);
        for operator in &self.operators {
            operators.add_row([operator.operator.as_str(), &operator.count.to_string()]);
        }
        align_right(&mut operators, 1);
        say!("{operators}");
    }
}
