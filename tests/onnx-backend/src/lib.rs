//! The backend cases of PyPI's `onnx` package, as `scripts/onnx-backend/run` exports them: read, judged at the
//! package's own tolerances, and written up by operator.
//!
//! It knows nothing of what runs a model: whoever has a runner hands [`Case::judge`] a closure. So the same cases
//! go through the native engine and through the canister on every runtime.

mod case;
mod judge;
mod report;

pub use case::{Case, DataSet, exported};
pub use judge::{Failure, Outcome};
pub use report::{Report, Result};

/// Where the repository is: cases and committed results are found from here.
pub fn repository() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
