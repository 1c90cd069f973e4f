//! Every kernel by its name: how an image says which one a node is.

use super::kernel::{Kernel, Run};
use super::{attention, contrib, linear, math, moves, quant, recurrent, reduce, spatial};

/// Names and functions. A name is in images, so it is never given to another function.
const KERNELS: [(&str, Run); 28] = [
    ("ReverseSequence", moves::run_reverse_sequence),
    ("window", moves::run_window),
    ("OneHot", moves::run_one_hot),
    ("extreme", reduce::run),
    ("AffineGrid", spatial::run_affine_grid),
    ("Col2Im", spatial::run_col2im),
    ("MaxUnpool", spatial::run_max_unpool),
    ("RoiAlign", spatial::run_roi_align),
    ("DeformConv", spatial::run_deform_conv),
    ("LinearAttention", linear::run_linear_attention),
    ("CausalConvWithState", linear::run_causal_conv),
    ("TensorScatter", linear::run_tensor_scatter),
    ("Attention", attention::run),
    ("QuantizeLinear", quant::run_quantize),
    ("DequantizeLinear", quant::run_dequantize),
    ("DynamicQuantizeLinear", quant::run_quantize_dynamically),
    ("recurrent", recurrent::run),
    ("Div", math::run_div),
    ("Pow", math::run_pow),
    ("Cast", math::run_to_bfloat),
    ("BitShift", math::run_bit_shift),
    ("BitCast", math::run_bit_cast),
    ("CumProd", math::run_cum_prod),
    ("Det", math::run_det),
    ("QLinearAdd", contrib::run_added),
    ("QLinearMul", contrib::run_multiplied),
    ("table", contrib::run_mapped),
    ("QLinearGlobalAveragePool", contrib::run_averaged),
];

/// The kernel of that name.
pub(crate) fn named(name: &str) -> Option<(&'static str, Run)> {
    KERNELS.into_iter().find(|(known, _)| *known == name)
}

/// Whether it is among those that have a name here.
pub(crate) fn is_named(kernel: &Kernel) -> bool {
    named(kernel.name).is_some_and(|(_, run)| std::ptr::fn_addr_eq(run, kernel.run))
}
