//! What makes sums real moves into the operator: Cast to f32, Mul by a factor, Add of a bias, as onnxruntime's dynamic quantisation
//! writes them. The operator does the same in the same order, so results stay what they were to the last bit.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::math::{Add, Mul};

use super::{Ending, Exact, Sums};
use crate::lower::replace;

/// The node that alone reads node `id`.
fn next(model: &TypedModel, id: usize) -> Option<usize> {
    match model.node(id).outputs.as_slice() {
        [output] => match *output.successors {
            [one] if !model.outputs.contains(&id.into()) => Some(one.node),
            _ => None,
        },
        _ => None,
    }
}

/// The other operand of node `id`, an operator of two of which `before` is one, if it is f32, and one number or one an output.
fn operand<O: tract_onnx::tract_core::ops::binary::BinMiniOp>(
    model: &TypedModel,
    id: usize,
    before: usize,
    op: &Exact,
) -> Option<OutletId> {
    let node = model.node(id);
    node.op_as::<TypedBinOp>().filter(|binary| binary.0.is::<O>())?;
    let [a, b] = *node.inputs else { return None };
    let other = match (a.node == before, b.node == before) {
        (true, false) => b,
        (false, true) => a,
        _ => return None,
    };
    let fact = model.outlet_fact(other).ok()?;
    let shape = fact.shape.as_concrete()?;
    let output = model.outlet_fact(id.into()).ok()?;
    let (rank, n) = (op.output.len(), op.sums.outputs());
    let axis = if matches!(op.sums, Sums::Product { .. }) { rank - 1 } else { 1 };
    let along = |ix: usize| if ix == axis { n } else { 1 };
    let fits = shape.iter().product::<usize>() == 1
        || shape.len() == rank && shape.iter().enumerate().all(|(ix, d)| *d == along(ix));
    let same = output.shape.as_concrete() == Some(op.output.as_slice());
    (fits && same && fact.datum_type == f32::datum_type() && output.datum_type == f32::datum_type())
        .then_some(other)
}

/// Fuses in a graph that is not decluttered yet: axes that tract moves would come in between.
pub(crate) fn fuse(model: &mut TypedModel) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        let Some(op) = model.node(id).op_as::<Exact>().filter(|op| op.ending == Ending::Sums).cloned() else {
            continue;
        };
        let Some(cast) = next(model, id) else { continue };
        if model.node(cast).op_as::<Cast>().is_none_or(|cast| cast.to != f32::datum_type()) {
            continue;
        }
        let Some(mul) = next(model, cast) else { continue };
        let Some(factor) = operand::<Mul>(model, mul, cast, &op) else { continue };
        let add = next(model, mul).and_then(|add| Some((add, operand::<Add>(model, add, mul, &op)?)));
        let mut inputs = model.node(id).inputs.to_vec();
        inputs.push(factor);
        let (last, gone) = match add {
            Some((add, bias)) => {
                inputs.push(bias);
                (add, vec![id, cast, mul])
            }
            None => (mul, vec![id, cast]),
        };
        let ending = Ending::Real { added: add.is_some() };
        replace(model, last, Box::new(Exact { ending, ..op }), inputs);
        for id in gone {
            replace(model, id, Box::new(Identity), vec![]);
        }
    }
    Ok(())
}
