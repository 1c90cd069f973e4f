//! Operators whose parts follow one another: tract's that scatters into what was scattered before, and ours that select among what there
//! is, boxes and numbers, which takes as much as values say.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::ScatterNd;

use crate::ops::{Finding, Suppressing};
use crate::parted::{Parted, one};

/// An operator that goes on from what its parts before have given.
pub(crate) enum Following<'a> {
    /// ScatterND, by rows of its indices.
    Scattered { op: &'a ScatterNd, rows: usize, fact: (DatumType, TVec<usize>) },
    /// NonMaxSuppression.
    Suppressed(Suppressing<'a>),
    /// NonZero.
    Found(Finding),
}

impl<'a> Following<'a> {
    /// The node; none where it is none of these, or its operands have no lengths that are known.
    pub(crate) fn of(model: &TypedModel, node: &'a TypedNode) -> Option<Following<'a>> {
        let lengths = |ix: usize| -> Option<TVec<usize>> {
            model.outlet_fact(*node.inputs.get(ix)?).ok()?.shape.as_concrete().map(TVec::from)
        };
        if let Some(op) = node.op_as::<ScatterNd>() {
            let (data, indices) = (lengths(0)?, lengths(1)?);
            let rows = if indices.len() > 1 { indices[0] } else { 1 };
            return Some(Following::Scattered { op, rows, fact: (node.outputs[0].fact.datum_type, data) });
        }
        let suppressed = Suppressing::of(model, node).map(Following::Suppressed);
        suppressed.or_else(|| Finding::of(model, node).map(Following::Found))
    }

    /// What a node takes at least that is none of tract's; where values decide, that is little.
    pub(crate) fn least(model: &TypedModel, node: &TypedNode) -> Option<u64> {
        match Following::of(model, node)? {
            Following::Scattered { .. } => None,
            Following::Suppressed(suppressing) => Some(suppressing.least()),
            Following::Found(finding) => Some(finding.least()),
        }
    }

    /// What a node takes at most that is priced by what it takes at least: where no box is suppressed, and no number is zero.
    pub(crate) fn worst(model: &TypedModel, node: &TypedNode) -> u64 {
        match Following::of(model, node) {
            Some(Following::Suppressed(suppressing)) => suppressing.most(),
            Some(Following::Found(finding)) => finding.most(),
            Some(Following::Scattered { .. }) | None => 0,
        }
    }
}

impl Parted for Following<'_> {
    fn units(&self) -> usize {
        match self {
            Following::Scattered { rows, .. } => *rows,
            Following::Suppressed(suppressing) => suppressing.units(),
            Following::Found(finding) => finding.units(),
        }
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        match self {
            Following::Scattered { fact: (dt, shape), .. } => Ok(tvec!(Tensor::zero_dt(*dt, shape)?)),
            Following::Suppressed(suppressing) => suppressing.begin(),
            Following::Found(finding) => finding.begin(),
        }
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        let op = match self {
            Following::Scattered { op, .. } => op,
            Following::Suppressed(suppressing) => return suppressing.compute(inputs, out, units),
            Following::Found(finding) => return finding.compute(inputs, out, units),
        };
        let out = one(out)?;
        let [data, indices, updates] = inputs else { bail!("three operands are expected") };
        let so_far = if units.start == 0 { data.clone() } else { std::mem::take(out).into_tvalue() };
        let part = |whole: &TValue| -> TractResult<TValue> {
            if self.units() == 1 {
                return Ok(whole.clone());
            }
            Ok(whole.slice(0, units.start, units.end)?.into_tvalue())
        };
        let operands = tvec![so_far, part(indices)?, part(updates)?];
        let made = op.eval(&EvalContext::out_of_plan(), operands)?;
        *out = made.into_iter().next().context("an output is missing")?.into_tensor();
        Ok(())
    }
}
