//! `ic-nn`, the command line.
fn main() {}
