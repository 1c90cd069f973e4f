//! Operators of our own: what tract lacks, and what it gets wrong.
//!
//! One file a family; each operator is a [`lowered::Wire`] that builds on tract's operators or on a
//! [`kernel::Kernel`]. Nothing here may panic on what a model or a caller says: ranks and ranges are checked while
//! wiring, indices while running.

mod attention;
mod contrib;
mod control;
mod cutting;
mod equal;
mod filled;
mod gemm;
mod integer;
mod kernel;
pub(crate) mod kernels;
mod linear;
mod logsumexp;
mod lowered;
mod math;
mod ml;
mod moves;
mod nonzero;
mod quant;
mod recurrent;
mod reduce;
mod spatial;
mod stepwise;
mod suppress;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use tract_onnx::Onnx;
use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::TractResult;

use contrib::CONTRIB;
pub(crate) use cutting::{rows, shorter, ways};
pub(crate) use kernel::{Fault, Kernel, strides};
pub(crate) use lowered::Refusal;
use lowered::{Lowered, Wire};
pub(crate) use ml::image as tables;
pub(crate) use nonzero::Finding;
pub(crate) use stepwise::Stepwise;
pub(crate) use suppress::Suppressing;

/// The operators of ONNX's own domain that are made here, by name.
const OWN: &[(&str, Wire)] = &[
    ("AffineGrid", spatial::affine_grid),
    ("Attention", attention::attention),
    ("AveragePool", spatial::pool),
    ("BatchNormalization", math::batch_normalization),
    ("BitCast", math::bit_cast),
    ("BitShift", math::bit_shift),
    ("CausalConvWithState", linear::causal_conv),
    ("Celu", math::celu),
    ("CenterCropPad", moves::center_crop_pad),
    ("Col2Im", spatial::col2im),
    ("Compress", moves::compress),
    ("Conv", math::half_in_single),
    ("ConvInteger", integer::integer),
    ("ConvTranspose", spatial::conv_transpose),
    ("CumProd", math::cum_prod),
    ("DFT", math::dft),
    ("DeformConv", spatial::deform_conv),
    ("DequantizeLinear", quant::dequantize),
    ("Det", math::det),
    ("Div", math::div),
    ("DynamicQuantizeLinear", quant::quantize_dynamically),
    ("Dropout", math::dropout),
    ("GRU", recurrent::recurrent),
    ("Gemm", math::half_in_single),
    ("GlobalAveragePool", spatial::pool),
    ("GlobalLpPool", spatial::pool),
    ("GlobalMaxPool", spatial::pool),
    ("LSTM", recurrent::recurrent),
    ("LayerNormalization", math::normalize),
    ("LinearAttention", linear::linear_attention),
    ("LogSoftmax", math::log_softmax),
    ("LpPool", spatial::lp_pool),
    ("MatMul", math::matmul),
    ("MatMulInteger", integer::integer),
    ("MaxPool", spatial::pool),
    ("MaxUnpool", spatial::max_unpool),
    ("NonMaxSuppression", suppress::non_max_suppression),
    ("OneHot", moves::one_hot),
    ("OptionalGetElement", moves::get_element),
    ("OptionalHasElement", moves::has_element),
    ("PRelu", math::prelu),
    ("Pad", moves::pad),
    ("Pow", math::pow),
    ("QLinearConv", integer::linear),
    ("QLinearMatMul", integer::linear),
    ("QuantizeLinear", quant::quantize),
    ("RMSNormalization", math::normalize),
    ("RNN", recurrent::recurrent),
    ("Range", moves::range),
    ("ReduceMax", reduce::extreme),
    ("ReduceMin", reduce::extreme),
    ("ReverseSequence", moves::reverse_sequence),
    ("RoiAlign", spatial::roi_align),
    ("ScatterND", moves::by_coordinates),
    ("Shrink", math::shrink),
    ("Softmax", math::softmax),
    ("SpaceToDepth", moves::space_to_depth),
    ("SwiGLU", math::swiglu),
    ("Swish", math::swish),
    ("TensorScatter", linear::tensor_scatter),
    ("Upsample", spatial::upsample),
];

/// Operators that broadcast by their attribute `axis` before operator set 7.
const BROADCAST_BY_AXIS: &[&str] =
    &["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"];

/// What `pairs` writes in the place of a product, and of a convolution, between pairs. No file may name them.
pub(crate) const PAIRED_PRODUCT: &str = "ic_nn.Product";
pub(crate) const PAIRED_CONV: &str = "ic_nn.Conv";

/// tract's own reader of ONNX, with the operators in the place of which ours stand as tract's would.
fn stock() -> &'static Onnx {
    static STOCK: OnceLock<Onnx> = OnceLock::new();
    STOCK.get_or_init(|| {
        let mut onnx = tract_onnx::onnx();
        equal::register(&mut onnx.op_register);
        gemm::register(&mut onnx.op_register);
        logsumexp::register(&mut onnx.op_register);
        ml::register(&mut onnx.op_register);
        nonzero::register(&mut onnx.op_register);
        onnx
    })
}

/// The register of all operators: tract's, with our own in front.
pub(crate) fn register() -> OnnxOpRegister {
    let mut register = stock().op_register.clone();
    for (name, _) in OWN {
        register.insert(name, lower);
    }
    for (name, _) in CONTRIB {
        register.insert(name, lower_contrib);
    }
    register.insert("Cast", lower_cast);
    register.insert("ConstantOfShape", filled::filled);
    for (name, _) in CONTROL {
        register.insert(name, lower_control);
    }
    for name in BROADCAST_BY_AXIS {
        register.insert(name, lower_binary);
    }
    register
}

/// [`register`] with what is no operator of a file.
pub(crate) fn register_of_decoded() -> OnnxOpRegister {
    let mut register = register();
    for name in [PAIRED_PRODUCT, PAIRED_CONV] {
        register.insert(name, |ctx, node| Ok((Lowered::of(ctx, node, integer::linear), vec![])));
    }
    register
}

fn lower_cast(
    ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let bfloat = DataType::Bfloat16 as i64;
    match stock().op_register.0.get("Cast") {
        Some(builder) if !node.attribute.iter().any(|a| a.name == "to" && a.i == bfloat) => {
            builder(ctx, node)
        }
        _ => Ok((Lowered::of(ctx, node, math::to_bfloat), vec![])),
    }
}

fn lower_binary(
    ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    if ctx.onnx_operator_set_version < 7 && node.attribute.iter().any(|a| a.name == "axis") {
        return Ok((Lowered::of(ctx, node, math::broadcast_by_axis), vec![]));
    }
    match stock().op_register.0.get(&node.op_type).filter(|_| !is_own(&node.op_type)) {
        Some(builder) => builder(ctx, node),
        None => lower(ctx, node),
    }
}

/// Operators with graphs inside.
const CONTROL: &[(&str, Wire)] =
    &[("If", control::branch), ("Loop", control::repeat), ("Scan", control::scan)];

fn lower_control(
    ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let untyped = |a: &AttributeProto| a.g.iter().any(|g| g.input.iter().any(|i| i.r#type.is_none()));
    if node.op_type == "Scan" && ctx.onnx_operator_set_version < 9 {
        let place = format!("node `{}` (Scan)", node.name);
        return Err(
            Refusal { place, reason: "that of operator set 8; export it with a later one".into() }.into()
        );
    }
    if node.op_type == "Scan"
        && !node.attribute.iter().any(untyped)
        && let Some(builder) = stock().op_register.0.get("Scan")
    {
        return builder(ctx, node);
    }
    match CONTROL.iter().find(|(name, _)| *name == node.op_type) {
        Some((_, wire)) => control::lower(ctx, node, *wire),
        None => lower(ctx, node),
    }
}

fn lower_contrib(
    ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    match CONTRIB.iter().find(|(name, _)| *name == node.op_type) {
        Some((_, wire)) => Ok((Lowered::of(ctx, node, *wire), vec![])),
        None => lower(ctx, node),
    }
}

/// Whether `com.microsoft`'s operator of this name is made here. ONNX has none of these names.
pub(crate) fn is_contrib(name: &str) -> bool {
    CONTRIB.iter().any(|(own, _)| *own == name)
}

/// Whether ONNX's operator of this name is made here.
pub(crate) fn is_own(name: &str) -> bool {
    OWN.iter().chain(CONTROL).any(|(own, _)| *own == name)
}

fn lower(ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    // Before opset 11 what is padded is said by attributes, and tract's reader is all there is to it.
    if node.op_type == "Pad"
        && ctx.onnx_operator_set_version < 11
        && let Some(builder) = stock().op_register.0.get(&node.op_type)
    {
        return builder(ctx, node);
    }
    match OWN.iter().find(|(name, _)| *name == node.op_type) {
        Some((_, wire)) => Ok((Lowered::of(ctx, node, *wire), vec![])),
        None => {
            let place = format!("node `{}` ({})", node.name, node.op_type);
            Err(Refusal { place, reason: "it is not offered".into() }.into())
        }
    }
}
