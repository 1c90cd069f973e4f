//! Suites written once, run on every runtime.

pub mod onnx;
mod pocket;
mod runtimes;
pub mod service;
pub mod trapping;

pub use pocket::{Pocket, PocketServer};
pub use runtimes::on_every_runtime;
