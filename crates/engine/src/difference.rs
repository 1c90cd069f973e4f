//! How far two tensors are apart.

use ic_nn_types::Tensor as Wire;

use crate::{InferError, tensors};

/// How far a tensor is from the one that is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Cosine of the angle between them, all elements as one vector; 1 where both are zeros, 0 where one is.
    pub cosine: f64,
    /// The largest difference of an element; no number where one is none.
    pub max_error: f64,
    /// The largest magnitude of an element that is expected.
    pub max_value: f64,
}

/// How far `came` is from `expected`, elements of every type as f64.
///
/// # Errors
/// Where they have not as many elements, or elements that are no numbers.
pub fn difference(expected: &Wire, came: &Wire) -> Result<Difference, InferError> {
    let (expected, came) = (tensors::numbers(expected)?, tensors::numbers(came)?);
    if expected.len() != came.len() {
        return Err(InferError::Engine(format!("{} elements expected, {} came", expected.len(), came.len())));
    }
    let (mut dot, mut of_expected, mut of_came) = (0.0, 0.0, 0.0);
    let (mut max_error, mut max_value) = (0.0f64, 0.0f64);
    for (x, y) in expected.into_iter().zip(came) {
        dot += x * y;
        of_expected += x * x;
        of_came += y * y;
        let error = (x - y).abs();
        max_error = if error <= max_error { max_error } else { error };
        max_value = max_value.max(x.abs());
    }
    let lengths = f64::sqrt(of_expected) * f64::sqrt(of_came);
    let cosine = match (of_expected == 0.0, of_came == 0.0) {
        (true, true) => 1.0,
        (false, false) => dot / lengths,
        _ => 0.0,
    };
    Ok(Difference { cosine, max_error, max_value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_and_errors_are_those_of_the_definition() {
        let tensor = |values: &[f32]| Wire::from_f32(vec![values.len() as u32], values);
        let apart = difference(&tensor(&[3.0, 4.0]), &tensor(&[4.0, 3.0])).expect("two");
        assert!((apart.cosine - 0.96).abs() < 1e-12);
        assert_eq!((apart.max_error, apart.max_value), (1.0, 4.0));
        let none = difference(&tensor(&[0.0]), &tensor(&[0.0])).expect("zeros");
        assert_eq!(none, Difference { cosine: 1.0, max_error: 0.0, max_value: 0.0 });
        assert_eq!(difference(&tensor(&[0.0]), &tensor(&[2.0])).expect("one").cosine, 0.0);
        assert!(difference(&tensor(&[1.0]), &tensor(&[f32::NAN])).expect("one").max_error.is_nan());
        assert!(difference(&tensor(&[1.0]), &tensor(&[1.0, 2.0])).is_err());
        let whole = |values: [i32; 2]| Wire {
            dimensions: vec![2],
            ty: ic_nn_types::TensorType::I32,
            data: values.into_iter().flat_map(i32::to_le_bytes).collect(),
        };
        assert_eq!(difference(&whole([1, -7]), &whole([1, -4])).expect("two").max_error, 3.0);
    }
}
