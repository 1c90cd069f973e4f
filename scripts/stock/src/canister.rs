//! The canister: a file comes in parts, then it runs. Nothing is kept, nobody is refused.
#![allow(unsafe_code, reason = "symbols that the linker asks for")]

use std::cell::RefCell;

use ic_cdk::{init, update};
use serde_bytes::ByteBuf;

use crate::Stock;

thread_local! {
    static FILE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static STOCK: RefCell<Option<Stock>> = const { RefCell::new(None) };
}

#[init]
fn init() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker defines the symbol; it takes and gives nothing, and runs once in an instance's life.
    unsafe { __wasm_call_ctors() }
}

/// The backend of `getrandom`, which nothing here asks.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(_dest: *mut u8, _len: usize) -> Result<(), u32> {
    ic_cdk::api::trap("randomness was asked for")
}

#[update]
fn add(part: ByteBuf) {
    FILE.with_borrow_mut(|file| file.extend_from_slice(&part));
}

#[update]
fn load() -> Result<(), String> {
    let file = FILE.take();
    let stock = Stock::load(&file).map_err(|e| format!("{e:#}"))?;
    STOCK.set(Some(stock));
    Ok(())
}

#[update]
fn run() -> Result<Vec<f32>, String> {
    STOCK.with_borrow(|stock| match stock {
        Some(stock) => stock.run().map_err(|e| format!("{e:#}")),
        None => Err("nothing is loaded".to_owned()),
    })
}
