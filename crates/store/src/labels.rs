//! Labels: names for versions that move, such as `stable`, and `latest`, which is computed.
//!
//! A label leads to one version of its name at any time, and moving it is one write. What must never happen here: a label
//! on a version that there is not, or that is retired.

use ic_stable_structures::Memory;
use thiserror::Error;

use crate::error::LookupError;
use crate::layout::{RecordError, RecordProblem};
use crate::name::{LATEST, LabelError, ReferenceError, check_label, check_name, label_key};
use crate::record::{LabelRecord, VersionRecord};
use crate::serving::Serving;
use crate::store::Store;

/// Most labels of a name, beside `latest`: a page of the registry reads them all for each name on it.
pub const MAX_LABELS: usize = 32;

/// Why a label is not set or removed. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum SetLabelError {
    /// The label is not one that can be set.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The name has as many labels as it may.
    #[error("model `{name}` has {MAX_LABELS} labels, as many as it may; remove or move one")]
    TooMany {
        /// The name.
        name: String,
    },
    /// There is no such version or label, or the version is not served.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Labels. Whether a caller may set them is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Sets `label` on a version that is served, and takes it from the one that it was on, which is answered.
    pub fn set_label(&mut self, name: &str, version: u64, label: &str) -> Result<Option<u64>, SetLabelError> {
        settable(label)?;
        let VersionRecord { retired, .. } = self.named_version(name, version)?;
        self.check_served(name, version, retired)?;
        let rows = self.label_rows(name).map_err(LookupError::Record)?;
        let before = rows.iter().find(|(other, _)| other == label).map(|(_, on)| *on);
        if before.is_none() && rows.len() >= MAX_LABELS {
            return Err(SetLabelError::TooMany { name: name.to_owned() });
        }
        self.labels.insert(&label_key(name, label), LabelRecord { version }.encode());
        Ok(before)
    }

    /// Takes a label away, and tells the version that it was on.
    pub fn remove_label(&mut self, name: &str, label: &str) -> Result<u64, SetLabelError> {
        check_name(name).map_err(|error| LookupError::Reference(ReferenceError::Name(error)))?;
        settable(label)?;
        let version = self.labelled(name, label)?;
        self.labels.remove(&label_key(name, label));
        Ok(version)
    }

    /// The labels on a version, in order, `latest` at the end where it is.
    pub fn labels_of(&self, name: &str, version: u64) -> Result<Vec<String>, LookupError> {
        self.version(name, version)?;
        Ok(labels_on(version, &self.label_rows(name)?, &self.serving(name)?))
    }

    /// The version that a label of a name is on, whether it is served or not.
    pub(crate) fn labelled(&self, name: &str, label: &str) -> Result<u64, LookupError> {
        if label == LATEST {
            return self.latest(name, &self.serving(name)?);
        }
        match self.labels.get(&label_key(name, label)) {
            Some(bytes) => Ok(LabelRecord::decode(&bytes)?.version),
            None if self.newest(name)?.is_none() => Err(self.absent(name, None)?),
            None => {
                let labels = self.label_rows(name)?.into_iter().map(|(label, _)| label).collect();
                Err(LookupError::NoLabel { name: name.to_owned(), label: label.to_owned(), labels })
            }
        }
    }

    /// Every label of a name that was set, in order, and the version that it is on.
    pub(crate) fn label_rows(&self, name: &str) -> Result<Vec<(String, u64)>, RecordError> {
        let problem = RecordProblem::Field { field: "key" };
        let error = RecordError { table: LabelRecord::TABLE, problem };
        let prefix = label_key(name, "");
        let rows = self.labels.starting(&prefix).map(|(key, value)| {
            let label = std::str::from_utf8(&key[prefix.len()..]).map_err(|_| error)?;
            Ok((label.to_owned(), LabelRecord::decode(&value)?.version))
        });
        rows.collect()
    }
}

/// The labels on a version of a name that has `rows`.
pub(crate) fn labels_on(version: u64, rows: &[(String, u64)], serving: &Serving) -> Vec<String> {
    let set = rows.iter().filter(|(_, on)| *on == version).map(|(label, _)| label.clone());
    set.chain((serving.latest == Some(version)).then(|| LATEST.to_owned())).collect()
}

/// Checks a label that a caller sets.
fn settable(label: &str) -> Result<(), LabelError> {
    check_label(label)?;
    match label == LATEST {
        true => Err(LabelError::Latest),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
