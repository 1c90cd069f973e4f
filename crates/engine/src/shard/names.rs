//! The graph of a file by its names: who gives a tensor, who reads it, what follows from constants alone, and an order of the rest.

use std::collections::{BTreeSet, HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use crate::check::reads;

/// A graph's names.
pub(super) struct Names<'a> {
    pub(super) graph: &'a GraphProto,
    /// Nodes that are not free, each behind those that it reads.
    pub(super) order: Vec<usize>,
    /// The node that gives a tensor.
    pub(super) giver: HashMap<&'a str, usize>,
    /// Constants of the file.
    pub(super) constants: HashMap<&'a str, &'a TensorProto>,
    /// Inputs that are no constants.
    pub(super) inputs: HashSet<&'a str>,
    pub(super) outputs: HashSet<&'a str>,
    /// Nodes whose outputs follow from constants, and from the shapes of the graph's inputs: copied to where they are read.
    pub(super) free: Vec<bool>,
    /// What each node reads, of this graph.
    pub(super) reads: Vec<Vec<&'a str>>,
}

impl<'a> Names<'a> {
    /// Of a graph that was checked: its names lead somewhere, and nothing leads back to itself.
    pub(super) fn of(graph: &'a GraphProto) -> Names<'a> {
        let constants: HashMap<&str, &TensorProto> =
            graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        let inputs: HashSet<&str> =
            graph.input.iter().map(|i| i.name.as_str()).filter(|i| !constants.contains_key(i)).collect();
        let mut giver = HashMap::new();
        for (ix, node) in graph.node.iter().enumerate() {
            giver.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), ix)));
        }
        let known = |name: &&str| {
            constants.contains_key(*name) || inputs.contains(*name) || giver.contains_key(*name)
        };
        let reads: Vec<Vec<&str>> = graph
            .node
            .iter()
            .map(|node| {
                let mut seen = HashSet::new();
                reads(node).into_iter().filter(known).filter(|name| seen.insert(*name)).collect()
            })
            .collect();
        let sorted = sorted(&reads, &giver);
        let mut free = vec![false; graph.node.len()];
        for &ix in &sorted {
            let shape = matches!(graph.node[ix].op_type.as_str(), "Shape" | "Size");
            free[ix] = reads[ix].iter().all(|name| {
                constants.contains_key(name)
                    || giver.get(name).is_some_and(|from| free[*from])
                    || (shape && inputs.contains(name))
            });
        }
        let order = sorted.into_iter().filter(|ix| !free[*ix]).collect();
        let outputs = graph.output.iter().map(|o| o.name.as_str()).collect();
        Names { graph, order, giver, constants, inputs, outputs, free, reads }
    }

    /// The node.
    pub(super) fn node(&self, ix: usize) -> &'a NodeProto {
        &self.graph.node[ix]
    }

    /// Whether a tensor is given by a node that is not free: what may cross a cut.
    pub(super) fn crosses(&self, name: &str) -> bool {
        self.giver.get(name).is_some_and(|from| !self.free[*from])
    }

    /// Nodes of the order that read a tensor; those in graphs inside count for the node around them.
    pub(super) fn readers(&self, name: &str) -> Vec<usize> {
        self.order.iter().copied().filter(|ix| self.reads[*ix].contains(&name)).collect()
    }

    /// The free nodes that `nodes` read, and those that these do, in order; with the constants and inputs of all of them.
    pub(super) fn behind(&self, nodes: &[usize], also: &[&'a str]) -> (Vec<usize>, BTreeSet<&'a str>) {
        let (mut free, mut sources) = (BTreeSet::new(), BTreeSet::new());
        let mut waiting: Vec<&str> = also.to_vec();
        waiting.extend(nodes.iter().flat_map(|ix| self.reads[*ix].iter().copied()));
        while let Some(name) = waiting.pop() {
            match self.giver.get(name) {
                Some(from) if self.free[*from] => {
                    if free.insert(*from) {
                        waiting.extend(self.reads[*from].iter().copied());
                    }
                }
                _ => {
                    sources.insert(name);
                }
            }
        }
        (free.into_iter().collect(), sources)
    }
}

/// All nodes, each behind those that it reads, else in the file's order.
fn sorted(reads: &[Vec<&str>], giver: &HashMap<&str, usize>) -> Vec<usize> {
    let mut waits = vec![0usize; reads.len()];
    let mut feeds: Vec<Vec<usize>> = vec![vec![]; reads.len()];
    for (ix, names) in reads.iter().enumerate() {
        let from: BTreeSet<usize> = names.iter().filter_map(|name| giver.get(name)).copied().collect();
        waits[ix] = from.len();
        from.into_iter().for_each(|from| feeds[from].push(ix));
    }
    let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|ix| waits[*ix] == 0).collect();
    let mut sorted = Vec::with_capacity(waits.len());
    while let Some(ix) = ready.pop_first() {
        sorted.push(ix);
        for &next in &feeds[ix] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.insert(next);
            }
        }
    }
    sorted
}

/// Bytes of a constant's elements, as the engine holds them.
pub(super) fn bytes(tensor: &TensorProto) -> u64 {
    let elements = tensor.dims.iter().fold(1u64, |n, d| n.saturating_mul(u64::try_from(*d).unwrap_or(0)));
    if tensor.raw_data.is_empty() {
        let size = crate::element::from_onnx(tensor.data_type).map_or(1, |ty| ty.size() as u64);
        return elements.saturating_mul(size);
    }
    tensor.raw_data.len() as u64
}
