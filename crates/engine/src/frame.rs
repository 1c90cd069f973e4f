//! A graph under way, node by node: what a run, and a body inside of one of its nodes, is made of.
//!
//! A node is a step, and one that takes more than is to be done at a time is several: parts of what it computes, or the nodes of its
//! body.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{ToDim, ensure, solve_for};
use tract_onnx::tract_core::plan::SimpleState;

use crate::body::{Body, Inner};
use crate::core::Core;
use crate::error::one_line;
use crate::late::Late;
use crate::ops::Fault;
use crate::parted::{Parted, parted};
use crate::{InferError, ModelError};

/// A graph of which some nodes have run.
pub(crate) struct Frame {
    pub(crate) state: TypedSimpleState,
    pub(crate) core: Arc<Core>,
    under: Option<Under>,
    /// Steps of the order that are done.
    pub(crate) at: usize,
    /// The node that is next, where its lengths depend on values.
    late: Option<Box<Late>>,
    /// What such nodes were priced at.
    pub(crate) priced: HashMap<usize, u64>,
    /// Bytes that its values may take, which lengths that depend on values are held to.
    pub(crate) available: u64,
}

/// A node that has begun.
enum Under {
    /// Of which some parts have run.
    Parts(Box<Parts>),
    /// Whose body is under way.
    Body(Box<Body>),
}

/// How far the parts of a node are.
struct Parts {
    inputs: TVec<TValue>,
    outputs: TVec<Tensor>,
    part: usize,
    parts: usize,
}

/// What a step was.
pub(crate) struct Stepped {
    /// What it was estimated to take.
    pub(crate) spent: u64,
    /// The node that is over with it.
    pub(crate) node: Option<usize>,
}

impl Frame {
    /// Of a graph that has no inputs yet.
    pub(crate) fn new(core: &Arc<Core>) -> TractResult<Frame> {
        Ok(Frame {
            state: SimpleState::new(&core.runnable)?,
            core: Arc::clone(core),
            under: None,
            at: 0,
            late: None,
            priced: HashMap::new(),
            available: u64::MAX,
        })
    }

    /// Begins, or begins again, on these inputs.
    pub(crate) fn begin(&mut self, inputs: TVec<TValue>) -> TractResult<()> {
        for id in self.core.runnable.order_without_consts() {
            if let Some(value) = self.state.turn_state.values.get_mut(*id) {
                *value = None;
            }
        }
        (self.at, self.under, self.late) = (0, None, None);
        self.priced.clear();
        self.state.turn_state.resolved_symbols = SymbolValues::default();
        self.state.set_inputs(inputs)
    }

    /// Lengths that depend on values, as far as they have come.
    pub(crate) fn lengths(&self) -> &SymbolValues {
        &self.state.turn_state.resolved_symbols
    }

    /// Whether all its nodes have run.
    pub(crate) fn is_over(&self) -> bool {
        self.at >= self.core.costs.len()
    }

    /// What the next step is to take.
    pub(crate) fn next(&self) -> u64 {
        let (node, largest) = (self.cost(), self.core.largest);
        match &self.under {
            Some(Under::Parts(parts)) => node / parts.parts as u64,
            Some(Under::Body(body)) => body.next(largest),
            None => match &self.late {
                Some(late) if late.is_unplanned() => late.planning(),
                _ if node > largest && self.inner().is_some() => largest,
                _ => node / self.parts() as u64,
            },
        }
    }

    /// What the node that is next takes.
    fn cost(&self) -> u64 {
        let planned = self.core.costs.get(self.at).copied().unwrap_or(0);
        self.late.as_ref().map_or(planned, |late| planned.max(late.cost))
    }

    /// Into how many parts it is cut.
    fn parts(&self) -> usize {
        match &self.late {
            Some(late) => late.parts(self.core.largest),
            None => self.core.parts(self.at),
        }
    }

    /// The graphs inside the node that is next.
    fn inner(&self) -> Option<&Arc<Inner>> {
        self.core.inner.get(self.at).and_then(Option::as_ref)
    }

    /// Runs the next node, or the next part of it.
    pub(crate) fn step(&mut self) -> Result<Stepped, InferError> {
        let core = Arc::clone(&self.core);
        let Some(&id) = core.runnable.order_without_consts().get(self.at) else {
            return Ok(Stepped { spent: 0, node: None });
        };
        let node = core.runnable.model().node(id);
        let cost = self.cost();
        if self.under.is_none() {
            self.admit(&core, node)?;
            self.enter(&core, node, cost)?;
            // Planning is a step of its own: how the node goes on is known then.
            if let Some(late) = self.late.as_ref().filter(|late| late.is_unplanned()) {
                return Ok(Stepped { spent: late.planning(), node: None });
            }
        }
        let spent = if self.under.is_some() {
            let (spent, over) = self.go_on(&core, node, cost)?;
            let Some(outputs) = over else { return Ok(Stepped { spent, node: None }) };
            self.state.turn_state.values[id] = Some(outputs);
            spent
        } else {
            let operands = self.operands(&core, node)?;
            self.state.compute_one_with_inputs(id, operands).map_err(|e| fault(node, &e))?;
            cost
        };
        if !core.fixed {
            self.learn(node).map_err(failed)?;
        }
        if core.ends[self.at].contains(&id) {
            self.state.turn_state.values[id] = None;
        }
        self.at += 1;
        if !core.fixed {
            // A node that cannot be told by itself is left whole.
            self.late = self.look_ahead(&core).ok().flatten().map(Box::new);
        }
        Ok(Stepped { spent, node: Some(id) })
    }

    /// The node that is next by itself, where its lengths depend on values that have come.
    #[inline(never)]
    fn look_ahead(&self, core: &Core) -> TractResult<Option<Late>> {
        let model = core.runnable.model();
        let Some(id) = core.runnable.order_without_consts().get(self.at) else { return Ok(None) };
        let node = model.node(*id);
        if core.inner[self.at].is_some() {
            return Ok(None);
        }
        let mut operands = vec![];
        for outlet in &node.inputs {
            let fact = model.outlet_fact(*outlet)?;
            let values = self.state.turn_state.values.get(outlet.node).and_then(Option::as_ref);
            operands.push(match values.and_then(|values| values.get(outlet.slot)) {
                Some(value) if fact.konst.is_none() && fact.is_plain() => {
                    value.datum_type().fact(value.shape())
                }
                _ => fact.clone(),
            });
        }
        Late::of(model, node, &operands, self.lengths(), core.largest)
    }

    /// Holds the node that is next to the memory that there is, where only its operands tell what it needs.
    fn admit(&self, core: &Core, node: &TypedNode) -> Result<(), InferError> {
        let Some(late) = &self.late else { return Ok(()) };
        let alive = core.runnable.order_without_consts().iter();
        let alive = alive.filter_map(|id| self.state.turn_state.values.get(*id)?.as_ref()).flatten();
        let alive: u64 = alive.map(|value| (value.len() * value.datum_type().size_of()) as u64).sum();
        let needed = alive.saturating_add(late.bytes);
        if needed <= self.available {
            return Ok(());
        }
        let what = format!("node `{}` ({}), on as many values as there are,", node.name, node.op.name());
        Err(ModelError::TooLarge { what, needed, available: self.available }.into())
    }

    /// Begins a node that is gone through in several steps; nothing is under way after where it is run in one.
    fn enter(&mut self, core: &Core, node: &TypedNode, cost: u64) -> Result<(), InferError> {
        if let Some(late) = &self.late
            && let Some(planned) = late.planned(core.largest).map_err(failed)?
        {
            self.priced.insert(node.id, late.planning() + planned.cost());
            // Constants are constants there too.
            let model = core.runnable.model();
            let given = |outlet: &OutletId| model.outlet_fact(*outlet).is_ok_and(|fact| fact.konst.is_none());
            let operands = self.operands(core, node)?.into_iter().zip(&node.inputs);
            let operands = operands.filter(|(_, outlet)| given(outlet)).map(|(operand, _)| operand).collect();
            self.under = Some(Under::Body(Box::new(Body::new(&planned, operands).map_err(failed)?)));
            return Ok(());
        }
        if let Some(late) = &self.late {
            self.priced.insert(node.id, late.price);
        }
        let inner = core.inner[self.at].as_ref();
        if cost <= core.largest && !inner.is_some_and(|inner| inner.always()) {
            return Ok(());
        }
        let parts = if inner.is_some() { 1 } else { self.parts() };
        let under = if let Some(inner) = inner {
            Under::Body(Box::new(Body::new(inner, self.operands(core, node)?).map_err(failed)?))
        } else if parts > 1 {
            let op = self.parted(core, node, parts).map(|op| op.begin());
            let Some(outputs) = op.transpose().map_err(failed)? else { return Ok(()) };
            Under::Parts(Box::new(Parts { inputs: self.operands(core, node)?, outputs, part: 0, parts }))
        } else {
            return Ok(());
        };
        self.under = Some(under);
        Ok(())
    }

    /// How the node that is next is computed in so many parts.
    fn parted<'a>(
        &'a self,
        core: &'a Core,
        node: &'a TypedNode,
        parts: usize,
    ) -> Option<Box<dyn Parted + 'a>> {
        match &self.late {
            Some(late) => parted(&late.model, late.node(), parts),
            None => parted(core.runnable.model(), node, parts),
        }
    }

    /// Goes on with the node that is under way: what that was to take, and the outputs where it is over.
    #[inline(never)]
    fn go_on(
        &mut self,
        core: &Core,
        node: &TypedNode,
        cost: u64,
    ) -> Result<(u64, Option<TVec<TValue>>), InferError> {
        let Some(mut under) = self.under.take() else { return Ok((0, None)) };
        let (spent, over) = match &mut under {
            Under::Body(body) => body.step(core.largest)?,
            Under::Parts(under) => {
                let Parts { inputs, outputs, part, parts } = &mut **under;
                let op = self.parted(core, node, *parts);
                let op = op.ok_or_else(|| failed(TractError::msg("it has no parts")))?;
                let units = op.units();
                // The product may have more than 32 bits.
                let cut = |part: usize| (part as u64 * units as u64 / *parts as u64) as usize;
                op.compute(inputs, outputs, cut(*part)..cut(*part + 1)).map_err(|e| fault(node, &e))?;
                *part += 1;
                let over = (part == parts).then(|| {
                    // What parts leave to each other is of no use any more.
                    outputs.truncate(node.outputs.len());
                    std::mem::take(outputs).into_iter().map(IntoTValue::into_tvalue).collect()
                });
                (cost / *parts as u64, over)
            }
        };
        if over.is_none() {
            self.under = Some(under);
        }
        Ok((spent, over))
    }

    /// Learns lengths that depend on values, from what a node gave.
    fn learn(&mut self, node: &TypedNode) -> TractResult<()> {
        let state = &mut self.state.turn_state;
        let Some(values) = state.values.get(node.id).and_then(Option::as_ref) else { return Ok(()) };
        for (output, value) in node.outputs.iter().zip(values) {
            for (expected, length) in output.fact.shape.iter().zip(value.shape()) {
                let expected = expected.eval(&state.resolved_symbols);
                match expected.as_i64() {
                    Some(known) => {
                        ensure!(known == *length as i64, "a length of {length}, {known} is expected")
                    }
                    None => {
                        let mut symbols = expected.symbols().into_iter();
                        if let (Some(symbol), None) = (symbols.next(), symbols.next())
                            && let Some(solved) = solve_for(&symbol, &expected, &length.to_dim())
                        {
                            state.resolved_symbols.set(&symbol, solved.to_i64()?);
                        }
                    }
                }
            }
        }
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
}

/// What the engine failed at.
pub(crate) fn failed(e: TractError) -> InferError {
    InferError::Engine(one_line(&e))
}

/// What a node failed at: the values it was given, where it says so.
pub(crate) fn fault(node: &TypedNode, e: &TractError) -> InferError {
    match e.chain().find_map(|cause| cause.downcast_ref::<Fault>()) {
        Some(fault) => InferError::Value {
            node: node.name.clone(),
            operator: node.op.name().to_string(),
            reason: fault.to_string(),
        },
        None => InferError::Engine(one_line(e)),
    }
}
