//! Where the order is cut: stages of about the same cost, and among those cuts the ones over which the fewest bytes cross.
//!
//! Two passes of dynamic programming over the places where a cut is possible. The first finds the least that the dearest stage
//! can take; the second, among all cuts whose stages take no more than that and a seventh, the one with the fewest bytes. What a
//! stage takes is its nodes' instructions and, for every byte in and out, what moving it costs.

use std::collections::HashMap;

use super::columns::Split;
use super::facts::Facts;
use super::names::{Names, bytes};
use super::{Cut, ShardError};

/// Instructions of a byte that a stage takes or gives: out of Candid and into the engine, or back, and hashed for the receipt. Counted
/// in the canister: 98 to 115.
const BYTE: u64 = 105;
/// How much more than the least that is possible the dearest stage may take, in hundredths, so that fewer bytes cross.
const BALANCED: u64 = 115;
/// Places that are considered: of more, the narrowest of each so many neighbours.
const PLACES: usize = 1_500;

/// A stretch of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// Nodes from one place up to another: a stage.
    Nodes { from: usize, to: usize },
    /// A product in parts, by its place among those: as many stages.
    Parts(usize),
}

/// A tensor between nodes.
struct Between {
    bytes: u64,
    /// Place of its giver; none for an input of the graph.
    giver: Option<usize>,
    /// Place of its last reader; behind all of them for an output of the graph.
    last: usize,
}

/// What a stretch comes to.
#[derive(Clone, Copy)]
struct Weighed {
    from: usize,
    work: u64,
    bytes: u64,
    stages: usize,
    stretch: Stretch,
}

/// The order of nodes, and where it may be cut.
pub(super) struct Line {
    costs: Vec<u64>,
    tensors: Vec<Between>,
    /// Tensors that the node of each place reads, and those that it gives.
    reads: Vec<Vec<usize>>,
    gives: Vec<Vec<usize>>,
    /// Constants that it reads, and the bytes of each.
    constants: Vec<Vec<usize>>,
    sizes: Vec<u64>,
    /// Places where a cut may be, the ends among them.
    places: Vec<usize>,
    /// First place, place behind the last, and number of parts of each product that is cut.
    groups: Vec<(usize, usize, usize)>,
}

impl Line {
    /// Of a graph whose products in `splits` are cut.
    pub(super) fn of(names: &Names<'_>, facts: &Facts, costs: &[u64], splits: &[Split<'_>]) -> Line {
        let n = names.order.len();
        let place: HashMap<usize, usize> =
            names.order.iter().enumerate().map(|(place, ix)| (*ix, place)).collect();
        let mut index: HashMap<&str, usize> = HashMap::new();
        let mut tensors: Vec<Between> = vec![];
        let mut named: Vec<&str> = vec![];
        let (mut reads, mut gives) = (vec![vec![]; n], vec![vec![]; n]);
        let inputs =
            names.graph.input.iter().map(|i| i.name.as_str()).filter(|name| names.inputs.contains(name));
        let inner = names.order.iter().enumerate().flat_map(|(at, ix)| {
            names.node(*ix).output.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), Some(at)))
        });
        for (name, giver) in inputs.map(|name| (name, None)).chain(inner) {
            if let Some(at) = giver {
                gives[at].push(tensors.len());
            }
            index.insert(name, tensors.len());
            named.push(name);
            let bytes = facts.value(name).map_or(0, |value| value.bytes);
            tensors.push(Between { bytes, giver, last: giver.unwrap_or(0) });
        }
        let (mut constants, mut sizes) = (vec![vec![]; n], vec![]);
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (at, ix) in names.order.iter().enumerate() {
            for source in names.behind(&[*ix], &[]).1 {
                if let Some(found) = index.get(source) {
                    reads[at].push(*found);
                    tensors[*found].last = tensors[*found].last.max(at);
                } else if let Some(constant) = names.constants.get(source) {
                    constants[at].push(*known.entry(source).or_insert_with(|| {
                        sizes.push(bytes(constant));
                        sizes.len() - 1
                    }));
                }
            }
        }
        let mut cuttable = vec![true; tensors.len()];
        for (ix, name) in named.iter().enumerate() {
            cuttable[ix] = tensors[ix].giver.is_none()
                || (facts.crossing(names, name).is_some() && !leaves_short(names, name));
            // Read by whoever asks, behind all nodes.
            if names.outputs.contains(name) && tensors[ix].giver.is_some() {
                tensors[ix].last = n;
            }
        }
        let groups: Vec<(usize, usize, usize)> = splits
            .iter()
            .filter_map(|split| {
                let from = *place.get(split.nodes.first()?)?;
                Some((from, from + split.nodes.len(), split.parts.len()))
            })
            .collect();
        let mut blocked = vec![0i64; n + 2];
        for (ix, tensor) in tensors.iter().enumerate() {
            // Alive over every place behind its giver, up to its last reader's. An output that nothing reads later is no matter.
            let last = if tensor.last == n {
                reads.iter().rposition(|r| r.contains(&ix))
            } else {
                Some(tensor.last)
            };
            if let (Some(giver), Some(last), false) = (tensor.giver, last, cuttable[ix]) {
                blocked[giver + 1] += 1;
                blocked[last.max(giver) + 1] -= 1;
            }
        }
        for (from, to, _) in &groups {
            blocked[from + 1] += 1;
            blocked[*to] -= 1;
        }
        let mut open = 0;
        let places = (0..=n).filter(|at| {
            open += blocked[*at];
            open == 0 || *at == 0 || *at == n
        });
        let places = places.collect();
        let costs = names.order.iter().map(|ix| costs[*ix]).collect();
        Line { costs, tensors, reads, gives, constants, sizes, places, groups }.thinned()
    }

    /// With no more than so many places.
    fn thinned(mut self) -> Line {
        let n = self.costs.len();
        let window = self.places.len().div_ceil(PLACES);
        if window > 1 {
            let width = |at: usize| -> u64 {
                let alive = self.tensors.iter().filter(|t| t.giver.is_some_and(|g| g < at) && t.last >= at);
                alive.map(|t| t.bytes).sum()
            };
            let needed: Vec<usize> =
                self.groups.iter().flat_map(|(from, to, _)| [*from, *to]).chain([0, n]).collect();
            let kept = self
                .places
                .chunks(window)
                .filter_map(|near| near.iter().copied().min_by_key(|at| width(*at)));
            let mut kept: Vec<usize> =
                kept.chain(self.places.iter().copied().filter(|at| needed.contains(at))).collect();
            kept.sort_unstable();
            kept.dedup();
            self.places = kept;
        }
        self
    }

    /// The stretches between each place and those behind it, by the place where they end.
    fn weighed(&self, max_bytes: Option<u64>) -> Vec<Vec<Weighed>> {
        let n = self.costs.len();
        let at: HashMap<usize, usize> =
            self.places.iter().enumerate().map(|(ix, place)| (*place, ix)).collect();
        let mut ending: Vec<Vec<Weighed>> = vec![vec![]; self.places.len()];
        let (mut seen, mut held) = (vec![usize::MAX; self.tensors.len()], vec![usize::MAX; self.sizes.len()]);
        for (ix, &from) in self.places.iter().enumerate() {
            let group = self.groups.iter().position(|(first, ..)| *first == from);
            let (mut cost, mut weights, mut taken, mut given) = (0u64, 0u64, 0u64, 0u64);
            for place in from..n {
                cost = cost.saturating_add(self.costs[place]);
                for &constant in self.constants[place].iter() {
                    if std::mem::replace(&mut held[constant], from) != from {
                        weights += self.sizes[constant];
                    }
                }
                for &read in &self.reads[place] {
                    let tensor = &self.tensors[read];
                    let before = tensor.giver.is_none_or(|giver| giver < from);
                    if before && std::mem::replace(&mut seen[read], from) != from {
                        taken += tensor.bytes;
                    }
                    if !before && tensor.last == place {
                        given -= tensor.bytes;
                    }
                }
                let fresh = self.gives[place].iter().map(|give| &self.tensors[*give]);
                given += fresh.filter(|tensor| tensor.last > place).map(|tensor| tensor.bytes).sum::<u64>();
                let to = place + 1;
                let weighed = match group {
                    Some(group) if to == self.groups[group].1 => {
                        let parts = self.groups[group].2 as u64;
                        let work = cost / parts + BYTE.saturating_mul(taken + given / parts);
                        let bytes = taken * parts + 2 * given;
                        Some(Weighed {
                            from: ix,
                            work,
                            bytes,
                            stages: parts as usize,
                            stretch: Stretch::Parts(group),
                        })
                    }
                    Some(_) => None,
                    None if max_bytes.is_some_and(|most| weights > most) => break,
                    None => {
                        let work = cost.saturating_add(BYTE.saturating_mul(taken + given));
                        let stretch = Stretch::Nodes { from, to };
                        Some(Weighed { from: ix, work, bytes: taken + given, stages: 1, stretch })
                    }
                };
                if let (Some(weighed), Some(end)) = (weighed, at.get(&to)) {
                    ending[*end].push(weighed);
                }
                let over = group.map_or_else(
                    || self.groups.iter().any(|(first, ..)| *first == to),
                    |group| to == self.groups[group].1,
                );
                if over {
                    break;
                }
            }
        }
        ending
    }

    /// The stretches that the request is best served by.
    pub(super) fn cut(&self, cut: &Cut) -> Result<Vec<Stretch>, ShardError> {
        let ending = self.weighed(cut.max_bytes);
        let most = cut.stages.unwrap_or(super::MAX_STAGES);
        let least = table(&ending, most, &|(work, _), w| Some((work.max(w.work), 0)));
        let end = self.places.len() - 1;
        let possible: Vec<usize> = (1..=most).filter(|k| least[*k][end].is_some()).collect();
        let stages = match cut.stages {
            None => possible.first().copied(),
            Some(asked) => possible.contains(&asked).then_some(asked),
        };
        let Some(stages) = stages else { return Err(self.refusal(cut, &possible)) };
        let bound = least[stages][end].map_or(u64::MAX, |((work, _), _)| work.saturating_mul(BALANCED) / 100);
        let narrow = table(&ending, stages, &|(bytes, work), w| {
            (w.work <= bound).then(|| (bytes.saturating_add(w.bytes), work.max(w.work)))
        });
        let (mut k, mut at, mut found) = (stages, end, vec![]);
        while k > 0
            && let Some((_, ix)) = narrow[k][at]
        {
            let weighed = ending[at][ix];
            found.push(weighed.stretch);
            (k, at) = (k - weighed.stages, weighed.from);
        }
        found.reverse();
        Ok(found)
    }

    fn refusal(&self, cut: &Cut, possible: &[usize]) -> ShardError {
        let bound =
            cut.max_bytes.map_or(String::new(), |most| format!(" of at most {most} bytes of weights each"));
        ShardError::Uncuttable(match (cut.stages, possible.first(), possible.last()) {
            (Some(asked), Some(first), Some(last)) => {
                format!("it cannot be cut into {asked} stages{bound}: {first} to {last} are possible")
            }
            (Some(asked), ..) if cut.max_bytes.is_none() => format!(
                "it cannot be cut into {asked} stages: the engine takes too much of it together, or products in parts alone are more; ask for another number"
            ),
            (asked, ..) => format!(
                "no cut has stages{bound}{}: nodes between two places where it may be cut have more; raise the bound",
                asked.map_or(String::new(), |asked| format!(" in {asked} stages"))
            ),
        })
    }
}

/// What leads to a place: what is to be least, and what then is.
type Value = (u64, u64);

/// For each number of stages and each place, the best that leads there, and by which of the stretches that end there.
fn table(
    ending: &[Vec<Weighed>],
    most: usize,
    value: &dyn Fn(Value, &Weighed) -> Option<Value>,
) -> Vec<Vec<Option<(Value, usize)>>> {
    let mut best: Vec<Vec<Option<(Value, usize)>>> = vec![vec![None; ending.len()]; most + 1];
    best[0][0] = Some(((0, 0), usize::MAX));
    for k in 1..=most {
        for (at, ends) in ending.iter().enumerate() {
            let leads = ends.iter().enumerate().filter(|(_, w)| w.stages <= k).filter_map(|(ix, weighed)| {
                let (before, _) = best[k - weighed.stages][weighed.from]?;
                Some((value(before, weighed)?, ix))
            });
            best[k][at] = leads.min();
        }
    }
    best
}

/// Whether a tensor leaves the graph in fewer bits than it has inside: as bfloat16, which the next stage would read.
fn leaves_short(names: &Names<'_>, name: &str) -> bool {
    let declared = names.graph.output.iter().find(|o| o.name == name);
    declared.is_some_and(crate::check::is_bfloat)
}
