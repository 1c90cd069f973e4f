//! Images of what maps, sums and moves numbers: fields in order, held to what constructors take.

use super::{Broken, Imaged, Reader, Writer};
use crate::chain::STEPS;
use crate::reduce::Reduction;
use crate::{Axis, Chain, Norm, Operation, Reduce, Repeat, Resample, Shuffle, Softmax, Source, Step, Swap};

/// A chain is a list of sizes: its length; its operands, each how many runs it has and those, twice their lengths and 1 where
/// the operand runs along; then its steps, each the operation's place and of both sources what kind it is and which.
impl Imaged for Chain {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        let mut sizes = vec![self.length(), self.operands().len()];
        for operand in self.operands() {
            sizes.push(operand.runs().len());
            sizes.extend(operand.runs().iter().map(|(length, along)| 2 * length + usize::from(*along)));
        }
        for step in self.steps() {
            sizes.push(step.operation as usize);
            for source in step.from {
                sizes.extend(match source {
                    Source::Operand(ix) => [0, ix],
                    Source::Number(number) => [1, number.to_bits() as usize],
                    Source::Step(ix) => [2, ix],
                });
            }
        }
        to.sizes(&sizes);
    }

    fn read(from: &mut Reader<'_>) -> Result<Chain, Broken> {
        chain(&from.sizes()?).ok_or(Broken("steps that are no chain"))
    }
}

fn chain(sizes: &[usize]) -> Option<Chain> {
    let (&[length, count], mut rest) = sizes.split_first_chunk()?;
    let mut operands = vec![];
    for _ in 0..count {
        let (runs, behind) = rest.split_first()?;
        let (runs, behind) = behind.split_at_checked(*runs)?;
        operands.push(Repeat::from_runs(runs.iter().map(|run| (run / 2, run % 2 == 1)).collect())?);
        rest = behind;
    }
    let (steps, []) = rest.as_chunks::<5>() else { return None };
    if steps.len() > STEPS {
        return None;
    }
    let source = |kind: usize, which: usize| match kind {
        0 => Some(Source::Operand(which)),
        1 => u32::try_from(which).ok().map(|bits| Source::Number(f32::from_bits(bits))),
        2 => Some(Source::Step(which)),
        _ => None,
    };
    let steps = steps.iter().map(|[operation, a, b, c, d]| {
        Some(Step { operation: *Operation::ALL.get(*operation)?, from: [source(*a, *b)?, source(*c, *d)?] })
    });
    Chain::new(length, operands, steps.collect::<Option<Vec<Step>>>()?)
}

impl Imaged for Softmax {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.sizes(&[self.length, self.apart]);
    }

    fn read(from: &mut Reader<'_>) -> Result<Softmax, Broken> {
        match from.sizes()?[..] {
            [length, apart] => Softmax::new(length, apart).ok_or(Broken("rows without a softmax")),
            _ => Err(Broken("rows without a softmax")),
        }
    }
}

impl Imaged for Norm {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.size(self.length);
        to.float(self.epsilon);
        to.flag(self.centred);
        to.floats(&self.scale);
        to.floats(&self.bias);
    }

    fn read(from: &mut Reader<'_>) -> Result<Norm, Broken> {
        let (length, epsilon, centred) = (from.size()?, from.float()?, from.flag()?);
        let (scale, bias) = (from.floats()?, from.floats()?);
        Norm::new(length, epsilon, centred, Some(&scale), Some(&bias)).ok_or(Broken("rows without a norm"))
    }
}

impl Imaged for Reduce {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.sizes(&[self.reduction as usize, self.length, self.apart]);
    }

    fn read(from: &mut Reader<'_>) -> Result<Reduce, Broken> {
        let reduce = match from.sizes()?[..] {
            [reduction, length, apart] => {
                Reduction::ALL.get(reduction).and_then(|reduction| Reduce::new(*reduction, length, apart))
            }
            _ => None,
        };
        reduce.ok_or(Broken("rows that are not reduced so"))
    }
}

impl Imaged for Swap {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.sizes(&[self.first, self.second, self.inner]);
    }

    fn read(from: &mut Reader<'_>) -> Result<Swap, Broken> {
        let sizes = from.sizes()?.try_into().ok();
        sizes.and_then(Swap::new).ok_or(Broken("axes that do not change places"))
    }
}

impl Imaged for Shuffle {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.sizes([self.stride, self.grid, self.first, self.output].as_flattened());
    }

    fn read(from: &mut Reader<'_>) -> Result<Shuffle, Broken> {
        let sizes = from.sizes()?;
        let shuffle = match sizes.as_chunks::<3>() {
            ([stride, grid, first, output], []) => Shuffle::new(*stride, *grid, *first, *output),
            _ => None,
        };
        shuffle.ok_or(Broken("planes that are not put between one another"))
    }
}

impl Imaged for Axis {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.sizes(&[self.input, self.inner, self.taps]);
        to.sizes(&self.places);
        to.floats(&self.weights);
    }

    fn read(from: &mut Reader<'_>) -> Result<Axis, Broken> {
        let (sizes, places, weights) = (from.sizes()?.try_into().ok(), from.sizes()?, from.floats()?);
        let axis = sizes.and_then(|sizes| Axis::new(sizes, places, weights));
        axis.ok_or(Broken("an axis that is not resized so"))
    }
}

impl Imaged for Resample {
    fn write<'a>(&'a self, to: &mut Writer<'a>) {
        to.size(self.numbers);
        to.each(&self.axes);
    }

    fn read(from: &mut Reader<'_>) -> Result<Resample, Broken> {
        Resample::new(from.size()?, from.each()?).ok_or(Broken("an image that is not resized so"))
    }
}
