//! Which operators are served: what tract registers, less those that need randomness, with those of [`crate::ops`] beside them or
//! in their place.

use std::collections::BTreeSet;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;

/// Oldest ONNX operator set that is accepted.
pub const MIN_OPSET: i64 = 1;
/// Newest ONNX operator set that is accepted: that of the backend cases the operators are held to.
pub const MAX_OPSET: i64 = 28;

/// Operators that draw random numbers. A canister has to give the same answer on every node, and the
/// engine has no source of randomness, so they are refused whatever their seed.
const RANDOM: [&str; 6] =
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

/// Domains whose operators tract's register holds. tract itself does not look at the domain, so another one's
/// operator of the same name would be taken for ONNX's.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", MICROSOFT];

/// onnxruntime's own.
const MICROSOFT: &str = "com.microsoft";

/// Operators of ONNX's own that another domain has under the same name and with the same meaning.
const SHARED: [&str; 2] = ["DequantizeLinear", "QuantizeLinear"];

/// The operators of this engine, by name.
pub(crate) struct Operators(OnnxOpRegister);

impl Operators {
    pub(crate) fn new() -> Self {
        Operators(crate::ops::register())
    }

    pub(crate) fn supports(&self, node: &NodeProto) -> bool {
        let name = node.op_type.as_str();
        DOMAINS.contains(&node.domain.as_str())
            && !RANDOM.contains(&name)
            && self.0.0.contains_key(name)
            && match crate::ops::is_contrib(name) {
                true => node.domain == MICROSOFT,
                false => is_onnx(&node.domain) || SHARED.contains(&name) || !crate::ops::is_own(name),
            }
    }
}

/// Whether a domain is ONNX's own.
pub(crate) fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// How an operator is named to people: with its domain in front where that is not ONNX's own.
pub(crate) fn display_name(node: &NodeProto) -> String {
    if is_onnx(&node.domain) { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) }
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
    crate::ops::register().0.into_keys().filter(|op| !RANDOM.contains(&op.as_str())).collect()
}
