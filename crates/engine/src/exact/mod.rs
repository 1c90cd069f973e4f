//! Products and convolutions of bytes as an operator of a typed graph: what quantised models are made of.
//!
//! One operator for MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv and what comes of pairs of QuantizeLinear and
//! DequantizeLinear: the sums are exact in all of them, and they differ in what is made of a sum ([`Ending`]). It is wired by
//! [`crate::ops`]; then [`fuse`] takes in what makes sums real, and [`pack`] packs weights that are constants. Where weights are not,
//! they are packed when it runs.

mod fuse;
mod image;
mod parts;
mod price;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

use ic_nn_kernels::{Bytes, ExactConv, ExactWeights, Window, real, requantise};
use tract_onnx::prelude::tract_ndarray;
use tract_onnx::tract_core::internal::*;

use crate::lower::{output, replace};

pub(crate) use fuse::fuse;

/// Which numbers are multiplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    /// Rows of numbers times matrices.
    Product {
        /// Rows of a product.
        rows: usize,
        /// Length of the sums.
        k: usize,
        /// Columns.
        n: usize,
        /// Whether a matrix has a row for each of its columns instead of for each step of `k`.
        turned: bool,
        /// For each product of the output in turn: which rows, and which matrix.
        batches: Vec<[usize; 2]>,
        /// How many matrices there are.
        matrices: usize,
    },
    /// A convolution of planes.
    Conv {
        /// The geometry.
        window: Window,
        /// Channels of a group.
        channels: usize,
        /// Outputs of all groups.
        outputs: usize,
        /// Groups.
        groups: usize,
        /// Images.
        images: usize,
    },
}

impl Sums {
    /// Columns of a product or outputs of a convolution: what factors are one for each of.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Sums::Product { n, .. } => *n,
            Sums::Conv { outputs, .. } => *outputs,
        }
    }

    fn macs(&self) -> u64 {
        match self {
            Sums::Product { rows, k, n, batches, .. } => (rows * k * n) as u64 * batches.len() as u64,
            Sums::Conv { window, channels, outputs, images, .. } => {
                (images * outputs * window.pixels()) as u64 * (channels * window.places()) as u64
            }
        }
    }
}

/// What is made of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing: int32.
    Sums,
    /// Times a factor, f32. With `added`, f32, that is added.
    Real {
        /// Whether something is.
        added: bool,
    },
    /// What is added, int32, then times a factor, to the nearest, plus a zero point: int8 or uint8.
    Bytes {
        /// Whether int8.
        signed: bool,
        /// Whether something is added first.
        added: bool,
    },
}

/// Weights as they are multiplied.
#[derive(Debug)]
pub(crate) enum Packed {
    /// The matrices.
    Product(Vec<ExactWeights>),
    /// The convolution.
    Conv(ExactConv),
}

/// The operator. Inputs are the numbers and their zero point, then, where they are not packed, the weights and theirs; then the ending's:
/// factor, of bytes the zero point, and what is added. Zero points of weights, factors and what is added are one, or one an output.
#[derive(Clone)]
pub(crate) struct Exact {
    /// Which numbers are multiplied.
    pub(crate) sums: Sums,
    /// Constant weights.
    pub(crate) packed: Option<Arc<Packed>>,
    /// What is made of a sum.
    pub(crate) ending: Ending,
    /// Shape of the output.
    pub(crate) output: TVec<usize>,
}

impl PartialEq for Exact {
    fn eq(&self, other: &Exact) -> bool {
        let packed = match (&self.packed, &other.packed) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        packed && self.sums == other.sums && self.ending == other.ending && self.output == other.output
    }
}

impl Eq for Exact {}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.name(), self.output, self.ending)
    }
}

impl Op for Exact {
    fn name(&self) -> StaticName {
        match self.sums {
            Sums::Product { .. } => "Product exact".into(),
            Sums::Conv { .. } => "Convolution exact".into(),
        }
    }

    op_as_typed_op!();
}

/// The bytes of a tensor of int8 or uint8, and whether they are signed.
fn bytes(tensor: &Tensor) -> TractResult<(&[u8], bool)> {
    let signed = match tensor.datum_type().unquantized() {
        DatumType::U8 => false,
        DatumType::I8 => true,
        dt => bail!("bytes are expected, not {dt:?}"),
    };
    ensure!(tensor.is_plain_ram(), "a tensor of plain numbers is expected");
    Ok((tensor.as_bytes(), signed))
}

/// Bytes as numbers: zero points.
fn zeros(tensor: &Tensor) -> TractResult<Vec<i16>> {
    let (bytes, signed) = bytes(tensor)?;
    Ok(bytes.iter().map(|b| if signed { i16::from(*b as i8) } else { i16::from(*b) }).collect())
}

/// The one zero point of a tensor.
fn zero(tensor: &Tensor) -> TractResult<i16> {
    zeros(tensor)?.first().copied().context("a zero point is expected")
}

/// One number or `n` of them.
fn each<T: Datum + Copy>(tensor: &Tensor, n: usize) -> TractResult<Vec<T>> {
    let numbers = tensor.try_as_plain_ram()?.as_slice::<T>()?;
    ensure!(numbers.len() == 1 || numbers.len() == n, "{} numbers for {n} outputs", numbers.len());
    Ok(numbers.to_vec())
}

/// As many as the most of both have.
fn alike<A: Copy, B: Copy>(a: &mut Vec<A>, b: &mut Vec<B>) {
    let n = a.len().max(b.len());
    if let ([one], true) = (a.as_slice(), n > 1) {
        *a = vec![*one; n];
    }
    if let ([one], true) = (b.as_slice(), n > 1) {
        *b = vec![*one; n];
    }
}

impl Exact {
    fn dt(&self) -> DatumType {
        match self.ending {
            Ending::Sums => DatumType::I32,
            Ending::Real { .. } => DatumType::F32,
            Ending::Bytes { signed: true, .. } => DatumType::I8,
            Ending::Bytes { signed: false, .. } => DatumType::U8,
        }
    }

    /// Inputs before those of the ending.
    pub(crate) fn operands(&self) -> usize {
        if self.packed.is_some() { 2 } else { 4 }
    }

    /// Bytes that a run takes beside inputs and outputs.
    pub(crate) fn scratch(&self) -> u64 {
        let sums = if self.ending == Ending::Sums { 0 } else { 4 * self.output.iter().product::<usize>() };
        let (operand, weights) = match &self.sums {
            Sums::Product { rows, k, n, matrices, .. } => (2 * rows * (k + 1), matrices * k * n),
            Sums::Conv { window, channels, outputs, groups, .. } => {
                let k = channels * window.places();
                let reached = [0, 1].map(|axis| {
                    (window.output[axis] - 1) * window.stride[axis]
                        + (window.kernel[axis] - 1) * window.dilation[axis]
                        + 1
                });
                let planes = channels * reached[0] * reached[1];
                (2 * planes + 2 * (k + 1) * 128 + 1_024, k * outputs + groups)
            }
        };
        let packing = if self.packed.is_some() { 0 } else { 5 * weights };
        (sums + operand + packing) as u64
    }

    /// Packs weights, whose zero points are one or one an output.
    fn pack(&self, weights: &Tensor, zero: &Tensor) -> TractResult<Packed> {
        let (bytes, signed) = bytes(weights)?;
        let zeros = zeros(zero)?;
        let n = self.sums.outputs();
        ensure!(zeros.len() == 1 || zeros.len() == n, "{} zero points for {n} outputs", zeros.len());
        let mut numbers = vec![0i16; bytes.len()];
        // One zero point goes by vectors.
        let one = if let [one] = zeros[..] { Some(one) } else { None };
        Bytes::new(bytes, signed, one.unwrap_or(0)).widen(&mut numbers);
        let less = |numbers: &mut [i16], along: usize| {
            if one.is_none() {
                for (row, numbers) in numbers.chunks_mut(along).enumerate() {
                    numbers.iter_mut().for_each(|number| *number -= zeros[row % n]);
                }
            }
        };
        match &self.sums {
            Sums::Product { k, n, turned, matrices, .. } => {
                ensure!(numbers.len() == matrices * k * n, "weights of another size");
                less(&mut numbers, if *turned { *k } else { 1 });
                let apart = if *turned { [1, *k] } else { [*n, 1] };
                let all = numbers.chunks_exact(k * n).map(|w| ExactWeights::columns_of([*k, *n], w, apart));
                Ok(Packed::Product(all.collect()))
            }
            Sums::Conv { window, channels, outputs, groups, .. } => {
                let k = channels * window.places();
                ensure!(numbers.len() == k * outputs, "weights of another size");
                less(&mut numbers, k);
                Ok(Packed::Conv(ExactConv::new(*window, *channels, *outputs, *groups, &numbers)))
            }
        }
    }

    /// The sums of `x`, which every product and every convolution writes to its part of.
    fn run(&self, packed: &Packed, x: Bytes<'_>, out: &mut [MaybeUninit<i32>]) -> TractResult<()> {
        match (&self.sums, packed) {
            (Sums::Product { rows, k, n, batches, .. }, Packed::Product(all)) => {
                ensure!(out.len() == batches.len() * rows * n, "as many outputs");
                for ([from, matrix], out) in batches.iter().zip(out.chunks_exact_mut(rows * n)) {
                    let (from, size) = (from * rows * k, rows * k);
                    let weights = all.get(*matrix).context("a matrix is missing")?;
                    ensure!(x.len() >= from + size, "numbers are missing");
                    weights.under(x.part(from..from + size), *rows, out);
                }
            }
            (Sums::Conv { images, .. }, Packed::Conv(conv)) => {
                let (read, written) = (x.len() / images, out.len() / images);
                ensure!(read * images == x.len() && written * images == out.len(), "images of another size");
                for (image, out) in out.chunks_exact_mut(written).enumerate() {
                    conv.run(x.part(image * read..(image + 1) * read), out);
                }
            }
            _ => bail!("weights of another kind"),
        }
        Ok(())
    }

    /// How many sums there are that lie side by side: of one output each, or one of each output.
    fn line(&self) -> (usize, bool) {
        match &self.sums {
            Sums::Product { n, .. } => (*n, true),
            Sums::Conv { window, .. } => (window.pixels(), false),
        }
    }
}

/// A tensor of what a vector holds.
fn tensor<T: Datum>(shape: &[usize], numbers: Vec<T>) -> TractResult<Tensor> {
    Ok(tract_ndarray::ArrayD::from_shape_vec(shape, numbers)?.into_tensor())
}

/// Some of factors: one that is for all, those of a row, or that of an output.
fn along<T>(all: &[T], row: usize, side_by_side: bool) -> &[T] {
    if all.len() == 1 || side_by_side { all } else { std::slice::from_ref(&all[row % all.len()]) }
}

impl EvalOp for Exact {
    /// Constants of a graph are folded before: what is left has other operands.
    fn eval_out_of_plan(&self, _: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(None)
    }

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec!(self.run_whole(&inputs)?.into_tvalue()))
    }
}

impl Exact {
    /// Computes all of it.
    #[allow(unsafe_code, reason = "zeros cost an instruction a byte, and every product writes every output")]
    fn run_whole(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        ensure!(inputs.len() >= self.operands(), "operands are missing");
        let made;
        let packed = match &self.packed {
            Some(packed) => packed,
            None => {
                made = self.pack(&inputs[2], &inputs[3])?;
                &made
            }
        };
        let (x, signed) = bytes(&inputs[0])?;
        let n: usize = self.output.iter().product();
        let mut sums: Vec<i32> = Vec::with_capacity(n);
        self.run(packed, Bytes::new(x, signed, zero(&inputs[1])?), &mut sums.spare_capacity_mut()[..n])?;
        // SAFETY: products are as many as rows of outputs and write them all, and so do convolutions (`run`).
        unsafe { sums.set_len(n) };
        let rest = &inputs[self.operands()..];
        let rest = |ix: usize| rest.get(ix).context("an operand of the ending is missing");
        let (line, side_by_side) = self.line();
        let outputs = self.sums.outputs();
        let made = match self.ending {
            Ending::Sums => tensor(&self.output, sums)?,
            Ending::Real { added } => {
                let mut factor = each::<f32>(rest(0)?, outputs)?;
                let mut more = if added { each::<f32>(rest(1)?, outputs)? } else { vec![0.0] };
                if added {
                    alike(&mut factor, &mut more);
                }
                let mut out = output(&self.output)?;
                let mut plain = out.try_as_plain_ram_mut()?;
                let lines = plain.as_slice_mut::<f32>()?.chunks_exact_mut(line);
                for (row, (sums, out)) in sums.chunks_exact(line).zip(lines).enumerate() {
                    let more = added.then(|| along(&more, row, side_by_side));
                    real(sums, along(&factor, row, side_by_side), more, out);
                }
                out
            }
            Ending::Bytes { signed, added } => {
                let mut factor = each::<f32>(rest(0)?, outputs)?;
                let to = [i16::from(signed), zero(rest(1)?)?];
                let mut more = if added { each::<i32>(rest(2)?, outputs)? } else { vec![0] };
                alike(&mut factor, &mut more);
                let mut out = Tensor::zero_dt(self.dt(), &self.output)?;
                let lines = out.as_bytes_mut().chunks_exact_mut(line);
                for (row, (sums, out)) in sums.chunks_exact(line).zip(lines).enumerate() {
                    let factor = along(&factor, row, side_by_side);
                    requantise(sums, along(&more, row, side_by_side), factor, to, out);
                }
                out
            }
        };
        Ok(made)
    }
}

impl TypedOp for Exact {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.dt().fact(&self.output)))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(i32::datum_type()), (self.sums.macs() as i64).to_dim())))
    }

    as_op!();
}

/// Packs the weights that are constants.
pub(crate) fn pack(model: &mut TypedModel) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        let node = model.node(id);
        let Some(op) = node.op_as::<Exact>().filter(|op| op.packed.is_none()) else { continue };
        let constant = |ix: usize| -> TractResult<Option<Arc<Tensor>>> {
            Ok(model.outlet_fact(node.inputs[ix])?.konst.clone())
        };
        let (Some(weights), Some(zero)) = (constant(2)?, constant(3)?) else { continue };
        let packed = Some(Arc::new(op.pack(&weights, &zero)?));
        let op = Exact { packed, ..op.clone() };
        let inputs = node.inputs[..2].iter().chain(&node.inputs[4..]).copied().collect();
        replace(model, id, Box::new(op), inputs);
    }
    Ok(())
}
