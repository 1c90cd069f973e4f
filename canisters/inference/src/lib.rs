//! The ic-nn service.
