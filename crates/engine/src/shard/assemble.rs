//! The stages' files.

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension as Axis, dimension::Value as Length};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

use super::columns::Split;
use super::cut::Stretch;
use super::facts::{Facts, Value};
use super::names::{Names, bytes};
use super::{ShardError, Stage};
use crate::description::Dimension;
use crate::element;

/// What all stages are made from.
pub(super) struct Source<'a> {
    proto: &'a ModelProto,
    names: &'a Names<'a>,
    facts: &'a Facts,
    /// Instructions of each node.
    costs: &'a [u64],
    splits: &'a [Split<'a>],
    /// Names of the parts of each product that is cut.
    parts: Vec<Vec<String>>,
}

/// A file that is being made.
#[derive(Default)]
struct Draft {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    takes: Vec<ValueInfoProto>,
    gives: Vec<ValueInfoProto>,
    bytes_in: u64,
    bytes_out: u64,
    /// Nodes of the model, and their instructions.
    own: usize,
    instructions: u64,
    part: Option<(String, usize, usize)>,
}

impl<'a> Source<'a> {
    /// Of a model whose products in `splits` are cut.
    pub(super) fn new(
        proto: &'a ModelProto,
        names: &'a Names<'a>,
        facts: &'a Facts,
        costs: &'a [u64],
        splits: &'a [Split<'a>],
    ) -> Self {
        let known = |name: &str| {
            names.giver.contains_key(name)
                || names.constants.contains_key(name)
                || names.inputs.contains(name)
        };
        let fresh = |output: &str, part: usize| {
            let mut name = format!("{output}.part{}", part + 1);
            while known(&name) {
                name.push('_');
            }
            name
        };
        let parts =
            splits.iter().map(|s| (0..s.parts.len()).map(|part| fresh(s.output, part)).collect()).collect();
        Source { proto, names, facts, costs, splits, parts }
    }

    /// The stages of these stretches, in order.
    pub(super) fn stages(&self, stretches: &[Stretch]) -> Result<Vec<Stage>, ShardError> {
        let names = self.names;
        let last = stretches.iter().rposition(|s| matches!(s, Stretch::Nodes { .. }));
        let mut drafts: Vec<Draft> = vec![];
        // Outputs of the graph that are in parts, until a stage puts them together.
        let mut apart: Vec<&str> = vec![];
        for (ix, stretch) in stretches.iter().enumerate() {
            match *stretch {
                Stretch::Parts(group) => {
                    for part in 0..self.splits[group].parts.len() {
                        drafts.push(self.part(group, part)?);
                    }
                    let output = self.splits[group].output;
                    apart.extend(names.outputs.contains(output).then_some(output));
                }
                Stretch::Nodes { from, to } => {
                    if Some(ix) == last {
                        apart.extend(self.constant_outputs());
                    }
                    let draft = self.nodes(&names.order[from..to], &std::mem::take(&mut apart))?;
                    // What nobody reads is left out, but where it is all there is.
                    drafts.extend((!draft.gives.is_empty()).then_some(draft));
                }
            }
        }
        if last.is_none() {
            apart.extend(self.constant_outputs());
        }
        if !apart.is_empty() {
            drafts.push(self.nodes(&[], &apart)?);
        }
        // What no node reads is the model's input all the same.
        let taken: HashSet<String> = drafts.iter().flat_map(|d| &d.takes).map(|i| i.name.clone()).collect();
        let all = names.graph.input.iter().filter(|i| names.inputs.contains(i.name.as_str()));
        for input in all.filter(|input| !taken.contains(&input.name)) {
            if let Some(draft) = drafts.iter_mut().find(|draft| draft.part.is_none()) {
                draft.takes.push(input.clone());
            }
        }
        Ok(drafts.into_iter().map(|draft| self.finish(draft)).collect())
    }

    /// Outputs of the graph that follow from constants alone.
    fn constant_outputs(&self) -> Vec<&'a str> {
        let all = self.names.graph.output.iter().map(|o| o.name.as_str());
        all.filter(|name| !self.names.crosses(name) && !self.names.inputs.contains(name)).collect()
    }

    /// A stage of these nodes of the order, that gives `also`, which they do not.
    fn nodes(&self, own: &[usize], also: &[&'a str]) -> Result<Draft, ShardError> {
        let names = self.names;
        let mut draft = Draft { own: own.len(), ..Default::default() };
        let given: HashSet<&str> =
            own.iter().flat_map(|ix| &names.node(*ix).output).map(String::as_str).collect();
        let (free, sources) = names.behind(own, also);
        let mut takes: Vec<&str> = vec![];
        for source in sources.into_iter().filter(|source| !given.contains(source)) {
            match names.constants.get(source) {
                Some(constant) => draft.constants.push((*constant).clone()),
                None => takes.push(source),
            }
        }
        self.take(&mut draft, takes)?;
        draft.nodes.extend(free.iter().chain(own).map(|ix| names.node(*ix).clone()));
        let inside: HashSet<usize> = own.iter().copied().collect();
        for name in own.iter().flat_map(|ix| &names.node(*ix).output).filter(|name| !name.is_empty()) {
            let leaves = names.outputs.contains(name.as_str());
            if leaves || names.readers(name).iter().any(|reader| !inside.contains(reader)) {
                self.give(&mut draft, name)?;
            }
        }
        for name in also {
            self.give(&mut draft, name)?;
        }
        draft.instructions = own.iter().fold(0, |sum: u64, ix| sum.saturating_add(self.costs[*ix]));
        Ok(draft)
    }

    /// A part of a product.
    fn part(&self, group: usize, part: usize) -> Result<Draft, ShardError> {
        let split = &self.splits[group];
        let name = &self.parts[group][part];
        let count = split.parts.len();
        let (nodes, constants) = split.part(self.names, part, name);
        let mut draft = Draft { constants, own: nodes.len(), ..Default::default() };
        self.take(&mut draft, split.data(self.names))?;
        draft.nodes.extend(nodes);
        let (info, bytes) = self.part_info(group, part)?;
        draft.gives.push(info);
        draft.bytes_out = bytes;
        let cost = split.nodes.iter().fold(0, |sum: u64, ix| sum.saturating_add(self.costs[*ix]));
        draft.instructions = cost / count as u64;
        draft.part = Some((split.output.to_owned(), part + 1, count));
        Ok(draft)
    }

    /// Has a stage take tensors, of those in parts the parts, which it puts together first.
    fn take(&self, draft: &mut Draft, mut takes: Vec<&str>) -> Result<(), ShardError> {
        let place: HashMap<&str, usize> =
            self.names.graph.input.iter().enumerate().map(|(ix, input)| (input.name.as_str(), ix)).collect();
        let order = |name: &str| {
            (!self.names.inputs.contains(name), place.get(name).copied(), self.names.giver.get(name).copied())
        };
        takes.sort_by_key(|name| order(name));
        for name in takes {
            let Some(group) = self.splits.iter().position(|split| split.output == name) else {
                let input = self.names.graph.input.iter().find(|input| input.name == name);
                let value = self.value(name)?;
                draft.takes.push(input.cloned().unwrap_or_else(|| info(name, value)));
                draft.bytes_in = draft.bytes_in.saturating_add(value.bytes);
                continue;
            };
            for part in 0..self.parts[group].len() {
                let (info, bytes) = self.part_info(group, part)?;
                draft.takes.push(info);
                draft.bytes_in = draft.bytes_in.saturating_add(bytes);
            }
            let axis = self.value(name)?.dimensions.len() as i64 - 1;
            let r#type = AttributeType::Int as i32;
            draft.nodes.push(NodeProto {
                input: self.parts[group].clone(),
                output: vec![name.to_owned()],
                name: format!("{name}.parts"),
                op_type: "Concat".into(),
                attribute: vec![AttributeProto {
                    name: "axis".into(),
                    r#type,
                    i: axis,
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
        Ok(())
    }

    /// Has a stage give a tensor, as the file declares it where it is an output of the model.
    fn give(&self, draft: &mut Draft, name: &str) -> Result<(), ShardError> {
        let declared = self.names.graph.output.iter().find(|output| output.name == name);
        match (declared, self.facts.value(name)) {
            (Some(declared), value) => {
                draft.gives.push(declared.clone());
                draft.bytes_out = draft.bytes_out.saturating_add(value.map_or(0, |value| value.bytes));
            }
            (None, _) => {
                let value = self.value(name)?;
                draft.gives.push(info(name, value));
                draft.bytes_out = draft.bytes_out.saturating_add(value.bytes);
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Result<&Value, ShardError> {
        let missing = || ShardError::Uncuttable(format!("the type and shape of `{name}` are not known"));
        self.facts.value(name).ok_or_else(missing)
    }

    fn part_info(&self, group: usize, part: usize) -> Result<(ValueInfoProto, u64), ShardError> {
        let split = &self.splits[group];
        let whole = self.value(split.output)?;
        let columns = split.parts[part].len();
        let mut dimensions = whole.dimensions.clone();
        if let Some(last) = dimensions.last_mut() {
            *last = Dimension::Fixed(columns as u32);
        }
        let all = split.parts.iter().map(|part| part.len()).sum::<usize>().max(1) as u64;
        let bytes = whole.bytes / all * columns as u64;
        let value = Value { dimensions, ..whole.clone() };
        Ok((info(&self.parts[group][part], &value), bytes))
    }

    fn finish(&self, draft: Draft) -> Stage {
        let Draft { nodes, constants, takes, gives, bytes_in, bytes_out, own, instructions, part } = draft;
        let names = |infos: &[ValueInfoProto]| infos.iter().map(|info| info.name.clone()).collect();
        let weight_bytes = constants.iter().map(bytes).sum();
        let (taken, given) = (names(&takes), names(&gives));
        let graph = GraphProto {
            name: self.names.graph.name.clone(),
            node: nodes,
            initializer: constants,
            input: takes,
            output: gives,
            ..Default::default()
        };
        // A file begins with its version, which tells it.
        let ModelProto { ir_version, opset_import, producer_name, producer_version, functions, .. } =
            self.proto;
        let file = ModelProto {
            ir_version: (*ir_version).max(1),
            opset_import: opset_import.clone(),
            producer_name: producer_name.clone(),
            producer_version: producer_version.clone(),
            functions: functions.clone(),
            graph: Some(graph),
            ..Default::default()
        };
        let file = file.encode_to_vec();
        Stage {
            file,
            takes: taken,
            gives: given,
            nodes: own,
            weight_bytes,
            instructions,
            bytes_in,
            bytes_out,
            part,
        }
    }
}

/// What a file says of a tensor.
fn info(name: &str, value: &Value) -> ValueInfoProto {
    let axis = |dimension: &Dimension| Axis {
        value: match dimension {
            Dimension::Fixed(length) => Some(Length::DimValue(i64::from(*length))),
            Dimension::Symbol(symbol) => Some(Length::DimParam(symbol.clone())),
            Dimension::Any => None,
        },
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: value.dimensions.iter().map(axis).collect() };
    let tensor = type_proto::Tensor { elem_type: element::to_onnx(value.ty), shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..Default::default() }
}
