//! What a plan's runs share: the optimised graph in order, and what follows from its shapes.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::konst::Const;

use crate::body::Inner;
use crate::cut::Following;
use crate::guard::Guard;
use crate::parted::parted;
use crate::price;

/// Instructions that a part of a node is to take at most, where its kernel can be cut: a fortieth of what a message has.
pub(crate) const LARGEST: u64 = 1_000_000_000;

/// What a plan's runs share.
pub(crate) struct Core {
    /// The optimised graph in order.
    pub(crate) runnable: Arc<TypedSimplePlan>,
    pub(crate) guards: Vec<Option<Guard>>,
    /// Nodes whose values are of no use once the node at that place of the order has run.
    pub(crate) ends: Vec<Vec<usize>>,
    /// What each node of the order takes, by its shapes.
    pub(crate) costs: Vec<u64>,
    /// Of all of them.
    pub(crate) cost: u64,
    /// The graphs inside each node of the order that has some and can be gone through node by node.
    pub(crate) inner: Vec<Option<Arc<Inner>>>,
    /// Whether every tensor's shape follows from the input shapes.
    pub(crate) fixed: bool,
    /// Whether it is run node by node: graphs that have no inputs, which are constants, are not.
    pub(crate) stepped: bool,
    /// Instructions that a part of a node is to take at most, where its kernel can be cut.
    pub(crate) largest: u64,
}

impl Core {
    /// Of an optimised graph.
    pub(crate) fn new(model: TypedModel) -> TractResult<Core> {
        Core::of(model.into_runnable()?, false, LARGEST)
    }

    /// Of a graph inside a node, whose parts are to take at most `largest`.
    pub(crate) fn inside(runnable: Arc<TypedSimplePlan>, largest: u64) -> TractResult<Core> {
        Core::of(runnable, true, largest)
    }

    /// Of a node that was planned when its operands had come.
    pub(crate) fn late(runnable: Arc<TypedSimplePlan>, largest: u64) -> TractResult<Core> {
        Core::of(runnable, false, largest)
    }

    fn of(runnable: Arc<TypedSimplePlan>, nested: bool, largest: u64) -> TractResult<Core> {
        let (model, order) = (runnable.model(), runnable.order_without_consts());
        let fixed = model.nodes().iter().flat_map(|n| &n.outputs).all(|o| o.fact.shape.is_concrete());
        let guards = model.nodes().iter().map(|n| Guard::of(n.op.as_ref())).collect();
        let mut inner = vec![];
        for id in order {
            inner.push(Inner::of(model, model.node(*id), nested, largest)?.map(Arc::new));
        }
        let cost = |(id, inner): (&usize, &Option<Arc<Inner>>)| {
            self::cost(model, model.node(*id)).max(inner.as_ref().map_or(0, |inner| inner.cost()))
        };
        let costs: Vec<u64> = order.iter().zip(&inner).map(cost).collect();
        let cost = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(*cost));
        let ends = ends(model, order)?;
        let stepped = !model.input_outlets()?.is_empty();
        Ok(Core { runnable, guards, ends, costs, cost, inner, fixed, stepped, largest })
    }
}

impl Core {
    /// Into how many parts the node at that place of the order is cut.
    pub(crate) fn parts(&self, at: usize) -> usize {
        let model = self.runnable.model();
        let (Some(id), Some(cost)) = (self.runnable.order_without_consts().get(at), self.costs.get(at))
        else {
            return 1;
        };
        parts(model, model.node(*id), *cost, self.largest)
    }

    /// The same whose steps take at most so many instructions, if they can be cut.
    #[cfg(test)]
    pub(crate) fn set_largest(&mut self, largest: u64) {
        self.largest = largest;
        for inner in self.inner.iter_mut().flatten() {
            match Arc::get_mut(inner) {
                Some(Inner::Scan { core, .. }) => Arc::get_mut(core).expect("not run").set_largest(largest),
                Some(Inner::Late(_)) => panic!("what is planned late is no part of a plan"),
                Some(Inner::If(branches)) => branches
                    .iter_mut()
                    .for_each(|(_, core)| Arc::get_mut(core).expect("not run").set_largest(largest)),
                None => panic!("a node's graph is under way"),
            }
        }
    }
}

/// What a node takes that has no graph inside.
pub(crate) fn cost(model: &TypedModel, node: &TypedNode) -> u64 {
    price::node(model, node).instructions.max(Following::worst(model, node))
}

/// Into how many parts a node that takes `cost` is cut, of at most `largest` each.
pub(crate) fn parts(model: &TypedModel, node: &TypedNode, cost: u64, largest: u64) -> usize {
    // Most steps are small; whether they could be cut need not be asked.
    if cost <= largest {
        return 1;
    }
    let wanted = cost.div_ceil(largest) as usize;
    let units = parted(model, node, wanted).map_or(1, |parted| parted.units());
    wanted.clamp(1, units.max(1))
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
