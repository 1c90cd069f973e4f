//! What a model is given: which source belongs to which input, and what is made of it.
//!
//! Every error names the source, the input, what the model wants and what came. Nothing here calls the canister.

use std::path::{Path, PathBuf};

use ic_nn_types::{NamedTensor, Tensor, TensorDescription, TensorType};

use crate::args::InputArgs;
use crate::elements;
use crate::failure::Failure;
use crate::format;

mod array;
mod json;
mod numpy;
mod picture;
mod random;
mod source;

use array::Array;
pub use numpy::write_npy;
use source::{Kind, Source};

/// One inference: what it is called and what it is given.
#[derive(Clone, Debug)]
pub struct Case {
    /// The source's name, for tables.
    pub label: String,
    /// Every input of the model, in its order.
    pub inputs: Vec<NamedTensor>,
}

/// Reads all sources and deals them out to `inputs`, one case for every source of an input.
pub fn cases(args: &InputArgs, inputs: &[TensorDescription]) -> Result<Vec<Case>, Failure> {
    let wanted = with_shapes(args, inputs)?;
    let mut given: Vec<Vec<(String, Tensor)>> = vec![Vec::new(); wanted.len()];
    for text in &args.inputs {
        let (name, rest) = split_name(text, &wanted)?;
        for source in Source::parse(rest)? {
            for index in receivers(&source, name, &wanted)? {
                let tensor = read(&source, name.is_some(), &wanted[index], wanted.len() == 1, args)?;
                given[index].push((source.label(), tensor));
            }
        }
    }
    deal(&wanted, given)
}

/// Checks that the files there are named do exist, before anything slow is begun.
pub fn check_files(args: &InputArgs) -> Result<(), Failure> {
    for text in &args.inputs {
        let rest = match text.split_once('=') {
            Some((_, rest)) if !Path::new(text).exists() => rest,
            _ => text,
        };
        Source::parse(rest)?;
    }
    Ok(())
}

/// The inputs as a line: `image (FP32 [1, 1, 8, 8]), mask (...)`.
pub fn inputs_text(inputs: &[TensorDescription]) -> String {
    let texts: Vec<String> = inputs.iter().map(input_text).collect();
    texts.join(", ")
}

fn input_text(input: &TensorDescription) -> String {
    format!("{} ({} {})", input.name, input.ty, format::shape(&input.dimensions))
}

/// The descriptions with the dynamic axes that `--shape` fixes.
fn with_shapes(args: &InputArgs, inputs: &[TensorDescription]) -> Result<Vec<TensorDescription>, Failure> {
    let mut wanted = inputs.to_vec();
    for text in &args.shapes {
        let (name, rest) = split_name(text, inputs)?;
        let index = match (name.and_then(|n| inputs.iter().position(|i| i.name == n)), inputs) {
            (Some(index), _) => index,
            (None, [_]) => 0,
            (None, _) => {
                return Err(Failure::usage(format!("--shape {text} does not say of which input"))
                    .hint(format!("the model takes {}", inputs_text(inputs))));
            }
        };
        let shape: Vec<u32> = rest
            .trim_matches(['[', ']'])
            .split(['x', ','])
            .map(|axis| axis.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| {
                Failure::usage(format!("--shape {text}: {rest:?} is not a shape such as 1x3x224x224"))
            })?;
        let dims = &inputs[index].dimensions;
        if shape.len() != dims.len() || dims.iter().zip(&shape).any(|(d, s)| d.is_some_and(|d| d != *s)) {
            return Err(Failure::usage(format!(
                "--shape {text}: the model takes {}",
                input_text(&inputs[index])
            )));
        }
        wanted[index].dimensions = shape.into_iter().map(Some).collect();
    }
    Ok(wanted)
}

/// Splits `NAME=REST` where NAME is an input; the whole is the rest where there is no name.
fn split_name<'a>(
    text: &'a str,
    inputs: &[TensorDescription],
) -> Result<(Option<&'a str>, &'a str), Failure> {
    // The longest name first: names of inputs may hold an equals sign, and so may paths.
    let named = inputs
        .iter()
        .filter_map(|i| Some((i.name.len(), text.strip_prefix(&i.name)?.strip_prefix('=')?)))
        .max_by_key(|(length, _)| *length);
    match (named, text.split_once('=')) {
        (Some((length, rest)), _) => Ok((Some(&text[..length]), rest)),
        (None, Some((name, _))) if !Path::new(text).exists() => {
            Err(Failure::usage(format!("the model has no input named {name:?}"))
                .hint(format!("it takes {}", inputs_text(inputs))))
        }
        _ => Ok((None, text)),
    }
}

/// Which inputs a source is for.
fn receivers(
    source: &Source,
    name: Option<&str>,
    inputs: &[TensorDescription],
) -> Result<Vec<usize>, Failure> {
    if let Some(name) = name {
        return Ok((0..inputs.len()).filter(|i| inputs[*i].name == name).collect());
    }
    match (&source.kind, inputs.len()) {
        (_, 1) | (Kind::Random(_) | Kind::Npz { key: None }, _) => Ok((0..inputs.len()).collect()),
        _ => Err(Failure::usage(format!("{} does not say for which input it is", source.label()))
            .hint(format!("write --input NAME={}; the model takes {}", source.label(), inputs_text(inputs)))),
    }
}

fn read(
    source: &Source,
    named: bool,
    wanted: &TensorDescription,
    alone: bool,
    args: &InputArgs,
) -> Result<Tensor, Failure> {
    let path = &source.path;
    let array = match &source.kind {
        Kind::Random(seed) => {
            let fixed: Option<Vec<u32>> = wanted.dimensions.iter().copied().collect();
            random::array(wanted, fixed.as_deref(), *seed)
        }
        Kind::Picture => picture::Plan::new(wanted, &args.picture).and_then(|plan| plan.read(path)),
        Kind::Npy => numpy::read_npy(path),
        Kind::Npz { key } => read_npz(path, key.as_deref(), named || alone, wanted),
        Kind::Json => {
            std::fs::read_to_string(path).map_err(|e| e.to_string()).and_then(|text| json::parse(&text))
        }
        Kind::Raw => std::fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| raw(wanted.ty, bytes)),
    };
    array.and_then(|array| array.fit(wanted)).map_err(|why| {
        Failure::usage(format!("{} does not fit input {}: {why}", source.label(), input_text(wanted)))
    })
}

/// The array of the input's name, or the only one where that is all there is to choose.
fn read_npz(path: &Path, key: Option<&str>, only: bool, wanted: &TensorDescription) -> Result<Array, String> {
    let mut npz = numpy::Npz::open(path)?;
    let names = npz.names()?;
    let name = match (key, names.as_slice()) {
        (Some(key), _) => key,
        (None, [single]) if only => single,
        (None, _) => &wanted.name,
    };
    npz.read(name)
}

fn raw(ty: TensorType, data: Vec<u8>) -> Result<Array, String> {
    if !data.len().is_multiple_of(ty.size()) {
        return Err(format!("{} bytes are no whole number of {ty} elements of {}", data.len(), ty.size()));
    }
    let elements = data.len() / ty.size();
    let dimensions = vec![u32::try_from(elements).map_err(|_| "it has more than 2^32 elements".to_owned())?];
    let values = elements::numbers(&Tensor { dimensions, ty, data });
    Ok(Array { shape: vec![elements as u64], ty: Some(ty), values })
}

/// As many cases as the input with most sources has; an input with one source has it in every case.
fn deal(wanted: &[TensorDescription], given: Vec<Vec<(String, Tensor)>>) -> Result<Vec<Case>, Failure> {
    let missing: Vec<TensorDescription> =
        wanted.iter().zip(&given).filter(|(_, g)| g.is_empty()).map(|(w, _)| w.clone()).collect();
    if let [first, ..] = missing.as_slice() {
        let also = if missing.len() < wanted.len() { "also " } else { "" };
        return Err(Failure::usage(format!("the model {also}wants {}", inputs_text(&missing)))
            .hint(format!("--input {}=FILE, or --input {}=random:0", first.name, first.name)));
    }
    let count = given.iter().map(Vec::len).max().unwrap_or(1);
    if let Some((input, sources)) = wanted.iter().zip(&given).find(|(_, g)| g.len() != 1 && g.len() != count)
    {
        return Err(Failure::usage(format!(
            "input {} has {} sources where another has {count}: give each as many, or one for all",
            input.name,
            sources.len()
        )));
    }
    let pick = |sources: &[(String, Tensor)], case: usize| {
        sources[if sources.len() == 1 { 0 } else { case }].clone()
    };
    Ok((0..count)
        .map(|case| {
            let label =
                given.iter().find(|s| s.len() == count).map_or_else(String::new, |s| s[case].0.clone());
            let inputs = wanted.iter().zip(&given).map(|(w, s)| (w.name.clone(), pick(s, case).1)).collect();
            Case { label, inputs }
        })
        .collect())
}

/// The files in `folder` that are pictures, by name.
fn pictures_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| matches!(Kind::of(path), Some(Kind::Picture)));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
