//! The file, read and held to ONNX's rules before tract sees it.
//!
//! Owns every refusal that can be told from the bytes alone: what is no ONNX, names that lead nowhere, cycles,
//! tensors whose data are not what their dimensions say, data in other files, operators that are not offered,
//! sizes that would not fit. Cost: one pass over the protobuf; no tensor is copied.

mod graph;
mod tensor;

use std::collections::BTreeMap;

use ic_nn_types::{OperatorCount, TensorDescription};
use prost::Message;
use tract_onnx::pb::{ModelProto, NodeProto};

use crate::description::InputDescription;
use crate::operators::{MAX_OPSET, MIN_OPSET};
use crate::{Limits, ModelError};

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
    pub(crate) operators: Vec<OperatorCount>,
    pub(crate) parameters: u64,
    pub(crate) opset: i64,
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
    let file_bytes = bytes.len() as u64;
    admit("reading the file", file_bytes, limits)?;
    if bytes.is_empty() {
        return Err(ModelError::NotOnnx { reason: "the file is empty".into() });
    }
    let mut proto = ModelProto::decode(bytes.as_slice()).map_err(|e| ModelError::NotOnnx {
        reason: format!("the protobuf does not decode: {}", ends(&e.to_string())),
    })?;
    drop(bytes);
    let opset = opset(&proto)?;
    let mut walk = graph::Walk::new(limits);
    for function in &proto.functions {
        let name = |n: &Option<String>| n.clone().unwrap_or_default();
        walk.functions.insert((name(&function.domain), name(&function.name)));
    }
    let main =
        proto.graph.as_mut().ok_or_else(|| ModelError::NotOnnx { reason: "it holds no graph".into() })?;
    let (inputs, declared_outputs) = walk.main(main)?;
    admit("loading the model", Limits::load_peak(file_bytes, walk.tensor_bytes), limits)?;
    Ok(Checked {
        inputs,
        declared_outputs,
        operators: census(&walk.operators),
        parameters: walk.parameters,
        opset,
        proto,
    })
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

/// The operator set of ONNX's own domain, 0 where the model has no node of it.
fn opset(proto: &ModelProto) -> Result<i64, ModelError> {
    let own = |domain: &str| matches!(domain, "" | "ai.onnx");
    let Some(import) = proto.opset_import.iter().find(|i| own(&i.domain)) else {
        // XGBoost's converter writes one node of ai.onnx.ml and imports that domain alone.
        let needless = |n: &NodeProto| {
            !own(&n.domain) && n.attribute.iter().all(|a| a.g.is_none() && a.graphs.is_empty())
        };
        if !proto.opset_import.is_empty() && proto.graph.iter().flat_map(|g| &g.node).all(needless) {
            return Ok(0);
        }
        return Err(ModelError::NotOnnx { reason: "it imports no operator set of ONNX's own domain".into() });
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

fn census(counts: &BTreeMap<String, u32>) -> Vec<OperatorCount> {
    let mut operators: Vec<_> =
        counts.iter().map(|(operator, &count)| OperatorCount { operator: operator.clone(), count }).collect();
    operators.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.operator.cmp(&b.operator)));
    operators
}
