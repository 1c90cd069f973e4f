//! What a plan takes, said before it runs.
//!
//! Every node has a formula of its shapes: lowered nodes ask their kernels ([`crate::lower`]), whose tiles' prices are exact;
//! what tract runs itself is priced by [`operators`], with rates fitted to counts of the canister. What a run takes beside its
//! nodes is here. No formula looks at values; where a length depends on them it counts as 1, and the whole is a lower
//! bound. So it is where values decide what is done, how many boxes are compared and numbers found: what such a node takes at most is
//! what it is cut by ([`Following::worst`]). Prices are the Internet Computer's (`2025-10`), whatever machine this runs on:
//! nothing is measured here.

mod kernels;
mod operators;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::scan::OptScan;

use crate::blockwise::Blockwise;
use crate::cut::Following;
use crate::exact::Exact;
use crate::lower::Lowered;
use crate::streamed::Streamed;

/// What an inference takes, as far as shapes tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Instructions of the run: the graph loaded and planned, the message around it left out.
    pub instructions: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes that nodes read and write, constants left out: operands and first outputs of all of them.
    pub bytes: u64,
    /// Bytes of activations alive at the worst moment.
    pub peak_bytes: u64,
    /// A length depends on values, or a node has a body that runs some times: instructions, multiply-accumulates and bytes are lower
    /// bounds.
    pub at_least: bool,
    /// Nodes of kinds that no formula is fitted to, priced by a general rate.
    pub general_nodes: u32,
}

/// What every node is charged around its operator: operands looked up, outputs kept, the clock's 200 where a run is profiled.
const NODE: u64 = 2_600;
/// A lowered node on top: its output's tensor, its operands as slices.
const LOWERED: u64 = 2_500;
/// A run by itself, and for each node of the plan: its state.
const RUN: u64 = 8_000;
const STATE: u64 = 350;
/// A step of a sequence: what is sliced off it, and put where it belongs.
const SCANNED: u64 = 12_000;
/// A byte of an input that is brought into the engine, a hundred times.
const INPUT_BYTE: u64 = 425;

/// The price of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priced {
    /// Instructions.
    pub(crate) instructions: u64,
    /// Whether its kind has a formula.
    pub(crate) fitted: bool,
    /// Whether it may well take more, having a body or lengths that values decide.
    pub(crate) at_least: bool,
}

/// What node `node` of an optimised model takes in a run.
pub(crate) fn node(model: &TypedModel, node: &TypedNode) -> Priced {
    let at_least = operators::has_body(node) || !node.outputs.iter().all(|o| o.fact.shape.is_concrete());
    let (instructions, fitted) = if let Some(lowered) = node.op_as::<Lowered>() {
        let numbers = node.inputs.first().map_or(0, |input| elements(model, *input));
        (NODE + LOWERED + lowered.instructions(numbers as usize), true)
    } else if let Some(exact) = node.op_as::<Exact>() {
        (NODE + LOWERED + exact.instructions(), true)
    } else if let Some(blockwise) = node.op_as::<Blockwise>() {
        (NODE + LOWERED + blockwise.instructions(), true)
    } else if let Some(least) = Following::least(model, node) {
        (NODE + least, true)
    } else if let Some(streamed) = node.op_as::<Streamed>() {
        (NODE + streamed.instructions(), true)
    } else if let Some(at) = model.inputs.iter().position(|input| input.node == node.id) {
        // The run's state, and bringing all inputs in, are charged to the first node that runs.
        let bytes = |outlet: &OutletId| {
            let size = model.outlet_fact(*outlet).map_or(0, |fact| fact.datum_type.size_of() as u64);
            elements(model, *outlet) * size
        };
        let state = if at == 0 {
            let inputs: u64 = model.inputs.iter().map(bytes).sum();
            RUN + STATE * model.nodes().len() as u64 + inputs * INPUT_BYTE / 100
        } else {
            0
        };
        (1_000 + state, true)
    } else if node.op_is::<tract_onnx::tract_hir::ops::konst::Const>() {
        (0, true)
    } else if let Some(body) = body(model, node) {
        return body;
    } else {
        match kernels::instructions(model, node).or_else(|| operators::instructions(model, node)) {
            Some(instructions) => (NODE + instructions, true),
            None => (NODE + operators::general(model, node), false),
        }
    };
    Priced { instructions, fitted, at_least }
}

/// What a node takes that runs a graph of its own a known number of times.
fn body(model: &TypedModel, node: &TypedNode) -> Option<Priced> {
    let scan = node.op_as::<OptScan>()?;
    let inputs = model.node_input_facts(node.id).ok()?;
    let steps = scan.iteration_count(&inputs)?.to_i64().ok()?.max(0) as u64;
    let (inside, mut each) =
        (scan.plan.model(), Priced { instructions: SCANNED, fitted: true, at_least: false });
    for id in scan.plan.order_without_consts() {
        let Priced { instructions, fitted, at_least } = self::node(inside, inside.node(*id));
        each.instructions = each.instructions.saturating_add(instructions);
        each.fitted &= fitted;
        each.at_least |= at_least;
    }
    let instructions = (NODE + RUN).saturating_add(each.instructions.saturating_mul(steps));
    Some(Priced { instructions, ..each })
}

/// Elements of an outlet; a length that is not known counts as 1.
fn elements(model: &TypedModel, outlet: OutletId) -> u64 {
    model.outlet_fact(outlet).map_or(0, |fact| dimensions(fact).iter().product())
}

/// Lengths of a fact; 1 where one is not known.
fn dimensions(fact: &TypedFact) -> TVec<u64> {
    fact.shape.iter().map(|d| d.to_i64().map_or(1, |d| d.max(0) as u64)).collect()
}
