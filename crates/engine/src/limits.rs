//! What a model may ask for. The caller knows how much memory there is; the engine holds models to it.

/// Bounds that a file, a plan and a run are admitted against, before anything of that size is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the heap can still give, beside what is in it: a file handed in is.
    pub available_bytes: u64,
}

impl Limits {
    /// What an address space of 32 bits leaves: the default where nobody counts.
    pub const WASM32: Limits = Limits { available_bytes: 3 << 30 };

    /// What loading a file of `bytes`, which is in the heap already, takes on top of it: its protobuf, then in the place
    /// of both the tensors and the copies packed for the kernels.
    pub(crate) fn load_peak(bytes: u64, tensor_bytes: u64) -> u64 {
        bytes.max(tensor_bytes.saturating_mul(2))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::WASM32
    }
}
