//! A run that can be left between nodes, and inside large ones, and gone on with later.
//!
//! A run is a row of steps: each node is one, and one whose kernel takes more than [`LARGEST`] instructions is several, cut where its
//! shapes say when it is lowered. Where a run is left is up to who advances it; what comes out is the same bits wherever
//! that is, since no step knows of it. What a run holds in the heap, and whose weights it reads, stays until it is dropped,
//! whatever becomes of the graph meanwhile.

use std::sync::Arc;

use ic_nn_arena::{Layout, Room};
use ic_nn_types::{NamedTensor, Tensor as Wire};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::plan::SimpleState;

use crate::error::one_line;
use crate::guard::Guard;
use crate::ops::Fault;
use crate::parted::parted;
use crate::plan::{NodeCost, Output, node};
use crate::{InferError, price, tensors};

/// Instructions that a part of a node is to take at most, where its kernel can be cut: a fortieth of what a message has.
const LARGEST: u64 = 1_000_000_000;

/// What a plan's runs share.
pub(crate) struct Core {
    /// The optimised graph in order.
    pub(crate) runnable: Arc<TypedSimplePlan>,
    guards: Vec<Option<Guard>>,
    /// Nodes whose values are of no use once the node at that place of the order has run.
    ends: Vec<Vec<usize>>,
    /// What each node of the order takes, by its shapes.
    costs: Vec<u64>,
    /// Of all of them.
    cost: u64,
    /// Whether every tensor's shape follows from the input shapes.
    pub(crate) fixed: bool,
    /// Whether it is run node by node. Where lengths depend on values tract's own loop finds them out, in a single step; so do graphs run
    /// that have no inputs, which are constants.
    stepped: bool,
    /// Instructions that a part of a node is to take at most, where its kernel can be cut.
    pub(crate) largest: u64,
}

impl Core {
    /// Of an optimised graph.
    pub(crate) fn new(model: TypedModel) -> TractResult<Core> {
        let fixed = model.nodes().iter().flat_map(|n| &n.outputs).all(|o| o.fact.shape.is_concrete());
        let guards = model.nodes().iter().map(|n| Guard::of(n.op.as_ref())).collect();
        let runnable = model.into_runnable()?;
        let (model, order) = (runnable.model(), runnable.order_without_consts());
        let costs: Vec<u64> =
            order.iter().map(|id| price::node(model, model.node(*id)).instructions).collect();
        let cost = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(*cost));
        let ends = ends(model, order)?;
        let stepped = fixed && !model.input_outlets()?.is_empty();
        Ok(Core { runnable, guards, ends, costs, cost, fixed, stepped, largest: LARGEST })
    }
}

/// For each place of `order` the nodes whose values nobody reads after it.
fn ends(model: &TypedModel, order: &[usize]) -> TractResult<Vec<Vec<usize>>> {
    let mut last = vec![None; model.nodes().len()];
    for (place, id) in order.iter().enumerate() {
        last[*id] = Some(place);
        for input in &model.node(*id).inputs {
            last[input.node] = Some(place);
        }
    }
    for outlet in model.output_outlets()? {
        last[outlet.node] = None;
    }
    let mut ends = vec![vec![]; order.len()];
    for (id, place) in last.into_iter().enumerate() {
        if let (Some(place), false) = (place, model.node(id).op_is::<Const>()) {
            ends[place].push(id);
        }
    }
    Ok(ends)
}

/// An inference under way.
pub struct Run {
    pub(crate) shapes: Vec<Vec<u32>>,
    pub(crate) values: Vec<(usize, Wire)>,
    names: Vec<Output>,
    state: TypedSimpleState,
    under: Option<Under>,
    /// Inputs that are still to be brought in.
    inputs: TVec<TValue>,
    core: Arc<Core>,
    /// Steps of the order that are done.
    at: usize,
    /// What the steps that are done were to take.
    spent: u64,
    /// Bytes that it needs at its worst moment.
    peak_bytes: u64,
    room: Room,
}

/// A node of which some parts have run.
struct Under {
    inputs: TVec<TValue>,
    output: Tensor,
    part: usize,
    parts: usize,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Instructions that what has run was estimated to take.
    pub spent: u64,
    /// Instructions that all of it is.
    pub cost: u64,
    /// Instructions that the next step is estimated to take; 0 where all have run.
    pub next: u64,
}

impl Run {
    /// A run of `core` on `inputs` of `shapes`, those in `values` left out, whose outputs have `names`.
    pub(crate) fn new(
        core: &Arc<Core>,
        (shapes, values): (Vec<Vec<u32>>, Vec<(usize, Wire)>),
        names: Vec<Output>,
        inputs: &[&Wire],
        (room, peak_bytes): (Room, u64),
    ) -> Result<Run, InferError> {
        let mut run = Run {
            shapes,
            values,
            names,
            state: SimpleState::new(&core.runnable).map_err(failed)?,
            under: None,
            inputs: tvec![],
            core: Arc::clone(core),
            at: 0,
            spent: 0,
            peak_bytes,
            room,
        };
        let model = core.runnable.model();
        let Run { room, inputs: brought, .. } = &mut run;
        *brought = room.within(|| {
            let brought = inputs.iter().enumerate().map(|(ix, tensor)| match model.input_fact(ix) {
                Ok(fact) if fact.datum_type.is_quantized() => tensors::to_engine_as(tensor, fact.datum_type),
                _ => tensors::to_engine(tensor),
            });
            brought.collect::<Result<TVec<_>, _>>()
        })?;
        if core.stepped {
            let inputs = std::mem::take(&mut run.inputs);
            run.state.set_inputs(inputs).map_err(failed)?;
        }
        Ok(run)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { spent: self.spent, cost: self.core.cost, next: self.next() }
    }

    /// What the next step is to take.
    fn next(&self) -> u64 {
        if !self.core.stepped {
            return self.core.cost;
        }
        let node = self.core.costs.get(self.at).copied().unwrap_or(0);
        match &self.under {
            Some(under) => node / under.parts as u64,
            None => node / self.parts(self.at) as u64,
        }
    }

    /// How many parts the node at that place of the order is cut into.
    fn parts(&self, at: usize) -> usize {
        let (Some(id), Some(cost)) =
            (self.core.runnable.order_without_consts().get(at), self.core.costs.get(at))
        else {
            return 1;
        };
        // Most steps are small; whether they could be cut need not be asked.
        if *cost <= self.core.largest {
            return 1;
        }
        let units = parted(self.core.runnable.model().node(*id).op.as_ref()).map_or(1, |op| op.units());
        (cost.div_ceil(self.core.largest) as usize).clamp(1, units.max(1))
    }

    /// Runs one step after the other while `goes_on` says so, which is told what the next is estimated to take. The outputs in the
    /// graph's order once the last has run; `None` where it was left before, to be gone on with. `watch` is told each node when it
    /// has run.
    ///
    /// # Errors
    /// What the engine fails at, and values that would lead out of a tensor. The run is over then.
    pub fn advance(
        &mut self,
        goes_on: &mut dyn FnMut(u64) -> bool,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Option<Vec<NamedTensor>>, InferError> {
        let mut room = std::mem::replace(&mut self.room, Room::plain());
        let result = room.within(|| {
            if !self.core.stepped {
                return goes_on(self.core.cost).then(|| self.at_once(watch)).transpose();
            }
            while self.at < self.core.costs.len() {
                if !goes_on(self.next()) {
                    return Ok(None);
                }
                self.step(watch)?;
            }
            let values = self.state.outputs().map_err(failed)?;
            self.wire(values).map(Some)
        });
        self.room = room;
        result
    }

    /// Bytes of activations and buffers that it has at its worst moment, beside its weights.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Whether what it takes follows from the shapes of its inputs alone: lengths of no tensor depend on values.
    pub fn is_fixed(&self) -> bool {
        self.core.fixed && self.values.is_empty()
    }

    /// The nodes that `watch` was told of, each with the instructions that are beside it.
    pub fn nodes(&self, watched: &[(usize, u64)]) -> Vec<NodeCost> {
        let node = |(id, instructions): &(usize, u64)| {
            Some(NodeCost { instructions: *instructions, ..node(self.core.runnable.model(), *id)? })
        };
        watched.iter().filter_map(node).collect()
    }

    /// What a run of fixed sizes that is over has recorded of its memory, where it was to.
    pub(crate) fn into_layout(self) -> Option<Arc<Layout>> {
        let Run { room, core, .. } = self;
        room.into_layout().filter(|_| core.fixed)
    }

    fn wire(&self, values: TVec<TValue>) -> Result<Vec<NamedTensor>, InferError> {
        let wire = self.names.iter().zip(values).map(|(Output { name, bfloat }, value)| {
            Ok((name.clone(), tensors::to_wire(name, value, *bfloat)?))
        });
        wire.collect()
    }

    /// Runs the next node, or the next part of it.
    fn step(&mut self, watch: &mut dyn FnMut(usize)) -> Result<(), InferError> {
        let core = Arc::clone(&self.core);
        let Some(&id) = core.runnable.order_without_consts().get(self.at) else { return Ok(()) };
        let node = core.runnable.model().node(id);
        let parts = self.under.as_ref().map_or_else(|| self.parts(self.at), |under| under.parts);
        let taken = core.costs[self.at] / parts as u64;
        if parts > 1
            && let Some(op) = parted(node.op.as_ref())
        {
            let mut under = match self.under.take() {
                Some(under) => under,
                None => {
                    let inputs = self.operands(&core, node)?;
                    Under { inputs, output: op.begin().map_err(failed)?, part: 0, parts }
                }
            };
            let units = op.units();
            let cut = |part: usize| part * units / parts;
            let range = cut(under.part)..cut(under.part + 1);
            op.compute(&under.inputs, &mut under.output, range).map_err(failed)?;
            under.part += 1;
            self.spent = self.spent.saturating_add(taken);
            if under.part < parts {
                self.under = Some(under);
                return Ok(());
            }
            self.state.turn_state.values[id] = Some(tvec!(under.output.into_tvalue()));
        } else {
            let operands = self.operands(&core, node)?;
            self.state.compute_one_with_inputs(id, operands).map_err(|e| fault(node, &e))?;
            self.spent = self.spent.saturating_add(taken);
        }
        if core.ends[self.at].contains(&id) {
            self.state.turn_state.values[id] = None;
        }
        self.at += 1;
        watch(id);
        Ok(())
    }

    /// A node's operands, held to its guard. What nobody reads after it is its own.
    fn operands(&mut self, core: &Core, node: &TypedNode) -> Result<TVec<TValue>, InferError> {
        let operands = self.state.prepare_inputs(node.id).map_err(failed)?;
        if let Some(Some(guard)) = core.guards.get(node.id) {
            guard.check(node, &operands)?;
        }
        for end in &core.ends[self.at] {
            self.state.turn_state.values[*end] = None;
        }
        Ok(operands)
    }

    /// Runs all of it by tract's own loop, which finds out lengths on the way.
    fn at_once(&mut self, watch: &mut dyn FnMut(usize)) -> Result<Vec<NamedTensor>, InferError> {
        let core = Arc::clone(&self.core);
        let inputs = std::mem::take(&mut self.inputs);
        let mut refused = None;
        let ran = self.state.run_plan_with_eval(inputs, |ctx, op_state, node, operands| {
            if let Some(Some(guard)) = core.guards.get(node.id)
                && let Err(e) = guard.check(node, &operands)
            {
                refused = Some(e.clone());
                return Err(TractError::msg(e.to_string()));
            }
            let outputs = match op_state {
                Some(op_state) => op_state.eval(ctx, node.op.as_ref(), operands),
                None => node.op.eval(ctx, operands),
            };
            if let Err(e) = &outputs
                && let refusal @ InferError::Value { .. } = fault(node, e)
            {
                refused = Some(refusal);
            }
            watch(node.id);
            outputs
        });
        let values = match (refused, ran) {
            (Some(e), _) => return Err(e),
            (None, ran) => ran.map_err(failed)?,
        };
        self.spent = core.cost;
        self.wire(values)
    }
}

fn failed(e: TractError) -> InferError {
    InferError::Engine(one_line(&e))
}

/// What a node failed at: the values it was given, where it says so.
fn fault(node: &TypedNode, e: &TractError) -> InferError {
    match e.chain().find_map(|cause| cause.downcast_ref::<Fault>()) {
        Some(fault) => InferError::Value {
            node: node.name.clone(),
            operator: node.op.name().to_string(),
            reason: fault.to_string(),
        },
        None => InferError::Engine(one_line(e)),
    }
}

#[cfg(test)]
mod tests;
