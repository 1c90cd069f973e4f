//! `SVMClassifier` and `SVMRegressor` over support vectors, as libsvm computes them; in double precision, because the
//! coefficients of opposite signs nearly cancel.

use ic_nn_kernels::image::{Broken, Reader, Writer};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{bail, ensure};
use tract_onnx::tract_hir::internal::InferenceOp;

use super::image::{must, read_labels, read_reals, write_labels, write_reals};
use super::table::{Features, Table, TableOp};
use super::{PostTransform, floats, integers, labels, largest};

/// Pairs of classes are scores of a row: this many classes have half a million.
const MAX_CLASSES: usize = 1_000;

/// Their numbers in an image.
pub(super) const CLASSIFIER: u64 = 2;
pub(super) const REGRESSOR: u64 = 3;

#[derive(Clone, Copy, Debug)]
enum Kernel {
    Linear,
    Poly { gamma: f64, coef0: f64, degree: f64 },
    Rbf { gamma: f64 },
    Sigmoid { gamma: f64, coef0: f64 },
}

/// Support vectors and the kernel that a row meets them by.
#[derive(Debug)]
struct Supports {
    kernel: Kernel,
    features: usize,
    vectors: Vec<f64>,
}

impl Supports {
    fn of(node: &NodeProto, count: usize) -> TractResult<Self> {
        let parameters = floats(node, "kernel_params")?;
        let parameter = |ix: usize| parameters.get(ix).copied().map_or(0.0, f64::from);
        let (gamma, coef0, degree) = (parameter(0), parameter(1), parameter(2));
        let kernel = match node.get_attr_opt::<&str>("kernel_type")?.unwrap_or("LINEAR") {
            "LINEAR" => Kernel::Linear,
            "POLY" => Kernel::Poly { gamma, coef0, degree },
            "RBF" => Kernel::Rbf { gamma },
            "SIGMOID" => Kernel::Sigmoid { gamma, coef0 },
            other => bail!("kernel_type {other} is none of ONNX's"),
        };
        let vectors = widened(floats(node, "support_vectors")?);
        ensure!(
            count > 0 && !vectors.is_empty() && vectors.len().is_multiple_of(count),
            "support_vectors has {} elements, which are not {count} vectors",
            vectors.len()
        );
        Ok(Supports { kernel, features: vectors.len() / count, vectors })
    }

    fn write(&self, to: &mut Writer<'_>) {
        let (number, parameters) = match self.kernel {
            Kernel::Linear => (0, vec![]),
            Kernel::Poly { gamma, coef0, degree } => (1, vec![gamma, coef0, degree]),
            Kernel::Rbf { gamma } => (2, vec![gamma]),
            Kernel::Sigmoid { gamma, coef0 } => (3, vec![gamma, coef0]),
        };
        to.number(number);
        write_reals(&parameters, to);
        to.size(self.features);
        write_reals(&self.vectors, to);
    }

    /// Reads vectors; there is one at least.
    fn read(from: &mut Reader<'_>) -> Result<Supports, Broken> {
        let number = from.number()?;
        let kernel = match (number, &read_reals(from)?[..]) {
            (0, []) => Kernel::Linear,
            (1, &[gamma, coef0, degree]) => Kernel::Poly { gamma, coef0, degree },
            (2, &[gamma]) => Kernel::Rbf { gamma },
            (3, &[gamma, coef0]) => Kernel::Sigmoid { gamma, coef0 },
            _ => return Err(Broken("a kernel of vectors that is not known")),
        };
        let (features, vectors) = (from.size()?, read_reals(from)?);
        let whole = features > 0 && !vectors.is_empty() && vectors.len().is_multiple_of(features);
        must(whole, "support vectors are not whole")?;
        Ok(Supports { kernel, features, vectors })
    }

    /// How many vectors there are.
    fn count(&self) -> usize {
        self.vectors.len() / self.features
    }

    /// The kernel of `x` with each of the vectors.
    fn kernels(&self, x: &[f64]) -> Vec<f64> {
        let kernel = |vector: &[f64]| {
            let pairs = || x.iter().zip(vector);
            let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
            match self.kernel {
                Kernel::Linear => dot(),
                Kernel::Poly { gamma, coef0, degree } => (gamma * dot() + coef0).powf(degree),
                Kernel::Rbf { gamma } => {
                    (-gamma * pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>()).exp()
                }
                Kernel::Sigmoid { gamma, coef0 } => (gamma * dot() + coef0).tanh(),
            }
        };
        self.vectors.chunks_exact(self.features).map(kernel).collect()
    }
}

/// Refuses transforms of the scores: what they do to the decisions of pairs is not said anywhere.
fn plain(node: &NodeProto) -> TractResult<()> {
    let transform = PostTransform::of(node)?;
    ensure!(
        transform == PostTransform::None,
        "post_transform {transform:?} of a support vector machine is not served; NONE is"
    );
    Ok(())
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

#[derive(Debug)]
pub(super) struct Classifier {
    labels: Vec<i64>,
    supports: Supports,
    /// Where the vectors of each class begin, and where the last end.
    starts: Vec<usize>,
    /// A row for each class but one, a column for each vector.
    coefficients: Vec<f64>,
    /// One for each pair of classes.
    rho: Vec<f64>,
    /// Platt's parameters of each pair, where probabilities are asked for.
    platt: Vec<(f64, f64)>,
}

pub(super) fn classifier(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let labels = labels(node, "classlabels_ints")?;
    let classes = labels.len();
    ensure!(classes <= MAX_CLASSES, "{classes} classes; {MAX_CLASSES} are served");
    let per_class = integers(node, "vectors_per_class")?;
    ensure!(
        per_class.len() == classes,
        "vectors_per_class has {} elements, {classes} are expected; a machine without support vectors is not served, \
         export it as a linear classifier",
        per_class.len()
    );
    let mut starts = vec![0usize];
    for count in per_class {
        let end = usize::try_from(*count).ok().and_then(|c| c.checked_add(starts[starts.len() - 1]));
        let Some(end) = end else { bail!("vectors_per_class holds {count}") };
        starts.push(end);
    }
    let vectors = starts[classes];
    let supports = Supports::of(node, vectors)?;
    let coefficients = widened(floats(node, "coefficients")?);
    let rho = widened(floats(node, "rho")?);
    let (a, b) = (floats(node, "prob_a")?, floats(node, "prob_b")?);
    let pairs = classes * (classes - 1) / 2;
    for (name, length, expected) in [
        ("coefficients", coefficients.len(), (classes - 1).saturating_mul(vectors)),
        ("rho", rho.len(), pairs),
        ("prob_a", a.len(), if a.is_empty() { 0 } else { pairs }),
        ("prob_b", b.len(), a.len()),
    ] {
        ensure!(length == expected, "{name} has {length} elements, {expected} are expected");
    }
    let platt = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b))).collect();
    plain(node)?;
    let op = Classifier { labels, supports, starts, coefficients, rho, platt };
    Ok((TableOp::inference(op), vec![]))
}

impl Classifier {
    /// The decision of each pair of classes, first with second, first with third, ...; positive for the pair's first.
    fn decisions(&self, x: &[f64]) -> Vec<f64> {
        let kernels = self.supports.kernels(x);
        let vectors = kernels.len();
        let sum = |row: usize, class: usize| -> f64 {
            let of = self.starts[class]..self.starts[class + 1];
            let coefficients = &self.coefficients[row * vectors..(row + 1) * vectors];
            kernels[of.clone()].iter().zip(&coefficients[of]).map(|(k, c)| k * c).sum()
        };
        // A class has no coefficients against itself, so the rows above it are one up.
        pairs(self.labels.len())
            .zip(&self.rho)
            .map(|((first, second), rho)| sum(second - 1, first) + sum(first, second) + rho)
            .collect()
    }
}

fn pairs(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |first| (first + 1..classes).map(move |second| (first, second)))
}

impl Table for Classifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn features(&self) -> Features {
        Features::Exactly(self.supports.features)
    }

    fn scores(&self) -> usize {
        if self.platt.is_empty() { self.rho.len().max(2) } else { self.labels.len() }
    }

    fn labelled(&self) -> bool {
        true
    }

    fn row(&self, x: &[f64], scores: &mut [f32]) -> i64 {
        let classes = self.labels.len();
        let decisions = self.decisions(x);
        let mut votes = vec![0u32; classes];
        for ((first, second), decision) in pairs(classes).zip(&decisions) {
            votes[if *decision > 0.0 { first } else { second }] += 1;
        }
        let narrowed: Vec<f32> = if !self.platt.is_empty() {
            let share = |(decision, (a, b)): (&f64, &(f64, f64))| {
                (1.0 / (1.0 + (decision * a + b).exp())).clamp(1e-7, 1.0 - 1e-7)
            };
            let shares: Vec<f64> = decisions.iter().zip(&self.platt).map(share).collect();
            coupled(classes, &shares).iter().map(|p| *p as f32).collect()
        } else if classes == 2 {
            vec![-decisions[0] as f32, decisions[0] as f32]
        } else {
            decisions.iter().map(|d| *d as f32).collect()
        };
        scores.copy_from_slice(&narrowed);
        self.labels[largest(&votes)]
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(CLASSIFIER);
        write_labels(&self.labels, to);
        self.supports.write(to);
        to.sizes(&self.starts);
        write_reals(&self.coefficients, to);
        write_reals(&self.rho, to);
        to.size(self.platt.len());
        for (a, b) in &self.platt {
            to.number(a.to_bits());
            to.number(b.to_bits());
        }
    }
}

impl Classifier {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Classifier, Broken> {
        let (labels, supports, starts) = (read_labels(from)?, Supports::read(from)?, from.sizes()?);
        let (coefficients, rho) = (read_reals(from)?, read_reals(from)?);
        let real = |from: &mut Reader<'_>| from.number().map(f64::from_bits);
        let platt =
            (0..from.count()?).map(|_| Ok((real(from)?, real(from)?))).collect::<Result<Vec<_>, Broken>>()?;
        let (classes, vectors) = (labels.len(), supports.count());
        must((2..=MAX_CLASSES).contains(&classes), "classes are too few or too many")?;
        let rise = starts.len() == classes + 1 && starts.windows(2).all(|two| two[0] <= two[1]);
        must(rise && starts.last() == Some(&vectors), "vectors are not those of the classes")?;
        let pairs = classes * (classes - 1) / 2;
        let whole = coefficients.len() == (classes - 1).saturating_mul(vectors) && rho.len() == pairs;
        must(whole && (platt.is_empty() || platt.len() == pairs), "coefficients are not those of the pairs")?;
        Ok(Classifier { labels, supports, starts, coefficients, rho, platt })
    }
}

/// Probabilities of classes from those of the pairs' firsts: Wu, Lin and Weng, "Probability Estimates for Multi-class
/// Classification by Pairwise Coupling" (2004), algorithm 2, with libsvm's bounds.
fn coupled(classes: usize, shares: &[f64]) -> Vec<f64> {
    const MOST_ROUNDS: usize = 100;
    let enough = 0.005 / classes as f64;
    let at = |row: usize, column: usize| row * classes + column;
    let mut q = vec![0.0; classes * classes];
    for ((first, second), share) in pairs(classes).zip(shares) {
        let other = 1.0 - share;
        q[at(first, first)] += other * other;
        q[at(second, second)] += share * share;
        q[at(first, second)] = -share * other;
        q[at(second, first)] = -share * other;
    }
    let mut p = vec![1.0 / classes as f64; classes];
    for _ in 0..MOST_ROUNDS {
        let mut qp: Vec<f64> = (0..classes).map(|i| (0..classes).map(|j| q[at(i, j)] * p[j]).sum()).collect();
        let mut pqp: f64 = p.iter().zip(&qp).map(|(p, q)| p * q).sum();
        if qp.iter().all(|v| (v - pqp).abs() < enough) {
            break;
        }
        for i in 0..classes {
            let step = (pqp - qp[i]) / q[at(i, i)];
            let scale = 1.0 + step;
            pqp = (pqp + step * (step * q[at(i, i)] + 2.0 * qp[i])) / (scale * scale);
            p[i] += step;
            for j in 0..classes {
                qp[j] = (qp[j] + step * q[at(i, j)]) / scale;
                p[j] /= scale;
            }
        }
    }
    p
}

#[derive(Debug)]
pub(super) struct Regressor {
    supports: Supports,
    coefficients: Vec<f64>,
    rho: f64,
    /// Whether only the side is told: 1 inside, -1 outside.
    one_class: bool,
}

pub(super) fn regressor(
    _ctx: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let count = usize::try_from(node.get_attr_opt::<i64>("n_supports")?.unwrap_or(0)).unwrap_or(0);
    let supports = Supports::of(node, count)?;
    let coefficients = widened(floats(node, "coefficients")?);
    ensure!(
        coefficients.len() == count,
        "coefficients has {} elements, {count} are expected, one a support vector",
        coefficients.len()
    );
    let &[rho] = floats(node, "rho")? else { bail!("rho holds one number") };
    plain(node)?;
    let one_class = node.get_attr_opt::<i64>("one_class")?.unwrap_or(0) != 0;
    let op = Regressor { supports, coefficients, rho: f64::from(rho), one_class };
    Ok((TableOp::inference(op), vec![]))
}

impl Table for Regressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn features(&self) -> Features {
        Features::Exactly(self.supports.features)
    }

    fn scores(&self) -> usize {
        1
    }

    fn labelled(&self) -> bool {
        false
    }

    fn row(&self, x: &[f64], scores: &mut [f32]) -> i64 {
        let kernels = self.supports.kernels(x);
        let sum: f64 = kernels.iter().zip(&self.coefficients).map(|(k, c)| k * c).sum();
        let value = (sum + self.rho) as f32;
        scores[0] = match self.one_class {
            false => value,
            true if value > 0.0 => 1.0,
            true => -1.0,
        };
        0
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.number(REGRESSOR);
        self.supports.write(to);
        write_reals(&self.coefficients, to);
        to.number(self.rho.to_bits());
        to.flag(self.one_class);
    }
}

impl Regressor {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Regressor, Broken> {
        let (supports, coefficients) = (Supports::read(from)?, read_reals(from)?);
        let (rho, one_class) = (f64::from_bits(from.number()?), from.flag()?);
        must(coefficients.len() == supports.count(), "coefficients are not those of the vectors")?;
        Ok(Regressor { supports, coefficients, rho, one_class })
    }
}
