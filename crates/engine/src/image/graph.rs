//! A graph in an image: its description, then its nodes.

use ic_nn_kernels::Precision;
use ic_nn_kernels::image::{Broken, Reader, Writer};
use ic_nn_types::{OperatorCount, TensorDescription, TensorType, WeightCount};
use tract_onnx::tract_core::internal::*;

use super::{Drawing, ImageError, Read, ops};
use crate::description::Dimension;
use crate::plan::Output;
use crate::{Description, InputDescription};

/// The most axes, inputs and outputs of a node that are read.
const MOST: usize = 1 << 16;

/// Element types of what lies between nodes, by their number in an image.
const TYPES: [DatumType; 13] = [
    DatumType::Bool,
    DatumType::U8,
    DatumType::U16,
    DatumType::U32,
    DatumType::U64,
    DatumType::I8,
    DatumType::I16,
    DatumType::I32,
    DatumType::I64,
    DatumType::F16,
    DatumType::F32,
    DatumType::F64,
    DatumType::TDim,
];

/// Writes a type; none where it has no number.
pub(super) fn write_type(dt: DatumType, to: &mut Writer<'_>) -> Option<()> {
    to.size(TYPES.iter().position(|known| *known == dt)?);
    Some(())
}

/// Reads a type.
pub(super) fn read_type(from: &mut Reader<'_>) -> Result<DatumType, Broken> {
    TYPES.get(from.size()?).copied().ok_or(Broken("an element type that is not known"))
}

fn precision_number(precision: Precision) -> u64 {
    match precision {
        Precision::F32 => 0,
        Precision::Int8 => 1,
        Precision::Int16 => 2,
    }
}

fn write_options(options: &[Option<u32>], to: &mut Writer<'_>) {
    to.size(options.len());
    options.iter().for_each(|option| to.number(option.map_or(0, |n| u64::from(n) + 1)));
}

fn read_options(from: &mut Reader<'_>) -> Result<Vec<Option<u32>>, Broken> {
    let read = |n: u64| match n.checked_sub(1) {
        None => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| Broken("a length is too large")),
    };
    (0..from.count()?).map(|_| from.number().and_then(read)).collect()
}

fn wire_type(from: &mut Reader<'_>) -> Result<TensorType, Broken> {
    TensorType::ALL.get(from.size()?).copied().ok_or(Broken("an element type that is not known"))
}

fn type_number(ty: TensorType) -> usize {
    TensorType::ALL.iter().position(|known| *known == ty).unwrap_or(usize::MAX)
}

fn write_description(description: &Description, to: &mut Writer<'_>) -> Option<()> {
    let Description { inputs, outputs, operators, quantised_operators, parameters, weights, opset, producer } =
        description;
    to.size(inputs.len());
    for InputDescription { name, ty, dimensions } in inputs {
        to.text(name);
        to.size(type_number(*ty));
        to.size(dimensions.len());
        for dimension in dimensions {
            match dimension {
                Dimension::Fixed(length) => to.number(2 + u64::from(*length)),
                Dimension::Any => to.number(0),
                Dimension::Symbol(name) => {
                    to.number(1);
                    to.text(name);
                }
            }
        }
    }
    to.size(outputs.len());
    for TensorDescription { name, ty, dimensions, symbols } in outputs {
        to.text(name);
        to.size(type_number(*ty));
        write_options(dimensions, to);
        for symbol in symbols {
            to.flag(symbol.is_some());
            to.text(symbol.as_deref().unwrap_or_default());
        }
    }
    to.size(operators.len());
    for OperatorCount { operator, count } in operators {
        to.text(operator);
        to.number(u64::from(*count));
    }
    to.number(u64::from(*quantised_operators));
    to.number(*parameters);
    to.size(weights.len());
    for WeightCount { ty, elements } in weights {
        to.text(ty);
        to.number(*elements);
    }
    to.number(u64::try_from(*opset).ok()?);
    to.text(producer);
    Some(())
}

fn count(from: &mut Reader<'_>) -> Result<u32, Broken> {
    u32::try_from(from.number()?).map_err(|_| Broken("a count is too large"))
}

fn read_dimension(from: &mut Reader<'_>) -> Result<Dimension, Broken> {
    Ok(match from.number()? {
        0 => Dimension::Any,
        1 => Dimension::Symbol(from.text()?.to_owned()),
        n => Dimension::Fixed(u32::try_from(n - 2).map_err(|_| Broken("a length is too large"))?),
    })
}

fn read_description(from: &mut Reader<'_>) -> Result<Description, Broken> {
    let inputs = (0..from.count()?)
        .map(|_| {
            Ok(InputDescription {
                name: from.text()?.to_owned(),
                ty: wire_type(from)?,
                dimensions: (0..from.count()?).map(|_| read_dimension(from)).collect::<Result<_, _>>()?,
            })
        })
        .collect::<Result<_, Broken>>()?;
    let outputs = (0..from.count()?)
        .map(|_| {
            let (name, ty, dimensions) = (from.text()?.to_owned(), wire_type(from)?, read_options(from)?);
            let mut symbol =
                || Ok((from.flag()?, from.text()?)).map(|(there, name)| there.then(|| name.to_owned()));
            let symbols = (0..dimensions.len()).map(|_| symbol()).collect::<Result<Vec<_>, Broken>>()?;
            Ok(TensorDescription { name, ty, symbols, dimensions })
        })
        .collect::<Result<_, Broken>>()?;
    let operators = (0..from.count()?)
        .map(|_| Ok(OperatorCount { operator: from.text()?.to_owned(), count: count(from)? }))
        .collect::<Result<_, Broken>>()?;
    let (quantised_operators, parameters) = (count(from)?, from.number()?);
    let weights = (0..from.count()?)
        .map(|_| Ok(WeightCount { ty: from.text()?.to_owned(), elements: from.number()? }))
        .collect::<Result<_, Broken>>()?;
    let opset = i64::try_from(from.number()?).map_err(|_| Broken("an operator set that is not known"))?;
    let producer = from.text()?.to_owned();
    Ok(Description { inputs, outputs, operators, quantised_operators, parameters, weights, opset, producer })
}

/// Writes a graph; none where something of it has no image.
pub(super) fn write<'a>(drawing: &'a Drawing, to: &mut Writer<'a>) -> Option<()> {
    let Drawing { model, description, outputs, shapes, precision, macs } = drawing;
    to.number(precision_number(*precision));
    write_description(description, to)?;
    to.size(outputs.len());
    for (name, bfloat) in outputs {
        to.text(name);
        to.flag(*bfloat);
    }
    to.size(shapes.len());
    shapes.iter().for_each(|shape| to.sizes(&shape.iter().map(|d| *d as usize).collect::<Vec<_>>()));
    to.number(*macs);
    write_model(model, to, false)
}

/// Writes nodes, inputs and outputs; none where something has no image. The `inner` graph of a node has no further one.
pub(super) fn write_model<'a>(model: &'a TypedModel, to: &mut Writer<'a>, inner: bool) -> Option<()> {
    to.size(model.nodes().len());
    for node in model.nodes() {
        to.text(&node.name);
        to.size(node.inputs.len());
        for input in &node.inputs {
            to.size(input.node);
            to.size(input.slot);
        }
        to.size(node.outputs.len());
        for output in &node.outputs {
            if output.fact.exotic_fact.is_some() {
                return None;
            }
            write_type(output.fact.datum_type, to)?;
            to.sizes(output.fact.shape.as_concrete()?);
        }
        ops::write(node.op.as_ref(), to, inner)?;
    }
    for outlets in [model.input_outlets().ok()?, model.output_outlets().ok()?] {
        to.size(outlets.len());
        for outlet in outlets {
            to.size(outlet.node);
            to.size(outlet.slot);
        }
    }
    Some(())
}

/// An outlet of one of the first `nodes` nodes.
fn outlet(model: &TypedModel, from: &mut Reader<'_>) -> Result<OutletId, Broken> {
    let (node, slot) = (from.size()?, from.size()?);
    match model.nodes().get(node).and_then(|node| node.outputs.get(slot)) {
        Some(_) => Ok(OutletId::new(node, slot)),
        None => Err(Broken("a node reads what is not there")),
    }
}

/// Reads a graph.
pub(super) fn read(from: &mut Reader<'_>) -> Result<Read, ImageError> {
    let precision = match from.number()? {
        0 => Precision::F32,
        1 => Precision::Int8,
        2 => Precision::Int16,
        _ => return Err(Broken("a precision that is not known").into()),
    };
    let description = read_description(from)?;
    let outputs = (0..from.count()?)
        .map(|_| Ok(Output { name: from.text()?.to_owned(), bfloat: from.flag()? }))
        .collect::<Result<_, Broken>>()?;
    let dim = |n: usize| u32::try_from(n).map_err(|_| Broken("a length is too large"));
    let shapes = (0..from.count()?)
        .map(|_| from.sizes()?.into_iter().map(dim).collect::<Result<Vec<u32>, _>>())
        .collect::<Result<_, Broken>>()?;
    let macs = from.number()?;
    let model = read_model(from, false)?;
    Ok(Read { description, outputs, shapes, precision, macs, model })
}

/// Reads nodes, inputs and outputs.
pub(super) fn read_model(from: &mut Reader<'_>, inner: bool) -> Result<TypedModel, Broken> {
    let mut model = TypedModel::default();
    let engine = |_: TractError| Broken("its graph does not hold together");
    let nodes = from.count()?;
    // Nodes read those before them: a lowered graph is compact.
    for _ in 0..nodes {
        let name = from.text()?.to_owned();
        let inputs = (0..from.count()?).map(|_| outlet(&model, from)).collect::<Result<Vec<_>, _>>()?;
        let facts = (0..from.count()?)
            .map(|_| {
                let (dt, shape) = (read_type(from)?, from.sizes()?);
                let all = shape.iter().try_fold(1usize, |all, length| all.checked_mul(*length));
                match all.filter(|all| *all < 1 << 31 && shape.len() < MOST) {
                    Some(_) => Ok(dt.fact(shape)),
                    None => Err(Broken("a tensor is too large")),
                }
            })
            .collect::<Result<TVec<TypedFact>, Broken>>()?;
        let (op, facts) = ops::read(from, facts, inner)?;
        let id = model.add_node(name, op, facts).map_err(engine)?;
        for (slot, input) in inputs.into_iter().enumerate() {
            model.add_edge(input, InletId::new(id, slot)).map_err(engine)?;
        }
        ops::check(&model, model.node(id))?;
    }
    let mut outlets = || (0..from.count()?).map(|_| outlet(&model, from)).collect::<Result<Vec<_>, Broken>>();
    let (inputs, outlets) = (outlets()?, outlets()?);
    model.set_input_outlets(&inputs).map_err(engine)?;
    model.select_output_outlets(&outlets).map_err(engine)?;
    Ok(model)
}
