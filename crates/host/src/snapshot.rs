//! A host's state in a folder, so that a command line finds its canisters again.
//!
//! Owns the layout:
//!
//! | file | content |
//! | --- | --- |
//! | `current` | the number of the state that counts |
//! | `N/host.json` | everything but modules and memories |
//! | `N/HASH.wasm` | a module as it was uploaded |
//! | `N/ID.heap`, `N/ID.stable` | memories, sparse |
//!
//! A state is written beside the old one and then becomes current in one rename; whoever reads sees one or the other.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use candid::Principal;
use serde::{Deserialize, Serialize};

use crate::canister::{Canister, Installed, Settings, Status, Turn};
use crate::engine::Compiler;
use crate::executor::Executor;
use crate::host::HostError;
use crate::log::Log;
use crate::message::Message;
use crate::replica::LogLine;
use crate::stable::{Stable, WASM_PAGE};
use crate::wasm::CostSchedule;
use crate::world::World;

/// Marks the layout of `host.json`.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    schedule: String,
    time: u64,
    next_call: u64,
    next_canister: u64,
    seed: u64,
    drawn: u64,
    compiled: Vec<[u8; 32]>,
    canisters: Vec<SavedCanister>,
}

#[derive(Serialize, Deserialize)]
struct SavedCanister {
    id: Principal,
    controllers: Vec<Principal>,
    wasm_memory_limit: Option<u64>,
    freezing_seconds: u64,
    public_logs: bool,
    memory_allocation: u64,
    variables: BTreeMap<String, String>,
    balance: u128,
    version: u64,
    stopped: bool,
    timer: u64,
    certified_data: Vec<u8>,
    history: Vec<u64>,
    paid_until: u64,
    chunks: Vec<Vec<u8>>,
    turn: u8,
    next_id: u64,
    next_line: u64,
    log: Vec<(u64, u64, Vec<u8>)>,
    code: Option<SavedCode>,
}

#[derive(Serialize, Deserialize)]
struct SavedCode {
    module: String,
    globals: Vec<u128>,
    stable_pages: u64,
}

fn io(path: &Path) -> impl Fn(io::Error) -> HostError {
    let path = path.to_owned();
    move |error| HostError::Io { path: path.clone(), error }
}

fn format(path: &Path, reason: impl ToString) -> HostError {
    HostError::Format { path: path.to_owned(), reason: reason.to_string() }
}

impl World {
    /// Writes the state into `folder`.
    pub fn save(&self, folder: &Path) -> Result<(), HostError> {
        if !self.is_idle() {
            return Err(HostError::Busy);
        }
        fs::create_dir_all(folder).map_err(io(folder))?;
        let old = current(folder)?;
        let number = old.map_or(0, |number| number + 1);
        let state = folder.join(number.to_string());
        if state.exists() {
            fs::remove_dir_all(&state).map_err(io(&state))?;
        }
        fs::create_dir(&state).map_err(io(&state))?;
        let canisters = self.canisters.values().map(|canister| save_canister(&state, canister));
        let saved = Saved {
            format: FORMAT,
            schedule: self.schedule.name.to_owned(),
            time: self.time,
            next_call: self.next_call,
            next_canister: self.next_canister,
            seed: self.random.seed,
            drawn: self.random.drawn,
            compiled: self.compiled.iter().copied().collect(),
            canisters: canisters.collect::<Result<_, _>>()?,
        };
        let path = state.join("host.json");
        let json = serde_json::to_vec(&saved).map_err(|error| format(&path, error))?;
        write(&path, &json)?;
        let pointer = folder.join("current.new");
        write(&pointer, number.to_string().as_bytes())?;
        fs::rename(&pointer, folder.join("current")).map_err(io(&pointer))?;
        if let Some(old) = old {
            let old = folder.join(old.to_string());
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        Ok(())
    }

    /// Reads a state that [`World::save`] wrote; `None` where there is none.
    pub fn open(folder: &Path, compiler: Compiler) -> Result<Option<Self>, HostError> {
        let Some(number) = current(folder)? else { return Ok(None) };
        let state = folder.join(number.to_string());
        let path = state.join("host.json");
        let json = fs::read(&path).map_err(io(&path))?;
        let saved: Saved = serde_json::from_slice(&json).map_err(|error| format(&path, error))?;
        if saved.format != FORMAT {
            return Err(format(&path, format_args!("format {} is not {FORMAT}", saved.format)));
        }
        let schedule =
            CostSchedule::by_name(&saved.schedule).ok_or(HostError::UnknownSchedule(saved.schedule))?;
        let mut world = Self::new(compiler, schedule, saved.seed);
        world.time = saved.time;
        world.next_call = saved.next_call;
        world.next_canister = saved.next_canister;
        world.random.drawn = saved.drawn;
        world.compiled = saved.compiled.into_iter().collect();
        for canister in saved.canisters {
            let canister = world.open_canister(&state, canister)?;
            world.canisters.insert(canister.id, canister);
        }
        Ok(Some(world))
    }

    fn open_canister(&self, state: &Path, saved: SavedCanister) -> Result<Canister, HostError> {
        let settings = Settings {
            controllers: saved.controllers,
            wasm_memory_limit: saved.wasm_memory_limit,
            freezing_seconds: saved.freezing_seconds,
            public_logs: saved.public_logs,
            memory_allocation: saved.memory_allocation,
            variables: saved.variables,
        };
        let mut canister = Canister::new(saved.id, settings, saved.balance);
        canister.version = saved.version;
        canister.status = if saved.stopped { Status::Stopped } else { Status::Running };
        canister.timer = saved.timer;
        canister.certified_data = saved.certified_data;
        canister.history = VecDeque::from(saved.history);
        canister.paid_until = saved.paid_until;
        canister.set_chunks(saved.chunks);
        canister.next_turn = [Turn::Timer, Turn::Heartbeat, Turn::Message][usize::from(saved.turn) % 3];
        canister.skip_ids(saved.next_id);
        let line = |(index, timestamp_nanos, content)| LogLine { index, timestamp_nanos, content };
        canister.log = Log::restored(saved.next_line, saved.log.into_iter().map(line).collect());
        if let Some(code) = saved.code {
            canister.code = Some(self.open_code(state, &canister, code)?);
        }
        Ok(canister)
    }

    fn open_code(&self, state: &Path, canister: &Canister, saved: SavedCode) -> Result<Installed, HostError> {
        let path = state.join(format!("{}.wasm", saved.module));
        let wasm = fs::read(&path).map_err(io(&path))?;
        let broken = |failure: crate::failure::Failure| format(&path, failure);
        let code = self.compiler.compile(&wasm).map_err(broken)?;
        let stable = Stable::restored(saved.stable_pages, read_chunks(&memory(state, canister, "stable"))?);
        let idle = Message::idle(canister.facts(self.time, canister.balance));
        let mut executor = Executor::new(&code, self.schedule, &mut Some(stable), idle).map_err(broken)?;
        let heap = memory(state, canister, "heap");
        let heap = fs::read(&heap).map_err(io(&heap))?;
        executor.restore(&heap, &saved.globals).map_err(broken)?;
        Ok(Installed { executor, wasm: wasm.into() })
    }
}

fn memory(state: &Path, canister: &Canister, kind: &str) -> PathBuf {
    state.join(format!("{}.{kind}", canister.id))
}

/// The number of the state that counts.
fn current(folder: &Path) -> Result<Option<u64>, HostError> {
    let path = folder.join("current");
    match fs::read_to_string(&path) {
        Ok(number) => number.trim().parse().map(Some).map_err(|error| format(&path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&path)(error)),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io(path))
}

fn save_canister(state: &Path, canister: &Canister) -> Result<SavedCanister, HostError> {
    let settings = &canister.settings;
    let code = match &canister.code {
        Some(installed) => Some(save_code(state, canister, installed)?),
        None => None,
    };
    let line = |line: LogLine| (line.index, line.timestamp_nanos, line.content);
    Ok(SavedCanister {
        id: canister.id,
        controllers: settings.controllers.clone(),
        wasm_memory_limit: settings.wasm_memory_limit,
        freezing_seconds: settings.freezing_seconds,
        public_logs: settings.public_logs,
        memory_allocation: settings.memory_allocation,
        variables: settings.variables.clone(),
        balance: canister.balance,
        version: canister.version,
        stopped: canister.status != Status::Running,
        timer: canister.timer,
        certified_data: canister.certified_data.clone(),
        history: canister.history.iter().copied().collect(),
        paid_until: canister.paid_until,
        chunks: canister.chunks.values().cloned().collect(),
        turn: canister.next_turn as u8,
        next_id: canister.last_id(),
        next_line: canister.log.next_index(),
        log: canister.log.lines().into_iter().map(line).collect(),
        code,
    })
}

fn save_code(state: &Path, canister: &Canister, installed: &Installed) -> Result<SavedCode, HostError> {
    let executor = &installed.executor;
    let module = hex::encode(executor.code().facts().hash);
    let path = state.join(format!("{module}.wasm"));
    if !path.exists() {
        write(&path, &installed.wasm)?;
    }
    let heap = executor.heap();
    let chunks = heap.chunks(WASM_PAGE as usize).enumerate().map(|(index, bytes)| (index as u64, bytes));
    write_chunks(&memory(state, canister, "heap"), heap.len() as u64, chunks)?;
    let stable = executor.stable();
    let size = stable.pages() * WASM_PAGE;
    write_chunks(&memory(state, canister, "stable"), size, stable.occupied())?;
    Ok(SavedCode { module, globals: executor.globals(), stable_pages: stable.pages() })
}

/// Writes 64 KiB pages where they belong; pages of zeros stay holes.
fn write_chunks<'a>(
    path: &Path,
    size: u64,
    chunks: impl Iterator<Item = (u64, &'a [u8])>,
) -> Result<(), HostError> {
    let write = || {
        let mut file = File::create(path)?;
        file.set_len(size)?;
        for (index, bytes) in chunks.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
            file.seek(SeekFrom::Start(index * WASM_PAGE))?;
            file.write_all(bytes)?;
        }
        file.sync_all()
    };
    write().map_err(io(path))
}

/// A 64 KiB page and its index.
type Chunk = (u64, Box<[u8]>);

/// The 64 KiB pages of a file that hold something.
fn read_chunks(path: &Path) -> Result<Vec<Chunk>, HostError> {
    let read = || {
        let mut file = File::open(path)?;
        let pages = file.metadata()?.len() / WASM_PAGE;
        let mut chunks = Vec::new();
        for index in 0..pages {
            let mut bytes = vec![0; WASM_PAGE as usize];
            file.read_exact(&mut bytes)?;
            if bytes.iter().any(|byte| *byte != 0) {
                chunks.push((index, bytes.into_boxed_slice()));
            }
        }
        Ok(chunks)
    };
    read().map_err(io(path))
}
