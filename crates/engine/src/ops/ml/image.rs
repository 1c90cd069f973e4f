//! Images of operators on tables: their fields in order, held when they are read to what their attributes are held to.

use ic_nn_kernels::image::{Broken, Reader, Writer};
use tract_onnx::tract_core::internal::TypedOp;

use super::columns::{self, Imputer, OneHotEncoder};
use super::table::TableOp;
use super::{PostTransform, svm, trees};

/// Numbers of a vector, f64 as their bits.
pub(super) fn write_reals(reals: &[f64], to: &mut Writer<'_>) {
    to.size(reals.len());
    reals.iter().for_each(|real| to.number(real.to_bits()));
}

pub(super) fn read_reals(from: &mut Reader<'_>) -> Result<Vec<f64>, Broken> {
    (0..from.count()?).map(|_| from.number().map(f64::from_bits)).collect()
}

/// Numbers of a vector, f32 as their bits.
pub(super) fn write_floats(floats: &[f32], to: &mut Writer<'_>) {
    to.size(floats.len());
    floats.iter().for_each(|float| to.float(*float));
}

pub(super) fn read_floats(from: &mut Reader<'_>) -> Result<Vec<f32>, Broken> {
    (0..from.count()?).map(|_| from.float()).collect()
}

/// Labels.
pub(super) fn write_labels(labels: &[i64], to: &mut Writer<'_>) {
    to.size(labels.len());
    labels.iter().for_each(|label| to.number(*label as u64));
}

pub(super) fn read_labels(from: &mut Reader<'_>) -> Result<Vec<i64>, Broken> {
    (0..from.count()?).map(|_| Ok(from.number()? as i64)).collect()
}

/// Holds an image to what has to be.
pub(super) fn must(holds: bool, what: &'static str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(what)) }
}

impl PostTransform {
    pub(super) fn write(self, to: &mut Writer<'_>) {
        to.number(match self {
            PostTransform::None => 0,
            PostTransform::Logistic => 1,
            PostTransform::Softmax => 2,
            PostTransform::SoftmaxZero => 3,
        });
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<PostTransform, Broken> {
        Ok(match from.number()? {
            0 => PostTransform::None,
            1 => PostTransform::Logistic,
            2 => PostTransform::Softmax,
            3 => PostTransform::SoftmaxZero,
            _ => return Err(Broken("a transform of scores that is not known")),
        })
    }
}

/// Whether an operator is one of these.
pub(crate) fn is(op: &dyn TypedOp) -> bool {
    op.is::<TableOp>() || columns::is(op)
}

/// Writes an operator; none where it is another.
pub(crate) fn write(op: &dyn TypedOp, to: &mut Writer<'_>) -> Option<()> {
    if let Some(op) = op.downcast_ref::<TableOp>() {
        op.write(to);
        Some(())
    } else {
        columns::write(op, to)
    }
}

/// Reads an operator.
pub(crate) fn read(from: &mut Reader<'_>) -> Result<Box<dyn TypedOp>, Broken> {
    Ok(match from.number()? {
        trees::CLASSIFIER => TableOp::typed(trees::Classifier::read(from)?),
        trees::REGRESSOR => TableOp::typed(trees::Regressor::read(from)?),
        svm::CLASSIFIER => TableOp::typed(svm::Classifier::read(from)?),
        svm::REGRESSOR => TableOp::typed(svm::Regressor::read(from)?),
        columns::IMPUTER => columns::typed(Imputer::read(from)?),
        columns::ONE_HOT => columns::typed(OneHotEncoder::read(from)?),
        _ => return Err(Broken("an operator on tables that is not known")),
    })
}
