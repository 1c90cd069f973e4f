//! Behaviour of the service through its wasm, on every runtime that is there.

mod access;
mod digits;
mod exporters;
mod hostile;
mod inputs;
mod mobilenet;
mod mutation;
mod queries;
mod registry;
mod upgrade;
mod uploads;
