//! Model names, labels, and the references callers write: `"name"`, `"name:version"` and `"name@label"`.
//!
//! Owns the pattern of names and labels and the sort order of the tables that are keyed by name and version. What must
//! never happen here: a name that contains a byte below `-` (0x2D), since the separator 0x00 of [`version_key`] relies
//! on it; or one of a caller's that begins with [`RESERVED`].

use thiserror::Error;

/// Longest model name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// The label that is computed: it is on the newest version that is served.
pub const LATEST: &str = "latest";

/// The first character of the names that the store gives itself; no caller can write one.
pub(crate) const RESERVED: char = '@';

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

/// Why a text is not a label, or not one that can be set.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
pub enum LabelError {
    /// The label has no character.
    #[error("the label is empty; it takes 1 to {MAX_LABEL_BYTES} of a-z A-Z 0-9 . _ -")]
    Empty,
    /// The label is longer than [`MAX_LABEL_BYTES`].
    #[error("the label has {bytes} bytes; at most {MAX_LABEL_BYTES} are allowed")]
    TooLong {
        /// Bytes of the label.
        bytes: usize,
    },
    /// A character outside the pattern.
    #[error(
        "the label has {found:?} at byte {at}; allowed are a-z A-Z 0-9 . _ -, the first a letter or digit"
    )]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// The label would read as a version.
    #[error(
        "the label `{label}` is a number and would read as a version; give it a letter, or write `name:{label}`"
    )]
    Number {
        /// The label.
        label: String,
    },
    /// The label is [`LATEST`].
    #[error(
        "the label `{LATEST}` cannot be set or removed: it is always on the newest version that is served; retire \
         versions or set the version policy to move it"
    )]
    Latest,
}

/// Why a text is neither `"name"` nor `"name:version"` nor `"name@label"`.
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
    /// The part after the at sign is not a label.
    #[error(transparent)]
    Label(#[from] LabelError),
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
    match outside_pattern(name) {
        Some((at, found)) => Err(NameError::Character { found, at }),
        None => Ok(()),
    }
}

/// Checks `label` against the pattern of names; a number is none.
pub fn check_label(label: &str) -> Result<(), LabelError> {
    if label.is_empty() {
        return Err(LabelError::Empty);
    }
    if label.len() > MAX_LABEL_BYTES {
        return Err(LabelError::TooLong { bytes: label.len() });
    }
    if let Some((at, found)) = outside_pattern(label) {
        return Err(LabelError::Character { found, at });
    }
    match label.bytes().all(|b| b.is_ascii_digit()) {
        true => Err(LabelError::Number { label: label.to_owned() }),
        false => Ok(()),
    }
}

/// Whether the store gave the name to bytes that it keeps without one.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// The first character that neither a name nor a label may have there.
fn outside_pattern(text: &str) -> Option<(usize, char)> {
    text.char_indices()
        .find(|&(at, c)| !(c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '.' | '_' | '-'))))
}

/// Which version of a name is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// None is written.
    Newest,
    /// The version of this number, from 1.
    Version(u64),
    /// The version that this label is on; checked.
    Label(&'a str),
}

/// A parsed `"name"`, `"name:version"` or `"name@label"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelRef<'a> {
    /// The model's name, checked.
    pub name: &'a str,
    /// What follows it.
    pub selector: Selector<'a>,
}

impl<'a> ModelRef<'a> {
    /// Parses `reference`.
    pub fn parse(reference: &'a str) -> Result<Self, ReferenceError> {
        let (name, selected) = match reference.find([':', RESERVED]).filter(|_| !is_reserved(reference)) {
            Some(at) => (&reference[..at], Some(reference[at..].split_at(1))),
            None => (reference, None),
        };
        check_name(name)?;
        let selector = match selected {
            None => Selector::Newest,
            Some((":", digits)) => Selector::Version(
                parse_version(digits).ok_or(ReferenceError::Version { name: name.to_owned() })?,
            ),
            Some((_, label)) => {
                check_label(label)?;
                Selector::Label(label)
            }
        };
        Ok(ModelRef { name, selector })
    }

    /// Parses `reference`, which must be `"name:version"`.
    pub(crate) fn parse_exact(reference: &'a str) -> Result<(&'a str, u64), ReferenceError> {
        match Self::parse(reference)? {
            ModelRef { name, selector: Selector::Version(version) } => Ok((name, version)),
            ModelRef { name, .. } => Err(ReferenceError::VersionMissing { name: name.to_owned() }),
        }
    }
}

fn parse_version(digits: &str) -> Option<u64> {
    let all = digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten().filter(|&version| version > 0)
}

/// Key of a version: the name, 0x00, the version big-endian, so that the tables sort by name, then by number.
pub(crate) fn version_key(name: &str, version: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 9);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// Key of a label: the name, 0x00, the label. An empty label begins the keys of all labels of the name.
pub(crate) fn label_key(name: &str, label: &str) -> Vec<u8> {
    [name.as_bytes(), &[0], label.as_bytes()].concat()
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
        assert_eq!(ModelRef::parse("m"), Ok(ModelRef { name: "m", selector: Selector::Newest }));
        assert_eq!(ModelRef::parse("m:007"), Ok(ModelRef { name: "m", selector: Selector::Version(7) }));
        let label = |label| Ok(ModelRef { name: "m", selector: Selector::Label(label) });
        assert_eq!(ModelRef::parse("m@stable-1.0"), label("stable-1.0"));
        assert_eq!(ModelRef::parse("m@latest"), label("latest"));
        for bad in ["m:", "m:0", "m:+1", "m:-1", "m:1:2", "m:1@a", "m:18446744073709551616"] {
            assert_eq!(ModelRef::parse(bad), Err(ReferenceError::Version { name: "m".into() }), "{bad}");
        }
        assert_eq!(ModelRef::parse(":1"), Err(ReferenceError::Name(NameError::Empty)));
        for (bad, error) in [
            ("m@", LabelError::Empty),
            ("m@1", LabelError::Number { label: "1".into() }),
            ("m@99999999999999999999999", LabelError::Number { label: "99999999999999999999999".into() }),
            ("m@a:1", LabelError::Character { found: ':', at: 1 }),
            ("m@a@b", LabelError::Character { found: '@', at: 1 }),
            ("m@é", LabelError::Character { found: 'é', at: 0 }),
        ] {
            assert_eq!(ModelRef::parse(bad), Err(ReferenceError::Label(error)), "{bad}");
        }
        let long = "x".repeat(65);
        assert_eq!(check_label(&long), Err(LabelError::TooLong { bytes: 65 }));
    }

    #[test]
    fn no_reference_reaches_a_reserved_name() {
        for bad in ["@", "@1", "@1:1", "@1@latest"] {
            let error = NameError::Character { found: '@', at: 0 };
            assert_eq!(ModelRef::parse(bad), Err(ReferenceError::Name(error)), "{bad}");
        }
    }

    #[test]
    fn an_exact_reference_has_a_version() {
        assert_eq!(ModelRef::parse_exact("m:2"), Ok(("m", 2)));
        for bad in ["m", "m@a"] {
            assert_eq!(ModelRef::parse_exact(bad), Err(ReferenceError::VersionMissing { name: "m".into() }));
        }
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
