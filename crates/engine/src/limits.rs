//! What a model may ask for. The caller knows how much memory there is; the engine holds models to it.

/// Bounds that a file, a plan and a run are admitted against, before anything of that size is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the heap can still give.
    pub available_bytes: u64,
}

impl Limits {
    /// What an address space of 32 bits leaves: the default where nobody counts.
    pub const WASM32: Limits = Limits { available_bytes: 3 << 30 };

    /// Peak of decoding a file of `bytes` whose tensors take `tensor_bytes`: the file and its protobuf, then the
    /// protobuf and the tensors, then the tensors and their packed copies are alive together.
    pub(crate) fn load_peak(bytes: u64, tensor_bytes: u64) -> u64 {
        bytes.saturating_mul(2).max(bytes.saturating_add(tensor_bytes.saturating_mul(2)))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::WASM32
    }
}
