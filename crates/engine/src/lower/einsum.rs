//! The axes of a product of two tensors, as loops over matrix products.
//!
//! The operand that has the output's innermost axis is called *wide*: its part of the output (`q`) is where neighbouring
//! outputs lie. The other one's part is `p`. Every axis is of one of four groups: in both operands and the output (a loop), in one of
//! them and the output (`p`, `q`), in both and not in the output (`k`, which is summed over). Axes of a group that lie one in
//! the other are taken as one; what is left of `p` and `q` are loops too.

use tract_onnx::tract_core::internal::*;

/// A run of indices: how many, and how far apart in each tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many.
    pub(super) length: usize,
    /// Floats from one to the next in the narrow operand; 0 where it has no such axis.
    pub(super) narrow: usize,
    /// In the wide operand.
    pub(super) wide: usize,
    /// In the output.
    pub(super) out: usize,
}

/// A product as loops over matrix products.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loops {
    /// Whether the wide operand is the first input.
    pub(super) wide_first: bool,
    /// Rows of a matrix product.
    pub(super) p: Run,
    /// Columns, innermost in the output.
    pub(super) q: Run,
    /// What is summed over.
    pub(super) k: Run,
    /// What is gone through, outermost first.
    pub(super) outer: Vec<Run>,
    /// The axis of the output that `q` is, where it is one and the whole of it.
    pub(super) q_axis: Option<usize>,
}

/// An axis: its length in each input, where it is in the output, and in each input.
type Placed = ([usize; 2], Option<usize>, [Option<usize>; 2]);

impl Loops {
    /// The loops of `axes` over operands and an output of these shapes; none where it is something else.
    pub(super) fn of(axes: &AxesMapping, shapes: [&[usize]; 2], output: &[usize]) -> Option<Loops> {
        let strides = [0, 1].map(|ix| crate::ops::strides(shapes[ix]));
        let out_strides = crate::ops::strides(output);
        // In terms of the inputs: length, strides, and the output's axis.
        let mut all: Vec<Placed> = vec![];
        for axis in axes.iter_all_axes() {
            let one = |places: &TVec<usize>| match places.as_slice() {
                [] => Some(None),
                [place] => Some(Some(*place)),
                _ => None,
            };
            let places = [one(&axis.inputs[0])?, one(&axis.inputs[1])?];
            let lengths = [0, 1].map(|ix| places[ix].map_or(1, |place| shapes[ix][place]));
            let out = one(&axis.outputs[0])?;
            if let Some(out) = out
                && output[out] != lengths[0].max(lengths[1])
            {
                return None;
            }
            all.push((lengths, out, places));
        }
        let innermost = all
            .iter()
            .filter(|(lengths, out, _)| out.is_some() && lengths.iter().any(|l| *l > 1))
            .max_by_key(|(_, out, _)| *out)?;
        // An operand that alone has the innermost axis.
        let wide_first = match innermost.0 {
            [l, 1] if l > 1 => true,
            [1, l] if l > 1 => false,
            _ => return None,
        };
        let (mut p, mut q, mut k, mut outer) = (vec![], vec![], vec![], vec![]);
        for (lengths, out, places) in &all {
            let length = lengths[0].max(lengths[1]);
            if length == 1 {
                continue;
            }
            // A length of 1 beside a longer one is repeated.
            let stride = |ix: usize| match places[ix] {
                Some(place) if lengths[ix] > 1 => strides[ix][place],
                _ => 0,
            };
            let (narrow_ix, wide_ix) = if wide_first { (1, 0) } else { (0, 1) };
            let run = Run {
                length,
                narrow: stride(narrow_ix),
                wide: stride(wide_ix),
                out: out.map_or(0, |out| out_strides[out]),
            };
            match (out, lengths[narrow_ix] > 1, lengths[wide_ix] > 1) {
                (Some(_), true, true) => outer.push(run),
                (Some(_), true, false) => p.push(run),
                (Some(_), false, true) => q.push(run),
                (None, true, true) => k.push(run),
                _ => return None,
            }
        }
        let whole = q.len() == 1;
        let q_axis = whole.then_some(innermost.1).flatten();
        let (q, rest) = joined(q, |run| run.out);
        outer.extend(rest);
        let (p, rest) = joined(p, |run| run.out);
        outer.extend(rest);
        let (k, rest) = joined(k, |run| run.narrow);
        if !rest.is_empty() || (q.length > 1 && q.out != 1) {
            return None;
        }
        outer.sort_by_key(|run| std::cmp::Reverse(run.out));
        Some(Loops { wide_first, p, q, k, outer, q_axis })
    }

    /// Multiply-accumulates.
    pub(super) fn macs(&self) -> u64 {
        [self.p, self.q, self.k].iter().chain(&self.outer).map(|run| run.length as u64).product()
    }
}

/// The innermost of the runs, by `stride`, with those that it lies in without a gap; and the rest.
fn joined(mut runs: Vec<Run>, stride: impl Fn(&Run) -> usize) -> (Run, Vec<Run>) {
    runs.sort_by_key(|run| std::cmp::Reverse(stride(run)));
    let Some(mut inner) = runs.pop() else {
        return (Run { length: 1, narrow: 0, wide: 0, out: 0 }, vec![]);
    };
    while let Some(next) = runs.last() {
        let lies_in = |inner_stride: usize, stride: usize| stride == inner.length * inner_stride;
        if !(lies_in(inner.narrow, next.narrow)
            && lies_in(inner.wide, next.wide)
            && lies_in(inner.out, next.out))
        {
            break;
        }
        inner.length *= next.length;
        runs.pop();
    }
    (inner, runs)
}
