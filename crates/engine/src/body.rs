//! A node's own graph under way: the body of a Scan, step after step of its sequences, and the branch that an If takes.
//!
//! Small ones are left to tract, which runs them whole; one that takes long is gone through here node by node, so that a run can be left
//! within it. The nodes are the same, so what comes out is.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, TractResult, bail, ensure};
use tract_onnx::tract_core::ops::logic::IfThenElse;
use tract_onnx::tract_core::ops::scan::{InputMapping, OptScan, ScanInfo};

use crate::InferError;
use crate::core::Core;
use crate::frame::{Frame, failed};
use crate::lower;

/// The graphs inside a node.
pub(crate) enum Inner {
    /// Of a Scan, and how often it runs.
    Scan { scan: OptScan, core: Arc<Core>, steps: usize },
    /// Of an If, each with the node's inputs that are its own: what is taken, then what is otherwise.
    If([(Vec<usize>, Arc<Core>); 2]),
    /// Of what was planned when its operands had come.
    Late(Arc<Core>),
}

impl Inner {
    /// Of a node; none where it has no graph inside, or one that only tract goes through: with a delay, with a state that lasts from run
    /// to run, or as many steps as values say.
    /// `nested` graphs are inside of another node themselves: what carries a state there begins as tract says.
    pub(crate) fn of(
        model: &TypedModel,
        node: &TypedNode,
        nested: bool,
        largest: u64,
    ) -> TractResult<Option<Inner>> {
        if let Some(op) = node.op_as::<IfThenElse>() {
            let branch = |body: &TypedModel, inputs: &Vec<usize>| -> TractResult<(Vec<usize>, Arc<Core>)> {
                let body = lower::planned(body.clone())?.into_runnable()?;
                Ok((inputs.clone(), Arc::new(Core::inside(body, largest)?)))
            };
            return Ok(Some(Inner::If([
                branch(&op.then_body, &op.then_input_mapping)?,
                branch(&op.else_body, &op.else_input_mapping)?,
            ])));
        }
        let Some(op) = node.op_as::<OptScan>() else { return Ok(None) };
        let inputs = model.node_input_facts(node.id)?;
        let steps = op.iteration_count(&inputs).and_then(|steps| steps.to_usize().ok());
        let plain = |info: &ScanInfo| info.chunk > 0 || info.chunk == -1;
        let known = op.skip == 0
            && (op.reset_every_turn || !nested)
            && op.input_mapping.iter().filter_map(InputMapping::as_scan).all(plain)
            && op.output_mapping.iter().filter_map(|output| output.scan).all(|(_, info)| plain(&info))
            && node.outputs.iter().all(|output| output.fact.shape.is_concrete());
        let Some(steps) = steps.filter(|steps| known && *steps > 0) else { return Ok(None) };
        let core = Arc::new(Core::inside(Arc::clone(&op.plan), largest)?);
        Ok(Some(Inner::Scan { scan: op.clone(), core, steps }))
    }

    /// Whether it is gone through here however little it takes: tract would plan the branch of an If anew in every run, and what takes
    /// little may take much where lengths depend on values.
    pub(crate) fn always(&self) -> bool {
        match self {
            Inner::Scan { core, .. } => !core.fixed,
            Inner::If(_) | Inner::Late(_) => true,
        }
    }

    /// What all of it takes: of an If the dearer branch.
    pub(crate) fn cost(&self) -> u64 {
        match self {
            Inner::Scan { core, steps, .. } => core.cost.saturating_mul(*steps as u64),
            Inner::If([(_, then), (_, otherwise)]) => then.cost.max(otherwise.cost),
            Inner::Late(core) => core.cost,
        }
    }
}

/// A node's graph under way.
pub(crate) struct Body {
    inner: Arc<Inner>,
    frame: Frame,
    /// The node's inputs.
    inputs: TVec<TValue>,
    /// Steps of a Scan that are over.
    done: usize,
    /// What a Scan carries to its next step.
    carried: TVec<TValue>,
    /// What a Scan has given so far.
    outputs: TVec<Option<Tensor>>,
}

impl Body {
    /// Begins a node's graph.
    pub(crate) fn new(inner: &Arc<Inner>, inputs: TVec<TValue>) -> TractResult<Body> {
        let (core, carried) = match &**inner {
            Inner::Scan { scan, core, .. } => {
                let first = scan.input_mapping.iter().zip(&inputs).filter(|(mapping, _)| mapping.is_state());
                (core, first.map(|(_, input)| input.clone()).collect())
            }
            Inner::If([then, otherwise]) => {
                let Some(condition) = inputs.first() else { bail!("a condition is expected") };
                (if condition.cast_to_scalar::<bool>()? { &then.1 } else { &otherwise.1 }, tvec![])
            }
            Inner::Late(core) => (core, tvec![]),
        };
        let frame = Frame::new(core)?;
        let mut body = Body { inner: Arc::clone(inner), frame, inputs, done: 0, carried, outputs: tvec![] };
        match &**inner {
            Inner::If(branches) => {
                let taken = branches.iter().find(|(_, core)| Arc::ptr_eq(core, &body.frame.core));
                let places = taken.map_or(&[][..], |(places, _)| places);
                let given = places.iter().filter_map(|place| body.inputs.get(*place).cloned()).collect();
                body.frame.begin(given)?;
            }
            Inner::Late(_) => {
                let given = std::mem::take(&mut body.inputs);
                body.frame.begin(given)?;
            }
            Inner::Scan { .. } => body.enter()?,
        }
        Ok(body)
    }

    /// What the next step is to take, of a run whose steps are `largest`.
    pub(crate) fn next(&self, largest: u64) -> u64 {
        let left = match &*self.inner {
            Inner::Scan { core, steps, .. } => core.cost.saturating_mul((steps - self.done) as u64),
            Inner::If(_) | Inner::Late(_) => self.frame.core.cost,
        };
        left.min(largest).max(self.frame.next())
    }

    /// Goes on by as many nodes as take no more than `largest`, at least one; what they were to take, and the node's outputs where it is
    /// over.
    pub(crate) fn step(&mut self, largest: u64) -> Result<(u64, Option<TVec<TValue>>), InferError> {
        let mut spent = 0u64;
        loop {
            if !self.frame.is_over() {
                if spent > 0 && spent.saturating_add(self.frame.next()) > largest {
                    return Ok((spent, None));
                }
                spent = spent.saturating_add(self.frame.step()?.spent.max(1));
                continue;
            }
            let values = self.frame.state.outputs().map_err(failed)?;
            let inner = Arc::clone(&self.inner);
            let Inner::Scan { steps, .. } = &*inner else { return Ok((spent, Some(values))) };
            self.leave(values).map_err(failed)?;
            if self.done == *steps {
                let outputs = std::mem::take(&mut self.outputs).into_iter();
                let outputs: Option<TVec<TValue>> = outputs.map(|o| Some(o?.into_tvalue())).collect();
                let missing = || failed(TractError::msg("an output of a Scan is missing"));
                return Ok((spent, Some(outputs.ok_or_else(missing)?)));
            }
            self.enter().map_err(failed)?;
        }
    }

    /// Begins the next step of a Scan.
    fn enter(&mut self) -> TractResult<()> {
        let inner = Arc::clone(&self.inner);
        let Inner::Scan { scan, .. } = &*inner else { bail!("a Scan is expected") };
        let mut carried = std::mem::take(&mut self.carried).into_iter();
        let mut given = tvec![];
        for (mapping, input) in scan.input_mapping.iter().zip(&self.inputs) {
            given.push(match mapping {
                InputMapping::Full => input.clone(),
                InputMapping::State => match carried.next() {
                    Some(value) => value,
                    None => bail!("what a Scan carries is missing"),
                },
                InputMapping::Scan(ScanInfo { axis, chunk }) => {
                    let (length, size) = (input.shape()[*axis], chunk.unsigned_abs());
                    let first = if *chunk < 0 { length - 1 - self.done } else { self.done * size };
                    ensure!(first < length, "step {} of a sequence of {length}", self.done);
                    let end = (first + size).min(length);
                    if (first, end) == (0, length) && size == length {
                        input.clone()
                    } else if end - first == size {
                        input.slice(*axis, first, end)?.into_tvalue()
                    } else {
                        let mut shape: TVec<usize> = input.shape().into();
                        shape[*axis] = size;
                        let mut last = Tensor::zero_dt(input.datum_type(), &shape)?;
                        last.assign_slice(..end - first, input, first..end, *axis)?;
                        last.into_tvalue()
                    }
                }
            });
        }
        self.frame.begin(given)
    }

    /// Takes what a step of a Scan gave.
    fn leave(&mut self, values: TVec<TValue>) -> TractResult<()> {
        let inner = Arc::clone(&self.inner);
        let Inner::Scan { scan, steps, .. } = &*inner else { bail!("a Scan is expected") };
        let slots = scan.output_mapping.iter();
        let slots = slots.map(|o| usize::from(o.scan.is_some()) + usize::from(o.last_value_slot.is_some()));
        self.outputs.resize(slots.sum(), None);
        for (mapping, value) in scan.output_mapping.iter().zip(values) {
            if let Some((slot, ScanInfo { axis, chunk })) = mapping.scan {
                let mut shape: TVec<usize> = value.shape().into();
                let (size, hint) = (shape[axis], mapping.full_dim_hint.as_ref());
                shape[axis] = hint.and_then(|hint| hint.to_usize().ok()).unwrap_or(size * steps);
                let Some(output) = self.outputs.get_mut(slot) else { bail!("an output that is not there") };
                let output = match output {
                    Some(output) => output,
                    None => output.insert(Tensor::zero_dt(value.datum_type(), &shape)?),
                };
                let back = (self.done + 1) * size;
                let first = if chunk < 0 { shape[axis].checked_sub(back) } else { Some(self.done * size) };
                let Some(first) = first.filter(|first| *first < shape[axis]) else {
                    bail!("step {} of an output of {}", self.done, shape[axis])
                };
                let count = size.min(shape[axis] - first);
                output.assign_slice(first..first + count, &value, ..count, axis)?;
            }
            if self.done + 1 == *steps
                && let Some(slot) = mapping.last_value_slot
                && let Some(output) = self.outputs.get_mut(slot)
            {
                *output = Some(value.clone().into_tensor());
            }
            if mapping.state {
                self.carried.push(value);
            }
        }
        self.done += 1;
        Ok(())
    }
}
