//! Where blocks lie that are alive for a time each: the largest first, each in the smallest gap that holds it between those that
//! are alive with it (greedy by size; Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).

/// A block that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// How large it is.
    pub(crate) bytes: usize,
    /// What its address is a multiple of, a power of two.
    pub(crate) align: usize,
    /// When it is asked for.
    pub(crate) from: u32,
    /// When it is freed, after that.
    pub(crate) until: u32,
}

impl Block {
    /// Whether both are alive at some time.
    pub(crate) fn meets(&self, other: &Block) -> bool {
        self.from < other.until && other.from < self.until
    }
}

/// An offset for each of `blocks`, and how many bytes they take together.
///
/// Takes time quadratic in their number.
pub(crate) fn place(blocks: &[Block]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0usize; blocks.len()];
    // Those that have a place, by offset.
    let mut placed: Vec<usize> = Vec::with_capacity(blocks.len());
    let mut total = 0;
    for ix in by_size(blocks.iter().map(|block| block.bytes)) {
        let block = &blocks[ix];
        let mut best: Option<(usize, usize)> = None;
        let mut end = 0usize;
        for &other in placed.iter().filter(|other| blocks[**other].meets(block)) {
            let at = end.next_multiple_of(block.align);
            let gap = offsets[other].saturating_sub(at);
            if gap >= block.bytes && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, at));
            }
            end = end.max(offsets[other] + blocks[other].bytes);
        }
        let at = best.map_or_else(|| end.next_multiple_of(block.align), |(_, at)| at);
        offsets[ix] = at;
        total = total.max(at + block.bytes);
        let rank = placed.partition_point(|other| offsets[*other] <= at);
        placed.insert(rank, ix);
    }
    (offsets, total)
}

/// Numbers of the largest first, those of one size in their order. Sorted as words, which costs the canister no code of its own.
pub(crate) fn by_size(sizes: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    let most = u32::MAX as usize;
    let mut order: Vec<u64> =
        sizes.enumerate().map(|(ix, bytes)| ((most - bytes.min(most)) as u64) << 32 | ix as u64).collect();
    order.sort_unstable();
    order.into_iter().map(|word| (word & 0xffff_ffff) as usize)
}

/// The most bytes of `blocks` that are alive at once, and the most of them.
pub(crate) fn alive(blocks: &[Block]) -> (usize, usize) {
    let mut events: Vec<u64> = Vec::with_capacity(2 * blocks.len());
    for (ix, block) in blocks.iter().enumerate() {
        events.push(u64::from(block.from) << 32 | (2 * ix + 1) as u64);
        events.push(u64::from(block.until) << 32 | (2 * ix) as u64);
    }
    events.sort_unstable();
    let (mut now, mut most) = ((0, 0), (0, 0));
    // What is freed when others are asked for is gone by then.
    let mut events = events.into_iter().peekable();
    let mut coming = vec![];
    while let Some(event) = events.next() {
        let ix = (event & 0xffff_ffff) as usize;
        if ix.is_multiple_of(2) {
            now = (now.0 - blocks[ix / 2].bytes, now.1 - 1);
        } else {
            coming.push(blocks[ix / 2].bytes);
        }
        if events.peek().is_some_and(|next| next >> 32 == event >> 32) {
            continue;
        }
        for bytes in coming.drain(..) {
            now = (now.0 + bytes, now.1 + 1);
        }
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    most
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks() -> impl Strategy<Value = Vec<Block>> {
        let block = (1usize..5000, 0u32..7, 0u32..200, 1u32..60).prop_map(|(bytes, align, from, time)| {
            Block { bytes, align: 1 << align, from, until: from + time }
        });
        proptest::collection::vec(block, 0..60)
    }

    proptest! {
        #[test]
        fn what_is_alive_together_lies_apart(blocks in blocks()) {
            let (offsets, total) = place(&blocks);
            for (ix, block) in blocks.iter().enumerate() {
                prop_assert_eq!(offsets[ix] % block.align, 0);
                prop_assert!(offsets[ix] + block.bytes <= total);
                for (other, second) in blocks.iter().enumerate().skip(ix + 1) {
                    let apart = offsets[ix] + block.bytes <= offsets[other] || offsets[other] + second.bytes <= offsets[ix];
                    prop_assert!(apart || !block.meets(second));
                }
            }
        }

        #[test]
        fn the_peak_is_that_of_each_moment(blocks in blocks()) {
            let at = |time: u32| {
                let here = || blocks.iter().filter(|b| b.from <= time && time < b.until);
                (here().map(|b| b.bytes).sum::<usize>(), here().count())
            };
            let each: Vec<_> = (0..300).map(at).collect();
            let most = (each.iter().map(|e| e.0).max().unwrap_or(0), each.iter().map(|e| e.1).max().unwrap_or(0));
            prop_assert_eq!(alive(&blocks), most);
            prop_assert!(place(&blocks).1 >= most.0);
        }
    }

    #[test]
    fn a_chain_takes_its_largest_pair() {
        // Each is alive until the next but one is asked for: what a network without branches does.
        let sizes = [100, 700, 300, 600, 50, 800, 100];
        let blocks: Vec<Block> = sizes
            .iter()
            .enumerate()
            .map(|(ix, bytes)| Block {
                bytes: *bytes,
                align: 1,
                from: 2 * ix as u32,
                until: 2 * ix as u32 + 3,
            })
            .collect();
        assert_eq!(alive(&blocks), (1000, 2));
        assert_eq!(place(&blocks).1, 1000);
    }
}
