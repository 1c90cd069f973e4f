//! Constant tensors: their data must be in the file, of a type that is held, and as long as their dimensions say.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use super::{admit, bfloat, malformed};
use crate::{Limits, ModelError, element};

/// Elements and bytes of a tensor that passed.
pub(super) struct Size {
    pub(super) elements: u64,
    pub(super) bytes: u64,
}

/// Checks `tensor`, and rewrites typed data that tract would look for in another field (U32, U64) as raw bytes, and
/// bfloat16 as f32.
pub(super) fn check(place: &str, tensor: &mut TensorProto, limits: &Limits) -> Result<Size, ModelError> {
    let mut size = checked(place, tensor, limits)?;
    if bfloat::is(tensor) {
        size.bytes *= 2;
        admit(place, size.bytes, limits)?;
        bfloat::widen(tensor);
    }
    Ok(size)
}

fn checked(place: &str, tensor: &mut TensorProto, limits: &Limits) -> Result<Size, ModelError> {
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        let location =
            tensor.external_data.iter().find(|e| e.key == "location").map_or("?", |e| e.value.as_str());
        return Err(ModelError::Unsupported {
            place: place.into(),
            reason: format!(
                "its data are in another file (`{location}`); pass that file behind the model as a further builder, or make it \
                 one file: PyTorch exports with external_data=False, onnx.save_model saves with save_as_external_data=False"
            ),
        });
    }
    if tensor.segment.is_some() {
        return Err(malformed(place, "tensor segments are not part of a model file"));
    }
    let Some(ty) = element::from_onnx(tensor.data_type) else {
        return Err(ModelError::Unsupported {
            place: place.into(),
            reason: format!("element type {} is not held", element::onnx_name(tensor.data_type)),
        });
    };
    let elements = tensor
        .dims
        .iter()
        .try_fold(1u64, |n, &d| u64::try_from(d).ok().and_then(|d| n.checked_mul(d)))
        .filter(|n| *n <= u64::from(u32::MAX))
        .ok_or_else(|| {
            malformed(place, format!("dimensions {:?} are not those of a tensor that fits", tensor.dims))
        })?;
    let bytes = elements * ty.size() as u64;
    admit(place, bytes, limits)?;
    let expected = |field: &str, came: usize| {
        malformed(
            place,
            format!("dimensions {:?} are {elements} elements, {field} holds {came}", tensor.dims),
        )
    };
    if !tensor.raw_data.is_empty() {
        if tensor.raw_data.len() as u64 != bytes {
            return Err(malformed(
                place,
                format!(
                    "dimensions {:?} of {ty} are {bytes} bytes, raw_data holds {}",
                    tensor.dims,
                    tensor.raw_data.len()
                ),
            ));
        }
        return Ok(Size { elements, bytes });
    }
    let (field, came) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => ("float_data", tensor.float_data.len()),
        Ok(DataType::Double) => ("double_data", tensor.double_data.len()),
        Ok(DataType::Int64) => ("int64_data", tensor.int64_data.len()),
        Ok(DataType::Uint32 | DataType::Uint64) => ("uint64_data", tensor.uint64_data.len()),
        _ => ("int32_data", tensor.int32_data.len()),
    };
    if came as u64 != elements {
        return Err(expected(field, came));
    }
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Uint32) => {
            tensor.raw_data = std::mem::take(&mut tensor.uint64_data)
                .iter()
                .flat_map(|v| (*v as u32).to_le_bytes())
                .collect();
        }
        Ok(DataType::Uint64) => {
            tensor.raw_data =
                std::mem::take(&mut tensor.uint64_data).iter().flat_map(|v| v.to_le_bytes()).collect();
        }
        _ => {}
    }
    Ok(Size { elements, bytes })
}

/// The values of a small integer tensor: a shape, a range's bounds. `None` for anything else.
pub(super) fn small_integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    const LONGEST: usize = 64;
    let values: Vec<i64> = match DataType::try_from(tensor.data_type).ok()? {
        DataType::Int64 if tensor.raw_data.is_empty() => tensor.int64_data.clone(),
        DataType::Int64 => {
            tensor.raw_data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
        }
        DataType::Int32 if tensor.raw_data.is_empty() => {
            tensor.int32_data.iter().map(|&v| i64::from(v)).collect()
        }
        DataType::Int32 => {
            tensor.raw_data.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()
        }
        _ => return None,
    };
    (values.len() <= LONGEST).then_some(values)
}
