//! The endpoints, one file for each family. Each checks permission, does one thing and answers.

pub(crate) mod graphs;
mod inference;
mod inspect;
pub(crate) mod internal;
mod registry;
mod server;
mod uploads;

#[cfg(test)]
mod tests;
