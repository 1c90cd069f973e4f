//! A run that can be left between nodes, and inside large ones, and gone on with later.
//!
//! A run is a row of steps: each node is one, and one whose kernel takes more than [`LARGEST`](crate::core::LARGEST) instructions is
//! several, cut where its shapes say when it is lowered. Where a run is left is up to who advances it; what comes out is the same bits
//! wherever that is, since no step knows of it. What a run holds in the heap, and whose weights it reads, stays until it is dropped,
//! whatever becomes of the graph meanwhile.

use std::sync::Arc;

use ic_nn_arena::{Layout, Room};
use ic_nn_types::{NamedTensor, Tensor as Wire};
use tract_onnx::prelude::*;

use crate::core::Core;
use crate::frame::{Frame, failed, fault};
use crate::plan::{NodeCost, Output, node_on};
use crate::{InferError, Limits, tensors};

/// An inference under way.
pub struct Run {
    pub(crate) shapes: Vec<Vec<u32>>,
    pub(crate) values: Vec<(usize, Wire)>,
    names: Vec<Output>,
    frame: Frame,
    /// Inputs that are still to be brought in.
    inputs: TVec<TValue>,
    /// What the steps that are done were to take.
    spent: u64,
    /// Bytes that it needs at its worst moment.
    peak_bytes: u64,
    room: Room,
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
        limits: &Limits,
    ) -> Result<Run, InferError> {
        let mut run = Run {
            shapes,
            values,
            names,
            frame: Frame::new(core).map_err(failed)?,
            inputs: tvec![],
            spent: 0,
            peak_bytes,
            room,
        };
        run.frame.available = limits.available_bytes;
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
            run.frame.begin(inputs).map_err(failed)?;
        }
        Ok(run)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let next = self.next();
        // Lengths that depend on values may have made it more.
        Progress { spent: self.spent, cost: self.frame.core.cost.max(self.spent.saturating_add(next)), next }
    }

    /// What the next step is to take.
    fn next(&self) -> u64 {
        if self.frame.core.stepped { self.frame.next() } else { self.frame.core.cost }
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
            if !self.frame.core.stepped {
                return goes_on(self.frame.core.cost).then(|| self.at_once(watch)).transpose();
            }
            while !self.frame.is_over() {
                if !goes_on(self.frame.next()) {
                    return Ok(None);
                }
                let stepped = self.frame.step()?;
                self.spent = self.spent.saturating_add(stepped.spent);
                if let Some(id) = stepped.node {
                    watch(id);
                }
            }
            let values = self.frame.state.outputs().map_err(failed)?;
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
        self.frame.core.fixed && self.values.is_empty()
    }

    /// The nodes that `watch` was told of, each with the instructions that are beside it; lengths that depend on values are those of this
    /// run.
    pub fn nodes(&self, watched: &[(usize, u64)]) -> Vec<NodeCost> {
        let (model, lengths) = (self.frame.core.runnable.model(), self.frame.lengths());
        let node = |(id, instructions): &(usize, u64)| {
            let node = node_on(model, *id, lengths)?;
            let estimate = self.frame.priced.get(id).copied().unwrap_or(node.estimate);
            Some(NodeCost { instructions: *instructions, estimate, ..node })
        };
        watched.iter().filter_map(node).collect()
    }

    /// What a run of fixed sizes that is over has recorded of its memory, where it was to.
    pub(crate) fn into_layout(self) -> Option<Arc<Layout>> {
        let Run { room, frame, .. } = self;
        room.into_layout().filter(|_| frame.core.fixed)
    }

    fn wire(&self, values: TVec<TValue>) -> Result<Vec<NamedTensor>, InferError> {
        let wire = self.names.iter().zip(values).map(|(Output { name, bfloat }, value)| {
            Ok((name.clone(), tensors::to_wire(name, value, *bfloat)?))
        });
        wire.collect()
    }

    /// Runs all of it by tract's own loop.
    fn at_once(&mut self, watch: &mut dyn FnMut(usize)) -> Result<Vec<NamedTensor>, InferError> {
        let core = Arc::clone(&self.frame.core);
        let inputs = std::mem::take(&mut self.inputs);
        let mut refused = None;
        let ran = self.frame.state.run_plan_with_eval(inputs, |ctx, op_state, node, operands| {
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

#[cfg(test)]
mod tests;
