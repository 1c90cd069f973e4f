//! Machine code on disk, so that a module is compiled once.
//!
//! Owns the folder and its files: one per module and version of the host, machine code first, so that it is mapped and not
//! read, then what else is known of the module as JSON, that text's length in 8 bytes, and [`MAGIC`]. A file that cannot be
//! read, or was written by another engine, is as good as none; failing to write is no error. Files are replaced, never
//! written into. Machine code is trusted: the folder must be the user's own.
#![allow(
    unsafe_code,
    reason = "wasmtime cannot check that machine code is what it wrote, nor that its file stays"
)]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wasmtime::{Engine, Module};

use crate::engine::Facts;
use crate::wasm::{CustomSection, Exports, Visibility};

/// Marks the layout of the files.
const MAGIC: &[u8; 8] = b"icnnmc02";

/// Bytes of a module from which on others wait for who compiles it: what takes seconds and all cores is done once.
const SHARED_BYTES: usize = 1 << 20;

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

    /// What is kept of the module with this hash; `None` as well where another engine wrote it.
    pub fn load(&self, engine: &Engine, hash: &[u8; 32]) -> Option<(Facts, Module)> {
        let mut file = File::open(self.path(hash)).ok()?;
        let mut end = [0; 16];
        file.seek(SeekFrom::End(-(end.len() as i64))).ok()?;
        file.read_exact(&mut end).ok()?;
        let length = i64::from_le_bytes(end.strip_suffix(MAGIC)?.try_into().ok()?);
        file.seek(SeekFrom::End(length.checked_add(end.len() as i64)?.checked_neg()?)).ok()?;
        let mut entry = Vec::new();
        (&file).take(length as u64).read_to_end(&mut entry).ok()?;
        let entry: Entry = serde_json::from_slice(&entry).ok()?;
        // SAFETY: the bytes were written by `store` from `Module::serialize`, into a folder of the user's own whose files are
        // replaced and not written into; wasmtime refuses what another version or configuration wrote.
        let module = unsafe { Module::deserialize_open_file(engine, file).ok()? };
        Some((entry.facts(*hash), module))
    }

    /// Waits for whoever compiles this module, in this process or another, and keeps others waiting while the answer lives;
    /// `None` where there is nothing to wait for: a small module, or a folder without locks.
    pub fn turn(&self, hash: &[u8; 32], wasm: &[u8]) -> Option<Turn> {
        if wasm.len() < SHARED_BYTES {
            return None;
        }
        fs::create_dir_all(&self.folder).ok()?;
        let path = self.path(hash).with_extension("lock");
        let file = File::create(&path).ok()?;
        file.lock().ok()?;
        Some(Turn { path, _file: file })
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
        for part in [machine_code, &entry, &length, MAGIC] {
            file.write_all(part)?;
        }
        file.persist(self.path(&facts.hash))?;
        Ok(())
    }
}

/// A module's lock, which ends with it.
pub(crate) struct Turn {
    path: PathBuf,
    _file: File,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever waits has it open; who comes later finds the module.
        let _ = fs::remove_file(&self.path);
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
