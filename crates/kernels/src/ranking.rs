//! Scores in the order in which they fall.

/// Bits of a digit, and how many digits a score has.
const BITS: usize = 11;
const DIGITS: usize = 3;

/// So many are sorted digit by digit; comparing fewer is cheaper than counting what digits there are.
const MANY: usize = 1_500;

/// What [`by_falling`] takes for so many scores of which all, or where `above` is given maybe none, are sorted.
pub fn instructions_of_ranking(scores: usize, above: bool) -> (u64, u64) {
    let sorted = |scores: u64| if scores < MANY as u64 { 300 * scores } else { 140_000 + 253 * scores };
    let scores = scores as u64;
    if above { (7 * scores, 60 * scores + sorted(scores)) } else { (sorted(scores), sorted(scores)) }
}

/// Places of the scores that exceed `above`, where that is given, by falling scores: of equal ones the first comes first, and zeros of either
/// sign are equal. What is no number exceeds nothing, and comes last.
///
/// # Panics
/// Where there are more scores than a `u32` counts.
pub fn by_falling(scores: &[f32], above: Option<f32>) -> Vec<u32> {
    let mut ranking = Ranking::of(scores, above);
    if ranking.0.len() < MANY {
        ranking.0.sort_unstable();
    } else {
        (0..Ranking::PASSES).for_each(|pass| ranking.pass(pass));
    }
    ranking.places()
}

/// Scores that are sorted in passes, as [`by_falling`] does in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking(Vec<u64>);

impl Ranking {
    /// Passes that sort, one after the other.
    pub const PASSES: usize = DIGITS;

    /// Those that exceed `above`, where that is given.
    ///
    /// # Panics
    /// Where there are more scores than a `u32` counts.
    pub fn of(scores: &[f32], above: Option<f32>) -> Ranking {
        assert!(u32::try_from(scores.len()).is_ok(), "{} scores", scores.len());
        Ranking(match above {
            Some(above) => those_above(scores, above),
            None => scores.iter().enumerate().map(|(place, score)| ranked(place, *score)).collect(),
        })
    }

    /// One that gave these.
    pub fn from_ranks(ranks: &[u64]) -> Ranking {
        Ranking(ranks.to_vec())
    }

    /// What is kept of it, for [`Ranking::from_ranks`].
    pub fn ranks(&self) -> &[u64] {
        &self.0
    }

    /// Sorts by a digit of the upper halves; what is equal stays in its order.
    pub fn pass(&mut self, pass: usize) {
        let digit = |ranked: u64| (ranked >> (32 + BITS * pass)) as usize % (1 << BITS);
        let mut counts = vec![0u32; 1 << BITS];
        for ranked in &self.0 {
            counts[digit(*ranked)] += 1;
        }
        let mut before = 0;
        for count in &mut counts {
            before += std::mem::replace(count, before);
        }
        let mut sorted = vec![0; self.0.len()];
        for ranked in &self.0 {
            let place = &mut counts[digit(*ranked)];
            sorted[*place as usize] = *ranked;
            *place += 1;
        }
        self.0 = sorted;
    }

    /// Their places, where all passes are over.
    pub fn places(&self) -> Vec<u32> {
        self.0.iter().map(|ranked| *ranked as u32).collect()
    }
}

/// The scores that exceed `above`, which are few: eight are asked at once.
fn those_above(scores: &[f32], above: f32) -> Vec<u64> {
    let mut those = vec![];
    let (eights, rest) = scores.as_chunks::<8>();
    for (ix, eight) in eights.iter().enumerate() {
        if eight.iter().fold(false, |any, score| any | (*score > above)) {
            one_by_one(eight, above, 8 * ix, &mut those);
        }
    }
    one_by_one(rest, above, 8 * eights.len(), &mut those);
    those
}

/// Adds those of the scores from place `first` on that exceed `above`. By itself, so that eight are compared as vectors.
#[inline(never)]
fn one_by_one(scores: &[f32], above: f32, first: usize, those: &mut Vec<u64>) {
    for (ix, score) in scores.iter().enumerate() {
        if *score > above {
            those.push(ranked(first + ix, *score));
        }
    }
}

/// A score's rank, and below it its place.
fn ranked(place: usize, score: f32) -> u64 {
    u64::from(rank(score)) << 32 | place as u64
}

/// The larger a score, the less.
fn rank(score: f32) -> u32 {
    // Zeros are one.
    let bits = (score + 0.0).to_bits();
    let rank = if bits >> 31 == 0 { !(bits | 1 << 31) } else { bits };
    if score.is_nan() { u32::MAX } else { rank }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn score() -> impl Strategy<Value = f32> {
        let odd = prop::sample::select(vec![-0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        prop_oneof![5 => (-2..6i8).prop_map(|n| f32::from(n) / 4.0), 5 => any::<f32>(), 5 => 0f32..1.0, 1 => odd]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn scores_fall(
            scores in prop_oneof![
                prop::collection::vec(score(), 0..40),
                prop::collection::vec(score(), MANY - 100..2 * MANY),
            ],
            above in prop::option::of(prop::sample::select(vec![-1.0, 0.0, 0.5, f32::NAN])),
        ) {
            let mut plain: Vec<u32> = (0..scores.len() as u32).collect();
            plain.retain(|place| above.is_none_or(|above| scores[*place as usize] > above));
            plain.sort_by(|a, b| {
                let (a, b) = (scores[*a as usize], scores[*b as usize]);
                b.partial_cmp(&a).unwrap_or(a.is_nan().cmp(&b.is_nan()))
            });
            prop_assert_eq!(by_falling(&scores, above), plain);
        }
    }
}
