//! NonZero: where a tensor is not zero. tract's own looks at a number for five hundred instructions and takes thousands for one that it
//! finds; this one goes over them as they lie, and can be left between any two.

use std::ops::Range;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use crate::parted::{Parted, one};

/// Instructions for what is around, a number that is looked at, one that is found, and each of its coordinates.
const AROUND: u64 = 15_000;
const LOOKED_AT: u64 = 5;
const FOUND: u64 = 30;
const COORDINATE: u64 = 52;

/// Puts this builder in the place of tract's.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("NonZero", non_zero);
}

fn non_zero(ctx: &ParsingContext<'_>, _: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let op = NonZero { count: ctx.template.symbols.new_with_prefix("x") };
    let rules = |_: &dyn Op, s: &mut Solver<'_>, inputs: &[TensorProxy], outputs: &[TensorProxy]| {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].datum_type, i64::datum_type())?;
        s.equals(&outputs[0].rank, 2)?;
        s.equals(&outputs[0].shape[0], inputs[0].rank.bex().to_dim())
    };
    Ok((tract_onnx::tract_hir::ops::expandable::inference_wrap(op, 1, rules), vec![]))
}

/// The operator: gives a row of coordinates for each axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NonZero {
    /// How many are found.
    count: Symbol,
}

impl Op for NonZero {
    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    fn name(&self) -> StaticName {
        "NonZero".into()
    }

    op_as_typed_op!();
}

impl EvalOp for NonZero {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [input] = &inputs[..] else { bail!("an operand is expected") };
        Ok(tvec![coordinates(input, 0..input.len())?.into_tvalue()])
    }
}

impl TypedOp for NonZero {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [input] = inputs else { bail!("an operand is expected") };
        let dt = input.datum_type;
        ensure!(
            dt == bool::datum_type() || dt.is_number() && !dt.is_quantized(),
            "{dt:?}; numbers are expected"
        );
        Ok(tvec![i64::fact([input.rank().to_dim(), self.count.to_dim()])])
    }

    as_op!();
}

/// The operator on a tensor of these lengths, by its numbers.
pub(crate) struct Finding {
    lengths: TVec<usize>,
}

impl Finding {
    /// The node; none where it is another, or lengths are not known.
    pub(crate) fn of(model: &TypedModel, node: &TypedNode) -> Option<Finding> {
        node.op_as::<NonZero>()?;
        let fact = model.outlet_fact(*node.inputs.first()?).ok()?;
        Some(Finding { lengths: fact.shape.as_concrete()?.into() })
    }

    /// What it takes at least: all are zero.
    pub(crate) fn least(&self) -> u64 {
        AROUND + self.units() as u64 * LOOKED_AT
    }

    /// What it takes at most: none is.
    pub(crate) fn most(&self) -> u64 {
        AROUND + self.units() as u64 * (LOOKED_AT + FOUND + self.lengths.len() as u64 * COORDINATE)
    }
}

impl Parted for Finding {
    fn units(&self) -> usize {
        self.lengths.iter().product()
    }

    fn begin(&self) -> TractResult<TVec<Tensor>> {
        Ok(tvec![Tensor::zero::<i64>(&[self.lengths.len(), 0])?])
    }

    fn compute(&self, inputs: &[TValue], out: &mut [Tensor], units: Range<usize>) -> TractResult<()> {
        let ([input], out) = (inputs, one(out)?) else { bail!("an operand is expected") };
        *out = Tensor::stack_tensors(1, &[std::mem::take(out), coordinates(input, units)?])?;
        Ok(())
    }
}

/// Coordinates of those numbers at `places`, as they lie, that are not zero.
fn coordinates(tensor: &Tensor, places: Range<usize>) -> TractResult<Tensor> {
    let (dt, lengths) = (tensor.datum_type(), tensor.shape());
    ensure!(
        tensor.is_plain_ram() && (dt.is_number() || dt == bool::datum_type()),
        "{dt:?}; numbers are expected"
    );
    let size = dt.size_of();
    let bytes =
        tensor.as_bytes().get(places.start * size..places.end * size).context("numbers are missing")?;
    let found = ic_nn_kernels::found(bytes, size, dt.is_float()).context("numbers of another size")?;
    let coordinates = ic_nn_kernels::coordinates(&found, places.start, lengths);
    Tensor::from_shape(&[lengths.len(), found.len()], &coordinates)
}
