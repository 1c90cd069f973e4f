//! What a model read by tract takes, gives and is made of.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{Debug, Display};

#[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
use ic_nn_types::TensorDescription;
use ic_nn_types::WeightCount;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::ops::konst::Const;

use crate::check::{MAX_NAME_BYTES, MAX_NODES, census};
use crate::description::{Dimension, InputDescription};
use crate::{Description, ModelError, element};

/// Most axes of an input; tract's own tensors have up to 8 in most operators.
const MAX_RANK: usize = 16;

/// A description without outputs: `operators` as the file names them.
pub(super) fn describe<F, O>(
    model: &Graph<F, O>,
    inputs: Vec<InputDescription>,
    operators: &BTreeMap<String, u32>,
    producer: &str,
) -> Result<Description, ModelError>
where
    F: Fact + Clone + 'static,
    O: Debug + Display + AsRef<dyn Op> + AsMut<dyn Op> + Clone + 'static,
{
    let mut names = HashSet::new();
    for input in &inputs {
        if !names.insert(input.name.as_str()) || input.name.len() > MAX_NAME_BYTES {
            return Err(unsupported("inputs", "two have one name, or one is too long"));
        }
    }
    if model.nodes().len() > MAX_NODES {
        return Err(unsupported("the graph", "it has too many nodes"));
    }
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for node in model.nodes() {
        if let Some(constant) = node.op.as_ref().downcast_ref::<Const>() {
            let value = constant.val();
            *weights.entry(element::tract_name(value.datum_type())).or_default() += value.len() as u64;
        }
    }
    let parameters = weights.values().sum();
    let mut weights: Vec<_> =
        weights.into_iter().map(|(ty, elements)| WeightCount { ty, elements }).collect();
    weights.sort_by(|a, b| b.elements.cmp(&a.elements).then_with(|| a.ty.cmp(&b.ty)));
    let quantises = |name: &str| name.to_ascii_lowercase().contains("quant");
    Ok(Description {
        inputs,
        outputs: vec![],
        operators: census(operators),
        quantised_operators: operators.iter().filter(|(name, _)| quantises(name)).map(|(_, n)| n).sum(),
        parameters,
        weights,
        opset: 0,
        producer: producer.trim().chars().take(120).collect(),
    })
}

/// An input from what tract knows of it.
pub(super) fn input(
    name: &str,
    dt: Option<DatumType>,
    dimensions: Option<Vec<Option<TDim>>>,
) -> Result<InputDescription, ModelError> {
    let place = || format!("input `{}`", name.chars().take(80).collect::<String>());
    let Some(ty) = dt.and_then(element::from_tract) else {
        return Err(unsupported(place(), format!("element type {dt:?} cannot come in")));
    };
    let Some(dimensions) = dimensions.filter(|d| d.len() <= MAX_RANK) else {
        return Err(unsupported(place(), "its rank is not known, or too high"));
    };
    let dimensions = dimensions
        .into_iter()
        .map(|d| match d {
            None => Ok(Dimension::Any),
            Some(TDim::Sym(symbol)) => Ok(Dimension::Symbol(symbol.to_string())),
            Some(d) => d
                .to_i64()
                .ok()
                .and_then(|d| u32::try_from(d).ok())
                .map(Dimension::Fixed)
                .ok_or_else(|| unsupported(place(), format!("an axis of {d} is not offered"))),
        })
        .collect::<Result<_, _>>()?;
    let input = InputDescription { name: name.to_owned(), ty, dimensions };
    let bytes = input.smallest().iter().try_fold(ty.size() as u64, |n, d| n.checked_mul(u64::from(*d)));
    if bytes.is_none_or(|b| b > u64::from(u32::MAX)) {
        return Err(unsupported(place(), "it is over 4 GiB"));
    }
    Ok(input)
}

/// The inputs of a typed model; their names are their nodes'.
#[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
pub(super) fn typed_inputs(model: &TypedModel) -> TractResult<Result<Vec<InputDescription>, ModelError>> {
    let mut inputs = vec![];
    for (ix, outlet) in model.input_outlets()?.iter().enumerate() {
        let fact = model.input_fact(ix)?;
        let dimensions = fact.shape.iter().map(|d| Some(d.clone())).collect();
        inputs.push(input(&model.node(outlet.node).name, Some(fact.datum_type), Some(dimensions)));
    }
    Ok(inputs.into_iter().collect())
}

/// The outputs of a typed model under `names`.
#[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
pub(super) fn typed_outputs(
    model: &TypedModel,
    names: Vec<String>,
) -> TractResult<Vec<(String, Option<TensorDescription>)>> {
    let mut outputs = vec![];
    for (ix, name) in names.into_iter().enumerate() {
        let fact = model.output_fact(ix)?;
        let symbols = fact
            .shape
            .iter()
            .map(|d| match d {
                TDim::Sym(symbol) => Some(symbol.to_string()),
                _ => None,
            })
            .collect();
        let dimensions =
            fact.shape.iter().map(|d| d.to_i64().ok().and_then(|d| u32::try_from(d).ok())).collect();
        let description = element::from_tract(fact.datum_type).map(|ty| TensorDescription {
            name: name.clone(),
            ty,
            dimensions,
            symbols,
        });
        outputs.push((name, description));
    }
    Ok(outputs)
}

pub(super) fn unsupported(place: impl Into<String>, reason: impl Into<String>) -> ModelError {
    ModelError::Unsupported { place: place.into(), reason: reason.into() }
}
