//! One canister's code, alive: runs a function for a message, then keeps or forgets what it changed.
//!
//! Owns the wasmtime instance with its heap, globals and stable memory. Between messages the instance stays; forgetting
//! puts heap, stable memory and globals back to the last commit point. Knows nothing of calls, cycles or other canisters.

use std::sync::Arc;

use wasmtime::{Global, Instance, Memory, Ref, Store, Table, Trap, Val};

use crate::engine::Code;
use crate::failure::Failure;
use crate::heap::{self, Heap, Overlay};
use crate::message::{Closure, Message};
use crate::stable::{Stable, StableOverlay, WASM_PAGE};
use crate::sysapi::Ctx;
use crate::wasm::{self, CostSchedule};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    /// An exported function without parameters.
    Export(&'a str),
    /// A function of the table.
    Closure(Closure),
}

/// What an execution came to.
pub(crate) struct Ran {
    pub result: Result<(), Failure>,
    /// The message with its effects; to be dropped after a failure, but for the log.
    pub message: Message,
    /// Instructions taken, at most the message's limit.
    pub instructions: u64,
    /// Instructions charged for pages after the execution.
    pub page_instructions: u64,
    /// Heap pages that differ from the last commit.
    pub dirty: Vec<u32>,
    /// Stable pages written.
    pub stable_written: u64,
}

/// A canister's instance.
pub(crate) struct Executor {
    code: Arc<Code>,
    store: Store<Ctx>,
    instance: Instance,
    globals: Vec<Global>,
    committed: Vec<Val>,
    /// Ran since it was instantiated.
    used: bool,
}

/// All that one canister's messages changed and have not committed.
#[derive(Default)]
pub(crate) struct Suspended {
    heap: Option<Overlay>,
    stable: StableOverlay,
    globals: Vec<Val>,
}

impl Executor {
    /// Instantiates `code` with empty heap and the stable memory in `stable`, which stays there where that fails. The data
    /// segments are committed.
    ///
    /// # Errors
    ///
    /// What the engine refuses: segments out of bounds, no address space.
    pub fn new(
        code: &Arc<Code>,
        schedule: CostSchedule,
        stable: &mut Option<Stable>,
        message: Message,
    ) -> Result<Self, Failure> {
        let ctx = Ctx {
            memory: None,
            counter: None,
            heap: None,
            stable: Stable::default(),
            schedule,
            message,
            touched_charge: 0,
        };
        let mut executor = Self::instantiate(code, ctx)?;
        executor.set_stable(stable.take().unwrap_or_default());
        if let Some(heap) = &mut executor.store.data_mut().heap {
            let changed = heap.changed().map_err(system)?;
            heap.commit(&changed).map_err(system)?;
        }
        executor.committed = executor.read_globals();
        Ok(executor)
    }

    fn instantiate(code: &Arc<Code>, mut ctx: Ctx) -> Result<Self, Failure> {
        let old = ctx.heap.take();
        let adopted = old.as_ref().map(Heap::committed_size);
        let mut store = Store::new(code.engine(), ctx);
        let (instance, heap) = heap::capture(old, || code.instantiate(&mut store));
        let instance =
            instance.map_err(|error| Failure::Engine(format!("Failed to instantiate module: {error:#}")))?;
        let memory = instance.get_memory(&mut store, wasm::MEMORY_EXPORT);
        let counter = instance.get_global(&mut store, wasm::COUNTER_EXPORT);
        let globals = (code.mutable_globals().iter())
            .filter_map(|index| instance.get_global(&mut store, &wasm::global_export(*index)))
            .collect();
        let ctx = store.data_mut();
        ctx.memory = memory;
        ctx.counter = counter;
        ctx.heap = heap;
        let prices = ctx.schedule.heap;
        if let Some(heap) = &mut ctx.heap {
            heap.watch_reads(prices.read > 0 || prices.write > 0);
        }
        let mut executor =
            Self { code: Arc::clone(code), store, instance, globals, committed: Vec::new(), used: false };
        if let (Some(committed), Some(memory)) = (adopted, memory) {
            executor.grow_to(memory, committed)?;
            if let Some(heap) = &mut executor.store.data_mut().heap {
                heap.rollback().map_err(system)?;
            }
        }
        Ok(executor)
    }

    fn grow_to(&mut self, memory: Memory, bytes: usize) -> Result<(), Failure> {
        let missing = (bytes as u64 / WASM_PAGE).saturating_sub(memory.size(&self.store));
        if missing > 0 {
            (memory.grow(&mut self.store, missing)).map_err(|error| Failure::Engine(error.to_string()))?;
        }
        Ok(())
    }

    /// The code it runs.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// Bytes of heap now.
    pub fn heap_bytes(&self) -> u64 {
        self.store.data().heap.as_ref().map_or(0, |heap| heap.size() as u64)
    }

    /// The stable memory.
    pub fn stable(&self) -> &Stable {
        &self.store.data().stable
    }

    /// Takes the stable memory out, its uncommitted changes with it.
    pub fn take_stable(&mut self) -> Stable {
        std::mem::take(&mut self.store.data_mut().stable)
    }

    /// Puts a stable memory in.
    pub fn set_stable(&mut self, stable: Stable) {
        self.store.data_mut().stable = stable;
    }

    /// The committed heap.
    pub fn heap(&self) -> &[u8] {
        self.store.data().heap.as_ref().map_or(&[], Heap::bytes)
    }

    /// The committed globals, as raw bits.
    pub fn globals(&self) -> Vec<u128> {
        (self.committed.iter())
            .map(|value| match value {
                Val::I32(bits) => u128::from(*bits as u32),
                Val::I64(bits) => u128::from(*bits as u64),
                Val::F32(bits) => u128::from(*bits),
                Val::F64(bits) => u128::from(*bits),
                Val::V128(bits) => bits.as_u128(),
                _ => 0,
            })
            .collect()
    }

    /// Sets heap and globals as they were saved, and commits them.
    pub fn restore(&mut self, heap: &[u8], globals: &[u128]) -> Result<(), Failure> {
        if let Some(memory) = self.store.data().memory {
            self.grow_to(memory, heap.len())?;
        }
        if let Some(live) = &mut self.store.data_mut().heap {
            live.restore(heap).map_err(system)?;
        }
        let values: Vec<Val> = (self.read_globals().iter().zip(globals))
            .map(|(old, bits)| match old {
                Val::I32(_) => Val::I32(*bits as u32 as i32),
                Val::I64(_) => Val::I64(*bits as u64 as i64),
                Val::F32(_) => Val::F32(*bits as u32),
                Val::F64(_) => Val::F64(*bits as u64),
                Val::V128(_) => Val::V128((*bits).into()),
                _ => *old,
            })
            .collect();
        self.write_globals(&values)?;
        self.committed = values;
        Ok(())
    }

    /// Runs a function for `message`. What it changed is neither committed nor rolled back yet.
    pub fn execute(&mut self, entry: Entry<'_>, message: Message) -> Result<Ran, Failure> {
        if self.used && self.code.has_passive_segments() {
            self.rebuild()?;
        }
        self.used = true;
        let (limit, mode) = (message.limit, message.mode);
        let facts = message.canister.clone();
        let ctx = self.store.data_mut();
        ctx.message = message;
        ctx.touched_charge = 0;
        ctx.stable.begin_message();
        if let Some(counter) = ctx.counter {
            (counter.set(&mut self.store, Val::I64(limit as i64))).map_err(engine)?;
        }
        let mut result = self.call(entry);
        let mut left = match self.store.data().counter {
            Some(counter) => counter.get(&mut self.store).i64().unwrap_or(0),
            None => limit as i64,
        };
        let ctx = self.store.data_mut();
        left -= ctx.charge_for_touch() as i64;
        if left < 0 && result.is_ok() {
            result = Err(Failure::InstructionLimit(limit));
        }
        let (mut dirty, mut page_instructions, stable_written) = (Vec::new(), 0, ctx.stable.written());
        if mode.counts_pages() {
            if let Some(heap) = &ctx.heap {
                dirty = heap.changed().map_err(system)?;
            }
            let prices = (ctx.schedule.heap.dirty, ctx.schedule.stable.dirty);
            page_instructions = dirty.len() as u64 * prices.0 + stable_written * prices.1;
        }
        let message = std::mem::replace(&mut ctx.message, Message::idle(facts));
        Ok(Ran {
            result,
            message,
            instructions: limit.saturating_sub(left.max(0) as u64),
            page_instructions,
            dirty,
            stable_written,
        })
    }

    fn call(&mut self, entry: Entry<'_>) -> Result<(), Failure> {
        let outcome = match entry {
            Entry::Export(name) => {
                let function = self.instance.get_typed_func::<(), ()>(&mut self.store, name);
                function.map_err(engine)?.call(&mut self.store, ())
            }
            Entry::Closure(closure) => {
                let function = self.function(closure.function)?;
                let function = function.typed::<i32, ()>(&self.store).map_err(|_| signature())?;
                function.call(&mut self.store, closure.environment as i32)
            }
        };
        outcome.map_err(|error| match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => match error.downcast_ref::<Trap>() {
                Some(trap) => trapped(*trap),
                None => Failure::Engine(format!("{error:#}")),
            },
        })
    }

    fn function(&mut self, index: u32) -> Result<wasmtime::Func, Failure> {
        let missing = Failure::NoSuchFunction(index);
        let table: Option<Table> = self.instance.get_table(&mut self.store, wasm::TABLE_EXPORT);
        match table.and_then(|table| table.get(&mut self.store, u64::from(index))) {
            Some(Ref::Func(Some(function))) => Ok(function),
            Some(_) => Err(Failure::Contract("unexpected null function reference".into())),
            None => Err(missing),
        }
    }

    /// Keeps what the last execution changed. `dirty` is what it answered.
    pub fn commit(&mut self, dirty: &[u32]) -> Result<(), Failure> {
        self.committed = self.read_globals();
        let ctx = self.store.data_mut();
        ctx.stable.commit();
        match &mut ctx.heap {
            Some(heap) => heap.commit(dirty).map_err(system),
            None => Ok(()),
        }
    }

    /// Keeps heap and globals, and leaves stable memory to be committed or rolled back later.
    pub fn commit_heap(&mut self, dirty: &[u32]) -> Result<(), Failure> {
        self.committed = self.read_globals();
        match &mut self.store.data_mut().heap {
            Some(heap) => heap.commit(dirty).map_err(system),
            None => Ok(()),
        }
    }

    /// Forgets everything since the last commit.
    pub fn rollback(&mut self) -> Result<(), Failure> {
        let ctx = self.store.data_mut();
        ctx.stable.rollback();
        if let Some(heap) = &mut ctx.heap {
            heap.rollback().map_err(system)?;
            if heap.size() != heap.committed_size() {
                return self.rebuild();
            }
        }
        let committed = std::mem::take(&mut self.committed);
        self.write_globals(&committed)?;
        self.committed = committed;
        Ok(())
    }

    /// Makes the instance anew on the committed heap: wasmtime's memories do not shrink, dropped segments do not return.
    fn rebuild(&mut self) -> Result<(), Failure> {
        let committed = std::mem::take(&mut self.committed);
        let blank = Ctx {
            memory: None,
            counter: None,
            heap: None,
            stable: Stable::default(),
            schedule: self.store.data().schedule,
            message: Message::idle(self.store.data().message.canister.clone()),
            touched_charge: 0,
        };
        let ctx = std::mem::replace(self.store.data_mut(), blank);
        *self = Self::instantiate(&self.code, ctx)?;
        self.write_globals(&committed)?;
        self.committed = committed;
        Ok(())
    }

    /// Lifts uncommitted changes off, so that another message sees the committed state.
    pub fn suspend(&mut self) -> Result<Suspended, Failure> {
        let globals = self.read_globals();
        let ctx = self.store.data_mut();
        let stable = ctx.stable.lift();
        let heap = match &mut ctx.heap {
            Some(heap) => Some(heap.lift().map_err(system)?),
            None => None,
        };
        self.rollback()?;
        Ok(Suspended { heap, stable, globals })
    }

    /// Puts lifted changes back.
    pub fn resume(&mut self, suspended: &Suspended) -> Result<(), Failure> {
        if let (Some(memory), Some(overlay)) = (self.store.data().memory, &suspended.heap) {
            self.grow_to(memory, overlay.size)?;
        }
        let ctx = self.store.data_mut();
        if let (Some(heap), Some(overlay)) = (&mut ctx.heap, &suspended.heap) {
            heap.lay(overlay);
        }
        ctx.stable.lay(&suspended.stable);
        self.write_globals(&suspended.globals)
    }

    /// How many of these changed pages are as they were when `base` was lifted.
    pub fn unchanged_since(&self, base: &Suspended, dirty: &[u32]) -> u64 {
        match (&self.store.data().heap, &base.heap) {
            (Some(heap), Some(overlay)) => heap.unchanged_since(overlay, dirty),
            _ => 0,
        }
    }

    fn read_globals(&mut self) -> Vec<Val> {
        self.globals.iter().map(|global| global.get(&mut self.store)).collect()
    }

    fn write_globals(&mut self, values: &[Val]) -> Result<(), Failure> {
        for (global, value) in self.globals.iter().zip(values) {
            global.set(&mut self.store, *value).map_err(engine)?;
        }
        Ok(())
    }
}

fn system(error: std::io::Error) -> Failure {
    Failure::Engine(format!("the operating system refused memory: {error}"))
}

fn engine(error: wasmtime::Error) -> Failure {
    Failure::Engine(format!("{error:#}"))
}

fn signature() -> Failure {
    Failure::Contract("function invocation does not match its signature".into())
}

fn trapped(trap: Trap) -> Failure {
    Failure::Trap(match trap {
        Trap::StackOverflow => "stack overflow",
        Trap::MemoryOutOfBounds => "heap out of bounds",
        Trap::TableOutOfBounds => "table out of bounds",
        Trap::IntegerDivisionByZero => "integer division by 0",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::BadSignature => return signature(),
        _ => "unknown",
    })
}
