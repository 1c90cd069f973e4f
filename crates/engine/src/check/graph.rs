//! Graphs and their subgraphs: every name leads somewhere, nothing leads back to itself, every operator is offered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ic_nn_types::TensorDescription;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, type_proto};

use super::{MAX_NAME_BYTES, MAX_NODES, admit, bfloat, malformed, tensor};
use crate::description::{Dimension, InputDescription};
use crate::operators::{self, Operators};
use crate::streamed::Away;
use crate::{Limits, ModelError, element};

/// Inputs of the main graph, and its outputs with what the file says of them.
type Interface = (Vec<InputDescription>, Vec<(String, Option<TensorDescription>)>);

/// One walk over a model.
pub(super) struct Walk<'a> {
    limits: &'a Limits,
    /// Operator set of ONNX's own domain; 0 where none is imported.
    opset: i64,
    known: Operators,
    /// Model-local functions, by domain and name: tract does not expand them.
    pub(super) functions: HashSet<(String, String)>,
    pub(super) operators: BTreeMap<String, u32>,
    pub(super) parameters: u64,
    /// Elements of constant tensors by ONNX's number of their type.
    pub(super) weights: BTreeMap<i32, u64>,
    pub(super) tensor_bytes: u64,
    refused: BTreeSet<String>,
    nodes: usize,
    /// Every name that can be read where the walk stands: the graph's own and those of the graphs around it.
    scope: HashSet<String>,
    /// Names of values that hold bfloat16, as far as the walk has come.
    bfloats: HashSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(limits: &'a Limits, opset: i64) -> Self {
        Walk {
            limits,
            opset,
            known: Operators::new(),
            functions: HashSet::new(),
            operators: BTreeMap::new(),
            parameters: 0,
            weights: BTreeMap::new(),
            tensor_bytes: 0,
            refused: BTreeSet::new(),
            nodes: 0,
            scope: HashSet::new(),
            bfloats: HashSet::new(),
        }
    }

    /// Takes note of initializers that are not among the graph's: their names can be read.
    pub(super) fn away(&mut self, away: &[Away]) {
        for Away { name, dims, .. } in away {
            let elements = dims.iter().product::<usize>() as u64;
            self.scope.insert(name.clone());
            self.parameters += elements;
            *self.weights.entry(1).or_default() += elements;
        }
    }

    /// Checks the main graph and gives its interface.
    pub(super) fn main(&mut self, graph: &mut GraphProto) -> Result<Interface, ModelError> {
        self.graph(graph)?;
        if !self.refused.is_empty() {
            return Err(ModelError::UnsupportedOperators(
                std::mem::take(&mut self.refused).into_iter().collect(),
            ));
        }
        let initialised: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph
            .input
            .iter()
            .filter(|i| !initialised.contains(i.name.as_str()))
            .map(|i| self.input(i))
            .collect::<Result<Vec<_>, _>>()?;
        if graph.output.is_empty() {
            return Err(malformed("graph", "it has no outputs"));
        }
        let mut seen = HashSet::new();
        let mut outputs = vec![];
        for output in &graph.output {
            if !seen.insert(output.name.as_str()) {
                return Err(malformed(format!("output `{}`", output.name), "it is listed twice"));
            }
            outputs.push((output.name.clone(), declared(output)));
        }
        Ok((inputs, outputs))
    }

    /// Checks `graph` and the graphs inside it; its names leave the scope again at the end.
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), ModelError> {
        if !graph.sparse_initializer.is_empty() {
            return Err(ModelError::Unsupported {
                place: "sparse initializers".into(),
                reason: "store the weights as dense tensors".into(),
            });
        }
        self.nodes += graph.node.len();
        if self.nodes > MAX_NODES {
            return Err(ModelError::TooLarge {
                what: format!("a graph of over {MAX_NODES} nodes (as bytes of bookkeeping)"),
                needed: self.nodes as u64,
                available: MAX_NODES as u64,
            });
        }
        let mut own: HashSet<&str> = HashSet::new();
        for input in &graph.input {
            check_name("input", &input.name)?;
            if bfloat::declares(input) {
                self.bfloats.insert(input.name.clone());
            }
            if !own.insert(&input.name) {
                return Err(malformed(format!("input `{}`", input.name), "it is declared twice"));
            }
        }
        let mut constants: HashMap<String, Vec<i64>> = HashMap::new();
        let mut initialisers: HashSet<&str> = HashSet::new();
        for initialiser in &mut graph.initializer {
            let place = format!("initializer `{}`", initialiser.name);
            check_name("initializer", &initialiser.name)?;
            if bfloat::is(initialiser) {
                self.bfloats.insert(initialiser.name.clone());
            }
            self.tensor(&place, initialiser)?;
            if let Some(values) = tensor::small_integers(initialiser) {
                constants.insert(initialiser.name.clone(), values);
            }
            if !initialisers.insert(&initialiser.name) {
                return Err(malformed(place, "it is defined twice"));
            }
        }
        let mut names: HashSet<String> = own.into_iter().chain(initialisers).map(str::to_owned).collect();
        let mut producer: HashMap<String, usize> = HashMap::new();
        for (ix, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                check_name("output of a node", output)?;
                let taken = names.contains(output) || self.scope.contains(output);
                if taken || producer.insert(output.clone(), ix).is_some() {
                    return Err(malformed(
                        place_of(node, ix),
                        format!("its output `{output}` is defined elsewhere too"),
                    ));
                }
            }
        }
        names.extend(producer.keys().cloned());
        names.retain(|name| self.scope.insert(name.clone()));
        for (ix, node) in graph.node.iter_mut().enumerate() {
            self.node(node, ix, &mut constants)?;
        }
        for (ix, node) in graph.node.iter().enumerate() {
            self.bomb(node, ix, &constants)?;
        }
        for output in &graph.output {
            if !self.scope.contains(&output.name) {
                return Err(malformed(
                    format!("output `{}`", output.name),
                    "nothing in the graph produces it",
                ));
            }
        }
        for name in &names {
            self.scope.remove(name);
        }
        refuse_cycles(graph, &producer)
    }

    fn node(
        &mut self,
        node: &mut NodeProto,
        ix: usize,
        constants: &mut HashMap<String, Vec<i64>>,
    ) -> Result<(), ModelError> {
        let place = place_of(node, ix);
        if let Some(unknown) = node.input.iter().find(|i| !i.is_empty() && !self.scope.contains(*i)) {
            return Err(malformed(place, format!("its input `{unknown}` is produced by nothing")));
        }
        if node.output.iter().all(String::is_empty) {
            return Err(malformed(place, "it has no outputs"));
        }
        if self.functions.contains(&(node.domain.clone(), node.op_type.clone())) {
            self.refused
                .insert(format!("{} (a model-local function; inline it)", operators::display_name(node)));
        } else if !self.known.supports(node) {
            self.refused.insert(operators::refusal(node));
        }
        if self.opset == 0 && operators::is_onnx(&node.domain) {
            return Err(malformed(place, "its operator set is not imported"));
        }
        *self.operators.entry(operators::display_name(node)).or_default() += 1;
        if node.op_type == "BitCast" && node.input.iter().any(|i| self.bfloats.contains(i)) {
            return Err(ModelError::Unsupported { place, reason: "bits of bfloat16 are not held".into() });
        }
        let constant = node.attribute.iter().any(|a| a.t.as_ref().is_some_and(bfloat::is));
        let mut seen = HashSet::new();
        for attribute in &mut node.attribute {
            if !seen.insert(attribute.name.clone()) {
                return Err(malformed(place, format!("attribute `{}` is given twice", attribute.name)));
            }
            if attribute.name == "classlabels_strings" && !attribute.strings.is_empty() {
                return Err(ModelError::Unsupported {
                    place,
                    reason:
                        "its labels are strings, which are not held; encode the classes as integers before \
                             training"
                            .into(),
                });
            }
            self.attribute(&place, attribute)?;
            if node.op_type == "Constant"
                && let (Some(value), [output, ..]) = (&attribute.t, node.output.as_slice())
                && let Some(values) = tensor::small_integers(value)
            {
                constants.insert(output.clone(), values);
            }
        }
        bfloat::follow(node, constant, &mut self.bfloats);
        Ok(())
    }

    fn attribute(&mut self, place: &str, attribute: &mut AttributeProto) -> Result<(), ModelError> {
        if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
            return Err(ModelError::Unsupported {
                place: place.into(),
                reason: "sparse tensors are not held".into(),
            });
        }
        if !attribute.ref_attr_name.is_empty() {
            return Err(malformed(place, "it refers to a function's attribute outside of a function"));
        }
        let place = format!("{place}, attribute `{}`", attribute.name);
        for t in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            self.tensor(&place, t)?;
        }
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            self.graph(graph)?;
        }
        Ok(())
    }

    fn tensor(&mut self, place: &str, proto: &mut tract_onnx::pb::TensorProto) -> Result<(), ModelError> {
        let size = tensor::check(place, proto, self.limits)?;
        self.parameters += size.elements;
        *self.weights.entry(proto.data_type).or_default() += size.elements;
        self.tensor_bytes += size.bytes;
        Ok(())
    }

    /// Refuses nodes whose constant operands make a tensor that cannot be held: a kilobyte of file must not
    /// become a gigabyte of heap while the engine folds constants.
    fn bomb(
        &self,
        node: &NodeProto,
        ix: usize,
        constants: &HashMap<String, Vec<i64>>,
    ) -> Result<(), ModelError> {
        const WIDEST_ELEMENT: u64 = 8;
        let operand = |ix: usize| node.input.get(ix).and_then(|name| constants.get(name));
        let elements = match node.op_type.as_str() {
            "ConstantOfShape" => operand(0).map(|shape| product(shape)),
            "Expand" => operand(1).map(|shape| product(shape)),
            "Range" => match (operand(0), operand(1), operand(2)) {
                (Some(start), Some(limit), Some(delta)) => {
                    match (start[..].first(), limit[..].first(), delta[..].first()) {
                        (_, _, Some(0)) => {
                            return Err(malformed(place_of(node, ix), "a Range by steps of 0 never ends"));
                        }
                        (Some(s), Some(l), Some(d)) => Some(
                            (i128::from(*l) - i128::from(*s)).checked_div(i128::from(*d)).unwrap_or(0).max(0)
                                as u64,
                        ),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        };
        match elements {
            Some(n) => admit(&place_of(node, ix), n.saturating_mul(WIDEST_ELEMENT), self.limits),
            None => Ok(()),
        }
    }

    fn input(&self, input: &ValueInfoProto) -> Result<InputDescription, ModelError> {
        let place = format!("input `{}`", input.name);
        let Some(type_proto::Value::TensorType(tensor)) =
            input.r#type.as_ref().and_then(|t| t.value.as_ref())
        else {
            return Err(ModelError::Unsupported {
                place,
                reason: "only tensors go in; it is declared as something else".into(),
            });
        };
        let Some(ty) = element::from_onnx(tensor.elem_type) else {
            return Err(ModelError::Unsupported {
                place,
                reason: format!("element type {} is not held", element::onnx_name(tensor.elem_type)),
            });
        };
        let Some(shape) = &tensor.shape else {
            return Err(ModelError::Unsupported {
                place,
                reason: "its rank is not declared; export it with a shape".into(),
            });
        };
        let mut elements = 1u64;
        let mut dimensions = vec![];
        for dim in &shape.dim {
            dimensions.push(match &dim.value {
                Some(DimValue::DimValue(n)) if *n >= 0 => {
                    let n = u32::try_from(*n)
                        .map_err(|_| malformed(&*place, format!("dimension {n} does not fit 32 bits")))?;
                    elements = elements.saturating_mul(u64::from(n));
                    Dimension::Fixed(n)
                }
                Some(DimValue::DimValue(n)) if *n < -1 => {
                    return Err(malformed(
                        place,
                        format!("dimension {n}; a length or -1 for any is expected"),
                    ));
                }
                Some(DimValue::DimParam(symbol)) if !symbol.is_empty() && symbol != "?" => {
                    check_name("symbol", symbol)?;
                    Dimension::Symbol(symbol.clone())
                }
                _ => Dimension::Any,
            });
        }
        admit(&place, elements.saturating_mul(ty.size() as u64), self.limits)?;
        Ok(InputDescription { name: input.name.clone(), ty, dimensions })
    }
}

/// What the file says of an output, if it says all of it.
fn declared(output: &ValueInfoProto) -> Option<TensorDescription> {
    let type_proto::Value::TensorType(tensor) = output.r#type.as_ref()?.value.as_ref()?;
    let axes = &tensor.shape.as_ref()?.dim;
    let dimensions = axes.iter().map(|d| match &d.value {
        Some(DimValue::DimValue(n)) => u32::try_from(*n).ok(),
        _ => None,
    });
    let symbols = axes.iter().map(|d| match &d.value {
        Some(DimValue::DimParam(name)) if !name.is_empty() && name.len() <= MAX_NAME_BYTES => {
            Some(name.clone())
        }
        _ => None,
    });
    Some(TensorDescription {
        name: output.name.clone(),
        ty: element::from_onnx(tensor.elem_type)?,
        dimensions: dimensions.collect(),
        symbols: symbols.collect(),
    })
}

fn product(shape: &[i64]) -> u64 {
    shape.iter().fold(1u64, |n, &d| n.saturating_mul(u64::try_from(d).unwrap_or(0)))
}

fn check_name(what: &str, name: &str) -> Result<(), ModelError> {
    if name.is_empty() {
        return Err(malformed(what, "it has no name"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(malformed(
            what,
            format!("its name is {} bytes long, {MAX_NAME_BYTES} are allowed", name.len()),
        ));
    }
    Ok(())
}

fn place_of(node: &NodeProto, ix: usize) -> String {
    let name = if node.name.is_empty() { format!("{ix}") } else { node.name.chars().take(80).collect() };
    format!("node `{name}` ({})", operators::display_name(node).chars().take(80).collect::<String>())
}

/// Names that a node reads, those that its subgraphs read from outside included.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        names.extend(graph.node.iter().flat_map(reads));
        names.extend(graph.output.iter().map(|o| o.name.as_str()));
    }
    names
}

/// Kahn's algorithm: whatever cannot be put in order is on a cycle or behind one.
fn refuse_cycles(graph: &GraphProto, producer: &HashMap<String, usize>) -> Result<(), ModelError> {
    let mut waits = vec![0usize; graph.node.len()];
    let mut feeds: Vec<Vec<usize>> = vec![vec![]; graph.node.len()];
    for (ix, node) in graph.node.iter().enumerate() {
        for from in reads(node).into_iter().filter_map(|name| producer.get(name)) {
            waits[ix] += 1;
            feeds[*from].push(ix);
        }
    }
    let mut ready: Vec<usize> = (0..waits.len()).filter(|&ix| waits[ix] == 0).collect();
    while let Some(ix) = ready.pop() {
        for &next in &feeds[ix] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(next);
            }
        }
    }
    let stuck: Vec<String> = (0..waits.len())
        .filter(|&ix| waits[ix] > 0)
        .take(5)
        .map(|ix| place_of(&graph.node[ix], ix))
        .collect();
    if stuck.is_empty() {
        Ok(())
    } else {
        Err(malformed("graph", format!("a cycle runs through {}", stuck.join(", "))))
    }
}
