//! The file, read and held to ONNX's rules before tract sees it.
//!
//! Owns every refusal that can be told from the bytes alone: what is no ONNX, names that lead nowhere, cycles,
//! tensors whose data are not what their dimensions say, data in other files, operators that are not offered,
//! sizes that would not fit. Cost: one pass over the protobuf; no tensor is copied.

mod bfloat;
mod external;
mod graph;
mod tensor;

use std::collections::BTreeMap;

use ic_nn_types::{OperatorCount, TensorDescription, WeightCount};
use prost::Message;
use tract_onnx::pb::ModelProto;

use crate::description::InputDescription;
use crate::operators::{MAX_OPSET, MIN_OPSET, is_onnx};
use crate::streamed::{self, Away, File};
use crate::{Limits, ModelError};

pub(crate) use bfloat::declares as is_bfloat;
pub(crate) use graph::reads;

/// Most nodes a model may have, subgraphs included: far above exported networks (thousands), far below what would
/// spend an update's instructions on bookkeeping alone.
pub(crate) const MAX_NODES: usize = 100_000;

/// Longest name of a tensor, a node or a symbol that is accepted, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 1_024;

/// A file that passed, decoded.
pub struct Checked {
    pub(crate) proto: ModelProto,
    pub(crate) inputs: Vec<InputDescription>,
    pub(crate) declared_outputs: Vec<(String, Option<TensorDescription>)>,
    /// Which outputs leave as bfloat16.
    pub(crate) bfloats: Vec<bool>,
    pub(crate) operators: Vec<OperatorCount>,
    pub(crate) quantised_operators: u32,
    pub(crate) parameters: u64,
    pub(crate) weights: Vec<WeightCount>,
    pub(crate) opset: i64,
    /// Weights that stay in a stream.
    pub(crate) away: Vec<Away>,
}

impl Checked {
    /// `"pytorch 2.1"`, as far as the file says.
    pub(crate) fn producer(&self) -> String {
        let producer = format!("{} {}", self.proto.producer_name, self.proto.producer_version);
        producer.trim().chars().take(120).collect()
    }
}

/// Reads `bytes` as an ONNX model and checks it; see the module for what is checked.
///
/// # Errors
/// Any [`ModelError`] but `Engine`; the first fault found is told, unsupported operators all together.
pub fn check(bytes: Vec<u8>, limits: &Limits) -> Result<Checked, ModelError> {
    check_files(bytes, vec![], limits)
}

/// [`check`] for a model whose external data are in `data`, a file each, in the order in which the model first names them.
///
/// # Errors
/// As [`check`]; also where the files are not as many as the model names, or too short for a tensor.
pub fn check_files(bytes: Vec<u8>, data: Vec<Vec<u8>>, limits: &Limits) -> Result<Checked, ModelError> {
    check_parts(bytes, data.into_iter().map(File::from).collect(), limits)
}

/// [`check_files`] for external data that need not be in the heap.
pub(crate) fn check_parts(bytes: Vec<u8>, data: Vec<File>, limits: &Limits) -> Result<Checked, ModelError> {
    let file_bytes = bytes.len() as u64 + data.iter().map(File::heap).sum::<u64>();
    admit("reading the file", file_bytes, limits)?;
    if bytes.is_empty() {
        return Err(ModelError::NotOnnx { reason: "the file is empty".into() });
    }
    let (mut proto, away) = decoded(&bytes, data, limits)?;
    drop(bytes);
    let opset = opset(&proto)?;
    let mut walk = graph::Walk::new(limits, opset);
    for function in &proto.functions {
        let name = |n: &Option<String>| n.clone().unwrap_or_default();
        walk.functions.insert((name(&function.domain), name(&function.name)));
    }
    let main =
        proto.graph.as_mut().ok_or_else(|| ModelError::NotOnnx { reason: "it holds no graph".into() })?;
    walk.away(&away);
    let (inputs, declared_outputs) = walk.main(main)?;
    streamed::declare(main, &away);
    let bfloats = main.output.iter().map(bfloat::declares).collect();
    bfloat::retype(main);
    admit("loading the model", Limits::load_peak(file_bytes, walk.tensor_bytes), limits)?;
    Ok(Checked {
        inputs,
        declared_outputs,
        bfloats,
        operators: census(&walk.operators),
        quantised_operators: quantised(&walk.operators),
        parameters: walk.parameters,
        weights: weights(&walk.weights),
        opset,
        away,
        proto,
    })
}

/// The file decoded, its external data put in their places; nothing of it is checked.
pub(crate) fn resolved(bytes: &[u8], data: Vec<Vec<u8>>, limits: &Limits) -> Result<ModelProto, ModelError> {
    Ok(decoded(bytes, data.into_iter().map(File::from).collect(), limits)?.0)
}

/// [`resolved`], and what stays where it is.
fn decoded(bytes: &[u8], data: Vec<File>, limits: &Limits) -> Result<(ModelProto, Vec<Away>), ModelError> {
    let mut proto = ModelProto::decode(bytes).map_err(|e| ModelError::NotOnnx {
        reason: format!("the protobuf does not decode: {}", ends(&e.to_string())),
    })?;
    let away = match proto.graph.as_mut().filter(|_| !data.is_empty()) {
        Some(graph) => external::resolve(graph, &data, limits)?,
        None => vec![],
    };
    Ok((proto, away))
}

/// Nodes that work with quantised integers, by their operators' names.
fn quantised(operators: &BTreeMap<String, u32>) -> u32 {
    let quantises = |name: &str| {
        let name = name.rsplit('.').next().unwrap_or(name);
        name.starts_with("QLinear")
            || name.ends_with("Integer")
            || name.contains("QuantizeLinear")
            || ["DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "QGemm"].contains(&name)
    };
    operators.iter().filter(|(name, _)| quantises(name)).map(|(_, count)| count).sum()
}

fn weights(elements: &BTreeMap<i32, u64>) -> Vec<WeightCount> {
    let mut weights: Vec<_> = elements
        .iter()
        .map(|(&raw, &elements)| WeightCount { ty: crate::element::onnx_name(raw), elements })
        .collect();
    weights.sort_by(|a, b| b.elements.cmp(&a.elements).then_with(|| a.ty.cmp(&b.ty)));
    weights
}

/// The ends of a long text: a decoder's names the field at the beginning, its ancestors, and the cause at the end.
fn ends(text: &str) -> String {
    const END: usize = 120;
    let characters = text.chars().count();
    if characters <= 2 * END {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(characters - END).collect();
    format!("{} … {tail}", text.chars().take(END).collect::<String>())
}

/// The operator set of ONNX's own domain; 0 where the file uses other domains alone.
fn opset(proto: &ModelProto) -> Result<i64, ModelError> {
    if proto.opset_import.is_empty() {
        return Err(ModelError::NotOnnx { reason: "it imports no operator set".into() });
    }
    let Some(import) = proto.opset_import.iter().find(|i| is_onnx(&i.domain)) else {
        return Ok(0);
    };
    if (MIN_OPSET..=MAX_OPSET).contains(&import.version) {
        Ok(import.version)
    } else {
        Err(ModelError::Unsupported {
            place: "opset_import".into(),
            reason: format!(
                "operator sets {MIN_OPSET} to {MAX_OPSET} are read, the file uses {}; export it with one of them",
                import.version
            ),
        })
    }
}

pub(crate) fn admit(what: &str, needed: u64, limits: &Limits) -> Result<(), ModelError> {
    if needed <= limits.available_bytes {
        Ok(())
    } else {
        Err(ModelError::TooLarge { what: what.into(), needed, available: limits.available_bytes })
    }
}

pub(crate) fn malformed(place: impl Into<String>, reason: impl Into<String>) -> ModelError {
    ModelError::Malformed { place: place.into(), reason: reason.into() }
}

pub(crate) fn census(counts: &BTreeMap<String, u32>) -> Vec<OperatorCount> {
    let mut operators: Vec<_> =
        counts.iter().map(|(operator, &count)| OperatorCount { operator: operator.clone(), count }).collect();
    operators.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.operator.cmp(&b.operator)));
    operators
}
