//! Graphs: decode, check, optimise, run.
