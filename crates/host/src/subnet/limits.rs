//! What one message may take on an application subnet.

/// Instructions of an update, a timer, a heartbeat or a callback: 40 B.
pub(crate) const UPDATE: u64 = 40_000_000_000;
/// Instructions of a query and of a composite query's call graph: 5 B.
pub(crate) const QUERY: u64 = 5_000_000_000;
/// Instructions of an install, reinstall or upgrade, all its parts together: 300 B.
pub(crate) const INSTALL: u64 = 300_000_000_000;
/// Instructions of `canister_inspect_message`: 200 M.
pub(crate) const INSPECT: u64 = 200_000_000;
/// Instructions executed in one round; longer messages go on in the next.
pub(crate) const SLICE: u64 = 2_000_000_000;
/// Largest ingress message, in bytes: 2 MiB.
pub(crate) const INGRESS_BYTES: u64 = 2 << 20;
/// How deep composite queries may call.
pub(crate) const CALL_DEPTH: usize = 6;
/// Limit of the wasm heap where the settings name none: 3 GiB.
pub(crate) const WASM_MEMORY: u64 = 3 << 30;
/// Bytes of one chunk of a module: 1 MiB.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Instructions charged for storing a chunk, and 1 for each byte of the longest chunk: 200 M.
pub(crate) const UPLOAD_CHUNK: u64 = 200_000_000;
/// Chunks a canister's store holds.
pub(crate) const CHUNKS: usize = 100;
