//! `ReduceLogSumExp` over any range of numbers: tract 0.23.9 takes exponentials of the numbers as they are, which overflow
//! from 89 on and make infinity of an answer that is none.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::internal::*;

/// Puts this builder in the place of tract's.
pub(crate) fn register(register: &mut OnnxOpRegister) {
    register.insert("ReduceLogSumExp", build);
}

#[derive(Clone, Debug)]
struct LogSumExp {
    axes: Axes,
    keep: bool,
    /// Whether no axes at all means that nothing is reduced, instead of everything.
    noop: bool,
}

/// The first operator set that takes the axes from an input.
const AXES_ARE_AN_INPUT: i64 = 18;

#[derive(Clone, Debug)]
enum Axes {
    Attribute(Vec<i64>),
    /// The second input, a constant.
    Input,
}

fn build(ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let axes = if ctx.onnx_operator_set_version >= AXES_ARE_AN_INPUT && node.input.len() == 2 {
        Axes::Input
    } else {
        Axes::Attribute(node.get_attr_opt_vec("axes")?.unwrap_or_default())
    };
    let keep = node.get_attr_opt("keepdims")?.unwrap_or(true);
    let noop = node.get_attr_opt("noop_with_empty_axes")?.unwrap_or(false);
    Ok((expand(LogSumExp { axes, keep, noop }), vec![]))
}

impl LogSumExp {
    /// The axes to reduce of `rank`, ascending.
    fn resolved(&self, axes: &[i64], rank: usize) -> TractResult<TVec<usize>> {
        if axes.is_empty() {
            return Ok(if self.noop { tvec!() } else { (0..rank).collect() });
        }
        let resolve = |axis: &i64| {
            let from_start = if *axis < 0 { axis + rank as i64 } else { *axis };
            let resolved = usize::try_from(from_start).ok().filter(|axis| *axis < rank);
            resolved.ok_or_else(|| format_err!("axis {axis} is none of a tensor of rank {rank}"))
        };
        let mut resolved = axes.iter().map(resolve).collect::<TractResult<TVec<usize>>>()?;
        resolved.sort_unstable();
        resolved.dedup();
        Ok(resolved)
    }

    fn shape(&self, axes: &[i64], shape: &[TDim]) -> TractResult<TVec<TDim>> {
        let axes = self.resolved(axes, shape.len())?;
        let kept = |(ix, dim): (usize, &TDim)| match axes.contains(&ix) {
            false => Some(dim.clone()),
            true => self.keep.then(|| 1.to_dim()),
        };
        Ok(shape.iter().enumerate().filter_map(kept).collect())
    }
}

fn integers(tensor: &Tensor) -> TractResult<Vec<i64>> {
    let tensor = tensor.cast_to::<i64>()?;
    let view = tensor.try_as_plain_ram()?;
    Ok(view.as_slice::<i64>()?.to_vec())
}

impl Expansion for LogSumExp {
    fn name(&self) -> StaticName {
        "ReduceLogSumExp".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        match &self.axes {
            Axes::Attribute(axes) => {
                check_input_arity(inputs, 1)?;
                s.given(&inputs[0].shape, move |s, shape| {
                    s.equals(&outputs[0].shape, self.shape(axes, &shape)?)
                })?;
            }
            Axes::Input => {
                check_input_arity(inputs, 2)?;
                s.given_2(&inputs[0].shape, &inputs[1].value, move |s, shape, axes| {
                    s.equals(&outputs[0].shape, self.shape(&integers(&axes)?, &shape)?)
                })?;
            }
        }
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?.clone();
        let axes = match &self.axes {
            Axes::Attribute(axes) => axes.clone(),
            Axes::Input => match &model.outlet_fact(inputs[1])?.konst {
                Some(axes) => integers(axes)?,
                None => bail!("axes that are no constant are not served"),
            },
        };
        let axes = self.resolved(&axes, fact.rank())?;
        if axes.is_empty() {
            return Ok(tvec!(inputs[0]));
        }
        // The largest number is taken off beforehand and added afterwards; an infinite one would leave no number.
        let most = match fact.datum_type {
            DatumType::F16 => tensor0(f16::MAX),
            DatumType::F32 => tensor0(f32::MAX),
            DatumType::F64 => tensor0(f64::MAX),
            other => bail!("{other:?} has no logarithm; cast to a float before"),
        };
        let least = match fact.datum_type {
            DatumType::F16 => tensor0(f16::MIN),
            DatumType::F32 => tensor0(f32::MIN),
            _ => tensor0(f64::MIN),
        };
        let mut wire = |name: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| {
            TractResult::Ok(model.wire_node(format!("{prefix}.{name}"), op, inputs)?[0])
        };
        let of_rank = |t: Tensor| TractResult::Ok(t.broadcast_into_rank(fact.rank())?.into_arc_tensor());
        let constant = |t: Tensor| {
            TractResult::Ok(Box::new(tract_onnx::tract_core::ops::konst::Const::new(of_rank(t)?)?))
        };
        let most = wire("most", constant(most)?, &[])?;
        let least = wire("least", constant(least)?, &[])?;
        let largest = wire("largest", Box::new(Reduce::new(axes.clone(), Reducer::Max)), &[inputs[0]])?;
        let largest = wire("at_most", Box::new(math::min()), &[largest, most])?;
        let largest = wire("at_least", Box::new(math::max()), &[largest, least])?;
        let rest = wire("rest", Box::new(math::sub()), &[inputs[0], largest])?;
        let exp = wire("exp", Box::new(math::exp()), &[rest])?;
        let sum = wire("sum", Box::new(Reduce::new(axes.clone(), Reducer::Sum)), &[exp])?;
        let ln = wire("ln", Box::new(math::ln()), &[sum])?;
        let mut result = wire("add", Box::new(math::add()), &[ln, largest])?;
        if !self.keep {
            for axis in axes.iter().rev() {
                result = wire(&format!("rm_{axis}"), Box::new(AxisOp::Rm(*axis)), &[result])?;
            }
        }
        Ok(tvec!(result))
    }
}

#[cfg(test)]
mod tests {
    use ic_nn_types::Tensor as Wire;
    use tract_onnx::pb::TensorProto;

    use super::*;
    use crate::one_node::{self, FLOAT, INT64, int, ints, value};
    use crate::{Graph, Limits};

    /// [2, 3] numbers whose exponentials overflow, vanish, or are none of the reals'.
    const NUMBERS: [f32; 6] = [1000.0, 1000.0, 1000.0, -1000.0, f32::NEG_INFINITY, -1000.0];

    fn ask(mut graph: Graph) -> (Vec<u32>, Vec<f32>) {
        let x = Wire::from_f32(vec![2, 3], &NUMBERS);
        let outputs = graph.infer(vec![("x".into(), x)], &Limits::default()).expect("it infers");
        (outputs[0].1.dimensions.clone(), outputs[0].1.to_f32().expect("FP32"))
    }

    fn load(opset: i64, axes: Option<&[i64]>, keep: i64) -> Result<Graph, String> {
        let mut inputs = vec![value("x", FLOAT, &[2, 3])];
        let mut constants = vec![];
        let mut attributes = vec![int("keepdims", keep)];
        match axes {
            Some(axes) if opset >= AXES_ARE_AN_INPUT => {
                inputs.push(value("axes", INT64, &[axes.len() as i64]));
                constants.push(TensorProto {
                    name: "axes".into(),
                    dims: vec![axes.len() as i64],
                    data_type: INT64,
                    int64_data: axes.to_vec(),
                    ..Default::default()
                });
            }
            Some(axes) => attributes.push(ints("axes", axes)),
            None => {}
        }
        let outputs = vec![value("y", FLOAT, &[])];
        one_node::load(("", "ReduceLogSumExp"), inputs, constants, outputs, attributes, ("", opset))
    }

    #[test]
    fn nothing_overflows() {
        let (ln2, ln3) = (2f32.ln(), 3f32.ln());
        for opset in [13, 18] {
            let rows = vec![1000.0 + ln3, -1000.0 + ln2];
            assert_eq!(ask(load(opset, Some(&[-1]), 0).expect("it loads")), (vec![2], rows.clone()));
            assert_eq!(ask(load(opset, Some(&[1]), 1).expect("it loads")), (vec![2, 1], rows));
            assert_eq!(ask(load(opset, Some(&[0]), 0).expect("it loads")), (vec![3], vec![1000.0; 3]));
            assert_eq!(ask(load(opset, None, 0).expect("it loads")), (vec![], vec![1000.0 + ln3]));
            let refused = load(opset, Some(&[2]), 0).err().expect("it is refused");
            assert!(refused.contains("axis 2 is none of a tensor of rank 2"), "{refused}");
        }
        let mut graph = load(13, Some(&[1]), 0).expect("it loads");
        let mut ask = |row: [f32; 3]| {
            let x = Wire::from_f32(vec![2, 3], &[row, row].concat());
            let outputs = graph.infer(vec![("x".into(), x)], &Limits::default()).expect("it infers");
            outputs[0].1.to_f32().expect("FP32")[0]
        };
        assert_eq!(ask([f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
        assert_eq!(ask([0.0, f32::INFINITY, 1.0]), f32::INFINITY);
    }
}
