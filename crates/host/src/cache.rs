//! Machine code on disk, so that a module is compiled once.
//!
//! Owns the folder and its files: one per module and version of the host. A file that cannot be read, or was
//! written by another engine, is as good as none; failing to write is no error. Machine code is trusted: the folder must
//! be the user's own.
#![allow(unsafe_code, reason = "wasmtime cannot check that serialized machine code is what it wrote")]

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use wasmtime::{Engine, Module};

use crate::engine::Facts;
use crate::wasm::{CustomSection, Exports, Visibility};

/// Marks the layout of the files.
const MAGIC: &[u8; 8] = b"icnnmc01";

/// A folder of compiled modules.
pub(crate) struct Cache {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    exports: [Vec<String>; 3],
    hooks: [bool; 8],
    custom_sections: Vec<(String, bool, Vec<u8>)>,
    mutable_globals: Vec<u32>,
    compile_charge: u64,
    wasm_bytes: u64,
    initial_pages: u64,
    passive_segments: bool,
}

impl Cache {
    /// The folder `$IC_NN_CACHE`, `$XDG_CACHE_HOME/ic-nn` or `~/.cache/ic-nn`; `None` where none is named.
    pub fn default_folder() -> Option<PathBuf> {
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        named("IC_NN_CACHE")
            .or_else(|| Some(named("XDG_CACHE_HOME")?.join("ic-nn")))
            .or_else(|| Some(named("HOME")?.join(".cache/ic-nn")))
    }

    /// The cache in this folder, which is made when it is first written to.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, hash: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}-{}.module", hex::encode(hash), env!("CARGO_PKG_VERSION")))
    }

    /// What is kept of the module with this hash.
    pub fn load(&self, hash: &[u8; 32]) -> Option<(Facts, Vec<u8>)> {
        let mut file = fs::read(self.path(hash)).ok()?;
        let rest = file.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_at_checked(8)?;
        let length = u64::from_le_bytes(length.try_into().ok()?) as usize;
        let entry: Entry = serde_json::from_slice(rest.get(..length)?).ok()?;
        file.drain(..MAGIC.len() + 8 + length);
        Some((entry.facts(*hash), file))
    }

    /// Keeps a module.
    pub fn store(&self, facts: &Facts, machine_code: &[u8]) {
        // A module that is not kept is compiled again: slower, not wrong.
        let _ = self.try_store(facts, machine_code);
    }

    fn try_store(&self, facts: &Facts, machine_code: &[u8]) -> io::Result<()> {
        let entry = serde_json::to_vec(&Entry::new(facts))?;
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        let length = (entry.len() as u64).to_le_bytes();
        for part in [&MAGIC[..], &length, &entry, machine_code] {
            io::Write::write_all(&mut file, part)?;
        }
        file.persist(self.path(&facts.hash))?;
        Ok(())
    }

    /// Machine code as a module, `None` where another engine wrote it.
    pub fn deserialize(engine: &Engine, machine_code: &[u8]) -> Option<Module> {
        // SAFETY: the bytes were written by `store` from `Module::serialize`, into a folder of the user's own; wasmtime
        // refuses what another version or configuration wrote.
        unsafe { Module::deserialize(engine, machine_code).ok() }
    }
}

impl Entry {
    fn new(facts: &Facts) -> Self {
        let exports = &facts.exports;
        Self {
            exports: [&exports.update, &exports.query, &exports.composite_query]
                .map(|names| names.iter().cloned().collect()),
            hooks: [
                exports.init,
                exports.pre_upgrade,
                exports.post_upgrade,
                exports.inspect_message,
                exports.heartbeat,
                exports.global_timer,
                exports.on_low_wasm_memory,
                exports.start,
            ],
            custom_sections: (facts.custom_sections.iter())
                .map(|section| {
                    let public = section.visibility == Visibility::Public;
                    (section.name.clone(), public, section.bytes.clone())
                })
                .collect(),
            mutable_globals: facts.mutable_globals.clone(),
            compile_charge: facts.compile_charge,
            wasm_bytes: facts.wasm_bytes,
            initial_pages: facts.initial_pages,
            passive_segments: facts.passive_segments,
        }
    }

    fn facts(self, hash: [u8; 32]) -> Facts {
        let [update, query, composite_query] = self.exports.map(|names| names.into_iter().collect());
        let [init, pre_upgrade, post_upgrade, inspect_message, heartbeat, global_timer, low, start] =
            self.hooks;
        let section = |(name, public, bytes)| CustomSection {
            name,
            visibility: if public { Visibility::Public } else { Visibility::Private },
            bytes,
        };
        Facts {
            hash,
            exports: Exports {
                update,
                query,
                composite_query,
                init,
                pre_upgrade,
                post_upgrade,
                inspect_message,
                heartbeat,
                global_timer,
                on_low_wasm_memory: low,
                start,
            },
            custom_sections: self.custom_sections.into_iter().map(section).collect(),
            mutable_globals: self.mutable_globals,
            compile_charge: self.compile_charge,
            wasm_bytes: self.wasm_bytes,
            initial_pages: self.initial_pages,
            passive_segments: self.passive_segments,
        }
    }
}
