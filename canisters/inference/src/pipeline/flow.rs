//! A request on its way: stages run as soon as what they take is there, side by side where they can.

use std::collections::BTreeMap;
use std::rc::Rc;

use ic_nn_types::{Error, ErrorCode, NamedTensor, Tensor};

use super::calls::{Beside, is_lacking};
use super::stage::{self, Asked, Given};
use super::{Ready, forget};
use crate::jobs;
use crate::run::Limits;

/// Stages of a request that are called at a time. For each the system sets cycles aside for a whole message.
const AT_ONCE: usize = 16;

/// Runs the stages on inputs in the pipeline's order; the outputs in its order, and the instructions that stages told.
///
/// # Errors
/// The first that a stage answers. What is under way by then is waited for, so that nothing stays open on the stages.
pub(super) async fn run(
    ready: &Rc<Ready>,
    inputs: Vec<Tensor>,
    limits: Limits,
) -> Result<(Vec<NamedTensor>, u64), Error> {
    let manifest = &ready.manifest;
    let mut tensors: BTreeMap<&str, Rc<Tensor>> = BTreeMap::new();
    for (name, tensor) in manifest.inputs.iter().zip(inputs) {
        tensors.insert(name, Rc::new(tensor));
    }
    let mut waiting: Vec<usize> = (0..manifest.stages.len()).collect();
    let mut under: Beside<(usize, Result<Given, Error>)> = Beside::new();
    let (mut told, mut failed, mut most) = (0u64, None, AT_ONCE);
    loop {
        let mut at = 0;
        while failed.is_none() && under.len() < most && at < waiting.len() {
            let ix = waiting[at];
            let takes = &manifest.stages[ix].takes;
            let taken: Option<Vec<_>> =
                takes.iter().map(|name| Some((name.clone(), tensors.get(name.as_str())?.clone()))).collect();
            let Some(taken) = taken else {
                at += 1;
                continue;
            };
            waiting.remove(at);
            let asked = Asked {
                max_instructions: limits.max_instructions.map(|most| most.saturating_sub(told)),
                slice_instructions: limits.slice_instructions,
            };
            let ready = ready.clone();
            under.push(async move { (ix, stage::run(&ready, ix, taken, asked).await) });
        }
        let Some((ix, outcome)) = under.next().await else { break };
        let stop = limits.job.and_then(jobs::stopped).filter(|_| failed.is_none());
        match outcome {
            _ if let Some(e) = stop => failed = Some(e),
            Ok(given) => {
                told = told.saturating_add(given.instructions);
                for (name, tensor) in manifest.stages[ix].gives.iter().zip(given.tensors) {
                    tensors.insert(name, Rc::new(tensor));
                }
                // What nobody waits for any more goes.
                let waited = |name: &str| {
                    manifest.outputs.iter().any(|output| output == name)
                        || waiting.iter().any(|ix| manifest.stages[*ix].takes.iter().any(|t| t == name))
                };
                tensors.retain(|name, _| waited(name));
            }
            // Others of this request have the cycles: it waits for those.
            Err(e) if is_lacking(&e) && under.len() > 0 && failed.is_none() => {
                most = under.len();
                waiting.insert(0, ix);
            }
            Err(e) => {
                // The next request asks anew what the stages are.
                forget(ready.sha256);
                failed.get_or_insert_with(|| Error::new(e.code, format!("stage {}, {}", ix + 1, e.data)));
            }
        }
    }
    if let Some(e) = failed {
        return Err(e);
    }
    let output = |name: &String| {
        let tensor = tensors.get(name.as_str()).ok_or_else(|| {
            Error::new(ErrorCode::RuntimeError, format!("no stage gave the output `{name}`"))
        })?;
        Ok((name.clone(), tensor.as_ref().clone()))
    };
    let outputs = manifest.outputs.iter().map(output).collect::<Result<Vec<_>, Error>>()?;
    Ok((outputs, told))
}
