//! A plan: the optimised graph for one set of input shapes, ready to run.

use std::sync::Arc;

use ic_nn_arena::{Layout, Room};
use ic_nn_kernels::Precision;
use ic_nn_types::{Tensor as Wire, TensorDescription, TensorType};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::Cost;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::ops::konst::Const;

use crate::blockwise::Blockwise;
use crate::check::admit;
use crate::core::Core;
use crate::error::{one_line, refused_or};
use crate::exact::Exact;
use crate::lower::Passes;
use crate::ops::{Kernel, Suppressing};
use crate::run::Run;
use crate::source::Source;
use crate::{Arranged, Estimate, InferError, Limits, ModelError, element, held, lower, parts, price};

/// An output of a graph, whatever the shapes.
pub(crate) struct Output {
    /// Its name.
    pub(crate) name: String,
    /// Whether it leaves as bfloat16.
    pub(crate) bfloat: bool,
}

/// A node of a plan, and what a run of it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCost {
    /// Its name in the file, or one made from it.
    pub name: String,
    /// The operator that runs.
    pub operator: String,
    /// The shape of its first output; `None` where a length depends on values.
    pub dimensions: Vec<Option<u32>>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of its operands, constants outside of it included, and of its first output.
    pub bytes: u64,
    /// Instructions that it is estimated to take, from its shapes.
    pub estimate: u64,
    /// What it took, by the clock that was given.
    pub instructions: u64,
}

/// An optimised graph for `shapes`.
pub(crate) struct Plan {
    /// Input shapes it was made for, in the graph's order.
    pub(crate) shapes: Vec<Vec<u32>>,
    /// Inputs, by position, that are constants in it.
    pub(crate) values: Vec<(usize, Wire)>,
    /// Whether it has given outputs.
    pub(crate) has_run: bool,
    /// Where what a run allocates lies in one block: made from the first run, where all sizes follow from the shapes.
    pub(crate) layout: Option<Arc<Layout>>,
    /// What runs of it share.
    pub(crate) core: Arc<Core>,
    /// Bytes of activations alive at the worst moment of a run, as far as shapes are known beforehand.
    pub(crate) peak_bytes: u64,
    /// Multiply-accumulates of a run, as far as shapes are known beforehand.
    pub(crate) macs: u64,
}

impl Plan {
    /// Plans `source` for inputs of `shapes`, those in `values` being constants. Weights become of `precision`.
    pub(crate) fn new(
        source: Source,
        shapes: Vec<Vec<u32>>,
        values: Vec<(usize, Wire)>,
        precision: Precision,
        limits: &Limits,
    ) -> Result<Plan, ModelError> {
        let (typed, macs) = Self::lowered(source, &shapes, &values, precision, Passes::ALL)?;
        Self::of_lowered(typed, shapes, values, macs, limits)
    }

    /// The graph of a plan before tract chooses implementations for what is not lowered, and its multiply-accumulates.
    pub(crate) fn lowered(
        source: Source,
        shapes: &[Vec<u32>],
        values: &[(usize, Wire)],
        precision: Precision,
        passes: Passes,
    ) -> Result<(TypedModel, u64), ModelError> {
        let engine = |e: TractError| refused_or(&e);
        let mut typed = source.into_typed(shapes, values)?;
        held::hold(&mut typed).map_err(engine)?;
        parts::hide(&mut typed);
        let mut packing = lower::packing(precision);
        lower::lower_early(&mut typed, &mut packing, passes).map_err(engine)?;
        let mut typed = typed.into_decluttered().map_err(engine)?;
        refuse_types(&typed)?;
        let macs = macs(&typed).map_err(engine)?;
        lower::lower(&mut typed, &mut packing, passes).map_err(engine)?;
        held::release(&mut typed).map_err(engine)?;
        parts::show(&mut typed);
        Ok((typed, macs))
    }

    /// The plan of a lowered graph for inputs of `shapes`.
    pub(crate) fn of_lowered(
        mut typed: TypedModel,
        shapes: Vec<Vec<u32>>,
        values: Vec<(usize, Wire)>,
        macs: u64,
        limits: &Limits,
    ) -> Result<Plan, ModelError> {
        let engine = |e: TractError| refused_or(&e);
        typed.optimize().map_err(engine)?;
        let peak_bytes = peak_bytes(&typed).map_err(engine)?;
        admit("running the model", peak_bytes, limits)?;
        let core = Arc::new(Core::new(typed).map_err(engine)?);
        Ok(Plan { shapes, values, has_run: false, layout: None, core, peak_bytes, macs })
    }

    /// Whether it was made for the shapes of `inputs`, and for the values that are part of a plan.
    pub(crate) fn is_for(&self, inputs: &Arranged) -> bool {
        inputs.shapes().eq(&self.shapes) && inputs.values == self.values
    }

    /// Its nodes, constants left out, in the order in which they run.
    pub(crate) fn nodes(&self) -> Vec<NodeCost> {
        self.core
            .runnable
            .order_without_consts()
            .iter()
            .filter_map(|id| node(self.core.runnable.model(), *id))
            .collect()
    }

    /// What a run takes, as far as shapes tell.
    pub(crate) fn estimate(&self) -> Estimate {
        let model = self.core.runnable.model();
        let start = Estimate {
            macs: self.macs,
            peak_bytes: self.peak_bytes,
            at_least: !self.core.fixed,
            ..Default::default()
        };
        self.core.runnable.order_without_consts().iter().fold(start, |mut sum, id| {
            let Some(found) = model.nodes().get(*id) else { return sum };
            let priced = price::node(model, found);
            sum.instructions = sum.instructions.saturating_add(priced.instructions);
            sum.at_least |= priced.at_least;
            sum.general_nodes += u32::from(!priced.fitted);
            sum.bytes = sum.bytes.saturating_add(node(model, *id).map_or(0, |node| node.bytes));
            sum
        })
    }

    /// Types and shapes of the outputs; null where the length depends on values.
    pub(crate) fn outputs(&self, outputs: &[Output]) -> Result<Vec<TensorDescription>, ModelError> {
        let model = self.core.runnable.model();
        let mut described = vec![];
        for (ix, Output { name, bfloat }) in outputs.iter().enumerate() {
            let fact = model.output_fact(ix).map_err(|e| ModelError::Engine(one_line(&e)))?;
            let ty = element::from_tract(fact.datum_type);
            let Some(ty) = ty.map(|ty| if *bfloat && ty == TensorType::FP32 { TensorType::BF16 } else { ty })
            else {
                return Err(ModelError::Unsupported {
                    place: format!("output `{name}`"),
                    reason: format!("element type {:?} cannot leave the engine", fact.datum_type),
                });
            };
            let dimensions =
                fact.shape.iter().map(|d| d.to_i64().ok().and_then(|d| u32::try_from(d).ok())).collect();
            let symbols = vec![None; fact.rank()];
            described.push(TensorDescription { name: name.clone(), ty, dimensions, symbols });
        }
        Ok(described)
    }

    /// A run on arranged inputs of its shapes, whose outputs are `names`.
    ///
    /// The first run of fixed sizes says what it allocates and when; what later ones allocate lies where that leaves room, in one
    /// block ([`ic_nn_arena`]).
    pub(crate) fn begin(
        &self,
        names: &[Output],
        inputs: &[Wire],
        limits: &Limits,
    ) -> Result<Run, InferError> {
        admit("running the model", self.peak_bytes, limits)?;
        let room = match &self.layout {
            Some(layout) => Room::placed(layout),
            None if self.core.fixed => Room::recording(),
            None => Room::plain(),
        };
        let names = names.iter().map(|o| Output { name: o.name.clone(), bfloat: o.bfloat }).collect();
        let inputs = inputs.iter().enumerate();
        let inputs = inputs.filter(|(ix, _)| self.values.iter().all(|(bound, _)| bound != ix));
        let inputs: Vec<&Wire> = inputs.map(|(_, tensor)| tensor).collect();
        Run::new(
            &self.core,
            (self.shapes.clone(), self.values.clone()),
            names,
            &inputs,
            (room, self.peak_bytes),
            limits,
        )
    }

    /// Learns from a run of it that gave outputs.
    pub(crate) fn finish(&mut self, run: Run) {
        self.has_run = true;
        if let Some(layout) = run.into_layout() {
            self.layout = Some(layout);
        }
    }
}

/// What node `id` is, and what it moves and multiplies as far as shapes are known; without what it took.
pub(crate) fn node(model: &TypedModel, id: usize) -> Option<NodeCost> {
    node_on(model, id, &SymbolValues::default())
}

/// The same with lengths that depend on values, which a run has learned.
pub(crate) fn node_on(model: &TypedModel, id: usize, lengths: &SymbolValues) -> Option<NodeCost> {
    let node = model.nodes().get(id)?;
    let bytes = |outlet: OutletId| {
        let bytes = model.outlet_fact(outlet).map_or(Ok(0), |fact| fact.mem_size().eval(lengths).to_i64());
        bytes.map_or(0, |b| b.max(0) as u64)
    };
    let output = OutletId::new(id, 0);
    let length = |d: &TDim| d.eval(lengths).to_i64().ok().and_then(|d| u32::try_from(d).ok());
    let shape = model.outlet_fact(output).map_or(vec![], |fact| fact.shape.iter().map(length).collect());
    Some(NodeCost {
        name: node.name.clone(),
        operator: node.op.name().into_owned(),
        dimensions: shape,
        macs: macs_of(model, node, lengths).unwrap_or(0),
        bytes: node.inputs.iter().map(|input| bytes(*input)).sum::<u64>() + bytes(output),
        estimate: price::node(model, node).instructions,
        instructions: 0,
    })
}

/// Refuses operators on elements of a type that tract has no code for, which it says only when they run: each is tried
/// on one element.
fn refuse_types(model: &TypedModel) -> Result<(), ModelError> {
    for node in model.nodes().iter().filter(|n| n.op.is::<ElementWiseOp>()) {
        let Some(Ok(fact)) = node.inputs.first().map(|input| model.outlet_fact(*input)) else { continue };
        let Ok(one) = Tensor::zero_dt(fact.datum_type, &[1]) else { continue };
        if let Err(e) = node.op.eval_out_of_plan(tvec![one.into_tvalue()]) {
            let name: String = node.name.chars().take(80).collect();
            return Err(ModelError::Unsupported {
                place: format!("node `{name}` ({})", node.op.name()),
                reason: format!("on elements of type {:?}: {}", fact.datum_type, one_line(&e)),
            });
        }
    }
    Ok(())
}

fn macs(model: &TypedModel) -> TractResult<u64> {
    model
        .nodes()
        .iter()
        .try_fold(0u64, |sum, node| Ok(sum.saturating_add(macs_of(model, node, &SymbolValues::default())?)))
}

fn macs_of(model: &TypedModel, node: &TypedNode, lengths: &SymbolValues) -> TractResult<u64> {
    let (inputs, _) = model.node_facts(node.id)?;
    let mut macs = 0u64;
    for (cost, count) in node.op.cost(&inputs).unwrap_or_default() {
        if matches!(cost, Cost::FMA(_)) {
            macs = macs.saturating_add(count.eval(lengths).to_i64().map_or(0, |n| n.max(0) as u64));
        }
    }
    Ok(macs)
}

/// Liveness over the plan's order: every output is alive from its node to its last reader.
fn peak_bytes(model: &TypedModel) -> TractResult<u64> {
    let order = model.eval_order()?;
    let mut last_use = vec![0usize; model.nodes().len()];
    for (step, &id) in order.iter().enumerate() {
        last_use[id] = last_use[id].max(step);
        for input in &model.node(id).inputs {
            last_use[input.node] = step;
        }
    }
    for output in model.output_outlets()? {
        last_use[output.node] = order.len();
    }
    let bytes = |id: usize| -> u64 {
        let node = model.node(id);
        if node.op.is::<Const>() {
            return 0;
        }
        let scratch = node.op.downcast_ref::<Kernel>().map_or(0, |kernel| kernel.scratch)
            + node.op.downcast_ref::<lower::Lowered>().map_or(0, lower::Lowered::scratch)
            + node.op.downcast_ref::<Exact>().map_or(0, Exact::scratch)
            + node.op.downcast_ref::<Blockwise>().map_or(0, Blockwise::scratch)
            + Suppressing::of(model, node).map_or(0, |suppressing| suppressing.scratch());
        node.outputs
            .iter()
            .map(|o| {
                let elements = o
                    .fact
                    .shape
                    .iter()
                    .fold(1u64, |n, d| n.saturating_mul(d.to_i64().map_or(1, |d| d.max(0) as u64)));
                elements.saturating_mul(o.fact.datum_type.size_of() as u64)
            })
            .fold(scratch, u64::saturating_add)
    };
    let mut ends: Vec<Vec<usize>> = vec![vec![]; order.len() + 1];
    for &id in &order {
        ends[last_use[id]].push(id);
    }
    let (mut alive, mut peak) = (0u64, 0u64);
    for (step, &id) in order.iter().enumerate() {
        alive = alive.saturating_add(bytes(id));
        peak = peak.max(alive);
        for &dead in &ends[step] {
            alive = alive.saturating_sub(bytes(dead));
        }
    }
    Ok(peak)
}
