//! Holding what came to what was expected, as the package's own runner does: names aside, every shape and type the
//! same, floats within `atol + rtol * |expected|`, two units in the last place for bfloat16. Integers and booleans
//! have to be equal, which is stricter than the package.

use half::{bf16, f16};
use ic_nn_types::{NamedTensor, Tensor, TensorType};

use crate::Case;

/// Why a runner gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The model was refused before anything ran.
    Refused(String),
    /// The model was taken, and running it failed.
    Failed(String),
    /// It panicked, trapped or was cut off.
    Broke(String),
}

/// A case's own result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every output of every data set is as expected.
    Passed,
    /// Refused, saying why.
    Refused(String),
    /// Taken and then failed.
    Failed(String),
    /// Panicked or trapped.
    Broke(String),
    /// Something else came than was expected.
    Wrong(String),
}

/// Cases whose expected values are off by what f32 rounded away, and by how much: where the inverse transform is 0 the
/// package expects 1.9e-7, over its own tolerance of 1e-7. An engine that computes in f64 answers 0.
const NOISY: [(&str, f64); 2] = [("test_dft_inverse", 1e-6), ("test_dft_inverse_opset19", 1e-6)];

impl Case {
    /// What is added to the case's own tolerance for the noise in its expected values.
    fn noise(&self) -> f64 {
        NOISY.iter().find(|(name, _)| *name == self.name).map_or(0.0, |(_, noise)| *noise)
    }

    /// Runs the case and judges it. `run` loads a model and infers once.
    pub fn judge(
        &self,
        mut run: impl FnMut(Vec<u8>, Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Failure>,
    ) -> Outcome {
        let sets = self.data_sets();
        if sets.is_empty() {
            return match run(self.model(), vec![]) {
                Err(Failure::Refused(why)) => Outcome::Refused(why),
                Err(Failure::Broke(why)) => Outcome::Broke(why),
                Err(Failure::Failed(why)) => Outcome::Failed(why),
                Ok(_) => Outcome::Wrong("it ran, and there is no telling whether it was right".into()),
            };
        }
        for set in sets {
            let came = match run(self.model(), set.inputs) {
                Ok(came) => came,
                Err(Failure::Refused(why)) => return Outcome::Refused(why),
                Err(Failure::Failed(why)) => return Outcome::Failed(why),
                Err(Failure::Broke(why)) => return Outcome::Broke(why),
            };
            if came.len() != set.outputs.len() {
                return Outcome::Wrong(format!(
                    "{} outputs came, {} are expected",
                    came.len(),
                    set.outputs.len()
                ));
            }
            for ((name, came), (_, expected)) in came.iter().zip(&set.outputs) {
                if let Err(why) = compare(came, expected, self.rtol, self.atol.max(self.noise())) {
                    return Outcome::Wrong(format!("output `{name}`: {why}"));
                }
            }
        }
        Outcome::Passed
    }
}

fn compare(came: &Tensor, expected: &Tensor, rtol: f64, atol: f64) -> Result<(), String> {
    if came.ty != expected.ty {
        return Err(format!("{} came, {} is expected", came.ty, expected.ty));
    }
    if came.dimensions != expected.dimensions {
        return Err(format!("{:?} came, {:?} is expected", came.dimensions, expected.dimensions));
    }
    if came.data.len() != expected.data.len() {
        return Err(format!("{} bytes came, {} are expected", came.data.len(), expected.data.len()));
    }
    let (Some(left), Some(right)) = (floats(came), floats(expected)) else {
        let size = came.ty.size();
        let differ = came.data.chunks(size).zip(expected.data.chunks(size)).filter(|(a, b)| a != b);
        return match differ.count() {
            0 => Ok(()),
            n => Err(format!("{n} of {} elements differ", came.data.len() / size)),
        };
    };
    let rtol = if came.ty == TensorType::BF16 { rtol.max(1.0 / 64.0) } else { rtol };
    let close = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (b.is_finite() && (a - b).abs() <= atol + rtol * b.abs())
    };
    let far: Vec<_> = left.iter().zip(&right).filter(|(a, b)| !close(**a, **b)).collect();
    match far.first() {
        None => Ok(()),
        Some((a, b)) => {
            Err(format!("{} of {} elements differ, as {a} from {b} that is expected", far.len(), left.len()))
        }
    }
}

/// The values of a tensor of floats; `None` for another type.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let data = tensor.data.as_slice();
    Some(match tensor.ty {
        TensorType::FP16 => data.as_chunks().0.iter().map(|b| f64::from(f16::from_le_bytes(*b))).collect(),
        TensorType::BF16 => data.as_chunks().0.iter().map(|b| f64::from(bf16::from_le_bytes(*b))).collect(),
        TensorType::FP32 => data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        TensorType::FP64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![values.len() as u32], values)
    }

    #[test]
    fn floats_are_held_to_the_tolerance_and_nan_to_nan() {
        let expected = of(&[1000.0, f32::NAN, f32::INFINITY, 0.0]);
        assert_eq!(compare(&of(&[1000.9, f32::NAN, f32::INFINITY, 0.0]), &expected, 1e-3, 1e-7), Ok(()));
        for wrong in [
            [1001.1, f32::NAN, f32::INFINITY, 0.0],
            [1000.0, 0.0, f32::INFINITY, 0.0],
            [1000.0, f32::NAN, f32::NEG_INFINITY, 0.0],
            [1000.0, f32::NAN, 1e38, 0.0],
            [1000.0, f32::NAN, f32::INFINITY, 1e-6],
        ] {
            assert!(compare(&of(&wrong), &expected, 1e-3, 1e-7).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn integers_types_and_shapes_have_to_be_equal() {
        let integers = |values: &[i32], dimensions: &[u32]| Tensor {
            dimensions: dimensions.to_vec(),
            ty: TensorType::I32,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let expected = integers(&[1_000_000, 2], &[2]);
        assert_eq!(compare(&integers(&[1_000_000, 2], &[2]), &expected, 1e-3, 1e-7), Ok(()));
        assert!(compare(&integers(&[1_000_001, 2], &[2]), &expected, 1e-3, 1e-7).is_err());
        assert!(compare(&integers(&[1_000_000, 2], &[2, 1]), &expected, 1e-3, 1e-7).is_err());
        let other = Tensor { ty: TensorType::U32, ..expected.clone() };
        assert!(compare(&other, &expected, 1e-3, 1e-7).is_err());
    }
}
