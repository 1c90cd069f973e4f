//! Products of two tensors, of which one may be constant: its packed copy is made once.

use std::collections::BTreeMap;
use std::ops::Range;

use ic_nn_kernels::product::{After, Matrix};
use ic_nn_kernels::{Packing, Panels, Precision, pays_to_turn};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::einsum::{Loops, Run};
use super::innermost::Innermost;
use super::node::{Body, Lowered};
use super::{constant, floats, shape};
use crate::streamed::Streamed;

/// Rows or columns that a step is cut into at least: tiles are filled, and halves of Strassen's are never empty.
const BLOCK: usize = 64;

/// A product over [`Loops`].
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(super) loops: Loops,
    pub(super) packed: Packed,
    /// For each step through the outer loops: where the narrow operand, the wide one and the output begin.
    pub(super) steps: Vec<[usize; 3]>,
    /// Which of the packed constants each step takes.
    pub(super) which: Vec<usize>,
}

/// Which operand is packed.
#[derive(Clone, Debug)]
pub(super) enum Packed {
    /// The wide one, a constant, for each place that steps take it from.
    Wide(Vec<Panels>),
    /// The narrow one, a constant, for each place that steps take it from.
    Narrow(Vec<Panels>),
    /// The narrow one, a constant, for each place that steps take it from, where the wide one's columns lie apart, or are too few
    /// to fill tiles and are turned: they are taken by rows, and what comes out is turned.
    Turned(Vec<Panels>),
    /// The wide one, in each run.
    Run,
}

/// Along what each step of a product is cut, and into how many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Rows of the narrow operand.
    Rows(usize),
    /// Columns of the wide one.
    Columns(usize),
    /// Parts of the packed one.
    Parts(usize),
}

/// A node for the product, and its inputs; none where there is no kernel for it.
pub(super) fn lower(
    model: &TypedModel,
    node: &TypedNode,
    op: &EinSum,
    packing: &mut Packing,
) -> TractResult<Option<(Lowered, TVec<OutletId>)>> {
    if op.q_params.is_some() || op.operating_dt != f32::datum_type() || node.inputs.len() != 2 {
        return Ok(None);
    }
    let (Some(a), Some(b), Some(output)) =
        (shape(model, node.inputs[0])?, shape(model, node.inputs[1])?, shape(model, node.id.into())?)
    else {
        return Ok(None);
    };
    let Some(loops) = Loops::of(&op.axes, [&a, &b], &output) else { return Ok(None) };
    let (narrow_ix, wide_ix) = if loops.wide_first { (1, 0) } else { (0, 1) };
    let (narrow, wide) = (constant(model, node.inputs[narrow_ix])?, constant(model, node.inputs[wide_ix])?);
    let far = [narrow_ix, wide_ix].map(|ix| Streamed::of(model, node.inputs[ix]));
    let product = if far.iter().any(Option::is_some) {
        Product::far(loops.clone(), &far)
    } else {
        Product::new(
            packing,
            loops.clone(),
            narrow.as_deref().map(floats).transpose()?,
            wide.as_deref().map(floats).transpose()?,
        )
    };
    let Some(product) = product else { return Ok(None) };
    let (inputs, bias_axis) = match &product.packed {
        Packed::Wide(_) => (tvec!(node.inputs[narrow_ix]), loops.q_axis),
        Packed::Narrow(_) | Packed::Turned(_) => (tvec!(node.inputs[wide_ix]), p_axis(&loops, &output)),
        Packed::Run => (tvec!(node.inputs[narrow_ix], node.inputs[wide_ix]), None),
    };
    let bias_axis = bias_axis.filter(|_| product.bias().is_some());
    Ok(Some((Lowered::new(Body::Product(product), bias_axis, output, loops.macs()), inputs)))
}

/// The axis of the output that `p` is, where it is one and the whole of it.
fn p_axis(loops: &Loops, output: &[usize]) -> Option<usize> {
    let strides = crate::ops::strides(output);
    (0..output.len())
        .find(|axis| output[*axis] == loops.p.length && strides[*axis] == loops.p.out && loops.p.length > 1)
}

impl Product {
    fn new(
        packing: &mut Packing,
        loops: Loops,
        narrow: Option<&[f32]>,
        wide: Option<&[f32]>,
    ) -> Option<Product> {
        let steps = steps(&loops.outer);
        let Run { length: m, .. } = loops.p;
        let (n, k) = (loops.q.length, loops.k.length);
        // Rows must not lie in one another, where there is more than one.
        if m > 1 && loops.p.out < n {
            return None;
        }
        // Constants that repeat are packed once.
        let mut which = vec![];
        let mut each = |pick: usize, pack: &mut dyn FnMut(usize) -> Panels| {
            let mut places = BTreeMap::new();
            let mut packed = vec![];
            for step in &steps {
                which.push(*places.entry(step[pick]).or_insert_with(|| {
                    packed.push(pack(step[pick]));
                    packed.len() - 1
                }));
            }
            packed
        };
        let packed = if let Some(wide) = wide {
            let Run { wide: along_k, .. } = loops.k;
            let along_n = loops.q.wide;
            Packed::Wide(each(1, &mut |first| {
                Panels::columns_of(packing, m, [k, n], &wide[first..], [along_k, along_n])
            }))
        } else if let (Some(narrow), true) = (narrow, loops.q.wide == 1 || n == 1) {
            if k > 1 && loops.k.wide < n {
                return None;
            }
            let (along_m, along_k) = (loops.p.narrow, loops.k.narrow);
            if (m == 1 || loops.p.out == n) && packing.precision == Precision::F32 && pays_to_turn(m, k, n) {
                Packed::Turned(each(0, &mut |first| {
                    Panels::columns_of(packing, n, [k, m], &narrow[first..], [along_k, along_m])
                }))
            } else {
                Packed::Narrow(each(0, &mut |first| {
                    Panels::rows_of(packing, n, [m, k], &narrow[first..], [along_m, along_k])
                }))
            }
        } else if let (Some(narrow), true, true) =
            (narrow, loops.k.wide == 1 || k == 1, m == 1 || loops.p.out == n)
        {
            if n > 1 && loops.q.wide < k {
                return None;
            }
            let (along_m, along_k) = (loops.p.narrow, loops.k.narrow);
            Packed::Turned(each(0, &mut |first| {
                Panels::columns_of(packing, n, [k, m], &narrow[first..], [along_k, along_m])
            }))
        } else {
            Packed::Run
        };
        Some(Product { loops, packed, steps, which })
    }

    /// Of an operand that stays in a stream and is the same in each step, and one that is an input.
    fn far(loops: Loops, far: &[Option<Streamed>; 2]) -> Option<Product> {
        let steps = steps(&loops.outer);
        let Loops { p, q, k, .. } = &loops;
        if (p.length > 1 && p.out < q.length) || (k.length > 1 && k.wide < q.length && q.wide == 1) {
            return None;
        }
        let same = |pick: usize| steps.iter().all(|step| step[pick] == 0);
        let packed = match far {
            [None, Some(wide)] if same(1) => {
                Packed::Wide(vec![wide.panels(false, [q.length, k.length], [q.wide, k.wide])?])
            }
            [Some(narrow), None] if same(0) && (q.wide == 1 || q.length == 1) => {
                Packed::Narrow(vec![narrow.panels(true, [p.length, k.length], [p.narrow, k.narrow])?])
            }
            _ => return None,
        };
        let which = vec![0; steps.len()];
        Some(Product { loops, packed, steps, which })
    }

    /// Images times constant weights, pixel by pixel: of `[images, channels, outputs]`, of `pixels` each, with
    /// `kernel[output][channel]`.
    pub(super) fn pointwise(
        packing: &mut Packing,
        [images, channels, outputs]: [usize; 3],
        pixels: usize,
        kernel: &[f32],
        innermost: Innermost,
    ) -> Option<Product> {
        // Steps from pixel to pixel and from channel to channel.
        let lies = |channels, innermost| if innermost { (channels, 1) } else { (1, pixels) };
        let ((pixel, channel), (to_pixel, to_output)) =
            (lies(channels, innermost.input), lies(outputs, innermost.output));
        let (weights_wide, x) = (innermost.output, (channels * pixels, outputs * pixels));
        // Of the narrow operand and the wide one.
        let sides = |weights: usize, x: usize| if weights_wide { (x, weights) } else { (weights, x) };
        let run = |length, weights, x, out| {
            let (narrow, wide) = sides(weights, x);
            Run { length, narrow, wide, out }
        };
        let (of_pixels, of_outputs) = (run(pixels, 0, pixel, to_pixel), run(outputs, channels, 0, to_output));
        let (p, q) = if weights_wide { (of_pixels, of_outputs) } else { (of_outputs, of_pixels) };
        let outer = (images > 1).then(|| run(images, 0, x.0, x.1)).into_iter().collect();
        let loops = Loops { wide_first: false, p, q, k: run(channels, 1, channel, 0), outer, q_axis: None };
        let (narrow, wide) = if weights_wide { (None, Some(kernel)) } else { (Some(kernel), None) };
        Product::new(packing, loops, narrow, wide)
    }

    /// Whether one operand is part of it, so that it has one input.
    pub(crate) fn is_constant(&self) -> bool {
        !matches!(self.packed, Packed::Run)
    }

    /// What the constant operand is kept as, or its first part.
    pub(crate) fn precision(&self) -> Precision {
        match &self.packed {
            Packed::Wide(packed) | Packed::Narrow(packed) | Packed::Turned(packed) => {
                packed.first().map_or(Precision::F32, Panels::precision)
            }
            Packed::Run => Precision::F32,
        }
    }

    /// The constant operand.
    pub(super) fn panels(&self) -> Option<&Vec<Panels>> {
        match &self.packed {
            Packed::Wide(packed) | Packed::Narrow(packed) | Packed::Turned(packed) => Some(packed),
            Packed::Run => None,
        }
    }

    /// Bytes that a run takes beside its operands.
    pub(crate) fn scratch(&self) -> usize {
        let Loops { p, q, k, .. } = &self.loops;
        let copied = if self.copies() { p.length * k.length } else { 0 };
        let packed = match self.packed {
            Packed::Run => k.length * q.length.next_multiple_of(4),
            Packed::Turned(_) if self.lies_by_columns() => p.length * q.length + q.length * k.length,
            Packed::Turned(_) => p.length * q.length,
            _ => 0,
        };
        let others = if matches!(self.packed, Packed::Wide(_)) { p.length } else { q.length };
        let quantised = match &self.packed {
            Packed::Wide(packed) | Packed::Narrow(packed) | Packed::Turned(packed) => {
                packed.first().map_or(0, |panels| panels.scratch(others))
            }
            Packed::Run => 0,
        };
        4 * (copied + packed) + quantised
    }

    /// Whether columns of the wide operand, which are taken as rows, lie beside one another.
    pub(super) fn lies_by_columns(&self) -> bool {
        self.loops.q.length > 1 && self.loops.q.wide == 1 && self.loops.k.length > 1 && self.loops.k.wide != 1
    }

    /// Whether rows of the narrow operand have to be laid one behind the other first.
    pub(super) fn copies(&self) -> bool {
        let Loops { p, k, .. } = &self.loops;
        let apart = k.length > 1 && k.narrow != 1;
        matches!(self.packed, Packed::Wide(_) | Packed::Run)
            && (apart || (p.length > 1 && p.narrow < k.length))
    }

    /// The bias, where there is one for all.
    pub(crate) fn bias(&self) -> Option<&[f32]> {
        match &self.packed {
            Packed::Wide(packed) | Packed::Narrow(packed) | Packed::Turned(packed) => match packed.as_slice()
            {
                [weights] => Some(weights.bias()),
                _ => None,
            },
            Packed::Run => None,
        }
    }

    /// The same with another bias.
    pub(crate) fn with_bias(mut self, bias: &[f32]) -> Product {
        if let Packed::Wide(packed) | Packed::Narrow(packed) | Packed::Turned(packed) = &mut self.packed {
            *packed = packed.drain(..).map(|weights| weights.with_bias(bias)).collect();
        }
        self
    }

    /// What each step is cut along: the packed operand where it is not in the heap, so that each part of it is read once, or where the
    /// other one is short.
    fn cut(&self) -> Cut {
        let (p, q) = (self.loops.p.length, self.loops.q.length);
        let parts = |panels: &[Panels], short: bool| {
            let parts = panels.first().map_or(1, Panels::parts);
            (parts > 1 && (short || !panels.iter().all(Panels::are_here))).then_some(Cut::Parts(parts))
        };
        match &self.packed {
            Packed::Wide(packed) => parts(packed, p < 2 * BLOCK).unwrap_or(Cut::Rows((p / BLOCK).max(1))),
            Packed::Run => Cut::Rows((p / BLOCK).max(1)),
            Packed::Narrow(packed) => {
                parts(packed, q < 2 * BLOCK).unwrap_or(Cut::Columns((q / BLOCK).max(1)))
            }
            Packed::Turned(_) => Cut::Rows(1),
        }
    }

    /// Into how many blocks each step can be cut.
    fn blocks(&self) -> usize {
        let (Cut::Rows(blocks) | Cut::Columns(blocks) | Cut::Parts(blocks)) = self.cut();
        blocks
    }

    /// Into how many parts it can be cut: blocks of rows of the narrow operand, of columns of the wide one where the narrow one is
    /// constant, or panels of the constant, of every step.
    pub(crate) fn units(&self) -> usize {
        self.steps.len() * self.blocks()
    }

    /// Computes these of its units: of the product of `x` and the constant, or of the narrow `x` and the wide `other`.
    pub(crate) fn run(
        &self,
        x: &[f32],
        other: Option<&[f32]>,
        out: &mut [f32],
        after: After<'_>,
        units: Range<usize>,
    ) -> TractResult<()> {
        let Loops { p, q, k, .. } = &self.loops;
        let blocks = self.blocks();
        let lies = |rows: usize, columns: usize, stride: usize| Matrix {
            rows,
            columns,
            stride: if rows > 1 { stride } else { columns },
        };
        let mut fresh: Option<(usize, Panels)> = None;
        for (step, &[narrow, wide, first]) in self.steps.iter().enumerate() {
            let (begin, end) = (units.start.max(step * blocks), units.end.min((step + 1) * blocks));
            if begin >= end {
                continue;
            }
            // The part of the step: panels, rows of the narrow operand, or columns of the wide one.
            let (begin, end) = (begin - step * blocks, end - step * blocks);
            let cut = |length: usize, block: usize| block * length / blocks;
            let (mut rows, mut columns, mut parts) = (0..p.length, 0..q.length, 0..usize::MAX);
            match self.cut() {
                Cut::Rows(_) => rows = cut(p.length, begin)..cut(p.length, end),
                Cut::Columns(_) => columns = cut(q.length, begin)..cut(q.length, end),
                Cut::Parts(_) => parts = begin..end,
            }
            let (narrow, wide) = (narrow + rows.start * p.narrow, wide + columns.start * q.wide);
            let first = first + rows.start * p.out + columns.start;
            let to = lies(rows.len(), columns.len(), p.out);
            let after = After { residual: after.residual.map(|r| &r[first..]), ..after };
            let out = &mut out[first..];
            match &self.packed {
                Packed::Narrow(packed) => {
                    let from = lies(k.length, columns.len(), k.wide);
                    packed[self.which[step]].times_of(&x[wide..], from, out, to, after, parts);
                }
                Packed::Wide(packed) => {
                    self.rows(&packed[self.which[step]], &x[narrow..], out, to, after, parts);
                }
                Packed::Turned(packed) => {
                    let (rows, columns) = (q.length, p.length);
                    let (packed, out) = (&packed[self.which[step]], &mut out[..rows * columns]);
                    if self.lies_by_columns() {
                        let stride = if k.length > 1 { k.wide } else { rows };
                        let seen = ic_nn_kernels::in_columns(&x[wide..], k.length, rows, stride);
                        packed.under_and_turned(&seen, Matrix::dense(rows, k.length), out, after);
                    } else {
                        packed.under_and_turned(&x[wide..], lies(rows, k.length, q.wide), out, after);
                    }
                }
                Packed::Run => {
                    let other = other.context("a product of two tensors has two inputs")?;
                    let packed = match fresh.take() {
                        Some((at, packed)) if at == wide => packed,
                        _ => {
                            let (lengths, apart) = ([k.length, q.length], [k.wide, q.wide]);
                            Panels::columns_of(
                                &mut Packing::plain(),
                                p.length,
                                lengths,
                                &other[wide..],
                                apart,
                            )
                        }
                    };
                    self.rows(&packed, &x[narrow..], out, to, after, parts);
                    fresh = Some((wide, packed));
                }
            }
        }
        Ok(())
    }

    /// Rows of the narrow operand times packed columns.
    fn rows(
        &self,
        weights: &Panels,
        x: &[f32],
        out: &mut [f32],
        to: Matrix,
        after: After<'_>,
        parts: Range<usize>,
    ) {
        let Loops { p, k, .. } = &self.loops;
        let rows = to.rows;
        if !self.copies() {
            let stride = if rows > 1 { p.narrow } else { k.length };
            let from = Matrix { rows, columns: k.length, stride };
            return weights.under_of(x, from, out, to, after, parts);
        }
        let copy = if p.narrow == 1 && k.narrow >= rows {
            ic_nn_kernels::in_columns(x, k.length, rows, k.narrow)
        } else {
            let mut copy = vec![0.0; rows * k.length];
            for (row, copy) in copy.chunks_exact_mut(k.length.max(1)).enumerate() {
                for (step, copy) in copy.iter_mut().enumerate() {
                    *copy = x[row * p.narrow + step * k.narrow];
                }
            }
            copy
        };
        weights.under_of(&copy, Matrix::dense(rows, k.length), out, to, after, parts);
    }
}

/// Where the narrow operand, the wide one and the output begin in each step.
pub(super) fn steps(outer: &[Run]) -> Vec<[usize; 3]> {
    let mut steps = vec![[0; 3]];
    for run in outer {
        steps = (steps.iter())
            .flat_map(|[narrow, wide, out]| {
                (0..run.length)
                    .map(move |at| [narrow + at * run.narrow, wide + at * run.wide, out + at * run.out])
            })
            .collect();
    }
    steps
}
