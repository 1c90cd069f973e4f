//! Metadata that a module carries: its `icp:public` and `icp:private` custom sections.

use super::InvalidModule;
use super::limits;

/// Who may read a metadata section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Anyone.
    Public,
    /// Controllers.
    Private,
}

/// A metadata section of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomSection {
    /// Name without the `icp:` scope, `candid:service`.
    pub name: String,
    /// Who may read it.
    pub visibility: Visibility,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// The metadata among the custom sections of a module; other custom sections are passed over.
///
/// # Errors
///
/// An `icp:` section of no known scope, a name used twice, too many or too large sections.
pub(super) fn metadata(sections: &[(&str, &[u8])]) -> Result<Vec<CustomSection>, InvalidModule> {
    let mut found: Vec<CustomSection> = Vec::new();
    let mut total = 0;
    for &(section, bytes) in sections {
        let Some((name, visibility)) = scope(section)? else { continue };
        if found.iter().any(|other| other.name == name) {
            return Err(InvalidModule::CustomSection(format!(
                "Invalid custom section: name {name} already exists"
            )));
        }
        total += (name.len() + bytes.len()) as u64;
        if total > limits::CUSTOM_SECTION_BYTES {
            return Err(InvalidModule::CustomSection(format!(
                "Invalid custom sections: total size of the custom sections exceeds the maximum allowed: size \
                 {total} bytes, allowed {} bytes",
                limits::CUSTOM_SECTION_BYTES
            )));
        }
        found.push(CustomSection { name: name.to_owned(), visibility, bytes: bytes.to_vec() });
        if found.len() > limits::CUSTOM_SECTIONS {
            return Err(InvalidModule::TooManyCustomSections { defined: found.len() });
        }
    }
    Ok(found)
}

fn scope(section: &str) -> Result<Option<(&str, Visibility)>, InvalidModule> {
    if !section.starts_with("icp:") {
        return Ok(None);
    }
    if let Some(name) = section.strip_prefix("icp:public ") {
        return Ok(Some((name, Visibility::Public)));
    }
    if let Some(name) = section.strip_prefix("icp:private ") {
        return Ok(Some((name, Visibility::Private)));
    }
    Err(InvalidModule::CustomSection(if section == "icp:public" || section == "icp:private" {
        "'icp:' section names must have a space after the public/private scope".to_owned()
    } else {
        format!("Invalid custom section: Custom section '{section}' has no public/private scope defined.")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_empty_or_hold_spaces() {
        let found = metadata(&[("icp:public ", b"a"), ("icp:private a b", b""), ("name", b"x")]).unwrap();
        assert_eq!(
            found,
            [
                CustomSection { name: String::new(), visibility: Visibility::Public, bytes: b"a".to_vec() },
                CustomSection { name: "a b".into(), visibility: Visibility::Private, bytes: Vec::new() },
            ]
        );
    }

    #[test]
    fn a_scope_is_followed_by_a_space() {
        for section in ["icp:public", "icp:private", "icp:protected x", "icp:"] {
            let error = metadata(&[(section, b"")]).unwrap_err();
            assert!(matches!(error, InvalidModule::CustomSection(_)), "{section}: {error}");
        }
    }
}
