//! Pipelines: versions whose file is a manifest of models on other canisters, which answer together.
//!
//! A pipeline has a name, versions, labels, handles and contexts like any model. What of it is in the heap is the manifest and what
//! its stages were found to be when it was checked: at the commit, with a handle, and again after anything about a stage was not
//! as it had been. A pipeline that was not found in order is not ready, and every request checks it anew.
//!
//! Nothing here is remembered of a request once it is answered; what is under way is lost with an upgrade, as all of the heap is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ic_nn_store::Version;
use ic_nn_types::{
    Error, ErrorCode, GraphEncoding, MAX_PIPELINE_BYTES, NamedTensor, OperatorCount, PIPELINE_MAGIC,
    Pipeline, TensorDescription,
};

use crate::facts::Facts;
use crate::resident::Hash;
use crate::run::{Answer, Limits};
use crate::variant::Content;
use crate::{cache, receipts, runtime, state};

mod calls;
mod check;
mod flow;
mod opened;
mod stage;
mod turns;

/// Pipelines that are kept in the heap: of more, one without a reason leaves and is checked again when it is asked.
const MAX_READY: usize = 64;

/// Types of weights that are told: there are fewer, whatever a stage says.
const MAX_WEIGHT_TYPES: usize = 32;

/// A pipeline whose stages were found in order.
pub(crate) struct Ready {
    manifest: Pipeline,
    sha256: Hash,
    inputs: Vec<TensorDescription>,
    outputs: Vec<TensorDescription>,
    stages: Vec<Found>,
}

/// What a stage was found to be.
struct Found {
    /// The model's inputs and outputs there.
    inputs: Vec<TensorDescription>,
    outputs: Vec<TensorDescription>,
    /// A handle on it there, if it had one.
    graph: Cell<Option<u64>>,
    /// Whether its answer did once not fit a reply.
    wide: Cell<bool>,
    parameters: u64,
    weights: Vec<ic_nn_types::WeightCount>,
    quantised_operators: u32,
}

thread_local! {
    static READY: RefCell<BTreeMap<Hash, Rc<Ready>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether the version's file is a manifest. Costs some thousand instructions where it may be.
pub(crate) fn is(version: &Version) -> bool {
    // No encoding of wasi-nn's means it.
    version.encoding == GraphEncoding::Autodetect
        && state::store(|s| {
            let blob = s.blob(&version.name, version.version)?;
            let mut head = [0; PIPELINE_MAGIC.len()];
            if blob.bytes() < head.len() as u64 {
                return Ok(false);
            }
            blob.read(0, &mut head)?;
            Ok::<_, Error>(Pipeline::is(&head))
        })
        .unwrap_or(false)
}

/// Whether the version can answer without being brought: its graph is in the heap, or its stages were found in order.
pub(crate) fn is_here(version: &Version) -> bool {
    READY.with_borrow(|ready| ready.contains_key(&version.sha256))
        || state::residents(|r| r.has(Content::of(version)))
}

/// Refuses what a pipeline does not do, with what to do instead.
pub(crate) fn refuse(version: &Version, what: &str) -> Result<(), Error> {
    if !is(version) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::UnsupportedOperation,
        format!("`{}:{}` is a pipeline of models on other canisters: {what}", version.name, version.version),
    ))
}

/// The facts of a manifest that came as files, its stages found in order.
pub(crate) async fn tried(named: GraphEncoding, files: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let [bytes] = files else {
        return Err(Error::invalid_argument(format!(
            "a pipeline's manifest is one file, {} came",
            files.len()
        )));
    };
    announced(named)?;
    let before = runtime::call_instructions();
    let manifest = Pipeline::decode(bytes)?;
    let ready = check::check(manifest, sha256(bytes)).await?;
    let facts = facts(&ready, runtime::call_instructions() - before);
    keep(ready);
    facts.encode()
}

/// The same of an open upload that begins with `head`; none where that is no manifest's.
pub(crate) async fn uploaded(
    upload: u64,
    named: GraphEncoding,
    head: &[u8],
) -> Option<Result<Vec<u8>, Error>> {
    if !Pipeline::is(head) {
        return None;
    }
    let file = state::store(|s| {
        let files = s.upload_builders(upload)?.len().max(1);
        let blob = s.upload_blob(upload)?;
        if files > 1 || blob.bytes() > MAX_PIPELINE_BYTES as u64 {
            return Err(Error::new(
                ErrorCode::InvalidEncoding,
                format!(
                    "a pipeline's manifest is one file of at most {MAX_PIPELINE_BYTES} bytes, {files} of {} came",
                    blob.bytes()
                ),
            ));
        }
        Ok::<_, Error>(blob.to_vec()?)
    });
    Some(match file {
        Ok(file) => tried(named, &[&file]).await,
        Err(e) => Err(e),
    })
}

fn announced(named: GraphEncoding) -> Result<(), Error> {
    if named == GraphEncoding::Autodetect {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidEncoding,
        "the file is a pipeline's manifest, which has no encoding of its own: leave `encoding` away, or say `autodetect`",
    ))
}

/// Sees to it that the version's stages are in order now, whatever they were before.
pub(crate) async fn bring(version: &Version) -> Result<(), Error> {
    forget(version.sha256);
    found(version).await.map(drop)
}

/// Drops what is known of the stages.
pub(crate) fn forget(sha256: Hash) {
    READY.with_borrow_mut(|ready| ready.remove(&sha256));
}

/// What is known of the stages, checked where nothing is.
async fn found(version: &Version) -> Result<Rc<Ready>, Error> {
    if let Some(ready) = READY.with_borrow(|ready| ready.get(&version.sha256).cloned()) {
        return Ok(ready);
    }
    let bytes = state::store(|s| Ok::<_, Error>(s.blob(&version.name, version.version)?.to_vec()?))?;
    Ok(keep(check::check(Pipeline::decode(&bytes)?, version.sha256).await?))
}

fn keep(ready: Ready) -> Rc<Ready> {
    let ready = Rc::new(ready);
    READY.with_borrow_mut(|all| {
        if all.len() >= MAX_READY && !all.contains_key(&ready.sha256) {
            all.pop_first();
        }
        all.insert(ready.sha256, ready.clone());
    });
    ready
}

fn sha256(bytes: &[u8]) -> Hash {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

fn facts(ready: &Ready, load_instructions: u64) -> Facts {
    let mut weights: Vec<ic_nn_types::WeightCount> = vec![];
    for count in ready.stages.iter().flat_map(|stage| &stage.weights) {
        if let Some(known) = weights.iter_mut().find(|w| w.ty == count.ty) {
            known.elements = known.elements.saturating_add(count.elements);
        } else if weights.len() < MAX_WEIGHT_TYPES {
            weights.push(count.clone());
        }
    }
    weights.sort_by(|a, b| b.elements.cmp(&a.elements).then_with(|| a.ty.cmp(&b.ty)));
    Facts {
        inputs: ready.inputs.clone(),
        outputs: ready.outputs.clone(),
        operators: vec![OperatorCount { operator: "pipeline".into(), count: ready.stages.len() as u32 }],
        parameters: ready.stages.iter().fold(0, |sum: u64, stage| sum.saturating_add(stage.parameters)),
        weights,
        quantised_operators: ready
            .stages
            .iter()
            .fold(0, |sum: u32, stage| sum.saturating_add(stage.quantised_operators)),
        macs: None,
        peak_bytes: None,
        opset: None,
        producer: format!("a pipeline of {} stages", ready.stages.len()),
        load_instructions,
        trial_instructions: None,
        trial_refusal: None,
        runs: Some(vec![]),
    }
}

/// Infers by the stages. To be called with the permission checked.
///
/// The answer's instructions are this canister's and those that stages told; of one whose tensors went in parts its computation's.
pub(crate) async fn infer(
    version: &Version,
    inputs: Vec<NamedTensor>,
    limits: Limits,
) -> Result<Answer, Error> {
    if limits.profile {
        refuse(version, "profile its stages where they are")?;
    }
    let before = runtime::call_instructions();
    let ready = found(version).await?;
    let load_instructions = match runtime::call_instructions() - before {
        // Nothing was asked.
        few if few < 100_000 => 0,
        load => load,
    };
    let arranged = ic_nn_engine::arrange_described(&ready.inputs, inputs)?;
    let names = ready.inputs.iter().map(|input| input.name.as_str());
    let inputs_hash =
        (limits.hash || limits.cache_entries > 0).then(|| receipts::tensors(names.zip(arranged.iter())));
    let content = Content::of(version);
    if let Some(hash) = inputs_hash.filter(|_| limits.cache_entries > 0)
        && let Some(outputs) = cache::find(content, &hash)
    {
        return Ok(Answer { outputs, inputs_hash, cached: true, load_instructions, ..Default::default() });
    }
    let _turn = turns::Turn::wait().await?;
    let (outputs, told) = flow::run(&ready, arranged, limits).await?;
    if let Some(hash) = inputs_hash {
        cache::keep(content, &hash, &outputs, limits.cache_entries);
    }
    let own = runtime::call_instructions() - before;
    Ok(Answer {
        outputs,
        inputs_hash,
        load_instructions,
        run_instructions: own + told,
        contained_instructions: told,
        ..Default::default()
    })
}
