//! Numbers for tests: seeded, between -1 and 1.

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
