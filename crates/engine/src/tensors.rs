//! Tensors on the wire and in the engine: every input held to the description before a byte is copied.

use std::collections::HashMap;

use ic_nn_types::{NamedShape, NamedTensor, Tensor as Wire, TensorDescription, TensorType};
use tract_onnx::prelude::*;

use crate::description::{Description, Dimension, InputDescription, shape};
use crate::{InferError, InputError, element};

/// Puts the caller's tensors in the graph's order and checks names, types, shapes, symbols and byte lengths.
///
/// A name that no input has is taken as a decimal index, as Wasmtime does.
pub(crate) fn arrange(
    described: &[InputDescription],
    inputs: Vec<NamedTensor>,
) -> Result<Vec<Wire>, InputError> {
    let mut slots: Vec<Option<Wire>> = described.iter().map(|_| None).collect();
    for (name, tensor) in inputs {
        let ix = position(described, &name)
            .ok_or_else(|| InputError::Unknown { name: clip(&name), known: interface(described) })?;
        if slots[ix].replace(tensor).is_some() {
            return Err(InputError::Duplicate { name: described[ix].name.clone() });
        }
    }
    let mut symbols = HashMap::new();
    let mut arranged = Vec::with_capacity(slots.len());
    for (input, slot) in described.iter().zip(slots) {
        let mut tensor = slot
            .ok_or_else(|| InputError::Missing { name: input.name.clone(), known: interface(described) })?;
        check(input, &mut tensor, &mut symbols)?;
        arranged.push(tensor);
    }
    Ok(arranged)
}

/// Puts shapes in the graph's order, as [`arrange`] does tensors; an input without one has its smallest, with what others say of
/// its symbols.
pub(crate) fn arrange_shapes(
    graph: &Description,
    named: Vec<NamedShape>,
) -> Result<Vec<Vec<u32>>, InputError> {
    let mut slots: Vec<Option<Vec<u32>>> = graph.inputs.iter().map(|_| None).collect();
    for (name, dimensions) in named {
        let ix = position(&graph.inputs, &name)
            .ok_or_else(|| InputError::Unknown { name: clip(&name), known: interface(&graph.inputs) })?;
        if slots[ix].replace(dimensions).is_some() {
            return Err(InputError::Duplicate { name: graph.inputs[ix].name.clone() });
        }
    }
    let mut symbols = HashMap::new();
    for (input, slot) in graph.inputs.iter().zip(&mut slots) {
        let Some(dimensions) = slot else { continue };
        let mut tensor = Wire { dimensions: std::mem::take(dimensions), ty: input.ty, data: vec![] };
        check_shape(input, &mut tensor, &mut symbols)?;
        *dimensions = tensor.dimensions;
    }
    let smallest = |input: &InputDescription| {
        let length = |d: &Dimension| match d {
            Dimension::Symbol(symbol) => symbols.get(symbol.as_str()).map_or(1, |(length, _)| *length),
            _ => d.fixed().unwrap_or(1),
        };
        input.dimensions.iter().map(length).collect()
    };
    Ok(graph.inputs.iter().zip(slots).map(|(input, slot)| slot.unwrap_or_else(|| smallest(input))).collect())
}

fn position(inputs: &[InputDescription], name: &str) -> Option<usize> {
    inputs
        .iter()
        .position(|i| i.name == name)
        .or_else(|| name.parse().ok().filter(|ix: &usize| *ix < inputs.len()))
}

/// `` `image` FP32 [1, 3, 224, 224], `mask` I64 [1, tokens] ``
fn interface(inputs: &[InputDescription]) -> String {
    let inputs: Vec<_> = inputs.iter().map(|i| format!("`{}` {} {}", i.name, i.ty, i.shape())).collect();
    if inputs.is_empty() { "no inputs".into() } else { inputs.join(", ") }
}

fn clip(name: &str) -> String {
    name.chars().take(80).collect()
}

fn check<'a>(
    input: &'a InputDescription,
    tensor: &mut Wire,
    symbols: &mut HashMap<&'a str, (u32, &'a str)>,
) -> Result<(), InputError> {
    check_shape(input, tensor, symbols)?;
    let name = || input.name.clone();
    let expected = tensor.expected_bytes().unwrap_or(u64::MAX);
    if tensor.data.len() as u64 != expected {
        return Err(InputError::Bytes {
            name: name(),
            shape: shape(&tensor.dimensions),
            ty: tensor.ty,
            expected,
            got: tensor.data.len() as u64,
        });
    }
    if tensor.ty == TensorType::BOOL
        && let Some((at, &got)) = tensor.data.iter().enumerate().find(|(_, b)| **b > 1)
    {
        return Err(InputError::Bool { name: name(), at, got });
    }
    Ok(())
}

/// Type, rank and dimensions.
fn check_shape<'a>(
    input: &'a InputDescription,
    tensor: &mut Wire,
    symbols: &mut HashMap<&'a str, (u32, &'a str)>,
) -> Result<(), InputError> {
    let name = || input.name.clone();
    if tensor.ty != input.ty {
        return Err(InputError::Type { name: name(), expected: input.ty, got: tensor.ty });
    }
    if input.dimensions.is_empty() && tensor.dimensions == [1] {
        tensor.dimensions.clear(); // wasi-nn writes a scalar as [1]
    }
    if tensor.dimensions.len() != input.dimensions.len() {
        return Err(InputError::Rank {
            name: name(),
            expected: input.dimensions.len(),
            shape: input.shape(),
            got: tensor.dimensions.len(),
            came: shape(&tensor.dimensions),
        });
    }
    for (axis, (want, &got)) in input.dimensions.iter().zip(&tensor.dimensions).enumerate() {
        match want {
            Dimension::Fixed(expected) if *expected != got => {
                return Err(InputError::Dimension {
                    name: name(),
                    axis,
                    expected: *expected,
                    shape: input.shape(),
                    got,
                    came: shape(&tensor.dimensions),
                });
            }
            Dimension::Symbol(symbol) => {
                let (expected, first) = *symbols.entry(symbol).or_insert((got, &input.name));
                if expected != got {
                    return Err(InputError::Symbol {
                        name: name(),
                        axis,
                        symbol: symbol.clone(),
                        expected,
                        first: first.into(),
                        got,
                    });
                }
            }
            Dimension::Fixed(_) | Dimension::Any => {}
        }
    }
    Ok(())
}

/// Inputs that are described as on the wire.
fn described(inputs: &[TensorDescription]) -> Vec<InputDescription> {
    let shape_of = |i: &TensorDescription| -> Vec<Dimension> {
        i.dimensions
            .iter()
            .enumerate()
            .map(|(axis, d)| match (d, i.symbols.get(axis).cloned().flatten()) {
                (Some(n), _) => Dimension::Fixed(*n),
                (None, Some(symbol)) => Dimension::Symbol(symbol),
                (None, None) => Dimension::Any,
            })
            .collect()
    };
    inputs
        .iter()
        .map(|i| InputDescription { name: i.name.clone(), ty: i.ty, dimensions: shape_of(i) })
        .collect()
}

/// Puts tensors in the order of inputs that are described as on the wire, each held to its description, as
/// [`Graph::arrange`](crate::Graph::arrange) does for a graph.
///
/// # Errors
/// The first thing that does not fit.
pub fn arrange_described(
    inputs: &[TensorDescription],
    named: Vec<NamedTensor>,
) -> Result<Vec<Wire>, InputError> {
    arrange(&described(inputs), named)
}

/// Holds an input, or a part of its bytes from `offset`, to what the graph takes; gives the input's name and the bytes of the
/// whole tensor. Axes of one name are compared when all inputs are there.
///
/// # Errors
/// What does not fit.
pub fn check_part(
    inputs: &[TensorDescription],
    name: &str,
    tensor: &Wire,
    offset: Option<u64>,
) -> Result<(String, u64), InputError> {
    let inputs = described(inputs);
    let ix = position(&inputs, name)
        .ok_or_else(|| InputError::Unknown { name: clip(name), known: interface(&inputs) })?;
    let input = &inputs[ix];
    let Some(offset) = offset else {
        let mut tensor = tensor.clone();
        check(input, &mut tensor, &mut HashMap::new())?;
        return Ok((input.name.clone(), tensor.data.len() as u64));
    };
    let mut whole = Wire { dimensions: tensor.dimensions.clone(), ty: tensor.ty, data: vec![] };
    check_shape(input, &mut whole, &mut HashMap::new())?;
    let expected = whole.expected_bytes().unwrap_or(u64::MAX);
    let end = offset.saturating_add(tensor.data.len() as u64);
    if end > expected {
        return Err(InputError::Bytes {
            name: input.name.clone(),
            shape: shape(&tensor.dimensions),
            ty: tensor.ty,
            expected,
            got: end,
        });
    }
    Ok((input.name.clone(), expected))
}

/// A checked tensor in the engine's form. Cost: one copy.
pub(crate) fn to_engine(tensor: &Wire) -> Result<TValue, InferError> {
    to_engine_as(tensor, element::to_tract(tensor.ty))
}

/// The same for an input that the engine has as `dt`, whose elements have the same bytes: a quantised type of them.
pub(crate) fn to_engine_as(tensor: &Wire, dt: DatumType) -> Result<TValue, InferError> {
    let dimensions: Vec<usize> = tensor.dimensions.iter().map(|&d| d as usize).collect();
    let mut value =
        Tensor::zero_dt(dt, &dimensions).map_err(|e| InferError::Engine(crate::error::one_line(&e)))?;
    if tensor.ty == TensorType::BF16 {
        let wide = value.as_bytes_mut().as_chunks_mut().0.iter_mut();
        for (wide, narrow) in wide.zip(tensor.data.as_chunks().0) {
            *wide = element::from_bfloat_bits(u16::from_le_bytes(*narrow)).to_le_bytes();
        }
    } else {
        value.as_bytes_mut().copy_from_slice(&tensor.data);
    }
    Ok(value.into_tvalue())
}

/// The elements of a tensor as f64. Cost: two copies.
pub(crate) fn numbers(tensor: &Wire) -> Result<Vec<f64>, InferError> {
    let engine = |e: TractError| InferError::Engine(crate::error::one_line(&e));
    let value = to_engine(tensor)?;
    let cast = value.cast_to::<f64>().map_err(engine)?;
    let plain = cast.try_as_plain_ram().map_err(engine)?;
    Ok(plain.as_slice::<f64>().map_err(engine)?.to_vec())
}

/// An output in the wire's form, as bfloat16 where the graph says so. Cost: one copy.
pub(crate) fn to_wire(name: &str, value: TValue, bfloat: bool) -> Result<Wire, InferError> {
    let fail = |reason: String| InferError::Engine(format!("output `{name}`: {reason}"));
    let Some(mut ty) = element::from_tract(value.datum_type()) else {
        return Err(fail(format!("type {:?} cannot leave the engine", value.datum_type())));
    };
    let dimensions = value
        .shape()
        .iter()
        .map(|&d| u32::try_from(d).map_err(|_| fail(format!("dimension {d} does not fit 32 bits"))))
        .collect::<Result<_, _>>()?;
    let concrete;
    let value: &Tensor = if value.datum_type() == TDim::datum_type() {
        concrete = value.cast_to::<i64>().map_err(|e| fail(crate::error::one_line(&e)))?.into_owned();
        &concrete
    } else {
        &value
    };
    if !value.is_plain_ram() {
        return Err(fail("it is held in the engine's own layout".into()));
    }
    let data = value.as_bytes();
    let data = if bfloat && ty == TensorType::FP32 {
        ty = TensorType::BF16;
        let values = data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
        values.flat_map(|x| element::bfloat_bits(x).to_le_bytes()).collect()
    } else {
        data.to_vec()
    };
    Ok(Wire { dimensions, ty, data })
}
