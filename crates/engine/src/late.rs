//! Nodes whose lengths depend on values, once their operands have come: by themselves, with the lengths that these have.
//!
//! A plan knows no lengths behind operators such as NonZero, so what reads them has neither a price nor parts in it. When such a node is
//! next, all of its operands are there: alone with their lengths it is priced and cut as any other. Products, convolutions and
//! sequences, which are planned for their shapes, are kept as they are in the graph ([`Unplanned`]) and planned then.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::konst::Const;

use crate::body::Inner;
use crate::core::{self, Core};
use crate::lower::{self, Unplanned};
use crate::ops::Kernel;
use crate::price;

/// Numbers that a node reads and writes up to which it is not looked at: what takes most a number takes some 20,000 for it, so that the
/// whole is far below what a step may take.
const FEW: usize = 16_384;

/// Instructions of planning a node, and of a number of its constants.
const PLANNED: u64 = 5_000_000;
const PACKED: u64 = 60;

/// A node by itself, with the lengths of operands that came.
pub(crate) struct Late {
    pub(crate) model: TypedModel,
    id: usize,
    /// What it takes, at most where its values decide.
    pub(crate) cost: u64,
    /// What it is priced at, which is the least then.
    pub(crate) price: u64,
    /// Bytes that it needs: what it gives, and what is packed for it.
    pub(crate) bytes: u64,
}

impl Late {
    /// A node of `model` on operands of these types and shapes. None where it does not depend on values, is small, or is none that could
    /// be cut: what reads what tract has packed.
    pub(crate) fn of(
        model: &TypedModel,
        node: &TypedNode,
        operands: &[TypedFact],
        lengths: &SymbolValues,
        largest: u64,
    ) -> TractResult<Option<Late>> {
        let known = |fact: &TypedFact| fact.shape.is_concrete();
        let (inputs, outputs) = model.node_facts(node.id)?;
        if inputs.into_iter().chain(outputs).all(known) || !operands.iter().all(TypedFact::is_plain) {
            return Ok(None);
        }
        if !node.op_is::<Unplanned>() && numbers(node, operands, lengths) <= FEW.min(largest as usize) {
            return Ok(None);
        }
        alone(model, node, operands, lengths).map(Some)
    }

    /// The node.
    pub(crate) fn node(&self) -> &TypedNode {
        self.model.node(self.id)
    }

    /// Whether it is to be planned before it is computed.
    pub(crate) fn is_unplanned(&self) -> bool {
        self.node().op_is::<Unplanned>()
    }

    /// What planning it takes: its constants are packed.
    pub(crate) fn planning(&self) -> u64 {
        PLANNED + constants(&self.model).map(|constant| constant.len() as u64 * PACKED).sum::<u64>()
    }

    /// Into how many parts it is cut, of at most `largest` instructions each.
    pub(crate) fn parts(&self, largest: u64) -> usize {
        core::parts(&self.model, self.node(), self.cost, largest)
    }

    /// The graph that computes it, planned for its shapes; none where it is an operator that needs no plan.
    pub(crate) fn planned(&self, largest: u64) -> TractResult<Option<Arc<Inner>>> {
        let Some(op) = self.node().op_as::<Unplanned>() else { return Ok(None) };
        let mut model = self.model.clone();
        model.node_mut(self.id).op = op.0.clone();
        let core = Core::late(lower::planned(model)?.into_runnable()?, largest)?;
        Ok(Some(Arc::new(Inner::Late(Arc::new(core)))))
    }
}

/// Tensors that are constants of a model.
fn constants(model: &TypedModel) -> impl Iterator<Item = &Tensor> {
    model.nodes().iter().filter_map(|node| node.op_as::<Const>()).map(|constant| constant.val().as_ref())
}

/// Bytes of a tensor, as far as is known.
fn bytes(fact: &TypedFact) -> u64 {
    fact.mem_size().to_i64().map_or(0, |bytes| bytes.max(0) as u64)
}

/// Numbers that a node reads and writes, as far as is known.
fn numbers(node: &TypedNode, operands: &[TypedFact], lengths: &SymbolValues) -> usize {
    let count = |fact: &TypedFact| -> usize {
        let dims = fact.shape.iter().map(|dim| dim.eval(lengths).to_usize().unwrap_or(1));
        dims.fold(1, usize::saturating_mul)
    };
    operands.iter().chain(node.outputs.iter().map(|output| &output.fact)).map(count).sum()
}

/// A model of one node, whose operands are its inputs but for constants.
fn alone(
    model: &TypedModel,
    node: &TypedNode,
    operands: &[TypedFact],
    lengths: &SymbolValues,
) -> TractResult<Late> {
    let mut own = TypedModel { symbols: model.symbols.clone(), ..TypedModel::default() };
    let mut mapping = HashMap::new();
    let mut inputs = tvec![];
    for (ix, (outlet, fact)) in node.inputs.iter().zip(operands).enumerate() {
        let input = match &fact.konst {
            Some(value) => own.add_const(format!("constant.{ix}"), Arc::clone(value))?,
            None => own.add_source(format!("input.{ix}"), fact.clone())?,
        };
        mapping.insert(*outlet, input);
        inputs.push(input);
    }
    let outlets = if let Some(kernel) = node.op_as::<Kernel>() {
        let mut kernel = kernel.clone();
        for fact in &mut kernel.outputs {
            fact.shape = fact.shape.iter().map(|dim| dim.eval(lengths)).collect();
        }
        own.wire_node(&node.name, kernel, &inputs)?
    } else {
        node.op.set_symbols(model, node, &mut own, &mapping, &lengths.to_dim_map())?
    };
    let Some(id) = outlets.first().map(|outlet| outlet.node) else { bail!("it gives nothing") };
    ensure!(own.node(id).inputs.len() == inputs.len(), "it has become another operator");
    own.select_output_outlets(&outlets)?;
    let made = own.node(id);
    let (cost, price) = (core::cost(&own, made), price::node(&own, made).instructions);
    let given = made.outputs.iter().map(|output| bytes(&output.fact)).fold(0, u64::saturating_add);
    let packed = if made.op_is::<Unplanned>() {
        constants(&own).map(|c| 2 * c.as_bytes().len() as u64).sum()
    } else {
        0
    };
    let bytes = given.saturating_add(packed);
    Ok(Late { model: own, id, cost, price, bytes })
}

#[cfg(test)]
mod tests;
