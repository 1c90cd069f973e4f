//! A model cut into stages for several canisters: files of their own that, run one behind the other, answer what the model answers.
//!
//! The nodes are put in an order in which each reads what those before it give; a stage is a stretch of that order. What follows
//! from constants alone is copied into each stage that reads it, and so are initializers. A cut is made only at tensors that the
//! model's own plan has too (`facts`): what the engine takes together, a convolution and what follows it, pairs of
//! quantisation, a norm, stays together, so that a stage's plan does with its nodes what the whole plan does with them. Where
//! there is a choice, costs are balanced first and then the bytes that cross are the fewest (`cut`). A product whose weights are
//! too large for one stage is cut by columns (`columns`): its parts are stages that may run at the same time, and the stage that
//! reads them puts them together again.
//!
//! That stages answer the same bits is checked by running them ([`Sharded::infer`]), not believed: a kernel is chosen by shapes and
//! a layout by what is around, and of products by columns Strassen's quarters are others.
//!
//! Nothing here runs in the canister. Costs a plan or two of the model, and copies of its file.

mod assemble;
mod columns;
mod cut;
mod facts;
mod names;
#[cfg(test)]
mod tests;

use ic_nn_types::{GraphEncoding, NamedShape, NamedTensor};
use thiserror::Error;

use crate::encoding;
use crate::{Graph, InferError, InputDescription, Limits, ModelError, check};

/// Stages that a model is cut into at most: what a pipeline's manifest holds.
pub const MAX_STAGES: usize = 256;

/// How a model is to be cut. One of `stages` and `max_bytes` has to be there.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Stages to make, parts of products counted one by one.
    pub stages: Option<usize>,
    /// Most bytes of weights in a stage; as few stages as that takes where their number is not given.
    pub max_bytes: Option<u64>,
    /// Also cut products by columns that take more than a stage's share of the cost.
    pub tensor: bool,
    /// Dimensions of inputs that costs are told for; the smallest where nothing is said.
    pub shapes: Vec<NamedShape>,
}

/// A model in stages.
#[derive(Clone, Debug)]
pub struct Sharded {
    /// In an order in which each takes what those before it give.
    pub stages: Vec<Stage>,
    /// The model's inputs, in its order.
    pub inputs: Vec<InputDescription>,
    /// The model's outputs, in its order.
    pub outputs: Vec<String>,
    /// Instructions of the whole model's run, by its shapes.
    pub instructions: u64,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The ONNX file: one, whatever the model was.
    pub file: Vec<u8>,
    /// Tensors that it takes, in its file's order: inputs of the model, or what stages before it give.
    pub takes: Vec<String>,
    /// Tensors that it gives, in its file's order.
    pub gives: Vec<String>,
    /// Nodes of the model in it.
    pub nodes: usize,
    /// Bytes of its initializers.
    pub weight_bytes: u64,
    /// Instructions of its nodes in the whole model's plan.
    pub instructions: u64,
    /// Bytes of what it takes.
    pub bytes_in: u64,
    /// Bytes of what it gives.
    pub bytes_out: u64,
    /// Of a part of a product: the product's output, which part it is, from 1, and of how many.
    pub part: Option<(String, usize, usize)>,
}

/// Why a model is not cut.
#[derive(Debug, Error)]
pub enum ShardError {
    /// It is no model that the engine takes.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The shapes do not fit its inputs, or a stage does not run.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Neither a number of stages nor a bound on their weights.
    #[error("say how many stages (1 to {MAX_STAGES}), or how many bytes of weights one may have at most")]
    Unasked,
    /// It cannot be cut so.
    #[error("{0}")]
    Uncuttable(String),
}

/// Cuts a model of one file, or of several as [`Graph::load_files`] takes them.
///
/// # Errors
/// Files that are no ONNX, models that the engine refuses, models with inputs whose values are part of the plan, and cuts that
/// there are not: more stages than places to cut, or weights of one node that no bound can hold.
pub fn shard(files: Vec<Vec<u8>>, cut: &Cut, limits: &Limits) -> Result<Sharded, ShardError> {
    match (cut.stages, cut.max_bytes) {
        (None, None) | (Some(0), _) | (_, Some(0)) => return Err(ShardError::Unasked),
        (Some(stages), _) if stages > MAX_STAGES => return Err(ShardError::Unasked),
        _ => {}
    }
    let head = files.first().map(Vec::as_slice).unwrap_or_default();
    let head = head.get(..encoding::HEAD_BYTES).unwrap_or(head);
    if !encoding::check(GraphEncoding::Autodetect, head).is_ok_and(|found| found == GraphEncoding::Onnx) {
        return Err(ShardError::Uncuttable("only ONNX files are cut; export the model to ONNX".into()));
    }
    let facts = facts::Facts::of(files.clone(), &cut.shapes, limits)?;
    let mut files = files.into_iter();
    let model = files.next().unwrap_or_default();
    let proto = check::resolved(&model, files.collect(), limits)?;
    drop(model);
    let graph =
        proto.graph.as_ref().ok_or_else(|| ShardError::Uncuttable("the file holds no graph".into()))?;
    let mut names = names::Names::of(graph);
    let costs = facts.costs(&names);
    let splits = columns::choose(&mut names, &facts, &costs, cut)?;
    let line = cut::Line::of(&names, &facts, &costs, &splits);
    let ranges = line.cut(cut)?;
    let stages = assemble::Source::new(&proto, &names, &facts, &costs, &splits).stages(&ranges)?;
    let outputs = graph.output.iter().map(|o| o.name.clone()).collect();
    let instructions = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(*cost));
    Ok(Sharded { stages, inputs: facts.inputs, outputs, instructions })
}

impl Sharded {
    /// Runs the stages one behind the other: what a pipeline of them answers. Each is loaded, run and dropped.
    ///
    /// # Errors
    /// Stages that do not load or run, named by their place.
    pub fn infer(&self, inputs: Vec<NamedTensor>, limits: &Limits) -> Result<Vec<NamedTensor>, ShardError> {
        let mut tensors = inputs;
        for (ix, stage) in self.stages.iter().enumerate() {
            let at =
                |e: String| ShardError::Uncuttable(format!("stage {} of {}: {e}", ix + 1, self.stages.len()));
            let mut graph = Graph::load(stage.file.clone(), limits).map_err(|e| at(e.to_string()))?;
            let taken = stage.takes.iter().map(|name| {
                let found = tensors.iter().find(|(n, _)| n == name).cloned();
                found.ok_or_else(|| at(format!("nothing before it gives `{name}`")))
            });
            let taken = taken.collect::<Result<Vec<_>, _>>()?;
            let given = graph.infer(taken, limits).map_err(|e| at(e.to_string()))?;
            tensors.extend(given);
        }
        let found = |name: &String| {
            let found = tensors.iter().find(|(n, _)| n == name).cloned();
            found.ok_or_else(|| ShardError::Uncuttable(format!("no stage gives the output `{name}`")))
        };
        self.outputs.iter().map(found).collect()
    }
}
