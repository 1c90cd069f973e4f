//! Whether a pipeline's stages are what its manifest says, and fit one another.

use std::cell::Cell;
use std::collections::BTreeMap;

use ic_nn_types::{Error, ErrorCode, GraphDescription, Pipeline, PipelineStage, TensorDescription};

use super::calls::{self, Beside, Wait};
use super::{Found, Ready};
use crate::resident::Hash;

/// Stages that are asked at a time.
const AT_ONCE: usize = 16;

/// Asks every stage what it is and holds the answers to the manifest and to one another.
///
/// # Errors
/// The first thing that does not fit, with the stage, what was expected and what was found.
pub(super) async fn check(manifest: Pipeline, sha256: Hash) -> Result<Ready, Error> {
    let mut waiting = manifest.stages.iter().cloned().enumerate();
    let mut asked: Beside<(usize, Result<Found, Error>)> = Beside::new();
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    let mut failed: Option<(usize, Error)> = None;
    loop {
        while failed.is_none() && asked.len() < AT_ONCE {
            let Some((ix, stage)) = waiting.next() else { break };
            asked.push(async move { (ix, describe(&stage).await) });
        }
        match asked.next().await {
            None => break,
            Some((ix, Ok(stage))) => drop(found.insert(ix, stage)),
            // Of several the first stage's, whoever answered first.
            Some((ix, Err(e))) if failed.as_ref().is_none_or(|(first, _)| ix < *first) => {
                failed = Some((ix, e))
            }
            Some(_) => {}
        }
    }
    if let Some((ix, e)) = failed {
        return Err(Error::new(e.code, format!("stage {}, {}", ix + 1, e.data)));
    }
    let stages: Vec<Found> = found.into_values().collect();
    let (inputs, outputs) = joined(&manifest, &stages)?;
    Ok(Ready { manifest, sha256, inputs, outputs, stages })
}

/// An error of a stage by its place.
fn at(ix: usize, what: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("stage {}, {what}", ix + 1))
}

/// What a stage says it is, held to the manifest.
pub(super) async fn describe(stage: &PipelineStage) -> Result<Found, Error> {
    let model = format!("{}:{}", stage.model, stage.version);
    let arg = candid::encode_one(&model).unwrap_or_default();
    let reply = calls::call(stage, Wait::Short, "describe", &arg).await?;
    let told: GraphDescription = calls::decoded(stage, reply)?;
    if told.sha256 != stage.sha256 || told.version != stage.version {
        return Err(other(stage, &told.sha256));
    }
    let named = |what: &str, all: &[String], told: &[TensorDescription]| {
        let names = || told.iter().map(|t| format!("`{}`", t.name)).collect::<Vec<_>>().join(", ");
        match all.iter().find(|name| told.iter().all(|t| t.name != **name)) {
            Some(name) => Err(Error::invalid_argument(format!(
                "{stage}: the manifest has it {what} `{name}`, there it {what} {}",
                names()
            ))),
            None => Ok(()),
        }
    };
    named("take", &stage.takes, &told.inputs)?;
    named("give", &stage.gives, &told.outputs)?;
    if let Some(input) = told.inputs.iter().find(|input| !stage.takes.contains(&input.name)) {
        return Err(Error::invalid_argument(format!(
            "{stage}: it takes `{}` as well, which the manifest does not give it",
            input.name
        )));
    }
    Ok(Found {
        inputs: told.inputs,
        outputs: told.outputs,
        graph: Cell::new(told.graph),
        wide: Cell::new(false),
        parameters: told.parameters,
        weights: told.weights,
        quantised_operators: told.quantised_operators,
    })
}

/// The error for a stage that has another model than the manifest says.
pub(super) fn other(stage: &PipelineStage, found: &[u8]) -> Error {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    Error::new(
        ErrorCode::RuntimeError,
        format!(
            "{stage} is another model than the manifest names: sha256 {} is expected, {} is there; upload that model there again, or \
             publish a manifest of the one that is there",
            hex(&stage.sha256),
            hex(found)
        ),
    )
}

/// Inputs and outputs of the pipeline, where all that is taken fits what is given.
fn joined(
    manifest: &Pipeline,
    stages: &[Found],
) -> Result<(Vec<TensorDescription>, Vec<TensorDescription>), Error> {
    // What is known of each tensor, and who said so.
    let mut tensors: BTreeMap<&str, (TensorDescription, String)> = BTreeMap::new();
    for (ix, (stage, found)) in manifest.stages.iter().zip(stages).enumerate() {
        for input in &found.inputs {
            match tensors.get_mut(input.name.as_str()) {
                Some((known, by)) => match merged(known, input) {
                    Some(merged) => *known = merged,
                    None => {
                        let what = format!(
                            "{stage}: it takes `{}` as {}, {by} has it as {}",
                            input.name,
                            shown(input),
                            shown(known)
                        );
                        return Err(at(ix, &what));
                    }
                },
                // An input of the pipeline: the manifest's order has nothing else that is not given yet.
                None => {
                    let by = format!("stage {}, {stage},", ix + 1);
                    tensors.insert(&input.name, (input.clone(), by));
                }
            }
        }
        for output in found.outputs.iter().filter(|output| stage.gives.contains(&output.name)) {
            tensors.insert(&output.name, (output.clone(), format!("stage {}, {stage},", ix + 1)));
        }
    }
    let described = |names: &[String]| {
        let one = |name: &String| {
            let missing = || Error::invalid_argument(format!("nothing is known of `{name}`"));
            tensors.get(name.as_str()).map(|(known, _)| known.clone()).ok_or_else(missing)
        };
        names.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    Ok((described(&manifest.inputs)?, described(&manifest.outputs)?))
}

/// What both say of a tensor; none where they cannot both be right.
fn merged(known: &TensorDescription, more: &TensorDescription) -> Option<TensorDescription> {
    if known.ty != more.ty || known.dimensions.len() != more.dimensions.len() {
        return None;
    }
    let mut merged = known.clone();
    for (axis, (dimension, other)) in merged.dimensions.iter_mut().zip(&more.dimensions).enumerate() {
        match (&dimension, other) {
            (Some(a), Some(b)) if a != b => return None,
            (None, Some(_)) => {
                *dimension = *other;
                if let Some(symbol) = merged.symbols.get_mut(axis) {
                    *symbol = None;
                }
            }
            _ => {}
        }
    }
    Some(merged)
}

/// `FP32 [1, tokens, ?]`
fn shown(tensor: &TensorDescription) -> String {
    let axis = |(ix, dimension): (usize, &Option<u32>)| match dimension {
        Some(length) => length.to_string(),
        None => tensor.symbols.get(ix).cloned().flatten().unwrap_or_else(|| "?".into()),
    };
    let axes: Vec<_> = tensor.dimensions.iter().enumerate().map(axis).collect();
    format!("{} [{}]", tensor.ty, axes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_nn_types::TensorType;

    fn tensor(name: &str, ty: TensorType, dimensions: &[Option<u32>]) -> TensorDescription {
        let symbols = vec![None; dimensions.len()];
        TensorDescription { name: name.into(), ty, dimensions: dimensions.to_vec(), symbols }
    }

    fn found(inputs: Vec<TensorDescription>, outputs: Vec<TensorDescription>) -> Found {
        Found {
            inputs,
            outputs,
            graph: Cell::new(None),
            wide: Cell::new(false),
            parameters: 0,
            weights: vec![],
            quantised_operators: 0,
        }
    }

    fn stage(takes: &str, gives: &str) -> PipelineStage {
        PipelineStage {
            canister: candid::Principal::management_canister(),
            model: "m".into(),
            version: 1,
            sha256: [0; 32],
            takes: vec![takes.into()],
            gives: vec![gives.into()],
        }
    }

    #[test]
    fn what_is_taken_has_to_be_what_is_given() {
        use TensorType::{FP32, I64};
        let manifest = Pipeline {
            inputs: vec!["x".into()],
            outputs: vec!["y".into()],
            stages: vec![stage("x", "t"), stage("t", "y")],
        };
        let joins = |t: TensorDescription| {
            let first = found(vec![tensor("x", FP32, &[None])], vec![tensor("t", FP32, &[None, Some(4)])]);
            joined(&manifest, &[first, found(vec![t], vec![tensor("y", I64, &[])])])
        };
        let (inputs, outputs) = joins(tensor("t", FP32, &[Some(2), None])).expect("they fit");
        assert_eq!((inputs[0].name.as_str(), outputs[0].name.as_str()), ("x", "y"));
        for wrong in [
            tensor("t", I64, &[None, Some(4)]),
            tensor("t", FP32, &[Some(4)]),
            tensor("t", FP32, &[None, Some(5)]),
        ] {
            let error = joins(wrong).expect_err("they do not fit");
            assert!(error.data.contains("stage 2") && error.data.contains("FP32 [?, 4]"), "{error}");
        }
    }
}
