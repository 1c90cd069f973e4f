//! Which versions are served: a policy for each name, and a flag on a version that takes it out of service.
//!
//! A version is served if it is not retired and its name's policy has it; `latest` is the newest that is. Neither ends
//! what is open on a version: they decide what a reference leads to from now on.

use ic_nn_types::VersionPolicy;
use ic_stable_structures::Memory;
use thiserror::Error;

use crate::error::{Listed, LookupError};
use crate::layout::RecordError;
use crate::name::{ReferenceError, check_name, version_key};
use crate::record::{NameRecord, VersionRecord};
use crate::store::Store;
use crate::versions::parse_key;

/// Most versions that a policy counts or names.
pub const MAX_POLICY_VERSIONS: u32 = 100;

/// Versions of a policy that an error names.
const VERSIONS_NAMED: usize = 8;

/// Why a version policy is refused. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum VersionPolicyError {
    /// The newest so many are not as many as may be.
    #[error("the policy is the newest {came} versions; 1 to {MAX_POLICY_VERSIONS} are allowed")]
    Latest {
        /// Number that came.
        came: u32,
    },
    /// It names no version or too many.
    #[error("the policy names {came} versions; 1 to {MAX_POLICY_VERSIONS} are allowed")]
    Specific {
        /// Versions that came.
        came: usize,
    },
    /// There is no such name, or no such version of it.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Why a version is not retired. Nothing was changed.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum RetireError {
    /// Labels lead to the version.
    #[error(
        "version {version} of model `{name}` has the labels {}; move them to another version with set_label or remove \
         them, then retire it", Listed(.labels)
    )]
    Labelled {
        /// The name.
        name: String,
        /// The version.
        version: u64,
        /// Its labels.
        labels: Vec<String>,
    },
    /// There is no such version.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Why a version is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// By `retire`.
    Retired,
    /// By its name's policy.
    Policy,
}

/// What of a name is served.
pub(crate) struct Serving {
    policy: VersionPolicy,
    /// Versions below it are not served.
    floor: u64,
    /// The newest version that is served.
    pub(crate) latest: Option<u64>,
}

impl Serving {
    /// Why a version of the name is not served, if it is not.
    pub(crate) fn unserved(&self, version: u64, retired: bool) -> Option<Unserved> {
        let policy = match &self.policy {
            VersionPolicy::All => true,
            VersionPolicy::Latest(_) => version >= self.floor,
            VersionPolicy::Specific(versions) => versions.binary_search(&version).is_ok(),
        };
        match (retired, policy) {
            (true, _) => Some(Unserved::Retired),
            (_, false) => Some(Unserved::Policy),
            _ => None,
        }
    }

    /// The error if a version of the name is not served.
    fn check(&self, name: &str, version: u64, retired: bool) -> Result<(), LookupError> {
        let name = || name.to_owned();
        match self.unserved(version, retired) {
            None => Ok(()),
            Some(Unserved::Retired) => Err(LookupError::Retired { name: name(), version }),
            Some(Unserved::Policy) => {
                Err(LookupError::NotServed { name: name(), version, policy: self.policy.clone() })
            }
        }
    }
}

/// Version policies and retired versions. Whether a caller may change them is the embedder's to decide.
impl<M: Memory> Store<M> {
    /// Sets which versions of a name are served, those to come included. Versions may be named in any order.
    ///
    /// `Latest` counts versions that are not retired, so that retiring the newest brings back the one before. A version
    /// that is deleted leaves `Specific`, and the last version takes the policy with it. Labels stay where they are.
    pub fn set_version_policy(
        &mut self,
        name: &str,
        policy: &VersionPolicy,
    ) -> Result<(), VersionPolicyError> {
        let mut record = self.name(name)?;
        let mut policy = policy.clone();
        match &mut policy {
            VersionPolicy::All => {}
            VersionPolicy::Latest(came) if !(1..=MAX_POLICY_VERSIONS).contains(came) => {
                return Err(VersionPolicyError::Latest { came: *came });
            }
            VersionPolicy::Latest(_) => {}
            VersionPolicy::Specific(versions) => {
                if !(1..=MAX_POLICY_VERSIONS as usize).contains(&versions.len()) {
                    return Err(VersionPolicyError::Specific { came: versions.len() });
                }
                versions.sort_unstable();
                versions.dedup();
                for version in versions {
                    self.version(name, *version)?;
                }
            }
        }
        record.policy = policy;
        self.names.insert(name.as_bytes(), record.encode());
        Ok(())
    }

    /// Which versions of a name are served.
    pub fn version_policy(&self, name: &str) -> Result<VersionPolicy, LookupError> {
        Ok(self.name(name)?.policy)
    }

    /// Takes a version out of service; one that is retired already stays so. Its labels have to be moved before.
    pub fn retire(&mut self, name: &str, version: u64) -> Result<(), RetireError> {
        let record = self.named_version(name, version)?;
        let mut labels = self.label_rows(name).map_err(LookupError::Record)?;
        labels.retain(|(_, on)| *on == version);
        if !labels.is_empty() {
            let labels = labels.into_iter().map(|(label, _)| label).collect();
            return Err(RetireError::Labelled { name: name.to_owned(), version, labels });
        }
        self.write_retired(name, version, record, true);
        Ok(())
    }

    /// Takes a version back into service; it is served if its name's policy has it.
    pub fn restore(&mut self, name: &str, version: u64) -> Result<(), LookupError> {
        let record = self.named_version(name, version)?;
        self.write_retired(name, version, record, false);
        Ok(())
    }

    /// The error if a version of a name is not served. Walks the name's versions only where its policy counts them.
    pub(crate) fn check_served(&self, name: &str, version: u64, retired: bool) -> Result<(), LookupError> {
        let serving = match self.policy_of(name)? {
            VersionPolicy::Latest(_) => self.serving(name)?,
            policy => Serving { policy, floor: 0, latest: None },
        };
        serving.check(name, version, retired)
    }

    /// The policy of a name, whether it has versions or not.
    fn policy_of(&self, name: &str) -> Result<VersionPolicy, RecordError> {
        Ok(match self.names.get(name.as_bytes()) {
            Some(bytes) => NameRecord::decode(&bytes)?.policy,
            None => VersionPolicy::All,
        })
    }

    /// What of a name is served. Costs the records of its newest versions: as many as are retired before the first that is
    /// not, or before the last that the policy counts.
    pub(crate) fn serving(&self, name: &str) -> Result<Serving, RecordError> {
        let policy = self.policy_of(name)?;
        let mut serving = Serving { policy, floor: 0, latest: None };
        let mut left = match &serving.policy {
            VersionPolicy::All => 1,
            VersionPolicy::Latest(count) => *count,
            VersionPolicy::Specific(versions) => {
                for version in versions.iter().rev() {
                    if let Some(bytes) = self.versions.get(&version_key(name, *version))
                        && !VersionRecord::decode(&bytes)?.retired
                    {
                        serving.latest = Some(*version);
                        break;
                    }
                }
                0
            }
        };
        for (key, value) in self.versions_of(name).rev() {
            if left == 0 {
                break;
            }
            if !VersionRecord::decode(&value)?.retired {
                let version = parse_key(&key)?.1;
                serving.latest = serving.latest.or(Some(version));
                serving.floor = version;
                left -= 1;
            }
        }
        if left > 0 {
            serving.floor = 0;
        }
        Ok(serving)
    }

    /// The newest version of a name that is served.
    pub(crate) fn latest(&self, name: &str, serving: &Serving) -> Result<u64, LookupError> {
        match serving.latest {
            Some(version) => Ok(version),
            None => match self.newest(name)? {
                Some((newest, _)) => {
                    let policy = serving.policy.clone();
                    Err(LookupError::NothingServed { name: name.to_owned(), newest, policy })
                }
                None => Err(self.absent(name, None)?),
            },
        }
    }

    /// The record of a name that has a version.
    fn name(&self, name: &str) -> Result<NameRecord, LookupError> {
        check_name(name).map_err(ReferenceError::Name)?;
        match (self.newest(name)?, self.names.get(name.as_bytes())) {
            (None, _) => Err(self.absent(name, None)?),
            (_, Some(bytes)) => Ok(NameRecord::decode(&bytes)?),
            (_, None) => Err(RecordError::absent(NameRecord::TABLE).into()),
        }
    }

    fn write_retired(&mut self, name: &str, version: u64, record: VersionRecord, retired: bool) {
        if record.retired != retired {
            let record = VersionRecord { retired, ..record };
            self.versions.insert(&version_key(name, version), record.encode());
        }
    }
}

/// What a policy serves, in words.
pub(crate) struct PolicyText<'a>(pub(crate) &'a VersionPolicy);

impl std::fmt::Display for PolicyText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            VersionPolicy::All => f.write_str("every version"),
            VersionPolicy::Latest(1) => f.write_str("the newest version that is not retired"),
            VersionPolicy::Latest(count) => write!(f, "the newest {count} that are not retired"),
            VersionPolicy::Specific(versions) => {
                let named: Vec<_> = versions.iter().take(VERSIONS_NAMED).map(u64::to_string).collect();
                match versions.len().saturating_sub(VERSIONS_NAMED) {
                    _ if named.is_empty() => f.write_str("none that is left"),
                    0 => f.write_str(&named.join(", ")),
                    more => write!(f, "{} and {more} more", named.join(", ")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
