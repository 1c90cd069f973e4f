//! `deploy`: the stages of a model on canisters of their own, and a front that answers by them.

use candid::Principal;
use ic_nn_client::{Client, Transport};
use ic_nn_types::{InferRequest, Pipeline, PipelineStage, Role};
use serde_json::json;

use crate::args::{DeployArgs, InputArgs};
use crate::commands::model_file::name_of;
use crate::commands::shard::{Shard, Shards};
use crate::failure::Failure;
use crate::format;
use crate::input;
use crate::output::{json_cycles, print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// `deploy`.
pub fn deploy(args: &DeployArgs, progress: Progress) -> Result<(), Failure> {
    if args.name != name_of(std::path::Path::new(&args.name)) || args.name.len() > 52 {
        return Err(Failure::usage(format!("`{}` is no name for a model with stages", args.name))
            .hint("letters, digits, `.`, `_` and `-`, at most 52, without an ending"));
    }
    let shards = Shards::read(&args.shards)?;
    let target = Target::open(&args.target, progress)?;
    let front = target.id();
    // What has no weights puts parts together; that needs no canister of its own.
    let heavy = shards.stages.iter().filter(|stage| stage.weight_bytes > 0).count();
    let mut places = target.stages(args, heavy, progress)?.into_iter();
    let mut stages = vec![];
    for (ix, stage) in shards.stages.iter().enumerate() {
        let place = if stage.weight_bytes > 0 { places.next() } else { Some(front) };
        let canister = place.ok_or_else(|| Failure::failed("a stage has no canister"))?;
        let name = format!("{}-stage-{:02}", args.name, ix + 1);
        let version = serve(&target.client_of(canister)?, &name, stage, front, progress)?;
        stages.push(PipelineStage {
            canister,
            model: name,
            version,
            sha256: stage.sha256,
            takes: stage.takes.clone(),
            gives: stage.gives.clone(),
        });
        // What is done stays done where a later step fails.
        target.keep()?;
    }
    let manifest = Pipeline { inputs: shards.inputs.clone(), outputs: shards.outputs.clone(), stages };
    let bytes = manifest.encode().map_err(|e| Failure::failed(e.to_string()))?;
    let client = target.client();
    let version = progress.during("giving the front the manifest, which asks every stage", || {
        client.upload(&args.name, &bytes, &mut |_| {})
    })?;
    let model = format!("{}:{}", version.name, version.version);
    client.load_by_name(&model)?;
    target.keep()?;
    let described = client.describe(&model)?;
    let random = InputArgs { inputs: vec!["random:0".into()], ..Default::default() };
    let case = input::cases(&random, &described.inputs)?.pop();
    let request = InferRequest {
        model: model.clone(),
        inputs: case.map(|c| c.inputs).unwrap_or_default(),
        ..Default::default()
    };
    // The first request has stages run shapes that may be new to them; the second is what every further one is.
    progress.during("asking it", || client.infer(&request))?;
    let mut canisters = vec![front];
    canisters.extend(manifest.stages.iter().map(|stage| stage.canister));
    let (answer, burned) = target.burned(&canisters, || client.infer(&request));
    let answer = answer?;
    target.keep()?;
    if args.json {
        let stages: Vec<_> = manifest
            .stages
            .iter()
            .map(|s| json!({ "canister": s.canister.to_text(), "model": format!("{}:{}", s.model, s.version) }))
            .collect();
        print_json(&json!({
            "model": model,
            "front": front.to_text(),
            "stages": stages,
            "instructions": answer.instructions,
            // Of the front, then of each stage's canister.
            "cycles_13_nodes": burned.map(|all| all.into_iter().map(json_cycles).collect::<Vec<_>>()),
        }));
        return Ok(());
    }
    let mut table = table(&["stage", "canister", "model", "weights"]);
    for (ix, (stage, shard)) in manifest.stages.iter().zip(&shards.stages).enumerate() {
        table.add_row([
            (ix + 1).to_string(),
            stage.canister.to_text(),
            format!("{}:{}", stage.model, stage.version),
            format::bytes(shard.weight_bytes),
        ]);
    }
    say!("{table}");
    let cycles = burned.map_or(String::new(), |all| {
        let own = all.first().copied().unwrap_or(0);
        let mut others: Vec<_> = canisters.iter().zip(all).filter(|(id, _)| **id != front).collect();
        others.sort_unstable();
        others.dedup();
        let others = others.into_iter().map(|(_, cycles)| cycles).sum();
        format!(
            ", {} cycles of the front and {} of the stages on 13 nodes",
            format::cycles(own),
            format::cycles(others)
        )
    });
    say!(
        "{model} on {front} answers; a request takes {} instructions{cycles}",
        format::instructions(answer.instructions)
    );
    say!("ask it: ic-nn infer {} --update --input ...", args.name);
    Ok(())
}

/// Sees to it that a stage's model is on a canister, loaded, and open to the front; its version.
fn serve(
    client: &Client<Box<dyn Transport + '_>>,
    name: &str,
    stage: &Shard,
    front: Principal,
    progress: Progress,
) -> Result<u64, Failure> {
    let there = client.describe(name).ok().filter(|there| there.sha256 == stage.sha256);
    let version = match there {
        Some(there) => {
            progress.note(&format!("{name}:{} is there", there.version));
            there.version
        }
        None => {
            let mut bar = progress.upload(name, stage.file.len() as u64);
            let uploaded = client.upload(name, &stage.file, &mut |event| bar.event(&event));
            bar.finish();
            uploaded?.version
        }
    };
    progress.briefly(&format!("loading {name}"), || client.load_by_name(&format!("{name}:{version}")))?;
    client.grant_role(front, Role::Caller)?;
    Ok(version)
}
