//! What is made of a model's weights when its graph is loaded: as they are in the file, or in a smaller type.
//!
//! The number stands in the version's record and is never given another meaning; what is loaded, cached and receipted is of
//! the file and of it.

use ic_nn_engine::Precision;
use ic_nn_store::Version;
use ic_nn_types::{Error, ErrorCode};

use crate::receipts::BUILD;
use crate::resident::Hash;

/// Numbers of the variants, their values of the property `quantize`, and what they are to the engine.
const VARIANTS: [(u8, &str, Precision); 2] = [(1, "int8", Precision::Int8), (2, "int16", Precision::Int16)];

/// What a graph is made of: a file, and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    /// sha256 of the file.
    pub(crate) sha256: Hash,
    /// What is made of it; 0 for the file as it is.
    pub(crate) variant: u8,
}

impl Content {
    /// That of a version.
    pub(crate) fn of(version: &Version) -> Content {
        Content { sha256: version.sha256, variant: version.variant }
    }

    /// A file in every variant.
    pub(crate) fn all(sha256: Hash) -> impl Iterator<Item = Content> {
        let variants = VARIANTS.iter().map(|(number, ..)| *number);
        std::iter::once(0).chain(variants).map(move |variant| Content { sha256, variant })
    }

    /// A file as it is.
    pub(crate) fn plain(sha256: Hash) -> Content {
        Content { sha256, variant: 0 }
    }
}

/// What a variant is to the engine.
pub(crate) fn precision(variant: u8) -> Result<Precision, Error> {
    if variant == 0 {
        return Ok(Precision::F32);
    }
    VARIANTS.iter().find(|(number, ..)| *number == variant).map(|(.., precision)| *precision).ok_or_else(
        || Error::new(ErrorCode::RuntimeError, format!("variant {variant} of a model is not known here")),
    )
}

/// The variant of a value of the property `quantize`; `none` is the file as it is.
pub(crate) fn of_value(value: &str) -> Option<u8> {
    if value == "none" {
        return Some(0);
    }
    VARIANTS.iter().find(|(_, name, _)| *name == value).map(|(number, ..)| *number)
}

/// The property's value of a variant, where it is not the file as it is.
pub(crate) fn value(variant: u8) -> Option<&'static str> {
    VARIANTS.iter().find(|(number, ..)| *number == variant).map(|(_, name, _)| *name)
}

/// The variant that is meant by one who asks about quantised weights: that of the value, or where none is named that of the version,
/// or the first there is.
pub(crate) fn asked(value: Option<&str>, variant: u8) -> Result<u8, Error> {
    let Some(value) = value else { return Ok(if variant == 0 { VARIANTS[0].0 } else { variant }) };
    of_value(value).filter(|variant| *variant != 0).ok_or_else(|| {
        let values = VARIANTS.map(|(_, name, _)| name).join(", ");
        Error::invalid_argument(format!("`{value}` does not quantise: say one of {values}, or null"))
    })
}

/// What a receipt calls the engine that answers with a variant.
pub(crate) fn engine(variant: u8) -> String {
    match value(variant) {
        Some(value) => format!("{BUILD} {value}"),
        None => BUILD.to_owned(),
    }
}

/// The variant that a receipt's engine tells, of this build or another.
pub(crate) fn of_engine(engine: &str) -> u8 {
    engine.rsplit_once(' ').and_then(|(_, value)| of_value(value)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_told_by_property_and_by_receipt() {
        assert_eq!((of_value("none"), value(0), of_engine(BUILD)), (Some(0), None, 0));
        for (number, name, _) in VARIANTS {
            assert_eq!((of_value(name), value(number)), (Some(number), Some(name)));
            assert_eq!(of_engine(&engine(number)), number);
            assert!(precision(number).is_ok());
        }
        assert_eq!((of_value(""), of_value("int9"), of_engine("a b")), (None, None, 0));
        assert!(precision(200).is_err());
        assert_eq!([0, 1, 2].map(|variant| asked(None, variant).unwrap()), [1, 1, 2]);
        assert_eq!([0, 1, 2].map(|variant| asked(Some("int16"), variant).unwrap()), [2; 3]);
        assert!(asked(Some("none"), 1).is_err() && asked(Some("int9"), 0).is_err());
    }
}
