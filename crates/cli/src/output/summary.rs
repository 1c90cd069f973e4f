//! What an output tensor holds, told in one row.

use ic_nn_types::Tensor;

use crate::elements::{self, Number};

/// How many values a row shows.
const SHOWN: usize = 4;

/// The extremes, the mean and the first values of a tensor.
#[derive(Debug, PartialEq)]
pub struct Summary {
    /// Smallest value; none in an empty tensor, NaN left out.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Mean of the values that are not NaN.
    pub mean: Option<f64>,
    /// Values that are NaN.
    pub nans: usize,
    /// The first values.
    pub first: Vec<f64>,
    /// Whether there are more than those.
    pub more: bool,
}

impl Summary {
    /// Reads the whole tensor.
    pub fn of(tensor: &Tensor) -> Self {
        let values: Vec<f64> = elements::numbers(tensor).into_iter().map(Number::as_f64).collect();
        let real: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        Summary {
            min: real.iter().copied().reduce(f64::min),
            max: real.iter().copied().reduce(f64::max),
            mean: (!real.is_empty()).then(|| real.iter().sum::<f64>() / real.len() as f64),
            nans: values.len() - real.len(),
            first: values.iter().copied().take(SHOWN).collect(),
            more: values.len() > SHOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_counted_and_left_out() {
        let tensor = Tensor::from_f32(vec![5], &[1.0, f32::NAN, 3.0, -1.0, 5.0]);
        let summary = Summary::of(&tensor);
        assert_eq!(
            (summary.min, summary.max, summary.mean, summary.nans),
            (Some(-1.0), Some(5.0), Some(2.0), 1)
        );
        assert!(summary.more);
        assert_eq!(Summary::of(&Tensor::from_f32(vec![0], &[])).mean, None);
    }
}
