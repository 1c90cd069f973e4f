//! Products of weights quantised by blocks as an operator of a typed graph: MatMulNBits of `com.microsoft`.
//!
//! Weights, scales and zero points are constants, which the operator holds packed as small as they are ([`pack`]); it is wired
//! by [`crate::ops`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ic_nn_kernels::image::{Broken, Imaged, Reader, Writer};
use ic_nn_kernels::{BlockWeights, Blocks};
use tract_onnx::tract_core::internal::*;

use crate::lower::{output, replace};
use crate::parted::{Parted, one};

/// The operator. Inputs are the numbers, f32; where they are not packed also weights, scales, zero points if there are any, and a
/// bias if there is one.
#[derive(Clone)]
pub(crate) struct Blockwise {
    /// How weights lie.
    pub(crate) blocks: Blocks,
    /// Rows of the product.
    pub(crate) rows: usize,
    /// Whether there are zero points.
    pub(crate) zeros: bool,
    /// Whether there is a bias.
    pub(crate) bias: bool,
    /// The weights.
    pub(crate) packed: Option<Arc<BlockWeights>>,
    /// Shape of the output.
    pub(crate) output: TVec<usize>,
}

impl PartialEq for Blockwise {
    fn eq(&self, other: &Blockwise) -> bool {
        let packed = match (&self.packed, &other.packed) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        packed && self.blocks == other.blocks && self.output == other.output
    }
}

impl Eq for Blockwise {}

impl fmt::Debug for Blockwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.name(), self.output, self.blocks)
    }
}

impl Op for Blockwise {
    fn name(&self) -> StaticName {
        match self.blocks.bits {
            8 => "Product by blocks, 8 bits".into(),
            _ => "Product by blocks, 4 bits".into(),
        }
    }

    op_as_typed_op!();
}

/// The values of a tensor as `f32`.
fn reals(tensor: &Tensor) -> TractResult<Vec<f32>> {
    let tensor = tensor.cast_to::<f32>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

impl Blockwise {
    /// Inputs that it has.
    pub(crate) fn inputs(&self) -> usize {
        if self.packed.is_some() { 1 } else { 3 + usize::from(self.zeros) + usize::from(self.bias) }
    }

    /// Bytes that a run takes beside inputs and outputs.
    pub(crate) fn scratch(&self) -> u64 {
        let Blocks { block, k, outputs, .. } = self.blocks;
        let packing = if self.packed.is_some() { 0 } else { 2 * outputs as u64 * k as u64 };
        let units = self.blocks.count() as u64 * block.max(32) as u64;
        self.rows as u64 * (3 * units + 64) + packing
    }

    /// Packs weights, scales, and what else there is.
    fn pack(&self, constants: &[&Tensor]) -> TractResult<BlockWeights> {
        ensure!(constants.len() + 1 == self.inputs(), "constants are missing");
        let (weights, scales) = (constants[0], reals(constants[1])?);
        ensure!(weights.is_plain_ram(), "a tensor of plain numbers is expected");
        let (n, count) = (self.blocks.outputs, self.blocks.count());
        ensure!(weights.as_bytes().len() == n * self.blocks.column_bytes(), "weights of another size");
        ensure!(scales.len() == n * count, "{} scales, {} are expected", scales.len(), n * count);
        let zeros = if self.zeros { Some(self.zeros(constants[2])?) } else { None };
        let bias = if self.bias { Some(reals(constants[constants.len() - 1])?) } else { None };
        ensure!(bias.as_ref().is_none_or(|b| b.len() == n), "a bias of another length");
        let weights = weights.as_bytes();
        Ok(BlockWeights::new(self.blocks, weights, &scales, zeros.as_deref(), bias.as_deref()))
    }

    /// One zero point a block: reals as they are; whole ones are packed as weights are, each column begins at a byte.
    fn zeros(&self, given: &Tensor) -> TractResult<Vec<f32>> {
        let Blocks { bits, outputs, .. } = self.blocks;
        let count = self.blocks.count();
        let zeros = if given.datum_type() == u8::datum_type() {
            let bytes = (count * bits).div_ceil(8);
            let packed = given.try_as_plain_ram()?;
            let packed = packed.as_slice::<u8>()?;
            ensure!(packed.len() == outputs * bytes, "zero points of another size");
            let one = |column: &[u8], block: usize| {
                let bit = block * bits;
                f32::from(((u16::from(column[bit / 8]) >> (bit % 8)) & ((1 << bits) - 1)) as u8)
            };
            packed.chunks_exact(bytes).flat_map(|c| (0..count).map(move |block| one(c, block))).collect()
        } else {
            reals(given)?
        };
        ensure!(zeros.len() == outputs * count, "{} zero points for {outputs} times {count}", zeros.len());
        Ok(zeros)
    }

    /// What a run takes: fixed by shapes alone.
    pub(crate) fn instructions(&self) -> u64 {
        /// A number of weights that is packed in a run.
        const PACKED: u64 = 10;
        match &self.packed {
            Some(packed) => packed.instructions(self.rows),
            None => (self.blocks.outputs * self.blocks.k) as u64 * (PACKED + self.rows as u64),
        }
    }
}

impl EvalOp for Blockwise {
    /// Constants of a graph are folded before.
    fn eval_out_of_plan(&self, _: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(None)
    }

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        ensure!(inputs.len() == self.inputs(), "operands are missing");
        let made;
        let packed = match &self.packed {
            Some(packed) => packed.as_ref(),
            None => {
                made = self.pack(&inputs[1..].iter().map(|t| &**t).collect::<Vec<_>>())?;
                &made
            }
        };
        let mut out = output(&self.output)?;
        self.rows_of(packed, &inputs[0], &mut out, 0..self.rows)?;
        Ok(tvec!(out.into_tvalue()))
    }
}

/// Rows of a unit: tiles are filled.
const UNIT: usize = 8;

impl Blockwise {
    /// Computes these rows of the output.
    fn rows_of(
        &self,
        packed: &BlockWeights,
        x: &Tensor,
        out: &mut Tensor,
        rows: Range<usize>,
    ) -> TractResult<()> {
        let x = x.try_as_plain_ram()?;
        let x = x.as_slice::<f32>()?;
        let mut plain = out.try_as_plain_ram_mut()?;
        let to = plain.as_slice_mut::<f32>()?;
        let Blocks { k, outputs, .. } = self.blocks;
        let fits = x.len() == self.rows * k && to.len() == self.rows * outputs && rows.end <= self.rows;
        ensure!(fits, "rows of {k} numbers are expected");
        packed.under(
            &x[rows.start * k..rows.end * k],
            rows.len(),
            &mut to[rows.start * outputs..rows.end * outputs],
        );
        Ok(())
    }
}

impl Parted for Blockwise {
    /// Blocks of rows, where weights are packed.
    fn units(&self) -> usize {
        if self.packed.is_some() { self.rows.div_ceil(UNIT) } else { 1 }
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        Ok(tvec!(output(&self.output)?))
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        let out = one(out)?;
        let rows = units.start * UNIT..(units.end * UNIT).min(self.rows);
        match (&self.packed, inputs) {
            (Some(packed), [x]) => self.rows_of(packed, x, out, rows),
            _ => bail!("operands of packed weights are expected"),
        }
    }
}

impl TypedOp for Blockwise {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.output)))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let macs = self.rows as u64 * self.blocks.k as u64 * self.blocks.outputs as u64;
        Ok(tvec!((Cost::FMA(f32::datum_type()), (macs as i64).to_dim())))
    }

    as_op!();
}

/// Packs the weights.
pub(crate) fn pack(model: &mut TypedModel) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        let node = model.node(id);
        let Some(op) = node.op_as::<Blockwise>().filter(|op| op.packed.is_none()) else { continue };
        let constants: Option<Vec<Arc<Tensor>>> = node.inputs[1..]
            .iter()
            .map(|input| Ok(model.outlet_fact(*input)?.konst.clone()))
            .collect::<TractResult<_>>()?;
        let Some(constants) = constants else { continue };
        let packed = op.pack(&constants.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        let op = Blockwise { packed: Some(Arc::new(packed)), ..op.clone() };
        let inputs = vec![node.inputs[0]];
        replace(model, id, Box::new(op), inputs);
    }
    Ok(())
}

impl Blockwise {
    /// Writes it; none where its weights are not packed.
    pub(crate) fn write<'a>(&'a self, to: &mut Writer<'a>) -> Option<()> {
        self.packed.as_ref()?.write(to);
        to.size(self.rows);
        to.sizes(&self.output);
        Some(())
    }

    /// Reads what was written.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Blockwise, Broken> {
        let packed = BlockWeights::read(from)?;
        let (rows, output): (usize, TVec<usize>) = (from.size()?, from.sizes()?.into());
        let blocks = *packed.blocks();
        let numbers = output.iter().try_fold(1usize, |all, length| all.checked_mul(*length));
        let fits = |by: usize| rows.checked_mul(by).filter(|n| (1..1 << 29).contains(n));
        if numbers.is_none() || fits(blocks.outputs) != numbers || fits(blocks.k).is_none() {
            return Err(Broken("a product by blocks has another output"));
        }
        Ok(Blockwise { blocks, rows, zeros: false, bias: false, packed: Some(Arc::new(packed)), output })
    }
}
