//! TensorFlow: a frozen `GraphDef`, its variables made constants.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceModel};
use tract_tensorflow::tfpb::tensorflow::attr_value::Value;
use tract_tensorflow::tfpb::tensorflow::{GraphDef, NodeDef, TensorProto};

use super::described::{describe, input};
use crate::check::{MAX_NODES, admit};
use crate::error::refused_or;
use crate::graph::Decoded;
use crate::plan::Output;
use crate::source::Source;
use crate::{Limits, ModelError};

/// Most outputs that a node may be asked for; tract makes as many as the highest named.
const MAX_SLOT: usize = 1_000;

/// Longest element there is, in bytes.
const MAX_ELEMENT_BYTES: u64 = 16;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Decoded, ModelError> {
    let graph = GraphDef::decode(bytes).map_err(|e| unreadable(format!("no frozen GraphDef: {e}")))?;
    let reader = tract_tensorflow::tensorflow();
    let operators = check(&graph, bytes.len() as u64, limits, &|op| {
        op == "NextIteration" || reader.op_register.0.contains_key(op)
    })?;
    let mut model = reader.model_for_proto_model(&graph).map_err(|e| refused_or(&e))?;
    let producer = match &graph.versions {
        Some(versions) => format!("TensorFlow GraphDef {}", versions.producer),
        None => "TensorFlow".into(),
    };
    drop(graph);
    let names = outputs(&mut model).map_err(|e| refused_or(&e))?;
    if names.is_empty() {
        return Err(unreadable("it has no outputs"));
    }
    let inputs = model.input_outlets().map_err(|e| refused_or(&e))?.to_vec();
    let inputs = inputs
        .into_iter()
        .map(|outlet| {
            let fact = model.outlet_fact(outlet).map_err(|e| refused_or(&e))?;
            let dimensions = fact
                .shape
                .rank()
                .concretize()
                .map(|_| fact.shape.dims().map(Factoid::concretize).collect::<Vec<_>>());
            input(&model.node(outlet.node).name, fact.datum_type.concretize(), dimensions)
        })
        .collect::<Result<_, _>>()?;
    Ok(Decoded {
        description: describe(&model, inputs, &operators, &producer)?,
        outputs: names.iter().map(|name| Output { name: name.clone(), bfloat: false }).collect(),
        declared: names.into_iter().map(|name| (name, None)).collect(),
        bound: vec![],
        growths: vec![],
        source: Source::Inferred(model),
    })
}

/// Makes the values that nobody reads the outputs, where they are computed; and gives their names.
fn outputs(model: &mut InferenceModel) -> TractResult<Vec<String>> {
    let aside = ["Noop", "Const", "Source"];
    let outlets: Vec<OutletId> = model
        .output_outlets()?
        .iter()
        .filter(|o| !aside.contains(&model.node(o.node).op.name().as_ref()))
        .copied()
        .collect();
    model.select_output_outlets(&outlets)?;
    let name = |o: &OutletId| match (o.slot, &model.node(o.node).name) {
        (0, name) => name.clone(),
        (slot, name) => format!("{name}:{slot}"),
    };
    Ok(outlets.iter().map(name).collect())
}

/// Refuses what tract would trip over; counts the operators.
fn check(
    graph: &GraphDef,
    file_bytes: u64,
    limits: &Limits,
    served: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, u32>, ModelError> {
    if graph.node.is_empty() || graph.node.len() > MAX_NODES {
        return Err(unreadable(format!("it has {} nodes", graph.node.len())));
    }
    let mut operators: BTreeMap<String, u32> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    let mut tensor_bytes = 0u64;
    for node in &graph.node {
        let random = node.op.contains("Random") || node.op == "Multinomial";
        if random {
            refused.insert(format!("{} (draws random numbers; pass them as an input)", node.op));
        } else if !served(&node.op) {
            refused.insert(node.op.clone());
        }
        *operators.entry(node.op.clone()).or_default() += 1;
        for operand in &node.input {
            let slot = operand.split_once(':').map(|(_, slot)| slot.parse::<usize>());
            if slot.is_some_and(|slot| slot.map_or(true, |slot| slot > MAX_SLOT)) {
                return Err(unreadable(format!("node `{}` reads `{operand}`", node.name)));
            }
        }
        tensor_bytes = tensor_bytes.saturating_add(constants(node)?);
    }
    if !refused.is_empty() {
        return Err(ModelError::UnsupportedOperators(refused.into_iter().collect()));
    }
    admit("loading the model", Limits::load_peak(file_bytes, tensor_bytes), limits)?;
    operators.retain(|op, _| !matches!(op.as_str(), "Const" | "Placeholder" | "NoOp"));
    Ok(operators)
}

/// Bytes of the tensors in a node's attributes, of which a single value may stand for many.
fn constants(node: &NodeDef) -> Result<u64, ModelError> {
    let mut bytes = 0u64;
    for (name, attribute) in &node.attr {
        match &attribute.value {
            None => {
                return Err(unreadable(format!("attribute `{name}` of node `{}` has no value", node.name)));
            }
            Some(Value::Tensor(tensor)) => bytes = bytes.saturating_add(tensor_bytes(tensor)),
            Some(_) => {}
        }
    }
    Ok(bytes)
}

fn tensor_bytes(tensor: &TensorProto) -> u64 {
    let dims = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
    dims.fold(MAX_ELEMENT_BYTES, |n, d| n.saturating_mul(u64::try_from(d.size).unwrap_or(0)))
}

fn unreadable(reason: impl AsRef<str>) -> ModelError {
    ModelError::Unreadable { what: "TensorFlow", reason: reason.as_ref().chars().take(300).collect() }
}
