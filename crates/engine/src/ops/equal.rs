//! `Equal` of booleans too: tract 0.23.9 compares numbers only, and exporters write `flag == True`.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::logic::CompEq;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::binary::InferenceBinOp;

/// Puts this builder in the place of tract's.
pub(crate) fn register(register: &mut OnnxOpRegister) {
    register.insert("Equal", equal);
}

/// tract's comparison; of booleans as 0 and 1.
#[derive(Clone, Debug)]
struct Equal(InferenceBinOp);

fn equal(_ctx: &ParsingContext<'_>, _node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Equal(InferenceBinOp(Box::new(CompEq)))), vec![]))
}

impl Expansion for Equal {
    fn name(&self) -> StaticName {
        "Equal".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut numbers: TVec<OutletId> = inputs.into();
        for (ix, wire) in numbers.iter_mut().enumerate() {
            if model.outlet_fact(*wire)?.datum_type == bool::datum_type() {
                *wire =
                    model.wire_node(format!("{prefix}.number_{ix}"), cast(u8::datum_type()), &[*wire])?[0];
            }
        }
        self.0.wire(prefix, model, &numbers)
    }
}

#[cfg(test)]
mod tests {
    use ic_nn_types::{Tensor as Wire, TensorType};

    use crate::Limits;
    use crate::one_node::{load, value};

    #[test]
    fn booleans_and_numbers_are_compared() {
        let long = |values: [i64; 2]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        for (ty, wire, a, b) in [
            (9, TensorType::BOOL, vec![0, 1], vec![1, 1]),
            (7, TensorType::I64, long([3, 1 << 60]), long([4, 1 << 60])),
        ] {
            let inputs = vec![value("a", ty, &[2]), value("b", ty, &[2])];
            let outputs = vec![value("y", 9, &[2])];
            let mut graph = load(("", "Equal"), inputs, vec![], outputs, vec![], ("", 17)).expect("it loads");
            let tensor = |data| Wire { dimensions: vec![2], ty: wire, data };
            let inputs = vec![("a".into(), tensor(a)), ("b".into(), tensor(b))];
            let outputs = graph.infer(inputs, &Limits::default()).expect("it infers");
            assert_eq!(outputs[0].1.data, [0, 1], "{wire}");
        }
    }
}
