//! Which operators are served: what tract registers, less those that need randomness, with those of [`ml`], [`recurrent`],
//! [`gemm`], [`equal`] and [`logsumexp`] beside them or in their place.

use std::collections::BTreeSet;

use tract_onnx::Onnx;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;

use crate::{equal, gemm, logsumexp, ml, recurrent};

/// Oldest ONNX operator set that is accepted.
pub const MIN_OPSET: i64 = 7;
/// Newest ONNX operator set that is accepted: the last whose operators tract's readers were written for.
pub const MAX_OPSET: i64 = 24;

/// Operators that draw random numbers. A canister has to give the same answer on every node, and the
/// engine has no source of randomness, so they are refused whatever their seed.
const RANDOM: [&str; 6] =
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

/// Domains whose operators tract's register holds. tract itself does not look at the domain, so another one's
/// operator of the same name would be taken for ONNX's.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// tract's reader of models with every operator of this engine.
pub(crate) fn reader() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    equal::register(&mut onnx.op_register);
    gemm::register(&mut onnx.op_register);
    logsumexp::register(&mut onnx.op_register);
    ml::register(&mut onnx.op_register);
    recurrent::register(&mut onnx.op_register);
    onnx
}

/// The operators of this engine, by name.
pub(crate) struct Operators(OnnxOpRegister);

impl Operators {
    pub(crate) fn new() -> Self {
        Operators(reader().op_register)
    }

    pub(crate) fn supports(&self, node: &NodeProto) -> bool {
        DOMAINS.contains(&node.domain.as_str())
            && !RANDOM.contains(&node.op_type.as_str())
            && self.0.0.contains_key(&node.op_type)
    }
}

/// How an operator is named to people: with its domain in front where that is not ONNX's own.
pub(crate) fn display_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// Why a refused operator is refused, where there is more to say than that it is not there.
pub(crate) fn refusal(node: &NodeProto) -> String {
    let name = display_name(node);
    if RANDOM.contains(&node.op_type.as_str()) {
        format!("{name} (draws random numbers; pass them as an input)")
    } else if node.op_type == "ZipMap" {
        format!("{name} (makes maps of tensors; convert with zipmap=False)")
    } else {
        name
    }
}

/// Names of all operators that a model may use, sorted.
pub fn supported_operators() -> BTreeSet<String> {
    reader().op_register.0.into_keys().filter(|op| !RANDOM.contains(&op.as_str())).collect()
}
