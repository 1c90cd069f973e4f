//! Decompression of uploaded modules.
//!
//! A module comes as wasm or as gzip of wasm, told apart by the first bytes. What comes out is never larger than
//! [`limits::MODULE_BYTES`], whatever the compressed bytes promise.

use std::borrow::Cow;
use std::io::Read;

use super::InvalidModule;
use super::limits;

const WASM_MAGIC: &[u8] = b"\0asm";
const GZIP_MAGIC: &[u8] = b"\x1f\x8b\x08";

/// The wasm in an upload.
///
/// # Errors
///
/// [`InvalidModule::Format`] for bytes that are neither wasm nor gzip of something, or are too large.
pub(super) fn decompress(bytes: &[u8]) -> Result<Cow<'_, [u8]>, InvalidModule> {
    if bytes.starts_with(WASM_MAGIC) {
        return if bytes.len() as u64 > limits::MODULE_BYTES { Err(too_large()) } else { Ok(bytes.into()) };
    }
    if !bytes.starts_with(GZIP_MAGIC) {
        return Err(InvalidModule::Format("unsupported canister module format".into()));
    }
    let mut wasm = Vec::new();
    // One byte over the limit tells a module that is too large from one that just fits.
    flate2::read::MultiGzDecoder::new(bytes)
        .take(limits::MODULE_BYTES + 1)
        .read_to_end(&mut wasm)
        .map_err(|e| InvalidModule::Format(e.to_string()))?;
    if wasm.len() as u64 > limits::MODULE_BYTES {
        return Err(too_large());
    }
    Ok(wasm.into())
}

fn too_large() -> InvalidModule {
    InvalidModule::Format(format!("specified uncompressed size exceeds {} bytes", limits::MODULE_BYTES))
}
