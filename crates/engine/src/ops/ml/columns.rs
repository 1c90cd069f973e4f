//! What prepares the columns of a table: `Scaler`, `Imputer`, `OneHotEncoder`.

use ic_nn_kernels::image::{Broken, Reader, Writer};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::logic::wire_with_rank_broadcast;

use super::image::{must, read_floats, read_labels, write_floats, write_labels};
use super::{floats, integers};

/// Their numbers in an image.
pub(super) const IMPUTER: u64 = 4;
pub(super) const ONE_HOT: u64 = 5;

/// `(x - offset) * scale`, each of them for all columns or one for each.
#[derive(Clone, Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

pub(super) fn scaler(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (offset, scale) = (floats(node, "offset")?.to_vec(), floats(node, "scale")?.to_vec());
    Ok((expand(Scaler { offset, scale }), vec![]))
}

impl Expansion for Scaler {
    fn name(&self) -> StaticName {
        "Scaler".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let columns = columns(model.outlet_fact(inputs[0])?)?;
        let mut wire = model.wire_node(format!("{prefix}.cast"), cast(f32::datum_type()), inputs)?[0];
        for (name, values, op) in [("offset", &self.offset, math::sub()), ("scale", &self.scale, math::mul())]
        {
            if values.is_empty() {
                continue;
            }
            ensure!(
                values.len() == 1 || columns.as_ref() == Some(&values.len().to_dim()),
                "{name} has {} elements, one a column or one for all is expected",
                values.len()
            );
            let values = model.add_const(format!("{prefix}.{name}"), tensor1(values))?;
            let prefix = format!("{prefix}.apply_{name}");
            wire = wire_with_rank_broadcast(prefix, model, op, &[wire, values])?[0];
        }
        Ok(tvec!(wire))
    }
}

/// Length of the last axis.
fn columns(fact: &TypedFact) -> TractResult<Option<TDim>> {
    ensure!(fact.rank() > 0, "columns are expected, a scalar came");
    Ok(fact.shape.last().cloned())
}

/// Puts a value in the place of what is missing, the same for all columns or one for each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Imputer {
    imputed: Vec<f32>,
    /// What stands for a missing value; NaN stands for itself.
    missing: f32,
}

impl Eq for Imputer {}

pub(super) fn imputer(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let imputed = floats(node, "imputed_value_floats")?.to_vec();
    ensure!(
        !imputed.is_empty(),
        "imputed_value_floats is empty; integers are not imputed, cast the column to float32 first"
    );
    let missing = node.get_attr_opt::<f32>("replaced_value_float")?.unwrap_or(0.0);
    Ok((expand(Elementwise(Imputer { imputed, missing })), vec![]))
}

/// Ones where an element is the category of its place on a new last axis, zeros elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OneHotEncoder {
    categories: Vec<i64>,
    /// Whether what is no category becomes zeros; an error otherwise.
    zeros: bool,
}

pub(super) fn one_hot_encoder(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let categories = integers(node, "cats_int64s")?.to_vec();
    ensure!(
        !categories.is_empty(),
        "cats_int64s is empty; categories that are strings are not held, encode them as integers"
    );
    let zeros = node.get_attr_opt::<i64>("zeros")?.unwrap_or(1) != 0;
    Ok((expand(Elementwise(OneHotEncoder { categories, zeros })), vec![]))
}

/// An operator that looks at each element and its column.
pub(super) trait Element: Clone + std::fmt::Debug + PartialEq + Eq + Send + Sync + 'static {
    const NAME: &'static str;
    /// Elements that an element becomes, on a new last axis if it has one.
    fn width(&self) -> Option<usize>;
    /// Holds the operator to the length of the last axis.
    fn fits(&self, columns: usize) -> TractResult<()>;
    /// Appends what becomes of `x` in `column`.
    fn apply(&self, x: f64, column: usize, out: &mut Vec<f32>) -> TractResult<()>;
}

impl Element for Imputer {
    const NAME: &'static str = "Imputer";

    fn width(&self) -> Option<usize> {
        None
    }

    fn fits(&self, columns: usize) -> TractResult<()> {
        let values = self.imputed.len();
        ensure!(
            values == 1 || values == columns,
            "imputed_value_floats has {values} elements, 1 or {columns} are expected"
        );
        Ok(())
    }

    fn apply(&self, x: f64, column: usize, out: &mut Vec<f32>) -> TractResult<()> {
        let x = x as f32;
        let missing = if self.missing.is_nan() { x.is_nan() } else { x == self.missing };
        out.push(if missing { self.imputed[column % self.imputed.len()] } else { x });
        Ok(())
    }
}

impl Element for OneHotEncoder {
    const NAME: &'static str = "OneHotEncoder";

    fn width(&self) -> Option<usize> {
        Some(self.categories.len())
    }

    fn fits(&self, _columns: usize) -> TractResult<()> {
        Ok(())
    }

    fn apply(&self, x: f64, _column: usize, out: &mut Vec<f32>) -> TractResult<()> {
        let category = x as i64;
        ensure!(
            self.zeros || self.categories.contains(&category),
            "{category} is none of the categories {:?} that the encoder was fitted to",
            self.categories
        );
        out.extend(self.categories.iter().map(|c| if *c == category { 1.0 } else { 0.0 }));
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Elementwise<E>(E);

impl<E: Element> Expansion for Elementwise<E> {
    fn name(&self) -> StaticName {
        E::NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.given(&inputs[0].shape, move |s, mut shape| {
            shape.extend(self.0.width().map(|w| w.to_dim()));
            s.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl<E: Element> Op for Elementwise<E> {
    fn name(&self) -> StaticName {
        E::NAME.into()
    }

    op_as_typed_op!();
}

impl<E: Element> EvalOp for Elementwise<E> {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let input = input.cast_to::<f64>()?;
        let columns = input.shape().last().copied().unwrap_or(1);
        self.0.fits(columns)?;
        let view = input.try_as_plain_ram()?;
        let mut out = Vec::with_capacity(input.len() * self.0.width().unwrap_or(1));
        for (ix, x) in view.as_slice::<f64>()?.iter().enumerate() {
            self.0.apply(*x, ix % columns, &mut out)?;
        }
        let shape: TVec<usize> = input.shape().iter().copied().chain(self.0.width()).collect();
        Ok(tvec!(Tensor::from_shape(&shape, &out)?.into_tvalue()))
    }
}

impl<E: Element> TypedOp for Elementwise<E> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let width = self.0.width().map(|w| w.to_dim());
        let shape: TVec<TDim> = inputs[0].shape.iter().cloned().chain(width).collect();
        Ok(tvec!(f32::fact(&shape)))
    }

    as_op!();
}

impl Imputer {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Imputer, Broken> {
        let (imputed, missing) = (read_floats(from)?, from.float()?);
        must(!imputed.is_empty(), "nothing is imputed")?;
        Ok(Imputer { imputed, missing })
    }
}

impl OneHotEncoder {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<OneHotEncoder, Broken> {
        let (categories, zeros) = (read_labels(from)?, from.flag()?);
        must(!categories.is_empty(), "there are no categories")?;
        Ok(OneHotEncoder { categories, zeros })
    }
}

/// Whether an operator is one of these.
pub(super) fn is(op: &dyn TypedOp) -> bool {
    op.is::<Elementwise<Imputer>>() || op.is::<Elementwise<OneHotEncoder>>()
}

/// The operator that was read.
pub(super) fn typed(element: impl Element) -> Box<dyn TypedOp> {
    Box::new(Elementwise(element))
}

/// Writes an operator; none where it is another.
pub(super) fn write(op: &dyn TypedOp, to: &mut Writer<'_>) -> Option<()> {
    if let Some(Elementwise(Imputer { imputed, missing })) = op.downcast_ref() {
        to.number(IMPUTER);
        write_floats(imputed, to);
        to.float(*missing);
    } else if let Some(Elementwise(OneHotEncoder { categories, zeros })) = op.downcast_ref() {
        to.number(ONE_HOT);
        write_labels(categories, to);
        to.flag(*zeros);
    } else {
        return None;
    }
    Some(())
}
