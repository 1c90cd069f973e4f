//! TensorFlow Lite: the first subgraph of a flatbuffer.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::prelude::*;
use tract_tflite::tflite::{BuiltinOperator, Model, SubGraph, TensorType, root_as_model};

use super::described::{describe, typed_inputs, typed_outputs};
use crate::check::{MAX_NODES, admit};
use crate::error::{one_line, refused_or};
use crate::graph::Decoded;
use crate::plan::Output;
use crate::source::Source;
use crate::{Limits, ModelError};

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Decoded, ModelError> {
    let file = root_as_model(bytes).map_err(|e| unreadable(e.to_string()))?;
    let graph = file
        .subgraphs()
        .filter(|graphs| !graphs.is_empty())
        .map(|graphs| graphs.get(0))
        .ok_or_else(|| unreadable("it has no subgraph"))?;
    let names = check_tensors(&file, &graph, bytes.len() as u64, limits)?;
    let operators = check_operators(&file, &graph)?;
    let producer = format!("TensorFlow Lite {}", file.description().unwrap_or_default());
    let model =
        tract_tflite::tflite().model_for_read(&mut &*bytes).map_err(|e| ModelError::Engine(one_line(&e)))?;
    let inputs = typed_inputs(&model).map_err(|e| refused_or(&e))??;
    let description = describe(&model, inputs, &operators, &producer)?;
    let outputs = names.iter().map(|name| Output { name: name.clone(), bfloat: false }).collect();
    let declared = typed_outputs(&model, names).map_err(|e| refused_or(&e))?;
    Ok(Decoded {
        description,
        outputs,
        declared,
        bound: vec![],
        growths: vec![],
        source: Source::Typed(model),
    })
}

/// Holds the tensors to what tract reads of them, and gives the outputs' names.
fn check_tensors(
    file: &Model<'_>,
    graph: &SubGraph<'_>,
    file_bytes: u64,
    limits: &Limits,
) -> Result<Vec<String>, ModelError> {
    let tensors = graph.tensors().ok_or_else(|| unreadable("its subgraph has no tensors"))?;
    if tensors.len() > MAX_NODES {
        return Err(unreadable(format!("it has {} tensors", tensors.len())));
    }
    let buffers = file.buffers().ok_or_else(|| unreadable("it has no buffers"))?;
    let mut tensor_bytes = 0u64;
    for (ix, tensor) in tensors.iter().enumerate() {
        let name = tensor.name().ok_or_else(|| unreadable(format!("tensor {ix} has no name")))?;
        let refuse = |reason: &str| Err(unreadable(format!("tensor `{name}`: {reason}")));
        if tensor.shape().is_none() {
            return refuse("it has no shape");
        }
        if matches!(tensor.type_(), TensorType::STRING | TensorType::RESOURCE | TensorType::VARIANT) {
            return refuse("strings, resources and variants are not offered");
        }
        let quantised = tensor.quantization().and_then(|q| Some((q.scale()?, q.zero_point()?)));
        if let Some((scales, zeros)) = quantised {
            let integers = matches!(tensor.type_(), TensorType::INT8 | TensorType::UINT8 | TensorType::INT32);
            if scales.is_empty() || zeros.is_empty() || !integers {
                return refuse("its quantisation is not offered");
            }
        }
        let buffer = usize::try_from(tensor.buffer()).unwrap_or(usize::MAX);
        if buffer >= buffers.len() {
            return refuse("its buffer is not there");
        }
        let data = buffers.get(buffer).data();
        tensor_bytes = tensor_bytes.saturating_add(data.map_or(0, |d| d.len() as u64));
    }
    admit("loading the model", Limits::load_peak(file_bytes, tensor_bytes), limits)?;
    let known = |ix: i32| usize::try_from(ix).is_ok_and(|ix| ix < tensors.len());
    let inputs = graph.inputs().ok_or_else(|| unreadable("it has no inputs"))?;
    let outputs = graph.outputs().ok_or_else(|| unreadable("it has no outputs"))?;
    let mut computed: BTreeSet<i32> = inputs.iter().collect();
    for operator in graph.operators().into_iter().flatten() {
        let (Some(operands), Some(results)) = (operator.inputs(), operator.outputs()) else {
            return Err(unreadable("an operator has no operands or no results"));
        };
        if operands.iter().any(|ix| ix == -1) {
            return Err(unreadable("an operator leaves out an operand, which is not offered"));
        }
        if results.is_empty() || !operands.iter().chain(results.iter()).all(known) {
            return Err(unreadable("an operator names a tensor that is not there"));
        }
        computed.extend(results.iter().chain(operands.iter()));
    }
    if !inputs.iter().all(known) || !outputs.iter().all(|ix| known(ix) && computed.contains(&ix)) {
        return Err(unreadable("an input or output is a tensor that is not there"));
    }
    let name = |ix: i32| tensors.get(ix.max(0) as usize).name().unwrap_or_default().to_owned();
    Ok(outputs.iter().map(name).collect())
}

/// Counts the operators and refuses those that draw random numbers.
fn check_operators(file: &Model<'_>, graph: &SubGraph<'_>) -> Result<BTreeMap<String, u32>, ModelError> {
    let codes = file.operator_codes().ok_or_else(|| unreadable("it has no operator codes"))?;
    let mut operators: BTreeMap<String, u32> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for operator in graph.operators().into_iter().flatten() {
        let ix = usize::try_from(operator.opcode_index()).unwrap_or(usize::MAX);
        if ix >= codes.len() {
            return Err(unreadable(format!("operator code {ix} is not there")));
        }
        let code = codes.get(ix);
        // A byte in old files, beside it what does not fit the byte.
        let old = BuiltinOperator(i32::from(code.deprecated_builtin_code()));
        let new = old == BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES;
        let builtin = if new { code.builtin_code() } else { old };
        let name = builtin.variant_name().map_or_else(|| format!("operator {}", builtin.0), str::to_owned);
        if name.contains("RANDOM") || name == "MULTINOMIAL" {
            refused.insert(format!("{name} (draws random numbers; pass them as an input)"));
        }
        *operators.entry(name).or_default() += 1;
    }
    if !refused.is_empty() {
        return Err(ModelError::UnsupportedOperators(refused.into_iter().collect()));
    }
    Ok(operators)
}

fn unreadable(reason: impl AsRef<str>) -> ModelError {
    ModelError::Unreadable { what: "TensorFlow Lite", reason: reason.as_ref().chars().take(300).collect() }
}
