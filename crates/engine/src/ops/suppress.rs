//! NonMaxSuppression: of boxes that overlap, the one with the best score.
//!
//! Each class of an image is by itself. Its boxes are gone through by falling scores, the lower index first of equal ones, and one is kept
//! where no box kept before it overlaps it by more than the threshold: what they share, over what they cover together, in f32. That takes
//! as many comparisons as there are boxes before which were kept, so a run can be left within a class ([`Suppressing`]).
//!
//! Whatever the numbers are, an answer follows from them: a score that is no number is below all others, and above no threshold; a box with
//! a corner that is none overlaps nothing.

use std::ops::Range;

use ic_nn_kernels::{Keeping, Kept, Ranking, by_falling, instructions_of_ranking};
use tract_onnx::tract_hir::internal::*;

use super::kernel::Fault;
use super::lowered::Wirer;
use crate::parted::Parted;

/// Instructions for what is around classes, a class, a box whose turn it is, and its comparison with another that it touches.
const AROUND: u64 = 15_000;
const CLASS: u64 = 1_000;
const TURN: u64 = 550;
const COMPARED: u64 = 20;

/// Units of a class, where it has as many boxes; more where one would take more than [`UNIT`].
const FEWEST: u64 = 64;
const UNIT: u64 = 20_000_000;

/// Boxes of a class from which on its scores are sorted pass by pass: some 200 M instructions.
const MANY: usize = if cfg!(test) { 24 } else { 1 << 20 };

/// The operator on f32. Its operands are boxes, scores, by how much two boxes may overlap, and, where `scored`, what a score has to exceed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Suppress {
    /// Whether boxes are a centre and lengths; else they are two corners.
    centred: bool,
    /// Boxes that are kept of a class at most.
    most: usize,
    /// Whether there is an operand for what a score has to exceed.
    scored: bool,
    /// How many are selected.
    selected: Symbol,
}

/// Wires NonMaxSuppression. Where none may be selected none is; tract's own would select all.
pub(super) fn non_max_suppression(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let most = match w.input(2) {
        Some(most) => w.integers(most, "max_output_boxes_per_class")?.first().copied().unwrap_or(0),
        None => 0,
    };
    if most <= 0 {
        return Ok(tvec![w.konst(Tensor::zero::<i64>(&[0, 3])?)?]);
    }
    let (boxes, scores) = (w.need(0)?, w.need(1)?);
    let (of_boxes, of_scores) = (w.fact(boxes)?, w.fact(scores)?);
    if of_boxes.datum_type != DatumType::F32 || of_scores.datum_type != DatumType::F32 {
        return w.stock_itself();
    }
    let known = |fact: &TypedFact| fact.shape.iter().map(|d| d.to_usize().ok()).collect::<Vec<_>>();
    if let Some(why) = misfit(&known(&of_boxes), &known(&of_scores)) {
        return w.refuse(why);
    }
    let centred = match w.int("center_point_box", 0) {
        0 => false,
        1 => true,
        other => return w.refuse(format!("center_point_box of {other}; 0 or 1 is expected")),
    };
    let overlap = match w.input(3) {
        Some(overlap) => overlap,
        None => w.scalar(0.0, DatumType::F32)?,
    };
    let mut operands = tvec![boxes, scores, overlap];
    operands.extend(w.input(4));
    for (number, name) in operands[2..].iter().zip(["iou_threshold", "score_threshold"]) {
        let fact = w.fact(*number)?;
        if fact.datum_type != DatumType::F32 || fact.shape.volume().to_usize().is_ok_and(|n| n != 1) {
            return w.refuse(format!("`{name}` of {fact:?}; a number of f32 is expected"));
        }
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let op = Suppress { centred, most, scored: operands.len() > 3, selected: w.symbol() };
    w.all(op, &operands)
}

/// Why boxes and scores of these lengths, as far as they are known, do not go together.
fn misfit(boxes: &[Option<usize>], scores: &[Option<usize>]) -> Option<String> {
    let differ = |a: &Option<usize>, b: &Option<usize>| a.zip(*b).is_some_and(|(a, b)| a != b);
    let fit = match (boxes, scores) {
        ([images, count, numbers], [of, _, each]) => {
            !differ(images, of) && !differ(count, each) && !differ(numbers, &Some(4))
        }
        _ => false,
    };
    let written = |lengths: &[Option<usize>]| {
        let lengths = lengths.iter().map(|length| length.map_or("?".into(), |length| length.to_string()));
        lengths.collect::<Vec<_>>().join(", ")
    };
    (!fit).then(|| {
        format!(
            "boxes of [{}] and scores of [{}]; [images, boxes, 4] and [images, classes, boxes] are expected",
            written(boxes),
            written(scores)
        )
    })
}

impl Op for Suppress {
    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    fn name(&self) -> StaticName {
        "NonMaxSuppression".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Suppress {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [boxes, scores, ..] = &inputs[..] else { bail!("operands are missing") };
        let whole = Suppressing::on(self, boxes.shape(), scores.shape())?;
        let selected = whole.select(&inputs, &mut Class::default(), 0..whole.units())?;
        Ok(tvec![selected.into_tvalue()])
    }
}

impl TypedOp for Suppress {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![i64::fact([self.selected.to_dim(), 3usize.to_dim()])])
    }

    as_op!();
}

/// The operator on so many boxes: by units that follow one another, so many to a class. Behind what is selected stands how far the class
/// is that is under way ([`Class`]).
pub(crate) struct Suppressing<'a> {
    op: &'a Suppress,
    images: usize,
    classes: usize,
    boxes: usize,
}

impl<'a> Suppressing<'a> {
    /// The node; none where it is another, or lengths of its operands are not known.
    pub(crate) fn of(model: &TypedModel, node: &'a TypedNode) -> Option<Suppressing<'a>> {
        let op = node.op_as::<Suppress>()?;
        let shape = |ix: usize| model.outlet_fact(*node.inputs.get(ix)?).ok()?.shape.as_concrete();
        Suppressing::on(op, shape(0)?, shape(1)?).ok()
    }

    /// On operands of these shapes.
    fn on(op: &'a Suppress, boxes: &[usize], scores: &[usize]) -> TractResult<Suppressing<'a>> {
        let known = |shape: &[usize]| shape.iter().map(|length| Some(*length)).collect::<Vec<_>>();
        if let Some(why) = misfit(&known(boxes), &known(scores)) {
            return Err(Fault(why).into());
        }
        let &[images, classes, boxes] = scores else { bail!("three axes are expected") };
        // Indices are kept as u32.
        ensure!(u32::try_from(boxes).is_ok(), "{boxes} boxes");
        Ok(Suppressing { op, images, classes, boxes })
    }

    /// What it takes at least: a box suppresses all others, or no score counts.
    pub(crate) fn least(&self) -> u64 {
        self.of_each_class(self.ranking().0)
    }

    /// What it takes at most: no box is suppressed.
    pub(crate) fn most(&self) -> u64 {
        self.of_each_class(self.ranking().1.saturating_add(self.taken(self.boxes)))
    }

    fn ranking(&self) -> (u64, u64) {
        instructions_of_ranking(self.boxes, self.op.scored)
    }

    fn of_each_class(&self, class: u64) -> u64 {
        let classes = self.images as u64 * self.classes as u64;
        AROUND.saturating_add(CLASS.saturating_add(class).saturating_mul(classes))
    }

    /// Bytes that it takes beside its operands and what is selected: scores with their indices twice, which these are of a class, and what was
    /// kept of it.
    pub(crate) fn scratch(&self) -> u64 {
        let kept = self.boxes.min(self.op.most) as u64;
        28 * self.boxes as u64 + 40 * kept
    }

    /// What so many of a class, from the best on, take where none is suppressed.
    fn taken(&self, boxes: usize) -> u64 {
        let (boxes, most) = (boxes as u64, self.op.most as u64);
        let kept = boxes.min(most);
        let before = kept.saturating_mul(kept.saturating_sub(1)) / 2;
        let compared = before.saturating_add((boxes - kept).saturating_mul(kept));
        (boxes * TURN).saturating_add(compared.saturating_mul(COMPARED))
    }

    /// Units of a class in which its scores are sorted, as many to each pass and to what comes before them, of which the first does it: a pass
    /// cannot be left, and parts are of as many units. None where it begins with all of that.
    fn sorting(&self) -> usize {
        if self.boxes < MANY {
            return 0;
        }
        let pass = self.ranking().1 / (1 + Ranking::PASSES as u64);
        (1 + Ranking::PASSES) * usize::try_from(pass.div_ceil(UNIT)).unwrap_or(usize::MAX >> 4)
    }

    /// Units of a class.
    fn each(&self) -> usize {
        self.sorting() + self.turns()
    }

    /// Units of a class in which its boxes are gone through.
    fn turns(&self) -> usize {
        let wanted = FEWEST.max(self.taken(self.boxes) / UNIT);
        usize::try_from(wanted).unwrap_or(usize::MAX).min(self.boxes).max(1)
    }

    /// How many boxes of a class, from the best on, come before one of its units: each takes as much where none is suppressed.
    fn before(&self, unit: usize) -> usize {
        let unit = unit.saturating_sub(self.sorting());
        if unit == 0 || unit >= self.turns() {
            return if unit == 0 { 0 } else { self.boxes };
        }
        let (all, each) = (u128::from(self.taken(self.boxes)), self.turns() as u128);
        let (mut low, mut high) = (0, self.boxes);
        while low < high {
            let middle = low + (high - low) / 2;
            if u128::from(self.taken(middle)) * each < all * unit as u128 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Suppressing<'_> {
    /// What is selected by these units, of which the first goes on with a class that is under way if it does not begin one.
    fn select(&self, inputs: &[TValue], class: &mut Class, units: Range<usize>) -> TractResult<Tensor> {
        let [boxes, scores, numbers @ ..] = inputs else { bail!("operands are missing") };
        let (of_boxes, of_scores) = ([self.images, self.boxes, 4], [self.images, self.classes, self.boxes]);
        ensure!(boxes.shape() == of_boxes && scores.shape() == of_scores, "operands of other lengths");
        let Suppress { centred, most, scored, .. } = *self.op;
        ensure!(numbers.len() == 1 + usize::from(scored), "operands are missing");
        let overlap = number_of(&numbers[0])?;
        let above = numbers.get(1).map(|number| number_of(number)).transpose()?;
        let (boxes, scores) = (boxes.try_as_plain_ram()?, scores.try_as_plain_ram()?);
        let (boxes, scores) = (boxes.as_slice::<f32>()?.as_chunks::<4>().0, scores.as_slice::<f32>()?);

        let (each, keeping) = (self.each(), Keeping { centred, most, overlap });
        let (mut rows, mut kept) = (vec![], vec![]);
        let mut at = units.start;
        while at < units.end {
            let (line, first) = (at / each, at % each);
            let last = each.min(first + units.end - at);
            at += last - first;
            let scores = scores.get(line * self.boxes..(line + 1) * self.boxes);
            let scores = scores.context("scores are missing")?;
            self.sort(scores, above, class, first..last);
            let (image, number) = (line / self.classes, line % self.classes);
            let boxes =
                boxes.get(image * self.boxes..(image + 1) * self.boxes).context("boxes are missing")?;
            let turn = self.before(first).min(class.order.len())..self.before(last).min(class.order.len());
            class.kept.select(boxes, &class.order[turn], keeping, &mut kept);
            rows.extend(kept.drain(..).flat_map(|place| [image as i64, number as i64, i64::from(place)]));
        }
        Tensor::from_shape(&[rows.len() / 3, 3], &rows)
    }
}

impl Suppressing<'_> {
    /// Does what these units of a class do of its order.
    fn sort(&self, scores: &[f32], above: Option<f32>, class: &mut Class, units: Range<usize>) {
        let sorting = self.sorting();
        if units.start == 0 {
            *class = Class::default();
            if sorting == 0 {
                class.order = by_falling(scores, above);
            }
        }
        let each = sorting / (1 + Ranking::PASSES);
        for step in (0..=Ranking::PASSES).filter(|step| sorting > 0 && units.contains(&(step * each))) {
            match step.checked_sub(1) {
                None => class.ranking = Ranking::of(scores, above),
                Some(pass) => class.ranking.pass(pass),
            }
            if step == Ranking::PASSES {
                class.order = std::mem::take(&mut class.ranking).places();
            }
        }
    }
}

impl Parted for Suppressing<'_> {
    fn units(&self) -> usize {
        self.images * self.classes * self.each()
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        let mut out = tvec![Tensor::zero::<i64>(&[0, 3])?];
        out.extend(Class::default().saved()?);
        Ok(out)
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        let [selected, under_way @ ..] = out else { bail!("an output is missing") };
        let begins = |unit: usize| unit.is_multiple_of(self.each());
        let mut class = if begins(units.start) { Class::default() } else { Class::of(under_way)? };
        let more = self.select(inputs, &mut class, units.clone())?;
        if begins(units.end) {
            class = Class::default();
        }
        for (before, saved) in under_way.iter_mut().zip(class.saved()?) {
            *before = saved;
        }
        *selected = Tensor::stack_tensors(0, &[std::mem::take(selected), more])?;
        Ok(())
    }
}

/// The number of an operand that is one.
fn number_of(number: &Tensor) -> TractResult<f32> {
    match number.try_as_plain_ram()?.as_slice::<f32>()? {
        [number] => Ok(*number),
        more => Err(Fault(format!("{} numbers for a threshold, one is expected", more.len())).into()),
    }
}

/// A class that is under way.
#[derive(Default)]
struct Class {
    /// Its scores, while they are sorted pass by pass.
    ranking: Ranking,
    /// Its boxes whose scores count, the best first.
    order: Vec<u32>,
    /// What was kept of it.
    kept: Kept,
}

impl Class {
    /// What was saved.
    fn of(saved: &[Tensor]) -> TractResult<Class> {
        let [ranks, order, kept, count] = saved else { bail!("what was under way is missing") };
        let order = order.try_as_plain_ram()?.as_slice::<u32>()?.to_vec();
        let count = count.cast_to_scalar::<i64>()? as usize;
        let ranking = Ranking::from_ranks(ranks.try_as_plain_ram()?.as_slice::<u64>()?);
        Ok(Class { ranking, order, kept: Kept::of(kept.try_as_plain_ram()?.as_slice::<f32>()?, count) })
    }

    fn saved(&self) -> TractResult<[Tensor; 4]> {
        let ranks = tensor1(self.ranking.ranks());
        Ok([ranks, tensor1(&self.order), tensor1(self.kept.numbers()), tensor0(self.kept.len() as i64)])
    }
}

#[cfg(test)]
mod tests;
