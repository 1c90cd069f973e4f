//! The exports the Internet Computer looks at: methods and system hooks.
//!
//! Owns the naming rules. What is exported under other names is nobody's business and is dropped.

use std::collections::BTreeSet;

use wasmparser::ExternalKind;

use super::module::Sections;
use super::{COUNTER_EXPORT, InvalidModule, START_EXPORT, limits};

/// Names the host exports itself.
const RESERVED: [&str; 6] = [
    COUNTER_EXPORT,
    START_EXPORT,
    "canister counter_dirty_pages",
    "canister counter_accessed_pages",
    "stable_memory",
    "stable_memory_bytemap",
];

/// What a module exports to the Internet Computer. Methods by their bare names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// `canister_update NAME`.
    pub update: BTreeSet<String>,
    /// `canister_query NAME`.
    pub query: BTreeSet<String>,
    /// `canister_composite_query NAME`.
    pub composite_query: BTreeSet<String>,
    /// `canister_init`.
    pub init: bool,
    /// `canister_pre_upgrade`.
    pub pre_upgrade: bool,
    /// `canister_post_upgrade`.
    pub post_upgrade: bool,
    /// `canister_inspect_message`.
    pub inspect_message: bool,
    /// `canister_heartbeat`.
    pub heartbeat: bool,
    /// `canister_global_timer`.
    pub global_timer: bool,
    /// `canister_on_low_wasm_memory`.
    pub on_low_wasm_memory: bool,
    /// A start function, exported as [`START_EXPORT`].
    pub start: bool,
}

impl Exports {
    /// Reads and checks the exports of a module.
    pub(super) fn of(module: &Sections<'_>) -> Result<Self, InvalidModule> {
        let mut exports = Self { start: module.start.is_some(), ..Self::default() };
        let (mut methods, mut name_bytes) = (0, 0);
        for export in &module.exports {
            if RESERVED.contains(&export.name) {
                return Err(InvalidModule::Export(format!(
                    "Exporting reserved symbol {} not allowed.",
                    export.name
                )));
            }
            if export.kind != ExternalKind::Func {
                // A global or memory under a method's name counts as that method, which then cannot be called.
                exports.add(export.name).ok();
                continue;
            }
            if let Some(method) = exports.add(export.name)? {
                methods += 1;
                name_bytes += method.len();
            }
            if export.name.starts_with("canister_") {
                module.check_signature(
                    export.name,
                    module.function_types[export.index as usize],
                    &[],
                    &[],
                )?;
            }
        }
        if methods > limits::METHODS {
            return Err(InvalidModule::TooManyExports { defined: methods });
        }
        if name_bytes > limits::METHOD_NAME_BYTES {
            return Err(InvalidModule::ExportedNamesTooLong { total: name_bytes });
        }
        Ok(exports)
    }

    /// Enters a function's export; answers the method's name where it is a method.
    fn add<'n>(&mut self, name: &'n str) -> Result<Option<&'n str>, InvalidModule> {
        let kinds = [
            (name.strip_prefix("canister_update "), 0),
            (name.strip_prefix("canister_query "), 1),
            (name.strip_prefix("canister_composite_query "), 2),
        ];
        if let Some((method, kind)) = kinds.iter().find_map(|&(method, kind)| Some((method?, kind))) {
            let sets = [&mut self.update, &mut self.query, &mut self.composite_query];
            if sets.iter().any(|set| set.contains(method)) {
                return Err(InvalidModule::DuplicateExport { name: method.to_owned() });
            }
            sets[kind].insert(method.to_owned());
            return Ok(Some(method));
        }
        let flag = match name {
            "canister_init" => &mut self.init,
            "canister_pre_upgrade" => &mut self.pre_upgrade,
            "canister_post_upgrade" => &mut self.post_upgrade,
            "canister_inspect_message" => &mut self.inspect_message,
            "canister_heartbeat" => &mut self.heartbeat,
            "canister_global_timer" => &mut self.global_timer,
            "canister_on_low_wasm_memory" => &mut self.on_low_wasm_memory,
            _ if name.starts_with("canister_") => {
                return Err(InvalidModule::Export(format!(
                    "Exporting reserved function '{name}' with \"canister_\" prefix"
                )));
            }
            _ => return Ok(None),
        };
        *flag = true;
        Ok(None)
    }
}
