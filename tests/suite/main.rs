//! Behaviour of the service through its wasm, on every runtime that is there.

mod access;
mod contexts;
mod digits;
mod echo;
mod encodings;
mod estimate;
mod exporters;
mod flat;
mod graphs_api;
mod hostile;
mod images;
mod inputs;
mod matrix;
mod mobilenet;
mod mutation;
mod proxy;
mod quantize;
mod queries;
mod random;
mod registry;
mod registry_api;
mod server_api;
mod slices;
mod strangers;
mod upgrade;
mod uploads;
