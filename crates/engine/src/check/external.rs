//! External data: weights that a model keeps in files of their own, put where the rest of the engine looks for them.
//!
//! A file is named by its `location`; here files come as builders without names, in the order in which the model first
//! names theirs: the graph's initializers, then its nodes in order, their tensors and subgraphs. Cost: one copy of the data. Large
//! matrices of files that are in a stream stay there, where products alone read them.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::graph::reads;
use super::{admit, malformed};
use crate::operators::is_onnx;
use crate::streamed::{Away, File};
use crate::{Limits, ModelError};

/// Bytes from which a matrix stays in its stream.
const LEAST_AWAY: u64 = 1 << 16;

/// Moves the data of `files` into the tensors that name them; what stays in a stream leaves the initializers.
pub(super) fn resolve(
    graph: &mut GraphProto,
    files: &[File],
    limits: &Limits,
) -> Result<Vec<Away>, ModelError> {
    admit("external data", files.iter().map(File::heap).sum(), limits)?;
    let far = files.iter().any(|file| matches!(file, File::Far { .. }));
    let weights = if far { weights(graph) } else { HashSet::new() };
    let mut walk = Resolve { files, limits, weights, locations: vec![], away: vec![], read: 0 };
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
    let away = walk.away;
    if !away.is_empty() {
        let names: HashSet<&str> = away.iter().map(|away| away.name.as_str()).collect();
        graph.initializer.retain(|tensor| !names.contains(tensor.name.as_str()));
    }
    Ok(away)
}

/// Names of initializers that are only read as the second operand of products.
fn weights(graph: &GraphProto) -> HashSet<String> {
    let product = |node: &NodeProto| is_onnx(&node.domain) && ["MatMul", "Gemm"].contains(&&*node.op_type);
    let mut uses: HashMap<&str, bool> = HashMap::new();
    for node in &graph.node {
        for name in reads(node) {
            let as_weights =
                product(node) && node.input.iter().enumerate().all(|(ix, input)| input != name || ix == 1);
            *uses.entry(name).or_insert(true) &= as_weights;
        }
    }
    for output in &graph.output {
        uses.insert(&output.name, false);
    }
    uses.into_iter().filter(|(_, as_weights)| *as_weights).map(|(name, _)| name.to_owned()).collect()
}

struct Resolve<'a> {
    files: &'a [File],
    limits: &'a Limits,
    /// Names of what may stay in a stream.
    weights: HashSet<String>,
    /// Those named so far: the n-th is the n-th file.
    locations: Vec<String>,
    /// What stays there.
    away: Vec<Away>,
    /// Bytes that were read of streams.
    read: u64,
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

    /// Whether a tensor of so many bytes stays in its stream.
    fn may_stay(&self, tensor: &TensorProto, bytes: u64) -> bool {
        let length = |dim: &i64| u64::try_from(*dim).ok().filter(|dim| (1..1 << 28).contains(dim));
        let numbers = match tensor.dims.as_slice() {
            [rows, columns] => length(rows).zip(length(columns)).map(|(rows, columns)| rows * columns),
            _ => None,
        };
        tensor.data_type == DataType::Float as i32
            && bytes >= LEAST_AWAY
            && numbers.is_some_and(|numbers| bytes == 4 * numbers && numbers < 1 << 29)
            && self.weights.contains(&tensor.name)
            && !self.away.iter().any(|away| away.name == tensor.name)
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
                .parse::<u64>()
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
            let short = || {
                malformed(
                    &place,
                    format!(
                        "its data are at {offset}, {} bytes, of `{location}`, which has {} bytes",
                        length.map_or("?".into(), |l| l.to_string()),
                        file.bytes()
                    ),
                )
            };
            let end = length.map_or(Some(file.bytes()), |l| offset.checked_add(l));
            let bytes = end.filter(|end| *end <= file.bytes()).and_then(|end| end.checked_sub(offset));
            let bytes = bytes.ok_or_else(short)?;
            match file {
                File::Far { stream, at, .. } if self.may_stay(tensor, bytes) => self.away.push(Away {
                    name: tensor.name.clone(),
                    dims: tensor.dims.iter().map(|dim| *dim as usize).collect(),
                    stream: stream.clone(),
                    at: at + offset,
                }),
                file => {
                    if let File::Far { .. } = file {
                        self.read = self.read.saturating_add(bytes);
                        admit("external data", self.read, self.limits)?;
                    }
                    tensor.raw_data = file.part(offset, bytes).ok_or_else(short)?;
                }
            }
        }
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }
}
