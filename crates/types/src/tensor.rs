//! wasi-nn's `tensor` interface: dimensions, element type, little-endian row-major bytes.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// wasi-nn's `tensor-type` (the first seven), and the element types of WebNN and ONNX that it lacks.
///
/// All are named from the start because a variant that is returned to callers may not grow later.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each label is its own documentation")]
pub enum TensorType {
    FP16,
    FP32,
    FP64,
    BF16,
    U8,
    I32,
    I64,
    I8,
    U16,
    I16,
    U32,
    U64,
    /// One byte an element, 0 or 1.
    BOOL,
}

impl TensorType {
    /// Every type, in the order of declaration.
    pub const ALL: [TensorType; 13] = [
        TensorType::FP16,
        TensorType::FP32,
        TensorType::FP64,
        TensorType::BF16,
        TensorType::U8,
        TensorType::I32,
        TensorType::I64,
        TensorType::I8,
        TensorType::U16,
        TensorType::I16,
        TensorType::U32,
        TensorType::U64,
        TensorType::BOOL,
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            TensorType::U8 | TensorType::I8 | TensorType::BOOL => 1,
            TensorType::FP16 | TensorType::BF16 | TensorType::U16 | TensorType::I16 => 2,
            TensorType::FP32 | TensorType::I32 | TensorType::U32 => 4,
            TensorType::FP64 | TensorType::I64 | TensorType::U64 => 8,
        }
    }

    /// The label as it stands in Candid.
    pub fn label(self) -> &'static str {
        match self {
            TensorType::FP16 => "FP16",
            TensorType::FP32 => "FP32",
            TensorType::FP64 => "FP64",
            TensorType::BF16 => "BF16",
            TensorType::U8 => "U8",
            TensorType::I32 => "I32",
            TensorType::I64 => "I64",
            TensorType::I8 => "I8",
            TensorType::U16 => "U16",
            TensorType::I16 => "I16",
            TensorType::U32 => "U32",
            TensorType::U64 => "U64",
            TensorType::BOOL => "BOOL",
        }
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// wasi-nn's `tensor`. `data` holds product(`dimensions`) elements of `ty`, little-endian, row-major.
///
/// A scalar may be written with dimensions `[]` or, as wasi-nn does, `[1]` where the model declares rank 0.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Length of each axis, outermost first.
    pub dimensions: Vec<u32>,
    /// Element type.
    pub ty: TensorType,
    /// The elements' bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

impl Tensor {
    /// Number of elements that the dimensions name; `None` if the product exceeds 64 bits.
    pub fn elements(&self) -> Option<u64> {
        self.dimensions.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)))
    }

    /// Bytes that the dimensions and the type ask for; `None` if that exceeds 64 bits.
    pub fn expected_bytes(&self) -> Option<u64> {
        self.elements()?.checked_mul(self.ty.size() as u64)
    }

    /// An FP32 tensor from values.
    pub fn from_f32(dimensions: Vec<u32>, values: &[f32]) -> Self {
        Tensor {
            dimensions,
            ty: TensorType::FP32,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// The values of an FP32 tensor; `None` for another type or a ragged byte length.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        (self.ty == TensorType::FP32 && self.data.len().is_multiple_of(4))
            .then(|| self.data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }
}

/// wasi-nn's `named-tensor`, a tuple of the tensor's name in the graph and the tensor.
pub type NamedTensor = (String, Tensor);
