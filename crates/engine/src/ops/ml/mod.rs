//! Operators of `ai.onnx.ml` that tract lacks, or answers wrongly: trees, support vector machines, and what prepares
//! their columns.
//!
//! Each is held to its attributes when the model is decoded, so that no index in a file is followed before it is known to
//! lead somewhere: evaluation indexes only what has been checked. Labels are integers: strings are refused beforehand.

mod columns;
mod forest;
pub(crate) mod image;
mod select;
mod svm;
mod table;
mod trees;

#[cfg(test)]
mod tests;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{bail, ensure};

/// Adds the operators, in the place of tract's where it has one of that name.
pub(crate) fn register(register: &mut OnnxOpRegister) {
    register.insert("TreeEnsembleClassifier", trees::classifier);
    register.insert("TreeEnsembleRegressor", trees::regressor);
    register.insert("SVMClassifier", svm::classifier);
    register.insert("SVMRegressor", svm::regressor);
    register.insert("Scaler", columns::scaler);
    register.insert("Imputer", columns::imputer);
    register.insert("OneHotEncoder", columns::one_hot_encoder);
    register.insert("ArrayFeatureExtractor", select::array_feature_extractor);
}

/// What becomes of the scores of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PostTransform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
}

impl PostTransform {
    fn of(node: &NodeProto) -> TractResult<Self> {
        Ok(match node.get_attr_opt::<&str>("post_transform")? {
            None | Some("NONE") => PostTransform::None,
            Some("LOGISTIC") => PostTransform::Logistic,
            Some("SOFTMAX") => PostTransform::Softmax,
            Some("SOFTMAX_ZERO") => PostTransform::SoftmaxZero,
            Some(other) => {
                bail!("post_transform {other} is not served; NONE, LOGISTIC, SOFTMAX and SOFTMAX_ZERO are")
            }
        })
    }

    fn apply(self, scores: &mut [f32]) {
        match self {
            PostTransform::None => {}
            PostTransform::Logistic => scores.iter_mut().for_each(|s| *s = logistic(*s)),
            PostTransform::Softmax | PostTransform::SoftmaxZero => {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                // SOFTMAX_ZERO leaves a class without a score without a share.
                let none = |s: f32| self == PostTransform::SoftmaxZero && s.abs() <= 1e-7;
                scores.iter_mut().for_each(|s| *s = if none(*s) { 0.0 } else { (*s - most).exp() });
                let sum: f32 = scores.iter().sum();
                if sum > 0.0 {
                    scores.iter_mut().for_each(|s| *s /= sum);
                }
            }
        }
    }
}

/// The logistic function, without the overflow that its formula has for large negative scores.
fn logistic(score: f32) -> f32 {
    let share = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - share } else { share }
}

/// The first of the largest.
fn largest<T: PartialOrd + Copy>(values: &[T]) -> usize {
    let mut at = 0;
    for (ix, value) in values.iter().enumerate() {
        if *value > values[at] {
            at = ix;
        }
    }
    at
}

/// Class labels from the attribute of integers, at least two of them.
fn labels(node: &NodeProto, attribute: &str) -> TractResult<Vec<i64>> {
    let labels = node.get_attr_opt_slice::<i64>(attribute)?.unwrap_or_default().to_vec();
    ensure!(labels.len() > 1, "{attribute} holds {} class labels, two at least are expected", labels.len());
    Ok(labels)
}

fn floats<'a>(node: &'a NodeProto, attribute: &str) -> TractResult<&'a [f32]> {
    let as_tensor = format!("{attribute}_as_tensor");
    ensure!(
        node.attribute.iter().all(|a| a.name != as_tensor),
        "{as_tensor} is not served; convert the model for float32 inputs"
    );
    Ok(node.get_attr_opt_slice::<f32>(attribute)?.unwrap_or_default())
}

fn integers<'a>(node: &'a NodeProto, attribute: &str) -> TractResult<&'a [i64]> {
    Ok(node.get_attr_opt_slice::<i64>(attribute)?.unwrap_or_default())
}

/// Attributes that belong together have one length.
fn same_length(lengths: &[(&str, usize)]) -> TractResult<usize> {
    let (first, length) = lengths[0];
    for (name, other) in lengths {
        ensure!(
            *other == length,
            "{first} has {length} elements, {name} has {other}; one length is expected"
        );
    }
    Ok(length)
}
