//! Decision trees, as the operators of `ai.onnx.ml` up to version 4 hold them: parallel lists of nodes and of weights.

use std::collections::{HashMap, HashSet};

use ic_nn_kernels::image::{Broken, Reader, Writer};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{bail, ensure, format_err};

use super::image::must;
use super::{floats, integers, same_length};

/// Trees whose every path ends at a leaf, whatever the features.
#[derive(Debug)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    /// Leaves' weights, by target or class.
    weights: Vec<(usize, f32)>,
    /// Number of features of a row, as far as the trees ask for them.
    pub(super) features: usize,
}

#[derive(Debug)]
enum Node {
    Branch { mode: Mode, feature: usize, value: f64, missing: bool, yes: usize, no: usize },
    Leaf { from: usize, to: usize },
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Leq,
    Lt,
    Gte,
    Gt,
    Eq,
    Neq,
}

impl Mode {
    /// By their numbers in an image.
    const ALL: [Mode; 6] = [Mode::Leq, Mode::Lt, Mode::Gte, Mode::Gt, Mode::Eq, Mode::Neq];

    fn holds(self, x: f64, value: f64) -> bool {
        match self {
            Mode::Leq => x <= value,
            Mode::Lt => x < value,
            Mode::Gte => x >= value,
            Mode::Gt => x > value,
            Mode::Eq => x == value,
            Mode::Neq => x != value,
        }
    }
}

impl Forest {
    /// The forest of a node whose leaves' attributes begin with `leaves` ("class" or "target") and give weights to
    /// `targets` targets.
    ///
    /// # Errors
    /// Where lists differ in length, a node is there twice or leads nowhere, two nodes lead to one, or a weight is for a
    /// node or a target that is not there. No cycle passes: it would have no way in.
    pub(super) fn of(node: &NodeProto, leaves: &str, targets: usize) -> TractResult<Self> {
        let (trees, ids) = (integers(node, "nodes_treeids")?, integers(node, "nodes_nodeids")?);
        let (yes, no) = (integers(node, "nodes_truenodeids")?, integers(node, "nodes_falsenodeids")?);
        let (features, values) = (integers(node, "nodes_featureids")?, floats(node, "nodes_values")?);
        let modes = node.get_attr_opt_tvec::<&str>("nodes_modes")?.unwrap_or_default();
        let missing = integers(node, "nodes_missing_value_tracks_true")?;
        let count = same_length(&[
            ("nodes_treeids", trees.len()),
            ("nodes_nodeids", ids.len()),
            ("nodes_truenodeids", yes.len()),
            ("nodes_falsenodeids", no.len()),
            ("nodes_featureids", features.len()),
            ("nodes_values", values.len()),
            ("nodes_modes", modes.len()),
        ])?;
        ensure!(count > 0, "it has no trees");
        ensure!(
            missing.is_empty() || missing.len() == count,
            "nodes_missing_value_tracks_true has {} elements, {count} are expected, or none",
            missing.len()
        );

        let mut places = HashMap::with_capacity(count);
        let mut roots = vec![];
        for (ix, (&tree, &id)) in trees.iter().zip(ids).enumerate() {
            ensure!(places.insert((tree, id), ix).is_none(), "tree {tree} has two nodes {id}");
            // ONNX says nothing of roots: the first node of a tree is its root, as every reader has it.
            if ix == 0 || trees[ix - 1] != tree {
                roots.push(ix);
            }
        }
        let mut weights = weights(node, leaves, targets, &places)?;

        let mut reached: HashSet<usize> = roots.iter().copied().collect();
        let mut forest = Forest { nodes: Vec::with_capacity(count), roots, weights: vec![], features: 0 };
        for ix in 0..count {
            let mode = match modes[ix] {
                "LEAF" => {
                    let from = forest.weights.len();
                    forest.weights.append(&mut weights[ix]);
                    forest.nodes.push(Node::Leaf { from, to: forest.weights.len() });
                    continue;
                }
                "BRANCH_LEQ" => Mode::Leq,
                "BRANCH_LT" => Mode::Lt,
                "BRANCH_GTE" => Mode::Gte,
                "BRANCH_GT" => Mode::Gt,
                "BRANCH_EQ" => Mode::Eq,
                "BRANCH_NEQ" => Mode::Neq,
                other => bail!("node {} of tree {}: mode {other} is none of ONNX's", ids[ix], trees[ix]),
            };
            let mut child = |id: i64| {
                let (tree, parent) = (trees[ix], ids[ix]);
                let at = *places.get(&(tree, id)).ok_or_else(|| {
                    format_err!("node {parent} of tree {tree} leads to {id}, which is not there")
                })?;
                ensure!(reached.insert(at), "two ways lead to node {id} of tree {tree}; it is no tree");
                Ok(at)
            };
            let (yes, no) = (child(yes[ix])?, child(no[ix])?);
            let feature = usize::try_from(features[ix]).ok().filter(|f| *f < u32::MAX as usize);
            let feature =
                feature.ok_or_else(|| format_err!("feature {} is none of a row's", features[ix]))?;
            forest.features = forest.features.max(feature + 1);
            let missing = missing.get(ix).is_some_and(|m| *m != 0);
            forest.nodes.push(Node::Branch { mode, feature, value: f64::from(values[ix]), missing, yes, no });
        }
        Ok(forest)
    }

    /// Writes it down.
    pub(super) fn write(&self, to: &mut Writer<'_>) {
        to.size(self.nodes.len());
        for node in &self.nodes {
            match node {
                Node::Leaf { from, to: end } => {
                    to.number(0);
                    to.sizes(&[*from, *end]);
                }
                Node::Branch { mode, feature, value, missing, yes, no } => {
                    to.number(1 + *mode as u64);
                    to.sizes(&[*feature, *yes, *no]);
                    to.number(value.to_bits());
                    to.flag(*missing);
                }
            }
        }
        to.sizes(&self.roots);
        to.size(self.weights.len());
        for (target, weight) in &self.weights {
            to.size(*target);
            to.float(*weight);
        }
    }

    /// Reads what was written, held to what [`Forest::of`] holds a file to.
    pub(super) fn read(from: &mut Reader<'_>, targets: usize) -> Result<Forest, Broken> {
        let count = from.count()?;
        let mut nodes = Vec::with_capacity(count);
        let mut features = 0;
        for _ in 0..count {
            nodes.push(match from.number()? {
                0 => match from.sizes()?[..] {
                    [from, to] => Node::Leaf { from, to },
                    _ => return Err(Broken("a leaf has two places")),
                },
                mode => {
                    let mode = usize::try_from(mode - 1).ok().and_then(|mode| Mode::ALL.get(mode));
                    let mode = *mode.ok_or(Broken("a branch of a kind that is not known"))?;
                    let [feature, yes, no] = from.sizes()?[..] else {
                        return Err(Broken("a branch has three places"));
                    };
                    must(feature < u32::MAX as usize, "a feature that no row has")?;
                    features = features.max(feature + 1);
                    let (value, missing) = (f64::from_bits(from.number()?), from.flag()?);
                    Node::Branch { mode, feature, value, missing, yes, no }
                }
            });
        }
        let roots = from.sizes()?;
        let weights = (0..from.count()?)
            .map(|_| Ok((from.size()?, from.float()?)))
            .collect::<Result<Vec<_>, Broken>>()?;
        must(weights.iter().all(|(target, _)| *target < targets), "a weight of no target")?;
        // Each node has one way in at most, roots none: no path comes back to where it was.
        let mut reached = vec![false; count];
        let mut reach = |at: usize| match reached.get_mut(at) {
            Some(reached) if !*reached => {
                *reached = true;
                Ok(())
            }
            _ => Err(Broken("nodes that are no tree")),
        };
        for root in &roots {
            reach(*root)?;
        }
        for node in &nodes {
            match node {
                Node::Leaf { from, to } => {
                    must(from <= to && *to <= weights.len(), "a leaf without weights")?
                }
                Node::Branch { yes, no, .. } => {
                    reach(*yes)?;
                    reach(*no)?;
                }
            }
        }
        must(!roots.is_empty(), "a forest without trees")?;
        Ok(Forest { nodes, roots, weights, features })
    }

    /// Number of trees.
    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Every weight of a leaf.
    pub(super) fn weights(&self) -> &[(usize, f32)] {
        &self.weights
    }

    /// The weights of the leaves that the row `x` ends at, tree by tree.
    pub(super) fn leaves<'a>(&'a self, x: &'a [f64]) -> impl Iterator<Item = &'a [(usize, f32)]> {
        self.roots.iter().map(|root| {
            let mut at = *root;
            loop {
                match &self.nodes[at] {
                    Node::Leaf { from, to } => return &self.weights[*from..*to],
                    Node::Branch { mode, feature, value, missing, yes, no } => {
                        let x = x[*feature];
                        at = if mode.holds(x, *value) || (*missing && x.is_nan()) { *yes } else { *no };
                    }
                }
            }
        })
    }
}

/// The weights of each node.
fn weights(
    node: &NodeProto,
    leaves: &str,
    targets: usize,
    places: &HashMap<(i64, i64), usize>,
) -> TractResult<Vec<Vec<(usize, f32)>>> {
    let name = |field: &str| format!("{leaves}_{field}");
    let (trees, ids) = (integers(node, &name("treeids"))?, integers(node, &name("nodeids"))?);
    let (of, weights) = (integers(node, &name("ids"))?, floats(node, &name("weights"))?);
    let count = same_length(&[
        (&name("ids"), of.len()),
        (&name("treeids"), trees.len()),
        (&name("nodeids"), ids.len()),
        (&name("weights"), weights.len()),
    ])?;
    let mut by_node = vec![vec![]; places.len()];
    for ix in 0..count {
        let (tree, id) = (trees[ix], ids[ix]);
        let at = places
            .get(&(tree, id))
            .ok_or_else(|| format_err!("a weight is for node {id} of tree {tree}, which is not there"))?;
        let target = usize::try_from(of[ix]).ok().filter(|t| *t < targets);
        let target = target
            .ok_or_else(|| format_err!("a weight is for {leaves} {}, there are {targets} of them", of[ix]))?;
        by_node[*at].push((target, weights[ix]));
    }
    Ok(by_node)
}
