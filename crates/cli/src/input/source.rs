//! A source of numbers as it is written on the command line.

use std::path::{Path, PathBuf};

use super::pictures_in;
use crate::failure::Failure;

/// Where an input's numbers come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file; empty for random numbers.
    pub path: PathBuf,
    /// What is in it.
    pub kind: Kind,
}

/// What a source holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Numbers made up from a seed.
    Random(u64),
    /// A PNG or JPEG.
    Picture,
    /// A NumPy array.
    Npy,
    /// Several NumPy arrays, one of them named or not.
    Npz {
        /// The array's name.
        key: Option<String>,
    },
    /// Nested lists.
    Json,
    /// Little-endian elements and nothing else.
    Raw,
}

impl Kind {
    /// The kind that a file's name promises.
    pub fn of(path: &Path) -> Option<Kind> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "png" | "jpg" | "jpeg" => Some(Kind::Picture),
            "npy" => Some(Kind::Npy),
            "npz" => Some(Kind::Npz { key: None }),
            "json" => Some(Kind::Json),
            "bin" | "raw" => Some(Kind::Raw),
            _ => None,
        }
    }
}

impl Source {
    /// The sources that `text` stands for: one, or every picture of a folder.
    pub fn parse(text: &str) -> Result<Vec<Source>, Failure> {
        let path = Path::new(text);
        if !path.exists() {
            if text == "random" {
                return Ok(vec![Source { path: PathBuf::new(), kind: Kind::Random(0) }]);
            }
            if let Some(seed) = text.strip_prefix("random:") {
                let seed = seed.parse().map_err(|_| {
                    Failure::usage(format!("{text}: the seed is a whole number from 0 to {}", u64::MAX))
                })?;
                return Ok(vec![Source { path: PathBuf::new(), kind: Kind::Random(seed) }]);
            }
        }
        if path.is_dir() {
            let pictures = pictures_in(path)
                .map_err(|e| Failure::usage(format!("cannot read the folder {text}: {e}")))?;
            if pictures.is_empty() {
                return Err(Failure::usage(format!("the folder {text} has no .png or .jpg in it")));
            }
            return Ok(pictures.into_iter().map(|path| Source { path, kind: Kind::Picture }).collect());
        }
        let (path, key) = match text.rsplit_once(".npz:") {
            Some((stem, key)) if !path.exists() => {
                (PathBuf::from(format!("{stem}.npz")), Some(key.to_owned()))
            }
            _ => (path.to_owned(), None),
        };
        if !path.exists() {
            return Err(Failure::usage(format!("there is no file {}", path.display())));
        }
        match (Kind::of(&path), key) {
            (Some(Kind::Npz { .. }), key) => Ok(vec![Source { path, kind: Kind::Npz { key } }]),
            (Some(kind), _) => Ok(vec![Source { path, kind }]),
            (None, _) => Err(Failure::usage(format!("{text}: what is in it cannot be told by its name"))
                .hint("sources end in .png .jpg .npy .npz .json .bin or .raw, or are random:SEED")),
        }
    }

    /// What tables and errors call it: the file's name, with the array's.
    pub fn label(&self) -> String {
        let file =
            || self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match &self.kind {
            Kind::Random(seed) => format!("random:{seed}"),
            Kind::Npz { key: Some(key) } => format!("{}:{key}", file()),
            _ => file(),
        }
    }
}
