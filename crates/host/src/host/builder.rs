//! How a host is made: its schedule, its folder of machine code, its seed.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Host;
use crate::cache::Cache;
use crate::engine::{Compiler, on_large_stack};
use crate::stable::WASM_PAGE;
use crate::wasm::CostSchedule;
use crate::world::World;

/// What a [`Host`] is made with.
#[derive(Clone, Debug, Default)]
pub struct HostBuilder {
    schedule: Option<String>,
    cache: Option<PathBuf>,
    seed: u64,
    update_limit: Option<u64>,
    stable_limit: Option<u64>,
}

/// Why no host could be made, or its state not be kept.
#[derive(Debug, Error)]
pub enum HostError {
    /// A cost schedule this host does not know.
    #[error("no cost schedule is called {0:?}; known are \"2025-10\" and \"2026-07\"")]
    UnknownSchedule(String),
    /// The engine does not run here.
    #[error("wasmtime does not run here: {0}")]
    Engine(String),
    /// Calls are under way.
    #[error("the host cannot be saved while calls are under way")]
    Busy,
    /// Reading or writing the folder.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A folder this version did not write.
    #[error("{path}: {reason}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl HostBuilder {
    /// Charges by this schedule; the default is `"2025-10"`.
    #[must_use]
    pub fn schedule(mut self, name: &str) -> Self {
        self.schedule = Some(name.to_owned());
        self
    }

    /// Keeps machine code in this folder instead of the user's cache (`$IC_NN_CACHE`, `$XDG_CACHE_HOME/ic-nn`,
    /// `~/.cache/ic-nn`).
    #[must_use]
    pub fn cache_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.cache = Some(folder.as_ref().to_owned());
        self
    }

    /// Seeds `raw_rand`; equal seeds give equal runs.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lets an update, a timer or a callback run for this many instructions instead of the 40 B that the Internet Computer
    /// grants: to measure what does not fit. Queries and installs keep their limits; the state of such a host is saved and
    /// opened with the Internet Computer's.
    #[must_use]
    pub fn update_limit(mut self, instructions: u64) -> Self {
        self.update_limit = Some(instructions);
        self
    }

    /// Grants each canister this many bytes of stable memory, in whole wasm pages, as a subnet does whose storage is
    /// nearly full: to see what a canister does when it may not grow. A host that is saved and opened grants all again.
    #[must_use]
    pub fn stable_limit(mut self, bytes: u64) -> Self {
        self.stable_limit = Some(bytes);
        self
    }

    /// Makes the host.
    ///
    /// # Errors
    ///
    /// An unknown schedule, or a machine wasmtime has no code generator for.
    pub fn build(self) -> Result<Host, HostError> {
        let schedule = match &self.schedule {
            Some(name) => {
                CostSchedule::by_name(name).ok_or_else(|| HostError::UnknownSchedule(name.clone()))?
            }
            None => CostSchedule::default(),
        };
        let mut world = World::new(self.compiler()?, schedule, self.seed);
        world.update_limit = self.update_limit.unwrap_or(world.update_limit);
        world.stable_limit = self.stable_limit.map_or(world.stable_limit, |bytes| bytes / WASM_PAGE);
        Ok(Host::with(world))
    }

    /// Opens what [`Host::save`] wrote into this folder, with its schedule, seed and time; makes a new host where nothing
    /// was saved.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read or was written by another version, and those of [`HostBuilder::build`].
    pub fn open(self, folder: impl AsRef<Path>) -> Result<Host, HostError> {
        let compiler = self.compiler()?;
        let folder = folder.as_ref();
        match on_large_stack(|| World::open(folder, compiler))? {
            Some(world) => Ok(Host::with(world)),
            None => self.build(),
        }
    }

    fn compiler(&self) -> Result<Compiler, HostError> {
        let folder = self.cache.clone().or_else(Cache::default_folder);
        Compiler::new(folder.as_deref().map(Cache::new)).map_err(|error| HostError::Engine(error.to_string()))
    }
}
