//! What tests of whole models share: the models that are here, and numbers for their inputs.

use std::path::{Path, PathBuf};

use ic_nn_types::{Tensor, TensorType};

use crate::InputDescription;

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The digits, what exporters wrote, and MobileNetV2 where it was generated; some of them are there to be refused.
pub(crate) fn models() -> Vec<PathBuf> {
    let mut files = vec![repository("models/digits.onnx")];
    collect(&repository("tests/fixtures/exporters"), &mut files);
    let mobilenet = repository("models/generated/mobilenetv2.onnx");
    files.extend(mobilenet.exists().then_some(mobilenet));
    files.sort();
    files
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
}

/// An input of the smallest shape: floats that differ, zeros of other types.
pub(crate) fn varied(input: &InputDescription) -> Tensor {
    let mut tensor = input.zeros();
    if tensor.ty == TensorType::FP32 {
        for (ix, number) in tensor.data.chunks_exact_mut(4).enumerate() {
            let value = ((ix * 7919 + 13) % 1009) as f32 / 1009.0 - 0.3;
            number.copy_from_slice(&value.to_le_bytes());
        }
    }
    tensor
}
