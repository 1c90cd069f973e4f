//! Operators of `com.microsoft` that onnxruntime's quantisers and optimisers write, by onnxruntime's rules.
//!
//! They are served in that domain alone, whatever else has their names. What an operator's attributes or shapes ask for beyond what is
//! here is refused by name.

mod blocks;
mod bytes;
mod fused;
mod planes;
mod products;

pub(super) use bytes::{run_added, run_mapped, run_multiplied};
pub(super) use planes::run_averaged;

use super::lowered::Wire;

/// The operators, by name.
pub(super) const CONTRIB: &[(&str, Wire)] = &[
    ("DynamicQuantizeMatMul", products::dynamic),
    ("FusedConv", fused::conv),
    ("FusedMatMul", fused::matmul),
    ("MatMulIntegerToFloat", products::to_float),
    ("MatMulNBits", blocks::matmul),
    ("QGemm", products::gemm),
    ("QLinearAdd", bytes::add),
    ("QLinearAveragePool", planes::average),
    ("QLinearConcat", bytes::concat),
    ("QLinearGlobalAveragePool", planes::global_average),
    ("QLinearLeakyRelu", bytes::leaky_relu),
    ("QLinearMul", bytes::multiply),
    ("QLinearSigmoid", bytes::sigmoid),
    ("QLinearSoftmax", bytes::softmax),
];
