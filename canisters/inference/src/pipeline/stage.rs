//! One stage of one request: by `infer` where tensors fit a message, else in parts through a context of the stage's.
//!
//! Either way it is made sure which model answered: by the receipt of the reply, or, since a context has none and does not outlive
//! its canister's code, by asking afterwards what its handle is on.

use std::collections::HashMap;
use std::rc::Rc;

use ic_nn_types::{
    ComputeOptions, Error, ErrorCode, GraphDescription, InferParameters, InferRequest, InferResponse,
    NamedTensor, OutputPart, OutputRange, PipelineStage, Tensor, TensorDescription,
};

use super::calls::{self, Beside, Wait};
use super::opened::Opened;
use super::{Found, Ready, check};
use crate::{state, wire};

/// Bytes of a tensor that go in a message: what is left of its 2 MiB is for names and Candid.
const PART: usize = 2_000_000;
/// Parts of a stage's tensors that are on their way at a time.
const PARTS_AT_ONCE: usize = 8;

/// What a request asks of each stage.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) max_instructions: Option<u64>,
    pub(super) slice_instructions: Option<u64>,
}

/// What a stage gave.
pub(super) struct Given {
    /// In the manifest's order.
    pub(super) tensors: Vec<Tensor>,
    /// What it told of them.
    pub(super) instructions: u64,
}

type Taken = Vec<(String, Rc<Tensor>)>;

/// Runs a stage.
pub(super) async fn run(ready: &Ready, ix: usize, taken: Taken, asked: Asked) -> Result<Given, Error> {
    let (stage, found) = (&ready.manifest.stages[ix], &ready.stages[ix]);
    let fits = |bytes: u64| bytes <= PART as u64;
    let bytes_in = taken.iter().map(|(_, tensor)| tensor.data.len() as u64).sum();
    let bytes_out = expected(stage, found, &taken);
    if fits(bytes_in) && bytes_out.is_none_or(fits) && !found.wide.get() {
        match by_infer(stage, found, &taken, asked).await {
            // It may be the reply that is too large: how long it would be was not known.
            Err(e) if e.code == ErrorCode::TooLarge && bytes_out.is_none() => found.wide.set(true),
            done => return done,
        }
    }
    match by_context(stage, found, taken.clone(), asked).await {
        // An upgrade of the stage leaves the context, and nothing in it: all of it once more, in another.
        Err(e) if calls::is_lost(&e) => by_context(stage, found, taken, asked).await,
        done => done,
    }
}

/// Bytes of what it gives, where its description tells.
fn expected(stage: &PipelineStage, found: &Found, taken: &Taken) -> Option<u64> {
    let mut symbols: HashMap<&str, u32> = HashMap::new();
    for input in &found.inputs {
        let (_, tensor) = taken.iter().find(|(name, _)| *name == input.name)?;
        for (symbol, length) in input.symbols.iter().zip(&tensor.dimensions) {
            symbols.extend(symbol.as_deref().map(|symbol| (symbol, *length)));
        }
    }
    let mut bytes = 0u64;
    for name in &stage.gives {
        let output = found.outputs.iter().find(|output| output.name == *name)?;
        let axes = output.dimensions.iter().enumerate();
        let length = |(axis, length): (usize, &Option<u32>)| {
            length.or_else(|| symbols.get(output.symbols.get(axis)?.as_deref()?).copied())
        };
        let dimensions = axes.map(length).collect::<Option<Vec<u32>>>()?;
        let tensor = Tensor { dimensions, ty: output.ty, data: vec![] };
        bytes = bytes.saturating_add(tensor.expected_bytes().unwrap_or(u64::MAX));
    }
    Some(bytes)
}

async fn by_infer(stage: &PipelineStage, found: &Found, taken: &Taken, asked: Asked) -> Result<Given, Error> {
    let request = InferRequest {
        model: format!("{}:{}", stage.model, stage.version),
        inputs: taken.iter().map(|(name, tensor)| (name.clone(), tensor.as_ref().clone())).collect(),
        outputs: Some(stage.gives.clone()),
        parameters: Some(InferParameters {
            receipt: Some(true),
            cache: None,
            max_instructions: asked.max_instructions,
            slice_instructions: asked.slice_instructions,
        }),
    };
    let arg = encoded(candid::encode_one(&request))?;
    drop(request);
    let reply = calls::call(stage, Wait::Long, "infer", &arg).await?;
    drop(arg);
    let answer: InferResponse = calls::decoded(stage, reply)?;
    let model = answer.receipt.map(|receipt| receipt.model).unwrap_or_default();
    if model != stage.sha256 || answer.version != stage.version {
        return Err(check::other(stage, &model));
    }
    Ok(Given { tensors: held(stage, found, answer.outputs)?, instructions: answer.instructions })
}

/// Holds what a stage answered to what it said of itself.
fn held(stage: &PipelineStage, found: &Found, outputs: Vec<NamedTensor>) -> Result<Vec<Tensor>, Error> {
    let names: Vec<&String> = outputs.iter().map(|(name, _)| name).collect();
    let fits = names.len() == stage.gives.len()
        && outputs.iter().zip(&stage.gives).all(|((name, tensor), given)| {
            let described = found.outputs.iter().find(|output| output.name == *given);
            name == given && described.is_some_and(|described| is(described, tensor))
        });
    if fits {
        return Ok(outputs.into_iter().map(|(_, tensor)| tensor).collect());
    }
    let came: Vec<_> =
        outputs.iter().map(|(name, t)| format!("`{name}` {} {:?}", t.ty, t.dimensions)).collect();
    Err(Error::new(
        ErrorCode::RuntimeError,
        format!("{stage}: it answered other outputs than it describes: {}", came.join(", ")),
    ))
}

fn is(described: &TensorDescription, tensor: &Tensor) -> bool {
    described.ty == tensor.ty
        && described.dimensions.len() == tensor.dimensions.len()
        && described
            .dimensions
            .iter()
            .zip(&tensor.dimensions)
            .all(|(d, length)| d.is_none_or(|d| d == *length))
        && tensor.expected_bytes() == Some(tensor.data.len() as u64)
}

async fn by_context(
    stage: &PipelineStage,
    found: &Found,
    taken: Taken,
    asked: Asked,
) -> Result<Given, Error> {
    Opened::close_left();
    let known = match found.graph.get() {
        Some(graph) => Opened::open(stage, graph).await.map(|opened| (graph, opened)),
        None => Err(Error::not_found("")),
    };
    let (graph, opened) = match known {
        Ok(open) => open,
        // The handle that was known is closed, or none was: a fresh look.
        Err(e) if matches!(e.code, ErrorCode::NotFound | ErrorCode::InvalidArgument) => {
            let graph = check::describe(stage).await?.graph.get().ok_or_else(|| {
                Error::new(
                    ErrorCode::RuntimeError,
                    format!(
                        "{stage}: it is not loaded there, and tensors over {PART} bytes go through contexts, which need a handle: \
                         call load_by_name there"
                    ),
                )
            })?;
            found.graph.set(Some(graph));
            (graph, Opened::open(stage, graph).await?)
        }
        Err(e) => return Err(e),
    };
    let given = within(stage, found, (graph, opened.context()), taken, asked).await;
    // Whatever came of it, nothing stays open; the answer does not wait for that.
    opened.close();
    given
}

/// What comes back when a context is read.
enum Came {
    Part(usize, OutputPart),
    Same,
}

async fn within(
    stage: &PipelineStage,
    found: &Found,
    (graph, context): (u64, u64),
    taken: Taken,
    asked: Asked,
) -> Result<Given, Error> {
    let mut parts = taken.into_iter().flat_map(|(name, tensor)| {
        let count = tensor.data.len().div_ceil(PART).max(1);
        (0..count).map(move |part| (name.clone(), tensor.clone(), part * PART))
    });
    let mut sent: Beside<Result<(), Error>> = Beside::new();
    let mut failed = None;
    loop {
        while failed.is_none() && sent.len() < PARTS_AT_ONCE {
            let Some((name, tensor, offset)) = parts.next() else { break };
            let stage = stage.clone();
            sent.push(async move {
                let data = tensor.data[offset..tensor.data.len().min(offset + PART)].to_vec();
                let part = Tensor { dimensions: tensor.dimensions.clone(), ty: tensor.ty, data };
                let arg = encoded(candid::encode_args((context, name, part, Some(offset as u64))))?;
                calls::decoded::<()>(&stage, calls::call(&stage, Wait::Long, "set_input", &arg).await?)
            });
        }
        match sent.next().await {
            None => break,
            Some(Ok(())) => {}
            Some(Err(e)) => failed = failed.or(Some(e)),
        }
    }
    if let Some(e) = failed {
        return Err(e);
    }
    let nothing = ComputeOptions { outputs: Some(vec![]), slice_instructions: asked.slice_instructions };
    let arg = encoded(candid::encode_args((context, Vec::<NamedTensor>::new(), Some(nothing))))?;
    let _: Vec<NamedTensor> = calls::decoded(stage, calls::call(stage, Wait::Long, "compute", &arg).await?)?;
    read(stage, found, (graph, context)).await
}

/// The outputs of a context, once it is sure that they are of this stage's model.
async fn read(stage: &PipelineStage, found: &Found, (graph, context): (u64, u64)) -> Result<Given, Error> {
    let mut asked: Beside<Result<Came, Error>> = Beside::new();
    let ask = |ix: usize, offset: u64| {
        let stage = stage.clone();
        async move {
            let range = OutputRange { offset: Some(offset), limit: Some(PART as u64) };
            let arg = encoded(candid::encode_args((context, &stage.gives[ix], Some(range))))?;
            let reply = calls::call(&stage, Wait::Long, "get_output", &arg).await?;
            Ok(Came::Part(ix, calls::decoded(&stage, reply)?))
        }
    };
    {
        let stage = stage.clone();
        asked.push(async move {
            let arg = encoded(candid::encode_one(graph))?;
            let reply = calls::call(&stage, Wait::Short, "describe_graph", &arg).await?;
            let told: GraphDescription = calls::decoded(&stage, reply)?;
            if told.sha256 == stage.sha256 { Ok(Came::Same) } else { Err(check::other(&stage, &told.sha256)) }
        });
    }
    // First parts tell how many there are.
    let mut waiting: Vec<(usize, u64)> = (0..stage.gives.len()).rev().map(|ix| (ix, 0)).collect();
    let mut tensors: Vec<Option<Tensor>> = stage.gives.iter().map(|_| None).collect();
    let (mut failed, mut came, mut instructions) = (None, vec![0u64; stage.gives.len()], 0);
    loop {
        while failed.is_none() && asked.len() < PARTS_AT_ONCE {
            let Some((ix, offset)) = waiting.pop() else { break };
            asked.push(ask(ix, offset));
        }
        match asked.next().await {
            None => break,
            Some(Ok(Came::Same)) => {}
            Some(Ok(Came::Part(ix, part))) => {
                instructions = part.instructions.unwrap_or(instructions);
                match placed(&mut tensors[ix], &part, state::limits().available_bytes) {
                    Ok(first) => {
                        came[ix] += part.data.len() as u64;
                        if first {
                            let more = (1..part.total_bytes.div_ceil(PART as u64)).rev();
                            waiting.extend(more.map(|more| (ix, more * PART as u64)));
                        }
                    }
                    Err(why) => {
                        let why = format!("{stage}: output `{}`: {}", stage.gives[ix], why.data);
                        failed = failed.or(Some(Error::new(ErrorCode::TooLarge, why)));
                    }
                }
            }
            Some(Err(e)) => failed = failed.or(Some(e)),
        }
    }
    if let Some(e) = failed {
        return Err(e);
    }
    let named = stage.gives.iter().zip(tensors).zip(came);
    let whole = named.filter_map(|((name, tensor), came)| {
        tensor.filter(|tensor| tensor.data.len() as u64 == came).map(|tensor| (name.clone(), tensor))
    });
    Ok(Given { tensors: held(stage, found, whole.collect())?, instructions })
}

/// Puts a part where it belongs, if the heap has room for the whole; whether it was the first.
fn placed(tensor: &mut Option<Tensor>, part: &OutputPart, available: u64) -> Result<bool, Error> {
    let first = tensor.is_none();
    if first && part.total_bytes > available {
        return Err(Error::too_large(format!(
            "it has {} bytes, the heap here has {available} left (max_heap_bytes)",
            part.total_bytes
        )));
    }
    let tensor = tensor.get_or_insert_with(|| Tensor {
        dimensions: part.dimensions.clone(),
        ty: part.ty,
        data: vec![0; part.total_bytes as usize],
    });
    let at = part.offset as usize;
    match tensor.data.get_mut(at..at.saturating_add(part.data.len())) {
        Some(room) => room.copy_from_slice(&part.data),
        None => return Err(Error::too_large(format!("a part at {at} is behind its end"))),
    }
    Ok(first)
}

pub(super) fn encoded(arg: Result<Vec<u8>, candid::Error>) -> Result<Vec<u8>, Error> {
    let arg = arg.map_err(|e| Error::new(ErrorCode::RuntimeError, format!("a call does not encode: {e}")))?;
    if arg.len() > wire::MAX_UPDATE_REPLY {
        return Err(Error::too_large(format!(
            "a call of {} bytes, a message holds {}",
            arg.len(),
            wire::MAX_UPDATE_REPLY
        )));
    }
    Ok(arg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_nn_types::TensorType;

    #[test]
    fn parts_make_a_tensor_in_any_order() {
        let part = |offset: u64, data: &[u8]| OutputPart {
            dimensions: vec![5],
            ty: TensorType::U8,
            total_bytes: 5,
            offset,
            data: data.to_vec(),
            instructions: None,
        };
        let mut tensor = None;
        assert!(placed(&mut tensor, &part(3, &[4, 5]), 5).is_ok_and(|first| first));
        assert!(placed(&mut tensor, &part(0, &[1, 2, 3]), 5).is_ok_and(|first| !first));
        assert_eq!(tensor.as_ref().map(|t| t.data.clone()), Some(vec![1, 2, 3, 4, 5]));
        assert!(placed(&mut tensor, &part(4, &[4, 5]), 5).is_err());
        assert!(placed(&mut None, &part(0, &[1]), 4).is_err_and(|e| e.data.contains("5 bytes")));
    }
}
