//! How an operand's numbers lie along an output that it is repeated over.

use crate::conv::copy;

/// The axes of an output, those alike taken together, from the innermost out: how long each is, and whether the operand runs along it
/// or is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    runs: Vec<(usize, bool)>,
}

impl Repeat {
    /// An operand of shape `operand` along an output of shape `output`; axes that it has not are the outermost. None where it is not
    /// repeated so.
    pub fn of(output: &[usize], operand: &[usize]) -> Option<Repeat> {
        let missing = output.len().checked_sub(operand.len())?;
        let mut runs: Vec<(usize, bool)> = vec![];
        for (axis, &length) in output.iter().enumerate().rev() {
            let own = if axis < missing { 1 } else { operand[axis - missing] };
            if length == 0 || own != length && own != 1 {
                return None;
            }
            if length == 1 {
                continue;
            }
            match runs.last_mut() {
                Some((run, along)) if *along == (own == length) => *run *= length,
                _ => runs.push((length, own == length)),
            }
        }
        Some(Repeat { runs })
    }

    /// From runs, the innermost first. None where they are empty, or longer than 2^31 in all.
    pub(crate) fn from_runs(runs: Vec<(usize, bool)>) -> Option<Repeat> {
        let all = runs.iter().try_fold(1usize, |all, (length, _)| all.checked_mul(*length));
        all.filter(|all| (1..1 << 31).contains(all)).map(|_| Repeat { runs })
    }

    /// Its runs, the innermost first.
    pub(crate) fn runs(&self) -> &[(usize, bool)] {
        &self.runs
    }

    /// Numbers of the output.
    pub fn output(&self) -> usize {
        self.runs.iter().map(|(length, _)| length).product()
    }

    /// Numbers of the operand.
    pub fn numbers(&self) -> usize {
        self.runs.iter().filter(|(_, along)| *along).map(|(length, _)| length).product()
    }

    /// Whether the operand lies as the output does.
    pub(crate) fn is_whole(&self) -> bool {
        self.runs.iter().all(|(_, along)| *along)
    }

    /// Numbers after which it comes again, where it does so all along the output.
    pub(crate) fn period(&self) -> Option<usize> {
        match *self.runs {
            [] | [(_, false)] => Some(1),
            [(length, true), (_, false)] => Some(length),
            _ => None,
        }
    }

    /// The innermost length that it runs along or is repeated over.
    pub(crate) fn innermost(&self) -> (usize, bool) {
        self.runs.first().copied().unwrap_or((1, true))
    }

    /// Where the number for place `at` of the output is, and how many more of the output its run has from there.
    #[inline(never)]
    fn at(&self, at: usize) -> (usize, usize) {
        let (mut rest, mut step, mut place) = (at, 1, 0);
        for (length, along) in &self.runs {
            let digit = rest % length;
            rest /= length;
            if *along {
                place += digit * step;
                step *= length;
            }
        }
        let innermost = self.innermost().0;
        (place, innermost - at % innermost)
    }

    /// Where in the operand the numbers for `count` places from `start` on lie side by side, if they do.
    pub(crate) fn together(&self, start: usize, count: usize) -> Option<usize> {
        let (length, along) = self.innermost();
        (along && start % length + count <= length).then(|| self.at(start).0)
    }

    /// The numbers for the places from `start` on.
    ///
    /// # Panics
    /// Where the operand is shorter than its runs.
    pub(crate) fn fill(&self, from: &[f32], start: usize, to: &mut [f32]) {
        let along = self.innermost().1;
        let mut done = 0;
        while done < to.len() {
            let (place, left) = self.at(start + done);
            let count = left.min(to.len() - done);
            let to = &mut to[done..done + count];
            if along {
                copy(&from[place..place + count], to);
            } else {
                to.fill(from[place]);
            }
            done += count;
        }
    }
}
