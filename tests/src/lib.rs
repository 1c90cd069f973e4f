//! Suites written once, run on every runtime.
