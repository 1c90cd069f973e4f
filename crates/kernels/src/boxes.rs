//! Boxes of which those are kept that overlap none that was kept before by more than a threshold: what they share, over what they cover
//! together.

/// Boxes that are compared at a time.
const LANES: usize = 8;

/// The lesser coordinates of a box, the greater ones, its area. Of a box without an area there is nothing to overlap.
type Corners = [f32; NUMBERS];
const NUMBERS: usize = 5;

/// How boxes are read, and which of them are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keeping {
    /// Whether a box is its centre and its lengths; else it is two opposite corners, in any order.
    pub centred: bool,
    /// Boxes that are kept at most.
    pub most: usize,
    /// By how much two of them overlap at most.
    pub overlap: f32,
}

/// Boxes that were kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Number by number, eight boxes at a time. Where there are no eight the last have no area.
    eights: Vec<[[f32; LANES]; NUMBERS]>,
    count: usize,
}

impl Kept {
    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is kept of them, for [`Kept::of`].
    pub fn numbers(&self) -> &[f32] {
        self.eights.as_flattened().as_flattened()
    }

    /// So many boxes that gave these numbers.
    pub fn of(numbers: &[f32], count: usize) -> Kept {
        Kept { eights: numbers.as_chunks().0.as_chunks().0.to_vec(), count }
    }

    /// Goes through boxes in the order of `places`, and adds to `selected` the places of those that are kept. What has a coordinate that
    /// is no number is kept, and overlaps nothing.
    ///
    /// # Panics
    /// Where a place is none of a box.
    #[inline(never)]
    pub fn select(&mut self, boxes: &[[f32; 4]], places: &[u32], keeping: Keeping, selected: &mut Vec<u32>) {
        for place in places {
            if self.count >= keeping.most {
                return;
            }
            let corners = corners(&boxes[*place as usize], keeping.centred);
            if !self.overlap(&corners, keeping.overlap) {
                self.keep(&corners);
                selected.push(*place);
            }
        }
    }

    fn keep(&mut self, corners: &Corners) {
        let lane = self.count % LANES;
        if lane == 0 {
            self.eights.push([[0.0; LANES]; NUMBERS]);
        }
        if let Some(last) = self.eights.last_mut() {
            last.iter_mut().zip(corners).for_each(|(lanes, number)| lanes[lane] = *number);
        }
        self.count += 1;
    }

    /// Whether one of them overlaps a box by more than `most`. Most touch none of eight: those are not divided.
    fn overlap(&self, &[near0, near1, far0, far1, area]: &Corners, most: f32) -> bool {
        self.eights.iter().any(|[nears0, nears1, fars0, fars1, areas]| {
            let larger = |lanes: &[f32; LANES], than: f32| lanes.map(|x| if x > than { x } else { than });
            let smaller = |lanes: &[f32; LANES], than: f32| lanes.map(|x| if x < than { x } else { than });
            let (near0, near1) = (larger(nears0, near0), larger(nears1, near1));
            let (far0, far1) = (smaller(fars0, far0), smaller(fars1, far1));
            let touches = |lane: usize| (far0[lane] > near0[lane]) & (far1[lane] > near1[lane]);
            let mut any = false;
            for lane in 0..LANES {
                any |= touches(lane);
            }
            if !any {
                return false;
            }
            let mut overlaps = false;
            for lane in 0..LANES {
                let shared = (far0[lane] - near0[lane]) * (far1[lane] - near1[lane]);
                let together = area + areas[lane] - shared;
                overlaps |= touches(lane) & (shared / together > most);
            }
            overlaps
        })
    }
}

/// A box by its corners; no area where one is no number.
fn corners(&[a, b, c, d]: &[f32; 4], centred: bool) -> Corners {
    let axis = |a: f32, b: f32| match (centred, a >= b) {
        (true, _) => (a - b / 2.0, a + b / 2.0),
        (false, true) => (b, a),
        (false, false) => (a, b),
    };
    let ((near0, far0), (near1, far1)) = (axis(a, c), axis(b, d));
    if near0.is_nan() | far0.is_nan() | near1.is_nan() | far1.is_nan() {
        return [0.0; NUMBERS];
    }
    [near0, near1, far0, far1, (far0 - near0) * (far1 - near1)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How much two boxes share, as it is defined.
    fn share(a: &[f32; 4], b: &[f32; 4], centred: bool) -> f32 {
        let ends = |of: &[f32; 4], axis: usize| match (of[axis], of[axis + 2]) {
            (middle, length) if centred => (middle - length / 2.0, middle + length / 2.0),
            (a, b) => (a.min(b), a.max(b)),
        };
        let (mut shared, mut areas) = (1.0, [1.0; 2]);
        for axis in 0..2 {
            let ((a, b), (c, d)) = (ends(a, axis), ends(b, axis));
            let both = b.min(d) - a.max(c);
            if !(both > 0.0 && [a, b, c, d].iter().all(|end| !end.is_nan())) {
                return f32::NEG_INFINITY;
            }
            shared *= both;
            areas = [areas[0] * (b - a), areas[1] * (d - c)];
        }
        shared / (areas[0] + areas[1] - shared)
    }

    /// Ends of which many are equal, so that boxes share a half or a third, and some that are far or none.
    fn end() -> impl Strategy<Value = f32> {
        let odd = prop::sample::select(vec![-0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, 1e-30]);
        prop_oneof![20 => (0..7i8).prop_map(|n| f32::from(n) / 2.0), 5 => -2f32..4.0, 1 => odd]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_is_kept_overlaps_nothing_that_was(
            boxes in prop::collection::vec(prop::array::uniform4(end()), 0..60),
            centred: bool,
            most in prop_oneof![Just(usize::MAX), 1usize..20],
            overlap in prop::sample::select(vec![-1.0, 0.0, 0.25, 1.0 / 3.0, 0.5, 0.75, 1.0, f32::NAN]),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut expected: Vec<u32> = vec![];
            for (place, one) in boxes.iter().enumerate() {
                let over = |other: &u32| share(one, &boxes[*other as usize], centred) > overlap;
                if expected.len() < most && !expected.iter().any(over) {
                    expected.push(place as u32);
                }
            }
            let (places, keeping) = ((0..boxes.len() as u32).collect::<Vec<_>>(), Keeping { centred, most, overlap });
            let (first, rest) = places.split_at(cut.index(places.len() + 1));
            let (mut kept, mut selected) = (Kept::default(), vec![]);
            kept.select(&boxes, first, keeping, &mut selected);
            let mut kept = Kept::of(kept.numbers(), kept.len());
            kept.select(&boxes, rest, keeping, &mut selected);
            prop_assert_eq!(selected, expected);
        }
    }
}
