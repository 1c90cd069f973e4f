//! Units of a kernel's work: what is computed each by itself, whichever are computed together, so that a run can be left between them.

use std::ops::Range;

/// The parts of `each` units that some units are in, and which of a part's they are.
#[inline]
pub(crate) fn parts(units: Range<usize>, each: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let (mut ix, mut first) = (units.start / each, units.start % each);
    let mut left = units.len();
    std::iter::from_fn(move || {
        let count = left.min(each - first);
        let part = (ix, first..first + count);
        (ix, first, left) = (ix + 1, 0, left - count);
        (count > 0).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_their_parts() {
        for (start, end) in (0..12).flat_map(|start| (start..=12).map(move |end| (start, end))) {
            let all = parts(start..end, 4).flat_map(|(ix, units)| units.map(move |unit| 4 * ix + unit));
            assert_eq!(all.collect::<Vec<_>>(), (start..end).collect::<Vec<_>>());
        }
        assert!(parts(3..9, 4).eq([(0, 3..4), (1, 0..4), (2, 0..1)]));
    }
}
