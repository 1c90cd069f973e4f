//! Properties of a version: texts under keys, whose meaning is the embedder's.
//!
//! They belong to the version, not to a handle on it, and go with it.

use ic_stable_structures::Memory;
use thiserror::Error;

use crate::error::LookupError;
use crate::layout::{RecordError, RecordProblem};
use crate::name::version_key;
use crate::record::PropertyRecord;
use crate::store::Store;

/// Most properties of a version.
pub const MAX_PROPERTIES: usize = 32;

/// Longest key of a property, in bytes.
pub const MAX_PROPERTY_KEY_BYTES: usize = 64;

/// Longest value of a property, in bytes: all 32 of a version are at most 34 KiB.
pub const MAX_PROPERTY_VALUE_BYTES: usize = 1_024;

/// Why a property is not set. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum PropertyError {
    /// The key is empty or too long.
    #[error("the property's key has {bytes} bytes; 1 to {MAX_PROPERTY_KEY_BYTES} are allowed")]
    Key {
        /// Bytes of the key.
        bytes: usize,
    },
    /// The value is too long.
    #[error("the property's value has {bytes} bytes; at most {MAX_PROPERTY_VALUE_BYTES} are allowed")]
    Value {
        /// Bytes of the value.
        bytes: usize,
    },
    /// The version has as many properties as it may.
    #[error(
        "version {version} of model `{name}` has {MAX_PROPERTIES} properties, as many as it may; unset one"
    )]
    TooMany {
        /// The name.
        name: String,
        /// The version.
        version: u64,
    },
    /// There is no such version.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Properties.
impl<M: Memory> Store<M> {
    /// The properties that were set of a version, by key.
    pub fn properties(&self, name: &str, version: u64) -> Result<Vec<(String, String)>, LookupError> {
        self.version(name, version)?;
        Ok(self.property_rows(&version_key(name, version))?)
    }

    /// Sets a property of a version, or unsets it where `value` is none; unsetting what is not set changes nothing.
    pub fn set_property(
        &mut self,
        name: &str,
        version: u64,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), PropertyError> {
        self.version(name, version)?;
        if !(1..=MAX_PROPERTY_KEY_BYTES).contains(&key.len()) {
            return Err(PropertyError::Key { bytes: key.len() });
        }
        let prefix = version_key(name, version);
        let row = [prefix.as_slice(), key.as_bytes()].concat();
        let Some(value) = value else {
            self.properties.remove(&row);
            return Ok(());
        };
        if value.len() > MAX_PROPERTY_VALUE_BYTES {
            return Err(PropertyError::Value { bytes: value.len() });
        }
        let count = self.properties.starting(&prefix).count();
        if count >= MAX_PROPERTIES && self.properties.get(&row).is_none() {
            return Err(PropertyError::TooMany { name: name.to_owned(), version });
        }
        self.properties.insert(&row, PropertyRecord { value: value.to_owned() }.encode());
        Ok(())
    }

    /// The properties whose rows begin with a version's key.
    fn property_rows(&self, prefix: &[u8]) -> Result<Vec<(String, String)>, RecordError> {
        let problem = RecordProblem::Field { field: "key" };
        let error = RecordError { table: PropertyRecord::TABLE, problem };
        let rows = self.properties.starting(prefix).map(|(key, value)| {
            let key = std::str::from_utf8(&key[prefix.len()..]).map_err(|_| error)?;
            Ok((key.to_owned(), PropertyRecord::decode(&value)?.value))
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
