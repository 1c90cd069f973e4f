//! `Gemm` of any element type: tract 0.23.9 scales by float32 whatever it multiplies, and so plans no half or double one.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::logic::wire_with_rank_broadcast;

/// Puts this builder in the place of tract's.
pub(crate) fn register(register: &mut OnnxOpRegister) {
    register.insert("Gemm", gemm);
}

/// `alpha * a * b + beta * c`, `a` and `b` transposed where it is said.
#[derive(Clone, Debug)]
struct Gemm {
    alpha: f32,
    beta: f32,
    transposed: (bool, bool),
}

fn gemm(_ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let flag = |name| TractResult::Ok(node.get_attr_opt(name)?.unwrap_or(false));
    let factor = |name| TractResult::Ok(node.get_attr_opt(name)?.unwrap_or(1.0));
    let transposed = (flag("transA")?, flag("transB")?);
    Ok((expand(Gemm { alpha: factor("alpha")?, beta: factor("beta")?, transposed }), vec![]))
}

impl Expansion for Gemm {
    fn name(&self) -> StaticName {
        "Gemm".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(matches!(inputs.len(), 2 | 3), "two or three inputs are expected, {} came", inputs.len());
        check_output_arity(outputs, 1)?;
        for input in inputs {
            s.equals(&input.datum_type, &outputs[0].datum_type)?;
        }
        for matrix in [&inputs[0], &inputs[1], &outputs[0]] {
            s.equals(&matrix.rank, 2)?;
        }
        let (rows, inner) = if self.transposed.0 { (1, 0) } else { (0, 1) };
        let (inner_too, columns) = if self.transposed.1 { (1, 0) } else { (0, 1) };
        s.equals(&inputs[0].shape[rows], &outputs[0].shape[0])?;
        s.equals(&inputs[0].shape[inner], &inputs[1].shape[inner_too])?;
        s.equals(&inputs[1].shape[columns], &outputs[0].shape[1])
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let ty = model.outlet_fact(inputs[0])?.datum_type;
        let scaled = |name: &str, by: f32, wire: OutletId, model: &mut TypedModel| {
            if by == 1.0 {
                return Ok(wire);
            }
            let by = tensor0(by).cast_to_dt(ty)?.into_owned();
            let by = model.add_const(format!("{prefix}.{name}"), by)?;
            let wires =
                wire_with_rank_broadcast(format!("{prefix}.by_{name}"), model, math::mul(), &[wire, by])?;
            TractResult::Ok(wires[0])
        };
        let axes = AxesMapping::for_numpy_matmul(2, self.transposed.0, self.transposed.1, false)?;
        let product = model.wire_node(format!("{prefix}.ab"), EinSum::new(axes, ty), &inputs[..2])?[0];
        let product = scaled("alpha", self.alpha, product, model)?;
        let Some(&c) = inputs.get(2).filter(|_| self.beta != 0.0) else { return Ok(tvec!(product)) };
        let c = scaled("beta", self.beta, c, model)?;
        wire_with_rank_broadcast(prefix, model, math::add(), &[product, c])
    }
}

#[cfg(test)]
mod tests {
    use ic_nn_types::{Tensor, TensorType};

    use crate::Limits;
    use crate::one_node::{float, int, load, value};

    #[test]
    fn every_float_is_multiplied_scaled_and_added() {
        let (a, b, c) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, -1.0, 1.0, 3.0], [10.0, 20.0]);
        let scaled = |f: f32| vec![float("alpha", f), float("beta", 2.0 * f)];
        // a is [2, 3] or, transposed, [3, 2] of the same numbers; b is [3, 2].
        for (ty, wire) in [(1, TensorType::FP32), (10, TensorType::FP16), (11, TensorType::FP64)] {
            for (attributes, shape, expected) in [
                (vec![], [2, 3], [18.0, 27.0, 30.0, 33.0]),
                (scaled(0.5), [2, 3], [14.0, 23.5, 20.0, 26.5]),
                ([scaled(0.5), vec![int("transA", 1)]].concat(), [3, 2], [16.0, 26.0, 18.0, 27.0]),
            ] {
                let inputs = vec![value("a", ty, &shape), value("b", ty, &[3, 2]), value("c", ty, &[2])];
                let outputs = vec![value("y", ty, &[2, 2])];
                let mut graph =
                    load(("", "Gemm"), inputs, vec![], outputs, attributes, ("", 17)).expect("it loads");
                let tensor = |dimensions: &[i64], values: &[f64]| Tensor {
                    dimensions: dimensions.iter().map(|d| *d as u32).collect(),
                    ty: wire,
                    data: values.iter().flat_map(|v| bytes(wire, *v)).collect(),
                };
                let inputs = vec![
                    ("a".to_owned(), tensor(&shape, &a)),
                    ("b".to_owned(), tensor(&[3, 2], &b)),
                    ("c".to_owned(), tensor(&[2], &c)),
                ];
                let outputs = graph.infer(inputs, &Limits::default()).expect("it infers");
                assert_eq!(outputs[0].1, tensor(&[2, 2], &expected), "{wire} {shape:?}");
            }
        }
    }

    fn bytes(ty: TensorType, value: f64) -> Vec<u8> {
        match ty {
            TensorType::FP32 => (value as f32).to_le_bytes().to_vec(),
            TensorType::FP16 => tract_onnx::prelude::f16::from_f64(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        }
    }
}
