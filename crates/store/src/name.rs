//! Model names and the references callers write: `"name"` and `"name:version"`.
//!
//! Owns the name pattern and the sort order of the tables that are keyed by name and version. What must never happen
//! here: a name that contains a byte below `-` (0x2D), since the separator 0x00 of [`version_key`] relies on it.

use thiserror::Error;

/// Longest model name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is not a model name.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The name has no character.
    #[error("the model name is empty; it takes 1 to {MAX_NAME_BYTES} of a-z A-Z 0-9 . _ -")]
    Empty,
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("the model name has {bytes} bytes; at most {MAX_NAME_BYTES} are allowed")]
    TooLong {
        /// Bytes of the name.
        bytes: usize,
    },
    /// A character outside the pattern.
    #[error(
        "the model name has {found:?} at byte {at}; allowed are a-z A-Z 0-9 . _ -, the first a letter or digit"
    )]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
}

/// Why a text is neither `"name"` nor `"name:version"`.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum ReferenceError {
    /// The part before the colon is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The part after the colon is not a version.
    #[error("the version after `{name}:` is no whole number from 1 to 18446744073709551615")]
    Version {
        /// The name before the colon.
        name: String,
    },
    /// A version is needed and none is written.
    #[error("`{name}` names no version; write `{name}:1`")]
    VersionMissing {
        /// The name.
        name: String,
    },
}

/// Checks `name` against the pattern: 1 to 64 of `a-z A-Z 0-9 . _ -`, first a letter or digit.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    let wrong = name
        .char_indices()
        .find(|&(at, c)| !(c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '.' | '_' | '-'))));
    match wrong {
        Some((at, found)) => Err(NameError::Character { found, at }),
        None => Ok(()),
    }
}

/// A parsed `"name"` or `"name:version"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelRef<'a> {
    /// The model's name, checked.
    pub name: &'a str,
    /// The version, if one is written; from 1.
    pub version: Option<u64>,
}

impl<'a> ModelRef<'a> {
    /// Parses `reference`.
    pub fn parse(reference: &'a str) -> Result<Self, ReferenceError> {
        let (name, digits) = match reference.split_once(':') {
            Some((name, digits)) => (name, Some(digits)),
            None => (reference, None),
        };
        check_name(name)?;
        let Some(digits) = digits else {
            return Ok(ModelRef { name, version: None });
        };
        let version = match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse().ok().filter(|&v| v > 0),
            false => None,
        };
        match version {
            Some(version) => Ok(ModelRef { name, version: Some(version) }),
            None => Err(ReferenceError::Version { name: name.to_owned() }),
        }
    }
}

/// Key of a version: the name, 0x00, the version big-endian, so that the tables sort by name, then by number.
pub(crate) fn version_key(name: &str, version: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 9);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// Name and version of a key that [`version_key`] made; `None` for other bytes.
pub(crate) fn parse_version_key(key: &[u8]) -> Option<(&str, u64)> {
    let (rest, version) = key.split_last_chunk::<8>()?;
    let (separator, name) = rest.split_last()?;
    let name = std::str::from_utf8(name).ok()?;
    (*separator == 0).then_some((name, u64::from_be_bytes(*version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["a", "7", "MobileNet-v2_1.0", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&"x".repeat(65)), Err(NameError::TooLong { bytes: 65 }));
        for (bad, found, at) in [
            (".a", '.', 0),
            ("-", '-', 0),
            ("a b", ' ', 1),
            ("aé", 'é', 1),
            ("a:1", ':', 1),
            ("a\0", '\0', 1),
        ] {
            assert_eq!(check_name(bad), Err(NameError::Character { found, at }), "{bad:?}");
        }
    }

    #[test]
    fn references_parse() {
        assert_eq!(ModelRef::parse("m"), Ok(ModelRef { name: "m", version: None }));
        assert_eq!(ModelRef::parse("m:007"), Ok(ModelRef { name: "m", version: Some(7) }));
        for bad in ["m:", "m:0", "m:+1", "m:-1", "m:1:2", "m:18446744073709551616"] {
            assert_eq!(ModelRef::parse(bad), Err(ReferenceError::Version { name: "m".into() }), "{bad}");
        }
        assert_eq!(ModelRef::parse(":1"), Err(ReferenceError::Name(NameError::Empty)));
    }

    #[test]
    fn keys_sort_by_name_then_number_and_parse_back() {
        let keys = [("a", 1), ("a", 2), ("a", 256), ("a-b", 1), ("a.b", 1), ("aa", 1), ("b", u64::MAX)];
        let made: Vec<_> = keys.iter().map(|&(n, v)| version_key(n, v)).collect();
        assert!(made.is_sorted());
        for (key, want) in made.iter().zip(keys) {
            assert_eq!(parse_version_key(key), Some(want));
        }
        assert_eq!(parse_version_key(b"short"), None);
    }
}
