//! Operators on elements, taken together: each group of them that gives one tensor becomes a chain.
//!
//! A group is an operator and those before it that nothing else reads, as long as they give tensors of the same shape; what is repeated
//! over that shape is an operand.

use ic_nn_kernels::{Chain, Operation, Repeat, Source, Step};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::math::{
    Abs, Add, Ceil, Div, Erf, Exp, Floor, Max, Min, Mul, Neg, PowConst, Recip, RoundHalfToEven, Rsqrt, Sqrt,
    Square, Sub, SubF, Tanh,
};
use tract_onnx::tract_core::ops::nn::gelu_exact::GeluExact;
use tract_onnx::tract_core::ops::nn::{GeluApproximate, HardSwish, LeakyRelu, Sigmoid, Silu};

use super::node::{Body, Lowered};
use super::{constant, floats, replace, shape};

/// The most operators of a group: each is six steps at most, of which a chain has sixty-four.
const MEMBERS: usize = 10;
/// Numbers that a group's operators give together, from which on a chain is cheaper: for one operator on few of them tract's is as good.
const NUMBERS: usize = 64;

/// What an operator on elements is.
#[derive(Clone, Copy)]
enum Map {
    /// An operation on its one input.
    One(Operation),
    /// An operation on its two inputs.
    Two(Operation),
    /// The same, the second input first.
    Swapped(Operation),
    /// Less where the input is below 0.
    Leaky(f32),
    /// The input times a sixth of itself and a half, between 0 and 1.
    HardSwish,
    /// A whole power.
    Power(i32),
}

/// What an operator of two operands is.
fn binary(op: &TypedBinOp) -> Option<Map> {
    if op.1.is_some_and(|dt| dt != f32::datum_type()) {
        return None;
    }
    let known = [
        (op.0.is::<Add>(), Map::Two(Operation::Add)),
        (op.0.is::<Sub>(), Map::Two(Operation::Sub)),
        (op.0.is::<SubF>(), Map::Swapped(Operation::Sub)),
        (op.0.is::<Mul>(), Map::Two(Operation::Mul)),
        (op.0.is::<Div>(), Map::Two(Operation::Div)),
        (op.0.is::<Min>(), Map::Two(Operation::Min)),
        (op.0.is::<Max>(), Map::Two(Operation::Max)),
    ];
    known.into_iter().find(|(is, _)| *is).map(|(_, map)| map)
}

/// What an operator of one operand is.
fn unary(op: &ElementWiseOp) -> Option<Map> {
    if op.1.is_some_and(|dt| dt != f32::datum_type()) {
        return None;
    }
    let op = &op.0;
    if let Some(LeakyRelu { alpha }) = op.downcast_ref() {
        return alpha.is_finite().then_some(Map::Leaky(*alpha));
    }
    if let Some(PowConst { exponent }) = op.downcast_ref() {
        let whole = [-2.0, -1.0, 3.0, 4.0].contains(exponent);
        return whole.then_some(Map::Power(*exponent as i32));
    }
    if let Some(GeluApproximate { fast_impl }) = op.downcast_ref() {
        return (!fast_impl).then_some(Map::One(Operation::GeluTanh));
    }
    if op.is::<HardSwish>() {
        return Some(Map::HardSwish);
    }
    let known = [
        (op.is::<Neg>(), Operation::Neg),
        (op.is::<Abs>(), Operation::Abs),
        (op.is::<Square>(), Operation::Square),
        (op.is::<Sqrt>(), Operation::Sqrt),
        (op.is::<Rsqrt>(), Operation::Rsqrt),
        (op.is::<Recip>(), Operation::Recip),
        (op.is::<Floor>(), Operation::Floor),
        (op.is::<Ceil>(), Operation::Ceil),
        (op.is::<RoundHalfToEven>(), Operation::Nearest),
        (op.is::<Exp>(), Operation::Exp),
        (op.is::<Tanh>(), Operation::Tanh),
        (op.is::<Sigmoid>(), Operation::Sigmoid),
        (op.is::<Silu>(), Operation::Silu),
        (op.is::<Erf>(), Operation::Erf),
        (op.is::<GeluExact>(), Operation::Gelu),
    ];
    known.into_iter().find(|(is, _)| *is).map(|(_, operation)| Map::One(operation))
}

/// What a node is, where it gives floats of a known shape that its inputs are repeated over.
fn map(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Map>> {
    let map = match (node.op_as::<TypedBinOp>(), node.op_as::<ElementWiseOp>()) {
        (Some(op), _) if node.inputs.len() == 2 => binary(op),
        (_, Some(op)) if node.inputs.len() == 1 => unary(op),
        _ => None,
    };
    let Some(map) = map else { return Ok(None) };
    let Some(output) = shape(model, node.id.into())? else { return Ok(None) };
    for input in &node.inputs {
        let Some(operand) = shape(model, *input)? else { return Ok(None) };
        if operand.len() != output.len() || Repeat::of(&output, &operand).is_none() {
            return Ok(None);
        }
    }
    Ok(Some(map))
}

/// Makes chains of all groups.
pub(super) fn lower(model: &mut TypedModel) -> TractResult<()> {
    let order = model.eval_order()?;
    let mut place = vec![0; model.nodes().len()];
    order.iter().enumerate().for_each(|(ix, id)| place[*id] = ix);
    let outputs = model.output_outlets()?.to_vec();
    let mut taken = vec![false; place.len()];
    for &sink in order.iter().rev() {
        if taken[sink] || map(model, model.node(sink))?.is_none() {
            continue;
        }
        let Some(output) = shape(model, sink.into())? else { continue };
        let mut members = vec![sink];
        let mut next = 0;
        // What a member reads is one where members alone read it: which is seen at the last of them.
        while next < members.len() && members.len() < MEMBERS {
            for input in &model.node(members[next]).inputs {
                let readers = &model.outlet_successors(*input);
                if members.len() < MEMBERS
                    && !members.contains(&input.node)
                    && readers.iter().all(|reader| members.contains(&reader.node))
                    && !outputs.contains(input)
                    && shape(model, *input)?.as_ref() == Some(&output)
                    && map(model, model.node(input.node))?.is_some()
                {
                    members.push(input.node);
                }
            }
            next += 1;
        }
        if members.len() * output.iter().product::<usize>() < NUMBERS {
            continue;
        }
        // In order: there are few.
        for ix in 1..members.len() {
            let at = members[..ix].partition_point(|id| place[*id] < place[members[ix]]);
            members[at..=ix].rotate_right(1);
        }
        let Some((chain, inputs)) = chain(model, &members, &output)? else { continue };
        for id in members {
            taken[id] = true;
            if id != sink {
                replace(model, id, Box::new(Identity), vec![]);
            }
        }
        replace(model, sink, Box::new(Lowered::new(Body::Chain(chain), None, output, 0)), inputs);
    }
    Ok(())
}

/// The chain of these nodes, of which the last gives the output, and its operands.
fn chain(
    model: &TypedModel,
    nodes: &[usize],
    output: &[usize],
) -> TractResult<Option<(Chain, Vec<OutletId>)>> {
    let (mut steps, mut inputs, mut repeats) = (vec![], vec![], vec![]);
    let mut made: Vec<(usize, Source)> = vec![];
    for &id in nodes {
        let node = model.node(id);
        let Some(map) = map(model, node)? else { return Ok(None) };
        let mut sources = tvec![];
        for input in &node.inputs {
            if let Some((_, source)) = made.iter().find(|(id, _)| *id == input.node) {
                sources.push(*source);
                continue;
            }
            if let Some(number) = uniform(model, *input)? {
                sources.push(Source::Number(number));
                continue;
            }
            let place = match inputs.iter().position(|known| known == input) {
                Some(place) => place,
                None => {
                    let operand = shape(model, *input)?.unwrap_or_default();
                    let Some(repeat) = Repeat::of(output, &operand) else { return Ok(None) };
                    inputs.push(*input);
                    repeats.push(repeat);
                    inputs.len() - 1
                }
            };
            sources.push(Source::Operand(place));
        }
        let first = sources[0];
        let second = sources.get(1).copied().unwrap_or(first);
        let mut push = |operation, a, b| {
            steps.push(Step { operation, from: [a, b] });
            Source::Step(steps.len() - 1)
        };
        let given = match map {
            Map::One(operation) => push(operation, first, first),
            Map::Two(operation) => push(operation, first, second),
            Map::Swapped(operation) => push(operation, second, first),
            Map::Leaky(slope) => push(Operation::Leaky, first, Source::Number(slope)),
            Map::HardSwish => {
                let sixth = push(Operation::Mul, first, Source::Number(1.0 / 6.0));
                let moved = push(Operation::Add, sixth, Source::Number(0.5));
                let low = push(Operation::Min, moved, Source::Number(1.0));
                let bounded = push(Operation::Max, low, Source::Number(0.0));
                push(Operation::Mul, first, bounded)
            }
            Map::Power(exponent) => match exponent {
                -1 => push(Operation::Recip, first, first),
                3 => {
                    let square = push(Operation::Square, first, first);
                    push(Operation::Mul, square, first)
                }
                _ => {
                    let square = push(Operation::Square, first, first);
                    let operation = if exponent == -2 { Operation::Recip } else { Operation::Square };
                    push(operation, square, square)
                }
            },
        };
        made.push((id, given));
    }
    // A chain that reads numbers alone would have been folded.
    if inputs.is_empty() {
        return Ok(None);
    }
    Ok(Chain::new(output.iter().product(), repeats, steps).map(|chain| (chain, inputs)))
}

/// The one number that a constant has.
fn uniform(model: &TypedModel, outlet: OutletId) -> TractResult<Option<f32>> {
    let Some(constant) = constant(model, outlet)? else { return Ok(None) };
    Ok(match floats(&constant)? {
        [number] => Some(*number),
        _ => None,
    })
}
