//! The model registry in stable memory.
