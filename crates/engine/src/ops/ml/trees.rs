//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor`.
//!
//! tract 0.23.9 has the classifier only, and gives the wrong label of two classes that share one weight: a positive score
//! is the first of its two columns, which it takes for the first class.

use ic_nn_kernels::image::{Broken, Reader, Writer};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{bail, ensure};
use tract_onnx::tract_hir::internal::InferenceOp;

use super::forest::Forest;
use super::image::{must, read_floats, read_labels, write_floats, write_labels};
use super::table::{Features, Table, TableOp};
use super::{PostTransform, floats, labels, largest, logistic};

/// A target takes a float of every row: more than this is no regression.
const MAX_TARGETS: i64 = 1 << 16;

/// Their numbers in an image.
pub(super) const CLASSIFIER: u64 = 0;
pub(super) const REGRESSOR: u64 = 1;

#[derive(Debug)]
pub(super) struct Classifier {
    forest: Forest,
    labels: Vec<i64>,
    base: Vec<f32>,
    scoring: Scoring,
}

/// How the scores of a row become its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scoring {
    /// A score a class, transformed; the largest wins.
    Classes(PostTransform),
    /// Of two classes only the second's probability is summed up.
    Probability,
    /// Of two classes only the second's log odds are summed up.
    Odds,
}

pub(super) fn classifier(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let labels = labels(node, "classlabels_int64s")?;
    let forest = Forest::of(node, "class", labels.len())?;
    let base = floats(node, "base_values")?.to_vec();
    let transform = PostTransform::of(node)?;
    // What says that one weight stands for both classes is that all of them are for one and the same.
    let one = labels.len() == 2 && forest.weights().iter().all(|(class, _)| *class == forest.weights()[0].0);
    let scoring = match transform {
        _ if !one => Scoring::Classes(transform),
        PostTransform::None if forest.weights().iter().all(|(_, weight)| *weight >= 0.0) => {
            Scoring::Probability
        }
        PostTransform::Logistic => Scoring::Odds,
        other => bail!(
            "two classes share one weight, and {other:?} does not say what their scores are; export probabilities \
             (post_transform LOGISTIC)"
        ),
    };
    let expected = if one { 1 } else { labels.len() };
    ensure!(
        base.is_empty() || base.len() == expected,
        "base_values has {} elements, {expected} are expected, or none",
        base.len()
    );
    Ok((TableOp::inference(Classifier { forest, labels, base, scoring }), vec![]))
}

impl Table for Classifier {
    fn name(&self) -> &'static str {
        "TreeEnsembleClassifier"
    }

    fn features(&self) -> Features {
        Features::AtLeast(self.forest.features)
    }

    fn scores(&self) -> usize {
        self.labels.len()
    }

    fn labelled(&self) -> bool {
        true
    }

    fn row(&self, x: &[f64], scores: &mut [f32]) -> i64 {
        if let Scoring::Classes(transform) = self.scoring {
            for (class, weight) in self.forest.leaves(x).flatten() {
                scores[*class] += weight;
            }
            scores.iter_mut().zip(&self.base).for_each(|(score, base)| *score += base);
            let label = self.labels[largest(scores)];
            transform.apply(scores);
            return label;
        }
        let sum: f32 = self.forest.leaves(x).flatten().map(|(_, weight)| weight).sum();
        let sum = sum + self.base.first().copied().unwrap_or(0.0);
        let (second, first, wins) = match self.scoring {
            Scoring::Odds => (logistic(sum), logistic(-sum), sum > 0.0),
            _ => (sum, 1.0 - sum, sum > 0.5),
        };
        scores.copy_from_slice(&[first, second]);
        self.labels[usize::from(wins)]
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(CLASSIFIER);
        write_labels(&self.labels, to);
        self.forest.write(to);
        write_floats(&self.base, to);
        match self.scoring {
            Scoring::Classes(transform) => {
                to.number(0);
                transform.write(to);
            }
            Scoring::Probability => to.number(1),
            Scoring::Odds => to.number(2),
        }
    }
}

impl Classifier {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Classifier, Broken> {
        let labels = read_labels(from)?;
        let (forest, base) = (Forest::read(from, labels.len())?, read_floats(from)?);
        let scoring = match from.number()? {
            0 => Scoring::Classes(PostTransform::read(from)?),
            1 => Scoring::Probability,
            2 => Scoring::Odds,
            _ => return Err(Broken("scores of a kind that is not known")),
        };
        let classes = matches!(scoring, Scoring::Classes(_));
        must(labels.len() > 1 && (classes || labels.len() == 2), "labels are not those of the scores")?;
        Ok(Classifier { forest, labels, base, scoring })
    }
}

#[derive(Debug)]
pub(super) struct Regressor {
    forest: Forest,
    targets: usize,
    base: Vec<f32>,
    aggregate: Aggregate,
    transform: PostTransform,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

pub(super) fn regressor(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let targets = node.get_attr_opt::<i64>("n_targets")?.unwrap_or(1);
    ensure!((1..=MAX_TARGETS).contains(&targets), "n_targets is {targets}, 1 to {MAX_TARGETS} are expected");
    let targets = targets as usize;
    let forest = Forest::of(node, "target", targets)?;
    let base = floats(node, "base_values")?.to_vec();
    ensure!(
        base.is_empty() || base.len() == targets,
        "base_values has {} elements, {targets} are expected, or none",
        base.len()
    );
    let aggregate = match node.get_attr_opt::<&str>("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => bail!("aggregate_function {other} is none of ONNX's"),
    };
    let transform = PostTransform::of(node)?;
    Ok((TableOp::inference(Regressor { forest, targets, base, aggregate, transform }), vec![]))
}

impl Table for Regressor {
    fn name(&self) -> &'static str {
        "TreeEnsembleRegressor"
    }

    fn features(&self) -> Features {
        Features::AtLeast(self.forest.features)
    }

    fn scores(&self) -> usize {
        self.targets
    }

    fn labelled(&self) -> bool {
        false
    }

    fn row(&self, x: &[f64], scores: &mut [f32]) -> i64 {
        // NaN until the first weight: f32's min and max pass over it.
        if matches!(self.aggregate, Aggregate::Min | Aggregate::Max) {
            scores.fill(f32::NAN);
        }
        for (target, weight) in self.forest.leaves(x).flatten() {
            let score = &mut scores[*target];
            *score = match self.aggregate {
                Aggregate::Sum | Aggregate::Average => *score + weight,
                Aggregate::Min => score.min(*weight),
                Aggregate::Max => score.max(*weight),
            };
        }
        for (target, score) in scores.iter_mut().enumerate() {
            if score.is_nan() {
                *score = 0.0;
            }
            if self.aggregate == Aggregate::Average {
                *score /= self.forest.trees() as f32;
            }
            *score += self.base.get(target).copied().unwrap_or(0.0);
        }
        self.transform.apply(scores);
        0
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(REGRESSOR);
        to.size(self.targets);
        self.forest.write(to);
        write_floats(&self.base, to);
        to.number(self.aggregate as u64);
        self.transform.write(to);
    }
}

impl Regressor {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Regressor, Broken> {
        let targets = from.size()?;
        must((1..=MAX_TARGETS as usize).contains(&targets), "a regression of as many targets")?;
        let (forest, base) = (Forest::read(from, targets)?, read_floats(from)?);
        let aggregate = match from.number()? {
            0 => Aggregate::Sum,
            1 => Aggregate::Average,
            2 => Aggregate::Min,
            3 => Aggregate::Max,
            _ => return Err(Broken("a way to sum up that is not known")),
        };
        let transform = PostTransform::read(from)?;
        Ok(Regressor { forest, targets, base, aggregate, transform })
    }
}
