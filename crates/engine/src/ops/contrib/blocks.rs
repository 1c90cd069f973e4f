//! MatMulNBits: weights of a few bits by blocks.

use ic_nn_kernels::Blocks;
use tract_onnx::tract_hir::internal::*;

use super::super::kernel::volume;
use super::super::lowered::Wirer;
use crate::blockwise::Blockwise;

/// The longest a side that is looked at: bits of a column fit 32 bits.
const LONGEST: usize = 1 << 26;

/// A positive attribute.
fn length(w: &Wirer<'_>, name: &str) -> TractResult<usize> {
    match usize::try_from(w.int(name, 0)) {
        Ok(length) if (1..LONGEST).contains(&length) => Ok(length),
        _ => w.refuse(format!("`{name}` {}", w.int(name, 0))),
    }
}

/// MatMulNBits. How exactly activations are counted (`accuracy_level`) is this engine's to choose: by 16 bits.
pub(super) fn matmul(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (a, b, scales) = (w.need(0)?, w.need(1)?, w.need(2)?);
    let (zeros, g_idx, bias) = (w.input(3), w.input(4), w.input(5));
    let (k, outputs) = (length(w, "K")?, length(w, "N")?);
    let bits = usize::try_from(w.int("bits", 4)).unwrap_or(0);
    let blocks = Blocks { bits, block: length(w, "block_size")?, k, outputs };
    if !blocks.is_served() {
        return w.refuse(format!(
            "{} bits in blocks of {}; 2, 4 or 8 in blocks of a power of two from 16 to K are served",
            w.int("bits", 4),
            blocks.block
        ));
    }
    let dt = w.dt(a)?;
    let shape = w.shape(a)?;
    if !matches!(dt, DatumType::F32 | DatumType::F16) || shape.last() != Some(&k) {
        return w.refuse(format!("A of {dt:?} {shape:?} where K is {k}"));
    }
    let weights = w.constant(b, "B")?;
    let columns = outputs.checked_mul(blocks.column_bytes());
    if weights.datum_type() != u8::datum_type() || Some(weights.len()) != columns {
        return w.refuse(format!(
            "B of {:?} {:?} for {blocks:?}; uint8 [N, {}, {}] is expected",
            weights.datum_type(),
            weights.shape(),
            blocks.count(),
            blocks.block * bits / 8
        ));
    }
    let count = outputs * blocks.count();
    let given = w.constant(scales, "scales")?;
    if given.len() != count || !given.datum_type().is_float() {
        return w.refuse(format!(
            "scales of {:?} {:?}, {count} are expected",
            given.datum_type(),
            given.shape()
        ));
    }
    if let Some(zeros) = zeros {
        let given = w.constant(zeros, "zero_points")?;
        let bytes = outputs * (blocks.count() * bits).div_ceil(8);
        let fits = match given.datum_type() {
            DatumType::U8 => given.len() == bytes,
            dt => dt.is_float() && given.len() == count,
        };
        if !fits {
            return w.refuse(format!(
                "zero_points of {:?} {:?}; {bytes} packed bytes or {count} reals are expected",
                given.datum_type(),
                given.shape()
            ));
        }
    }
    if let Some(g_idx) = g_idx {
        let groups = w.integers(g_idx, "g_idx")?;
        if groups.iter().take(k).enumerate().any(|(ix, group)| *group != (ix / blocks.block) as i64) {
            return w.refuse("a g_idx that is not in order; blocks of neighbours are served");
        }
    }
    if let Some(bias) = bias
        && (w.constant(bias, "bias")?.len() != outputs || !w.dt(bias)?.is_float())
    {
        return w.refuse(format!("a bias of {:?}, {outputs} reals are expected", w.shape(bias)?));
    }
    let rows = shape[..shape.len() - 1].iter().product();
    let mut output = shape.clone();
    let last = output.len() - 1;
    output[last] = outputs;
    volume(&output)?;
    if rows == 0 {
        return Ok(tvec![w.konst(Tensor::zero_dt(dt, &output)?)?]);
    }
    let x = w.cast(a, DatumType::F32)?;
    let mut given = tvec![x, b, scales];
    given.extend(zeros);
    given.extend(bias);
    let op = Blockwise { blocks, rows, zeros: zeros.is_some(), bias: bias.is_some(), packed: None, output };
    let y = w.op(op, &given)?;
    Ok(tvec![w.cast(y, dt)?])
}
