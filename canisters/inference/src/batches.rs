//! Requests of one graph that are run together, where its property `max_batch` asks for that.
//!
//! A request that may be takes a seat and calls the canister itself as any other does. Whoever's message comes runs all that wait on
//! equal shapes, as one input whose first axes are put together, and leaves each its part of the outputs; the messages of the others find
//! theirs answered. As long as every message finds one more waiting than the one before, all wait for another, so a request is held up by
//! as many small messages as requests come meanwhile, and by the batch that it is in; by no clock.
//!
//! Sizes go up by four, so that a graph has few plans, and one is taken only where a request in it takes less than alone: as measured,
//! or as estimated as long as it has not run. What fails together is run again by itself, each request for itself: nobody's error is another's.

use std::cell::RefCell;

use ic_nn_engine::Arranged;
use ic_nn_store::Version;
use ic_nn_types::{Error, NamedTensor, Tensor};

use crate::models;
use crate::resident::Resident;
use crate::run::{Answer, Asked, Inputs, Question};
use crate::tickets::{self, Ticket};
use crate::variant::Content;

/// What a request in a batch may take of what it takes alone, in hundredths, for the batch to pay.
const PAYS: u64 = 98;
/// From one size of batches to the next.
const STEP: usize = 4;

/// Requests of one key can be run together: of one graph, on inputs of equal names and dimensions.
pub(crate) type Key = (Content, Vec<(String, Vec<u32>)>);

/// The key of a request.
pub(crate) fn key(version: &Version, inputs: &[NamedTensor]) -> Key {
    let mut shapes: Vec<_> = inputs.iter().map(|(name, t)| (name.clone(), t.dimensions.clone())).collect();
    shapes.sort();
    (Content::of(version), shapes)
}

struct Batch {
    key: Key,
    waiting: Vec<u64>,
    /// How many waited when a message came last.
    seen: usize,
}

thread_local! {
    static BATCHES: RefCell<Vec<Batch>> = const { RefCell::new(vec![]) };
}

/// A request's place among those that wait; gone when this is.
pub(crate) struct Seat(u64);

impl Seat {
    /// Has a ticket's request wait for company.
    pub(crate) fn take(key: &Key, ticket: &Ticket) -> Seat {
        BATCHES.with_borrow_mut(|all| match all.iter_mut().find(|batch| batch.key == *key) {
            Some(batch) => batch.waiting.push(ticket.id()),
            None => all.push(Batch { key: key.clone(), waiting: vec![ticket.id()], seen: 0 }),
        });
        Seat(ticket.id())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        BATCHES.with_borrow_mut(|all| {
            all.iter_mut().for_each(|batch| batch.waiting.retain(|ticket| *ticket != self.0));
            all.retain(|batch| !batch.waiting.is_empty());
        });
    }
}

/// What a request's message is to do.
pub(crate) enum Turn {
    /// To come again: there may be more company.
    Again(Box<Asked>),
    /// To run it by itself.
    Alone(Box<Asked>),
    /// To run these inputs for all of them.
    Together(Box<Asked>, Box<Parts>),
}

/// The requests of a batch that runs. Those that are not settled are asked again, each by itself, when this goes.
pub(crate) struct Parts {
    /// Whose message runs it.
    own: Option<Asked>,
    others: Vec<(u64, Asked)>,
}

/// Which turn a request's message has that may be run with others, and whose graph is in the heap.
pub(crate) fn turn(version: &Version, ticket: u64, asked: Asked) -> Result<Turn, Error> {
    let Some((key, most)) = asked.batch.clone() else { return Ok(Turn::Alone(Box::new(asked))) };
    let waiting = BATCHES.with_borrow_mut(|all| {
        let batch = all.iter_mut().find(|batch| batch.key == key)?;
        let waiting: Vec<u64> =
            batch.waiting.iter().copied().filter(|id| *id != ticket && tickets::is_asked(*id)).collect();
        let count = waiting.len() + 1;
        let grows = count > batch.seen && count < most;
        batch.seen = if grows { count } else { 0 };
        (!grows).then_some(waiting)
    });
    let Some(waiting) = waiting else { return Ok(Turn::Again(Box::new(asked))) };
    models::resident(version, |r| Ok(gathered(r, asked, &waiting, most)))
}

/// As many of the waiting requests as it pays to run together.
fn gathered(resident: &mut Resident, asked: Asked, waiting: &[u64], most: usize) -> Turn {
    let alone = |asked: Asked| Turn::Alone(Box::new(Asked { batch: None, ..asked }));
    let heap = crate::state::limits();
    let Inputs::Named(named) = &asked.inputs else { return alone(asked) };
    // What does not fit the graph is told by itself.
    let Ok(own) = resident.graph.arrange(named.clone(), &heap) else { return alone(asked) };
    let Some(rows) = rows(resident, &own) else { return alone(asked) };
    let shapes = |count: usize| -> Vec<Vec<u32>> {
        let longer = |shape: &Vec<u32>| [&[rows * count as u32], &shape[1..]].concat();
        own.shapes().map(longer).collect()
    };
    let cost = |count: usize| {
        let shapes = shapes(count);
        let measured = resident.facts.runs.iter().flatten().find(|known| known.shapes == shapes);
        let estimate = || resident.graph.estimate(&shapes).map(|estimate| estimate.instructions);
        measured.map(|known| known.run_instructions).or_else(estimate)
    };
    let pays = |count: usize| match (cost(count), cost(1)) {
        (Some(all), Some(one)) => all < one.saturating_mul(count as u64) / 100 * PAYS,
        // Shapes that were never planned for are, to be measured.
        _ => true,
    };
    let sizes =
        std::iter::successors(Some(largest(most)), |size| Some(size / STEP)).take_while(|size| *size > 1);
    let Some(size) = sizes.filter(|size| *size <= waiting.len() + 1).find(|size| pays(*size)) else {
        return alone(asked);
    };
    let mut parts = Parts { own: None, others: vec![] };
    let mut inputs = vec![own.clone()];
    for ticket in waiting {
        if inputs.len() == size {
            break;
        }
        let Some(Question::Asked(other)) = tickets::join::<Question>(*ticket) else { continue };
        match &other.inputs {
            Inputs::Named(named) if let Ok(arranged) = resident.graph.arrange(named.clone(), &heap) => {
                inputs.push(arranged);
                parts.others.push((*ticket, *other));
            }
            _ => tickets::ask_again(*ticket, Question::Asked(Box::new(Asked { batch: None, ..*other }))),
        }
    }
    let names = resident.graph.description().inputs.iter().map(|input| input.name.clone());
    let together: Vec<NamedTensor> =
        names.enumerate().map(|(ix, name)| (name, joined(&inputs, ix))).collect();
    match resident.graph.arrange(together, &heap) {
        Ok(together) if inputs.len() == size => {
            let limits = asked.limits;
            let (name, version, variant, slices) =
                (asked.name.clone(), asked.version, asked.variant, asked.slices);
            let inputs = Inputs::Arranged(together);
            parts.own = Some(asked);
            let asked = Asked { name, version, variant, inputs, limits, slices, batch: None };
            Turn::Together(Box::new(asked), Box::new(parts))
        }
        // First axes that are no batch: the others go alone as well, when these parts go.
        _ => alone(asked),
    }
}

/// The largest size of a batch: a power of [`STEP`] times one of two at most `most`.
fn largest(most: usize) -> usize {
    1 << most.max(1).ilog2()
}

/// Rows of a request: the length of the first axes of all inputs, where those are dynamic.
fn rows(resident: &Resident, inputs: &Arranged) -> Option<u32> {
    let described = resident.graph.description().wire_inputs();
    let dynamic = described.iter().all(|input| input.dimensions.first() == Some(&None));
    let mut lengths = inputs.shapes().map(|shape| shape.first().copied());
    let rows = lengths.next()??;
    (dynamic && rows > 0 && lengths.all(|length| length == Some(rows))).then_some(rows)
}

/// An input of every request, put together along the first axis.
fn joined(all: &[Arranged], ix: usize) -> Tensor {
    let mut tensors = all.iter().filter_map(|inputs| inputs.tensors().nth(ix));
    let Some(first) = tensors.next() else { return Tensor::from_f32(vec![0], &[]) };
    let mut joined = first.clone();
    for tensor in tensors {
        joined.data.extend_from_slice(&tensor.data);
        joined.dimensions[0] += tensor.dimensions[0];
    }
    joined
}

impl Parts {
    /// Leaves every request its part of the answer; the own one's. None where the outputs have no such parts.
    pub(crate) fn settle(&mut self, answer: &Answer) -> Option<Answer> {
        let count = self.others.len() + 1;
        let mut answers: Vec<Answer> = (0..count).map(|_| answer.share(count)).collect();
        for (name, tensor) in &answer.outputs {
            let rows = *tensor.dimensions.first()? as usize;
            if !rows.is_multiple_of(count) || !tensor.data.len().is_multiple_of(count) || rows == 0 {
                return None;
            }
            let dimensions = [&[(rows / count) as u32], &tensor.dimensions[1..]].concat();
            for (part, answer) in tensor.data.chunks_exact(tensor.data.len() / count).zip(&mut answers) {
                let part = Tensor { dimensions: dimensions.clone(), ty: tensor.ty, data: part.to_vec() };
                answer.outputs.push((name.clone(), part));
            }
        }
        let mut answers = answers.into_iter();
        let own = answers.next()?;
        for ((ticket, _), answer) in self.others.drain(..).zip(answers) {
            tickets::leave(ticket, Ok::<Answer, Error>(answer));
        }
        Some(own)
    }

    /// The own request, to be run by itself; so are the others.
    pub(crate) fn apart(mut self) -> Option<Asked> {
        self.own.take().map(|own| Asked { batch: None, ..own })
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for (ticket, asked) in self.others.drain(..) {
            tickets::ask_again(ticket, Question::Asked(Box::new(Asked { batch: None, ..asked })));
        }
    }
}
