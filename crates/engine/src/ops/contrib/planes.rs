//! Means over the pixels of images of bytes: QLinearAveragePool and QLinearGlobalAveragePool.

use ic_nn_kernels::{Bytes, requantise, sum_lines, sum_rows};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::super::kernel::{Kernel, f32s};
use super::super::lowered::Wirer;
use super::super::spatial::hold_pool;
use super::bytes::{byte, output, real, side};

/// QLinearAveragePool: in reals, as onnxruntime computes it.
pub(super) fn average(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = side(w, 0)?;
    let to = output(w, 3, x.x)?;
    if w.int("channels_last", 0) != 0 {
        return w.refuse("channels_last 1; images whose channels come first are served");
    }
    hold_pool(w)?;
    let x = real(w, x)?;
    let mut node = NodeProto { op_type: "AveragePool".into(), ..w.node.clone() };
    node.domain.clear();
    node.input.truncate(1);
    node.attribute.retain(|a| a.name != "channels_last");
    let y = w.stock(&node, &[x])?;
    Ok(tvec![byte(w, y[0], to)?])
}

/// QLinearGlobalAveragePool: a whole sum, then one factor.
pub(super) fn global_average(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let x = side(w, 0)?;
    let [scale, zero] = output(w, 3, x.x)?;
    let mut shape = w.shape(x.x)?;
    let last = w.int("channels_last", 0) != 0;
    let rank = shape.len();
    if rank < 3 || shape.contains(&0) {
        return w.refuse(format!("an image of {shape:?}"));
    }
    let pixels = if last { 1..rank - 1 } else { 2..rank };
    let all = shape[pixels.clone()].iter().product::<usize>();
    // A sum of so many bytes fits 31 bits.
    if all > 1 << 22 {
        return w.refuse(format!("a mean of {all} pixels"));
    }
    shape[pixels].fill(1);
    let scratch = 12 * shape.iter().product::<usize>();
    let kernel = Kernel::new("QLinearGlobalAveragePool", tvec![w.dt(x.x)?.fact(shape)], run_averaged);
    let kernel = kernel.ints([i64::from(last), all as i64]).scratch(scratch);
    w.kernel(kernel, &[x.x, x.scale, x.zero, scale, zero])
}

pub(in super::super) fn run_averaged(k: &Kernel, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
    ensure!(inputs.len() == 5, "five operands are expected");
    let scale = |ix: usize| -> TractResult<f32> {
        f32s(&inputs[ix])?.first().copied().context("a scale is expected")
    };
    let zero = |ix: usize| -> TractResult<i16> {
        super::super::kernel::i64s(&inputs[ix])?
            .first()
            .map(|zero| *zero as i16)
            .context("a zero point is expected")
    };
    let pixels = usize::try_from(k.int(1))?;
    let x = &inputs[0];
    let mut y = Tensor::zero_dt(k.outputs[0].datum_type, &k.shape(0)?)?;
    ensure!(
        x.is_plain_ram() && (1..=1 << 22).contains(&pixels) && x.len() == y.len() * pixels,
        "pixels are missing"
    );
    let bytes = Bytes::new(x.as_bytes(), x.datum_type() == DatumType::I8, zero(2)?);
    let mut sums = vec![0i32; y.len()];
    if k.int(0) == 0 {
        sum_lines(bytes, pixels, &mut sums);
    } else {
        let channels = x.shape().last().copied().unwrap_or(1).max(1);
        for (ix, sums) in sums.chunks_exact_mut(channels).enumerate() {
            sum_rows(bytes.part(ix * pixels * channels..(ix + 1) * pixels * channels), sums);
        }
    }
    let factor = scale(1)? / (scale(3)? * pixels as f32);
    let to = [i16::from(k.outputs[0].datum_type == DatumType::I8), zero(4)?];
    requantise(&sums, &[0], &[factor], to, y.as_bytes_mut());
    Ok(vec![y])
}
