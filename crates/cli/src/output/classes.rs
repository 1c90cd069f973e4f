//! The best classes of an output: its last axis is the classes, the first row is read.

use std::path::Path;

use ic_nn_types::Tensor;

use crate::elements::{self, Number};
use crate::failure::Failure;

/// One class of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its index on the last axis.
    pub index: usize,
    /// Its name, or its index where no labels are given.
    pub label: String,
    /// Its score; a probability where [`Classes::probabilities`] says so.
    pub score: f64,
}

/// The best classes, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// At most as many as were asked for.
    pub best: Vec<Class>,
    /// Whether the scores are probabilities: nonnegative with the sum 1.
    pub probabilities: bool,
}

/// How the best classes are chosen and named.
#[derive(Debug, Default)]
pub struct Ranking {
    /// How many.
    pub top: usize,
    /// Whether scores go through softmax.
    pub softmax: bool,
    /// Names by index; may be empty.
    pub labels: Vec<String>,
}

impl Ranking {
    /// Ranks the last axis; of several rows, the first.
    pub fn of(&self, tensor: &Tensor) -> Classes {
        let row = tensor.dimensions.last().map_or(1, |d| *d as usize);
        let mut scores: Vec<f64> =
            elements::numbers(tensor).into_iter().take(row).map(Number::as_f64).collect();
        if self.softmax {
            softmax(&mut scores);
        }
        let sum: f64 = scores.iter().sum();
        let probabilities = (sum - 1.0).abs() < 1e-2 && scores.iter().all(|s| *s >= 0.0);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // NaN last, ties by index.
        order.sort_by(|a, b| {
            let (a, b) = (scores[*a], scores[*b]);
            a.is_nan().cmp(&b.is_nan()).then(b.total_cmp(&a))
        });
        let best = order
            .into_iter()
            .take(self.top)
            .map(|index| Class { index, label: self.label(index), score: scores[index] })
            .collect();
        Classes { best, probabilities }
    }

    fn label(&self, index: usize) -> String {
        self.labels.get(index).cloned().unwrap_or_else(|| index.to_string())
    }
}

impl Classes {
    /// A class as people read it: `7 98.2 %`, `tabby 11.3`.
    pub fn text(&self, class: &Class) -> String {
        if self.probabilities {
            format!("{} {:.1} %", class.label, 100.0 * class.score)
        } else {
            format!("{} {}", class.label, crate::format::value(class.score))
        }
    }
}

fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}

/// Reads names, one a line; blank lines at the end are none.
pub fn read_labels(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("cannot read the labels {}: {e}", path.display())))?;
    Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_with_their_names() {
        let tensor = Tensor::from_f32(vec![1, 4], &[0.1, 0.6, 0.1, 0.2]);
        let ranking = Ranking { top: 3, softmax: false, labels: vec!["a".into(), "b".into()] };
        let classes = ranking.of(&tensor);
        assert!(classes.probabilities);
        assert_eq!(classes.best.iter().map(|c| c.label.as_str()).collect::<Vec<_>>(), ["b", "3", "a"]);
        assert_eq!(classes.text(&classes.best[0]), "b 60.0 %");
    }

    #[test]
    fn softmax_makes_probabilities_of_any_scores() {
        let tensor = Tensor::from_f32(vec![3], &[1_000.0, 1_000.0, -1_000.0]);
        let plain = Ranking { top: 1, ..Ranking::default() }.of(&tensor);
        assert!(!plain.probabilities);
        assert_eq!(plain.text(&plain.best[0]), "0 1000");
        let classes = Ranking { top: 9, softmax: true, labels: vec![] }.of(&tensor);
        assert!(classes.probabilities);
        assert_eq!(classes.best.len(), 3);
        assert_eq!(classes.best[0].score, 0.5);
    }

    #[test]
    fn nan_never_wins() {
        let tensor = Tensor::from_f32(vec![3], &[f32::NAN, -5.0, 2.0]);
        let classes = Ranking { top: 3, ..Ranking::default() }.of(&tensor);
        assert_eq!(classes.best.iter().map(|c| c.index).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
