//! `shard`: a model file cut into stages, and what is written down of them.

use std::path::Path;

use ic_nn_engine::shard::{Cut, ShardError, Sharded, Stage, shard as cut};
use ic_nn_engine::{Graph, Limits};
use ic_nn_types::NamedTensor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::args::{InputArgs, ShardArgs};
use crate::commands::estimate::shapes;
use crate::commands::model_file::ModelFiles;
use crate::failure::Failure;
use crate::format;
use crate::input;
use crate::output::{align_right, print_json, table};
use crate::print::say;
use crate::progress::Progress;

/// The file that says what the stages are.
pub const PLAN: &str = "plan.json";
/// What its fields mean: this number grows with another meaning.
const LAYOUT: u64 = 1;

/// `shard`.
pub fn shard(args: &ShardArgs, progress: Progress) -> Result<(), Failure> {
    let files = ModelFiles::read(&args.model, &args.data)?.into_inner();
    let limits = Limits::default();
    let mut whole = progress
        .during("planning the model", || Graph::load_files(files.clone(), &limits))
        .map_err(|e| Failure::failed(e.to_string()))?;
    let described = whole.description().wire_inputs();
    let names: Vec<&str> = described.iter().map(|input| input.name.as_str()).collect();
    let request = Cut {
        stages: args.stages,
        max_bytes: args.max_bytes,
        tensor: args.tensor,
        shapes: shapes(&args.shapes, &names)?,
    };
    let sharded = progress.during("cutting it", || cut(files, &request, &limits)).map_err(refused)?;
    let random =
        InputArgs { inputs: vec!["random:0".into()], shapes: args.shapes.clone(), ..Default::default() };
    let inputs = match described.is_empty() {
        true => vec![],
        false => input::cases(&random, &described)?.pop().map(|case| case.inputs).unwrap_or_default(),
    };
    let apart = progress.during("running the whole and its stages on random numbers", || {
        let expected = whole.infer(inputs.clone(), &limits).map_err(|e| Failure::failed(e.to_string()))?;
        let staged = sharded.infer(inputs, &limits).map_err(refused)?;
        Ok::<_, Failure>(apart(&expected, &staged))
    })?;
    if let (Some(apart), false) = (&apart, args.inexact) {
        return Err(Failure::failed(format!("the stages round otherwise than the whole model: {apart}")).hint(
            "a product in parts may be one that the whole computes by Strassen's quarters; another number of stages, no --tensor or a \
             larger --max-bytes cuts elsewhere, --inexact takes them so",
        ));
    }
    let plan = write(&args.out, &sharded, apart.is_none())?;
    if args.json {
        print_json(&plan);
        return Ok(());
    }
    print(&sharded);
    let exact = match apart {
        None => "they answer the bits of the whole model".to_owned(),
        Some(apart) => format!("they round otherwise than the whole model: {apart}"),
    };
    say!("{} stages and {PLAN} are in {}; {exact}", sharded.stages.len(), args.out.display());
    Ok(())
}

fn refused(e: ShardError) -> Failure {
    match e {
        ShardError::Unasked => Failure::usage(e.to_string()),
        e => Failure::failed(e.to_string()),
    }
}

/// How far the first output that differs is off; none where all bits are the same.
fn apart(expected: &[NamedTensor], staged: &[NamedTensor]) -> Option<String> {
    let (name, a, b) =
        expected.iter().zip(staged).find_map(|((name, a), (_, b))| (a != b).then_some((name, a, b)))?;
    let largest = ic_nn_engine::difference(a, b).map_or(f64::NAN, |difference| difference.max_error);
    Some(format!("`{name}` is {largest:e} off at most"))
}

fn file_name(ix: usize) -> String {
    format!("stage-{:02}.onnx", ix + 1)
}

/// Writes the stages and their plan.
fn write(folder: &Path, sharded: &Sharded, exact: bool) -> Result<Value, Failure> {
    let io = |e: std::io::Error| Failure::unprepared(format!("cannot write to {}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut stages = vec![];
    for (ix, stage) in sharded.stages.iter().enumerate() {
        let Stage { file, takes, gives, nodes, weight_bytes, instructions, bytes_in, bytes_out, part } =
            stage;
        std::fs::write(folder.join(file_name(ix)), file).map_err(io)?;
        stages.push(json!({
            "file": file_name(ix),
            "sha256": hex::encode(Sha256::digest(file)),
            "takes": takes,
            "gives": gives,
            "nodes": nodes,
            "weight_bytes": weight_bytes,
            "instructions": instructions,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "part": part.as_ref().map(|(of, part, parts)| json!({ "of": of, "part": part, "parts": parts })),
        }));
    }
    let inputs: Vec<&str> = sharded.inputs.iter().map(|input| input.name.as_str()).collect();
    let plan = json!({
        "layout": LAYOUT,
        "inputs": inputs,
        "outputs": sharded.outputs,
        "instructions": sharded.instructions,
        "exact": exact,
        "stages": stages,
    });
    let text = serde_json::to_string_pretty(&plan).map_err(|e| Failure::failed(e.to_string()))?;
    std::fs::write(folder.join(PLAN), text + "\n").map_err(io)?;
    Ok(plan)
}

fn print(sharded: &Sharded) {
    let mut table = table(&["stage", "part", "nodes", "weights", "instructions", "share", "takes", "gives"]);
    for (ix, stage) in sharded.stages.iter().enumerate() {
        let part = stage.part.as_ref().map_or(String::new(), |(_, part, parts)| format!("{part} of {parts}"));
        table.add_row(vec![
            (ix + 1).to_string(),
            part,
            stage.nodes.to_string(),
            format::bytes(stage.weight_bytes),
            format::instructions(stage.instructions),
            format::share(stage.instructions, sharded.instructions),
            format::bytes(stage.bytes_in),
            format::bytes(stage.bytes_out),
        ]);
    }
    align_right(&mut table, 2);
    say!("{table}");
}

/// What the folder has: the plan as it was written, each file held to its hash.
pub struct Shards {
    /// Inputs and outputs of the model.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub stages: Vec<Shard>,
}

/// A stage on disk.
pub struct Shard {
    pub file: Vec<u8>,
    pub sha256: [u8; 32],
    pub takes: Vec<String>,
    pub gives: Vec<String>,
    pub weight_bytes: u64,
}

impl Shards {
    /// Reads a folder that [`shard`] wrote.
    pub fn read(folder: &Path) -> Result<Shards, Failure> {
        let path = folder.join(PLAN);
        let unusable = |why: String| {
            Failure::usage(format!("{}: {why}", path.display()))
                .hint("`ic-nn shard MODEL.onnx --stages N --out DIR` writes it")
        };
        let text = std::fs::read_to_string(&path).map_err(|e| unusable(e.to_string()))?;
        let plan: Value = serde_json::from_str(&text).map_err(|e| unusable(e.to_string()))?;
        if plan["layout"] != LAYOUT {
            return Err(unusable(format!("its layout is {}, {LAYOUT} is expected", plan["layout"])));
        }
        let names = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let stage = |value: &Value| {
            let missing = || unusable("a stage lacks a field".to_owned());
            let file = value["file"].as_str().filter(|f| !f.contains(['/', '\\'])).ok_or_else(missing)?;
            let bytes = std::fs::read(folder.join(file)).map_err(|e| unusable(format!("{file}: {e}")))?;
            let sha256: [u8; 32] = Sha256::digest(&bytes).into();
            if value["sha256"] != hex::encode(sha256) {
                return Err(unusable(format!("{file} is not the file that the plan is of")));
            }
            Ok(Shard {
                file: bytes,
                sha256,
                takes: names(&value["takes"]).ok_or_else(missing)?,
                gives: names(&value["gives"]).ok_or_else(missing)?,
                weight_bytes: value["weight_bytes"].as_u64().ok_or_else(missing)?,
            })
        };
        let missing = || unusable("it lacks inputs, outputs or stages".to_owned());
        let stages = plan["stages"].as_array().ok_or_else(missing)?;
        Ok(Shards {
            inputs: names(&plan["inputs"]).ok_or_else(missing)?,
            outputs: names(&plan["outputs"]).ok_or_else(missing)?,
            stages: stages.iter().map(stage).collect::<Result<_, _>>()?,
        })
    }
}
