//! A canister's settings: defaults, limits, changes.

use candid::Principal;

use super::{args, nat};
use crate::canister::{Canister, Settings};
use crate::failure::reject;
use crate::replica::Reject;
use crate::subnet::limits;

/// Most controllers of a canister.
const CONTROLLERS: usize = 10;
/// Default freezing threshold in seconds: 30 days.
const FREEZING_SECONDS: u64 = 30 * 24 * 3600;

/// What a new canister's settings are where nothing else is said.
pub(crate) fn default(controllers: Vec<Principal>) -> Settings {
    Settings {
        controllers,
        wasm_memory_limit: Some(limits::WASM_MEMORY),
        freezing_seconds: FREEZING_SECONDS,
        public_logs: false,
        memory_allocation: 0,
        variables: Default::default(),
    }
}

impl Settings {
    /// Changes what is named.
    ///
    /// # Errors
    ///
    /// Too many controllers, numbers out of range; then nothing is changed.
    pub fn apply(&mut self, changes: &args::Settings) -> Result<(), Reject> {
        let mut new = self.clone();
        if let Some(controllers) = &changes.controllers {
            if controllers.len() > CONTROLLERS {
                let text = format!(
                    "Invalid settings: 'controllers' length exceeds maximum size allowed of {CONTROLLERS}."
                );
                return Err(reject(402, text));
            }
            new.controllers.clone_from(controllers);
        }
        let number = |value: &Option<candid::Nat>| -> Result<Option<u64>, Reject> {
            let Some(value) = value else { return Ok(None) };
            let out_of_range = |_| reject(402, format!("Invalid settings: {value} does not fit in 64 bits"));
            u64::try_from(nat(value)?).map(Some).map_err(out_of_range)
        };
        if let Some(limit) = number(&changes.wasm_memory_limit)? {
            new.wasm_memory_limit = (limit > 0).then_some(limit);
        }
        if let Some(seconds) = number(&changes.freezing_threshold)? {
            new.freezing_seconds = seconds;
        }
        if let Some(bytes) = number(&changes.memory_allocation)? {
            new.memory_allocation = bytes;
        }
        if let Some(visibility) = &changes.log_visibility {
            new.public_logs = matches!(visibility, args::LogVisibility::Public);
        }
        if let Some(variables) = &changes.environment_variables {
            new.variables =
                variables.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
        }
        *self = new;
        Ok(())
    }
}

impl Canister {
    /// `update_settings`.
    pub fn update_settings(&mut self, changes: &args::Settings) -> Result<(), Reject> {
        self.settings.apply(changes)?;
        self.version += 1;
        if changes.controllers.is_some() {
            self.remember(true);
        }
        Ok(())
    }
}
