//! Numbers with a shape as a file gave them, and how they become the tensor that the model wants.
//!
//! Leading axes of one may be left out or be too many; a flat list may stand for any shape of as many elements.
//! Everything else must agree, and what does not is said with both sides.

use ic_nn_types::{Tensor, TensorDescription, TensorType};

use crate::elements::{self, Number};
use crate::format;

/// An array of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each axis, outermost first.
    pub shape: Vec<u64>,
    /// The element type that the file named; none for JSON.
    pub ty: Option<TensorType>,
    /// The elements.
    pub values: Vec<Number>,
}

impl Array {
    /// The tensor that `wanted` describes; the error says what was wanted and what came.
    pub fn fit(&self, wanted: &TensorDescription) -> Result<Tensor, String> {
        let dimensions = fit_shape(&self.shape, &wanted.dimensions).ok_or_else(|| {
            format!(
                "the model wants {}, the file holds {}",
                format::shape(&wanted.dimensions),
                format::axes(self.shape.iter().map(u64::to_string))
            )
        })?;
        let data = elements::bytes(wanted.ty, &self.values).map_err(|e| match self.ty {
            Some(ty) => format!("the model wants {}, the file holds {ty}: {e}", wanted.ty),
            None => format!("the model wants {}: {e}", wanted.ty),
        })?;
        Ok(Tensor { dimensions, ty: wanted.ty, data })
    }
}

/// `given` as dimensions that `wanted` accepts.
fn fit_shape(given: &[u64], wanted: &[Option<u32>]) -> Option<Vec<u32>> {
    let mut axes: Vec<u32> = given.iter().map(|d| u32::try_from(*d).ok()).collect::<Option<_>>()?;
    if let [elements] = axes[..]
        && wanted.len() != 1
    {
        return fit_flat(elements, wanted);
    }
    while axes.len() > wanted.len() && axes.first() == Some(&1) {
        axes.remove(0);
    }
    while axes.len() < wanted.len() {
        axes.insert(0, 1);
    }
    let agrees =
        axes.len() == wanted.len() && axes.iter().zip(wanted).all(|(a, w)| w.is_none_or(|w| w == *a));
    agrees.then_some(axes)
}

/// A flat list in the wanted shape: its dynamic axis, if it has one, takes what is left; several are 1 but the last.
fn fit_flat(elements: u32, wanted: &[Option<u32>]) -> Option<Vec<u32>> {
    let fixed = wanted.iter().flatten().try_fold(1u32, |n, d| n.checked_mul(*d))?;
    let last_free = wanted.iter().rposition(Option::is_none);
    let rest = match (last_free, fixed) {
        (None, _) if fixed == elements => 1,
        (Some(_), 1..) if elements.is_multiple_of(fixed) => elements / fixed,
        _ => return None,
    };
    let axis = |(i, d): (usize, &Option<u32>)| d.unwrap_or(if Some(i) == last_free { rest } else { 1 });
    Some(wanted.iter().enumerate().map(axis).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(ty: TensorType, dimensions: &[Option<u32>]) -> TensorDescription {
        let symbols = vec![None; dimensions.len()];
        TensorDescription { name: "x".into(), ty, dimensions: dimensions.to_vec(), symbols }
    }

    #[test]
    fn shapes_agree_up_to_leading_ones() {
        let image = [Some(1), Some(1), Some(8), Some(8)];
        assert_eq!(fit_shape(&[8, 8], &image), Some(vec![1, 1, 8, 8]));
        assert_eq!(fit_shape(&[1, 1, 1, 8, 8], &image), Some(vec![1, 1, 8, 8]));
        assert_eq!(fit_shape(&[2, 1, 8, 8], &image), None);
        assert_eq!(fit_shape(&[2, 1, 8, 8], &[None, Some(1), Some(8), Some(8)]), Some(vec![2, 1, 8, 8]));
        assert_eq!(fit_shape(&[9, 8], &image), None);
        assert_eq!(fit_shape(&[], &[Some(1)]), Some(vec![1]));
        assert_eq!(fit_shape(&[u64::MAX], &[None]), None);
    }

    #[test]
    fn a_flat_list_takes_the_wanted_shape() {
        assert_eq!(fit_shape(&[64], &[Some(1), Some(8), Some(8)]), Some(vec![1, 8, 8]));
        assert_eq!(fit_shape(&[128], &[None, Some(8), Some(8)]), Some(vec![2, 8, 8]));
        assert_eq!(fit_shape(&[12], &[None, None]), Some(vec![1, 12]));
        assert_eq!(fit_shape(&[63], &[Some(1), Some(8), Some(8)]), None);
        assert_eq!(fit_shape(&[4], &[None, Some(0)]), None);
        assert_eq!(fit_shape(&[1], &[]), Some(vec![]));
    }

    #[test]
    fn a_misfit_names_both_sides() {
        let array =
            Array { shape: vec![3, 4], ty: Some(TensorType::FP32), values: vec![Number::Float(0.5); 12] };
        let error = array.fit(&wanted(TensorType::FP32, &[Some(1), Some(5)])).unwrap_err();
        assert_eq!(error, "the model wants [1, 5], the file holds [3, 4]");
        let error = array.fit(&wanted(TensorType::I64, &[None, Some(4)])).unwrap_err();
        assert_eq!(
            error,
            "the model wants I64, the file holds FP32: element 0 is 0.5, which I64 cannot hold"
        );
    }
}
