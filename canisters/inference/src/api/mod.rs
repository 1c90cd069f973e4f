//! The endpoints, one file for each family. Each checks permission, does one thing and answers.

mod access;
mod accuracy;
pub(crate) mod contexts;
mod estimate;
pub(crate) mod graphs;
mod http;
pub(crate) mod inference;
mod inspect;
pub(crate) mod internal;
mod jobs;
mod memory;
pub(crate) mod properties;
mod registry;
mod server;
mod uploads;

#[cfg(test)]
mod tests;
