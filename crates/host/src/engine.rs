//! The engine all canisters of a host share, and the modules it has compiled.
//!
//! Owns wasmtime's configuration: deterministic, the Internet Computer's features and stack, no clock and no randomness.
//! Runs nothing.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, Instance, InstancePre, Linker, Module, Store, WasmFeatures};

use crate::cache::Cache;
use crate::failure::Failure;
use crate::heap::{ADDRESSABLE, Creator};
use crate::sysapi::{self, Ctx};
use crate::wasm::{self, CustomSection, Exports, Prepared};

/// Stack of a wasm execution, in bytes: 5 MiB.
const WASM_STACK: usize = 5 << 20;
/// Stack of the thread that runs wasm: the wasm's own and room for the host's functions.
const THREAD_STACK: usize = 16 << 20;

/// Compiles modules and keeps them.
pub(crate) struct Compiler {
    engine: Engine,
    linker: Linker<Ctx>,
    cache: Option<Cache>,
}

/// A compiled module and what is known of it.
pub(crate) struct Code {
    engine: Engine,
    pre: InstancePre<Ctx>,
    facts: Facts,
}

/// What the host has to know of a module besides its machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// sha256 of the module as it was uploaded.
    pub hash: [u8; 32],
    pub exports: Exports,
    pub custom_sections: Vec<CustomSection>,
    pub mutable_globals: Vec<u32>,
    /// Instructions charged for compiling it.
    pub compile_charge: u64,
    /// Bytes of the module, decompressed.
    pub wasm_bytes: u64,
    /// Initial 64 KiB pages.
    pub initial_pages: u64,
    /// Whether segments can be dropped while it runs.
    pub passive_segments: bool,
}

impl Compiler {
    /// A compiler that keeps machine code in `cache`.
    pub fn new(cache: Option<Cache>) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .cranelift_nan_canonicalization(true)
            .max_wasm_stack(WASM_STACK)
            .async_stack_size(THREAD_STACK)
            .with_host_memory(Arc::new(Creator))
            .memory_reservation(ADDRESSABLE as u64)
            .memory_may_move(false)
            .memory_init_cow(false)
            .wasm_backtrace_max_frames(None)
            .wasm_relaxed_simd(false)
            .wasm_multi_memory(false)
            .wasm_extended_const(false)
            .wasm_memory64(false)
            .wasm_tail_call(true)
            .wasm_features(WasmFeatures::EXCEPTIONS | WasmFeatures::WIDE_ARITHMETIC, false);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        sysapi::link(&mut linker)?;
        Ok(Self { engine, linker, cache })
    }

    /// Validates, instruments and compiles `wasm`, or takes it from the cache.
    pub fn compile(&self, wasm: &[u8]) -> Result<Arc<Code>, Failure> {
        let hash: [u8; 32] = Sha256::digest(wasm).into();
        let kept = || self.cache.as_ref().and_then(|cache| cache.load(&self.engine, &hash));
        if let Some((facts, module)) = kept() {
            return self.code(&module, facts);
        }
        let turn = self.cache.as_ref().and_then(|cache| cache.turn(&hash, wasm));
        if turn.is_some()
            && let Some((facts, module)) = kept()
        {
            return self.code(&module, facts);
        }
        let prepared = wasm::prepare(wasm).map_err(|error| match error {
            wasm::InvalidModule::Engine(_) => Failure::Engine(error.to_string()),
            _ => Failure::InvalidModule(error),
        })?;
        let module = Module::new(&self.engine, &prepared.binary)
            .map_err(|error| Failure::Engine(format!("Failed to compile module: {error:#}")))?;
        let facts = Facts::new(hash, prepared);
        if let (Some(cache), Ok(machine_code)) = (&self.cache, module.serialize()) {
            cache.store(&facts, &machine_code);
        }
        self.code(&module, facts)
    }

    fn code(&self, module: &Module, facts: Facts) -> Result<Arc<Code>, Failure> {
        let pre = (self.linker.instantiate_pre(module))
            .map_err(|error| Failure::Engine(format!("Failed to instantiate module: {error:#}")))?;
        Ok(Arc::new(Code { engine: self.engine.clone(), pre, facts }))
    }
}

impl Facts {
    fn new(hash: [u8; 32], prepared: Prepared) -> Self {
        Self {
            hash,
            compile_charge: prepared.install_charge(),
            passive_segments: has_passive_segments(&prepared.binary),
            exports: prepared.exports,
            custom_sections: prepared.custom_sections,
            mutable_globals: prepared.mutable_globals,
            wasm_bytes: prepared.wasm_bytes,
            initial_pages: prepared.memory_pages.0,
        }
    }
}

fn has_passive_segments(binary: &[u8]) -> bool {
    use wasmparser::{DataKind, ElementKind, Parser, Payload};
    Parser::new(0).parse_all(binary).any(|payload| match payload {
        Ok(Payload::DataSection(section)) => {
            (section.into_iter()).any(|data| data.is_ok_and(|data| matches!(data.kind, DataKind::Passive)))
        }
        Ok(Payload::ElementSection(section)) => (section.into_iter())
            .any(|element| element.is_ok_and(|element| matches!(element.kind, ElementKind::Passive))),
        _ => false,
    })
}

impl Code {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn instantiate(&self, store: &mut Store<Ctx>) -> wasmtime::Result<Instance> {
        self.pre.instantiate(store)
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn mutable_globals(&self) -> &[u32] {
        &self.facts.mutable_globals
    }

    pub fn has_passive_segments(&self) -> bool {
        self.facts.passive_segments
    }
}

/// Runs `work` on a thread whose stack has room for a wasm execution.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let result = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("canisters".into())
            .stack_size(THREAD_STACK)
            .spawn_scoped(scope, work)
            .map(std::thread::ScopedJoinHandle::join)
    });
    match result {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => panic!("no thread to run canisters on: {error}"),
    }
}
