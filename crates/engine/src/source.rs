//! What plans are made from: a decoded model, its dynamic dimensions still open.

#[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
use std::collections::HashMap;

use ic_nn_types::Tensor as Wire;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact, InferenceModel, InferenceModelExt};
use tract_onnx::tract_hir::ops::konst::Const;

use crate::error::refused_or;
use crate::{ModelError, tensors};

/// What a graph keeps to be planned for further shapes.
#[derive(Clone)]
pub(crate) enum Kept {
    /// Nothing: it has one plan, for its fixed shapes.
    Nothing,
    /// The decoded model.
    Model(Source),
    /// Not the model, which is in the file: the graph was read from an image.
    File,
}

/// A decoded model.
#[derive(Clone)]
pub(crate) enum Source {
    /// Types and shapes follow from the inputs'.
    Inferred(InferenceModel),
    /// Types and shapes are told by the file; dynamic dimensions are symbols.
    #[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
    Typed(TypedModel),
}

impl Source {
    /// The model for inputs of `shapes`, those in `values` being constants.
    pub(crate) fn into_typed(
        self,
        shapes: &[Vec<u32>],
        values: &[(usize, Wire)],
    ) -> Result<TypedModel, ModelError> {
        match self {
            Source::Inferred(model) => inferred(model, shapes, values),
            #[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
            Source::Typed(model) => concrete(model, shapes).map_err(|e| refused_or(&e)),
        }
    }
}

fn inferred(
    mut model: InferenceModel,
    shapes: &[Vec<u32>],
    values: &[(usize, Wire)],
) -> Result<TypedModel, ModelError> {
    let engine = |e: TractError| refused_or(&e);
    for (ix, shape) in shapes.iter().enumerate() {
        let dt = model.input_fact(ix).map_err(engine)?.datum_type.concretize();
        let shape: TVec<usize> = shape.iter().map(|&d| d as usize).collect();
        let fact = match dt {
            Some(dt) => InferenceFact::dt_shape(dt, shape),
            None => InferenceFact::shape(shape),
        };
        model.set_input_fact(ix, fact).map_err(engine)?;
    }
    bind(&mut model, values)?;
    model.into_typed().map_err(engine)
}

/// `model` with the symbols of its inputs' axes set to what `shapes` has there.
#[cfg(any(feature = "nnef", feature = "tensorflowlite"))]
fn concrete(model: TypedModel, shapes: &[Vec<u32>]) -> TractResult<TypedModel> {
    let mut symbols = HashMap::new();
    for (ix, shape) in shapes.iter().enumerate() {
        for (dim, &length) in model.input_fact(ix)?.shape.iter().zip(shape) {
            if let TDim::Sym(symbol) = dim {
                symbols.insert(symbol.clone(), TDim::Val(i64::from(length)));
            }
        }
    }
    if symbols.is_empty() { Ok(model) } else { model.set_symbols(&symbols) }
}

/// Makes constants of the inputs in `values`.
fn bind(model: &mut InferenceModel, values: &[(usize, Wire)]) -> Result<(), ModelError> {
    let engine = |e: TractError| refused_or(&e);
    let inputs = model.input_outlets().map_err(engine)?.to_vec();
    let mut free = vec![];
    for (ix, outlet) in inputs.into_iter().enumerate() {
        let Some((_, value)) = values.iter().find(|(bound, _)| *bound == ix) else {
            free.push(outlet);
            continue;
        };
        let value =
            tensors::to_engine(value).map_err(|e| ModelError::Engine(e.to_string()))?.into_arc_tensor();
        model.set_outlet_fact(outlet, InferenceFact::dt_shape_from_tensor(&value)).map_err(engine)?;
        model.node_mut(outlet.node).op = Box::new(Const::new(value).map_err(engine)?);
    }
    model.set_input_outlets(&free).map_err(engine)?;
    Ok(())
}
