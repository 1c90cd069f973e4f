//! What onnxruntime's optimiser fuses, taken apart again: products with transposes and a factor, convolutions with what follows.

use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};
use tract_onnx::tract_core::ops::math::{Add, Max, Min, Mul, tanh};
use tract_onnx::tract_core::ops::nn::sigmoid;
use tract_onnx::tract_hir::internal::*;

use super::super::lowered::Wirer;

/// FusedMatMul.
pub(super) fn matmul(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    if w.int("transBatchA", 0) != 0 || w.int("transBatchB", 0) != 0 {
        return w.refuse("axes of batches that are moved; transA and transB are served");
    }
    let mut given = tvec!();
    for (ix, name) in [(0, "transA"), (1, "transB")] {
        let x = w.need(ix)?;
        let rank = w.fact(x)?.rank();
        given.push(if w.int(name, 0) != 0 && rank > 1 {
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.swap(rank - 1, rank - 2);
            w.transpose(x, &axes)?
        } else {
            x
        });
    }
    let node =
        NodeProto { attribute: vec![], op_type: "MatMul".into(), domain: String::new(), ..w.node.clone() };
    let y = w.stock(&node, &given)?[0];
    let alpha = w.real("alpha", 1.0);
    Ok(tvec![if alpha == 1.0 { y } else { w.by(Mul, y, f64::from(alpha))? }])
}

/// FusedConv: a convolution, what is added to it, and an activation.
pub(super) fn conv(w: &mut Wirer<'_>) -> TractResult<TVec<OutletId>> {
    let (added, mut given) = (w.input(3), tvec![w.need(0)?, w.need(1)?]);
    given.extend(w.input(2));
    let mut node = NodeProto { op_type: "Conv".into(), domain: String::new(), ..w.node.clone() };
    node.input.truncate(given.len());
    node.attribute.retain(|a| !a.name.starts_with("activation"));
    let mut y = w.stock(&node, &given)?[0];
    if let Some(added) = added {
        y = w.binary(Add, y, added)?;
    }
    let parameters = w.reals("activation_params");
    let parameter = |ix: usize, default: f32| f64::from(parameters.get(ix).copied().unwrap_or(default));
    let y = match w.text("activation", "").as_str() {
        "" => y,
        "Relu" => w.by(Max, y, 0.0)?,
        "Tanh" => w.each(tanh(), y)?,
        "Sigmoid" => w.each(sigmoid(), y)?,
        "LeakyRelu" => {
            let f = parameter(0, 0.01) as f32;
            let r#type = AttributeType::Float as i32;
            let alpha = AttributeProto { name: "alpha".into(), r#type, f, ..Default::default() };
            let node = NodeProto { op_type: "LeakyRelu".into(), attribute: vec![alpha], ..node };
            w.stock(&node, &[y])?[0]
        }
        "Clip" => {
            let y = w.by(Max, y, parameter(0, f32::MIN))?;
            w.by(Min, y, parameter(1, f32::MAX))?
        }
        "HardSigmoid" => {
            let y = w.by(Mul, y, parameter(0, 0.2))?;
            let y = w.by(Add, y, parameter(1, 0.5))?;
            let y = w.by(Max, y, 0.0)?;
            w.by(Min, y, 1.0)?
        }
        other => return w.refuse(format!("activation {other}")),
    };
    Ok(tvec![y])
}
