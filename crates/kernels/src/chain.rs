//! Operations on elements, one after the other on a block that stays in a little room, instead of one after the other on whole tensors.
//!
//! A chain is a list of steps, each of an operation and one or two sources: operands, numbers that are the same everywhere, or what
//! earlier steps gave. It is run block by block: operands are read where they lie if their numbers for a block lie side by side, else
//! laid in a place of their own, once where they come again. Each output's steps are those that it would go
//! through by itself, so the block does not show in what comes out.

mod loops;
mod repeat;

use std::ops::Range;

use loops::GRAIN;
pub use repeat::Repeat;

use crate::conv::copy;
use crate::room::unwritten;

/// The most numbers of a block: what a few places of them take stays small, and what a step takes beside its numbers too.
const BLOCK: usize = 512;
/// The most steps of a chain.
pub(crate) const STEPS: usize = 64;

/// What a step takes beside its numbers, a block beside its steps, an operand of a block, and a run of its numbers that is laid.
const STEP: u64 = 300;
const PIECE: u64 = 80;
const OPERAND: u64 = 50;
const LAID: u64 = 200;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// The smaller, no number where one is none.
    Min,
    /// The larger, no number where one is none.
    Max,
    /// a, times b where it is below 0.
    Leaky,
    /// -a
    Neg,
    /// |a|
    Abs,
    /// a²
    Square,
    /// √a
    Sqrt,
    /// 1 / √a
    Rsqrt,
    /// 1 / a
    Recip,
    /// The next whole number below.
    Floor,
    /// The next whole number above.
    Ceil,
    /// The nearest whole number, the even one from halfway.
    Nearest,
    /// e^a
    Exp,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-a)
    Sigmoid,
    /// a / (1 + e^-a)
    Silu,
    /// The error function.
    Erf,
    /// a/2 · (1 + erf(a/√2))
    Gelu,
    /// a/2 · (1 + tanh(√(2/π) · (a + 0.044715 · a³)))
    GeluTanh,
}

impl Operation {
    /// All of them. Their places are in images, so they never change.
    pub(crate) const ALL: [Operation; 23] = [
        Operation::Add,
        Operation::Sub,
        Operation::Mul,
        Operation::Div,
        Operation::Min,
        Operation::Max,
        Operation::Leaky,
        Operation::Neg,
        Operation::Abs,
        Operation::Square,
        Operation::Sqrt,
        Operation::Rsqrt,
        Operation::Recip,
        Operation::Floor,
        Operation::Ceil,
        Operation::Nearest,
        Operation::Exp,
        Operation::Tanh,
        Operation::Sigmoid,
        Operation::Silu,
        Operation::Erf,
        Operation::Gelu,
        Operation::GeluTanh,
    ];

    /// Instructions that a hundred numbers take.
    fn rate(self) -> u64 {
        match self {
            Operation::Add | Operation::Sub | Operation::Mul => 420,
            Operation::Min | Operation::Max => 470,
            Operation::Div => 620,
            Operation::Leaky => 725,
            Operation::Neg | Operation::Abs | Operation::Floor | Operation::Ceil | Operation::Nearest => 315,
            Operation::Square => 365,
            Operation::Sqrt => 390,
            Operation::Recip => 545,
            Operation::Rsqrt => 670,
            Operation::Exp => 2_420,
            Operation::Tanh => 2_250,
            Operation::Sigmoid | Operation::Silu => 2_190,
            Operation::Erf => 2_090,
            Operation::Gelu => 2_200,
            Operation::GeluTanh => 2_480,
        }
    }

    /// Whether it takes a second operand.
    pub fn is_of_two(self) -> bool {
        (self as usize) < Operation::Neg as usize
    }
}

/// What a step reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// An operand.
    Operand(usize),
    /// The same number everywhere.
    Number(f32),
    /// What an earlier step gave.
    Step(usize),
}

/// A step of a chain; an operation on one operand leaves the second out of account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub operation: Operation,
    /// What it reads.
    pub from: [Source; 2],
}

/// Steps on each number of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    length: usize,
    operands: Vec<Repeat>,
    steps: Vec<Step>,
    /// The place that each step writes to; the last one writes to the output.
    places: Vec<usize>,
    /// How many places steps take.
    taken: usize,
    /// Numbers of a block.
    block: usize,
}

/// The place where an operand is laid.
#[derive(Clone, Copy)]
struct Laid {
    at: *mut f32,
    /// What is there: where in its period it begins, and how many numbers there are.
    holds: Option<(usize, usize)>,
}

impl Chain {
    /// A chain that gives `length` numbers, the last step's.
    ///
    /// None where there is no step or more than 64, where one reads what is not there, or where operands are of other outputs.
    pub fn new(length: usize, operands: Vec<Repeat>, steps: Vec<Step>) -> Option<Chain> {
        let reads = |ix: usize, step: &Step| {
            let count = if step.operation.is_of_two() { 2 } else { 1 };
            step.from[..count].iter().all(|from| match from {
                Source::Operand(operand) => *operand < operands.len(),
                Source::Number(_) => true,
                Source::Step(step) => *step < ix,
            })
        };
        let whole = (1..=STEPS).contains(&steps.len())
            && (1..1 << 29).contains(&length)
            && operands.len() <= 2 * STEPS
            && operands.iter().all(|operand| operand.output() == length)
            && steps.iter().enumerate().all(|(ix, step)| reads(ix, step));
        if !whole {
            return None;
        }
        let (places, taken) = places(&steps);
        let block = block(length, &operands);
        Some(Chain { length, operands, steps, places, taken, block })
    }

    /// Numbers that it gives.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Into how many units it can be cut: blocks.
    pub fn units(&self) -> usize {
        self.length.div_ceil(self.block)
    }

    /// How its operands lie.
    pub fn operands(&self) -> &[Repeat] {
        &self.operands
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Numbers that are the same everywhere, each once.
    fn numbers(&self) -> Vec<f32> {
        let mut numbers: Vec<f32> = vec![];
        for step in &self.steps {
            let count = if step.operation.is_of_two() { 2 } else { 1 };
            for from in &step.from[..count] {
                if let Source::Number(number) = from
                    && numbers.iter().all(|known| known.to_bits() != number.to_bits())
                {
                    numbers.push(*number);
                }
            }
        }
        numbers
    }

    /// Bytes that a run takes beside operands and output.
    pub fn scratch(&self) -> usize {
        4 * self.block * (self.taken + 1 + self.operands.len() + self.numbers().len())
    }

    /// What a run takes.
    pub fn instructions(&self) -> u64 {
        let (blocks, last) = (self.length / self.block, self.length % self.block);
        let numbers = self.numbers().len() as u64;
        let filled = self.length.next_multiple_of(GRAIN).min(self.block) as u64;
        let mut sum = 4_000 + numbers * (60 + filled / 2);
        let whole = last / GRAIN * GRAIN;
        // Blocks, what is left in whole vectors, and the rest.
        for (many, count, direct) in [(blocks, self.block, true), (1, whole, true), (1, last - whole, false)]
        {
            if many == 0 || count == 0 {
                continue;
            }
            let seen = count.next_multiple_of(GRAIN) as u64;
            let steps: u64 = self.steps.iter().map(|step| STEP + seen * step.operation.rate() / 100).sum();
            let mut block = steps + PIECE;
            for lies in &self.operands {
                let (run, along) = lies.innermost();
                if direct && along && run.is_multiple_of(count) {
                    block += OPERAND;
                } else if lies.period().is_some_and(|period| self.block.is_multiple_of(period)) {
                    // Laid once.
                    block += OPERAND;
                    sum += LAID * (1 + count / run.min(count)) as u64 + 2 * seen;
                } else {
                    block += OPERAND + LAID * (1 + count / run.min(count)) as u64 + 2 * seen;
                }
            }
            sum += many as u64 * block;
        }
        sum
    }

    /// Runs these units of it.
    ///
    /// # Panics
    /// Where operands or the output are shorter than they are said to be.
    pub fn run(&self, operands: &[&[f32]], out: &mut [f32], units: Range<usize>) {
        assert!(out.len() >= self.length, "no room for what the chain gives");
        let there =
            self.operands.iter().zip(operands).all(|(repeat, operand)| operand.len() >= repeat.numbers());
        assert!(operands.len() == self.operands.len() && there, "an operand is short");
        let numbers = self.numbers();
        // SAFETY: numbers are written below; an operand's place is written before a step reads it (`lay`), a step's by the step, and steps
        // read those before them (`new`).
        let mut room = unsafe { unwritten(self.scratch() / 4) };
        let (constant, rest) = room.split_at_mut(numbers.len() * self.block);
        for (place, number) in constant.chunks_exact_mut(self.block).zip(&numbers) {
            let seen = self.length.next_multiple_of(GRAIN).min(self.block);
            place[..seen].fill(*number);
        }
        let (laid, steps) = rest.split_at_mut(operands.len() * self.block);
        let mut laid: Vec<Laid> = laid
            .chunks_exact_mut(self.block)
            .map(|place| Laid { at: place.as_mut_ptr(), holds: None })
            .collect();
        let mut sources = vec![std::ptr::null(); operands.len()];
        let stop = self.length.min(units.end.saturating_mul(self.block));
        let mut start = units.start * self.block;
        while start < stop {
            let count = (stop - start).min(self.block);
            // What is left of the last block is laid with what lies behind it, and the output copied.
            let whole = count / GRAIN * GRAIN;
            let pieces = [(start, whole), (start + whole, count - whole)];
            for (start, count) in pieces.into_iter().filter(|(_, count)| *count > 0) {
                let direct = count.is_multiple_of(GRAIN);
                let seen = count.next_multiple_of(GRAIN);
                for (ix, (repeat, operand)) in self.operands.iter().zip(operands).enumerate() {
                    sources[ix] = match repeat.together(start, count).filter(|_| direct) {
                        Some(place) => operand[place..place + count].as_ptr(),
                        None => self.lay(repeat, operand, (start, count), &mut laid[ix]),
                    };
                }
                let place = |place: usize| place * self.block;
                let beside = place(self.taken);
                let base = steps.as_mut_ptr();
                let end = if direct {
                    out[start..start + count].as_mut_ptr()
                } else {
                    // SAFETY: a place is kept for it behind those of the steps.
                    unsafe { base.add(beside) }
                };
                for (ix, step) in self.steps.iter().enumerate() {
                    let source = |from: Source| match from {
                        Source::Operand(ix) => sources[ix],
                        Source::Number(number) => {
                            let ix = numbers.iter().position(|known| known.to_bits() == number.to_bits());
                            constant[place(ix.unwrap_or(0))..].as_ptr()
                        }
                        // SAFETY: a step's place is in the room.
                        Source::Step(step) => unsafe { base.add(place(self.places[step])).cast_const() },
                    };
                    let from = if step.operation.is_of_two() {
                        [source(step.from[0]), source(step.from[1])]
                    } else {
                        [source(step.from[0]); 2]
                    };
                    let last = ix + 1 == self.steps.len();
                    // SAFETY: as above.
                    let to = if last { end } else { unsafe { base.add(place(self.places[ix])) } };
                    // SAFETY: places are of a block, `seen` is no more than it, and operands that are read where they lie have `count`
                    // numbers from there on, which then is `seen`; so has the output. Places are whole, so those that are not the same
                    // do not overlap, and the output overlaps nothing.
                    unsafe { loops::step(step.operation, from, to, seen) };
                }
                if !direct {
                    copy(&steps[beside..beside + count], &mut out[start..start + count]);
                }
            }
            start += count;
        }
    }

    /// Lays the numbers of an operand for a block in its place, where they are not there already.
    #[inline(never)]
    fn lay(
        &self,
        repeat: &Repeat,
        operand: &[f32],
        (start, count): (usize, usize),
        laid: &mut Laid,
    ) -> *const f32 {
        let phase = repeat.period().map(|period| start % period);
        let holds = laid.holds.is_some_and(|(held, many)| Some(held) == phase && many >= count);
        if !holds {
            let seen = count.next_multiple_of(GRAIN);
            // SAFETY: the place is of a block, which `seen` is no more than, and nothing else is there.
            let to = unsafe { std::slice::from_raw_parts_mut(laid.at, seen) };
            repeat.fill(operand, start, &mut to[..count]);
            to[count..].fill(1.0);
            laid.holds = phase.map(|phase| (phase, count));
        }
        laid.at
    }
}

/// The place of each step, and how many there are: a place is free again after the last step that reads it.
fn places(steps: &[Step]) -> (Vec<usize>, usize) {
    let mut last_read = vec![0; steps.len()];
    for (ix, step) in steps.iter().enumerate() {
        let count = if step.operation.is_of_two() { 2 } else { 1 };
        for from in &step.from[..count] {
            if let Source::Step(read) = from {
                last_read[*read] = ix;
            }
        }
    }
    let (mut places, mut free, mut taken) = (vec![], vec![], 0);
    for ix in 0..steps.len() {
        // A step may write where it reads.
        free.extend((0..ix).filter(|before| last_read[*before] == ix).map(|before| places[before]));
        places.push(free.pop().unwrap_or_else(|| {
            taken += 1;
            taken - 1
        }));
    }
    (places, taken)
}

/// Numbers of a block: as many as go with the operands' rows.
fn block(length: usize, operands: &[Repeat]) -> usize {
    let rows = operands.iter().filter(|operand| !operand.is_whole()).filter_map(|operand| {
        let (row, along) = operand.innermost();
        (along && row > 1).then_some(row)
    });
    let mut best = BLOCK;
    for row in rows {
        // So many rows that a block is whole vectors, or a part of a row.
        let grain = row / gcd(row, GRAIN) * GRAIN;
        if grain <= BLOCK {
            best = BLOCK / grain * grain;
            break;
        }
        let part =
            (row.div_ceil(BLOCK)..=row / 128).find(|parts| row % parts == 0 && row / parts % GRAIN == 0);
        if let Some(parts) = part {
            best = row / parts;
            break;
        }
    }
    best.min(length.next_multiple_of(GRAIN))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
