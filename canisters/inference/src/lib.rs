//! The ic-nn service: wasi-nn for the Internet Computer, as a canister.
//!
//! This crate is endpoints and wiring. The registry is `ic-nn-store`'s, the engine `ic-nn-engine`'s, the interface
//! `candid/ic_nn.did`'s. Endpoints answer errors and never trap on what a caller sends; what the engine might still
//! panic on runs in a call of the canister to itself (`contained`), whose trap takes back everything it did.

mod api;
mod audit;
mod authority;
mod batches;
mod cache;
mod calls;
mod contained;
mod facts;
mod images;
mod jobs;
mod leases;
mod ledger;
mod lifecycle;
mod memory;
mod models;
mod pipeline;
mod price;
mod receipts;
mod resident;
mod run;
mod runtime;
mod session;
mod slices;
mod state;
mod streams;
mod tickets;
mod timers;
mod variant;
mod wire;
