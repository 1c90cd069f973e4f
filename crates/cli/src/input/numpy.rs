//! `.npy` and `.npz` files: any numeric element type, either byte order, C or Fortran layout.

use std::io::{Read, Write};
use std::path::Path;

use ic_nn_types::{Tensor, TensorType};
use ndarray::ArrayD;
use ndarray_npy::npy::header::{Header, Layout};
use ndarray_npy::{NpzReader, ReadDataError, ReadNpyExt, ReadableElement};
use py_literal::Value;

use super::array::Array;
use crate::elements::{self, Number};

/// An element of a file, whatever its type.
struct Element {
    ty: TensorType,
    number: Number,
}

impl ReadableElement for Element {
    fn read_to_end_exact_vec<R: Read>(
        mut reader: R,
        descriptor: &Value,
        len: usize,
    ) -> Result<Vec<Self>, ReadDataError> {
        let Some((ty, big_endian)) = element_type(descriptor) else {
            return Err(ReadDataError::WrongDescriptor(descriptor.clone()));
        };
        let expected = len.checked_mul(ty.size()).ok_or(ReadDataError::MissingData)?;
        let mut bytes = Vec::new();
        // One byte more than there should be shows a file that is too long; nothing is taken on the header's word.
        reader.by_ref().take(expected as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len().cmp(&expected) {
            std::cmp::Ordering::Less => return Err(ReadDataError::MissingData),
            std::cmp::Ordering::Greater => return Err(ReadDataError::ExtraBytes(1)),
            std::cmp::Ordering::Equal => {}
        }
        if big_endian {
            bytes.chunks_exact_mut(ty.size()).for_each(<[u8]>::reverse);
        }
        let element = |bytes: &[u8]| Element { ty, number: elements::read(ty, bytes) };
        Ok(bytes.chunks_exact(ty.size()).map(element).collect())
    }
}

/// The element type of a dtype such as `<f4`, and whether it is big-endian.
fn element_type(descriptor: &Value) -> Option<(TensorType, bool)> {
    let Value::String(text) = descriptor else { return None };
    let kind = text.trim_start_matches(['<', '>', '|', '=']);
    let ty = match kind {
        "f2" => TensorType::FP16,
        "f4" => TensorType::FP32,
        "f8" => TensorType::FP64,
        "u1" => TensorType::U8,
        "u2" => TensorType::U16,
        "u4" => TensorType::U32,
        "u8" => TensorType::U64,
        "i1" => TensorType::I8,
        "i2" => TensorType::I16,
        "i4" => TensorType::I32,
        "i8" => TensorType::I64,
        "b1" => TensorType::BOOL,
        _ => return None,
    };
    Some((ty, text.starts_with('>')))
}

/// NumPy's name of an element type; bfloat16, which it has not, goes as float32.
fn descriptor(ty: TensorType) -> &'static str {
    match ty {
        TensorType::FP16 => "<f2",
        TensorType::FP32 | TensorType::BF16 => "<f4",
        TensorType::FP64 => "<f8",
        TensorType::U8 => "|u1",
        TensorType::U16 => "<u2",
        TensorType::U32 => "<u4",
        TensorType::U64 => "<u8",
        TensorType::I8 => "|i1",
        TensorType::I16 => "<i2",
        TensorType::I32 => "<i4",
        TensorType::I64 => "<i8",
        TensorType::BOOL => "|b1",
    }
}

/// Reads a `.npy` file.
pub fn read_npy(path: &Path) -> Result<Array, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let array = ArrayD::<Element>::read_npy(std::io::BufReader::new(file)).map_err(|e| e.to_string())?;
    array_of(array)
}

/// The arrays of a `.npz` file.
pub struct Npz {
    reader: NpzReader<std::io::BufReader<std::fs::File>>,
}

impl Npz {
    /// Opens a `.npz` file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
        let reader = NpzReader::new(std::io::BufReader::new(file)).map_err(|e| e.to_string())?;
        Ok(Npz { reader })
    }

    /// The arrays' names, in the file's order.
    pub fn names(&mut self) -> Result<Vec<String>, String> {
        self.reader.names().map_err(|e| e.to_string())
    }

    /// Reads one array.
    pub fn read(&mut self, name: &str) -> Result<Array, String> {
        let names = self.names()?;
        if !names.iter().any(|n| n == name) {
            return Err(format!("it has no array {name:?}; it has {}", names.join(", ")));
        }
        array_of(self.reader.by_name(name).map_err(|e| e.to_string())?)
    }
}

fn array_of(array: ArrayD<Element>) -> Result<Array, String> {
    let shape = array.shape().iter().map(|d| *d as u64).collect();
    let ty = array.first().map(|e| e.ty);
    Ok(Array { shape, ty, values: array.iter().map(|e| e.number).collect() })
}

/// Writes a tensor as a `.npy` file.
pub fn write_npy(path: &Path, tensor: &Tensor) -> Result<(), String> {
    let header = Header {
        type_descriptor: Value::String(descriptor(tensor.ty).to_owned()),
        layout: Layout::Standard,
        shape: tensor.dimensions.iter().map(|d| *d as usize).collect(),
    };
    let data = match tensor.ty {
        TensorType::BF16 => elements::bytes(TensorType::FP32, &elements::numbers(tensor))?,
        _ => tensor.data.clone(),
    };
    let mut file = std::fs::File::create(path).map_err(|e| e.to_string())?;
    header.write(&mut file).map_err(|e| e.to_string())?;
    file.write_all(&data).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, ShapeBuilder, array};
    use ndarray_npy::{NpzWriter, write_npy as write_array};

    use super::*;

    #[test]
    fn every_type_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for ty in TensorType::ALL {
            let path = folder.path().join(format!("{ty}.npy"));
            let numbers = [0, 1, 1, 0, 1, 1].map(Number::Int);
            let tensor = Tensor { dimensions: vec![2, 3], ty, data: elements::bytes(ty, &numbers).unwrap() };
            write_npy(&path, &tensor).unwrap();
            let read = read_npy(&path).unwrap();
            assert_eq!(read.shape, [2, 3]);
            let expected = if ty == TensorType::BF16 { TensorType::FP32 } else { ty };
            assert_eq!(read.ty, Some(expected));
            assert_eq!(elements::bytes(ty, &read.values).unwrap(), tensor.data, "{ty}");
        }
    }

    #[test]
    fn fortran_layout_is_read_in_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.npy");
        let columns =
            ArrayD::from_shape_vec(ndarray::IxDyn(&[2, 3]).f(), vec![1f32, 4., 2., 5., 3., 6.]).unwrap();
        write_array(&path, &columns).unwrap();
        let values: Vec<f64> = read_npy(&path).unwrap().values.into_iter().map(Number::as_f64).collect();
        assert_eq!(values, [1., 2., 3., 4., 5., 6.]);
    }

    #[test]
    fn big_endian_is_turned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.npy");
        let mut file = std::fs::File::create(&path).unwrap();
        let header =
            Header { type_descriptor: Value::String(">i4".into()), layout: Layout::Standard, shape: vec![2] };
        header.write(&mut file).unwrap();
        file.write_all(&[0, 0, 0, 7, 255, 255, 255, 255]).unwrap();
        assert_eq!(read_npy(&path).unwrap().values, [Number::Int(7), Number::Int(-1)]);
    }

    #[test]
    fn arrays_of_an_npz_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut npz = NpzWriter::new_compressed(std::fs::File::create(&path).unwrap());
        npz.add_array("ids", &array![1i64, 2]).unwrap();
        npz.add_array("mask", &array![[1.0f64]]).unwrap();
        npz.finish().unwrap();
        let mut npz = Npz::open(&path).unwrap();
        assert_eq!(npz.read("ids").unwrap().values, [Number::Int(1), Number::Int(2)]);
        assert_eq!(npz.read("mask").unwrap().shape, [1, 1]);
        assert_eq!(npz.read("x").unwrap_err(), "it has no array \"x\"; it has ids, mask");
    }

    #[test]
    fn a_header_that_lies_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.npy");
        let mut file = std::fs::File::create(&path).unwrap();
        let shape = vec![1_000_000_000, 1_000];
        let header = Header { type_descriptor: Value::String("<f4".into()), layout: Layout::Standard, shape };
        header.write(&mut file).unwrap();
        file.write_all(&[0; 8]).unwrap();
        assert!(read_npy(&path).unwrap_err().contains("EOF"));
        std::fs::write(&path, b"no array").unwrap();
        assert!(read_npy(&path).is_err());
    }
}
