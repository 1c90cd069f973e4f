//! External data: weights that a model keeps in files of their own, put where the rest of the engine looks for them.
//!
//! A file is named by its `location`; here files come as builders without names, in the order in which the model first
//! names theirs: the graph's initializers, then its nodes in order, their tensors and subgraphs. Cost: one copy of the data.

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, TensorProto};

use super::{admit, malformed};
use crate::{Limits, ModelError};

/// Moves the data of `files` into the tensors that name them.
pub(super) fn resolve(graph: &mut GraphProto, files: &[Vec<u8>], limits: &Limits) -> Result<(), ModelError> {
    admit("external data", files.iter().map(|f| f.len() as u64).sum(), limits)?;
    let mut walk = Resolve { files, locations: vec![] };
    walk.graph(graph)?;
    if walk.locations.len() != files.len() {
        let named: Vec<_> = walk.locations.iter().map(|l| format!("`{l}`")).collect();
        return Err(malformed(
            "external data",
            format!(
                "the model names {} files ({}), {} came behind it; pass them in that order",
                named.len(),
                named.join(", "),
                files.len()
            ),
        ));
    }
    Ok(())
}

struct Resolve<'a> {
    files: &'a [Vec<u8>],
    /// Those named so far: the n-th is the n-th file.
    locations: Vec<String>,
}

impl Resolve<'_> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), ModelError> {
        for tensor in &mut graph.initializer {
            self.tensor(tensor)?;
        }
        for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
            for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
                self.tensor(tensor)?;
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                self.graph(graph)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> Result<(), ModelError> {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(());
        }
        let place = format!("initializer `{}`", tensor.name.chars().take(80).collect::<String>());
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location: String = entry("location").unwrap_or_default().chars().take(200).collect();
        let number = |key: &str| match entry(key) {
            Some(text) => text
                .trim()
                .parse::<usize>()
                .map(Some)
                .map_err(|_| malformed(&place, format!("the {key} of its external data is no number"))),
            None => Ok(None),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let ix = match self.locations.iter().position(|l| *l == location) {
            Some(ix) => ix,
            None => {
                self.locations.push(location.clone());
                self.locations.len() - 1
            }
        };
        // That files are missing is told with the names of all of them, at the end.
        if let Some(file) = self.files.get(ix) {
            let end = length.map_or(Some(file.len()), |l| offset.checked_add(l));
            let data = end.and_then(|end| file.get(offset..end)).ok_or_else(|| {
                malformed(
                    &place,
                    format!(
                        "its data are at {offset}, {} bytes, of `{location}`, which has {} bytes",
                        length.map_or("?".into(), |l| l.to_string()),
                        file.len()
                    ),
                )
            })?;
            tensor.raw_data = data.to_vec();
        }
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }
}
