//! An operator on a table: every row of features gives scores, and a label where it classifies.

use std::fmt::Debug;
use std::sync::Arc;

use ic_nn_kernels::image::Writer;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

/// How many features a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Features {
    AtLeast(usize),
    Exactly(usize),
}

impl Features {
    fn hold(self, columns: usize) -> TractResult<()> {
        match self {
            Features::AtLeast(n) => {
                ensure!(columns >= n, "rows of {n} features or more are expected, {columns} came")
            }
            Features::Exactly(n) => {
                ensure!(columns == n, "rows of {n} features are expected, {columns} came")
            }
        }
        Ok(())
    }
}

/// What is computed of a row.
pub(super) trait Table: Debug + Send + Sync + 'static {
    /// ONNX's name of the operator.
    fn name(&self) -> &'static str;
    /// The features of a row: `row` is given no other number.
    fn features(&self) -> Features;
    /// Number of scores of a row.
    fn scores(&self) -> usize;
    /// Whether a row has a label, which is the first output then.
    fn labelled(&self) -> bool;
    /// Writes the scores of the row `x` and gives its label, if it has one.
    fn row(&self, x: &[f64], scores: &mut [f32]) -> i64;
    /// Writes it down, its number first.
    fn write(&self, to: &mut Writer<'_>);
}

/// The operator, in the decoded and in the typed graph.
#[derive(Clone, Debug)]
pub(super) struct TableOp(Arc<dyn Table>);

impl TableOp {
    pub(super) fn inference(table: impl Table) -> Box<dyn InferenceOp> {
        expand(TableOp(Arc::new(table)))
    }

    pub(super) fn typed(table: impl Table) -> Box<dyn TypedOp> {
        Box::new(TableOp(Arc::new(table)))
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }
}

impl PartialEq for TableOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TableOp {}

impl Expansion for TableOp {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(if self.0.labelled() { 2 } else { 1 })
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, self.nboutputs()?)?;
        s.equals(&inputs[0].rank, 2)?;
        let scores = &outputs[outputs.len() - 1];
        s.equals(&scores.datum_type, f32::datum_type())?;
        s.equals(&scores.rank, 2)?;
        s.equals(&scores.shape[0], &inputs[0].shape[0])?;
        s.equals(&scores.shape[1], self.0.scores().to_dim())?;
        if self.0.labelled() {
            s.equals(&outputs[0].datum_type, i64::datum_type())?;
            s.equals(&outputs[0].rank, 1)?;
            s.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for TableOp {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for TableOp {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        // Every element type of ONNX's fits a double without loss but for 64-bit integers beyond 2^53.
        let input = input.cast_to::<f64>()?;
        let (rows, columns) = match input.shape() {
            &[rows, columns] => (rows, columns),
            shape => bail!("rows of features are expected, rank 2; {shape:?} came"),
        };
        self.0.features().hold(columns)?;
        let view = input.try_as_plain_ram()?;
        let data = view.as_slice::<f64>()?;
        let width = self.0.scores();
        let mut scores = vec![0f32; rows * width];
        let labels: Vec<i64> = (0..rows)
            .map(|row| {
                let x = &data[row * columns..(row + 1) * columns];
                self.0.row(x, &mut scores[row * width..(row + 1) * width])
            })
            .collect();
        let scores = Tensor::from_shape(&[rows, width], &scores)?.into_tvalue();
        Ok(if self.0.labelled() { tvec!(tensor1(&labels).into_tvalue(), scores) } else { tvec!(scores) })
    }
}

impl TypedOp for TableOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == 2, "rows of features are expected, rank 2");
        if let Ok(columns) = inputs[0].shape[1].to_usize() {
            self.0.features().hold(columns)?;
        }
        let rows = &inputs[0].shape[0];
        let scores = f32::fact(&[rows.clone(), self.0.scores().to_dim()]);
        Ok(if self.0.labelled() {
            tvec!(i64::fact(std::slice::from_ref(rows)), scores)
        } else {
            tvec!(scores)
        })
    }

    as_op!();
}
