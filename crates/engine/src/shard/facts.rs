//! What the engine makes of the whole model: shapes and types of its tensors, which of them its plan has, and what nodes take.
//!
//! Shapes are those that the engine infers for two sets of input dimensions; a dimension that is the same in both is that long, one
//! that is an input's symbol each time is that symbol, any other may be any. A tensor *survives* where an outlet of the finished
//! plan has its label and its shape, axes of 1 left out: nothing was fused over it, and its axes lie as the file says.

use std::collections::HashMap;

use ic_nn_types::{GraphEncoding, NamedShape, TensorType};
use tract_onnx::prelude::*;

use super::ShardError;
use super::names::Names;
use crate::description::Dimension;
use crate::error::refused_or;
use crate::lower::Passes;
use crate::plan::{self, Plan};
use crate::source::Source;
use crate::{Graph, InputDescription, Limits, ModelError, element, tensors};

/// Lengths to try for what is dynamic: that of the first axis, and what each further one has more. Small ones first; then such as
/// images have, which can be halved.
const TRIED: [(u32, u32); 4] = [(2, 1), (16, 16), (64, 32), (256, 64)];

/// What lowering adds to the name of a node that it makes of several, which is that of the last of them.
const LOWERED: &str = ".low";

/// A tensor of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) ty: TensorType,
    pub(super) dimensions: Vec<Dimension>,
    /// At the shapes that costs are told for.
    pub(super) bytes: u64,
    /// Its dimensions there.
    pub(super) first: Vec<u32>,
}

/// A node of the plan, and its estimate.
struct Priced {
    name: String,
    instructions: u64,
}

/// What is known of a model.
pub(super) struct Facts {
    pub(super) inputs: Vec<InputDescription>,
    values: HashMap<String, Value>,
    survives: HashMap<String, bool>,
    /// Outlets of the plan without a label, by the names of their nodes.
    nodes: HashMap<String, (TensorType, Vec<u32>)>,
    plan: Vec<Priced>,
}

type Shapes = HashMap<String, (TensorType, Vec<u32>)>;

impl Facts {
    /// Plans the model once, and infers its shapes for other dimensions where some are dynamic.
    pub(super) fn of(
        files: Vec<Vec<u8>>,
        named: &[NamedShape],
        limits: &Limits,
    ) -> Result<Facts, ShardError> {
        let decoded =
            Graph::decoded(GraphEncoding::Onnx, files.into_iter().map(Into::into).collect(), limits)?;
        let description = decoded.description;
        if let Some(input) = decoded.bound.first().and_then(|ix| description.inputs.get(*ix)) {
            return Err(ShardError::Uncuttable(format!(
                "the values of input `{}` decide shapes, so that a plan is of them; make it a constant before cutting",
                input.name
            )));
        }
        let source = decoded.source;
        let fixed = description.is_static();
        let asked = tensors::arrange_shapes(&description, named.to_vec()).map_err(crate::InferError::from)?;
        let first = (asked.clone(), inferred(&source, &description.inputs, &asked)?);
        let second = if fixed { None } else { Some(another(&source, &description.inputs, &first.0)?) };
        let (typed, macs) = Plan::lowered(source, &asked, &[], ic_nn_kernels::Precision::F32, Passes::ALL)?;
        let plan = Plan::of_lowered(typed, asked, vec![], macs, limits)?;
        let model = plan.core.runnable.model();
        let mut survives = HashMap::new();
        let mut nodes = HashMap::new();
        for (outlet, label) in &model.outlet_labels {
            let fact = model.outlet_fact(*outlet).map_err(|e| refused_or(&e))?;
            let same = first.1.get(label).is_some_and(|(ty, dimensions)| {
                concrete(fact).is_some_and(|(t, d)| t == *ty && long(&d).eq(long(dimensions)))
            });
            let constant = fact.konst.is_some();
            survives.insert(label.clone(), same && !constant);
        }
        // Where axes of 1 went, so did the label; the node has the name of what it gives still.
        for node in model.nodes().iter().filter(|node| node.outputs.len() == 1) {
            let outlet = OutletId::new(node.id, 0);
            let fact = &node.outputs[0].fact;
            if let (None, None, Some(found)) = (model.outlet_label(outlet), &fact.konst, concrete(fact)) {
                nodes.insert(node.name.strip_suffix(LOWERED).unwrap_or(&node.name).to_owned(), found);
            }
        }
        let priced = plan.nodes().into_iter();
        let priced =
            priced.map(|plan::NodeCost { name, estimate, .. }| Priced { name, instructions: estimate });
        let values = first.1.iter().filter_map(|(name, (ty, dimensions))| {
            let bytes = dimensions.iter().fold(ty.size() as u64, |n, d| n.saturating_mul(u64::from(*d)));
            let all = match &second {
                None => dimensions.iter().map(|d| Dimension::Fixed(*d)).collect(),
                Some((shapes, others)) => {
                    let other = others.get(name).filter(|(_, o)| o.len() == dimensions.len())?;
                    let symbol = |a: u32, b: u32| symbol(&description.inputs, &first.0, shapes, a, b);
                    let both = dimensions.iter().zip(&other.1);
                    both.map(|(a, b)| if a == b { Dimension::Fixed(*a) } else { symbol(*a, *b) }).collect()
                }
            };
            Some((name.clone(), Value { ty: *ty, dimensions: all, bytes, first: dimensions.clone() }))
        });
        Ok(Facts {
            values: values.collect(),
            survives,
            nodes,
            plan: priced.collect(),
            inputs: description.inputs,
        })
    }

    /// What is known of a tensor that may cross a cut: one of the plan's, with a type that has a name on the wire.
    pub(super) fn crossing(&self, names: &Names<'_>, name: &str) -> Option<&Value> {
        let value = self.values.get(name)?;
        let survives = self.survives.get(name).copied().unwrap_or_else(|| {
            let node = names.giver.get(name).map(|ix| names.node(*ix));
            let named = node
                .filter(|node| node.output.len() == 1)
                .map(|node| if node.name.is_empty() { name } else { node.name.as_str() });
            named
                .and_then(|name| self.nodes.get(name))
                .is_some_and(|(ty, dimensions)| *ty == value.ty && long(dimensions).eq(long(&value.first)))
        });
        survives.then_some(value)
    }

    /// What is known of any tensor.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Instructions of each node of the file: those of the plan's nodes that have its name, or one made from it. What a plan's
    /// node took in is its.
    pub(super) fn costs(&self, names: &Names<'_>) -> Vec<u64> {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (ix, node) in names.graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                by_name.insert(output, ix);
            }
        }
        for (ix, node) in names.graph.node.iter().enumerate().filter(|(_, node)| !node.name.is_empty()) {
            by_name.insert(&node.name, ix);
        }
        let mut costs = vec![0u64; names.graph.node.len()];
        let mut last = names.order.first().copied();
        for Priced { name, instructions } in &self.plan {
            let own = if names.inputs.contains(name.as_str()) { None } else { owner(&by_name, name) };
            // What has no name of the file runs behind what ran before it.
            let Some(ix) = own.or(last) else { continue };
            costs[ix] = costs[ix].saturating_add(*instructions);
            last = Some(ix);
        }
        costs
    }
}

/// The node whose name the plan's name is, or begins with up to a mark that names are made with.
fn owner(by_name: &HashMap<&str, usize>, name: &str) -> Option<usize> {
    let mut rest = name;
    loop {
        if let Some(ix) = by_name.get(rest) {
            return Some(*ix);
        }
        let cut = rest.rfind(['.', '-', '_', '#', '/', ':'])?;
        rest = &rest[..cut];
    }
}

/// The symbol that has these two values, or any.
fn symbol(inputs: &[InputDescription], first: &[Vec<u32>], second: &[Vec<u32>], a: u32, b: u32) -> Dimension {
    let all = inputs.iter().zip(first.iter().zip(second));
    let mut axes =
        all.flat_map(|(input, (first, second))| input.dimensions.iter().zip(first.iter().zip(second)));
    axes.find_map(|(dimension, (x, y))| match dimension {
        Dimension::Symbol(symbol) if (*x, *y) == (a, b) => Some(Dimension::Symbol(symbol.clone())),
        _ => None,
    })
    .unwrap_or(Dimension::Any)
}

/// Types and dimensions of all tensors for inputs of `shapes`, by their labels.
fn inferred(source: &Source, inputs: &[InputDescription], shapes: &[Vec<u32>]) -> Result<Shapes, ModelError> {
    let typed = source.clone().into_typed(shapes, &[])?;
    let given = inputs.iter().zip(shapes);
    let mut found: Shapes = given.map(|(i, shape)| (i.name.clone(), (i.ty, shape.clone()))).collect();
    for (outlet, label) in &typed.outlet_labels {
        let fact = typed.outlet_fact(*outlet).map_err(|e| refused_or(&e))?;
        if let Some(value) = concrete(fact) {
            found.insert(label.clone(), value);
        }
    }
    Ok(found)
}

/// Axes that are longer than 1: tract takes the others away and adds them where it likes.
fn long(dimensions: &[u32]) -> impl Iterator<Item = &u32> {
    dimensions.iter().filter(|length| **length != 1)
}

/// Type and dimensions, where both are of the wire.
fn concrete(fact: &TypedFact) -> Option<(TensorType, Vec<u32>)> {
    let ty = element::from_tract(fact.datum_type).filter(|_| fact.datum_type != DatumType::TDim)?;
    let shape = fact.shape.as_concrete()?;
    let dimensions = shape.iter().map(|d| u32::try_from(*d).ok()).collect::<Option<Vec<_>>>()?;
    Some((ty, dimensions))
}

/// Shapes that differ from `first` in each dynamic dimension, and from one another, and what they give.
fn another(
    source: &Source,
    inputs: &[InputDescription],
    first: &[Vec<u32>],
) -> Result<(Vec<Vec<u32>>, Shapes), ShardError> {
    let mut why = None;
    for (least, step) in TRIED {
        let mut symbols: HashMap<&str, u32> = HashMap::new();
        let mut next = least;
        let mut fresh = |taken: u32| {
            // Another than it was.
            if next == taken {
                next += step;
            }
            next += step;
            next - step
        };
        let shapes: Vec<Vec<u32>> = inputs
            .iter()
            .zip(first)
            .map(|(input, first)| {
                let both = input.dimensions.iter().zip(first);
                both.map(|(dimension, first)| match dimension {
                    Dimension::Fixed(length) => *length,
                    Dimension::Symbol(symbol) => *symbols.entry(symbol).or_insert_with(|| fresh(*first)),
                    Dimension::Any => fresh(*first),
                })
                .collect()
            })
            .collect();
        match inferred(source, inputs, &shapes) {
            Ok(found) => return Ok((shapes, found)),
            Err(e) => why = Some(e),
        }
    }
    Err(why.map_or_else(
        || ShardError::Uncuttable("no second set of dimensions to infer shapes for".into()),
        |e| {
            ShardError::Uncuttable(format!(
                "which dimensions depend on the inputs' cannot be told, since the model takes none of those tried: {e}; give its \
                 dynamic dimensions fixed lengths before cutting"
            ))
        },
    ))
}
