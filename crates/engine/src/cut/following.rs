//! Operators of tract's whose parts follow one another: what scatters into what was scattered before, and boxes that are suppressed class by
//! class, which are as many as there are.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::ScatterNd;

use crate::parted::{Parted, one};

/// Instructions of a comparison of two boxes, and of a score that is sorted.
const COMPARED: u64 = 1_000;
const SORTED: u64 = 300;

/// An operator that goes on from what its parts before have given.
pub(crate) enum Following<'a> {
    /// ScatterND, by rows of its indices.
    Scattered { op: &'a ScatterNd, rows: usize, fact: (DatumType, TVec<usize>) },
    /// NonMaxSuppression, by images and classes.
    Suppressed { op: &'a dyn TypedOp, classes: usize, images: usize },
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
        if node.op.name() == "NonMaxSuppression" {
            let [images, classes, _] = lengths(1)?[..] else { return None };
            return Some(Following::Suppressed { op: node.op.as_ref(), classes, images });
        }
        None
    }

    /// What a node takes at most that is priced by what it takes at least: boxes of which none is suppressed.
    pub(crate) fn worst(model: &TypedModel, node: &TypedNode) -> u64 {
        let known = || -> Option<u64> {
            let Following::Suppressed { classes, images, .. } = Following::of(model, node)? else {
                return None;
            };
            let boxes = model.outlet_fact(*node.inputs.get(1)?).ok()?.shape.as_concrete()?[2] as u64;
            let most = model.outlet_fact(*node.inputs.get(2)?).ok()?.konst.clone();
            let most = most.and_then(|most| most.cast_to_scalar::<i64>().ok()).filter(|most| *most > 0);
            let kept = most.map_or(boxes, |most| boxes.min(most as u64));
            // Each is compared with those that were kept before it.
            let compared = boxes.saturating_mul(kept).saturating_sub(kept.saturating_mul(kept) / 2);
            let each = boxes * SORTED + compared.saturating_mul(COMPARED);
            Some(each.saturating_mul((classes * images) as u64))
        };
        known().unwrap_or(0)
    }
}

impl Parted for Following<'_> {
    fn units(&self) -> usize {
        match self {
            Following::Scattered { rows, .. } => *rows,
            Following::Suppressed { classes, images, .. } => classes * images,
        }
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        Ok(tvec!(match self {
            Following::Scattered { fact: (dt, shape), .. } => Tensor::zero_dt(*dt, shape)?,
            Following::Suppressed { .. } => Tensor::zero::<i64>(&[0, 3])?,
        }))
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        let out = one(out)?;
        let context = EvalContext::out_of_plan();
        match self {
            Following::Scattered { op, .. } => {
                let [data, indices, updates] = inputs else { bail!("three operands are expected") };
                let so_far = if units.start == 0 { data.clone() } else { std::mem::take(out).into_tvalue() };
                let part = |whole: &TValue| -> TractResult<TValue> {
                    if self.units() == 1 {
                        return Ok(whole.clone());
                    }
                    Ok(whole.slice(0, units.start, units.end)?.into_tvalue())
                };
                let made = op.eval(&context, tvec![so_far, part(indices)?, part(updates)?])?;
                *out = made.into_iter().next().context("an output is missing")?.into_tensor();
            }
            Following::Suppressed { op, classes, .. } => {
                let mut at = units.start;
                while at < units.end {
                    // Of one image as many classes as are wanted.
                    let (image, first) = (at / classes, at % classes);
                    let end = (first + units.end - at).min(*classes);
                    at = image * classes + end;
                    let mut operands: TVec<TValue> = inputs.iter().cloned().collect();
                    operands[0] = inputs[0].slice(0, image, image + 1)?.into_tvalue();
                    operands[1] = inputs[1].slice(0, image, image + 1)?.slice(1, first, end)?.into_tvalue();
                    let made = op.eval(&context, operands)?;
                    let made = made.into_iter().next().context("an output is missing")?.into_tensor();
                    let mut made = made.cast_to::<i64>()?.into_owned();
                    for row in made.try_as_plain_ram_mut()?.as_slice_mut::<i64>()?.chunks_exact_mut(3) {
                        row[0] += image as i64;
                        row[1] += first as i64;
                    }
                    *out = Tensor::stack_tensors(0, &[std::mem::take(out), made])?;
                }
            }
        }
        Ok(())
    }
}
