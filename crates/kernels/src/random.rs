//! Numbers for tests: seeded, between -1 and 1; and how products are added.

/// A source of numbers.
pub(crate) fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// So many of them.
pub(crate) fn many(n: usize, next: &mut impl FnMut() -> f32) -> Vec<f32> {
    (0..n).map(|_| next()).collect()
}

/// `begin` and the products, in the order in which the tiles add them.
pub(crate) fn summed(begin: f32, products: impl IntoIterator<Item = f32>) -> f32 {
    let products: Vec<f32> = products.into_iter().collect();
    let blocks = products.chunks_exact(crate::tile::BLOCK);
    let rest = blocks.remainder();
    let blocks = blocks.map(|block| block[1..].iter().fold(block[0], |sum, product| sum + product));
    blocks.chain(rest.iter().copied()).fold(begin, |sum, next| sum + next)
}

/// `begin` and the products, one after the other.
pub(crate) fn in_order(begin: f32, products: impl IntoIterator<Item = f32>) -> f32 {
    products.into_iter().fold(begin, |sum, product| sum + product)
}

/// Runs `count` units some at a time, the last first.
pub(crate) fn in_units(count: usize, seed: u64, mut run: impl FnMut(std::ops::Range<usize>)) {
    let mut next = numbers(seed ^ 1);
    let mut end = count;
    while end > 0 {
        let start = end - (1 + (next().abs() * end as f32) as usize).min(end);
        run(start..end);
        end = start;
    }
}
